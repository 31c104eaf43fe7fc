//! What every import has in common: what became of the scans, and how it is said.

use std::path::Path;

use anyhow::{Context, Result};
use dasl_volume::dataset::{DatasetWriter, ScanRecord};
use dasl_volume::dicom::SeriesFiles;

use crate::Outcome;
use crate::table;

/// What an import takes in or sets aside: a series or a file.
pub struct Item {
    /// What messages call it.
    source: String,
    /// What `set_aside.csv` calls it: the same wherever the import was started.
    listed: String,
    series_uid: String,
    /// Its files, as `set_aside.csv` calls them.
    files: Vec<String>,
}

impl Item {
    /// A series, by the folder of its first file.
    ///
    /// # Errors
    /// If there is no current folder.
    pub fn series<'a>(
        series: &'a SeriesFiles,
        more: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self> {
        let first = series.files.first();
        let place = first.and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let files = series.files.iter().map(AsRef::as_ref).chain(more);
        Ok(Self {
            series_uid: series.series_uid.clone(),
            files: files.map(listed).collect::<Result<_>>()?,
            ..Self::file(place)?
        })
    }

    /// A file.
    ///
    /// # Errors
    /// If there is no current folder.
    pub fn file(path: &Path) -> Result<Self> {
        Ok(Self { listed: listed(path)?, ..Self::named(&path.display().to_string()) })
    }

    /// Something with a name of its own.
    pub fn named(name: &str) -> Self {
        Self {
            source: name.into(),
            listed: name.into(),
            series_uid: String::new(),
            files: Vec::new(),
        }
    }
}

/// A path that says the same in any current folder.
fn listed(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    Ok(absolute.display().to_string())
}

/// What became of an import.
pub struct Imported {
    dataset: DatasetWriter,
    /// New scans.
    pub added: Vec<ScanRecord>,
    /// Scans that were there already.
    pub skipped: usize,
    /// What was set aside: what, why.
    pub set_aside: Vec<(String, String)>,
}

impl Imported {
    /// Nothing yet.
    pub fn into(dataset: DatasetWriter) -> Self {
        Self { dataset, added: Vec::new(), skipped: 0, set_aside: Vec::new() }
    }

    /// The dataset that is added to.
    pub fn dataset(&self) -> &DatasetWriter {
        &self.dataset
    }

    /// Takes note of one scan: `None` if it was there already.
    ///
    /// # Errors
    /// If the dataset can't be written.
    pub fn note(&mut self, item: &Item, result: Result<Option<ScanRecord>>) -> Result<()> {
        match result {
            Ok(record) => {
                let sources = [&item.files[..], std::slice::from_ref(&item.listed)].concat();
                self.dataset.taken_in(&item.series_uid, &sources)?;
                match record {
                    Some(record) => self.added.push(record),
                    None => self.skipped += 1,
                }
                Ok(())
            }
            Err(error) => {
                // The source is named anyway.
                let said = format!("{error:#}");
                let why = said.strip_prefix(&format!("{}: ", item.source)).unwrap_or(&said);
                self.set_aside(item, why.to_string())
            }
        }
    }

    /// Takes note of what isn't taken in.
    ///
    /// # Errors
    /// If the dataset can't be written.
    pub fn set_aside(&mut self, item: &Item, why: String) -> Result<()> {
        self.dataset.set_aside(&item.listed, &item.series_uid, &why)?;
        self.set_aside.push((item.source.clone(), why));
        Ok(())
    }

    /// Writes the dataset's tables and says what became of the import.
    ///
    /// # Errors
    /// If the tables can't be written.
    pub fn finish(&self, json: bool) -> Result<Outcome> {
        self.dataset.finish()?;
        report(self, self.dataset.root(), json)
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
