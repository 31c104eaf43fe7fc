//! A dense block (Huang et al. 2017): each layer is norm, `ReLU` and 3^3 convolution of all channels
//! before it, and writes its own next to them. One buffer holds them all, and the statistics of a
//! channel are computed once, for all layers that read it.

use std::ops::Range;

use rayon::prelude::*;

use crate::conv::{conv3d_input_gradient_on, conv3d_weight_gradient, conv3d_within};
use crate::grid;
use crate::memory::zeros;
use crate::norm::{BatchNorm, norm_relu_gradient_on};
use crate::simd::Isa;
use crate::sums::{VOXELS, channel_stats};
use crate::view::{View, ViewMut};

/// The parameters of a dense block. Layer i reads `c_i = inputs + i * growth` channels.
#[derive(Clone, Copy, Debug)]
pub struct DenseBlock<'a> {
    /// Channels of the block's input.
    pub inputs: usize,
    /// Channels that each layer adds.
    pub growth: usize,
    /// The norms' factors, `[c_0 + c_1 + ...]`.
    pub gamma: &'a [f32],
    /// The norms' summands, `[c_0 + c_1 + ...]`.
    pub beta: &'a [f32],
    /// `[3, 3, 3, c_i, growth]` of each layer, one after the other.
    pub weight: &'a [f32],
    /// Added to the variances.
    pub epsilon: f32,
}

/// Gradients of a dense block.
#[derive(Clone, Debug)]
pub struct DenseGradient {
    /// With respect to the input, `[voxels, inputs]`.
    pub x: Vec<f32>,
    /// As [`DenseBlock::gamma`].
    pub gamma: Vec<f32>,
    /// As [`DenseBlock::beta`].
    pub beta: Vec<f32>,
    /// As [`DenseBlock::weight`].
    pub weight: Vec<f32>,
}

/// Where one layer's parameters are.
struct Layer {
    /// Channels that it reads.
    reads: usize,
    /// In `gamma` and `beta`.
    norm: Range<usize>,
    /// In `weight`.
    weight: Range<usize>,
}

impl DenseBlock<'_> {
    fn layers(&self) -> Vec<Layer> {
        let (mut layers, mut norm, mut weight) = (Vec::new(), 0, 0);
        while norm < self.gamma.len() {
            let reads = self.inputs + layers.len() * self.growth;
            let layer = Layer {
                reads,
                norm: norm..norm + reads,
                weight: weight..weight + 27 * reads * self.growth,
            };
            (norm, weight) = (layer.norm.end, layer.weight.end);
            layers.push(layer);
        }
        let lengths = (self.gamma.len(), self.beta.len(), self.weight.len());
        assert_eq!(lengths, (norm, norm, weight), "lengths of gamma, beta and weight");
        layers
    }

    fn norm<'a>(&'a self, layer: &Layer, mean: &'a [f32], variance: &'a [f32]) -> BatchNorm<'a> {
        let (gamma, beta) = (&self.gamma[layer.norm.clone()], &self.beta[layer.norm.clone()]);
        BatchNorm { mean, variance, gamma, beta, epsilon: self.epsilon }
    }

    /// All channels, with given statistics: `mean` and `variance` are as long as gamma.
    ///
    /// # Shapes
    /// x `[n, z, y, x, inputs]`, out `[n, z, y, x, inputs + layers * growth]`; `dims` is
    /// `[n, z, y, x]`.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub fn forward(
        &self,
        x: View<'_>,
        dims: [usize; 4],
        mean: &[f32],
        variance: &[f32],
    ) -> Vec<f32> {
        let layers = self.layers();
        let stride = self.inputs + layers.len() * self.growth;
        let mut out = self.widened(x, stride);
        for layer in &layers {
            let (mean, variance) = (&mean[layer.norm.clone()], &variance[layer.norm.clone()]);
            self.convolve(&mut out, stride, dims, layer, &self.norm(layer, mean, variance));
        }
        out
    }

    /// All channels with the batch's own statistics, and these: mean and biased variance of each
    /// channel that a layer reads, of which layer i takes the first `c_i`.
    ///
    /// # Shapes
    /// As [`DenseBlock::forward`].
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub fn forward_train(&self, x: View<'_>, dims: [usize; 4]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let layers = self.layers();
        let stride = self.inputs + layers.len() * self.growth;
        let mut out = self.widened(x, stride);
        let (mut mean, mut variance) = (Vec::new(), Vec::new());
        for layer in &layers {
            let new = mean.len()..layer.reads;
            let (m, v) = channel_stats(View::part(&out, stride, new.start, new.len()));
            mean.extend(m);
            variance.extend(v);
            self.convolve(&mut out, stride, dims, layer, &self.norm(layer, &mean, &variance));
        }
        (out, mean, variance)
    }

    /// The first channels of a buffer of `stride` channels.
    fn widened(&self, x: View<'_>, stride: usize) -> Vec<f32> {
        assert_eq!(x.channels, self.inputs, "x's channels");
        let mut out = zeros(x.voxels() * stride);
        copy(x, ViewMut::part(&mut out, stride, 0, self.inputs));
        out
    }

    fn convolve(
        &self,
        buffer: &mut [f32],
        stride: usize,
        dims: [usize; 4],
        layer: &Layer,
        norm: &BatchNorm<'_>,
    ) {
        let (scale, shift) = norm.scale_shift();
        let norm = crate::ScaleShift { scale: &scale, shift: &shift };
        let weight = &self.weight[layer.weight.clone()];
        let isa = Isa::best();
        conv3d_within(isa, buffer, stride, norm, dims, weight, [layer.reads, self.growth]);
    }

    /// Gradients of [`DenseBlock::forward_train`]; `out`, mean and variance are what it gave.
    ///
    /// # Shapes
    /// out and grad `[n, z, y, x, inputs + layers * growth]`; `dims` is `[n, z, y, x]`. The
    /// contents of grad are used up.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub fn gradient(
        &self,
        out: &[f32],
        dims: [usize; 4],
        mean: &[f32],
        variance: &[f32],
        grad: ViewMut<'_>,
    ) -> DenseGradient {
        let layers = self.layers();
        let stride = self.inputs + layers.len() * self.growth;
        let voxels = grid::voxels(dims);
        assert_eq!(out.len(), voxels * stride, "out's length must fit dims {dims:?}");
        assert_eq!((grad.stride, grad.channels), (stride, stride), "grad's channels");
        let grad = grad.data;
        assert_eq!(grad.len(), out.len(), "grad must have out's shape");
        let mut gradient = DenseGradient {
            x: Vec::new(),
            gamma: vec![0.0; self.gamma.len()],
            beta: vec![0.0; self.beta.len()],
            weight: vec![0.0; self.weight.len()],
        };
        // Work memory for one layer after the other: its activated input's gradient.
        let widest = layers.last().map_or(0, |layer| layer.reads);
        let mut activated = zeros(voxels * widest);
        for layer in layers.iter().rev() {
            let (mean, variance) = (&mean[..layer.reads], &variance[..layer.reads]);
            let norm = self.norm(layer, mean, variance);
            let (scale, shift) = norm.scale_shift();
            let on_the_fly = Some(crate::ScaleShift { scale: &scale, shift: &shift });
            let x = View::part(out, stride, 0, layer.reads);
            let own = View::part(grad, stride, layer.reads, self.growth);
            let dw = conv3d_weight_gradient(x, on_the_fly, own, dims, 3);
            gradient.weight[layer.weight.clone()].copy_from_slice(&dw);
            let activated = &mut activated[..voxels * layer.reads];
            let weight = &self.weight[layer.weight.clone()];
            let to = ViewMut::new(activated, layer.reads);
            conv3d_input_gradient_on(Isa::best(), own, dims, weight, 3, to);
            let (dgamma, dbeta) = norm_relu_gradient_on(
                Isa::best(),
                x,
                Some(View::new(activated, layer.reads)),
                &norm,
                ViewMut::part(grad, stride, 0, layer.reads),
            );
            gradient.gamma[layer.norm.clone()].copy_from_slice(&dgamma);
            gradient.beta[layer.norm.clone()].copy_from_slice(&dbeta);
        }
        gradient.x = zeros(voxels * self.inputs);
        let dx = ViewMut::new(&mut gradient.x, self.inputs);
        copy(View::part(grad, stride, 0, self.inputs), dx);
        gradient
    }
}

/// Copies the channels that are seen.
fn copy(from: View<'_>, to: ViewMut<'_>) {
    assert_eq!((from.voxels(), from.channels), (to.voxels(), to.channels), "shapes differ");
    let ViewMut { data, stride, offset, channels } = to;
    data.par_chunks_mut(VOXELS * stride).enumerate().for_each(|(part, data)| {
        let from = from.part_of(part, VOXELS);
        let voxels = from.data.chunks_exact(from.stride);
        for (to, from_voxel) in data.chunks_exact_mut(stride).zip(voxels) {
            to[offset..offset + channels]
                .copy_from_slice(&from_voxel[from.offset..from.offset + channels]);
        }
    });
}
