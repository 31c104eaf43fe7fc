//! What every import has in common: what became of the scans, and how it is said.

use std::path::Path;

use anyhow::Result;
use dasl_volume::dataset::{Dataset, ScanRecord};

use crate::Outcome;
use crate::table;

/// What became of an import.
#[derive(Default)]
pub struct Imported {
    /// New scans.
    pub added: Vec<ScanRecord>,
    /// Scans that were there already.
    pub skipped: usize,
    /// What was set aside: what, why.
    pub set_aside: Vec<(String, String)>,
}

impl Imported {
    /// Takes note of one scan: `None` if it was there already.
    pub fn note(&mut self, source: String, result: Result<Option<ScanRecord>>) {
        match result {
            Ok(Some(record)) => self.added.push(record),
            Ok(None) => self.skipped += 1,
            Err(error) => {
                // The source is named anyway.
                let said = format!("{error:#}");
                let why = said.strip_prefix(&format!("{source}: ")).unwrap_or(&said).to_string();
                self.set_aside.push((source, why));
            }
        }
    }

    /// Writes the dataset's tables and says what became of the import.
    ///
    /// # Errors
    /// If the tables can't be written.
    pub fn finish(&self, dataset: &Dataset, json: bool) -> Result<Outcome> {
        for (source, reason) in &self.set_aside {
            dataset.set_aside(source, reason);
        }
        dataset.finish()?;
        report(self, dataset.root(), json)
    }
}

/// Prints what became of an import.
///
/// # Errors
/// If standard output is closed.
fn report(imported: &Imported, out: &Path, json: bool) -> Result<Outcome> {
    for (what, why) in &imported.set_aside {
        eprintln!("set aside: {what}: {why}");
    }
    if json {
        let set_aside = imported.set_aside.iter();
        let set_aside: Vec<_> = set_aside
            .map(|(what, why)| serde_json::json!({ "source": what, "reason": why }))
            .collect();
        let result = serde_json::json!({
            "dataset": out,
            "added": imported.added,
            "skipped": imported.skipped,
            "set_aside": set_aside,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        let nodules: usize = imported.added.iter().map(|s| s.nodules.len()).sum();
        if imported.added.len() <= 20 {
            println!("{}", table::render(&HEADER, &rows(&imported.added)));
        }
        println!(
            "{}: {} scans with {nodules} nodules added, {} there already, {} set aside",
            out.display(),
            imported.added.len(),
            imported.skipped,
            imported.set_aside.len()
        );
    }
    Ok(if imported.set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}

const HEADER: [&str; 6] = ["scan", "nodule", "readers", "voxels", "diameter mm", "centre x y z mm"];

fn rows(scans: &[ScanRecord]) -> Vec<Vec<String>> {
    let row = |scan: &ScanRecord, n: &dasl_volume::dataset::NoduleRecord| {
        let c = n.center_mm;
        vec![
            scan.scan_id.clone(),
            n.label.to_string(),
            n.readers.to_string(),
            n.native_voxels.to_string(),
            format!("{:.1}", n.diameter_mm),
            format!("{:.1} {:.1} {:.1}", c.x, c.y, c.z),
        ]
    };
    scans.iter().flat_map(|s| s.nodules.iter().map(move |n| row(s, n))).collect()
}
