//! Masks averaged over mirror images of a patch: a chest has no preferred side for a nodule's
//! outline, so what depends on the side is error, and cancels.

use ndarray::{Array3, ArrayView3, Axis};

use crate::backbone::Features;
use crate::infer::Segmenter;

/// Numbers of mirror images that can be averaged: none but the patch itself, then also along x,
/// then y, then z.
pub const COUNTS: [usize; 4] = [1, 2, 4, 8];

/// The number of them that is the patch alone, as in files from before there was a choice.
pub fn patch_alone() -> usize {
    COUNTS[0]
}

impl Segmenter {
    /// The network's output on an `RoI` of a patch, mean over `infer.flips` mirror images.
    ///
    /// # Shapes
    /// - `ct`: [z, y, x], HU, sizes a multiple of 16; `features` are its own
    /// - `start`, `size`: first voxel and edges of the `RoI` in the patch
    /// - output: `size`
    pub(crate) fn averaged_mask(
        &self,
        ct: ArrayView3<'_, i16>,
        features: &Features,
        start: [usize; 3],
        size: [usize; 3],
    ) -> Array3<f32> {
        let count = self.config().infer.flips;
        let mut sum = self.mask_at(features, start, size);
        for image in 1..count {
            let axes = (0..3).filter(|bit| image >> bit & 1 == 1).map(|bit| 2 - bit);
            let mut mirrored = ct;
            let mut from = start;
            for axis in axes.clone() {
                mirrored.invert_axis(Axis(axis));
                from[axis] = ct.shape()[axis] - start[axis] - size[axis];
            }
            let features = self.features(mirrored.as_standard_layout().view());
            let mut mask = self.mask_at(&features, from, size);
            axes.for_each(|axis| mask.invert_axis(Axis(axis)));
            sum += &mask;
        }
        sum / count as f32
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::config::{Config, Preset};
    use crate::model::NoduleRcnn;

    /// A patch without any symmetry, and its mirror image along the axes given by bits.
    fn patch(image: usize) -> Array3<i16> {
        let mut ct = Array3::from_shape_fn((16, 16, 16), |(z, y, x)| {
            ((z * 31 + y * 17 + x * 7) % 900) as i16
        });
        (0..3).filter(|bit| image >> bit & 1 == 1).for_each(|bit| ct.invert_axis(Axis(2 - bit)));
        ct.as_standard_layout().into_owned()
    }

    #[test]
    fn a_mirrored_patch_has_the_mirrored_mask() {
        let device = Device::flex();
        let mut config = Config::preset(Preset::Tiny);
        config.infer.flips = 8;
        let model = NoduleRcnn::new(&config.net, 3, &device);
        let segmenter = Segmenter::new(model, config, &device);
        let size = [8, 10, 12];
        let averaged = |image, start| {
            let ct = patch(image);
            segmenter.averaged_mask(ct.view(), &segmenter.features(ct.view()), start, size)
        };
        let want = averaged(0, [2, 3, 1]);
        let spread = want.iter().fold(0.0_f32, |a, b| a.max((b - want[[0, 0, 0]]).abs()));
        assert!(spread > 1e-4, "the mask is not flat: {spread}");
        // Along z and x: 16 - 2 - 8 = 6, 16 - 1 - 12 = 3.
        let mut got = averaged(0b101, [6, 3, 3]);
        got.invert_axis(Axis(0));
        got.invert_axis(Axis(2));
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }
}
