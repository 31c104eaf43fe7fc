//! The feature pyramid: three dense blocks down, deconvolutions up to the input's size.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::config::NetConfig;
use crate::layer::{Conv, DenseBlock, Init, NormConv, NormDeconv};
use crate::ops::max_pool2;

/// What the two branches work on.
pub struct Features {
    /// Detection features at 1/4 of the input's size, [n, z/4, y/4, x/4, `top_down[0]`].
    pub p2: Tensor<5>,
    /// Mask features at the input's size, [n, z, y, x, stem].
    pub p0: Tensor<5>,
}

/// What detection works on, and what is left to do for the mask features: most of a scan has no nodule,
/// and needs none.
pub struct Pyramid {
    /// Detection features at 1/4 of the input's size, [n, z/4, y/4, x/4, `top_down[0]`].
    pub p2: Tensor<5>,
    /// The first dense block's output, at 1/2.
    half: Tensor<5>,
    /// The stem's output, at the input's size.
    stem: Tensor<5>,
}

/// Stem, dense blocks at 1/2, 1/4 and 1/8, and the top-down path with lateral connections.
#[derive(Module, Debug)]
pub struct Backbone {
    stem: Conv,
    stem2: NormConv,
    dense1: DenseBlock,
    transition1: NormConv,
    dense2: DenseBlock,
    transition2: NormConv,
    dense3: DenseBlock,
    up2: NormDeconv,
    lateral2: NormConv,
    smooth2: NormConv,
    up1: NormDeconv,
    lateral1: NormConv,
    smooth1: NormConv,
    up0: NormDeconv,
    smooth0: NormConv,
}

impl Backbone {
    /// The backbone of a configuration.
    pub fn new(init: &mut Init, config: &NetConfig) -> Self {
        let &NetConfig { stem, growth, layers: [l1, l2, l3], top_down: [c2, c1], .. } = config;
        let d1 = stem + l1 * growth;
        let t1 = d1 / 2;
        let d2 = t1 + l2 * growth;
        let t2 = d2 / 2;
        let d3 = t2 + l3 * growth;
        Self {
            stem: Conv::new(init, 3, 1, stem),
            stem2: NormConv::new(init, 3, stem, stem),
            dense1: DenseBlock::new(init, stem, l1, growth),
            transition1: NormConv::new(init, 1, d1, t1),
            dense2: DenseBlock::new(init, t1, l2, growth),
            transition2: NormConv::new(init, 1, d2, t2),
            dense3: DenseBlock::new(init, t2, l3, growth),
            up2: NormDeconv::new(init, d3, c2),
            lateral2: NormConv::new(init, 1, d2, c2),
            smooth2: NormConv::new(init, 3, c2, c2),
            up1: NormDeconv::new(init, c2, c1),
            lateral1: NormConv::new(init, 1, d1, c1),
            smooth1: NormConv::new(init, 3, c1, c1),
            up0: NormDeconv::new(init, c1, stem),
            smooth0: NormConv::new(init, 3, stem, stem),
        }
    }

    /// # Shapes
    /// - `x`: [n, z, y, x, 1], sizes a multiple of 8
    pub fn pyramid(&self, x: Tensor<5>) -> Pyramid {
        let stem = self.stem2.forward(self.stem.forward(x)); // 1/1
        let d1 = self.dense1.forward(max_pool2(stem.clone())); // 1/2
        let d2 = self.dense2.forward(max_pool2(self.transition1.forward(d1.clone()))); // 1/4
        let d3 = self.dense3.forward(max_pool2(self.transition2.forward(d2.clone()))); // 1/8
        let p2 = self.smooth2.forward(self.up2.forward(d3, self.lateral2.forward(d2))); // 1/4
        Pyramid { p2, half: d1, stem }
    }

    /// The way up to the mask features.
    pub fn features(&self, Pyramid { p2, half, stem }: Pyramid) -> Features {
        let p1 = self.up1.forward(p2.clone(), self.lateral1.forward(half)); // 1/2
        let p1 = self.smooth1.forward(p1);
        let p0 = self.smooth0.forward(self.up0.forward(p1, stem)); // 1/1
        Features { p2, p0 }
    }
}
