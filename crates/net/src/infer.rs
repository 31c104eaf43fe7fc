//! From a volume to instances: overlapping tiles, threshold, non-maximum suppression, masks.

mod level;

use std::path::Path;

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use dasl_volume::blocks::{block_any, block_mean};
use dasl_volume::{PADDING_HU, crop_padded};
use ndarray::{Array3, ArrayView3, CowArray};

use crate::anchor::{Anchors, Cube};
use crate::backbone::Features;
use crate::config::{Config, InferConfig};
use crate::instance::keep_largest_body;
use crate::intensity::normalise;
use crate::model::{NoduleRcnn, PER_ANCHOR};
use crate::weights::{self, Named, WeightsError};
use level::Level;

/// An RoI is this much wider than its box: the mask may reach past the box.
const ROI_MARGIN: f64 = 1.5;

/// Voxels around an RoI that it is outlined with: that of a nodule of common size is then 48^3.
const BORDER: usize = 8;

/// Objectness from which on a proposal is looked at again in mirror images, if there are any: the mean
/// over these may be above the threshold though the tile alone is not.
const FIRST_LOOK: f64 = 0.4;

/// A proposal: where and how sure.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Box in voxels.
    pub cube: Cube,
    /// Objectness in 0..1.
    pub score: f64,
}

/// A nodule found.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Where and how sure, voxels of the volume.
    pub proposal: Proposal,
    /// Edge of the cubes of voxels that are one of the mask's: 1, or one of [`InferConfig::coarser`].
    pub coarser: usize,
    /// First voxel of the mask's box [z, y, x], in such cubes; it may lie outside.
    pub start: [i64; 3],
    /// Probability of being nodule, [z, y, x].
    pub mask: Array3<f32>,
}

/// A network ready for use.
pub struct Segmenter {
    model: NoduleRcnn,
    config: Config,
    device: Device,
}

impl Segmenter {
    /// `model` as [`crate::trainer::Trainer::model`] or [`Segmenter::load`] give it.
    pub fn new(model: NoduleRcnn, config: Config, device: &Device) -> Self {
        Self { model, config, device: device.clone() }
    }

    /// A network from a weights file.
    ///
    /// # Errors
    /// If the file can't be read or belongs to another network.
    pub fn load(path: &Path, config: Config, device: &Device) -> Result<Self, WeightsError> {
        Self::from_named(&weights::load(path)?.0, config, device)
    }

    /// The same from a weights file's bytes; `path` names it in errors.
    ///
    /// # Errors
    /// If it is no weights file or belongs to another network.
    pub fn from_bytes(
        bytes: &[u8],
        path: &str,
        config: Config,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        Self::from_named(&weights::parse(bytes, path)?.0, config, device)
    }

    /// The same from weights in memory.
    ///
    /// # Errors
    /// If they belong to another network.
    pub fn from_named(
        named: &Named,
        config: Config,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let fresh = NoduleRcnn::new(&config.net, 0, device);
        let model = weights::import(fresh, named)?;
        Ok(Self::new(model, config, device))
    }

    /// The same with another threshold, if one is given.
    #[must_use]
    pub fn with_threshold(mut self, threshold: Option<f64>) -> Self {
        self.config.infer.threshold = threshold.unwrap_or(self.config.infer.threshold);
        self
    }

    /// The same with masks averaged over another number of mirror images.
    #[must_use]
    pub fn with_flips(mut self, flips: usize) -> Self {
        self.config.infer.flips = flips;
        self
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Instances in a volume on the network's grid, by falling score, those that are large also as
    /// they look on coarser grids. With a lung mask, only those centred in it. `progress` hears of
    /// tiles done and in total.
    ///
    /// # Shapes
    /// - `ct`, `lung`: [z, y, x]
    pub fn segment(
        &self,
        ct: ArrayView3<'_, i16>,
        lung: Option<ArrayView3<'_, u8>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Vec<Detection> {
        let infer = &self.config.infer;
        let mut levels = vec![Level::new(1, CowArray::from(ct), lung.map(CowArray::from), infer)];
        levels.extend(infer.coarser.iter().map(|&coarser| {
            let ct = CowArray::from(block_mean(ct, coarser));
            let lung = lung.map(|lung| CowArray::from(block_any(lung, coarser)));
            Level::new(coarser, ct, lung, infer)
        }));
        let of = levels.iter().map(|level| level.tiles.len()).sum();
        let (mut done, mut found) = (0, Vec::new());
        for level in &levels {
            found.extend(self.search(level, &mut || {
                progress(done, of);
                done += 1;
            }));
        }
        progress(of, of);
        self.best(found)
    }

    /// Instances of one level, their boxes in voxels of the finest.
    fn search(&self, level: &Level<'_>, next: &mut dyn FnMut()) -> Vec<Detection> {
        let InferConfig { threshold, flips, .. } = self.config.infer;
        let again = flips > 1;
        let first = if again { threshold.min(FIRST_LOOK) } else { threshold };
        let ct = level.ct.view();
        let mut found = Vec::new();
        for tile in &level.tiles {
            next();
            let image = crop_padded(ct, tile.start, tile.shape, PADDING_HU);
            let p2 = self.model.pyramid(self.input(image.view())).p2;
            let kept = self.proposals(&p2, tile.shape, first);
            let kept = kept.into_iter().filter(|p| {
                let at = [0, 1, 2].map(|a| tile.start[a] + p.cube.center[a].round() as i64);
                tile.owns(at) && level.admits(at, &p.cube)
            });
            for mut proposal in suppress(kept.collect(), &self.config.infer) {
                proposal.cube.center.iter_mut().zip(tile.start).for_each(|(c, s)| *c += s as f64);
                found.push(self.not_outlined(proposal));
            }
        }
        let mut found = self.best(found);
        for detection in &mut found {
            let score = self.outline(ct, detection);
            if again {
                detection.proposal.score = score;
            }
            detection.coarser = level.coarser;
            detection.proposal.cube = level.in_finest(&detection.proposal.cube);
        }
        found.retain(|detection| detection.proposal.score >= threshold);
        found
    }

    /// Of those that overlap the one with the highest score.
    fn best(&self, found: Vec<Detection>) -> Vec<Detection> {
        let proposals = found.iter().map(|d| d.proposal.clone()).collect();
        let kept = suppress(proposals, &self.config.infer);
        kept.iter().filter_map(|p| found.iter().find(|d| d.proposal == *p).cloned()).collect()
    }

    /// Outlines a detection, in the mean over mirror images of its surroundings; its score in these. In a
    /// tile it may lie at the border, where the network does not see all of it.
    fn outline(&self, ct: ArrayView3<'_, i16>, detection: &mut Detection) -> f64 {
        let size = [0, 1, 2].map(|axis| detection.mask.shape()[axis]);
        let shape = size.map(|edge| (edge + 2 * BORDER).next_multiple_of(16));
        let around = detection.start.map(|start| start - BORDER as i64);
        let image = crop_padded(ct, around, shape, PADDING_HU);
        let mut cube = detection.proposal.cube;
        cube.center.iter_mut().zip(around).for_each(|(center, start)| *center -= start as f64);
        let (mask, score) = self.averaged(image.view(), [BORDER; 3], size, &cube);
        detection.mask = mask;
        keep_largest_body(&mut detection.mask);
        score
    }

    /// Feature maps of one patch.
    ///
    /// # Shapes
    /// - `ct`: [z, y, x], HU, sizes a multiple of 16
    pub fn features(&self, ct: ArrayView3<'_, i16>) -> Features {
        self.model.features(self.input(ct))
    }

    fn input(&self, ct: ArrayView3<'_, i16>) -> Tensor<5> {
        let shape = [1, ct.shape()[0], ct.shape()[1], ct.shape()[2], 1];
        let values = normalise(ct).into_raw_vec_and_offset().0;
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// The detection head's output on a patch, [1, z/4, y/4, x/4, anchors, 5].
    pub(crate) fn detection(&self, p2: &Tensor<5>) -> Tensor<6> {
        self.model.detect(p2.clone())
    }

    /// Proposals of a patch of a shape, given its detection features, from a score on; by falling score.
    pub fn proposals(&self, p2: &Tensor<5>, shape: [usize; 3], from: f64) -> Vec<Proposal> {
        let anchors = Anchors::new(&self.config.net, shape);
        let output: Vec<f32> =
            self.detection(p2).into_data().try_to_vec().expect("the head's output is f32");
        let (rows, _) = output.as_chunks::<PER_ANCHOR>();
        let mut kept: Vec<Proposal> = rows
            .iter()
            .enumerate()
            .filter_map(|(i, &[logit, dz, dy, dx, log_d])| {
                let score = 1.0 / (1.0 + (-f64::from(logit)).exp());
                let cube = Anchors::decode(&anchors.cube(i), [dz, dy, dx, log_d]);
                (score >= from).then_some(Proposal { cube, score })
            })
            .collect();
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        kept
    }

    /// A detection whose mask is empty yet: at least as large as in training and larger where the nodule
    /// is, rounded up to 8 voxels.
    fn not_outlined(&self, proposal: Proposal) -> Detection {
        let Config { infer, train, .. } = &self.config;
        let wanted = (proposal.cube.edge * ROI_MARGIN / 8.0).ceil() as usize * 8;
        let edge = wanted.min(infer.tile).max(train.mask_crop);
        let start = proposal.cube.center.map(|c| c.round() as i64 - edge as i64 / 2);
        Detection { proposal, coarser: 1, start, mask: Array3::zeros([edge; 3]) }
    }

    /// The network's output on an RoI of a given edge around a proposal.
    pub(crate) fn mask_of(
        &self,
        features: &Features,
        proposal: &Proposal,
        shape: [usize; 3],
        edge: usize,
    ) -> Detection {
        let (start, size) = roi(proposal, shape, edge);
        let mask = self.mask_at(features, start, size);
        let start = start.map(|s| s as i64);
        Detection { proposal: proposal.clone(), coarser: 1, start, mask }
    }

    /// The network's output on an RoI of given place and size.
    pub(crate) fn mask_at(
        &self,
        features: &Features,
        start: [usize; 3],
        size: [usize; 3],
    ) -> Array3<f32> {
        let roi = (0..3)
            .fold(features.p0.clone(), |roi, axis| roi.narrow(1 + axis, start[axis], size[axis]));
        let mask = sigmoid(self.model.mask(roi)).into_data().try_to_vec();
        let mask = mask.expect("masks are f32");
        Array3::from_shape_vec(size, mask).expect("the FCN keeps the RoI's size")
    }
}

/// First voxel and edges of the `RoI` of a given edge around a proposal, kept inside the patch.
pub(crate) fn roi(proposal: &Proposal, shape: [usize; 3], edge: usize) -> ([usize; 3], [usize; 3]) {
    let size = shape.map(|n| edge.min(n));
    let start = [0, 1, 2].map(|axis| {
        let first = proposal.cube.center[axis].round() as i64 - size[axis] as i64 / 2;
        first.clamp(0, (shape[axis] - size[axis]) as i64) as usize
    });
    (start, size)
}

/// Greedy 3D non-maximum suppression; input by falling score or not, output by falling score.
pub fn suppress(mut proposals: Vec<Proposal>, config: &InferConfig) -> Vec<Proposal> {
    proposals.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Proposal> = Vec::new();
    for p in proposals {
        if kept.len() == config.most {
            break;
        }
        if kept.iter().all(|k| k.cube.iou(&p.cube) <= config.nms_iou) {
            kept.push(p);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn suppression_keeps_the_best_of_each_heap() {
        let config = Config::preset(Preset::Small).infer;
        let p = |x: f64, score: f64| Proposal {
            cube: Cube { center: [0.0, 0.0, x], edge: 10.0 },
            score,
        };
        let kept = suppress(vec![p(0.0, 0.6), p(1.0, 0.9), p(30.0, 0.5), p(2.0, 0.8)], &config);
        assert_eq!(kept, vec![p(1.0, 0.9), p(30.0, 0.5)]);
    }

    #[test]
    fn levels_are_searched_one_after_the_other_and_the_best_is_kept() {
        let device = Device::flex();
        let mut config = Config::preset(Preset::Tiny);
        let infer = config.infer.clone();
        let infer = InferConfig { threshold: 0.0, tile: 32, border: 8, most: 9999, ..infer };
        config.infer = InferConfig { coarser: vec![2], ..infer };
        let net = Segmenter::new(NoduleRcnn::new(&config.net, 5, &device), config.clone(), &device);
        let ct = Array3::from_shape_fn((48, 48, 48), |(z, y, x)| {
            -900 + 37 * ((3 * z + 5 * y + 7 * x) / 5 % 23) as i16
        });
        let search = |coarser: usize| {
            let ct = CowArray::from(block_mean(ct.view(), coarser));
            net.search(&Level::new(coarser, ct, None, &config.infer), &mut || {})
        };
        let mut told = Vec::new();
        let all = net.segment(ct.view(), None, &mut |done, of| told.push((done, of)));
        let of = told.len() - 1;
        assert!(told.iter().copied().eq((0..=of).map(|done| (done, of))));
        let coarse = search(2);
        assert!(!coarse.is_empty() && coarse.iter().all(|d| d.proposal.cube.edge >= 16.0));
        let either: Vec<Detection> = search(1).into_iter().chain(coarse).collect();
        assert!(all.iter().all(|found| either.contains(found)));
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other.proposal.score >= one.proposal.score
                && other.proposal.cube.iou(&one.proposal.cube) <= config.infer.nms_iou));
        }
        // What was left out had something better in its place.
        for lost in either.iter().filter(|found| !all.contains(found)) {
            assert!(all.iter().any(|kept| kept.proposal.score >= lost.proposal.score
                && kept.proposal.cube.iou(&lost.proposal.cube) > config.infer.nms_iou));
        }
    }

    /// Of an untrained network nothing is sure, so both thresholds are low.
    fn unsure(flips: usize) -> Config {
        let mut config = Config::preset(Preset::Tiny);
        let infer = config.infer.clone();
        config.infer = InferConfig { threshold: 0.0, tile: 32, border: 8, most: 5, flips, ..infer };
        config
    }

    /// Whatever tile it was found in, also at its border.
    #[test]
    fn a_mask_is_that_of_its_own_surroundings() {
        let (device, config) = (Device::flex(), unsure(1));
        let net = Segmenter::new(NoduleRcnn::new(&config.net, 5, &device), config, &device);
        let ct = Array3::from_shape_fn((40, 40, 72), |(z, y, x)| {
            -900 + 37 * ((3 * z + 5 * y + 7 * x) / 5 % 23) as i16
        });
        let all = net.segment(ct.view(), None, &mut |_, _| {});
        assert_eq!(all.len(), 5);
        for found in &all {
            let edge = found.mask.shape()[0];
            let center = found.proposal.cube.center;
            assert_eq!(found.start, center.map(|c| c.round() as i64 - edge as i64 / 2));
            let around = found.start.map(|start| start - BORDER as i64);
            let patch = crop_padded(ct.view(), around, [edge + 16; 3], PADDING_HU);
            let features = net.features(patch.view());
            let mut mask = net.mask_at(&features, [BORDER; 3], [edge; 3]);
            keep_largest_body(&mut mask);
            assert!(mask.iter().zip(&found.mask).all(|(want, own)| (want - own).abs() < 1e-6));
        }
    }

    #[test]
    fn what_is_found_is_looked_at_again_in_mirror_images() {
        let device = Device::flex();
        let mut config = unsure(2);
        let ct = Array3::from_shape_fn((32, 32, 32), |(z, y, x)| {
            -900 + 37 * ((3 * z + 5 * y + 7 * x) / 5 % 23) as i16
        });
        let net = |config: &Config| {
            Segmenter::new(NoduleRcnn::new(&config.net, 5, &device), config.clone(), &device)
        };
        let search = |net: &Segmenter| net.segment(ct.view(), None, &mut |_, _| {});
        let all = search(&net(&config));
        assert_eq!(all.len(), 5);
        for found in &all {
            let size = [0, 1, 2].map(|axis| found.mask.shape()[axis]);
            let around = found.start.map(|start| start - BORDER as i64);
            let patch = crop_padded(ct.view(), around, size.map(|n| n + 16), PADDING_HU);
            let mut cube = found.proposal.cube;
            cube.center.iter_mut().zip(around).for_each(|(center, start)| *center -= start as f64);
            let (mut mask, score) = net(&config).averaged(patch.view(), [BORDER; 3], size, &cube);
            keep_largest_body(&mut mask);
            assert!((found.proposal.score - score).abs() < 1e-9);
            assert!(mask.iter().zip(&found.mask).all(|(mean, own)| (mean - own).abs() < 1e-6));
        }
        let least = all[2].proposal.score;
        config.infer.threshold = least;
        let surer = search(&net(&config));
        assert!(!surer.is_empty() && surer.iter().all(|found| found.proposal.score >= least));
    }
}
