//! From a volume to instances: overlapping tiles, threshold, non-maximum suppression, masks.

use std::path::Path;

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use dasl_volume::blocks::{block_any, block_mean};
use dasl_volume::{PADDING_HU, crop_padded};
use ndarray::{Array3, ArrayView3, CowArray, Ix3};

use crate::anchor::{Anchors, Cube};
use crate::backbone::Features;
use crate::config::{Config, InferConfig};
use crate::instance::keep_largest_body;
use crate::intensity::normalise;
use crate::model::{NoduleRcnn, PER_ANCHOR};
use crate::weights::{self, Named, WeightsError};

/// An RoI is this much wider than its box: the mask may reach past the box.
const ROI_MARGIN: f64 = 1.5;

/// Voxels around an RoI that its mirror images are computed with: that of a nodule of common size is
/// then 48^3.
const MIRROR_BORDER: usize = 8;

/// Edge from which on a box counts on a coarser grid, voxels: what is smaller is left to the finer.
const LEAST_ON_COARSER: f64 = 8.0;

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
        let ct = level.ct.view();
        let mut found = Vec::new();
        for tile in &level.tiles {
            next();
            let image = crop_padded(ct, tile.start, tile.shape, PADDING_HU);
            let features = self.features(image.view());
            let kept = self.proposals(&features, tile.shape, self.config.infer.threshold);
            let kept = kept.into_iter().filter(|p| {
                let at = [0, 1, 2].map(|a| tile.start[a] + p.cube.center[a].round() as i64);
                tile.owns(at) && level.admits(at, &p.cube)
            });
            for proposal in suppress(kept.collect(), &self.config.infer) {
                let mut detection = self.mask(&features, &proposal, tile.shape);
                for axis in 0..3 {
                    detection.proposal.cube.center[axis] += tile.start[axis] as f64;
                    detection.start[axis] += tile.start[axis];
                }
                found.push(detection);
            }
        }
        let mut found = self.best(found);
        for detection in &mut found {
            if self.config.infer.flips > 1 {
                self.refine(ct, detection);
            }
            detection.coarser = level.coarser;
            detection.proposal.cube = level.in_finest(&detection.proposal.cube);
        }
        found
    }

    /// Of those that overlap the one with the highest score.
    fn best(&self, found: Vec<Detection>) -> Vec<Detection> {
        let proposals = found.iter().map(|d| d.proposal.clone()).collect();
        let kept = suppress(proposals, &self.config.infer);
        kept.iter().filter_map(|p| found.iter().find(|d| d.proposal == *p).cloned()).collect()
    }

    /// The mask of a detection anew, averaged over mirror images of its surroundings.
    fn refine(&self, ct: ArrayView3<'_, i16>, detection: &mut Detection) {
        let size = [0, 1, 2].map(|axis| detection.mask.shape()[axis]);
        let shape = size.map(|edge| (edge + 2 * MIRROR_BORDER).next_multiple_of(16));
        let around = detection.start.map(|start| start - MIRROR_BORDER as i64);
        let image = crop_padded(ct, around, shape, PADDING_HU);
        let features = self.features(image.view());
        detection.mask = self.averaged_mask(image.view(), &features, [MIRROR_BORDER; 3], size);
        keep_largest_body(&mut detection.mask);
    }

    /// Feature maps of one patch.
    ///
    /// # Shapes
    /// - `ct`: [z, y, x], HU, sizes a multiple of 16
    pub fn features(&self, ct: ArrayView3<'_, i16>) -> Features {
        let shape = [1, ct.shape()[0], ct.shape()[1], ct.shape()[2], 1];
        let values = normalise(ct).into_raw_vec_and_offset().0;
        self.model.features(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// The detection head's output on a patch, [1, z/4, y/4, x/4, anchors, 5].
    pub(crate) fn detection(&self, features: &Features) -> Tensor<6> {
        self.model.detect(features.p2.clone())
    }

    /// Proposals of a patch from a score on, by falling score.
    pub fn proposals(&self, features: &Features, shape: [usize; 3], from: f64) -> Vec<Proposal> {
        let anchors = Anchors::new(&self.config.net, shape);
        let output: Vec<f32> =
            self.detection(features).into_data().try_to_vec().expect("the head's output is f32");
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

    /// The mask of a proposal: the FCN on an RoI at least as large as in training and larger
    /// where the nodule is, rounded up to 8 voxels and kept inside the patch.
    pub fn mask(&self, features: &Features, proposal: &Proposal, shape: [usize; 3]) -> Detection {
        let wanted = (proposal.cube.edge * ROI_MARGIN / 8.0).ceil() as usize * 8;
        let edge = wanted.max(self.config.train.mask_crop);
        let mut detection = self.mask_of(features, proposal, shape, edge);
        keep_largest_body(&mut detection.mask);
        detection
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

/// A box of the volume, and the part of it whose proposals count.
#[derive(Debug, Clone, PartialEq)]
struct Tile {
    start: [i64; 3],
    shape: [usize; 3],
    core_start: [i64; 3],
    core_end: [i64; 3],
}

impl Tile {
    fn owns(&self, at: [i64; 3]) -> bool {
        (0..3).all(|a| self.core_start[a] <= at[a] && at[a] < self.core_end[a])
    }
}

/// Tiles whose cores cover a region (start, end) without overlap.
fn tiles((start, end): ([usize; 3], [usize; 3]), config: &InferConfig) -> Vec<Tile> {
    let axis_tiles = |axis: usize| {
        let length = end[axis] - start[axis];
        let border = config.border;
        let whole = (length + 2 * border).div_ceil(16) * 16;
        let edge = whole.min(config.tile);
        let step = edge - 2 * border;
        (0..length.div_ceil(step)).map(move |i| {
            let core = (start[axis] + i * step) as i64;
            (core - border as i64, edge, core, core + step as i64)
        })
    };
    let mut out = Vec::new();
    for z in axis_tiles(0) {
        for y in axis_tiles(1) {
            for x in axis_tiles(2) {
                out.push(Tile {
                    start: [z.0, y.0, x.0],
                    shape: [z.1, y.1, x.1],
                    core_start: [z.2, y.2, x.2],
                    core_end: [z.3, y.3, x.3],
                });
            }
        }
    }
    out
}

/// A volume on one of the grids that it is searched on.
struct Level<'a> {
    /// Edge of the cubes of the finest grid's voxels that are one of its own.
    coarser: usize,
    ct: CowArray<'a, i16, Ix3>,
    lung: Option<CowArray<'a, u8, Ix3>>,
    tiles: Vec<Tile>,
}

impl<'a> Level<'a> {
    fn new(
        coarser: usize,
        ct: CowArray<'a, i16, Ix3>,
        lung: Option<CowArray<'a, u8, Ix3>>,
        config: &InferConfig,
    ) -> Self {
        let all = [ct.shape()[0], ct.shape()[1], ct.shape()[2]];
        let region = lung.as_ref().and_then(|lung| bounding_box(lung.view()));
        let tiles = tiles(region.unwrap_or(([0; 3], all)), config);
        Self { coarser, ct, lung, tiles }
    }

    /// Whether a box at a voxel is in the volume, in the lung if that is known, and of a size that
    /// the level is there for.
    fn admits(&self, at: [i64; 3], cube: &Cube) -> bool {
        let shape = self.ct.shape();
        (0..3).all(|a| at[a] >= 0 && (at[a] as usize) < shape[a])
            && self.lung.as_ref().is_none_or(|lung| lung[at.map(|v| v as usize)] != 0)
            && (self.coarser == 1 || cube.edge >= LEAST_ON_COARSER)
    }

    /// A box in voxels of the finest grid.
    fn in_finest(&self, cube: &Cube) -> Cube {
        let times = self.coarser as f64;
        // The middle of a cube of voxels lies between its first and its last.
        Cube {
            center: cube.center.map(|c| c * times + (times - 1.0) / 2.0),
            edge: cube.edge * times,
        }
    }
}

/// First voxel and one past the last of what is set.
fn bounding_box(mask: ArrayView3<'_, u8>) -> Option<([usize; 3], [usize; 3])> {
    let mut bounds: Option<([usize; 3], [usize; 3])> = None;
    for ((z, y, x), &v) in mask.indexed_iter() {
        if v == 0 {
            continue;
        }
        let (low, high) = bounds.get_or_insert(([z, y, x], [z + 1, y + 1, x + 1]));
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at + 1);
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use proptest::prelude::*;

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
    fn a_coarser_grid_is_there_for_large_boxes_in_the_lung() {
        let config = Config::preset(Preset::Small).infer;
        let mut lung = Array3::zeros((10, 10, 10));
        lung[[4, 4, 4]] = 1;
        let ct = Array3::from_elem((10, 10, 10), -800);
        let level = |coarser| {
            Level::new(coarser, CowArray::from(&ct), Some(CowArray::from(&lung)), &config)
        };
        let cube = |edge| Cube { center: [4.0; 3], edge };
        assert!(level(1).admits([4; 3], &cube(3.0)) && level(2).admits([4; 3], &cube(8.0)));
        assert!(!level(2).admits([4; 3], &cube(7.9)));
        assert!(
            !level(1).admits([4, 4, 5], &cube(8.0)) && !level(1).admits([4, 4, 10], &cube(8.0))
        );
        // Cubes 4 of two voxels are voxels 8 and 9.
        assert_eq!(level(2).in_finest(&cube(8.0)), Cube { center: [8.5; 3], edge: 16.0 });
        assert_eq!(level(1).in_finest(&cube(8.0)), cube(8.0));
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

    proptest! {
        #[test]
        fn every_voxel_of_the_region_is_in_one_core(
            start in prop::array::uniform3(0usize..20),
            length in prop::array::uniform3(1usize..150),
            at in prop::array::uniform3(0.0..1.0),
        ) {
            let config = InferConfig { tile: 64, border: 16, ..Config::preset(Preset::Small).infer };
            let end = [0, 1, 2].map(|a| start[a] + length[a]);
            let at = [0, 1, 2].map(|a| (start[a] + (at[a] * length[a] as f64) as usize) as i64);
            let tiles = tiles((start, end), &config);
            prop_assert_eq!(tiles.iter().filter(|t| t.owns(at)).count(), 1);
            for t in &tiles {
                prop_assert!(t.shape.iter().all(|n| n % 16 == 0 && *n <= 64));
            }
        }
    }
}
