//! The network's arithmetic, channels-last: the model knows these signatures only, so that what
//! is inside can be replaced.
//!
//! On the CPU in 32-bit floats the kernels of `dasl-conv` do the work (`fast`); everywhere else
//! Burn's own operations do ([`plain`]).

mod fast;
pub mod plain;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// Added to variances before their root.
pub const NORM_EPSILON: f64 = 1e-5;

/// What a norm multiplies by and adds, `[c]` each.
pub struct Scale {
    /// Factor, `[c]`.
    pub gamma: Tensor<1>,
    /// Summand, `[c]`.
    pub beta: Tensor<1>,
}

/// Mean and biased variance per channel, `[c]` each.
pub struct ChannelStats {
    /// Mean, `[c]`.
    pub mean: Tensor<1>,
    /// Variance without epsilon, `[c]`.
    pub variance: Tensor<1>,
}

/// 3^3 or 1^3 convolution with stride 1; zero padding keeps the size.
///
/// # Shapes
/// - `x`: [n, z, y, x, `c_in`]
/// - `weight`: [k, k, k, `c_in`, `c_out`], k odd
/// - output: [n, z, y, x, `c_out`]
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>) -> Tensor<5> {
    if is_fast(&x) { fast::conv3d(x, weight) } else { plain::conv3d(x, weight) }
}

/// Batch norm with this batch's statistics, ReLU, convolution. The statistics come back,
/// detached, for the running average.
///
/// # Shapes
/// - `x`: [n, z, y, x, `c_in`]
/// - `weight`: [k, k, k, `c_in`, `c_out`], k odd
/// - output: [n, z, y, x, `c_out`]
pub fn norm_conv_train(x: Tensor<5>, scale: Scale, weight: Tensor<5>) -> (Tensor<5>, ChannelStats) {
    if is_fast(&x) {
        return fast::norm_conv_train(x, scale, weight);
    }
    let (x, stats) = plain::norm_relu_train(x, scale);
    (plain::conv3d(x, weight), stats)
}

/// Batch norm with given statistics, ReLU, convolution.
///
/// # Shapes
/// As [`norm_conv_train`].
pub fn norm_conv(x: Tensor<5>, scale: Scale, stats: ChannelStats, weight: Tensor<5>) -> Tensor<5> {
    if is_fast(&x) {
        return fast::norm_conv(x, scale, stats, weight);
    }
    plain::conv3d(plain::norm_relu(x, scale, stats), weight)
}

/// Batch norm with this batch's statistics, ReLU, deconvolution with kernel 2 and stride 2, added
/// to `onto`.
///
/// # Shapes
/// - `x`: [n, z, y, x, `c_in`]
/// - `weight`: [`c_in`, 2, 2, 2, `c_out`]
/// - `onto` and output: [n, 2z, 2y, 2x, `c_out`]
pub fn norm_deconv_train(
    x: Tensor<5>,
    scale: Scale,
    weight: Tensor<5>,
    onto: Tensor<5>,
) -> (Tensor<5>, ChannelStats) {
    if is_fast(&x) {
        return fast::norm_deconv_train(x, scale, weight, onto);
    }
    let (x, stats) = plain::norm_relu_train(x, scale);
    (onto + plain::deconv2(x, weight), stats)
}

/// Batch norm with given statistics, ReLU, deconvolution, added to `onto`.
///
/// # Shapes
/// As [`norm_deconv_train`].
pub fn norm_deconv(
    x: Tensor<5>,
    scale: Scale,
    stats: ChannelStats,
    weight: Tensor<5>,
    onto: Tensor<5>,
) -> Tensor<5> {
    if is_fast(&x) {
        return fast::norm_deconv(x, scale, stats, weight, onto);
    }
    onto + plain::deconv2(plain::norm_relu(x, scale, stats), weight)
}

/// One layer of a dense block: norm, ReLU, 3^3 convolution.
pub struct DenseLayer {
    /// Of the norm, `[c_in]`.
    pub scale: Scale,
    /// [3, 3, 3, `c_in`, growth].
    pub weight: Tensor<5>,
}

/// A dense block with this batch's statistics: every layer reads all channels before it. The
/// statistics of all channels that are read come back, detached; each layer's are the first ones.
///
/// # Shapes
/// - `x`: [n, z, y, x, c]; layer i reads c + i * growth channels
/// - output: [n, z, y, x, c + layers * growth]
pub fn dense_train(x: Tensor<5>, layers: Vec<DenseLayer>) -> (Tensor<5>, ChannelStats) {
    if is_fast(&x) { fast::dense_train(x, layers) } else { plain::dense_train(x, layers) }
}

/// A dense block with given statistics of each layer.
///
/// # Shapes
/// As [`dense_train`].
pub fn dense(x: Tensor<5>, layers: Vec<(DenseLayer, ChannelStats)>) -> Tensor<5> {
    if is_fast(&x) { fast::dense(x, layers) } else { plain::dense(x, layers) }
}

/// Max pooling with kernel 2 and stride 2: halves the size.
///
/// # Shapes
/// - `x`: [n, 2z, 2y, 2x, c]
/// - output: [n, z, y, x, c]
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    if is_fast(&x) { fast::max_pool2(x) } else { plain::max_pool2(x) }
}

/// Whether our own kernels take a tensor.
fn is_fast(x: &Tensor<5>) -> bool {
    let device = x.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && x.dtype() == DType::F32
}
