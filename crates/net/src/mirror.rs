//! Mirror images of a patch: a chest has no preferred side for a nodule, so what depends on the side is
//! error, and cancels in the mean.

use ndarray::{Array3, ArrayView3, Axis};

use crate::anchor::Cube;
use crate::backbone::Features;
use crate::infer::Segmenter;

/// Log-odds beyond which an image is not surer: one that sees nothing does not decide alone.
const SUREST: f64 = 10.0;

/// One of the mirror images of a patch: along x for bit 0 of the number, y for bit 1, z for bit 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mirror(usize);

impl Mirror {
    /// The axes [z, y, x] that are turned round.
    fn axes(self) -> impl Iterator<Item = usize> {
        (0..3).filter(move |bit| self.0 >> bit & 1 == 1).map(|bit| 2 - bit)
    }

    /// The image of a patch, or what the network says of the image back in the patch.
    fn of<T: Copy>(self, patch: ArrayView3<'_, T>) -> Array3<T> {
        let mut image = patch;
        self.axes().for_each(|axis| image.invert_axis(Axis(axis)));
        image.as_standard_layout().into_owned()
    }

    /// Where a box of a patch of `shape` begins in the image.
    fn start(self, mut start: [usize; 3], size: [usize; 3], shape: &[usize]) -> [usize; 3] {
        self.axes().for_each(|axis| start[axis] = shape[axis] - start[axis] - size[axis]);
        start
    }

    /// Where a cube of a patch of `shape` is in the image.
    fn cube(self, cube: &Cube, shape: &[usize]) -> Cube {
        let mut center = cube.center;
        self.axes().for_each(|axis| center[axis] = (shape[axis] - 1) as f64 - center[axis]);
        Cube { center, edge: cube.edge }
    }
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
        let mut sum = Array3::zeros(size);
        let images = self.look(ct, Some(features), &mut |features, mirror| {
            sum += &self.mask_in(mirror, features, start, size, ct.shape());
        });
        sum / images as f32
    }

    /// The same, and the objectness of a proposal, of the mean log-odds over the same images: in each
    /// the highest of what overlaps it as one nodule would.
    pub(crate) fn averaged(
        &self,
        ct: ArrayView3<'_, i16>,
        start: [usize; 3],
        size: [usize; 3],
        cube: &Cube,
    ) -> (Array3<f32>, f64) {
        let (mut mask, mut log_odds) = (Array3::zeros(size), 0.0);
        let images = self.look(ct, None, &mut |features, mirror| {
            mask += &self.mask_in(mirror, features, start, size, ct.shape());
            log_odds += self.log_odds_in(mirror, features, cube, ct.shape());
        });
        (mask / images as f32, 1.0 / (1.0 + (-log_odds / images as f64).exp()))
    }

    /// Looks at every mirror image of a patch, at the patch itself first, and says how many these are.
    /// `features` are those of the patch, where they are known.
    fn look(
        &self,
        ct: ArrayView3<'_, i16>,
        features: Option<&Features>,
        each: &mut dyn FnMut(&Features, Mirror),
    ) -> usize {
        let count = self.config().infer.flips;
        let mut known = features;
        for mirror in (0..count).map(Mirror) {
            match known.take() {
                Some(features) => each(features, mirror),
                None => each(&self.features(mirror.of(ct).view()), mirror),
            }
        }
        count
    }

    /// The output on an `RoI` of a patch of `shape`, from the features of a mirror image of it.
    fn mask_in(
        &self,
        mirror: Mirror,
        features: &Features,
        start: [usize; 3],
        size: [usize; 3],
        shape: &[usize],
    ) -> Array3<f32> {
        mirror.of(self.mask_at(features, mirror.start(start, size, shape), size).view())
    }

    /// Log-odds of the highest objectness of what overlaps a cube of a patch of `shape` in a mirror image
    /// of it.
    fn log_odds_in(
        &self,
        mirror: Mirror,
        features: &Features,
        cube: &Cube,
        shape: &[usize],
    ) -> f64 {
        let cube = mirror.cube(cube, shape);
        let all = self.proposals(&features.p2, [shape[0], shape[1], shape[2]], 0.0);
        let overlaps = all.iter().find(|p| p.cube.iou(&cube) > self.config().infer.nms_iou);
        let log_odds = overlaps.map_or(-SUREST, |p| (p.score / (1.0 - p.score)).ln());
        log_odds.clamp(-SUREST, SUREST)
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
        let ct = Array3::from_shape_fn((16, 16, 16), |(z, y, x)| {
            ((z * 31 + y * 17 + x * 7) % 900) as i16
        });
        let mut image_by_hand = ct.clone();
        for ((z, y, x), value) in ct.indexed_iter() {
            let turned = |at: usize, bit: usize| if image >> bit & 1 == 1 { 15 - at } else { at };
            image_by_hand[[turned(z, 2), turned(y, 1), turned(x, 0)]] = *value;
        }
        image_by_hand
    }

    #[test]
    fn a_mirrored_patch_has_the_mirrored_mask() {
        let device = Device::flex();
        let mut config = Config::preset(Preset::Tiny);
        config.infer.flips = 8;
        let model = NoduleRcnn::new(&config.net, 3, &device);
        let segmenter = Segmenter::new(model, config, &device);
        let size = [8, 10, 12];
        let averaged = |image, start, center| {
            let cube = Cube { center, edge: 6.0 };
            segmenter.averaged(patch(image).view(), start, size, &cube)
        };
        let (want, score) = averaged(0, [2, 3, 1], [6.0, 7.0, 5.0]);
        let spread = want.iter().fold(0.0_f32, |a, b| a.max((b - want[[0, 0, 0]]).abs()));
        assert!(spread > 1e-4, "the mask is not flat: {spread}");
        // Along z and x: 16 - 2 - 8 = 6, 16 - 1 - 12 = 3.
        let (mut got, same_score) = averaged(0b101, [6, 3, 3], [9.0, 7.0, 10.0]);
        got.invert_axis(Axis(0));
        got.invert_axis(Axis(2));
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
        assert!((score - same_score).abs() < 1e-6, "{score} {same_score}");
        let of_patch = segmenter.features(patch(0).view());
        let own = Cube { center: [6.0, 7.0, 5.0], edge: 6.0 };
        let alone = segmenter.log_odds_in(Mirror(0), &of_patch, &own, &[16; 3]);
        let log_odds = (score / (1.0 - score)).ln();
        assert!((log_odds - alone).abs() > 1e-4, "{log_odds} {alone}");
        let elsewhere = Cube { center: [200.0; 3], edge: 6.0 };
        let nothing = segmenter.log_odds_in(Mirror(0), &of_patch, &elsewhere, &[16; 3]);
        assert!((nothing + SUREST).abs() < 1e-12);
    }
}
