//! The same arithmetic in Burn's own operations: for GPUs, for 64-bit floats, and as the
//! reference that the fast kernels are tested against. Shapes as in [`super`].

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train, conv3d as conv3d_channels_first};
use burn::tensor::ops::ConvOptions;

use super::{ChannelStats, DenseLayer, NORM_EPSILON, Scale};

/// Convolution that keeps the size.
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>) -> Tensor<5> {
    let [n, z, y, w, c_in] = x.dims();
    let [kernel, _, _, _, c_out] = weight.dims();
    if kernel == 1 {
        // A convolution of one voxel is a matrix product.
        let weight = weight.reshape([c_in, c_out]);
        return rows(x).matmul(weight).reshape([n, z, y, w, c_out]);
    }
    let options = ConvOptions::new([1; 3], [kernel / 2; 3], [1; 3], 1);
    let x = x.permute([0, 4, 1, 2, 3]);
    let weight = weight.permute([4, 3, 0, 1, 2]);
    conv3d_channels_first(x, weight, None, options).permute([0, 2, 3, 4, 1])
}

/// Deconvolution with kernel 2 and stride 2.
pub fn deconv2(x: Tensor<5>, weight: Tensor<5>) -> Tensor<5> {
    let [n, z, y, w, c_in] = x.dims();
    let c_out = weight.dims()[4];
    // Kernel and stride agree, so no two outputs overlap: one product gives every voxel's 2^3.
    rows(x)
        .matmul(weight.reshape([c_in, 8 * c_out]))
        .reshape([n * z, y, w, 2, 2, 2 * c_out])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([n, 2 * z, 2 * y, 2 * w, c_out])
}

/// Max pooling with kernel 2 and stride 2.
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    let [n, z, y, w, c] = x.dims();
    let x = x.reshape([n * z * y, w / 2, 2, c]).max_dim(2);
    let x = x.reshape([n * z, y / 2, 2, w / 2 * c]).max_dim(2);
    let x = x.reshape([n, z / 2, 2, y / 2 * (w / 2) * c]).max_dim(2);
    x.reshape([n, z / 2, y / 2, w / 2, c])
}

/// Batch norm with this batch's statistics, then ReLU.
pub fn norm_relu_train(x: Tensor<5>, scale: Scale) -> (Tensor<5>, ChannelStats) {
    let dims = x.dims();
    let out = batch_norm_train(rows(x), scale.gamma, scale.beta, NORM_EPSILON);
    let stats = ChannelStats { mean: out.mean, variance: out.variance };
    (relu(out.output).reshape(dims), stats)
}

/// Batch norm with given statistics, then ReLU.
pub fn norm_relu(x: Tensor<5>, scale: Scale, stats: ChannelStats) -> Tensor<5> {
    let (dims, x) = (x.dims(), rows(x));
    let Scale { gamma, beta } = scale;
    relu(batch_norm(x, gamma, beta, stats.mean, stats.variance, NORM_EPSILON)).reshape(dims)
}

/// Dense block with this batch's statistics.
pub fn dense_train(x: Tensor<5>, layers: Vec<DenseLayer>) -> (Tensor<5>, ChannelStats) {
    let mut last = None;
    let out = layers.into_iter().fold(x, |x, layer| {
        let (activated, stats) = norm_relu_train(x.clone(), layer.scale);
        last = Some(stats);
        Tensor::cat(vec![x, conv3d(activated, layer.weight)], 4)
    });
    (out, last.expect("a dense block has at least one layer"))
}

/// Dense block with given statistics.
pub fn dense(x: Tensor<5>, layers: Vec<(DenseLayer, ChannelStats)>) -> Tensor<5> {
    layers.into_iter().fold(x, |x, (layer, stats)| {
        let activated = norm_relu(x.clone(), layer.scale, stats);
        Tensor::cat(vec![x, conv3d(activated, layer.weight)], 4)
    })
}

/// Voxels as rows, channels as columns.
fn rows(x: Tensor<5>) -> Tensor<2> {
    let [n, z, y, w, c] = x.dims();
    x.reshape([n * z * y * w, c])
}
