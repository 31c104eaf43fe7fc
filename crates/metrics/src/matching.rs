//! Which predicted instance found which reference nodule, in one scan.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayView3, Zip};
use serde::{Deserialize, Serialize};

use crate::froc::UNKNOWN_DIAMETER_MM;
use crate::overlap::Overlap;

/// Name of the rule by which [`match_instances`] counts; print it beside every figure.
///
/// `overlap`: a predicted instance may find a reference nodule if they share a voxel. Of all such
/// pairs the one with the largest Dice is taken first, then the next whose nodule and prediction
/// are both still free, and so on; of equal Dice the smaller reference label, then the smaller
/// predicted label goes first. Each nodule has at most one prediction and each prediction finds at
/// most one nodule.
///
/// A prediction that is left over is a false positive if it touches no nodule at all. If it
/// touches one that another prediction has found, it is a duplicate and not a false positive, as
/// under LUNA16's rule; duplicates are counted and reported beside the false positives, because a
/// prediction broken into many pieces would otherwise cost nothing.
pub const MATCHING_RULE: &str = "overlap";

/// Why two label maps could not be matched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchingError {
    /// The label maps lie on different grids.
    #[error(
        "the reference has {reference:?} voxels [z, y, x], the prediction {predicted:?}; resample \
         the prediction to the reference's grid first"
    )]
    ShapeMismatch {
        /// Shape of the reference, [z, y, x].
        reference: [usize; 3],
        /// Shape of the prediction, [z, y, x].
        predicted: [usize; 3],
    },
}

/// How one reference nodule fared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoduleResult {
    /// Label of the nodule in the reference.
    pub reference: u16,
    /// Label of the prediction that found it; `None` is a miss.
    pub prediction: Option<u16>,
    /// Dice with that prediction; 0 for a miss.
    pub dice: f64,
    /// Voxel counts; of a miss `predicted_voxels` and `intersection` are 0.
    pub overlap: Overlap,
}

/// How one scan fared. A scan without nodules or without predictions is a result too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanResult {
    /// Every reference nodule, by ascending label.
    pub nodules: Vec<NoduleResult>,
    /// Predictions that touch no nodule, by ascending label.
    pub false_positives: Vec<u16>,
    /// Predictions that touch only nodules which another prediction found, by ascending label.
    pub duplicates: Vec<u16>,
    /// Predictions that touch no nodule but lie on a place that does not count, by ascending
    /// label.
    #[serde(default)]
    pub ignored: Vec<u16>,
}

/// A place that is neither nodule nor background.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IgnoredPlace {
    /// Its middle on the label maps' grid [z, y, x], in voxels.
    pub centre: [f64; 3],
    /// Its size, mm; 0 where only a point is known, which counts as 10 mm, as in LUNA16.
    pub diameter_mm: f64,
}

impl ScanResult {
    /// Takes the false positives that lie on a place that does not count away from the false
    /// positives. A prediction lies there if its mask holds the place's middle, or its own middle
    /// (the mean of its voxels) is less than the place's radius away, as under LUNA16's rule.
    ///
    /// # Shapes
    /// `predicted` is the label map that was matched, [z, y, x]; `spacing_mm` along these axes.
    pub fn ignore(
        &mut self,
        predicted: ArrayView3<'_, u16>,
        places: &[IgnoredPlace],
        spacing_mm: [f64; 3],
    ) {
        if places.is_empty() || self.false_positives.is_empty() {
            return;
        }
        // Sum of the voxels' indices, and how many.
        let mut sums = BTreeMap::<u16, ([f64; 3], f64)>::new();
        Zip::indexed(predicted).for_each(|(z, y, x), &label| {
            if label != 0 {
                let (sum, count) = sums.entry(label).or_default();
                for (sum, at) in sum.iter_mut().zip([z, y, x]) {
                    *sum += at as f64;
                }
                *count += 1.0;
            }
        });
        let lies_on = |label: u16, place: &IgnoredPlace| {
            let at = place.centre.map(|c| c.round() as i64);
            let holds =
                at.iter().all(|c| *c >= 0) && predicted.get(at.map(|c| c as usize)) == Some(&label);
            let squared_mm2: f64 = sums.get(&label).map_or(f64::INFINITY, |(sum, count)| {
                let off = |axis: usize| (sum[axis] / count - place.centre[axis]) * spacing_mm[axis];
                (0..3).map(|axis| off(axis).powi(2)).sum()
            });
            let diameter_mm =
                if place.diameter_mm > 0.0 { place.diameter_mm } else { UNKNOWN_DIAMETER_MM };
            holds || squared_mm2 < (diameter_mm / 2.0).powi(2)
        };
        let all = std::mem::take(&mut self.false_positives);
        (self.ignored, self.false_positives) =
            all.into_iter().partition(|&label| places.iter().any(|p| lies_on(label, p)));
    }
}

/// Matches the instances of two label maps of one scan by the rule [`MATCHING_RULE`].
///
/// # Shapes
/// Both [z, y, x] on the same grid; 0 is background, every other value one instance.
///
/// # Errors
/// If the shapes differ.
#[allow(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn match_instances(
    reference: ArrayView3<'_, u16>,
    predicted: ArrayView3<'_, u16>,
) -> Result<ScanResult, MatchingError> {
    if reference.dim() != predicted.dim() {
        let (rz, ry, rx) = reference.dim();
        let (pz, py, px) = predicted.dim();
        return Err(MatchingError::ShapeMismatch {
            reference: [rz, ry, rx],
            predicted: [pz, py, px],
        });
    }
    let mut reference_voxels = BTreeMap::<u16, u64>::new();
    let mut predicted_voxels = BTreeMap::<u16, u64>::new();
    let mut shared = BTreeMap::<(u16, u16), u64>::new();
    Zip::from(reference).and(predicted).for_each(|&r, &p| {
        if r != 0 {
            *reference_voxels.entry(r).or_default() += 1;
        }
        if p != 0 {
            *predicted_voxels.entry(p).or_default() += 1;
        }
        if r != 0 && p != 0 {
            *shared.entry((r, p)).or_default() += 1;
        }
    });

    let mut pairs: Vec<(f64, u16, u16, Overlap)> = shared
        .iter()
        .map(|(&(r, p), &intersection)| {
            let overlap = Overlap {
                reference_voxels: reference_voxels[&r],
                predicted_voxels: predicted_voxels[&p],
                intersection,
            };
            (overlap.dice(), r, p, overlap)
        })
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));

    let mut found = BTreeMap::<u16, (u16, Overlap)>::new();
    let mut used = BTreeSet::<u16>::new();
    for (_, r, p, overlap) in pairs {
        if !found.contains_key(&r) && !used.contains(&p) {
            found.insert(r, (p, overlap));
            used.insert(p);
        }
    }

    let nodules = reference_voxels
        .iter()
        .map(|(&label, &voxels)| match found.get(&label) {
            Some(&(p, overlap)) => NoduleResult {
                reference: label,
                prediction: Some(p),
                dice: overlap.dice(),
                overlap,
            },
            None => NoduleResult {
                reference: label,
                prediction: None,
                dice: 0.0,
                overlap: Overlap { reference_voxels: voxels, predicted_voxels: 0, intersection: 0 },
            },
        })
        .collect();
    let touching: BTreeSet<u16> = shared.keys().map(|&(_, p)| p).collect();
    let (duplicates, false_positives) =
        predicted_voxels.keys().filter(|p| !used.contains(p)).partition(|p| touching.contains(p));
    Ok(ScanResult { nodules, false_positives, duplicates, ignored: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;
    use proptest::prelude::*;

    /// A label map of one row.
    fn row(labels: &[u16]) -> Array3<u16> {
        Array3::from_shape_vec((1, 1, labels.len()), labels.to_vec()).expect("one row")
    }

    fn matched(reference: &[u16], predicted: &[u16]) -> ScanResult {
        match_instances(row(reference).view(), row(predicted).view()).expect("same shape")
    }

    #[test]
    fn hit_miss_duplicate_and_false_positive() {
        let result = matched(
            &[1, 1, 1, 1, 0, 0, 7, 7, 0, 0],
            &[2, 2, 2, 5, 0, 0, 0, 0, 9, 9], //
        );
        assert_eq!(result.nodules.len(), 2);
        let first = &result.nodules[0];
        assert_eq!((first.reference, first.prediction), (1, Some(2)));
        assert!((first.dice - 6.0 / 7.0).abs() < 1e-15);
        let second = &result.nodules[1];
        assert_eq!((second.reference, second.prediction, second.dice), (7, None, 0.0));
        assert_eq!(second.overlap.reference_voxels, 2);
        assert_eq!(result.duplicates, [5]);
        assert_eq!(result.false_positives, [9]);
    }

    #[test]
    fn one_prediction_finds_only_one_of_two_nodules() {
        // Prediction 1 covers both; its Dice with nodule 2 is larger.
        let result = matched(&[1, 1, 0, 2, 2, 2], &[1, 1, 1, 1, 1, 1]);
        assert_eq!(result.nodules[0].prediction, None);
        assert_eq!(result.nodules[1].prediction, Some(1));
        assert!((result.nodules[1].dice - 6.0 / 9.0).abs() < 1e-15);
        assert!(result.false_positives.is_empty() && result.duplicates.is_empty());
    }

    #[test]
    fn the_second_best_prediction_goes_to_the_second_nodule() {
        // Pair (2, 1) has the largest Dice; nodule 1 keeps prediction 3, which touches it.
        let result = matched(&[1, 1, 1, 2, 2, 2], &[3, 0, 1, 1, 1, 1]);
        assert_eq!(result.nodules[1].prediction, Some(1));
        assert_eq!(result.nodules[0].prediction, Some(3));
    }

    #[test]
    fn ties_go_to_the_smaller_labels() {
        let result = matched(&[4, 4, 3, 3], &[8, 6, 8, 6]);
        assert_eq!(result.nodules[0].reference, 3);
        assert_eq!(result.nodules[0].prediction, Some(6));
        assert_eq!(result.nodules[1].prediction, Some(8));
    }

    #[test]
    fn empty_and_mismatched() {
        assert_eq!(matched(&[0, 0], &[0, 0]), ScanResult::default());
        assert_eq!(matched(&[0, 0], &[0, 3]).false_positives, [3]);
        let error = match_instances(row(&[0]).view(), row(&[0, 0]).view()).expect_err("shapes");
        assert!(error.to_string().contains("[1, 1, 2]"));
    }

    #[test]
    fn touching_instances_stay_apart() {
        let result = matched(&[0, 1, 1, 1, 2, 2, 2, 0], &[4, 4, 4, 9, 9, 9, 9, 0]);
        assert_eq!(result.nodules[0].prediction, Some(4));
        assert!((result.nodules[0].dice - 4.0 / 6.0).abs() < 1e-15);
        assert_eq!(result.nodules[1].prediction, Some(9));
        assert!((result.nodules[1].dice - 6.0 / 7.0).abs() < 1e-15);
        assert!(result.false_positives.is_empty() && result.duplicates.is_empty());
    }

    #[test]
    fn a_prediction_on_a_place_that_does_not_count_is_neither() {
        let (reference, predicted) =
            ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 2, 2, 2, 0, 5, 0, 7, 7, 7]);
        let ignored = |centre: f64, diameter_mm: f64| {
            let mut result = matched(&reference, &predicted);
            let place = IgnoredPlace { centre: [0.0, 0.0, centre], diameter_mm };
            result.ignore(row(&predicted).view(), &[place], [1.0, 1.0, 4.0]);
            let mut all = [result.ignored.clone(), result.false_positives].concat();
            all.sort_unstable();
            assert_eq!(all, [2, 5, 7]);
            result.ignored
        };
        // In its mask, though far from its middle; nearer than the radius; exactly at the radius.
        assert_eq!(ignored(1.0, 2.0), [2]);
        assert_eq!(ignored(6.3, 11.0), [5]);
        assert_eq!(ignored(4.0, 8.0), Vec::<u16>::new());
        // A point counts as 10 mm: 4 mm away is on it.
        assert_eq!(ignored(6.0, 0.0), [5]);
        assert_eq!(ignored(-9.0, 0.0), Vec::<u16>::new());
    }

    #[test]
    fn a_nodule_is_hit_also_on_a_place_that_does_not_count() {
        let mut result = matched(&[1, 1], &[3, 3]);
        let place = IgnoredPlace { centre: [0.0; 3], diameter_mm: 50.0 };
        result.ignore(row(&[3, 3]).view(), &[place], [1.0; 3]);
        assert_eq!((result.nodules[0].prediction, result.ignored.len()), (Some(3), 0));
    }

    proptest! {
        #[test]
        fn every_instance_is_accounted_for_once(
            labels in proptest::collection::vec((0_u16..4, 0_u16..5), 1..40),
        ) {
            let (reference, predicted): (Vec<_>, Vec<_>) = labels.into_iter().unzip();
            let result = matched(&reference, &predicted);
            let present = |map: &[u16]| map.iter().copied().filter(|&l| l != 0).collect::<BTreeSet<_>>();
            let nodules: Vec<_> = result.nodules.iter().map(|n| n.reference).collect();
            prop_assert_eq!(nodules, present(&reference).into_iter().collect::<Vec<_>>());
            let mut seen: Vec<_> = result.nodules.iter().filter_map(|n| n.prediction).collect();
            seen.extend(&result.false_positives);
            seen.extend(&result.duplicates);
            seen.sort_unstable();
            prop_assert_eq!(seen, present(&predicted).into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_perfect_prediction_has_dice_one_whatever_its_labels(
            reference in proptest::collection::vec(0_u16..5, 1..40),
        ) {
            let predicted: Vec<_> =
                reference.iter().map(|&l| if l == 0 { 0 } else { 100 - l }).collect();
            let result = matched(&reference, &predicted);
            prop_assert!(result.nodules.iter().all(|n| n.dice > 1.0 - 1e-15));
            prop_assert!(result.false_positives.is_empty() && result.duplicates.is_empty());
        }
    }
}
