//! Training patches: where they are cut, what is known in them, how they are varied.

mod frame;

use dasl_volume::components::components;
use dasl_volume::crop_padded;
use dasl_volume::dataset::{Dataset, DatasetError, IgnoredRecord, ScanRecord};
use ndarray::Array3;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::anchor::Cube;
use crate::config::TrainConfig;
use frame::Frame;
pub use frame::{assemble, bounding_cube};

/// Least scaling of a training patch: of it the largest box is read.
const SMALLEST_ZOOM: f64 = 0.75;
/// Diameter from which on a nodule is drawn most often, mm.
const LARGEST_MM: f64 = 36.0;
/// Most scaling of a training patch: of it the smallest box is read.
const LARGEST_ZOOM: f64 = 1.25;
/// Grids that patches are cut from beside the dataset's own: how many times its spacing they have.
const COARSER: [usize; 2] = [2, 4];
/// The kind of a place that a reader saw and called no nodule.
const NON_NODULE: &str = "non-nodule";
/// Size of a place that is only a point, mm, as in LUNA16.
const POINT_MM: f64 = 10.0;
/// On a coarser grid a nodule with a smaller edge is neither nodule nor background, voxels: it is
/// found on a finer one.
const LEAST_ON_COARSER: usize = 5;

/// A mask and its place, in voxels of the scan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedMask {
    /// First voxel of the mask [z, y, x].
    pub start: [i64; 3],
    /// n in nodule n, 0 outside [z, y, x].
    pub mask: Array3<u16>,
}

/// What a sample's label is.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// The dataset's: a reader who annotates a sample outlines every nodule in it.
    Dataset,
    /// A reader's answer in this run, for the whole [`sample_box`].
    Given(PlacedMask),
    /// A reader's answer in this run: no nodule in the [`sample_box`].
    NoNodule,
    /// The one that the network gave itself (Eq. 7).
    Pseudo(PlacedMask),
}

/// One thing that is annotated: the surroundings of a nodule.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSample {
    /// The scan.
    pub scan: String,
    /// The nodule's label there; it says where the sample lies.
    pub label: u16,
    /// v of Eq. (4), 1 for an annotated sample. Patches are drawn in proportion to it, which has the
    /// gradient of the weighted sum in the mean, and spends no step on what hardly counts.
    pub weight: f64,
    /// Its label.
    pub known: Known,
}

/// What a network is trained on.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// Annotated and pseudo-labelled samples.
    pub samples: Vec<TrainingSample>,
    /// Whole scans, for patches that probably hold no nodule.
    pub background: Vec<String>,
    /// Of the patches with a nodule at least this share is cut from annotated samples; Eq. (4) alone
    /// gives them their number over the sum of all weights.
    pub annotated_share: f64,
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
    /// Neither nodule nor background: nodules cut by the border, and places that don't count.
    pub ignored: Vec<Cube>,
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
    let (without, with): (Vec<_>, Vec<_>) =
        set.samples.iter().partition(|s| s.known == Known::NoNodule);
    let background = set.background.len();
    if background + without.len() > 0 && (!positive || with.is_empty()) {
        let mut weights = vec![1.0; background];
        weights.extend(without.iter().map(|s| s.weight));
        let place = by_weight(&weights, rng);
        return match set.background.get(place) {
            Some(scan) => background_patch(dataset, set, scan, config, rng),
            None => sample_patch(dataset, set, without[place - background], config, rng),
        };
    }
    let sample = pick_sample(dataset, &with, set.annotated_share, rng)?;
    sample_patch(dataset, set, sample, config, rng)
}

/// A sample: annotated or not by the set's share, of these by its weight, and larger nodules more
/// often: they are rare, and their masks hard. The chance grows with the diameter's square root.
fn pick_sample<'a>(
    dataset: &Dataset,
    samples: &[&'a TrainingSample],
    annotated_share: f64,
    rng: &mut ChaCha8Rng,
) -> Result<&'a TrainingSample, DatasetError> {
    let is_pseudo = |s: &&TrainingSample| matches!(s.known, Known::Pseudo(_));
    let (pseudo, annotated): (Vec<_>, Vec<_>) = samples.iter().copied().partition(|s| is_pseudo(s));
    let sum = |group: &[&TrainingSample]| group.iter().map(|s| s.weight).sum::<f64>();
    let share = (sum(&annotated) / sum(samples)).max(annotated_share);
    // The draw is made only where there is a choice.
    let from_pseudo = annotated.is_empty() || !pseudo.is_empty() && rng.random::<f64>() >= share;
    let group = if from_pseudo { pseudo } else { annotated };
    let weights: Vec<f64> = group.iter().map(|s| s.weight).collect();
    loop {
        let sample = group[by_weight(&weights, rng)];
        if rng.random::<f64>() < (sample.diameter_mm(dataset)? / LARGEST_MM).sqrt() {
            return Ok(sample);
        }
    }
}

/// A place in a list, in proportion to its weight.
fn by_weight(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let heaviest = weights.iter().copied().fold(0.0, f64::max);
    loop {
        let place = rng.random_range(0..weights.len());
        // The heaviest are taken without a draw.
        if weights[place] >= heaviest || rng.random::<f64>() * heaviest < weights[place] {
            return place;
        }
    }
}

impl TrainingSample {
    /// Diameter of the nodule by which it is drawn.
    fn diameter_mm(&self, dataset: &Dataset) -> Result<f64, DatasetError> {
        Ok(match &self.known {
            Known::Given(mask) | Known::Pseudo(mask) => mask.largest_mm(dataset.info().spacing_mm),
            Known::Dataset => {
                let record = dataset.scan(&self.scan)?;
                nodule(&record, self.label).map_or(LARGEST_MM, |n| n.diameter_mm)
            }
            // Drawn as background.
            Known::NoNodule => LARGEST_MM,
        })
    }

    /// Longest edge of the box around its nodule, voxels; 0 if none is known.
    fn edge(&self, record: &ScanRecord) -> usize {
        match &self.known {
            Known::Dataset => {
                nodule(record, self.label).and_then(|n| n.box_shape.into_iter().max()).unwrap_or(0)
            }
            Known::Given(mask) | Known::Pseudo(mask) => mask.edge(),
            Known::NoNodule => 0,
        }
    }
}

impl PlacedMask {
    /// Longest edge of the box around all that is marked, voxels.
    fn edge(&self) -> usize {
        let marked = self.mask.indexed_iter().filter(|(_, label)| **label != 0);
        let mut span = [(usize::MAX, 0); 3];
        for ((z, y, x), _) in marked {
            for (span, at) in span.iter_mut().zip([z, y, x]) {
                *span = (span.0.min(at), span.1.max(at + 1));
            }
        }
        span.into_iter().map(|(low, high)| high.saturating_sub(low)).max().unwrap_or(0)
    }

    /// Diameter of the sphere with the volume of its largest nodule, mm; 0 if it has none.
    fn largest_mm(&self, spacing_mm: f64) -> f64 {
        let mut voxels = std::collections::BTreeMap::<u16, usize>::new();
        for &label in self.mask.iter().filter(|&&label| label != 0) {
            *voxels.entry(label).or_default() += 1;
        }
        let most = voxels.into_values().max().unwrap_or(0) as f64;
        (6.0 * most / std::f64::consts::PI).cbrt() * spacing_mm
    }

    /// The box from `start` [z, y, x]; 0 outside the mask.
    fn crop(&self, start: [i64; 3], shape: [usize; 3]) -> Array3<u16> {
        let start = [0, 1, 2].map(|axis| start[axis] - self.start[axis]);
        crop_padded(self.mask.view(), start, shape, 0)
    }
}

/// The box [first voxel, size] that a reader sees of a sample and answers for: as large as the
/// largest patch that is cut for training.
pub fn sample_box(record: &ScanRecord, label: u16, patch: usize) -> ([i64; 3], [usize; 3]) {
    let edge = (patch as f64 / SMALLEST_ZOOM).ceil() as usize;
    (sample_center(record, label).map(|c| c - edge as i64 / 2), [edge; 3])
}

fn nodule(record: &ScanRecord, label: u16) -> Option<&dasl_volume::dataset::NoduleRecord> {
    record.nodules.iter().find(|n| n.label == label)
}

/// Centre voxel of a sample's nodule, or of the candidate that nobody has outlined.
pub fn sample_center(record: &ScanRecord, label: u16) -> [i64; 3] {
    if let Some(nodule) = nodule(record, label) {
        return [0, 1, 2].map(|axis| (nodule.box_start[axis] + nodule.box_shape[axis] / 2) as i64);
    }
    record.candidates.iter().find(|c| c.label == label).map_or([0; 3], |candidate| {
        let at = record.geometry.to_voxel(candidate.center_mm);
        [at.z, at.y, at.x].map(|v| v.round() as i64)
    })
}

fn sample_patch(
    dataset: &Dataset,
    set: &TrainingSet,
    sample: &TrainingSample,
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Patch, DatasetError> {
    let record = dataset.scan(&sample.scan)?;
    let edge = sample.edge(&record);
    // Beyond what a reader saw nothing is known.
    let wide = sample.known == Known::Dataset;
    let coarser = coarser(&record, config, rng, |by| wide && edge / by >= LEAST_ON_COARSER);
    let reach = reach(edge.div_ceil(coarser), config.patch) * coarser as i64;
    let center = sample_center(&record, sample.label);
    let center = center.map(|c| c + rng.random_range(-reach..=reach));
    let mut frame = Frame::draw(center, coarser, config, rng);
    if matches!(sample.known, Known::Given(_) | Known::NoNodule) {
        // Beyond its box nothing is known.
        let (first, size) = sample_box(&record, sample.label, config.patch);
        for axis in 0..3 {
            let last = first[axis] + size[axis].saturating_sub(frame.shape[axis]) as i64;
            frame.start[axis] = frame.start[axis].clamp(first[axis], last);
        }
    }
    let ct = dataset.read_ct(&sample.scan, frame.start, frame.shape)?;
    let labels = match &sample.known {
        Known::Dataset if coarser > 1 => known_labels(dataset, set, &sample.scan, &frame)?,
        Known::Dataset => dataset.read_labels(&sample.scan, frame.start, frame.shape)?,
        Known::Given(mask) => mask.crop(frame.start, frame.shape),
        // The network speaks of one nodule; others that are annotated are no background.
        Known::Pseudo(mask) => {
            let others = known_labels(dataset, set, &sample.scan, &frame)?;
            let number = others.iter().copied().max().unwrap_or(0).saturating_add(1);
            let mut own = mask.crop(frame.start, frame.shape);
            own.zip_mut_with(&others, |own, &other| *own = if *own != 0 { number } else { other });
            own
        }
        Known::NoNodule => known_labels(dataset, set, &sample.scan, &frame)?,
    };
    let unknown = places(&record, &frame);
    Ok(frame.finish(ct, labels, unknown, config, rng))
}

/// The places of a scan of which nobody knows whether they are nodules that count, in voxels of a box.
fn places(record: &ScanRecord, frame: &Frame) -> Vec<Cube> {
    let spacing_mm = record.geometry.spacing_mm[0];
    let place = |place: &IgnoredRecord| {
        let at = record.geometry.to_voxel(place.center_mm);
        let at = [at.z, at.y, at.x];
        let center = std::array::from_fn(|axis| at[axis] - frame.start[axis] as f64);
        let mm = if place.diameter_mm > 0.0 { place.diameter_mm } else { POINT_MM };
        Cube { center, edge: mm / spacing_mm }
    };
    let meets = |cube: &Cube| {
        (0..3).all(|axis| {
            let reach = cube.edge / 2.0;
            cube.center[axis] > -reach && cube.center[axis] < frame.shape[axis] as f64 + reach
        })
    };
    // What a reader calls no nodule is background.
    let unknown = record.ignored.iter().filter(|place| place.kind != NON_NODULE);
    unknown.map(place).filter(meets).collect()
}

/// How far a patch's middle may lie from a nodule of an edge, in voxels: a quarter of the patch,
/// less where that would cut the nodule, which then would be no target.
fn reach(nodule: usize, patch: usize) -> i64 {
    let smallest = (patch as f64 / LARGEST_ZOOM) as i64;
    let free = (smallest - nodule as i64) / 2 - 1;
    free.clamp(0, patch as i64 / 4)
}

/// How many times the dataset's spacing a patch's grid has, of those that will do. Only a whole scan
/// reaches far enough for more than once.
fn coarser(
    record: &ScanRecord,
    config: &TrainConfig,
    rng: &mut ChaCha8Rng,
    will_do: impl Fn(usize) -> bool,
) -> usize {
    let fit: Vec<usize> = COARSER.into_iter().filter(|&coarser| will_do(coarser)).collect();
    // Nothing is drawn where there is no choice.
    let choice = record.whole && config.coarse_share > 0.0 && !fit.is_empty();
    if choice && rng.random::<f64>() < config.coarse_share {
        fit[rng.random_range(0..fit.len())]
    } else {
        1
    }
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
    let coarser = coarser(&record, config, rng, |_| true);
    let frame = Frame::draw(center, coarser, config, rng);
    let ct = dataset.read_ct(scan, frame.start, frame.shape)?;
    let labels = known_labels(dataset, set, scan, &frame)?;
    let unknown = places(&record, &frame);
    Ok(frame.finish(ct, labels, unknown, config, rng))
}

/// The labels of a box that reaches beyond one sample: only annotated nodules are known.
fn known_labels(
    dataset: &Dataset,
    set: &TrainingSet,
    scan: &str,
    frame: &Frame,
) -> Result<Array3<u16>, DatasetError> {
    let known: Vec<u16> = set
        .samples
        .iter()
        .filter(|s| s.scan == scan && s.known == Known::Dataset)
        .map(|s| s.label)
        .collect();
    // Most scans with pseudo-labels have no annotation, and nothing to be read.
    let mut labels = if known.is_empty() {
        Array3::zeros(frame.shape)
    } else {
        dataset.read_labels(scan, frame.start, frame.shape)?
    };
    labels.mapv_inplace(|label| if known.contains(&label) { label } else { 0 });
    add_given(&mut labels, set, scan, frame.start);
    Ok(labels)
}

/// Puts the nodules that readers gave in this run into the labels of a box, each under a number of
/// its own. Two samples that lie close may both hold a nodule: what touches is one.
fn add_given(labels: &mut Array3<u16>, set: &TrainingSet, scan: &str, start: [i64; 3]) {
    let shape = [labels.shape()[0], labels.shape()[1], labels.shape()[2]];
    let mut given = vec![false; labels.len()];
    for sample in set.samples.iter().filter(|s| s.scan == scan) {
        if let Known::Given(mask) = &sample.known {
            let inside = mask.crop(start, shape);
            given.iter_mut().zip(&inside).for_each(|(given, &l)| *given |= l != 0);
        }
    }
    let used = labels.iter().copied().max().unwrap_or(0);
    let bodies = components(&given, shape).labels;
    for (label, body) in labels.iter_mut().zip(bodies).filter(|(_, body)| *body != 0) {
        *label = used.saturating_add(body as u16);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn places_are_drawn_in_proportion_to_their_weights() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut drawn = [0_i32; 3];
        for _ in 0..3000 {
            drawn[by_weight(&[1.0, 0.25, 0.75], &mut rng)] += 1;
        }
        for (drawn, want) in drawn.into_iter().zip([1500, 375, 1125]) {
            assert!((drawn - want).abs() < 100, "{drawn} {want}");
        }
    }

    #[test]
    fn a_patch_is_moved_only_as_far_as_its_nodule_stays_inside() {
        assert_eq!(reach(6, 48), 12);
        // The smallest box read for 48 voxels holds 38: 8 on either side of 20, less one.
        assert_eq!(reach(20, 48), 8);
        assert_eq!(reach(60, 48), 0);
        let mut mask = Array3::zeros((8, 8, 8));
        assert_eq!(PlacedMask { start: [0; 3], mask: mask.clone() }.edge(), 0);
        mask.slice_mut(s![2..4, 1..6, 3..4]).fill(1);
        assert_eq!(PlacedMask { start: [5; 3], mask }.edge(), 5);
    }

    #[test]
    fn a_patch_knows_its_nodules_and_ignores_cut_ones() {
        let ct = Array3::from_elem((16, 16, 16), -800_i16);
        let mut labels = Array3::zeros((16, 16, 16));
        labels.slice_mut(s![4..7, 5..9, 6..8]).fill(3_u16);
        labels.slice_mut(s![14..16, 0..2, 0..2]).fill(7);
        let patch = assemble(ct.view(), labels.view(), 8, || 0);
        assert_eq!(patch.targets.len(), 1);
        let target = &patch.targets[0];
        assert_eq!(target.cube, Cube { center: [5.0, 6.5, 6.5], edge: 3.0 });
        assert_eq!(target.roi, [1, 3, 3]);
        assert!((target.mask.sum() - 24.0).abs() < 1e-6);
        assert!((target.mask[[3, 2, 3]] - 1.0).abs() < 1e-6);
        assert_eq!(patch.ignored.len(), 1);
    }
}
