//! `dasl experiment`: arms, sizes of the initial set and seeds against each other on one dataset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_learn::ledger::read_ledger;
use dasl_learn::sample::SampleId;
use dasl_learn::state::{RoundRecord, RunState};
use dasl_learn::{Entry, Learner, Run, Usage};
use dasl_net::Device;
use dasl_volume::dataset::Dataset;
use dasl_volume::write_atomic;
use serde::{Deserialize, Serialize};

use super::learn::{learn, warn_if_all_are_initial};
use super::train::{SampleScores, validate};
use crate::Outcome;
use crate::args::ExperimentArgs;
use crate::experiment::{Cell, Experiment};
use crate::network_learner::{Begun, NetworkLearner};
use crate::progress::bar;
use crate::run_folder::RunFolder;
use crate::shard::Shard;
use crate::split::{Sample, Split};

mod status;
mod summary;

use summary::mean;

/// The patients of the test are drawn by this seed, the same for all runs of all experiments.
const TEST_SEED: u64 = 0;

/// From this Dice on a pseudo-label counts as right.
const RIGHT_DICE: f64 = 0.5;
/// Every round of every run, in an experiment's folder.
pub const RESULTS: &str = "results.csv";
/// The runs' folders, in an experiment's.
pub const RUNS: &str = "runs";

/// A round of a run, as a line of results.csv.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The arm.
    pub arm: String,
    /// Samples annotated before the first round, or `all`.
    pub initial: String,
    /// The run's seed.
    pub seed: u64,
    /// The round; 0 is the initial training.
    pub round: usize,
    /// What it did.
    pub kind: String,
    /// Samples the reader has annotated so far.
    pub annotated: usize,
    /// Voxels they marked as nodule.
    pub foreground_voxels: u64,
    /// On the test patients.
    pub dice: Option<f64>,
    /// Of the found ones.
    pub tp_dice: Option<f64>,
    /// Share of the found ones.
    pub hit_rate: Option<f64>,
    /// On the test patients, of the masks where the place is given: whatever the objectness.
    pub mask_dice: Option<f64>,
    /// Validation, by which a run would choose its weights.
    pub validation_dice: f64,
    /// The pace.
    pub lambda: f64,
    /// Samples trained on with a pseudo-label.
    pub pseudo: usize,
    /// Sum of their weights.
    pub weight_sum: f64,
    /// Share of the round's pseudo-labels that are on their nodule: Dice of at least one half
    /// against the label that the run has not seen.
    pub pseudo_right: Option<f64>,
    /// Mean share of a pseudo-label's voxels that are the nodule's.
    pub pseudo_precision: Option<f64>,
    /// Mean Dice of the pseudo-labels.
    pub pseudo_dice: Option<f64>,
    /// Training and choosing, without this test; empty where a restart lost it.
    pub seconds: Option<f64>,
}

impl Row {
    /// Name of its run's folder.
    pub fn run(&self) -> String {
        crate::experiment::run_name(&self.arm, &self.initial, self.seed)
    }
}

/// Runs the command.
///
/// # Errors
/// If the file or dataset can't be read or a run fails; those that are done stay.
pub fn run(args: &ExperimentArgs, json: bool) -> Result<Outcome> {
    let experiment = Experiment::read(&args.file)?;
    let dataset = Dataset::open(&experiment.dataset)?;
    let mut cells = experiment.cells()?;
    for cell in &mut cells {
        cell.settings.net.spacing_mm = dataset.info().spacing_mm;
    }
    let out = Out { cells: &cells, root: &args.out };
    let splits = draw_splits(&experiment, &dataset)?;
    out.check(&splits)?;
    if args.status {
        status::print(&out, json)?;
        return Ok(Outcome::Done);
    }
    let own = share(&cells, args.shard);
    let progress = bar("experiment", own.len() as u64);
    let mut rows = Vec::new();
    for cell in own {
        progress.set_message(cell.name());
        if out.table(cell).exists() {
            // It says nothing of how long the others take.
            progress.dec_length(1);
        } else {
            run_cell(cell, &splits[&cell.seed], &dataset, &out, &args.device.open()?)?;
            progress.inc(1);
        }
        rows = out.rows()?;
        write_rows(&args.out.join(RESULTS), &rows)?;
    }
    progress.finish_and_clear();
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", summary::render(&rows));
        println!("every round: {}", args.out.join(RESULTS).display());
    }
    Ok(Outcome::Done)
}

/// What the runs of a seed train and validate on, and the test.
type SplitAndTest = (Split, Vec<Sample>);

/// By seed.
fn draw_splits(experiment: &Experiment, dataset: &Dataset) -> Result<BTreeMap<u64, SplitAndTest>> {
    let Experiment { validation, test, .. } = *experiment;
    let draw = |&seed| {
        let drawn = Split::draw_with_test(dataset, validation, seed, test, TEST_SEED)?;
        Ok((seed, drawn))
    };
    experiment.seeds.iter().map(draw).collect()
}

/// The runs of a share, or all. Runs that begin alike are in one share, so that it trains their
/// beginning once; unless there are more shares than that would occupy.
fn share<'a>(cells: &'a [Cell<'a>], shard: Option<Shard>) -> Vec<&'a Cell<'a>> {
    let Some(shard) = shard else { return cells.iter().collect() };
    let mut groups: Vec<Vec<&Cell<'_>>> = Vec::new();
    for cell in cells {
        match groups.iter_mut().find(|group| group[0].begins_as(cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    if groups.len() < shard.of() {
        groups = cells.iter().map(|cell| vec![cell]).collect();
    }
    shard.of_groups(groups)
}

/// An experiment's folder, which the processes of several shards may write to.
struct Out<'a> {
    cells: &'a [Cell<'a>],
    root: &'a Path,
}

impl Out<'_> {
    fn folder(&self, cell: &Cell<'_>) -> RunFolder {
        RunFolder::new(&self.root.join(RUNS).join(cell.name()))
    }

    /// The rounds of a run that is done.
    fn table(&self, cell: &Cell<'_>) -> PathBuf {
        self.folder(cell).root().join("rounds.csv")
    }

    /// Refuses runs that were begun with other settings, or with other scans to train on: of those
    /// some may be in the test by now.
    fn check(&self, splits: &BTreeMap<u64, SplitAndTest>) -> Result<()> {
        for cell in self.cells {
            let folder = self.folder(cell);
            if !folder.exists() {
                continue;
            }
            let other = if folder.read_settings()? != cell.settings {
                "settings"
            } else if folder.read_split()? != splits[&cell.seed].0 {
                "scans, or other shares of them for test and validation"
            } else {
                continue;
            };
            bail!(
                "{}: this run was begun with other {other}: name another --out, or remove the folder",
                folder.root().display()
            );
        }
        Ok(())
    }

    /// All that is done.
    fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for cell in self.cells {
            let table = self.table(cell);
            if table.exists() {
                rows.extend(read_rows(&table)?);
            }
        }
        Ok(rows)
    }

    /// The initial training of a run that is done and begins as this one, and the seconds it took.
    fn begun(&self, cell: &Cell<'_>) -> Result<Option<(Begun, Option<f64>)>> {
        for other in self.cells.iter().filter(|other| other.begins_as(cell)) {
            let (folder, table) = (self.folder(other), self.table(other));
            if !(table.exists() && folder.is_learning()) {
                continue;
            }
            let rounds = folder.rounds();
            let state = Run::read(&rounds)?;
            if let Some(record) = state.history.first()
                && let Some(report) = record.report
            {
                let seconds = read_rows(&table)?.first().and_then(|row| row.seconds);
                let weights = rounds.join(&record.weights);
                return Ok(Some((Begun { report, weights }, seconds)));
            }
        }
        Ok(None)
    }
}

/// Runs what is left of a run and writes the table of its rounds.
fn run_cell(
    cell: &Cell<'_>,
    (split, test): &SplitAndTest,
    dataset: &Dataset,
    out: &Out<'_>,
    device: &Device,
) -> Result<()> {
    let settings = &cell.settings;
    let folder = out.folder(cell);
    if let Some(initial) = cell.initial {
        warn_if_all_are_initial(initial, split.train.len());
    }
    if !folder.exists() {
        folder.create(settings, split, dataset, cell.seed, None)?;
    }
    let mut seconds = BTreeMap::new();
    let mut timed = |round, took| {
        seconds.insert(round, took);
    };
    let (begun, initial_seconds) = out.begun(cell)?.unzip();
    let state = learn(dataset, settings, split, &folder, device.clone(), begun, &mut timed)?;
    // The beginning that another run made took that one's time, if that is known.
    if let Some(shared) = initial_seconds.filter(|_| seconds.contains_key(&0)) {
        match shared {
            Some(shared) => seconds.insert(0, shared),
            None => seconds.remove(&0),
        };
    }
    let ledger = read_ledger(&folder.rounds().join("ledger.jsonl"), state.ledger)?;
    let seed = state.config.seed;
    let mut learner = NetworkLearner::new(dataset, settings.clone(), split, seed, device.clone());
    let mut rows = Vec::new();
    for record in &state.history {
        let judged = Judged::of(record, &ledger, &mut learner, &folder.rounds(), dataset, test)?;
        let took = seconds.get(&record.round).copied();
        rows.push(row(cell, &state, record, &ledger, &judged, took));
    }
    write_rows(&out.table(cell), &rows)
}

/// What only the experiment may know of a round.
struct Judged {
    test: SampleScores,
    right: Option<f64>,
    precision: Option<f64>,
    dice: Option<f64>,
}

impl Judged {
    fn of(
        record: &RoundRecord,
        ledger: &[Entry],
        learner: &mut NetworkLearner<'_>,
        rounds: &Path,
        dataset: &Dataset,
        test: &[Sample],
    ) -> Result<Self> {
        let mut by_weights = BTreeMap::<&str, Vec<SampleId>>::new();
        for entry in ledger.iter().filter(|entry| entry.round == record.round) {
            if let Usage::Pseudo { labelled_by, .. } = &entry.usage {
                by_weights.entry(labelled_by).or_default().push(entry.sample.clone());
            }
        }
        let mut audits = Vec::new();
        for (weights, samples) in by_weights {
            learner.load(&rounds.join(weights))?;
            audits.extend(learner.audit(&samples)?);
        }
        let precisions: Vec<f64> = audits.iter().filter_map(|audit| audit.precision).collect();
        let dices: Vec<f64> = audits.iter().map(|audit| audit.dice).collect();
        let right: Vec<f64> = dices.iter().map(|dice| f64::from(*dice >= RIGHT_DICE)).collect();
        learner.load(&rounds.join(&record.weights))?;
        let test = validate(&learner.segmenter(), dataset, test, &mut |_, _| {})?;
        Ok(Self { test, right: mean(&right), precision: mean(&precisions), dice: mean(&dices) })
    }
}

fn row(
    cell: &Cell<'_>,
    state: &RunState,
    record: &RoundRecord,
    ledger: &[Entry],
    judged: &Judged,
    seconds: Option<f64>,
) -> Row {
    let spent = ledger.iter().filter(|entry| entry.round <= record.round);
    let foreground_voxels = spent
        .map(|entry| match &entry.usage {
            Usage::Initial { foreground_voxels, .. }
            | Usage::Annotated { foreground_voxels, .. } => *foreground_voxels,
            _ => 0,
        })
        .sum();
    Row {
        arm: cell.arm.into(),
        initial: cell.size(),
        seed: state.config.seed,
        round: record.round,
        kind: record.kind.to_string(),
        annotated: record.annotated,
        foreground_voxels,
        dice: judged.test.dice,
        tp_dice: judged.test.tp_dice,
        hit_rate: judged.test.hit_rate,
        mask_dice: judged.test.mask_dice,
        validation_dice: record.score.value,
        lambda: record.lambda,
        pseudo: record.pseudo,
        weight_sum: record.weight_sum,
        pseudo_right: judged.right,
        pseudo_precision: judged.precision,
        pseudo_dice: judged.dice,
        seconds,
    }
}

fn write_rows(path: &Path, rows: &[Row]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    write_atomic(path, |file| file.write_all(&bytes)).with_context(|| path.display().to_string())
}

/// Reads a table of rounds.
///
/// # Errors
/// If it can't be read, or a line is none.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let shown = || path.display().to_string();
    let mut reader = csv::Reader::from_path(path).with_context(shown)?;
    reader.deserialize().collect::<Result<_, _>>().with_context(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_alike_are_in_one_share_unless_shares_would_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("e.toml");
        let text = "dataset = \"d\"\npreset = \"tiny\"\nseeds = [1, 2]\ninitial = [5]\n\
                    [arms.al]\nsequence = \"al:2\"\n[arms.dasl]\n[arms.full]\nfull = true\n";
        std::fs::write(&file, text).unwrap();
        let experiment = Experiment::read(&file).unwrap();
        let cells = experiment.cells().unwrap();
        let names = |shard: &str| -> Vec<String> {
            share(&cells, Some(shard.parse().unwrap())).iter().map(|cell| cell.name()).collect()
        };
        assert_eq!(names("1/2"), ["al-5-1", "dasl-5-1", "full-all-2"]);
        assert_eq!(names("2/2"), ["full-all-1", "al-5-2", "dasl-5-2"]);
        assert_eq!(names("2/5"), ["dasl-5-1"]);
        assert_eq!(share(&cells, None).len(), 6);
    }
}
