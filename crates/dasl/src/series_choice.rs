//! Which series of an archive are meant: those that a table names, or all.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use dasl_volume::dicom::SeriesFiles;
use serde::Deserialize;

/// The series that are meant; `None` is all.
#[derive(Debug)]
pub struct SeriesChoice(Option<BTreeSet<String>>);

#[derive(Deserialize)]
struct Row {
    series_uid: String,
}

impl SeriesChoice {
    /// Those of a CSV file with a column `series_uid`, or all.
    ///
    /// # Errors
    /// If the file can't be read or has no such column.
    pub fn read(table: Option<&Path>) -> Result<Self> {
        let Some(path) = table else { return Ok(Self(None)) };
        let shown = || path.display().to_string();
        let mut reader = csv::Reader::from_path(path).with_context(shown)?;
        let rows = reader.deserialize().map(|row| row.map(|Row { series_uid }| series_uid));
        Ok(Self(Some(rows.collect::<Result<_, _>>().with_context(shown)?)))
    }

    /// Whether a series is meant.
    pub fn takes(&self, series: &SeriesFiles) -> bool {
        self.0.as_ref().is_none_or(|named| named.contains(&series.series_uid))
    }

    /// Says which of those named were not met.
    pub fn warn_of_missing(&self, met: &BTreeSet<String>) {
        let missing = self.0.iter().flat_map(|named| named.difference(met));
        let missing: Vec<&String> = missing.collect();
        if let Some(first) = missing.first() {
            tracing::warn!(
                "{} series that --series names are not there, such as {first}",
                missing.len()
            );
        }
    }
}
