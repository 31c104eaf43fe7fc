//! What a network says about one sample: the surroundings of a nodule, given where it lies.

use dasl_volume::crop_padded;
use dasl_volume::dataset::{Dataset, DatasetError, NoduleRecord};
use ndarray::{Array3, s};

use crate::anchor::Cube;
use crate::backbone::Features;
use crate::config::TrainConfig;
use crate::infer::{Proposal, Segmenter, roi};
use crate::instance::{MASK_THRESHOLD, border, keep_largest_body};
use crate::patch::{PlacedMask, sample_center};

/// How far from an instance's border voxels belong to it.
const BORDER: usize = 2;

/// Voxels that are seen around a given box.
const BOX_BORDER: usize = 8;

/// The best proposal of a sample and its mask.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePrediction {
    /// Where, in voxels of the scan, and how sure.
    pub proposal: Proposal,
    /// First voxel of the mask [z, y, x].
    pub start: [i64; 3],
    /// The network's output: [crop, crop, crop], always of the training crop's size, or where the box
    /// was given that box.
    pub probability: Array3<f32>,
    /// Mean of the detection features around the proposal, `[c]`: the encoder's view of the sample.
    pub encoding: Vec<f32>,
}

impl SamplePrediction {
    /// The instance in the output: its largest body, thresholded; 1 inside.
    fn mask(&self) -> Array3<u16> {
        let mut probability = self.probability.clone();
        keep_largest_body(&mut probability);
        probability.mapv(|p| u16::from(p >= MASK_THRESHOLD))
    }

    /// The output within two voxels of the instance's border; all of it if there is none.
    pub fn border(&self) -> Vec<f32> {
        let border = border(&self.mask().mapv(|own| own != 0), BORDER);
        let near = self.probability.iter().zip(&border).filter(|(_, near)| **near);
        let near: Vec<f32> = near.map(|(&p, _)| p).collect();
        if near.is_empty() { self.probability.iter().copied().collect() } else { near }
    }

    /// Voxels of the instance in the output.
    pub fn voxels(&self) -> u64 {
        self.mask().iter().filter(|&&own| own != 0).count() as u64
    }

    /// The label that the network gives itself: its own mask. `None` if it is empty.
    pub fn pseudo_label(&self) -> Option<PlacedMask> {
        let mask = self.mask();
        let found = mask.iter().any(|&m| m != 0);
        found.then_some(PlacedMask { start: self.start, mask })
    }
}

/// Predicts the sample around a nodule's place.
///
/// # Errors
/// If the dataset can't be read.
pub fn predict_sample(
    segmenter: &Segmenter,
    dataset: &Dataset,
    scan: &str,
    label: u16,
) -> Result<SamplePrediction, DatasetError> {
    let TrainConfig { patch, mask_crop, .. } = segmenter.config().train;
    let around = surroundings(dataset, scan, label, patch)?;
    let features = segmenter.features(around.ct.view());
    let best = best_proposal(segmenter, &features, patch);
    Ok(outlined(segmenter, &features, best, &around, mask_crop))
}

/// A proposal of a sample, in voxels of its surroundings, with its mask on an `RoI` of edge `crop`.
fn outlined(
    segmenter: &Segmenter,
    features: &Features,
    mut proposal: Proposal,
    around: &Surroundings,
    crop: usize,
) -> SamplePrediction {
    let edge = around.ct.shape()[0];
    let (first, size) = roi(&proposal, [edge; 3], crop);
    let probability = segmenter.averaged_mask(around.ct.view(), features, first, size);
    let encoding = encoding(features, &proposal);
    proposal.cube.center.iter_mut().zip(around.start).for_each(|(c, s)| *c += s as f64);
    let start = [0, 1, 2].map(|axis| first[axis] as i64 + around.start[axis]);
    SamplePrediction { proposal, start, probability, encoding }
}

/// The mask of a nodule whose box is given: nothing outside the box is nodule.
///
/// # Errors
/// If the dataset can't be read.
pub fn predict_box(
    segmenter: &Segmenter,
    dataset: &Dataset,
    scan: &str,
    nodule: &NoduleRecord,
) -> Result<SamplePrediction, DatasetError> {
    let TrainConfig { patch, mask_crop, .. } = segmenter.config().train;
    let longest = nodule.box_shape.into_iter().max().unwrap_or(0).next_multiple_of(8);
    let edge = (longest + 2 * BOX_BORDER).next_multiple_of(16).max(patch);
    let around = surroundings(dataset, scan, nodule.label, edge)?;
    let features = segmenter.features(around.ct.view());
    let low = [0, 1, 2].map(|a| nodule.box_start[a] as i64 - around.start[a]);
    let size = nodule.box_shape.map(|n| n as f64);
    let center = [0, 1, 2].map(|a| low[a] as f64 + (size[a] - 1.0) / 2.0);
    let cube = Cube { center, edge: size.iter().sum::<f64>() / 3.0 };
    let given = Proposal { cube, score: 1.0 };
    let mut own = outlined(segmenter, &features, given, &around, longest.max(mask_crop));
    let start = nodule.box_start.map(|first| first as i64);
    let offset = [0, 1, 2].map(|a| start[a] - own.start[a]);
    own.probability = crop_padded(own.probability.view(), offset, nodule.box_shape, 0.0);
    own.start = start;
    Ok(own)
}

/// What each member of a committee says of one sample, all on the `RoI` of the best proposal of
/// `present`, [crop, crop, crop]: voxels can be compared only where they are the same.
///
/// # Errors
/// If the dataset can't be read.
pub fn mask_of_each(
    present: &Segmenter,
    members: &[Segmenter],
    dataset: &Dataset,
    scan: &str,
    label: u16,
) -> Result<Vec<Array3<f32>>, DatasetError> {
    let TrainConfig { patch, mask_crop, .. } = present.config().train;
    let Surroundings { ct, .. } = surroundings(dataset, scan, label, patch)?;
    let best = best_proposal(present, &present.features(ct.view()), patch);
    let mask = |member: &Segmenter| {
        member.mask_of(&member.features(ct.view()), &best, [patch; 3], mask_crop).mask
    };
    Ok(members.iter().map(mask).collect())
}

/// The CT around a sample, a cube.
struct Surroundings {
    start: [i64; 3],
    ct: Array3<i16>,
}

fn surroundings(
    dataset: &Dataset,
    scan: &str,
    label: u16,
    edge: usize,
) -> Result<Surroundings, DatasetError> {
    let center = sample_center(&dataset.scan(scan)?, label);
    let start = center.map(|c| c - edge as i64 / 2);
    let ct = dataset.read_ct(scan, start, [edge; 3])?;
    Ok(Surroundings { start, ct })
}

/// The best proposal near a patch's middle: one elsewhere is about something else. Where there is none, as
/// of a network that learnt at too high a rate, one that is sure that there is nothing.
fn best_proposal(segmenter: &Segmenter, features: &Features, edge: usize) -> Proposal {
    let mut proposals = segmenter.proposals(&features.p2, [edge; 3], 0.0);
    let near = edge as f64 / 4.0;
    let middle = (edge as f64 - 1.0) / 2.0;
    proposals.retain(|p| p.cube.center.iter().all(|c| (c - middle).abs() <= near));
    let anchor = segmenter.config().net.anchors_mm.first().copied().unwrap_or(1.0);
    let edge = anchor / segmenter.config().net.spacing_mm;
    let nothing = Proposal { cube: Cube { center: [middle; 3], edge }, score: 0.0 };
    proposals.into_iter().next().unwrap_or(nothing)
}

/// Overlap of a thresholded mask with the readers' one, over the whole nodule:
/// (shared, predicted, reference) voxels.
///
/// # Errors
/// If the dataset can't be read.
pub fn compare(
    prediction: &SamplePrediction,
    dataset: &Dataset,
    scan: &str,
    label: u16,
) -> Result<(u64, u64, u64), DatasetError> {
    let record = dataset.scan(scan)?;
    let Some(nodule) = record.nodules.iter().find(|n| n.label == label) else {
        return Ok((0, 0, 0));
    };
    let start = nodule.box_start.map(|s| s as i64);
    let labels = dataset.read_labels(scan, start, nodule.box_shape)?;
    let reference = labels.iter().filter(|&&l| l == label).count() as u64;
    let offset = [0, 1, 2].map(|a| start[a] - prediction.start[a]);
    let mask = prediction.mask();
    let own = crop_padded(mask.view(), offset, nodule.box_shape, 0);
    let shared = labels.iter().zip(&own).filter(|(l, own)| **l == label && **own != 0).count();
    let predicted = mask.iter().filter(|&&own| own != 0).count();
    Ok((shared as u64, predicted as u64, reference))
}

/// The same against a mask that was given in this run: of its nodules the one that the prediction
/// overlaps most, or else the largest.
pub fn compare_given(prediction: &SamplePrediction, given: &PlacedMask) -> (u64, u64, u64) {
    let mask = prediction.mask();
    let offset = [0, 1, 2].map(|a| given.start[a] - prediction.start[a]);
    let shape = [given.mask.shape()[0], given.mask.shape()[1], given.mask.shape()[2]];
    let own = crop_padded(mask.view(), offset, shape, 0);
    // Per nodule: voxels shared, voxels in all.
    let mut nodules = std::collections::BTreeMap::<u16, (u64, u64)>::new();
    for (&label, own) in given.mask.iter().zip(&own).filter(|(label, _)| **label != 0) {
        let (shared, all) = nodules.entry(label).or_default();
        *shared += u64::from(*own != 0);
        *all += 1;
    }
    let (shared, reference) = nodules.into_values().max().unwrap_or((0, 0));
    (shared, prediction.voxels(), reference)
}

/// The detection features around a proposal, mean over 3^3 locations, [c].
fn encoding(features: &Features, proposal: &Proposal) -> Vec<f32> {
    let [_, z, y, x, c] = features.p2.dims();
    let p2 = features.p2.clone().into_data().try_to_vec().expect("features are f32");
    let p2 = ndarray::Array4::from_shape_vec((z, y, x, c), p2).expect("one patch");
    let around = |axis: usize, size: usize| {
        let at = (proposal.cube.center[axis] / crate::anchor::STRIDE as f64).floor();
        let at = at.clamp(0.0, size as f64 - 1.0) as usize;
        at.saturating_sub(1)..(at + 2).min(size)
    };
    let window = p2.slice(s![around(0, z), around(1, y), around(2, x), ..]);
    (0..c).map(|channel| window.slice(s![.., .., .., channel]).mean().unwrap_or(0.0)).collect()
}
