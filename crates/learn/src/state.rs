//! Where a run stands: all that is needed to go on with it. The same bytes whatever happened on
//! the way, so no clock and no machine is in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::LearnConfig;
use crate::learner::{FineTuneReport, Score};
use crate::ledger::{LedgerMark, PseudoLabelAudit};
use crate::oracle::Answer;
use crate::pace::Pace;
use crate::sample::{AnnotatedSample, SampleId};
use crate::sequence::{RoundKind, Stage};
use crate::strategy::Choice;

/// Version of the state file.
pub(crate) const VERSION: u32 = 1;

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// Every stage of the sequence is done.
    SequenceEnded,
    /// The annotations are spent and only active stages were left.
    BudgetSpent,
    /// No sample is left unannotated.
    PoolEmpty,
}

/// A sample chosen for pseudo-labelling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PseudoChoice {
    /// The sample.
    pub sample: SampleId,
    /// v of Eq. (8), above 0.
    pub weight: f64,
    /// `l_i` under its pseudo-label.
    pub loss: f64,
    /// Eq. (2).
    pub uncertainty: f64,
}

/// An answer and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// What became of the sample.
    #[serde(flatten)]
    pub answer: Answer,
    /// The oracle's name.
    pub by: String,
}

/// What the round in progress has decided so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// Samples drawn for the initial training.
    pub drawn: Vec<SampleId>,
    /// Samples chosen by the strategy, best first.
    pub chosen: Vec<Choice>,
    /// What the oracle answered, by sample.
    pub answers: BTreeMap<SampleId, Answered>,
    /// Audits of the pseudo-labels of those that were annotated.
    pub audits: BTreeMap<SampleId, PseudoLabelAudit>,
    /// Samples to train on with pseudo-labels, by id.
    pub pseudo: Vec<PseudoChoice>,
}

impl RoundPlan {
    /// Samples the oracle has not answered for, in the order in which they were chosen.
    pub fn pending(&self) -> Vec<SampleId> {
        self.drawn
            .iter()
            .chain(self.chosen.iter().map(|c| &c.sample.id))
            .filter(|id| !self.answers.contains_key(id))
            .cloned()
            .collect()
    }
}

/// The next step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Phase {
    /// Save the untrained weights and draw the initial samples.
    Start,
    /// Predict the pool and decide what the round uses.
    Predict,
    /// Ask the oracle, and audit when all is answered.
    Annotate {
        /// What is decided.
        plan: RoundPlan,
    },
    /// Fine-tune and save the weights.
    FineTune {
        /// What is decided.
        plan: RoundPlan,
    },
    /// Validate, write the ledger and close the round.
    Validate {
        /// What is decided.
        plan: RoundPlan,
        /// How the fine-tuning went; `None` if there was nothing to train on.
        report: Option<FineTuneReport>,
    },
    /// Nothing; the run is over.
    Finished {
        /// Why.
        reason: FinishReason,
    },
}

/// What a finished round did and brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Its number; 0 is the initial training.
    pub round: usize,
    /// What it did.
    pub kind: RoundKind,
    /// The pace it worked with.
    pub lambda: f64,
    /// Samples in the pool when it ended.
    pub pool: usize,
    /// Annotated samples it trained on.
    pub annotated: usize,
    /// Annotations the oracle has given up to its end.
    pub spent: usize,
    /// Pseudo-labelled samples it trained on.
    pub pseudo: usize,
    /// Sum of their weights, |v|_1.
    pub weight_sum: f64,
    /// Mean Dice of the pseudo-labels audited in it; `None` if there were none.
    pub audit_dice: Option<f64>,
    /// How the fine-tuning went; `None` if there was nothing to train on.
    pub report: Option<FineTuneReport>,
    /// Validation.
    pub score: Score,
    /// Folder, in the run's, of its weights.
    pub weights: String,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Version of this file's form.
    pub version: u32,
    /// The settings.
    pub config: LearnConfig,
    /// The next step.
    pub phase: Phase,
    /// Number of the round in progress, or of the one after the last.
    pub round: usize,
    /// What the round in progress does.
    pub kind: RoundKind,
    /// Place in the sequence of the stage in progress.
    pub stage: usize,
    /// Rounds of that stage that are done.
    pub rounds_in_stage: usize,
    /// The pace.
    pub pace: Pace,
    /// Annotations the oracle has given.
    pub spent: usize,
    /// Folder, in the run's, of the present weights; `None` before the first step.
    pub weights: Option<String>,
    /// How much of the ledger counts.
    pub ledger: LedgerMark,
    /// Finished rounds.
    pub history: Vec<RoundRecord>,
    /// Annotated samples, by id.
    pub annotated: Vec<AnnotatedSample>,
    /// Samples the oracle could not annotate, by id.
    pub declined: Vec<SampleId>,
    /// Samples without annotation, by id.
    pub pool: Vec<SampleId>,
    /// The last round that trained on the pseudo-label of a sample of the pool.
    pub last_pseudo: BTreeMap<SampleId, usize>,
}

impl RunState {
    /// Annotations the budget still allows; `None` is no limit.
    pub fn budget_left(&self) -> Option<usize> {
        self.config.budget.map(|budget| budget.saturating_sub(self.spent))
    }

    /// The finished round with the best validation score; of equal ones the last, which
    /// has seen most: without validation that is the last of all.
    pub fn best(&self) -> Option<&RoundRecord> {
        self.history
            .iter()
            .reduce(|best, r| if r.score.value >= best.score.value { r } else { best })
    }

    /// Whether the round in progress trains from the weights that the run began with.
    pub(crate) fn trains_anew(&self) -> bool {
        let plan = self.config.sequence.stages().get(self.stage);
        self.kind == RoundKind::Initial || plan.is_some_and(|plan| plan.anew)
    }

    /// Closes the round in progress: moves to the next round of the stage, to the next stage that
    /// can do anything, or to the end.
    ///
    /// An active stage ends when the budget is spent, any stage when its rounds are done or, with
    /// a patience, when its scores no longer rise. The run ends with the last stage, or when the
    /// pool is empty.
    pub(crate) fn next_round(&mut self) {
        self.round += 1;
        if self.kind != RoundKind::Initial {
            self.rounds_in_stage += 1;
        }
        let mut skipped_for_budget = false;
        while let Some(plan) = self.config.sequence.stages().get(self.stage).copied() {
            if self.pool.is_empty() {
                return self.finish(FinishReason::PoolEmpty);
            }
            let rounds = plan.rounds.unwrap_or(match plan.stage {
                Stage::Spl => self.config.spl_rounds,
                Stage::Al => self.config.al_rounds,
            });
            let no_budget = plan.stage == Stage::Al && self.budget_left() == Some(0);
            if self.rounds_in_stage < rounds && !no_budget && !self.out_of_patience() {
                self.kind = plan.stage.into();
                self.phase = Phase::Predict;
                return;
            }
            skipped_for_budget = no_budget && self.rounds_in_stage < rounds;
            self.stage += 1;
            self.rounds_in_stage = 0;
        }
        self.finish(if skipped_for_budget {
            FinishReason::BudgetSpent
        } else {
            FinishReason::SequenceEnded
        });
    }

    fn finish(&mut self, reason: FinishReason) {
        self.phase = Phase::Finished { reason };
    }

    fn out_of_patience(&self) -> bool {
        let Some(patience) = self.config.patience.filter(|&p| self.rounds_in_stage >= p) else {
            return false;
        };
        let best = |rounds: &[RoundRecord]| {
            rounds.iter().map(|r| r.score.value).fold(f64::NEG_INFINITY, f64::max)
        };
        let (before, last) = self.history.split_at(self.history.len().saturating_sub(patience));
        best(last) <= best(before)
    }
}
