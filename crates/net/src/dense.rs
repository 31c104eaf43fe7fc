//! 3D DenseBlock (Huang et al. 2017; in 3D Yu et al. 2017, reference 9 of the paper).

use burn::module::Module;
use burn::tensor::Tensor;

use crate::layer::{Init, NormConv};

/// Layers of [norm, ReLU, conv 3^3], each of which sees all channels before it.
#[derive(Module, Debug)]
pub struct DenseBlock {
    layers: Vec<NormConv>,
}

impl DenseBlock {
    /// `layers` layers that add `growth` channels each.
    pub fn new(init: &mut Init, c_in: usize, layers: usize, growth: usize) -> Self {
        let layers = (0..layers).map(|i| NormConv::new(init, 3, c_in + i * growth, growth));
        Self { layers: layers.collect() }
    }

    /// # Shapes
    /// [n, z, y, x, `c_in`] -> [n, z, y, x, `c_in` + layers * growth]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.layers.iter().fold(x, |x, layer| {
            let new = layer.forward(x.clone());
            Tensor::cat(vec![x, new], 4)
        })
    }
}
