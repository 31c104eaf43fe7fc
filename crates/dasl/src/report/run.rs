//! What a folder holds: recognised by its files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_learn::ledger::read_ledger;
use dasl_learn::state::RunState;
use dasl_learn::{Entry, Run as LearnRun};
use serde::de::DeserializeOwned;

use crate::command::evaluate::samples::{self, SamplesEvaluation};
use crate::command::evaluate::{self, Evaluation};
use crate::command::experiment::{RESULTS, RUNS, Row, read_rows};
use crate::config_file::Settings;
use crate::curve;
use crate::run_folder::{Origin, RunFolder};
use crate::split::Split;

/// One of the things that stand side by side.
pub struct Run {
    /// What it is called in the report.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it is.
    pub found: Found,
}

/// What a run is.
pub enum Found {
    /// Of `dasl train`.
    Training(Made, Vec<(usize, f64)>),
    /// Of `dasl learn`.
    Learning(Made, Box<RunState>, Vec<Entry>),
    /// Of `dasl experiment`: its rounds, and one run of each arm.
    Experiment(Vec<Row>, Vec<(String, Made)>),
    /// Of `dasl evaluate`.
    Evaluation(Box<Evaluation>),
    /// Of `dasl evaluate samples`.
    Samples(SamplesEvaluation),
}

/// How the weights of a run were made.
pub struct Made {
    /// Everything that was set.
    pub settings: Settings,
    /// Version, seed and data.
    pub origin: Origin,
    /// Who was trained on.
    pub split: Split,
}

impl Made {
    fn read(folder: &RunFolder) -> Result<Self> {
        Ok(Self {
            settings: folder.read_settings()?,
            origin: folder.read_origin()?,
            split: folder.read_split()?,
        })
    }
}

/// Reads what folders hold, in their order.
///
/// # Errors
/// If one holds nothing that is known, is named twice, or can't be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    // `x` and `./x` are one folder.
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    for (i, path) in paths.iter().enumerate() {
        if paths[..i].iter().any(|before| real(before) == real(path)) {
            bail!("{}: named twice; name each run once", path.display());
        }
        let short = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let alone = paths.iter().filter(|other| short(other) == short(path)).count() == 1;
        let name = short(path).filter(|_| alone).unwrap_or_else(|| path.display().to_string());
        let found = read(path)?;
        runs.extend(found.into_iter().map(|found| Run {
            name: name.clone(),
            path: path.clone(),
            found,
        }));
    }
    Ok(runs)
}

/// What a folder holds; an evaluation may lie beside the run it is of.
fn read(path: &Path) -> Result<Vec<Found>> {
    let folder = RunFolder::new(path);
    let mut found = Vec::new();
    if folder.is_learning() {
        let state = LearnRun::read(&folder.rounds())?;
        let ledger = read_ledger(&folder.rounds().join("ledger.jsonl"), state.ledger)?;
        found.push(Found::Learning(Made::read(&folder)?, Box::new(state), ledger));
    } else if folder.is_training() {
        found.push(Found::Training(Made::read(&folder)?, curve::read(&folder.log())?));
    }
    let results = path.join(RESULTS);
    if results.is_file() {
        let rows = read_rows(&results)?;
        let arms = arms(path, &rows)?;
        found.push(Found::Experiment(rows, arms));
    }
    let evaluation = evaluated(&path.join(evaluate::JSON))?;
    found.extend(evaluation.map(|read| Found::Evaluation(Box::new(read))));
    found.extend(evaluated(&path.join(samples::JSON))?.map(Found::Samples));
    if found.is_empty() && (path.join(RUNS).is_dir() || folder.split().exists()) {
        bail!("{}: nothing of it is done yet: report on it later", path.display());
    }
    if found.is_empty() {
        let why = if path.is_dir() { "is no run" } else { "is no folder" };
        bail!(
            "{} {why} that a report can show; name a folder that `dasl train`, `dasl learn`, `dasl \
             experiment`, `dasl evaluate PREDICTIONS DATASET` or `dasl evaluate samples --out` wrote \
             to",
            path.display()
        );
    }
    Ok(found)
}

/// What an evaluation's file holds; `None` if there is none.
fn evaluated<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    if !file.is_file() {
        return Ok(None);
    }
    let shown = || format!("{}: evaluate again", file.display());
    let text = std::fs::read_to_string(file).with_context(shown)?;
    Ok(Some(serde_json::from_str(&text).with_context(shown)?))
}

/// The first run of every arm, as far as it is there.
fn arms(path: &Path, rows: &[Row]) -> Result<Vec<(String, Made)>> {
    let mut arms: Vec<(String, Made)> = Vec::new();
    for row in rows {
        let folder = RunFolder::new(&path.join(RUNS).join(row.run()));
        if arms.iter().all(|(arm, _)| *arm != row.arm) && folder.exists() {
            arms.push((row.arm.clone(), Made::read(&folder)?));
        }
    }
    Ok(arms)
}
