//! Who annotates.

use std::error::Error;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sample::SampleId;
use crate::sequence::RoundKind;
use crate::strategy::{Choice, Strategy};

/// What became of a sample the oracle was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Answer {
    /// It is annotated, and the learner can read its label.
    Annotated {
        /// The sample.
        id: SampleId,
        /// Voxels the label marks as foreground.
        foreground_voxels: u64,
    },
    /// It can't be annotated (unreadable, out of scope). It leaves the pool and costs nothing.
    Declined {
        /// The sample.
        id: SampleId,
    },
}

impl Answer {
    /// The sample it is about.
    pub fn id(&self) -> &SampleId {
        match self {
            Self::Annotated { id, .. } | Self::Declined { id } => id,
        }
    }
}

/// A sample to annotate and why it was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The sample.
    pub sample: SampleId,
    /// What the strategy knew of it; `None` if it was drawn for the initial training.
    pub choice: Option<Choice>,
}

/// What an oracle is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The round.
    pub round: usize,
    /// What it does.
    pub kind: RoundKind,
    /// How its samples were chosen.
    pub strategy: Strategy,
    /// Folder of the learner's present weights.
    pub weights: PathBuf,
    /// Samples that the round asks for in all, those already answered included.
    pub of: usize,
    /// Samples without an answer yet, in the order in which they were chosen.
    pub questions: Vec<Question>,
}

/// Somebody who can label samples: hidden true labels, or a person.
pub trait Oracle {
    /// Why something failed.
    type Error: Error + Send + Sync + 'static;

    /// Name that goes into the ledger, such as `labels` or `queue`.
    fn name(&self) -> &str;

    /// Asks for the labels of samples. An oracle that isn't done with all answers for those it is
    /// done with; the run then waits and asks for the others later. Asked again for a sample, it
    /// answers the same: a run that was killed before it noted the answer does ask again.
    ///
    /// # Errors
    /// If the oracle can't be reached or its answer can't be read.
    fn annotate(&mut self, request: &Request) -> Result<Vec<Answer>, Self::Error>;
}
