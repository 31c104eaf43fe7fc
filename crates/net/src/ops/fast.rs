//! The kernels of `dasl-conv` as operations of Burn's CPU backend, with their own backward passes.
//! A normalised tensor is never stored: forward applies norm and ReLU as it reads, backward
//! computes them anew.

mod backward;
mod host;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use dasl_conv::{ScaleShift, ViewMut, channel_stats};

use self::backward::{
    Conv, ConvState, Dense, DenseState, MaxPool, MaxPoolState, NormConv, NormDeconv, NormState,
};
use self::host::{Array, Host, array, batch_norm, changed, dense_block};
use super::{ChannelStats, DenseLayer, Scale};

type Float<B> = FloatTensor<B>;

/// Operations that are differentiated. Where three tensors come out, they are the output, and mean
/// and variance of the input's channels.
#[backend_extension(Flex, Autodiff)]
trait TrainingKernels: Backend {
    fn fast_conv(x: Float<Self>, weight: Float<Self>) -> Float<Self>;
    fn fast_norm_conv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
    ) -> (Float<Self>, Float<Self>, Float<Self>);
    fn fast_norm_deconv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
        onto: Float<Self>,
    ) -> (Float<Self>, Float<Self>, Float<Self>);
    /// The layers' parameters one after the other; each layer adds `growth` channels.
    fn fast_dense(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
        growth: usize,
    ) -> (Float<Self>, Float<Self>, Float<Self>);
    fn fast_max_pool(x: Float<Self>) -> Float<Self>;
}

/// Operations that are not.
#[backend_extension(Flex)]
trait InferenceKernels: Backend {
    fn fast_fixed_norm_conv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        mean: Float<Self>,
        variance: Float<Self>,
        weight: Float<Self>,
    ) -> Float<Self>;
    fn fast_fixed_norm_deconv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        mean: Float<Self>,
        variance: Float<Self>,
        weight: Float<Self>,
        onto: Float<Self>,
    ) -> Float<Self>;
    fn fast_fixed_dense(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        mean: Float<Self>,
        variance: Float<Self>,
        weight: Float<Self>,
        growth: usize,
    ) -> Float<Self>;
}

/// As [`super::conv3d`].
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_conv(x.into_dispatch(), weight.into_dispatch()))
}

/// As [`super::norm_conv_train`].
pub fn norm_conv_train(x: Tensor<5>, scale: Scale, weight: Tensor<5>) -> (Tensor<5>, ChannelStats) {
    with_stats(Dispatch::fast_norm_conv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// As [`super::norm_deconv_train`].
pub fn norm_deconv_train(
    x: Tensor<5>,
    scale: Scale,
    weight: Tensor<5>,
    onto: Tensor<5>,
) -> (Tensor<5>, ChannelStats) {
    with_stats(Dispatch::fast_norm_deconv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        weight.into_dispatch(),
        onto.into_dispatch(),
    ))
}

/// As [`super::dense_train`].
pub fn dense_train(x: Tensor<5>, layers: Vec<DenseLayer>) -> (Tensor<5>, ChannelStats) {
    let (scale, weight, growth) = one_after_the_other(layers);
    with_stats(Dispatch::fast_dense(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        weight.into_dispatch(),
        growth,
    ))
}

fn with_stats(
    (out, mean, variance): (Float<Dispatch>, Float<Dispatch>, Float<Dispatch>),
) -> (Tensor<5>, ChannelStats) {
    let mean = Tensor::from_dispatch(mean);
    let variance = Tensor::from_dispatch(variance);
    (Tensor::from_dispatch(out), ChannelStats { mean, variance })
}

/// As [`super::norm_conv`].
pub fn norm_conv(x: Tensor<5>, scale: Scale, stats: ChannelStats, weight: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_fixed_norm_conv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        stats.mean.into_dispatch(),
        stats.variance.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// As [`super::norm_deconv`].
pub fn norm_deconv(
    x: Tensor<5>,
    scale: Scale,
    stats: ChannelStats,
    weight: Tensor<5>,
    onto: Tensor<5>,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_fixed_norm_deconv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        stats.mean.into_dispatch(),
        stats.variance.into_dispatch(),
        weight.into_dispatch(),
        onto.into_dispatch(),
    ))
}

/// As [`super::dense`].
pub fn dense(x: Tensor<5>, layers: Vec<(DenseLayer, ChannelStats)>) -> Tensor<5> {
    let (layers, stats): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let (scale, weight, growth) = one_after_the_other(layers);
    let (mean, variance): (Vec<_>, Vec<_>) =
        stats.into_iter().map(|s| (s.mean, s.variance)).unzip();
    Tensor::from_dispatch(Dispatch::fast_fixed_dense(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        Tensor::cat(mean, 0).into_dispatch(),
        Tensor::cat(variance, 0).into_dispatch(),
        weight.into_dispatch(),
        growth,
    ))
}

/// The parameters of a dense block's layers, and their growth.
fn one_after_the_other(layers: Vec<DenseLayer>) -> (Scale, Tensor<1>, usize) {
    let growth = layers.first().map_or(0, |layer| layer.weight.dims()[4]);
    let (mut gamma, mut beta, mut weight) = (Vec::new(), Vec::new(), Vec::new());
    for layer in layers {
        gamma.push(layer.scale.gamma);
        beta.push(layer.scale.beta);
        weight.push(layer.weight.flatten(0, 4));
    }
    let scale = Scale { gamma: Tensor::cat(gamma, 0), beta: Tensor::cat(beta, 0) };
    (scale, Tensor::cat(weight, 0), growth)
}

/// As [`super::max_pool2`].
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_max_pool(x.into_dispatch()))
}

impl TrainingKernels for Flex {
    fn fast_conv(x: Array, weight: Array) -> Array {
        convolve(&Host::new(&x), None, &Host::new(&weight))
    }

    fn fast_norm_conv(x: Array, gamma: Array, beta: Array, weight: Array) -> (Array, Array, Array) {
        let (mean, variance) = statistics(&Host::new(&x));
        let (m, v) = (mean.clone(), variance.clone());
        (Flex::fast_fixed_norm_conv(x, gamma, beta, m, v, weight), mean, variance)
    }

    fn fast_norm_deconv(
        x: Array,
        gamma: Array,
        beta: Array,
        weight: Array,
        onto: Array,
    ) -> (Array, Array, Array) {
        let (mean, variance) = statistics(&Host::new(&x));
        let (m, v) = (mean.clone(), variance.clone());
        (Flex::fast_fixed_norm_deconv(x, gamma, beta, m, v, weight, onto), mean, variance)
    }

    fn fast_dense(
        x: Array,
        gamma: Array,
        beta: Array,
        weight: Array,
        growth: usize,
    ) -> (Array, Array, Array) {
        let [x, gamma, beta, weight] = [&x, &gamma, &beta, &weight].map(Host::new);
        let block = dense_block(x.channels(), growth, &gamma, &beta, &weight);
        let (out, mean, variance) = block.forward_train(x.view(), x.dims());
        let channels = vec![mean.len()];
        (widened(&x, out), array(mean, channels.clone()), array(variance, channels))
    }

    fn fast_max_pool(x: Array) -> Array {
        pool(&Host::new(&x)).0
    }
}

impl InferenceKernels for Flex {
    fn fast_fixed_norm_conv(
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        variance: Array,
        weight: Array,
    ) -> Array {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(Host::new);
        let [mean, variance, weight] = [&mean, &variance, &weight].map(Host::new);
        let (scale, shift) = batch_norm(&mean, &variance, &gamma, &beta).scale_shift();
        convolve(&x, Some(ScaleShift { scale: &scale, shift: &shift }), &weight)
    }

    fn fast_fixed_norm_deconv(
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        variance: Array,
        weight: Array,
        onto: Array,
    ) -> Array {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(Host::new);
        let [mean, variance, weight] = [&mean, &variance, &weight].map(Host::new);
        let (scale, shift) = batch_norm(&mean, &variance, &gamma, &beta).scale_shift();
        let norm = Some(ScaleShift { scale: &scale, shift: &shift });
        let add = |out: ViewMut<'_>| {
            dasl_conv::add_deconv2(x.view(), norm, x.dims(), weight.values(), out);
        };
        changed(onto, add).0
    }

    fn fast_fixed_dense(
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        variance: Array,
        weight: Array,
        growth: usize,
    ) -> Array {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(Host::new);
        let [mean, variance, weight] = [&mean, &variance, &weight].map(Host::new);
        let block = dense_block(x.channels(), growth, &gamma, &beta, &weight);
        let out = block.forward(x.view(), x.dims(), mean.values(), variance.values());
        widened(&x, out)
    }
}

fn statistics(x: &Host) -> (Array, Array) {
    let (mean, variance) = channel_stats(x.view());
    let channels = vec![mean.len()];
    (array(mean, channels.clone()), array(variance, channels))
}

fn convolve(x: &Host, norm: Option<ScaleShift>, weight: &Host) -> Array {
    let (kernel, c_out) = (weight.shape()[0], weight.channels());
    let out = dasl_conv::conv3d(x.view(), norm, x.dims(), weight.values(), kernel, c_out);
    widened(x, out)
}

/// Values with the voxels of x and as many channels as there are.
fn widened(x: &Host, values: Vec<f32>) -> Array {
    let [n, z, y, w] = x.dims();
    let channels = values.len() / (n * z * y * w);
    array(values, vec![n, z, y, w, channels])
}

fn pool(x: &Host) -> (Array, Vec<u8>) {
    let [n, z, y, w] = x.dims();
    let (out, argmax) = dasl_conv::max_pool2(x.view(), x.dims());
    (array(out, vec![n, z / 2, y / 2, w / 2, x.channels()]), argmax)
}

impl<C: CheckpointStrategy> TrainingKernels for Autodiff<Flex, C> {
    fn fast_conv(x: Float<Self>, weight: Float<Self>) -> Float<Self> {
        let prepared = Conv.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prepared {
            OpsKind::Tracked(prep) => {
                let state = ConvState { x: x.clone(), weight: weight.clone() };
                prep.finish(state, Flex::fast_conv(x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::fast_conv(x, weight)),
        }
    }

    fn fast_norm_conv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
    ) -> (Float<Self>, Float<Self>, Float<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), weight.node()];
        let prepared = NormConv.prepare::<C>(nodes).compute_bound().stateful();
        let [x, gamma, beta, weight] = [x, gamma, beta, weight].map(Float::<Self>::into_primitive);
        let (out, mean, variance) =
            Flex::fast_norm_conv(x.clone(), gamma.clone(), beta.clone(), weight.clone());
        let stats = [&mean, &variance].map(|t| Float::<Self>::new(t.clone()));
        let out = match prepared {
            OpsKind::Tracked(prep) => {
                prep.finish(NormState { x, gamma, beta, weight, mean, variance }, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        let [mean, variance] = stats;
        (out, mean, variance)
    }

    fn fast_norm_deconv(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
        onto: Float<Self>,
    ) -> (Float<Self>, Float<Self>, Float<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), weight.node(), onto.node()];
        let prepared = NormDeconv.prepare::<C>(nodes).compute_bound().stateful();
        let [x, gamma, beta, weight] = [x, gamma, beta, weight].map(Float::<Self>::into_primitive);
        let onto = onto.into_primitive();
        let (out, mean, variance) =
            Flex::fast_norm_deconv(x.clone(), gamma.clone(), beta.clone(), weight.clone(), onto);
        let stats = [&mean, &variance].map(|t| Float::<Self>::new(t.clone()));
        let out = match prepared {
            OpsKind::Tracked(prep) => {
                prep.finish(NormState { x, gamma, beta, weight, mean, variance }, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        let [mean, variance] = stats;
        (out, mean, variance)
    }

    fn fast_dense(
        x: Float<Self>,
        gamma: Float<Self>,
        beta: Float<Self>,
        weight: Float<Self>,
        growth: usize,
    ) -> (Float<Self>, Float<Self>, Float<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), weight.node()];
        let prepared = Dense.prepare::<C>(nodes).compute_bound().stateful();
        let [x, gamma, beta, weight] = [x, gamma, beta, weight].map(Float::<Self>::into_primitive);
        let inputs = Host::new(&x).channels();
        let (out, mean, variance) =
            Flex::fast_dense(x, gamma.clone(), beta.clone(), weight.clone(), growth);
        let stats = [&mean, &variance].map(|t| Float::<Self>::new(t.clone()));
        let tracked = match prepared {
            OpsKind::Tracked(prep) => {
                let norm = NormState { x: out.clone(), gamma, beta, weight, mean, variance };
                prep.finish(DenseState { norm, inputs, growth }, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        let [mean, variance] = stats;
        (tracked, mean, variance)
    }

    fn fast_max_pool(x: Float<Self>) -> Float<Self> {
        let prepared = MaxPool.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = Host::new(&x.into_primitive());
        let (out, argmax) = pool(&x);
        match prepared {
            OpsKind::Tracked(prep) => {
                let shape = x.shape().to_vec();
                prep.finish(MaxPoolState { shape, argmax: argmax.into() }, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
