//! The backward passes, each with what it keeps of its forward pass.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use dasl_conv::{
    BatchNorm, ScaleShift, ViewMut, conv3d_input_gradient, conv3d_weight_gradient,
    deconv2_input_gradient, deconv2_weight_gradient, max_pool2_gradient, norm_relu_gradient,
};

use super::host::{Array, Host, array, batch_norm, changed, dense_block};

/// Of the plain convolution.
#[derive(Debug)]
pub struct Conv;

#[derive(Debug, Clone)]
pub struct ConvState {
    pub x: Array,
    pub weight: Array,
}

impl Backward<Flex, 2> for Conv {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_weight] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let [x, weight, grad] = [&ops.state.x, &ops.state.weight, &grad].map(Host::new);
        let (dims, kernel) = (x.dims(), weight.shape()[0]);
        if let Some(node) = node_x {
            let c_in = x.channels();
            let dx = conv3d_input_gradient(grad.view(), dims, weight.values(), kernel, c_in);
            grads.register::<Flex>(node.id, array(dx, x.shape().to_vec()));
        }
        if let Some(node) = node_weight {
            let dw = conv3d_weight_gradient(x.view(), None, grad.view(), dims, kernel);
            grads.register::<Flex>(node.id, array(dw, weight.shape().to_vec()));
        }
    }
}

/// What a normalised operation keeps: input, parameters, statistics.
#[derive(Debug, Clone)]
pub struct NormState {
    pub x: Array,
    pub gamma: Array,
    pub beta: Array,
    pub weight: Array,
    pub mean: Array,
    pub variance: Array,
}

/// Of norm, ReLU and convolution.
#[derive(Debug)]
pub struct NormConv;

impl Backward<Flex, 4> for NormConv {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Host::new(&grads.consume::<Flex>(&ops.node));
        let [x, gamma, beta, weight, mean, variance] = hosts(&ops.state);
        let norm = batch_norm(&mean, &variance, &gamma, &beta);
        let (scale, shift) = norm.scale_shift();
        let on_the_fly = Some(ScaleShift { scale: &scale, shift: &shift });
        let kernel = weight.shape()[0];
        let dw = conv3d_weight_gradient(x.view(), on_the_fly, grad.view(), x.dims(), kernel);
        let c_in = x.channels();
        let dx = conv3d_input_gradient(grad.view(), x.dims(), weight.values(), kernel, c_in);
        drop(grad);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        register(grads, nodes, &x, &norm, dx, array(dw, weight.shape().to_vec()));
    }
}

/// Of norm, ReLU and deconvolution, added to another tensor.
#[derive(Debug)]
pub struct NormDeconv;

impl Backward<Flex, 5> for NormDeconv {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let [x, gamma, beta, weight, mean, variance] = hosts(&ops.state);
        let norm = batch_norm(&mean, &variance, &gamma, &beta);
        let (scale, shift) = norm.scale_shift();
        let on_the_fly = Some(ScaleShift { scale: &scale, shift: &shift });
        let host = Host::new(&grad);
        let dw = deconv2_weight_gradient(x.view(), on_the_fly, host.view(), x.dims());
        let c_in = x.channels();
        let dx = deconv2_input_gradient(host.view(), x.dims(), weight.values(), c_in);
        drop(host);
        let [x_id, gamma_id, beta_id, weight_id, onto] = ops.parents.map(|n| n.map(|n| n.id));
        if let Some(id) = onto {
            grads.register::<Flex>(id, grad);
        }
        let nodes = [x_id, gamma_id, beta_id, weight_id];
        register(grads, nodes, &x, &norm, dx, array(dw, weight.shape().to_vec()));
    }
}

fn hosts(state: &NormState) -> [Host; 6] {
    let NormState { x, gamma, beta, weight, mean, variance } = state;
    [x, gamma, beta, weight, mean, variance].map(Host::new)
}

/// Takes the gradient of the activated input back through ReLU and norm, and registers all.
fn register(
    grads: &mut Gradients,
    nodes: [Option<NodeId>; 4],
    x: &Host,
    norm: &BatchNorm<'_>,
    mut dx: Vec<f32>,
    dw: Array,
) {
    let view = ViewMut::new(&mut dx, x.channels());
    let (dgamma, dbeta) = norm_relu_gradient(x.view(), norm, view);
    let channels = vec![x.channels()];
    let gradients = [
        array(dx, x.shape().to_vec()),
        array(dgamma, channels.clone()),
        array(dbeta, channels),
        dw,
    ];
    for (node, gradient) in nodes.into_iter().zip(gradients) {
        if let Some(id) = node {
            grads.register::<Flex>(id, gradient);
        }
    }
}

/// Of a dense block.
#[derive(Debug)]
pub struct Dense;

#[derive(Debug, Clone)]
pub struct DenseState {
    /// Its x is the block's output, which holds the input.
    pub norm: NormState,
    pub inputs: usize,
    pub growth: usize,
}

impl Backward<Flex, 4> for Dense {
    type State = DenseState;

    fn backward(self, ops: Ops<DenseState, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let DenseState { norm, inputs, growth } = ops.state;
        let [out, gamma, beta, weight, mean, variance] = hosts(&norm);
        let block = dense_block(inputs, growth, &gamma, &beta, &weight);
        let (dims, mean, variance) = (out.dims(), mean.values(), variance.values());
        let (_, gradient) =
            changed(grad, |grad| block.gradient(out.values(), dims, mean, variance, grad));
        let [n, z, y, x] = dims;
        let of = |values: Vec<f32>| {
            let length = vec![values.len()];
            array(values, length)
        };
        let gradients = [
            array(gradient.x, vec![n, z, y, x, inputs]),
            of(gradient.gamma),
            of(gradient.beta),
            of(gradient.weight),
        ];
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Of max pooling.
#[derive(Debug)]
pub struct MaxPool;

#[derive(Debug, Clone)]
pub struct MaxPoolState {
    /// Of the input.
    pub shape: Vec<usize>,
    /// Where each maximum was.
    pub argmax: Arc<[u8]>,
}

impl Backward<Flex, 1> for MaxPool {
    type State = MaxPoolState;

    fn backward(self, ops: Ops<MaxPoolState, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let Some(node) = node else { return };
        let grad = Host::new(&grad);
        let dx = max_pool2_gradient(grad.view(), &ops.state.argmax, grad.dims());
        grads.register::<Flex>(node.id, array(dx, ops.state.shape));
    }
}
