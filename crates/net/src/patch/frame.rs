//! From the voxels of a box to a patch: coarser, scaled, flipped, varied, cut into targets.

use std::collections::BTreeMap;

use dasl_volume::blocks::{block_label, block_mean};
use dasl_volume::resample::{resample_ct, resample_labels};
use dasl_volume::{Geometry, PADDING_HU, PointMm, Volume};
use ndarray::{Array3, ArrayView3, Axis, s};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{LARGEST_ZOOM, LEAST_ON_COARSER, Patch, SMALLEST_ZOOM, Target};
use crate::anchor::Cube;
use crate::config::TrainConfig;
use crate::intensity::normalise;
use crate::layer::normal;

/// Farthest that a training RoI lies off its nodule, in voxels: proposals are not exact either.
const ROI_JITTER: i64 = 3;

/// The box that is read and how it becomes a patch.
pub(super) struct Frame {
    pub start: [i64; 3],
    pub shape: [usize; 3],
    /// Edge of the cubes of voxels that are made one.
    coarser: usize,
    /// Of those voxels so many per voxel of the patch.
    scale: f64,
}

impl Frame {
    /// Half of the patches are scaled by 0.75 to 1.25.
    pub fn draw(
        center: [i64; 3],
        coarser: usize,
        config: &TrainConfig,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let zoom =
            if rng.random::<bool>() { rng.random_range(SMALLEST_ZOOM..=LARGEST_ZOOM) } else { 1.0 };
        let scale = 1.0 / zoom;
        let edge = (config.patch as f64 * scale).ceil() as usize * coarser;
        let start = center.map(|c| c - edge as i64 / 2);
        Self { start, shape: [edge; 3], coarser, scale }
    }

    /// Scales, flips and varies what was read. `unknown`, in voxels of the box, is neither nodule nor
    /// background.
    #[allow(clippy::float_cmp, reason = "exactly 1 means that nothing is to be resampled")]
    pub fn finish(
        &self,
        ct: Array3<i16>,
        mut labels: Array3<u16>,
        mut unknown: Vec<Cube>,
        config: &TrainConfig,
        rng: &mut ChaCha8Rng,
    ) -> Patch {
        let (ct, labels) = if self.coarser == 1 {
            (ct, labels)
        } else {
            // Of cubes of voxels less than half of a small nodule may be left, or nothing.
            let small = |cube: &Cube| cube.edge < (LEAST_ON_COARSER * self.coarser) as f64;
            let mut boxes = boxes(labels.view());
            boxes.retain(|_, (low, high)| small(&bounding_cube(*low, *high)));
            unknown.extend(boxes.values().map(|(low, high)| bounding_cube(*low, *high)));
            labels.mapv_inplace(|label| if boxes.contains_key(&label) { 0 } else { label });
            (block_mean(ct.view(), self.coarser), block_label(labels.view(), self.coarser))
        };
        let (ct, labels) = if self.scale == 1.0 {
            (ct, labels)
        } else {
            let shape = self.shape.map(|edge| edge / self.coarser);
            let from = Geometry::axial(shape, [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
            let to = Geometry { shape: [config.patch; 3], spacing_mm: [self.scale; 3], ..from };
            let ct = resample_ct(&Volume::new(ct, from), &to).voxels;
            (ct, resample_labels(&Volume::new(labels, from), &to).voxels)
        };
        let flips: [bool; 3] = std::array::from_fn(|_| rng.random());
        let (ct, labels) = flip(ct, labels, flips);
        let shift_hu = rng.random_range(-30.0..=30.0_f32);
        let noise_hu = rng.random_range(0.0..=15.0_f64);
        let ct = ct.mapv(|hu| {
            if hu <= PADDING_HU {
                return PADDING_HU;
            }
            (f32::from(hu) + shift_hu + (noise_hu * normal(rng)) as f32) as i16
        });
        let jitter = || rng.random_range(-ROI_JITTER..=ROI_JITTER);
        let mut patch = assemble(ct.view(), labels.view(), config.mask_crop, jitter);
        if self.coarser > 1 {
            let small = |target: &Target| target.cube.edge < LEAST_ON_COARSER as f64;
            let (small, targets) = patch.targets.into_iter().partition::<Vec<_>, _>(small);
            patch.targets = targets;
            patch.ignored.extend(small.into_iter().map(|target| target.cube));
        }
        let unknown = unknown.into_iter().map(|cube| self.in_patch(cube, flips, config.patch));
        patch.ignored.extend(unknown);
        patch
    }

    /// A cube of the box as the patch of an edge has it.
    fn in_patch(&self, cube: Cube, flips: [bool; 3], patch: usize) -> Cube {
        let by = self.coarser as f64;
        let center = std::array::from_fn(|axis| {
            // The middle of the first cube of voxels is the first voxel's of the patch.
            let at = ((cube.center[axis] + 0.5) / by - 0.5) / self.scale;
            if flips[axis] { patch as f64 - 1.0 - at } else { at }
        });
        Cube { center, edge: cube.edge / by / self.scale }
    }
}

fn flip(
    mut ct: Array3<i16>,
    mut labels: Array3<u16>,
    flips: [bool; 3],
) -> (Array3<i16>, Array3<u16>) {
    for (axis, flip) in flips.into_iter().enumerate() {
        if flip {
            ct.invert_axis(Axis(axis));
            labels.invert_axis(Axis(axis));
        }
    }
    (ct.as_standard_layout().into_owned(), labels.as_standard_layout().into_owned())
}

/// A patch from its voxels: nodules become boxes and mask crops. A crop is centred on its nodule
/// but for what `jitter` says along each axis, in voxels.
pub fn assemble(
    ct: ArrayView3<'_, i16>,
    labels: ArrayView3<'_, u16>,
    crop: usize,
    mut jitter: impl FnMut() -> i64,
) -> Patch {
    let image = normalise(ct);
    let boxes = boxes(labels);
    let size: [usize; 3] = [labels.shape()[0], labels.shape()[1], labels.shape()[2]];
    let crop = crop.min(size[0]);
    let (mut targets, mut ignored) = (Vec::new(), Vec::new());
    for (label, (low, high)) in boxes {
        let cube = bounding_cube(low, high);
        let cut = (0..3).any(|axis| low[axis] == 0 || high[axis] + 1 == size[axis]);
        if cut {
            ignored.push(cube);
            continue;
        }
        let roi = [0, 1, 2].map(|axis| {
            let first = cube.center[axis].round() as i64 - crop as i64 / 2 + jitter();
            first.clamp(0, (size[axis] - crop) as i64) as usize
        });
        let [z, y, x] = roi;
        let mask = labels
            .slice(s![z..z + crop, y..y + crop, x..x + crop])
            .mapv(|l| if l == label { 1.0 } else { 0.0 });
        targets.push(Target { cube, roi, mask });
    }
    Patch { image, targets, ignored }
}

/// First and last voxel of each label's box.
fn boxes(labels: ArrayView3<'_, u16>) -> BTreeMap<u16, ([usize; 3], [usize; 3])> {
    let mut boxes = BTreeMap::new();
    for ((z, y, x), &label) in labels.indexed_iter().filter(|(_, label)| **label != 0) {
        let (low, high) = boxes.entry(label).or_insert(([z, y, x], [z, y, x]));
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at);
        }
    }
    boxes
}

/// The cube that stands for a box from voxel `low` to voxel `high`: same centre, mean edge.
pub fn bounding_cube(low: [usize; 3], high: [usize; 3]) -> Cube {
    let edge: usize = (0..3).map(|axis| high[axis] - low[axis] + 1).sum();
    let center = [0, 1, 2].map(|axis| (low[axis] + high[axis]) as f64 / 2.0);
    Cube { center, edge: edge as f64 / 3.0 }
}
