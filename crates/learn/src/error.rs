//! What can go wrong in a run.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::sample::SampleId;

/// Why a run stopped. Whatever it was, the run can be resumed from its folder once it is mended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting makes no sense.
    #[error("the configuration cannot be run")]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error("{}: cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the run is damaged.
    #[error("{}: is damaged{at}; restore the run folder from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, or nothing.
        at: String,
        /// What the reader met.
        source: serde_json::Error,
    },
    /// The ledger lost entries that the state counts on.
    #[error(
        "{}: has {found} bytes, but the state knows of {known}; restore the run folder from a copy",
        path.display()
    )]
    LedgerTooShort {
        /// The ledger.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes it had.
        known: u64,
    },
    /// The state is of another version.
    #[error(
        "{}: is of version {found}, this program reads version {known}; resume the run with the \
         program that began it",
        path.display()
    )]
    Version {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// There is a run already.
    #[error("{}: holds a run already; resume it or choose another folder", path.display())]
    Exists {
        /// The run folder.
        path: PathBuf,
    },
    /// Another process runs it.
    #[error("{}: another process is running this run; wait for it or stop it", path.display())]
    Locked {
        /// The run folder.
        path: PathBuf,
    },
    /// There is nothing to learn from.
    #[error("there is no sample; give a pool or annotated samples")]
    NoSamples,
    /// A sample is listed twice.
    #[error("sample {id} is listed twice; the pool and the annotated samples need distinct ids")]
    Duplicate {
        /// The sample.
        id: SampleId,
    },
    /// The learner failed.
    #[error("round {round}: the learner failed to {step}")]
    Learner {
        /// The round.
        round: usize,
        /// What it was to do.
        step: &'static str,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The learner's result can't be used.
    #[error("round {round}: the learner's {what} {problem}")]
    LearnerResult {
        /// The round.
        round: usize,
        /// What it gave.
        what: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The oracle failed.
    #[error("round {round}: oracle {oracle} failed to annotate")]
    Oracle {
        /// The round.
        round: usize,
        /// The oracle's name.
        oracle: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The oracle answered something it wasn't asked.
    #[error("round {round}: oracle {oracle} answered for sample {id}, which was not asked for")]
    NotAsked {
        /// The round.
        round: usize,
        /// The oracle's name.
        oracle: String,
        /// The sample.
        id: SampleId,
    },
    /// The observer asked to stop.
    #[error("the run was stopped; it can be resumed")]
    Stopped,
}

impl RunError {
    /// Names the file an I/O error is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Names the round and step in which the learner failed.
    pub(crate) fn learner<E: Error + Send + Sync + 'static>(
        round: usize,
        step: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Learner { round, step, source: Box::new(source) }
    }
}
