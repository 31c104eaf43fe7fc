//! The label a learner gives a sample nobody annotated, Eq. (7), and the loss under it.
//!
//! Eq. (7) is for one binary label; the loss of the paper's network is that of many tasks,
//! `L = L_cls + L_box + L_mask`. Read here as: every class output gets its own best label; the mask
//! gets itself, thresholded; the box gets itself, so its loss is 0.

/// Probabilities closer than this to 0 or 1 are taken as this close, as in training.
const CLOSEST_TO_CERTAIN: f64 = 1e-7;

/// One binary pseudo-label and the loss under it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PseudoLabel {
    /// Whether the label is 1.
    pub positive: bool,
    /// Loss under this label, the smaller of the two.
    pub loss: f64,
}

/// Eq. (7): y* = argmin over y in {0, 1} of l(y), from the losses under both labels. Of equal
/// losses the label is 0, so that doubt adds no nodule.
pub fn best_label(loss_if_0: f64, loss_if_1: f64) -> PseudoLabel {
    if loss_if_1 < loss_if_0 {
        PseudoLabel { positive: true, loss: loss_if_1 }
    } else {
        PseudoLabel { positive: false, loss: loss_if_0 }
    }
}

/// Binary cross-entropy of a probability under the labels 0 and 1: (-ln(1 - p), -ln p).
pub fn cross_entropy(p: f64) -> (f64, f64) {
    let p = p.clamp(CLOSEST_TO_CERTAIN, 1.0 - CLOSEST_TO_CERTAIN);
    (-(1.0 - p).ln(), -p.ln())
}

/// `L_Dice`, Eq. (1), of a mask's probabilities under the mask itself, thresholded (voxels with
/// p > `threshold` are 1): -2 sum p y / (sum p + sum y), in [-1, 0]. `None` if no voxel is above:
/// then there is no instance and no mask term.
pub fn own_mask_dice_loss(probabilities: &[f32], threshold: f32) -> Option<f64> {
    let (mut all, mut inside, mut voxels) = (0.0, 0.0, 0_u64);
    for &p in probabilities {
        all += f64::from(p);
        if p > threshold {
            inside += f64::from(p);
            voxels += 1;
        }
    }
    (voxels > 0).then(|| -2.0 * inside / (all + voxels as f64))
}

/// Multi-task loss `l_i` of a sample under its own pseudo-labels:
/// `class_loss + (1 + L_Dice) + 0`, where `class_loss` >= 0 is the class loss under the best
/// labels, `dice_loss` in [-1, 0] is Eq. (1) under the thresholded own mask, or `None` where no
/// instance is predicted, and the 0 is the box loss.
///
/// Eq. (1) is at most 0 and Eq. (8) needs l >= 0; hence `1 + L_Dice`, whose gradient is the same.
pub fn multi_task_loss(class_loss: f64, dice_loss: Option<f64>) -> f64 {
    class_loss + dice_loss.map_or(0.0, |dice| 1.0 + dice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        assert_eq!(best_label(0.2, 0.1), PseudoLabel { positive: true, loss: 0.1 });
        assert_eq!(best_label(0.1, 0.2), PseudoLabel { positive: false, loss: 0.1 });
        assert!(!best_label(0.1, 0.1).positive);
        let (zero, one) = cross_entropy(0.25);
        assert!((zero - (4.0_f64 / 3.0).ln()).abs() < 1e-15);
        assert!((one - 4.0_f64.ln()).abs() < 1e-15);
        assert!(cross_entropy(0.0).1.is_finite() && cross_entropy(1.0).0.is_finite());
        // y = [1, 1, 0]: -2 * 1.5 / (1.75 + 2).
        let dice = own_mask_dice_loss(&[1.0, 0.5, 0.25], 0.4).expect("two voxels");
        assert!((dice + 0.8).abs() < 1e-15);
        assert!((multi_task_loss(0.3, Some(dice)) - 0.5).abs() < 1e-15);
        assert_eq!(own_mask_dice_loss(&[0.5, 0.1], 0.5), None);
        assert!((multi_task_loss(0.3, None) - 0.3).abs() < 1e-15);
    }

    #[test]
    fn a_certain_mask_costs_nothing() {
        let dice = own_mask_dice_loss(&[1.0, 1.0, 0.0], 0.5);
        assert_eq!(multi_task_loss(0.0, dice).to_bits(), 0.0_f64.to_bits());
    }

    proptest! {
        #[test]
        fn the_best_label_of_cross_entropy_is_the_likelier(p in 0.0..=1.0_f64) {
            let (zero, one) = cross_entropy(p);
            let label = best_label(zero, one);
            prop_assert_eq!(label.positive, one < zero);
            prop_assert!(label.loss <= zero && label.loss <= one);
            prop_assert!(label.loss <= 2.0_f64.ln() + 1e-12);
        }

        #[test]
        fn the_mask_term_is_in_zero_to_one(
            p in proptest::collection::vec(0.0_f32..=1.0, 0..40), threshold in 0.1_f32..0.9,
        ) {
            if let Some(dice) = own_mask_dice_loss(&p, threshold) {
                prop_assert!((-1.0..=0.0).contains(&dice));
                prop_assert!(multi_task_loss(0.0, Some(dice)) >= 0.0);
            }
        }
    }
}
