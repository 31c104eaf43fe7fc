//! `ledger.jsonl`: which sample was used, with what label, weight and score, by whom, in which
//! round. Entries are only ever appended, one JSON object a line.
//!
//! A round's entries are appended at its end; then the state file notes how long the ledger is. A
//! run that is killed in between cuts off, when it resumes, what the state doesn't know, and
//! appends it again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::learner::Audit;
use crate::sample::SampleId;
use crate::sequence::RoundKind;

/// Where an annotation comes from; written `oracle:NAME` or `given:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnnotationSource(String);

impl AnnotationSource {
    /// From the oracle of this name, in this run.
    pub fn oracle(name: &str) -> Self {
        Self(format!("oracle:{name}"))
    }

    /// From whoever annotated it before the run.
    pub fn given(name: &str) -> Self {
        Self(format!("given:{name}"))
    }
}

/// Where a pseudo-label comes from; written `pseudo`. Not to be had from an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PseudoLabelSource {
    /// The learner itself.
    #[serde(rename = "pseudo")]
    Pseudo,
}

/// What a pseudo-label was worth when the sample was annotated later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PseudoLabelAudit {
    /// The last round that trained on the pseudo-label.
    pub round: usize,
    /// The pseudo-label of that round against the annotation.
    #[serde(flatten)]
    pub audit: Audit,
}

/// How a sample was used in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Usage {
    /// It was annotated before the run.
    Given {
        /// Where the label comes from.
        label: AnnotationSource,
    },
    /// Chance chose it for the initial training, and it was annotated.
    Initial {
        /// Where the label comes from.
        label: AnnotationSource,
        /// Voxels the label marks as foreground.
        foreground_voxels: u64,
    },
    /// The strategy chose it in an active round, and it was annotated.
    Annotated {
        /// Where the label comes from.
        label: AnnotationSource,
        /// Voxels the label marks as foreground.
        foreground_voxels: u64,
        /// What it was chosen by; `None` where chance chose.
        score: Option<f64>,
        /// Eq. (2).
        uncertainty: f64,
        /// The density of Eq. (3), if it was needed.
        density: Option<f64>,
        /// `l_i` under its pseudo-label.
        loss: f64,
        /// What its last pseudo-label was worth, if it was ever trained on.
        audit: Option<PseudoLabelAudit>,
    },
    /// It was trained on with a pseudo-label.
    Pseudo {
        /// The learner itself.
        label: PseudoLabelSource,
        /// Folder, in the run's, of the weights that gave the label.
        labelled_by: String,
        /// v of Eq. (8).
        weight: f64,
        /// `l_i` under it.
        loss: f64,
        /// The pace in this round.
        lambda: f64,
        /// Eq. (2).
        uncertainty: f64,
    },
    /// The oracle was asked but could not annotate it; it left the pool.
    Declined {
        /// The oracle's name.
        by: String,
    },
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The round; 0 is the initial training.
    pub round: usize,
    /// What the round did.
    pub kind: RoundKind,
    /// The sample.
    pub sample: SampleId,
    /// How it was used.
    #[serde(flatten)]
    pub usage: Usage,
}

/// How much of a ledger the state knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerMark {
    /// Lines.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An open ledger.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    mark: LedgerMark,
}

impl Ledger {
    /// Opens a ledger, or makes an empty one, and cuts off what is past `mark`.
    pub(crate) fn open(path: &Path, mark: LedgerMark) -> Result<Self, RunError> {
        let io = |source| RunError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?.len();
        if found < mark.bytes {
            let (path, known) = (path.to_owned(), mark.bytes);
            return Err(RunError::LedgerTooShort { path, found, known });
        }
        file.set_len(mark.bytes).map_err(io)?;
        Ok(Self { path: path.to_owned(), file, mark })
    }

    /// Appends entries and returns how long the ledger is then. Called again without an `open` in
    /// between, it goes on from there.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<LedgerMark, RunError> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)
                .map_err(|error| RunError::Io { path: self.path.clone(), source: error.into() })?;
            lines.push(b'\n');
        }
        self.file
            .seek(SeekFrom::Start(self.mark.bytes))
            .and_then(|_| self.file.write_all(&lines))
            .and_then(|()| self.file.sync_data())
            .map_err(RunError::io(&self.path))?;
        self.mark.entries += entries.len() as u64;
        self.mark.bytes += lines.len() as u64;
        Ok(self.mark)
    }
}

/// Reads the entries of a run's `ledger.jsonl` up to `mark` (in [`crate::RunState::ledger`]).
///
/// # Errors
/// If the file can't be read or a line is no entry.
pub fn read_ledger(path: &Path, mark: LedgerMark) -> Result<Vec<Entry>, RunError> {
    let file = File::open(path).map_err(RunError::io(path))?;
    let mut entries = Vec::new();
    for (i, line) in BufReader::new(file.take(mark.bytes)).lines().enumerate() {
        let line = line.map_err(RunError::io(path))?;
        entries.push(serde_json::from_str(&line).map_err(|source| RunError::Damaged {
            path: path.to_owned(),
            at: format!(" in line {}", i + 1),
            source,
        })?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sample: &str, usage: Usage) -> Entry {
        Entry { round: 4, kind: RoundKind::Al, sample: sample.into(), usage }
    }

    fn some_entries() -> Vec<Entry> {
        vec![
            entry(
                "a",
                Usage::Annotated {
                    label: AnnotationSource::oracle("labels"),
                    foreground_voxels: 12,
                    score: Some(0.1),
                    uncertainty: 0.3,
                    density: Some(1.0 / 3.0),
                    loss: 0.7,
                    audit: Some(PseudoLabelAudit {
                        round: 2,
                        audit: Audit { dice: 0.8, precision: None },
                    }),
                },
            ),
            entry(
                "b",
                Usage::Pseudo {
                    label: PseudoLabelSource::Pseudo,
                    labelled_by: "rounds/0003/weights".into(),
                    weight: 0.4,
                    loss: 0.003,
                    lambda: 0.005,
                    uncertainty: 0.01,
                },
            ),
            entry("c", Usage::Declined { by: "queue".into() }),
            entry("d", Usage::Given { label: AnnotationSource::given("import") }),
        ]
    }

    #[test]
    fn a_line_reads_as_it_says() {
        let line = serde_json::to_string(&some_entries()[0]).expect("json");
        assert_eq!(
            line,
            r#"{"round":4,"kind":"al","sample":"a","event":"annotated","label":"oracle:labels","foreground_voxels":12,"score":0.1,"uncertainty":0.3,"density":0.3333333333333333,"loss":0.7,"audit":{"round":2,"dice":0.8,"precision":null}}"#
        );
    }

    #[test]
    fn what_the_state_does_not_know_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.jsonl");
        let entries = some_entries();
        let mut ledger = Ledger::open(&path, LedgerMark::default()).expect("new");
        let first = ledger.append(&entries[..2]).expect("appended");
        let all = ledger.append(&entries[2..]).expect("appended");
        assert_eq!((first.entries, all.entries), (2, 4));
        assert_eq!(read_ledger(&path, all).expect("read"), entries);
        assert_eq!(read_ledger(&path, first).expect("read"), entries[..2]);

        let undisturbed = std::fs::read(&path).expect("bytes");
        std::fs::write(&path, [&undisturbed[..], b"{\"torn"].concat()).expect("torn");
        let mut ledger = Ledger::open(&path, first).expect("resumed");
        assert_eq!(ledger.append(&entries[2..]).expect("again"), all);
        assert_eq!(std::fs::read(&path).expect("bytes"), undisturbed);

        std::fs::write(&path, &undisturbed[..10]).expect("lost");
        assert!(matches!(Ledger::open(&path, all), Err(RunError::LedgerTooShort { .. })));
    }
}
