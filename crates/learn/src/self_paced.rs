//! Self-paced weights: the objective in v with fixed w, Eq. (4) to (6), and its minimum, Eq. (8).
//!
//! The feasible region Psi is [0, 1]^n, or with a curriculum the box of all v with
//! `0 <= v_i <= most_i`. The objective is a sum over samples, each convex in its `v_i`, so on the
//! box its minimum is Eq. (8) cut at `most_i`. Losses must not be negative (see
//! [`crate::pseudo_label`] for the Dice term).

/// Eq. (4) with fixed w: `E(v) = C sum_i v_i l_i + f(v; lambda)`.
pub fn objective(c: f64, losses: &[f64], weights: &[f64], lambda: f64) -> f64 {
    let loss: f64 = losses.iter().zip(weights).map(|(l, v)| v * l).sum();
    c * loss + regulariser(weights, lambda)
}

/// Eq. (5): `f(v; lambda) = lambda (|v|_2^2 / 2 - sum_i v_i)`.
pub fn regulariser(weights: &[f64], lambda: f64) -> f64 {
    lambda * weights.iter().map(|v| 0.5 * v * v - v).sum::<f64>()
}

/// Eq. (6): `dE/dv_i = C l_i + v_i lambda - lambda`.
pub fn gradient(c: f64, loss: f64, weight: f64, lambda: f64) -> f64 {
    c * loss + weight * lambda - lambda
}

/// Eq. (8): v = 1 - C l / lambda if C l < lambda, else 0.
///
/// A loss below 0 by rounding counts as 0, so that v stays in [0, 1].
pub fn weight(c: f64, loss: f64, lambda: f64) -> f64 {
    let loss = c * loss.max(0.0);
    if loss < lambda { 1.0 - loss / lambda } else { 0.0 }
}

/// Eq. (8) where the curriculum allows a weight of at most `most`, in [0, 1].
pub fn weight_up_to(most: f64, c: f64, loss: f64, lambda: f64) -> f64 {
    weight(c, loss, lambda).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        assert!((weight(1.0, 0.001, 0.005) - 0.8).abs() < 1e-15);
        assert!((weight(2.0, 0.001, 0.005) - 0.6).abs() < 1e-15);
        assert_eq!(weight(1.0, 0.005, 0.005).to_bits(), 0.0_f64.to_bits());
        assert_eq!(weight(1.0, 7.0, 0.005).to_bits(), 0.0_f64.to_bits());
        assert_eq!(weight(1.0, 0.0, 0.005).to_bits(), 1.0_f64.to_bits());
        assert_eq!(weight(1.0, -1e-9, 0.005).to_bits(), 1.0_f64.to_bits());
        assert_eq!(weight(1.0, 0.0, 0.0).to_bits(), 0.0_f64.to_bits());
        // lambda (0.5 (1 + 0.25) - 1.5) = 2 * -0.875.
        assert!((regulariser(&[1.0, 0.5], 2.0) + 1.75).abs() < 1e-15);
        // 3 (1 * 0.5 + 0.5 * 2) - 1.75.
        assert!((objective(3.0, &[0.5, 2.0], &[1.0, 0.5], 2.0) - 2.75).abs() < 1e-15);
        assert!((gradient(3.0, 0.5, 0.25, 2.0) - 0.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn equation_8_minimises_equation_4(
            samples in proptest::collection::vec((0.0..3.0_f64, 0.0..=1.0_f64), 1..12),
            c in 0.1..3.0_f64, lambda in 0.01..3.0_f64,
        ) {
            let (losses, other): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
            let best: Vec<f64> = losses.iter().map(|&l| weight(c, l, lambda)).collect();
            let least = objective(c, &losses, &best, lambda);
            prop_assert!(least <= objective(c, &losses, &other, lambda) + 1e-12);
            for i in 0..best.len() {
                for step in 0..=100 {
                    let mut moved = best.clone();
                    moved[i] = f64::from(step) / 100.0;
                    prop_assert!(least <= objective(c, &losses, &moved, lambda) + 1e-12);
                }
            }
        }

        #[test]
        fn a_curriculum_keeps_the_minimum_in_its_box(
            samples in proptest::collection::vec(
                (0.0..3.0_f64, 0.0..=1.0_f64, 0.0..=1.0_f64), 1..12),
            c in 0.1..3.0_f64, lambda in 0.01..3.0_f64,
        ) {
            let losses: Vec<f64> = samples.iter().map(|s| s.0).collect();
            let best: Vec<f64> =
                samples.iter().map(|&(l, most, _)| weight_up_to(most, c, l, lambda)).collect();
            let other: Vec<f64> = samples.iter().map(|&(_, most, part)| most * part).collect();
            prop_assert!(best.iter().zip(&samples).all(|(v, s)| (0.0..=s.1).contains(v)));
            let least = objective(c, &losses, &best, lambda);
            prop_assert!(least <= objective(c, &losses, &other, lambda) + 1e-12);
        }

        #[test]
        fn the_gradient_is_zero_inside_and_points_up_at_zero(
            loss in 0.0..3.0_f64, c in 0.1..3.0_f64, lambda in 0.01..3.0_f64,
        ) {
            let v = weight(c, loss, lambda);
            let slope = gradient(c, loss, v, lambda);
            let holds = if v > 0.0 { slope.abs() < 1e-12 } else { slope >= 0.0 };
            prop_assert!(holds);
        }

        #[test]
        fn the_gradient_is_the_slope_of_the_objective(
            loss in 0.0..3.0_f64, v in 0.01..0.99_f64, c in 0.1..3.0_f64, lambda in 0.01..3.0_f64,
        ) {
            let h = 1e-5;
            let at = |v: f64| objective(c, &[loss], &[v], lambda);
            let slope = (at(v + h) - at(v - h)) / (2.0 * h);
            prop_assert!((slope - gradient(c, loss, v, lambda)).abs() < 1e-8);
        }

        #[test]
        fn a_weight_falls_with_the_loss_and_rises_with_lambda(
            a in 0.0..3.0_f64, b in 0.0..3.0_f64, lambda in 0.01..3.0_f64, more in 0.0..2.0_f64,
        ) {
            let v = weight(1.0, a, lambda);
            prop_assert!((0.0..=1.0).contains(&v));
            prop_assert!(weight(1.0, a.min(b), lambda) >= weight(1.0, a.max(b), lambda));
            prop_assert!(weight(1.0, a, lambda + more) >= v);
        }

        #[test]
        fn the_sum_of_weights_rises_with_lambda(
            losses in proptest::collection::vec(0.0..3.0_f64, 1..20),
            lambda in 0.01..3.0_f64, more in 0.0..2.0_f64,
        ) {
            let sum = |lambda| losses.iter().map(|&l| weight(1.0, l, lambda)).sum::<f64>();
            prop_assert!(sum(lambda + more) >= sum(lambda));
        }
    }
}
