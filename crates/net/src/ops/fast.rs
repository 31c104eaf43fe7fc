//! The kernels of `dasl-conv` as operations of Burn's CPU backend, with their own backward passes.
//! A normalised tensor is never stored: forward applies norm and ReLU as it reads, backward
//! computes them anew.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use dasl_conv::{
    BatchNorm, ScaleShift, View, ViewMut, Write, channel_stats, conv3d_input_gradient,
    conv3d_weight_gradient, deconv2, deconv2_input_gradient, deconv2_weight_gradient,
    max_pool2_gradient, norm_relu_gradient,
};

use super::{ChannelStats, NORM_EPSILON, Scale};

type Array = FloatTensor<Flex>;

/// Operations that are differentiated.
#[backend_extension(Flex, Autodiff)]
trait TrainingKernels: Backend {
    fn fast_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fast_norm_conv(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        doubles: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn fast_max_pool(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Operations that are not.
#[backend_extension(Flex)]
trait InferenceKernels: Backend {
    fn fast_fixed_norm_conv(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        doubles: bool,
    ) -> FloatTensor<Self>;
}

/// As [`super::conv3d`].
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_conv(x.into_dispatch(), weight.into_dispatch()))
}

/// As [`super::norm_conv_train`].
pub fn norm_conv_train(x: Tensor<5>, scale: Scale, weight: Tensor<5>) -> (Tensor<5>, ChannelStats) {
    train(x, scale, weight, false)
}

/// As [`super::norm_deconv_train`].
pub fn norm_deconv_train(
    x: Tensor<5>,
    scale: Scale,
    weight: Tensor<5>,
) -> (Tensor<5>, ChannelStats) {
    train(x, scale, weight, true)
}

fn train(
    x: Tensor<5>,
    scale: Scale,
    weight: Tensor<5>,
    doubles: bool,
) -> (Tensor<5>, ChannelStats) {
    let (out, mean, variance) = Dispatch::fast_norm_conv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        weight.into_dispatch(),
        doubles,
    );
    let mean = Tensor::from_dispatch(mean);
    let variance = Tensor::from_dispatch(variance);
    (Tensor::from_dispatch(out), ChannelStats { mean, variance })
}

/// As [`super::norm_conv`].
pub fn norm_conv(x: Tensor<5>, scale: Scale, stats: ChannelStats, weight: Tensor<5>) -> Tensor<5> {
    fixed(x, scale, stats, weight, false)
}

/// As [`super::norm_deconv`].
pub fn norm_deconv(
    x: Tensor<5>,
    scale: Scale,
    stats: ChannelStats,
    weight: Tensor<5>,
) -> Tensor<5> {
    fixed(x, scale, stats, weight, true)
}

fn fixed(
    x: Tensor<5>,
    scale: Scale,
    stats: ChannelStats,
    weight: Tensor<5>,
    doubles: bool,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_fixed_norm_conv(
        x.into_dispatch(),
        scale.gamma.into_dispatch(),
        scale.beta.into_dispatch(),
        stats.mean.into_dispatch(),
        stats.variance.into_dispatch(),
        weight.into_dispatch(),
        doubles,
    ))
}

/// As [`super::max_pool2`].
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::fast_max_pool(x.into_dispatch()))
}

impl TrainingKernels for Flex {
    fn fast_conv(x: Array, weight: Array) -> Array {
        let (x, weight) = (Host::new(&x), Host::new(&weight));
        convolve(&x, None, &weight)
    }

    fn fast_norm_conv(
        x: Array,
        gamma: Array,
        beta: Array,
        weight: Array,
        doubles: bool,
    ) -> (Array, Array, Array) {
        let [x, gamma, beta, weight] = [&x, &gamma, &beta, &weight].map(Host::new);
        let (mean, variance) = channel_stats(x.view());
        let norm = batch_norm(&mean, &variance, &gamma, &beta);
        let out = normalise_and_convolve(&x, &norm, &weight, doubles);
        let channels = vec![mean.len()];
        (out, array(mean, channels.clone()), array(variance, channels))
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
        doubles: bool,
    ) -> Array {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(Host::new);
        let [mean, variance, weight] = [&mean, &variance, &weight].map(Host::new);
        let norm = batch_norm(mean.values(), variance.values(), &gamma, &beta);
        normalise_and_convolve(&x, &norm, &weight, doubles)
    }
}

/// Backward of the plain convolution.
#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 2> for ConvBackward {
    type State = (Array, Array);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_weight] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let [x, weight, grad] = [&ops.state.0, &ops.state.1, &grad].map(Host::new);
        if let Some(node) = node_x {
            grads.register::<Flex>(node.id, input_gradient(&x, &grad, &weight, false));
        }
        if let Some(node) = node_weight {
            grads.register::<Flex>(node.id, weight_gradient(&x, None, &grad, &weight, false));
        }
    }
}

/// Backward of norm, ReLU and (de)convolution.
#[derive(Debug)]
struct NormConvBackward;

#[derive(Debug, Clone)]
struct NormConvState {
    x: Array,
    gamma: Array,
    beta: Array,
    weight: Array,
    mean: Array,
    variance: Array,
    doubles: bool,
}

impl Backward<Flex, 4> for NormConvBackward {
    type State = NormConvState;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_gamma, node_beta, node_weight] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let state = &ops.state;
        let [x, gamma, beta, weight] =
            [&state.x, &state.gamma, &state.beta, &state.weight].map(Host::new);
        let [mean, variance, grad] = [&state.mean, &state.variance, &grad].map(Host::new);
        let norm = batch_norm(mean.values(), variance.values(), &gamma, &beta);
        if let Some(node) = node_weight {
            let (scale, shift) = norm.scale_shift();
            let on_the_fly = Some(ScaleShift { scale: &scale, shift: &shift });
            let dw = weight_gradient(&x, on_the_fly, &grad, &weight, state.doubles);
            grads.register::<Flex>(node.id, dw);
        }
        if node_x.is_none() && node_gamma.is_none() && node_beta.is_none() {
            return;
        }
        let activated = input_gradient(&x, &grad, &weight, state.doubles);
        let activated = Host::new(&activated);
        let mut dx = vec![0.0; x.values().len()];
        let (mut dgamma, mut dbeta) = (vec![0.0; x.channels()], vec![0.0; x.channels()]);
        norm_relu_gradient(
            x.view(),
            activated.view(),
            &norm,
            Write::Set,
            ViewMut::new(&mut dx, x.channels()),
            &mut dgamma,
            &mut dbeta,
        );
        let channels = vec![x.channels()];
        for (node, values, shape) in [
            (node_x, dx, x.shape.clone()),
            (node_gamma, dgamma, channels.clone()),
            (node_beta, dbeta, channels),
        ] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, array(values, shape));
            }
        }
    }
}

/// Backward of max pooling: where each maximum was.
#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    type State = (Vec<usize>, std::sync::Arc<Vec<u8>>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let Some(node) = node else { return };
        let (shape, argmax) = ops.state;
        let grad = Host::new(&grad);
        let mut dx = vec![0.0; shape.iter().product()];
        let out = ViewMut::new(&mut dx, grad.channels());
        max_pool2_gradient(grad.view(), &argmax, grad.dims(), Write::Set, out);
        grads.register::<Flex>(node.id, array(dx, shape));
    }
}

impl<C: CheckpointStrategy> TrainingKernels for Autodiff<Flex, C> {
    fn fast_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = ConvBackward.prepare::<C>([x.node(), weight.node()]);
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), weight.clone()), Flex::fast_conv(x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::fast_conv(x, weight)),
        }
    }

    fn fast_norm_conv(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        doubles: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), weight.node()];
        let prepared = NormConvBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let (beta, weight) = (beta.into_primitive(), weight.into_primitive());
        let (out, mean, variance) =
            Flex::fast_norm_conv(x.clone(), gamma.clone(), beta.clone(), weight.clone(), doubles);
        let stats = [&mean, &variance].map(|t| FloatTensor::<Self>::new(t.clone()));
        let out = match prepared {
            OpsKind::Tracked(prep) => {
                let state = NormConvState { x, gamma, beta, weight, mean, variance, doubles };
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        let [mean, variance] = stats;
        (out, mean, variance)
    }

    fn fast_max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = MaxPoolBackward.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = Host::new(&x.into_primitive());
        let (out, argmax) = pool(&x);
        match prepared {
            OpsKind::Tracked(prep) => {
                prep.finish((x.shape.clone(), std::sync::Arc::new(argmax)), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}

/// A tensor as contiguous values in memory.
struct Host {
    array: Array,
    shape: Vec<usize>,
}

impl Host {
    fn new(array: &Array) -> Self {
        let shape = array.layout().shape().to_vec();
        Self { array: array.to_contiguous(), shape }
    }

    fn values(&self) -> &[f32] {
        self.array.as_slice().expect("made contiguous")
    }

    fn channels(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    fn view(&self) -> View<'_> {
        View::new(self.values(), self.channels())
    }

    /// [n, z, y, x] of a feature map.
    fn dims(&self) -> [usize; 4] {
        [self.shape[0], self.shape[1], self.shape[2], self.shape[3]]
    }
}

fn array(values: Vec<f32>, shape: Vec<usize>) -> Array {
    Array::from_data(TensorData::new(values, shape))
}

fn batch_norm<'a>(
    mean: &'a [f32],
    variance: &'a [f32],
    gamma: &'a Host,
    beta: &'a Host,
) -> BatchNorm<'a> {
    let epsilon = NORM_EPSILON as f32;
    BatchNorm { mean, variance, gamma: gamma.values(), beta: beta.values(), epsilon }
}

fn normalise_and_convolve(x: &Host, norm: &BatchNorm, weight: &Host, doubles: bool) -> Array {
    let (scale, shift) = norm.scale_shift();
    let on_the_fly = Some(ScaleShift { scale: &scale, shift: &shift });
    if !doubles {
        return convolve(x, on_the_fly, weight);
    }
    let [n, z, y, w] = x.dims();
    let shape = vec![n, 2 * z, 2 * y, 2 * w, weight.channels()];
    let mut out = vec![0.0; shape.iter().product()];
    let view = ViewMut::new(&mut out, weight.channels());
    deconv2(x.view(), on_the_fly, x.dims(), weight.values(), None, view);
    array(out, shape)
}

fn convolve(x: &Host, norm: Option<ScaleShift>, weight: &Host) -> Array {
    let [n, z, y, w] = x.dims();
    let shape = vec![n, z, y, w, weight.channels()];
    let mut out = vec![0.0; shape.iter().product()];
    let view = ViewMut::new(&mut out, weight.channels());
    let kernel = weight.shape[0];
    dasl_conv::conv3d(x.view(), norm, x.dims(), weight.values(), kernel, None, view);
    array(out, shape)
}

fn input_gradient(x: &Host, grad: &Host, weight: &Host, doubles: bool) -> Array {
    let mut dx = vec![0.0; x.values().len()];
    let view = ViewMut::new(&mut dx, x.channels());
    let (dims, w) = (x.dims(), weight.values());
    if doubles {
        deconv2_input_gradient(grad.view(), dims, w, Write::Set, view);
    } else {
        conv3d_input_gradient(grad.view(), dims, w, weight.shape[0], Write::Set, view);
    }
    array(dx, x.shape.clone())
}

fn weight_gradient(
    x: &Host,
    norm: Option<ScaleShift>,
    grad: &Host,
    weight: &Host,
    doubles: bool,
) -> Array {
    let mut dw = vec![0.0; weight.values().len()];
    if doubles {
        deconv2_weight_gradient(x.view(), norm, grad.view(), x.dims(), &mut dw);
    } else {
        let kernel = weight.shape[0];
        conv3d_weight_gradient(x.view(), norm, grad.view(), x.dims(), kernel, &mut dw);
    }
    array(dw, weight.shape.clone())
}

fn pool(x: &Host) -> (Array, Vec<u8>) {
    let [n, z, y, w] = x.dims();
    let shape = vec![n, z / 2, y / 2, w / 2, x.channels()];
    let mut out = vec![0.0; shape.iter().product()];
    let mut argmax = vec![0; out.len()];
    dasl_conv::max_pool2(x.view(), x.dims(), ViewMut::new(&mut out, x.channels()), &mut argmax);
    (array(out, shape), argmax)
}
