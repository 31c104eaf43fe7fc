//! The files of a run:
//!
//! ```text
//! state.json                 where it stands
//! ledger.jsonl               which sample was used how
//! run.lock                   held while a process runs it
//! start/weights/             the learner before any training
//! rounds/0003/scores.jsonl   what the learner thought of the pool
//! rounds/0003/weights/       the learner after the round
//! ```
//!
//! A file is written under another name and then renamed, a folder likewise, so each is either
//! whole or not there.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::RunError;
use crate::learner::Learner;
use crate::sample::SampleScore;
use crate::state::{RunState, VERSION};

/// Folder, in the run's, of the weights before any training.
pub(crate) const START_WEIGHTS: &str = "start/weights";

/// Folder, in the run's, of the weights after a round.
pub(crate) fn round_weights(round: usize) -> String {
    format!("rounds/{round:04}/weights")
}

/// A run's folder, held by this process.
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Unlocks when it is dropped.
    _lock: File,
}

impl RunFolder {
    /// Takes a folder, which is made if it isn't there.
    pub(crate) fn take(path: &Path) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(RunError::io(path))?;
        let lock_path = path.join("run.lock");
        let lock = File::create(&lock_path).map_err(RunError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RunError::Locked { path: path.to_owned() });
            }
            // A file system without locks: nothing to be had.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => {
                return Err(RunError::Io { path: lock_path, source });
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.path.join("ledger.jsonl")
    }

    pub(crate) fn has_state(&self) -> bool {
        state_path(&self.path).exists()
    }

    pub(crate) fn save_state(&self, state: &RunState) -> Result<(), RunError> {
        let path = state_path(&self.path);
        replace(&path, |out| {
            serde_json::to_writer_pretty(&mut *out, state)?;
            out.write_all(b"\n")
        })
    }

    pub(crate) fn save_scores(&self, round: usize, scores: &[SampleScore]) -> Result<(), RunError> {
        let folder = self.path.join(format!("rounds/{round:04}"));
        fs::create_dir_all(&folder).map_err(RunError::io(&folder))?;
        replace(&folder.join("scores.jsonl"), |out| {
            scores.iter().try_for_each(|score| write_line(out, score))
        })
    }

    /// Saves weights as the folder `name` and loads them back.
    pub(crate) fn save_weights<L: Learner>(
        &self,
        learner: &mut L,
        name: &str,
        round: usize,
    ) -> Result<(), RunError> {
        let whole = self.path.join(name);
        let partial = whole.with_extension("partial");
        for leftover in [&partial, &whole] {
            match fs::remove_dir_all(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RunError::io(leftover)(error));
                }
                _ => {}
            }
        }
        fs::create_dir_all(&partial).map_err(RunError::io(&partial))?;
        learner.save(&partial).map_err(RunError::learner(round, "save its weights"))?;
        sync_files(&partial).map_err(RunError::io(&partial))?;
        fs::rename(&partial, &whole).map_err(RunError::io(&whole))?;
        self.load_weights(learner, name, round)
    }

    pub(crate) fn load_weights<L: Learner>(
        &self,
        learner: &mut L,
        name: &str,
        round: usize,
    ) -> Result<(), RunError> {
        learner.load(&self.path.join(name)).map_err(RunError::learner(round, "load its weights"))
    }
}

/// Reads the state of the run in a folder, without taking the folder.
pub(crate) fn read_state(folder: &Path) -> Result<RunState, RunError> {
    /// The one field that every version has.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let path = state_path(folder);
    let text = fs::read(&path).map_err(RunError::io(&path))?;
    let damaged = |source| RunError::Damaged { path: path.clone(), at: String::new(), source };
    let found = serde_json::from_slice::<Versioned>(&text).map_err(damaged)?.version;
    if found != VERSION {
        return Err(RunError::Version { path: path.clone(), found, known: VERSION });
    }
    serde_json::from_slice(&text).map_err(damaged)
}

fn state_path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

/// Brings the files of a folder down to the disk, so that the state never names lost weights.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    Ok(())
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Writes a file anew under another name, down to the disk, and renames it.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    let partial = path.with_extension("partial");
    let written = || {
        let mut out = BufWriter::new(File::create(&partial)?);
        write(&mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&partial, path)
    };
    written().map_err(RunError::io(path))
}
