//! Training patches: where they are cut, what is known in them, how they are varied.

use dasl_volume::dataset::{Dataset, DatasetError, ScanRecord};
use dasl_volume::resample::{resample_ct, resample_labels};
use dasl_volume::{Geometry, PADDING_HU, PointMm, Volume, crop_padded};
use ndarray::{Array3, ArrayView3, Axis, s};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::anchor::Cube;
use crate::config::TrainConfig;
use crate::intensity::normalise;
use crate::layer::normal;

/// Farthest that a training RoI lies off its nodule, in voxels: proposals are not exact either.
const ROI_JITTER: i64 = 3;

/// A label that the network gave itself (Eq. 7): box and mask in voxels of the scan.
#[derive(Debug, Clone, PartialEq)]
pub struct PseudoLabel {
    /// First voxel of the mask [z, y, x].
    pub start: [i64; 3],
    /// 1 inside.
    pub mask: Array3<u16>,
}

/// One thing that is annotated: the surroundings of a nodule.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSample {
    /// The scan.
    pub scan: String,
    /// The nodule's label there; it says where the sample lies.
    pub label: u16,
    /// v of Eq. (4): 1 for an annotated sample.
    pub weight: f64,
    /// The label to use in place of the readers' one.
    pub pseudo: Option<PseudoLabel>,
}

/// What a network is trained on.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// Annotated and pseudo-labelled samples.
    pub samples: Vec<TrainingSample>,
    /// Whole scans, for patches that probably hold no nodule.
    pub background: Vec<String>,
}

/// A nodule in a patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Box, voxels of the patch.
    pub cube: Cube,
    /// First voxel of the mask's crop in the patch.
    pub roi: [usize; 3],
    /// 1 inside the nodule, [crop, crop, crop].
    pub mask: Array3<f32>,
}

/// An input with all that is known about it.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Intensities in [-1, 1], [z, y, x].
    pub image: Array3<f32>,
    /// Nodules whose centre lies in the patch.
    pub targets: Vec<Target>,
    /// Nodules cut by the border: neither nodule nor background.
    pub ignored: Vec<Cube>,
    /// v of Eq. (4).
    pub weight: f64,
}

/// Draws the patch of a training step.
///
/// # Errors
/// If the dataset can't be read.
pub fn draw(
    dataset: &Dataset,
    set: &TrainingSet,
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Patch, DatasetError> {
    let positive = rng.random::<f64>() < config.positive_share;
    let background = set.background.len();
    if background > 0 && (!positive || set.samples.is_empty()) {
        let scan = &set.background[rng.random_range(0..background)];
        return background_patch(dataset, set, scan, config, rng);
    }
    let sample = pick_sample(dataset, set, rng)?;
    sample_patch(dataset, sample, config, rng)
}

/// A sample, larger nodules more often: they are rare, and their masks hard. The chance grows
/// with the diameter's square root.
fn pick_sample<'a>(
    dataset: &Dataset,
    set: &'a TrainingSet,
    rng: &mut ChaCha8Rng,
) -> Result<&'a TrainingSample, DatasetError> {
    let largest_mm = 36.0_f64;
    loop {
        let sample = &set.samples[rng.random_range(0..set.samples.len())];
        // A pseudo-labelled sample's true size is not known.
        if sample.pseudo.is_some() {
            return Ok(sample);
        }
        let record = dataset.scan(&sample.scan)?;
        let diameter = nodule(&record, sample.label).map_or(largest_mm, |n| n.diameter_mm);
        if rng.random::<f64>() < (diameter / largest_mm).sqrt() {
            return Ok(sample);
        }
    }
}

fn nodule(record: &ScanRecord, label: u16) -> Option<&dasl_volume::dataset::NoduleRecord> {
    record.nodules.iter().find(|n| n.label == label)
}

/// Centre voxel of a sample's nodule.
pub fn sample_center(record: &ScanRecord, label: u16) -> [i64; 3] {
    nodule(record, label).map_or([0; 3], |n| {
        [0, 1, 2].map(|axis| (n.box_start[axis] + n.box_shape[axis] / 2) as i64)
    })
}

fn sample_patch(
    dataset: &Dataset,
    sample: &TrainingSample,
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Patch, DatasetError> {
    let record = dataset.scan(&sample.scan)?;
    let reach = config.patch as i64 / 4;
    let center = sample_center(&record, sample.label);
    let center = center.map(|c| c + rng.random_range(-reach..=reach));
    let frame = Frame::draw(center, config, rng);
    let ct = dataset.read_ct(&sample.scan, frame.start, frame.shape)?;
    let labels = match &sample.pseudo {
        // A reader who annotates a sample outlines every nodule in it.
        None => dataset.read_labels(&sample.scan, frame.start, frame.shape)?,
        Some(own) => {
            let start = [0, 1, 2].map(|axis| frame.start[axis] - own.start[axis]);
            crop_padded(own.mask.view(), start, frame.shape, 0)
        }
    };
    Ok(frame.finish(ct, labels, sample.weight, config, rng))
}

fn background_patch(
    dataset: &Dataset,
    set: &TrainingSet,
    scan: &str,
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Patch, DatasetError> {
    let record = dataset.scan(scan)?;
    let shape = record.geometry.shape;
    let mut center = [0; 3];
    // Most draws hit the lung within a few tries; the last one is taken as it is.
    for _ in 0..50 {
        center = shape.map(|n| rng.random_range(0..n) as i64);
        if dataset.read_lung(scan, center, [1; 3])?[[0, 0, 0]] != 0 {
            break;
        }
    }
    let frame = Frame::draw(center, config, rng);
    let ct = dataset.read_ct(scan, frame.start, frame.shape)?;
    let mut labels = dataset.read_labels(scan, frame.start, frame.shape)?;
    // Only annotated nodules are known; the others are what "probably none" means.
    let known: Vec<u16> = set
        .samples
        .iter()
        .filter(|s| s.scan == scan && s.pseudo.is_none())
        .map(|s| s.label)
        .collect();
    labels.mapv_inplace(|label| if known.contains(&label) { label } else { 0 });
    Ok(frame.finish(ct, labels, 1.0, config, rng))
}

/// The box that is read and how it becomes a patch.
struct Frame {
    start: [i64; 3],
    shape: [usize; 3],
    /// Voxels read per voxel of the patch.
    scale: f64,
}

impl Frame {
    /// Half of the patches are scaled by 0.75 to 1.25.
    fn draw(center: [i64; 3], config: &TrainConfig, rng: &mut ChaCha8Rng) -> Self {
        let zoom = if rng.random::<bool>() { rng.random_range(0.75..=1.25) } else { 1.0 };
        let scale = 1.0 / zoom;
        let edge = (config.patch as f64 * scale).ceil() as usize;
        let start = center.map(|c| c - edge as i64 / 2);
        Self { start, shape: [edge; 3], scale }
    }

    /// Scales, flips and varies what was read.
    #[allow(clippy::float_cmp, reason = "exactly 1 means that nothing is to be resampled")]
    fn finish(
        &self,
        ct: Array3<i16>,
        labels: Array3<u16>,
        weight: f64,
        config: &TrainConfig,
        rng: &mut ChaCha8Rng,
    ) -> Patch {
        let (ct, labels) = if self.scale == 1.0 {
            (ct, labels)
        } else {
            let from = Geometry::axial(self.shape, [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
            let to = Geometry { shape: [config.patch; 3], spacing_mm: [self.scale; 3], ..from };
            let ct = resample_ct(&Volume::new(ct, from), &to).voxels;
            (ct, resample_labels(&Volume::new(labels, from), &to).voxels)
        };
        let (ct, labels) = flip(ct, labels, rng);
        let shift_hu = rng.random_range(-30.0..=30.0_f32);
        let noise_hu = rng.random_range(0.0..=15.0_f64);
        let ct = ct.mapv(|hu| {
            if hu <= PADDING_HU {
                return PADDING_HU;
            }
            (f32::from(hu) + shift_hu + (noise_hu * normal(rng)) as f32) as i16
        });
        let jitter = || rng.random_range(-ROI_JITTER..=ROI_JITTER);
        assemble(ct.view(), labels.view(), weight, config.mask_crop, jitter)
    }
}

fn flip(
    mut ct: Array3<i16>,
    mut labels: Array3<u16>,
    rng: &mut ChaCha8Rng,
) -> (Array3<i16>, Array3<u16>) {
    for axis in 0..3 {
        if rng.random::<bool>() {
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
    weight: f64,
    crop: usize,
    mut jitter: impl FnMut() -> i64,
) -> Patch {
    let image = normalise(ct);
    let mut boxes = std::collections::BTreeMap::<u16, ([usize; 3], [usize; 3])>::new();
    for ((z, y, x), &label) in labels.indexed_iter() {
        if label == 0 {
            continue;
        }
        let (low, high) = boxes.entry(label).or_insert(([z, y, x], [z, y, x]));
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at);
        }
    }
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
    Patch { image, targets, ignored, weight }
}

/// The cube that stands for a box from voxel `low` to voxel `high`: same centre, mean edge.
pub fn bounding_cube(low: [usize; 3], high: [usize; 3]) -> Cube {
    let edge: usize = (0..3).map(|axis| high[axis] - low[axis] + 1).sum();
    let center = [0, 1, 2].map(|axis| (low[axis] + high[axis]) as f64 / 2.0);
    Cube { center, edge: edge as f64 / 3.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_knows_its_nodules_and_ignores_cut_ones() {
        let ct = Array3::from_elem((16, 16, 16), -800_i16);
        let mut labels = Array3::zeros((16, 16, 16));
        labels.slice_mut(s![4..7, 5..9, 6..8]).fill(3_u16);
        labels.slice_mut(s![14..16, 0..2, 0..2]).fill(7);
        let patch = assemble(ct.view(), labels.view(), 0.5, 8, || 0);
        assert_eq!(patch.targets.len(), 1);
        let target = &patch.targets[0];
        assert_eq!(target.cube, Cube { center: [5.0, 6.5, 6.5], edge: 3.0 });
        assert_eq!(target.roi, [1, 3, 3]);
        assert!((target.mask.sum() - 24.0).abs() < 1e-6);
        assert!((target.mask[[3, 2, 3]] - 1.0).abs() < 1e-6);
        assert_eq!(patch.ignored.len(), 1);
    }
}
