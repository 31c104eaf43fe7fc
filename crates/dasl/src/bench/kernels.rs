//! Throughput of the kernels on the network's shapes, as a share of the machine's measured peak.

use std::hint::black_box;

use dasl_conv::{
    BatchNorm, View, ViewMut, add_deconv2, channel_stats, conv3d, conv3d_input_gradient,
    conv3d_weight_gradient, deconv2_input_gradient, deconv2_weight_gradient, max_pool2,
    max_pool2_gradient, measured_peak, norm_relu_gradient,
};
use serde::Serialize;

use super::median_seconds;

/// Seconds that a kernel is timed for at least.
const LEAST: f64 = 0.5;

/// Kernel, size, input and output channels of the preset `small` on a 128^3 patch.
const CONVOLUTIONS: [(usize, usize, usize, usize); 10] = [
    (3, 128, 1, 24),
    (3, 128, 24, 24),
    (3, 64, 24, 12),
    (3, 64, 60, 12),
    (1, 64, 72, 36),
    (3, 64, 32, 32),
    (3, 32, 72, 12),
    (3, 32, 64, 64),
    (3, 16, 78, 12),
    (3, 32, 24, 24),
];

/// Size and channels of the deconvolutions.
const DECONVOLUTIONS: [(usize, usize, usize); 3] = [(16, 90, 64), (32, 64, 32), (64, 32, 24)];

/// One kernel.
#[derive(Debug, Serialize)]
pub struct KernelRate {
    /// What it does.
    pub name: String,
    /// Arithmetic peak of all threads, measured just before, GFLOP/s.
    pub peak: f64,
    /// GFLOP/s of the output, the input's gradient and the weights' gradient.
    pub rates: [f64; 3],
}

/// One pass that the memory bounds.
#[derive(Debug, Serialize)]
pub struct MemoryRate {
    /// What it does.
    pub name: String,
    /// GB/s read and written.
    pub rate: f64,
}

/// All convolutions and deconvolutions.
pub fn arithmetic(mut progress: impl FnMut()) -> Vec<KernelRate> {
    let mut done = Vec::new();
    for (kernel, size, c_in, c_out) in CONVOLUTIONS {
        done.push(convolution(kernel, size, c_in, c_out));
        progress();
    }
    for (size, c_in, c_out) in DECONVOLUTIONS {
        done.push(deconvolution(size, c_in, c_out));
        progress();
    }
    done
}

/// Number of [`arithmetic`]'s kernels.
pub const COUNT: u64 = (CONVOLUTIONS.len() + DECONVOLUTIONS.len()) as u64;

fn convolution(kernel: usize, size: usize, c_in: usize, c_out: usize) -> KernelRate {
    let (dims, voxels) = ([1, size, size, size], size.pow(3));
    let (x, grad) = (vec![0.5; voxels * c_in], vec![0.5; voxels * c_out]);
    let (x, grad) = (View::new(&x, c_in), View::new(&grad, c_out));
    let weight = vec![0.5; kernel.pow(3) * c_in * c_out];
    let peak = measured_peak() / 1e9;
    let seconds = [
        median_seconds(LEAST, || _ = black_box(conv3d(x, None, dims, &weight, kernel, c_out))),
        median_seconds(LEAST, || {
            black_box(conv3d_input_gradient(grad, dims, &weight, kernel, c_in));
        }),
        median_seconds(LEAST, || {
            black_box(conv3d_weight_gradient(x, None, grad, dims, kernel));
        }),
    ];
    let operations = 2.0 * (voxels * kernel.pow(3) * c_in * c_out) as f64;
    let name = format!("convolution {kernel}^3 {c_in}->{c_out} at {size}^3");
    KernelRate { name, peak, rates: seconds.map(|s| operations / s / 1e9) }
}

fn deconvolution(size: usize, c_in: usize, c_out: usize) -> KernelRate {
    let (dims, voxels) = ([1, size, size, size], size.pow(3));
    let x = vec![0.5; voxels * c_in];
    let mut grad = vec![0.5; 8 * voxels * c_out];
    let x = View::new(&x, c_in);
    let weight = vec![0.5; 8 * c_in * c_out];
    let peak = measured_peak() / 1e9;
    let forward = median_seconds(LEAST, || {
        add_deconv2(x, None, dims, &weight, ViewMut::new(&mut grad, c_out));
    });
    let grad = View::new(&grad, c_out);
    let seconds = [
        forward,
        median_seconds(LEAST, || {
            black_box(deconv2_input_gradient(grad, dims, &weight, c_in));
        }),
        median_seconds(LEAST, || _ = black_box(deconv2_weight_gradient(x, None, grad, dims))),
    ];
    let operations = 2.0 * (voxels * 8 * c_in * c_out) as f64;
    let name = format!("deconvolution 2^3 {c_in}->{c_out} from {size}^3");
    KernelRate { name, peak, rates: seconds.map(|s| operations / s / 1e9) }
}

/// The passes between them, on the network's largest feature map.
pub fn memory() -> Vec<MemoryRate> {
    let (size, channels) = (128_usize, 24);
    let voxels = size.pow(3);
    let x = vec![0.5; voxels * channels];
    let mut grad = vec![0.5; voxels * channels];
    let ones = vec![1.0; channels];
    let norm = BatchNorm { mean: &ones, variance: &ones, gamma: &ones, beta: &ones, epsilon: 1e-5 };
    let x = View::new(&x, channels);
    let gigabytes = (4 * voxels * channels) as f64 / 1e9;
    let rate = |name: &str, passes: f64, seconds: f64| MemoryRate {
        name: format!("{name}, {channels} channels at {size}^3"),
        rate: passes * gigabytes / seconds,
    };
    let statistics = median_seconds(LEAST, || _ = black_box(channel_stats(x)));
    let norm_gradient = median_seconds(LEAST, || {
        black_box(norm_relu_gradient(x, &norm, ViewMut::new(&mut grad, channels)));
    });
    let (dims, half) = ([1, size, size, size], [1, size / 2, size / 2, size / 2]);
    let pool = median_seconds(LEAST, || _ = black_box(max_pool2(x, dims)));
    let (out, argmax) = max_pool2(x, dims);
    let pool_gradient = median_seconds(LEAST, || {
        black_box(max_pool2_gradient(View::new(&out, channels), &argmax, half));
    });
    vec![
        rate("channel statistics", 1.0, statistics),
        rate("norm and ReLU gradient", 5.0, norm_gradient),
        rate("max pooling", 1.125, pool),
        rate("max pooling gradient", 1.125, pool_gradient),
    ]
}
