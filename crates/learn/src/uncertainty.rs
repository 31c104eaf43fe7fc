//! How unsure the learner is of a sample: Eq. (2) and Eq. (3).

/// Eq. (2): `U = (1/n) sum_i (1 - max(p_i, 1 - p_i))`, the least-confident uncertainty of a sample
/// whose n voxels have the foreground probabilities `p_i` in [0, 1]. It lies in [0, 0.5].
///
/// Of a sample without voxels nothing is uncertain: 0.
pub fn least_confidence(probabilities: &[f32]) -> f64 {
    if probabilities.is_empty() {
        return 0.0;
    }
    let sum: f64 = probabilities.iter().map(|&p| 1.0 - f64::from(p).max(1.0 - f64::from(p))).sum();
    sum / probabilities.len() as f64
}

/// Mean entropy of the voxels, `(1/n) sum_i -p_i ln p_i - (1 - p_i) ln(1 - p_i)`, in [0, ln 2].
pub fn entropy(probabilities: &[f32]) -> f64 {
    if probabilities.is_empty() {
        return 0.0;
    }
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    let sum: f64 =
        probabilities.iter().map(|&p| term(f64::from(p)) + term(1.0 - f64::from(p))).sum();
    sum / probabilities.len() as f64
}

/// How much a committee differs on a sample: the variance of its members' probabilities in each
/// voxel, mean over the voxels; in [0, 1/4]. The uncertainty of suggestive annotation (Yang et al.,
/// MICCAI 2017).
///
/// # Shapes
/// - `members`: `[member][voxel]`, all of one length
pub fn disagreement(members: &[Vec<f32>]) -> f64 {
    let voxels = members.first().map_or(0, Vec::len);
    if voxels == 0 {
        return 0.0;
    }
    let count = members.len() as f64;
    let variance = |voxel: usize| {
        let of = |member: &Vec<f32>| f64::from(member[voxel]);
        let mean = members.iter().map(of).sum::<f64>() / count;
        members.iter().map(|m| (of(m) - mean).powi(2)).sum::<f64>() / count
    };
    (0..voxels).map(variance).sum::<f64>() / voxels as f64
}

/// Eq. (3): U = `least_confidence` * density^beta.
///
/// The density (see [`crate::density`]) lies in [-1, 1]. Of output volumes it is never below 0; of
/// descriptors with negative parts it may be, and then counts as 0: such a sample is unlike the
/// rest of the pool. beta = 0 gives Eq. (2) exactly.
pub fn combine(least_confidence: f64, density: f64, beta: f64) -> f64 {
    least_confidence * density.max(0.0).powf(beta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equation_2_by_hand() {
        assert!((least_confidence(&[0.5, 0.25, 1.0, 0.875]) - 0.875 / 4.0).abs() < 1e-15);
        assert_eq!(least_confidence(&[0.5; 8]).to_bits(), 0.5_f64.to_bits());
        assert_eq!(least_confidence(&[0.0, 1.0]).to_bits(), 0.0_f64.to_bits());
        assert_eq!(least_confidence(&[]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn entropy_and_disagreement_by_hand() {
        let quarter = 0.25 * 4.0_f64.ln() + 0.75 * (4.0_f64 / 3.0).ln();
        let found = entropy(&[0.5, 0.25, 1.0, 0.0]);
        assert!((found - (2.0_f64.ln() + quarter) / 4.0).abs() < 1e-15);
        assert_eq!(entropy(&[]).to_bits(), 0.0_f64.to_bits());
        // Voxel 0: mean 0.5, variance 0.25; voxel 1: all agree.
        let members = [vec![0.0, 0.75], vec![1.0, 0.75], vec![0.0, 0.75], vec![1.0, 0.75]];
        assert!((disagreement(&members) - 0.125).abs() < 1e-15);
        assert_eq!(disagreement(&[]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn equation_3_by_hand() {
        assert!((combine(0.3, 0.5, 1.0) - 0.15).abs() < 1e-15);
        assert!((combine(0.3, 0.5, 2.0) - 0.075).abs() < 1e-15);
        assert_eq!(combine(0.3, -0.2, 1.0).to_bits(), 0.0_f64.to_bits());
    }

    proptest! {
        #[test]
        fn lies_between_zero_and_a_half_and_is_symmetric(
            p in proptest::collection::vec(0.0_f32..=1.0, 1..50),
        ) {
            let u = least_confidence(&p);
            prop_assert!((0.0..=0.5).contains(&u));
            let flipped: Vec<f32> = p.iter().map(|p| 1.0 - p).collect();
            prop_assert!((least_confidence(&flipped) - u).abs() < 1e-6);
        }

        #[test]
        fn entropy_is_symmetric_and_ranks_single_voxels_as_equation_2(
            p in 0.0_f32..=1.0, q in 0.0_f32..=1.0,
        ) {
            let h = entropy(&[p]);
            prop_assert!((0.0..=2.0_f64.ln() + 1e-12).contains(&h));
            prop_assert!((h - entropy(&[1.0 - p])).abs() < 1e-6);
            if least_confidence(&[p]) > least_confidence(&[q]) + 1e-6 {
                prop_assert!(h > entropy(&[q]));
            }
        }

        #[test]
        fn beta_zero_is_equation_2(u in 0.0..=0.5_f64, density in -1.0..=1.0_f64) {
            prop_assert_eq!(combine(u, density, 0.0).to_bits(), u.to_bits());
        }

        #[test]
        fn a_denser_sample_is_not_less_uncertain(
            u in 0.0..=0.5_f64, a in -1.0..=1.0_f64, b in -1.0..=1.0_f64, beta in 0.0..3.0_f64,
        ) {
            prop_assert!(combine(u, a.max(b), beta) >= combine(u, a.min(b), beta));
        }
    }
}
