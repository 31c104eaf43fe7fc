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

    /// As a checkpoint of a round holds them; every digit of a number is written.
    pub(super) fn about(&self, round: usize) -> BTreeMap<String, String> {
        let Self { losses, steps, accuracies, with_mask } = self;
        let sums = format!("{round} {losses} {steps} {accuracies} {with_mask}");
        BTreeMap::from([(SUMS.to_string(), sums)])
    }

    /// Those of a checkpoint, if it is of this round.
    pub(super) fn of(about: &BTreeMap<String, String>, round: usize) -> Option<Self> {
        let cells: Vec<&str> = about.get(SUMS)?.split(' ').collect();
        let [own, losses, steps, accuracies, with_mask] = cells[..] else { return None };
        (own.parse() == Ok(round)).then_some(())?;
        Some(Self {
            losses: losses.parse().ok()?,
            steps: steps.parse().ok()?,
            accuracies: accuracies.parse().ok()?,
            with_mask: with_mask.parse().ok()?,
        })
    }
}

/// Where a checkpoint holds them.
const SUMS: &str = "round losses steps accuracies with_mask";
