//! Nodule R-CNN (section 2.1 of the paper): backbone, detection branch, mask branch.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::backbone::{Backbone, Features, Pyramid};
use crate::config::NetConfig;
use crate::layer::{Init, NormConv};

/// Numbers per anchor: objectness logit, dz, dy, dx, log d.
pub const PER_ANCHOR: usize = 5;

/// Objectness before training, as a logit: 1%, so that the many negatives don't drown the start
/// (Lin et al. 2017, focal loss, section 3.3).
const PRIOR_LOGIT: f32 = -4.595;

/// Region-proposal-like head on P2.
#[derive(Module, Debug)]
pub struct DetectionHead {
    hidden: NormConv,
    output: NormConv,
    anchors: usize,
}

impl DetectionHead {
    fn new(init: &mut Init, config: &NetConfig) -> Self {
        let channels = config.top_down[0];
        let anchors = config.anchors_mm.len();
        Self {
            hidden: NormConv::new(init, 3, channels, channels),
            output: NormConv::output(
                init,
                channels,
                &[PRIOR_LOGIT, 0.0, 0.0, 0.0, 0.0].repeat(anchors),
            ),
            anchors,
        }
    }

    /// # Shapes
    /// [n, z, y, x, c] -> [n, z, y, x, anchors, 5]; for a 128^3 patch [n, 32, 32, 32, 3, 5]
    fn forward(&self, p2: Tensor<5>) -> Tensor<6> {
        let [n, z, y, x, _] = p2.dims();
        let out = self.output.forward(self.hidden.forward(p2));
        out.reshape([n, z, y, x, self.anchors, PER_ANCHOR])
    }
}

/// Fully convolutional network on an RoI of P0.
#[derive(Module, Debug)]
pub struct MaskHead {
    first: NormConv,
    second: NormConv,
    output: NormConv,
}

impl MaskHead {
    fn new(init: &mut Init, config: &NetConfig) -> Self {
        Self {
            first: NormConv::new(init, 3, config.stem, config.mask),
            second: NormConv::new(init, 3, config.mask, config.mask),
            output: NormConv::output(init, config.mask, &[0.0]),
        }
    }

    /// # Shapes
    /// [rois, z, y, x, c] -> logits [rois, z, y, x, 1]
    fn forward(&self, roi: Tensor<5>) -> Tensor<5> {
        self.output.forward(self.second.forward(self.first.forward(roi)))
    }
}

/// The whole network.
#[derive(Module, Debug)]
pub struct NoduleRcnn {
    backbone: Backbone,
    detection: DetectionHead,
    mask: MaskHead,
}

impl NoduleRcnn {
    /// A network with fresh weights from `seed`; train it on an autodiff device.
    pub fn new(config: &NetConfig, seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut init = Init { rng: &mut rng, device };
        Self {
            backbone: Backbone::new(&mut init, config),
            detection: DetectionHead::new(&mut init, config),
            mask: MaskHead::new(&mut init, config),
        }
    }

    /// The feature maps of a patch.
    ///
    /// # Shapes
    /// - `x`: [n, z, y, x, 1], intensities in [-1, 1], sizes a multiple of 16
    pub fn features(&self, x: Tensor<5>) -> Features {
        self.backbone.features(self.pyramid(x))
    }

    /// What detection works on, of the same input.
    pub fn pyramid(&self, x: Tensor<5>) -> Pyramid {
        self.backbone.pyramid(x)
    }

    /// # Shapes
    /// P2 [n, z, y, x, c] -> [n, z, y, x, anchors, 5]
    pub fn detect(&self, p2: Tensor<5>) -> Tensor<6> {
        self.detection.forward(p2)
    }

    /// # Shapes
    /// RoI of P0 [rois, z, y, x, c] -> mask logits [rois, z, y, x, 1]
    pub fn mask(&self, roi: Tensor<5>) -> Tensor<5> {
        self.mask.forward(roi)
    }
}
