//! What the steps of a round's training amount to, also when another process goes on with it.

use std::collections::BTreeMap;

use dasl_learn::FineTuneReport;
use dasl_net::trainer::StepLosses;

/// What the steps of a training amount to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sums {
    losses: f64,
    steps: usize,
    accuracies: f64,
    with_mask: usize,
}

impl Sums {
    /// Adds a step.
    pub(super) fn add(&mut self, step: &StepLosses) {
        self.losses += step.total;
        self.steps += 1;
        if let Some(mask) = step.mask {
            // Accuracy of a step: the Dice of its masks, 1 - (1 + L_Dice).
            self.accuracies += 1.0 - mask;
            self.with_mask += 1;
        }
    }

    /// Their means.
    pub(super) fn report(&self) -> FineTuneReport {
        let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        FineTuneReport {
            mean_accuracy: mean(self.accuracies, self.with_mask),
            mean_loss: mean(self.losses, self.steps),
        }
    }

    /// As a checkpoint of a training holds them; every digit of a number is written.
    pub(super) fn about(&self, training: &str) -> BTreeMap<String, String> {
        let Self { losses, steps, accuracies, with_mask } = self;
        let sums = format!("{losses} {steps} {accuracies} {with_mask}");
        BTreeMap::from([(SUMS.into(), sums), (TRAINING.into(), training.into())])
    }

    /// Those of a checkpoint, if it is of this training.
    pub(super) fn of(about: &BTreeMap<String, String>, training: &str) -> Option<Self> {
        (about.get(TRAINING)? == training).then_some(())?;
        let cells: Vec<&str> = about.get(SUMS)?.split(' ').collect();
        let [losses, steps, accuracies, with_mask] = cells[..] else { return None };
        Some(Self {
            losses: losses.parse().ok()?,
            steps: steps.parse().ok()?,
            accuracies: accuracies.parse().ok()?,
            with_mask: with_mask.parse().ok()?,
        })
    }
}

/// Where a checkpoint holds them.
const SUMS: &str = "losses steps accuracies with_mask";
/// And which training it is of.
const TRAINING: &str = "training";
