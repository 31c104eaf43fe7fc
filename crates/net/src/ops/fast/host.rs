//! Tensors of Burn's CPU backend as slices.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;
use dasl_conv::{BatchNorm, DenseBlock, View, ViewMut};

use crate::ops::NORM_EPSILON;

/// A tensor of the CPU backend.
pub type Array = FloatTensor<Flex>;

/// A tensor as contiguous values in memory.
pub struct Host {
    array: Array,
    shape: Vec<usize>,
}

impl Host {
    /// Copies only what is not contiguous.
    pub fn new(array: &Array) -> Self {
        let shape = array.layout().shape().to_vec();
        Self { array: array.to_contiguous(), shape }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn values(&self) -> &[f32] {
        self.array.as_slice().expect("made contiguous")
    }

    pub fn channels(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    pub fn view(&self) -> View<'_> {
        View::new(self.values(), self.channels())
    }

    /// [n, z, y, x] of a feature map.
    pub fn dims(&self) -> [usize; 4] {
        [self.shape[0], self.shape[1], self.shape[2], self.shape[3]]
    }
}

/// A tensor that takes over its values.
pub fn array(values: Vec<f32>, shape: Vec<usize>) -> Array {
    Array::from_data(TensorData::new(values, shape))
}

/// What `change` makes of a tensor, in place if nobody else has it, and what it gives.
pub fn changed<R>(array: Array, change: impl FnOnce(ViewMut<'_>) -> R) -> (Array, R) {
    let shape = array.layout().shape().to_vec();
    let whole = array.layout().contiguous_offsets() == Some((0, array.storage::<f32>().len()));
    let mut array = if whole { array } else { array.to_contiguous() };
    let result = change(ViewMut::new(array.storage_mut(), shape[shape.len() - 1]));
    (array, result)
}

/// A norm's parameters.
pub fn batch_norm<'a>(
    mean: &'a Host,
    variance: &'a Host,
    gamma: &'a Host,
    beta: &'a Host,
) -> BatchNorm<'a> {
    BatchNorm {
        mean: mean.values(),
        variance: variance.values(),
        gamma: gamma.values(),
        beta: beta.values(),
        epsilon: NORM_EPSILON as f32,
    }
}

/// A dense block's parameters.
pub fn dense_block<'a>(
    inputs: usize,
    growth: usize,
    gamma: &'a Host,
    beta: &'a Host,
    weight: &'a Host,
) -> DenseBlock<'a> {
    DenseBlock {
        inputs,
        growth,
        gamma: gamma.values(),
        beta: beta.values(),
        weight: weight.values(),
        epsilon: NORM_EPSILON as f32,
    }
}
