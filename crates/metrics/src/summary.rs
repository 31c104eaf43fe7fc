//! One line of figures from many scans.

use serde::{Deserialize, Serialize};

use crate::matching::ScanResult;

/// The figures of a set of scans, always together: Dice over all nodules hides what a detector
/// misses only if it is read without the hit rate, and the hit rate only without the false
/// positives. What is undefined (no scan, no nodule, no hit, one value for a deviation) is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Scans, with or without nodules or predictions.
    pub scans: usize,
    /// Reference nodules.
    pub nodules: usize,
    /// Reference nodules that a prediction found.
    pub hits: usize,
    /// Mean Dice over all reference nodules, a miss counted as 0.
    pub dice_mean: Option<f64>,
    /// Sample standard deviation (n - 1) of the same; from two nodules on.
    pub dice_sd: Option<f64>,
    /// Mean Dice over the nodules that were found.
    pub tp_dice_mean: Option<f64>,
    /// Sample standard deviation (n - 1) of the same; from two hits on.
    pub tp_dice_sd: Option<f64>,
    /// Hits / nodules.
    pub hit_rate: Option<f64>,
    /// False positives / scans.
    pub false_positives_per_scan: Option<f64>,
    /// Duplicates / scans: second predictions on a nodule already found.
    pub duplicates_per_scan: Option<f64>,
    /// Predictions on places that don't count / scans.
    pub ignored_per_scan: Option<f64>,
}

/// Of sorted values; `None` if there is none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]))
}

impl Summary {
    /// Sums up scans; the order of the scans changes nothing but the last bits of the means.
    pub fn of(scans: &[ScanResult]) -> Self {
        let all: Vec<f64> = scans.iter().flat_map(|s| &s.nodules).map(|n| n.dice).collect();
        let hits: Vec<f64> = scans
            .iter()
            .flat_map(|s| &s.nodules)
            .filter(|n| n.prediction.is_some())
            .map(|n| n.dice)
            .collect();
        let false_positives: usize = scans.iter().map(|s| s.false_positives.len()).sum();
        let ignored: usize = scans.iter().map(|s| s.ignored.len()).sum();
        let duplicates: usize = scans.iter().map(|s| s.duplicates.len()).sum();
        Self {
            scans: scans.len(),
            nodules: all.len(),
            hits: hits.len(),
            dice_mean: mean(&all),
            dice_sd: sample_sd(&all),
            tp_dice_mean: mean(&hits),
            tp_dice_sd: sample_sd(&hits),
            hit_rate: ratio(hits.len(), all.len()),
            false_positives_per_scan: ratio(false_positives, scans.len()),
            duplicates_per_scan: ratio(duplicates, scans.len()),
            ignored_per_scan: ratio(ignored, scans.len()),
        }
    }
}

pub(crate) fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

pub(crate) fn sample_sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::NoduleResult;
    use crate::overlap::Overlap;

    fn nodule(dice: f64) -> NoduleResult {
        NoduleResult {
            reference: 1,
            prediction: (dice > 0.0).then_some(1),
            dice,
            overlap: Overlap { reference_voxels: 1, predicted_voxels: 0, intersection: 0 },
        }
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-12)
    }

    #[test]
    fn median_by_hand() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 7.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn by_hand() {
        let scans = [
            ScanResult { nodules: vec![nodule(0.9), nodule(0.0)], ..Default::default() },
            ScanResult {
                nodules: vec![nodule(0.6)],
                false_positives: vec![4, 5],
                duplicates: vec![6],
                ignored: vec![7],
            },
            ScanResult { false_positives: vec![1], ..Default::default() },
            ScanResult::default(),
        ];
        let summary = Summary::of(&scans);
        assert_eq!((summary.scans, summary.nodules, summary.hits), (4, 3, 2));
        assert!(close(summary.dice_mean, 0.5));
        // Deviations 0.4, -0.5, 0.1: 0.42 / 2.
        assert!(close(summary.dice_sd, 0.21_f64.sqrt()));
        assert!(close(summary.tp_dice_mean, 0.75));
        assert!(close(summary.tp_dice_sd, 0.045_f64.sqrt()));
        assert!(close(summary.hit_rate, 2.0 / 3.0));
        assert!(close(summary.false_positives_per_scan, 0.75));
        assert!(close(summary.duplicates_per_scan, 0.25));
        assert!(close(summary.ignored_per_scan, 0.25));
    }

    #[test]
    fn nothing_detected() {
        let scans = [ScanResult { nodules: vec![nodule(0.0)], ..Default::default() }];
        let summary = Summary::of(&scans);
        assert_eq!((summary.dice_mean, summary.hit_rate), (Some(0.0), Some(0.0)));
        assert_eq!((summary.dice_sd, summary.tp_dice_mean, summary.tp_dice_sd), (None, None, None));
        assert_eq!(summary.false_positives_per_scan, Some(0.0));
    }

    #[test]
    fn no_nodule_and_no_scan() {
        let scans = [ScanResult { false_positives: vec![1, 2], ..Default::default() }];
        let summary = Summary::of(&scans);
        assert_eq!((summary.dice_mean, summary.hit_rate), (None, None));
        assert_eq!(summary.false_positives_per_scan, Some(2.0));
        let nothing = Summary::of(&[]);
        assert_eq!((nothing.scans, nothing.false_positives_per_scan), (0, None));
    }
}
