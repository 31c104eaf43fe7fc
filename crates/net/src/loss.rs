//! L = `L_cls` + `L_box` + `L_mask` (section 2.1 of the paper).

use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Int, Tensor, TensorData};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::anchor::{Anchors, Assignment, Cube};
use crate::config::TrainConfig;

/// The three terms of one patch, `[1]` each; those that a patch has no target for are absent.
pub struct PatchLoss {
    /// Objectness.
    pub class: Tensor<1>,
    /// Box, over positive anchors.
    pub boxes: Option<Tensor<1>>,
    /// 1 + Dice loss, over RoIs.
    pub mask: Option<Tensor<1>>,
}

impl PatchLoss {
    /// The sum of the terms, `[1]`.
    pub fn total(&self) -> Tensor<1> {
        [&self.boxes, &self.mask]
            .into_iter()
            .flatten()
            .fold(self.class.clone(), |sum, term| sum + term.clone())
    }
}

/// Binary cross-entropy from logits, per element, without overflow.
///
/// # Shapes
/// `[k]` -> `[k]`
pub fn cross_entropy(logits: Tensor<1>, target: f64) -> Tensor<1> {
    // max(x, 0) - x y + ln(1 + e^-|x|)
    relu(logits.clone()) - logits.clone() * target + logits.abs().neg().exp().log1p()
}

/// Smooth L1 (Girshick 2015, Eq. 3), mean over all elements.
///
/// # Shapes
/// [k, 4] each -> `[1]`
pub fn smooth_l1(prediction: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let d = (prediction - target).abs();
    // 0.5 d^2 below 1, d - 0.5 above: with c = min(d, 1) that is c (d - c / 2).
    let c = d.clone().clamp_max(1.0);
    (c.clone() * (d - c * 0.5)).mean()
}

/// Eq. (1), `L_Dice` = -2 sum(p y) / (sum p + sum y), of each RoI.
///
/// # Shapes
/// - `probability`, `target`: [rois, voxels]
/// - output: `[rois]`
pub fn dice_loss(probability: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let shared = (probability.clone() * target.clone()).sum_dim(1);
    let sum = probability.sum_dim(1) + target.sum_dim(1);
    let rois = sum.dims()[0];
    (shared * -2.0 / sum.clamp_min(1e-6)).reshape([rois])
}

/// Objectness and box loss of one patch. Positives and the hardest negatives are averaged apart;
/// those that a patch has none of (a nodule may fill it) add nothing.
///
/// # Shapes
/// - `output`: [anchors, 5]
pub fn detection_loss(
    output: &Tensor<2>,
    anchors: &Anchors,
    roles: &Assignment,
    nodules: &[Cube],
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
) -> (Tensor<1>, Option<Tensor<1>>) {
    let device = output.device();
    let pick = |rows: &[usize]| {
        let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
        let count = rows.len();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
        output.clone().select(0, rows)
    };
    let logit = |picked: Tensor<2>| {
        let count = picked.dims()[0];
        picked.narrow(1, 0, 1).reshape([count])
    };

    let drawn =
        index::sample(rng, roles.negative.len(), config.negatives.min(roles.negative.len()));
    let mut drawn: Vec<usize> = drawn.iter().map(|i| roles.negative[i]).collect();
    drawn.sort_unstable();
    let hard = hardest(&logit(pick(&drawn)), &drawn, config.hard_negatives);
    let negative = if hard.is_empty() {
        // 0, with the gradient 0.
        output.clone().sum() * 0.0
    } else {
        cross_entropy(logit(pick(&hard)), 0.0).mean()
    };
    if roles.positive.is_empty() {
        return (negative, None);
    }
    let rows: Vec<usize> = roles.positive.iter().map(|p| p.0).collect();
    let picked = pick(&rows);
    let positive = cross_entropy(logit(picked.clone()), 1.0).mean();
    let target: Vec<f32> = roles
        .positive
        .iter()
        .flat_map(|&(a, n)| Anchors::encode(&anchors.cube(a), &nodules[n]))
        .collect();
    let target = TensorData::new(target, [rows.len(), 4]);
    let target = Tensor::from_data(target, (&device, output.dtype()));
    let boxes = smooth_l1(picked.narrow(1, 1, 4), target);
    (positive + negative, Some(boxes))
}

/// The anchors whose background looks most like a nodule; ties go to the lower anchor.
fn hardest(logits: &Tensor<1>, anchors: &[usize], count: usize) -> Vec<usize> {
    let logits: Vec<f32> = logits.to_data_as::<f32>().try_to_vec().expect("converted");
    let mut order: Vec<usize> = (0..anchors.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let mut hard: Vec<usize> = order.into_iter().take(count).map(|i| anchors[i]).collect();
    hard.sort_unstable();
    hard
}

/// 1 + `L_Dice`, mean over the RoIs of a patch: Eq. (1) shifted so that it is never negative
/// (Eq. 8 needs that; the gradient is the same).
///
/// # Shapes
/// - `logits`, `target`: [rois, z, y, x, 1]
pub fn mask_loss(logits: Tensor<5>, target: Tensor<5>) -> Tensor<1> {
    let [rois, z, y, x, _] = logits.dims();
    let flat = |t: Tensor<5>| t.reshape([rois, z * y * x]);
    dice_loss(sigmoid(flat(logits)), flat(target)).mean() + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn scalar(t: Tensor<1>) -> f32 {
        t.into_scalar()
    }

    #[test]
    fn dice_loss_by_hand() {
        // RoI 1: p = (0.5, 1), y = (1, 0): -2 * 0.5 / (1.5 + 1) = -0.4. RoI 2: p = y: -1.
        let device = Device::flex();
        let p = Tensor::<2>::from_data([[0.5, 1.0], [1.0, 0.0]], &device);
        let y = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0]], &device);
        let got: Vec<f32> = dice_loss(p, y).into_data().try_to_vec().unwrap();
        assert!((got[0] + 0.4).abs() < 1e-6 && (got[1] + 1.0).abs() < 1e-6, "{got:?}");
    }

    #[test]
    fn smooth_l1_by_hand() {
        // |d| = 0.5, 2, 0, 1: 0.125, 1.5, 0, 0.5; mean 0.53125.
        let device = Device::flex();
        let p = Tensor::<2>::from_data([[0.5, -2.0, 0.0, 1.0]], &device);
        let got = scalar(smooth_l1(p.clone(), p.zeros_like()));
        assert!((got - 0.53125).abs() < 1e-6, "{got}");
    }

    #[test]
    fn cross_entropy_is_exact_and_does_not_overflow() {
        let device = Device::flex();
        let x = Tensor::<1>::from_data([0.0, 1.0, 200.0, -200.0], &device);
        let one: Vec<f32> = cross_entropy(x.clone(), 1.0).into_data().try_to_vec().unwrap();
        let zero: Vec<f32> = cross_entropy(x, 0.0).into_data().try_to_vec().unwrap();
        let ln2 = std::f32::consts::LN_2;
        for (got, want) in one.iter().zip([ln2, 0.313_261_7, 0.0, 200.0]) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
        for (got, want) in zero.iter().zip([ln2, 1.313_261_7, 200.0, 0.0]) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    #[test]
    fn a_patch_without_background_has_a_loss() {
        use rand::SeedableRng;

        let device = Device::flex();
        let config = crate::config::Config::preset(crate::config::Preset::Tiny);
        let anchors = Anchors::new(&config.net, [16; 3]);
        // 4^3 locations of 3 anchors.
        let output = Tensor::<2>::zeros([192, 5], &device);
        let filling = [Cube { center: [7.5; 3], edge: 200.0 }];
        let loss = |positive: Vec<(usize, usize)>| {
            let roles = Assignment { positive, negative: Vec::new() };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            scalar(detection_loss(&output, &anchors, &roles, &filling, &config.train, &mut rng).0)
        };
        assert!((loss(vec![(5, 0)]) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!(loss(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn the_hardest_negatives_are_those_with_the_highest_logits() {
        let device = Device::flex();
        let x = Tensor::<1>::from_data([0.1, 0.9, 0.9, -3.0], &device);
        assert_eq!(hardest(&x, &[10, 20, 30, 40], 2), vec![20, 30]);
        assert_eq!(hardest(&x, &[10, 20, 30, 40], 3), vec![10, 20, 30]);
    }
}
