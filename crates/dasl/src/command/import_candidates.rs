//! `dasl import candidates`: what a network found in scans that nobody has annotated becomes places to
//! ask a reader about.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_volume::dataset::{CandidateRecord, Dataset, DatasetWriter, ScanRecord};

use super::segment::ScanNote;
use crate::Outcome;
use crate::args::ImportCandidatesArgs;
use crate::found::{self, Found};
use crate::segmented_folder::{SCAN, folders};
use crate::table;

/// What became of the scans.
#[derive(Default)]
struct Taken {
    /// Scans with their numbers of candidates.
    scans: Vec<(String, usize)>,
    there_already: usize,
    set_aside: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// If the folder holds no output of `dasl segment`, or the dataset can't be read or written. A scan
/// whose candidates can't be taken in is set aside.
pub fn run(args: &ImportCandidatesArgs, json: bool) -> Result<Outcome> {
    let folders = folders(&args.segmented)?;
    if folders.is_empty() {
        bail!(
            "{}: no folder with a {SCAN} in it; name what `dasl segment` wrote to",
            args.segmented.display()
        );
    }
    // A dataset that is not there is not begun.
    let info = Dataset::open(&args.out)?.info().clone();
    let dataset = DatasetWriter::create_or_open(&args.out, &info)?;
    let mut taken = Taken::default();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match one(&dataset, &folder, &name, args.from_score) {
            Ok(Some(count)) => taken.scans.push((name, count)),
            Ok(None) => taken.there_already += 1,
            Err(error) => taken.set_aside.push((name, format!("{error:#}"))),
        }
    }
    taken.report(&args.out, json)
}

/// Takes in the candidates of one scan, and says how many; `None` if they are there already.
fn one(
    dataset: &DatasetWriter,
    folder: &Path,
    name: &str,
    from_score: f64,
) -> Result<Option<usize>> {
    let mut record = dataset.scan(name)?;
    if record.annotated {
        bail!("it is annotated: what is a nodule there is known");
    }
    let note = ScanNote::read(folder)?;
    if note.series_uid.as_deref().is_some_and(|series| series != record.series_uid) {
        bail!("the dataset's scan of this name is of another series");
    }
    let candidates = candidates(folder, &record, from_score)?;
    if candidates == record.candidates && !candidates.is_empty() {
        return Ok(None);
    }
    if !record.candidates.is_empty() {
        bail!(
            "the dataset has other candidates for it, and runs may have asked about them; import the \
             scan into a new dataset"
        );
    }
    record.candidates = candidates;
    dataset.rewrite_record(&record)?;
    Ok(Some(record.candidates.len()))
}

fn candidates(folder: &Path, record: &ScanRecord, from_score: f64) -> Result<Vec<CandidateRecord>> {
    let Some(found) = found::read(folder)? else { bail!("it has no nodules.csv; segment again") };
    let mut candidates = Vec::new();
    for Found { id, center_mm, diameter_mm, score } in found {
        let at = record.geometry.to_voxel(center_mm);
        let mut inside = [at.z, at.y, at.x].into_iter().zip(record.geometry.shape);
        if !inside.all(|(v, n)| (-0.5..n as f64 - 0.5).contains(&v)) {
            bail!("nodule {id} lies outside the scan in the dataset");
        }
        let Some(diameter_mm) = diameter_mm else { bail!("nodule {id} has no diameter_mm") };
        if score >= from_score {
            let label = u16::try_from(candidates.len() + 1).context("too many candidates")?;
            candidates.push(CandidateRecord { label, center_mm, diameter_mm, score });
        }
    }
    Ok(candidates)
}

impl Taken {
    fn report(&self, out: &Path, json: bool) -> Result<Outcome> {
        for (what, why) in &self.set_aside {
            eprintln!("set aside: {what}: {why}");
        }
        if json {
            let added = self.scans.iter();
            let added: Vec<_> = added
                .map(|(scan, n)| serde_json::json!({ "scan": scan, "candidates": n }))
                .collect();
            let set_aside = self.set_aside.iter();
            let set_aside: Vec<_> = set_aside
                .map(|(scan, why)| serde_json::json!({ "source": scan, "reason": why }))
                .collect();
            let result = serde_json::json!({
                "dataset": out,
                "added": added,
                "skipped": self.there_already,
                "set_aside": set_aside,
            });
            println!("{}", serde_json::to_string_pretty(&result)?);
        } else {
            let rows: Vec<Vec<String>> =
                self.scans.iter().map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
            println!("{}", table::render(&["scan", "candidates"], &rows));
            println!("{} scans had them already", self.there_already);
        }
        Ok(if self.set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
    }
}
