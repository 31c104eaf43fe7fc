//! How much two sets of voxels have in common.

use serde::{Deserialize, Serialize};

/// Dice coefficient 2 |A and B| / (|A| + |B|) from voxel counts; two empty sets agree fully: 1.
pub fn dice(intersection: u64, a: u64, b: u64) -> f64 {
    let sum = a + b;
    if sum == 0 { 1.0 } else { 2.0 * intersection as f64 / sum as f64 }
}

/// Voxel counts of a reference, a prediction and what they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// Voxels in the reference.
    pub reference_voxels: u64,
    /// Voxels in the prediction.
    pub predicted_voxels: u64,
    /// Voxels in both.
    pub intersection: u64,
}

impl Overlap {
    /// Counts two masks voxel by voxel; they must be given in the same order, and the shorter one
    /// ends the count.
    pub fn count(masks: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self { reference_voxels: 0, predicted_voxels: 0, intersection: 0 };
        for (reference, predicted) in masks {
            counts.reference_voxels += u64::from(reference);
            counts.predicted_voxels += u64::from(predicted);
            counts.intersection += u64::from(reference && predicted);
        }
        counts
    }

    /// Dice coefficient; 1 if both are empty.
    pub fn dice(self) -> f64 {
        dice(self.intersection, self.reference_voxels, self.predicted_voxels)
    }

    /// Intersection over union; 1 if both are empty.
    pub fn iou(self) -> f64 {
        let union = self.reference_voxels + self.predicted_voxels - self.intersection;
        if union == 0 { 1.0 } else { self.intersection as f64 / union as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let overlap = Overlap { reference_voxels: 6, predicted_voxels: 4, intersection: 3 };
        assert!((overlap.dice() - 0.6).abs() < 1e-15);
        assert!((overlap.iou() - 3.0 / 7.0).abs() < 1e-15);
        let masks = [(true, true), (true, false), (false, true), (false, false)];
        let counted = Overlap::count(masks);
        let expected = Overlap { reference_voxels: 2, predicted_voxels: 2, intersection: 1 };
        assert_eq!(counted, expected);
    }

    #[test]
    fn empty_masks() {
        let none = Overlap { reference_voxels: 0, predicted_voxels: 0, intersection: 0 };
        assert_eq!((none.dice(), none.iou()), (1.0, 1.0));
        let miss = Overlap { reference_voxels: 5, ..none };
        assert_eq!((miss.dice(), miss.iou()), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn dice_and_iou_agree(masks in proptest::collection::vec(any::<(bool, bool)>(), 0..80)) {
            let overlap = Overlap::count(masks.iter().copied());
            let iou = overlap.iou();
            prop_assert!((overlap.dice() - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
            let swapped = Overlap::count(masks.into_iter().map(|(a, b)| (b, a)));
            prop_assert_eq!(overlap.dice().to_bits(), swapped.dice().to_bits());
        }
    }
}
