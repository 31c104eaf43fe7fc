//! The dense block in one buffer against its layers one by one, concatenated.

use proptest::prelude::*;

use super::{assert_close, dims, numbers};
use crate::{
    BatchNorm, DenseBlock, ScaleShift, View, ViewMut, channel_stats, conv3d, conv3d_input_gradient,
    conv3d_weight_gradient, norm_relu_gradient,
};

/// `[voxels, a]` and `[voxels, b]` to `[voxels, a + b]`.
fn concatenate(x: &[f32], a: usize, y: &[f32], b: usize) -> Vec<f32> {
    x.chunks(a).zip(y.chunks(b)).flat_map(|(x, y)| [x, y].concat()).collect()
}

fn channels(x: &[f32], of: usize, from: usize, to: usize) -> Vec<f32> {
    x.chunks(of).flat_map(|voxel| voxel[from..to].to_vec()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn dense_block_and_its_gradient(
        dims in dims(), inputs in 1..10_usize, growth in 1..9_usize, layers in 1..4_usize,
        seed: u64,
    ) {
        let voxels = dims.iter().product::<usize>();
        let reads: Vec<usize> = (0..layers).map(|i| inputs + i * growth).collect();
        let total: usize = reads.iter().sum();
        let (gamma, beta) = (numbers(seed + 1, total), numbers(seed + 2, total));
        let weight = numbers(seed + 3, 27 * growth * total);
        let epsilon = 0.1;
        let x = numbers(seed, voxels * inputs);
        let block =
            DenseBlock { inputs, growth, gamma: &gamma, beta: &beta, weight: &weight, epsilon };
        let (out, mean, variance) = block.forward_train(View::new(&x, inputs), dims);

        // Forward, layer by layer; the same statistics given give the same again.
        let (mut wanted, mut at) = (x, 0);
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for &c in &reads {
            let (m, v) = channel_stats(View::new(&wanted, c));
            let norm = BatchNorm {
                mean: &m, variance: &v, gamma: &gamma[at..at + c], beta: &beta[at..at + c], epsilon,
            };
            let (scale, shift) = norm.scale_shift();
            let norm = Some(ScaleShift { scale: &scale, shift: &shift });
            let part = &weight[27 * growth * at..27 * growth * (at + c)];
            let new = conv3d(View::new(&wanted, c), norm, dims, part, 3, growth);
            wanted = concatenate(&wanted, c, &new, growth);
            at += c;
            assert_close("mean", &mean[..c], &wide(&m));
            means.extend(m);
            variances.extend(v);
        }
        assert_close("out", &out, &wide(&wanted));
        let x = channels(&out, inputs + layers * growth, 0, inputs);
        let given = block.forward(View::new(&x, inputs), dims, &means, &variances);
        assert_close("out of given statistics", &given, &wide(&wanted));

        // Backward, from the last layer on.
        let width = inputs + layers * growth;
        let grad = numbers(seed + 4, voxels * width);
        let found = {
            let mut grad = grad.clone();
            block.gradient(&out, dims, &mean, &variance, ViewMut::new(&mut grad, width))
        };
        let mut rest = grad;
        for (i, &c) in reads.iter().enumerate().rev() {
            at -= c;
            let x = channels(&out, width, 0, c);
            let own = channels(&rest, c + growth, c, c + growth);
            rest = channels(&rest, c + growth, 0, c);
            let norm = BatchNorm {
                mean: &mean[..c], variance: &variance[..c],
                gamma: &gamma[at..at + c], beta: &beta[at..at + c], epsilon,
            };
            let (scale, shift) = norm.scale_shift();
            let (x, own) = (View::new(&x, c), View::new(&own, growth));
            let on_the_fly = Some(ScaleShift { scale: &scale, shift: &shift });
            let weights = 27 * growth * at..27 * growth * (at + c);
            let dw = conv3d_weight_gradient(x, on_the_fly, own, dims, 3);
            assert_close(&format!("dw {i}"), &found.weight[weights.clone()], &wide(&dw));
            let mut dx = conv3d_input_gradient(own, dims, &weight[weights], 3, c);
            let (dgamma, dbeta) = norm_relu_gradient(x, &norm, ViewMut::new(&mut dx, c));
            assert_close(&format!("dgamma {i}"), &found.gamma[at..at + c], &wide(&dgamma));
            assert_close(&format!("dbeta {i}"), &found.beta[at..at + c], &wide(&dbeta));
            rest.iter_mut().zip(dx).for_each(|(sum, dx)| *sum += dx);
        }
        assert_close("dx", &found.x, &wide(&rest));
    }
}
