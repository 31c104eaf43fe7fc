//! Another system on the same scans.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use dasl_metrics::{Difference, Summary, cpm_difference, mean_difference};
use dasl_volume::dataset::Dataset;
use serde::{Deserialize, Serialize};

use super::froc_curve::ranked;
use super::{Evaluated, Evaluation, evaluate};
use crate::args::BootstrapArgs;

/// Its figures, and how the evaluated system differs from it: figures less its own, paired by scan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Against {
    /// Where its outlines are.
    pub predictions: PathBuf,
    /// Its figures.
    pub summary: Summary,
    /// Its CPM, where its outlines have scores.
    #[serde(default)]
    pub cpm: Option<f64>,
    /// Of mean Dice.
    pub dice_difference: Option<Difference>,
    /// Of the hit rate.
    #[serde(default)]
    pub hit_rate_difference: Option<Difference>,
    /// Of the false positives per scan.
    #[serde(default)]
    pub false_positives_difference: Option<Difference>,
    /// Of CPM, where both have scores.
    #[serde(default)]
    pub cpm_difference: Option<Difference>,
}

impl Against {
    /// The differences with their names.
    pub fn differences(&self) -> [(&'static str, Option<Difference>); 4] {
        [
            ("Dice", self.dice_difference),
            ("hit rate", self.hit_rate_difference),
            ("false positives/scan", self.false_positives_difference),
            ("CPM", self.cpm_difference),
        ]
    }
}

/// A difference in words.
pub fn in_words(d: Difference) -> String {
    let (low, high) = (d.interval.low, d.interval.high);
    format!("{:+.4} (95% {low:+.4} to {high:+.4}), p = {:.3}, paired", d.difference, d.p)
}

/// Evaluates another system and compares it, nodule by nodule and scan by scan.
///
/// # Errors
/// If it can't be evaluated, or was not used on the same scans.
pub(super) fn compared(
    evaluation: &Evaluation,
    predictions: &Path,
    dataset: &Dataset,
    bootstrap: BootstrapArgs,
) -> Result<Against> {
    let other = evaluate(predictions, dataset, BootstrapArgs { bootstrap: 0, ..bootstrap })?;
    let names = |e: &Evaluation| e.scans.iter().map(|s| s.scan.clone()).collect::<BTreeSet<_>>();
    if let Some(scan) = names(evaluation).symmetric_difference(&names(&other)).next() {
        bail!("scan {scan} was predicted by only one of the two systems; segment it with both");
    }
    let BootstrapArgs { bootstrap: resamples, seed } = bootstrap;
    let difference = |of: &dyn Fn(&Evaluated) -> Vec<f64>| {
        let both = evaluation.scans.iter().zip(&other.scans);
        let pairs: Vec<Vec<_>> =
            both.map(|(a, b)| of(a).into_iter().zip(of(b)).collect()).collect();
        mean_difference(&pairs, resamples, seed)
    };
    let rankings = ranked(&evaluation.scans)?.zip(ranked(&other.scans)?);
    let of_cpm = rankings.map(|(a, b)| cpm_difference(&a, &b, resamples, seed)).transpose()?;
    Ok(Against {
        predictions: predictions.to_path_buf(),
        cpm: other.froc.map(|froc| froc.cpm),
        dice_difference: difference(&|s| s.result.nodules.iter().map(|n| n.dice).collect()),
        hit_rate_difference: difference(&Evaluated::hits),
        false_positives_difference: difference(&|s| vec![s.result.false_positives.len() as f64]),
        cpm_difference: of_cpm.flatten(),
        summary: other.summary,
    })
}
