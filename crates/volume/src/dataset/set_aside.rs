//! `set_aside.csv`: what no import has taken in, with the reason.
//!
//! A line is appended as soon as something is set aside, so that a killed import has said it.
//! Whatever takes a line away writes the table anew, sorted.

use super::csv;
use super::error::{DatasetError, file_error};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HEADER: [&str; 3] = ["source", "series_uid", "reason"];

/// The table, in memory and on disk.
#[derive(Debug)]
pub(super) struct SetAside {
    path: PathBuf,
    /// Reason by source and series UID; several series may lie in one folder.
    rows: BTreeMap<(String, String), String>,
}

#[derive(Deserialize)]
struct Row {
    source: String,
    #[serde(default)]
    series_uid: String,
    reason: String,
}

impl SetAside {
    /// The table of the dataset in `root`, empty if there is none.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join("set_aside.csv");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| file_error(&path, &error))?,
        };
        // A machine that went down may have left the last line unfinished.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let rows: Result<Vec<Row>, _> =
            ::csv::Reader::from_reader(whole.as_bytes()).deserialize().collect();
        let rows = rows.map_err(|error| DatasetError::File {
            path: path.clone(),
            reason: format!("{error}; correct the line, or delete the file to forget all of it"),
        })?;
        let rows = rows.into_iter().map(|row| ((row.source, row.series_uid), row.reason)).collect();
        let table = Self { path, rows };
        table.save()?;
        Ok(table)
    }

    /// Adds a line; what was said of the same source and series before is forgotten.
    pub fn insert(
        &mut self,
        source: &str,
        series_uid: &str,
        reason: &str,
    ) -> Result<(), DatasetError> {
        let key = (source.to_string(), series_uid.to_string());
        match self.rows.insert(key, reason.to_string()) {
            None => self.append([source, series_uid, reason].map(String::from).to_vec()),
            Some(before) if before == reason => Ok(()),
            Some(_) => self.save(),
        }
    }

    /// Takes away the lines of a series, if it has a UID, and of files.
    pub fn remove(&mut self, series_uid: &str, sources: &[String]) -> Result<(), DatasetError> {
        let before = self.rows.len();
        self.rows.retain(|(source, series), _| {
            if series.is_empty() { !sources.contains(source) } else { series != series_uid }
        });
        if self.rows.len() == before { Ok(()) } else { self.save() }
    }

    /// Writes the table anew.
    pub fn save(&self) -> Result<(), DatasetError> {
        let mut table = vec![HEADER.map(String::from).to_vec()];
        table.extend(self.rows.iter().map(|((source, series_uid), reason)| {
            vec![source.clone(), series_uid.clone(), reason.clone()]
        }));
        csv::write(&self.path, &table)
    }

    fn append(&self, row: Vec<String>) -> Result<(), DatasetError> {
        let mut line = Vec::new();
        // One write: two threads, or a death between two parts, must not mix lines.
        csv::write_rows(&mut line, &[row])
            .and_then(|()| File::options().append(true).open(&self.path)?.write_all(&line))
            .map_err(|error| file_error(&self.path, &error))
    }
}
