//! Statistics, and the gradient of batch norm with `ReLU`.

use proptest::prelude::*;

use super::{Array, assert_close, margins, numbers};
use crate::norm::norm_relu_gradient_on;
use crate::sums::channel_stats_on;
use crate::{BatchNorm, Isa, View, channel_stats};

fn per_channel(x: &Array, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let voxels = x.data.len() / x.stride;
    let column = |c| (0..voxels).map(|v| x.at(v, c)).collect::<Vec<_>>();
    (0..x.channels).map(|c| f(&column(c))).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
}

fn voxels() -> impl Strategy<Value = usize> {
    prop_oneof![1..200_usize, 4000..9000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sums(voxels in voxels(), channels in 1..20_usize, margins in margins(), seed: u64) {
        let x = Array::new(seed, voxels, channels, margins);
        for isa in Isa::available() {
            let (means, variances) = channel_stats_on(isa, x.view());
            assert_close(&format!("{isa:?} mean"), &means, &per_channel(&x, mean));
            assert_close(&format!("{isa:?} variance"), &variances, &per_channel(&x, variance));
        }
    }

    #[test]
    fn norm_relu_gradient(
        voxels in voxels(), channels in 1..20_usize, x_margins in margins(),
        out_margins in margins(), add: bool, seed: u64,
    ) {
        let x = Array::new(seed, voxels, channels, x_margins);
        let mut grad = Array::new(seed + 1, voxels, channels, out_margins);
        let (gamma, beta) = (numbers(3, channels), numbers(4, channels));
        let (mean, variance) = channel_stats(x.view());
        let norm = BatchNorm {
            mean: &mean, variance: &variance, gamma: &gamma, beta: &beta, epsilon: 0.1,
        };
        let (mut dgammas, mut dbetas) = (vec![0.0; channels], vec![0.0; channels]);
        let terms = |v, c: usize| {
            let inverse = 1.0 / (f64::from(variance[c]) + 0.1).sqrt();
            let h = (x.at(v, c) - f64::from(mean[c])) * inverse;
            let y = h * f64::from(gamma[c]) + f64::from(beta[c]);
            (h, y, inverse)
        };
        // At the kink rounding decides: nothing arrives there.
        for v in 0..voxels {
            for c in 0..channels {
                if terms(v, c).1.abs() < 1e-5 {
                    grad.set(v, c, 0.0);
                }
            }
        }
        let terms = |v, c| {
            let (h, y, inverse) = terms(v, c);
            (h, if y > 0.0 { grad.at(v, c) } else { 0.0 }, inverse)
        };
        for v in 0..voxels {
            for c in 0..channels {
                let (h, g, _) = terms(v, c);
                dgammas[c] += g * h;
                dbetas[c] += g;
            }
        }
        let before = grad.dense();
        let mut dxs = Vec::new();
        for v in 0..voxels {
            for c in 0..channels {
                let (h, g, inverse) = terms(v, c);
                let rest = (dbetas[c] + h * dgammas[c]) / voxels as f64;
                let kept = if add { f64::from(before[v * channels + c]) } else { 0.0 };
                dxs.push(f64::from(gamma[c]) * inverse * (g - rest) + kept);
            }
        }
        for isa in Isa::available() {
            let mut target = grad.clone();
            let apart = add.then(|| grad.view());
            let (dgamma, dbeta) =
                norm_relu_gradient_on(isa, x.view(), apart, &norm, target.view_mut());
            assert_close(&format!("{isa:?} dx"), &target.dense(), &dxs);
            assert_eq!(target.hidden(), grad.hidden());
            assert_close(&format!("{isa:?} dgamma"), &dgamma, &dgammas);
            assert_close(&format!("{isa:?} dbeta"), &dbeta, &dbetas);
        }
    }
}

/// Far from zero, where the difference of mean square and squared mean loses every digit.
#[test]
fn variance_is_that_of_small_differences() {
    let x: Vec<f32> = numbers(1, 100_000).iter().map(|v| 1000.0 + v).collect();
    let (mean, variance) = channel_stats(View::new(&x, 1));
    assert!((mean[0] - 1000.0).abs() < 0.01, "{mean:?}");
    assert!((variance[0] - 1.0 / 3.0).abs() < 0.003, "{variance:?}");
}
