//! Looking on while a run goes.

use std::ops::ControlFlow;

use crate::sample::SampleId;
use crate::sequence::RoundKind;
use crate::state::{FinishReason, RoundRecord};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A round begins, or goes on after a restart.
    Round {
        /// Its number; 0 is the initial training.
        round: usize,
        /// What it does.
        kind: RoundKind,
        /// Samples in the pool.
        pool: usize,
        /// Annotated samples.
        annotated: usize,
    },
    /// One more sample of the pool is predicted.
    Predicted {
        /// How many are.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// The oracle is asked for these.
    Asking {
        /// The samples.
        samples: &'a [SampleId],
    },
    /// The oracle hasn't annotated these yet.
    Waiting {
        /// The samples.
        pending: &'a [SampleId],
    },
    /// Fine-tuning begins.
    FineTuning {
        /// Annotated samples, weight 1.
        annotated: usize,
        /// Pseudo-labelled samples.
        pseudo: usize,
        /// Sum of their weights.
        weight_sum: f64,
    },
    /// The weights are saved and validation begins.
    Validating,
    /// The round's entries are in the ledger and its state is about to be saved.
    Recorded {
        /// The round.
        record: &'a RoundRecord,
    },
    /// The state on disk has been replaced.
    StateSaved,
    /// The run is over.
    Finished {
        /// Why.
        reason: FinishReason,
    },
}

/// Someone who is told. Breaking stops the run where it is, as a kill would; it can be resumed.
pub trait Observer {
    /// Is told one event.
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()>;
}

/// Nobody looks on.
impl Observer for () {
    fn event(&mut self, _: &Event<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
