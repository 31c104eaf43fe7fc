//! Deep Active Self-paced Learning (Wang et al., MICCAI 2018), independent of network and task.
//!
//! The equations are pure functions, one file each: [`uncertainty`] (2, 3), [`density`] (3),
//! [`self_paced`] (4, 5, 6, 8), [`pseudo_label`] (7), [`pace`] (9). What is trained is a
//! [`Learner`], who annotates is an [`Oracle`], and a [`Run`] takes the two through a
//! [`Sequence`] of self-paced and active rounds, with its state on disk after every step.

pub mod config;
pub mod density;
pub mod descriptor;
pub mod engine;
pub mod error;
pub mod learner;
pub mod ledger;
pub mod max_cover;
pub mod observer;
pub mod oracle;
pub mod pace;
pub mod pseudo_label;
mod run_folder;
pub mod sample;
mod scoring;
pub mod self_paced;
pub mod sequence;
pub mod state;
mod step;
pub mod strategy;
pub mod uncertainty;

pub use config::{ConfigError, LearnConfig};
pub use engine::{Outcome, Run};
pub use error::RunError;
pub use learner::{Audit, FineTuneReport, Learner, Prediction, Score, VisitMembers};
pub use ledger::{Entry, Usage};
pub use observer::{Event, Observer};
pub use oracle::{Answer, Oracle, Question, Request};
pub use pace::Pace;
pub use sample::{AnnotatedSample, PseudoSample, SampleId, SampleScore};
pub use sequence::{RoundKind, Sequence, Stage};
pub use state::{FinishReason, Phase, RoundRecord, RunState};
pub use strategy::Strategy;
