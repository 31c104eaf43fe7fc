//! Nodules that can be put elsewhere.

use anyhow::Result;
use dasl_volume::dataset::{Dataset, NoduleRecord};
use ndarray::Array3;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::block::Block;
use super::stamp::{REACH_MM, Stamp};

/// How much is cut out around a nodule of a whole scan.
const AROUND_MM: f64 = 16.0;
/// The median around a nodule in lung is below.
const LUNG_HU: f32 = -600.0;
/// At most this share of a nodule's surroundings may be vessels.
const MOST_DENSE: f64 = 0.2;
/// At most this share of a piece of lung may be vessels: one that is cut off looks like a nodule.
const MOST_DENSE_LUNG: f64 = 0.03;
/// How often a place for a piece of lung is looked for in a volume.
const TRIES: usize = 60;

/// A nodule with what is around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Donor {
    /// The scan it comes from.
    pub scan_id: String,
    /// Whom that scan shows.
    pub patient_id: String,
    /// What its readers said of it.
    pub record: NoduleRecord,
    /// The nodule, ready to be mixed into a scan.
    pub stamp: Stamp,
    ct: Array3<i16>,
    mask: Array3<bool>,
    fade: Vec<f32>,
    spacing_mm: f64,
}

/// Why a nodule stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// What is around it is mostly no lung.
    NotInLung,
    /// A part of the chest wall, the mediastinum or a large vessel would come with it.
    Attached,
    /// Its volume ends before the nodule does.
    Cut,
    /// Another nodule would come with it.
    Beside,
}

impl Unfit {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotInLung => "not in lung",
            Self::Attached => "attached to wall, mediastinum or vessel",
            Self::Cut => "cut by the border of their volume",
            Self::Beside => "beside another nodule",
        }
    }
}

impl Donor {
    /// The nodule of a scan with what is around it, or why it can't be put elsewhere.
    ///
    /// # Errors
    /// If the dataset can't be read.
    pub fn read(dataset: &Dataset, scan_id: &str, label: u16) -> Result<Result<Self, Unfit>> {
        let scan = dataset.scan(scan_id)?;
        let spacing_mm = dataset.info().spacing_mm;
        let Some(record) = scan.nodules.iter().find(|n| n.label == label) else {
            anyhow::bail!("{}: scan {scan_id} has no nodule {label}", dataset.root().display());
        };
        let around = (AROUND_MM / spacing_mm).ceil() as i64;
        let block = Block::new(record.box_start, record.box_shape).grown(around);
        let block = block.within(scan.geometry.shape);
        let ct = dataset.read_ct(scan_id, block.start, block.shape())?;
        let labels = dataset.read_labels(scan_id, block.start, block.shape())?;
        let mask = labels.mapv(|l| l == label);
        let slice_mm = scan.native_geometry.axial_order().spacing_mm[0];
        if is_cut(&mask, slice_mm, spacing_mm) {
            return Ok(Err(Unfit::Cut));
        }
        let (reach, others) =
            ((REACH_MM / spacing_mm).ceil() as i64, labels.mapv(|l| l != 0 && l != label));
        let boxes = [&mask, &others].map(|mask| Block::around(mask.indexed_iter()));
        if matches!(boxes, [Some(own), Some(other)] if own.grown(reach).meets(&other)) {
            return Ok(Err(Unfit::Beside));
        }
        let (ct, mask, fade) = faded(&ct, &mask, slice_mm / spacing_mm);
        let Some(stamp) = Stamp::cut(ct.view(), mask.view(), &fade, spacing_mm) else {
            return Ok(Err(Unfit::Cut));
        };
        match stamp.surroundings() {
            None => return Ok(Err(Unfit::Cut)),
            Some(around) if around.median_hu >= LUNG_HU => return Ok(Err(Unfit::NotInLung)),
            Some(around) if around.dense > MOST_DENSE => return Ok(Err(Unfit::Attached)),
            Some(_) => {}
        }
        let (patient_id, record) = (scan.patient_id.clone(), record.clone());
        let scan_id = scan_id.into();
        Ok(Ok(Self { scan_id, patient_id, record, stamp, ct, mask, fade, spacing_mm }))
    }

    /// A piece of lung from beside the nodule, cut by the nodule's mask; `None` where its volume
    /// holds no such place.
    pub fn lung_beside(&self, rng: &mut ChaCha8Rng) -> Option<Stamp> {
        let own = Block::around(self.mask.indexed_iter())?;
        let size = self.mask.dim();
        let shape = [size.0, size.1, size.2].map(|n| n as i64);
        // In plane one voxel at least stays between the mask and the border; beyond the volume's
        // own slices there is nothing to be taken.
        let added = self.fade.iter().take_while(|fade| **fade <= 0.5).count() as i64;
        let room = [added, 1, 1];
        let lowest = [0, 1, 2].map(|a| room[a] - own.start[a]);
        let highest = [0, 1, 2].map(|a| shape[a] - room[a] - own.end[a]);
        if (0..3).any(|a| lowest[a] > highest[a]) {
            return None;
        }
        let distances = dasl_metrics::squared_distances_mm2(self.mask.view(), [self.spacing_mm; 3]);
        for _ in 0..TRIES {
            let shift = [0, 1, 2].map(|a| rng.random_range(lowest[a]..=highest[a]));
            let mut moved = Array3::from_elem(self.mask.dim(), false);
            let mut free = true;
            for ((z, y, x), _) in self.mask.indexed_iter().filter(|(_, inside)| **inside) {
                let [z, y, x] = [z as i64 + shift[0], y as i64 + shift[1], x as i64 + shift[2]];
                let at = [z as usize, y as usize, x as usize];
                free &= distances[at].sqrt() > REACH_MM;
                moved[at] = true;
            }
            if !free {
                continue;
            }
            let piece = Stamp::cut(self.ct.view(), moved.view(), &self.fade, self.spacing_mm)?;
            if is_lung(&piece) {
                return Some(piece);
            }
        }
        None
    }

    /// The nodule's mask with room around it for all that is mixed.
    pub fn padded_mask(&self) -> Option<Array3<bool>> {
        let reach = (REACH_MM / self.spacing_mm).ceil() as i64;
        let block = Block::around(self.mask.indexed_iter())?.grown(reach);
        Some(dasl_volume::crop_padded(self.mask.view(), block.start, block.shape(), false))
    }
}

/// Whether a piece is lung without more vessels than lung has.
pub fn is_lung(piece: &Stamp) -> bool {
    piece.surroundings().is_some_and(|around| around.median_hu < LUNG_HU)
        && piece.dense() <= MOST_DENSE_LUNG
}

/// Whether a mask is cut by the border of its volume.
///
/// At the first and the last slice it may end: volumes are cut out by their nodules. What is left
/// of it there must then be no larger than what is left of a ball with the largest section of the
/// mask, a slice and a half before its end (a reader may have left out half a slice).
fn is_cut(mask: &Array3<bool>, slice_mm: f64, spacing_mm: f64) -> bool {
    let (_, height, width) = mask.dim();
    let in_plane = mask.indexed_iter().any(|((_, y, x), inside)| {
        *inside && (y == 0 || x == 0 || y + 1 == height || x + 1 == width)
    });
    let areas: Vec<usize> =
        mask.outer_iter().map(|slice| slice.iter().filter(|inside| **inside).count()).collect();
    let largest = areas.iter().copied().max().unwrap_or(0) as f64;
    let last = areas.first().into_iter().chain(areas.last()).copied().max().unwrap_or(0) as f64;
    let radius_mm = (largest / std::f64::consts::PI).sqrt() * spacing_mm;
    let height = (1.5 * slice_mm / radius_mm).min(1.0);
    in_plane || last > largest * (2.0 * height - height.powi(2))
}

/// A volume that fades as if beyond its first and last slice of `slice` voxels came a slice of the
/// background: scanners' slices are interpolated linearly, from the middle of one to the middle of
/// the next. Returns CT and mask with the slices that are added, and the fade of each slice.
///
/// # Shapes
/// `ct`, `mask` [z, y, x]
fn faded(
    ct: &Array3<i16>,
    mask: &Array3<bool>,
    slice: f64,
) -> (Array3<i16>, Array3<bool>, Vec<f32>) {
    let size = ct.dim();
    let added = (slice / 2.0).ceil() as usize;
    let shape = (size.0 + 2 * added, size.1, size.2);
    let within = |z: usize| z.saturating_sub(added).min(size.0 - 1);
    let longer = Array3::from_shape_fn(shape, |(z, y, x)| ct[[within(z), y, x]]);
    let longer_mask = Array3::from_shape_fn(shape, |(z, y, x)| {
        z >= added && z - added < size.0 && mask[[z - added, y, x]]
    });
    let fade = (0..shape.0).map(|z| {
        // From the voxel's middle to the middle of the slice that would come beyond.
        let from_face = (z.min(shape.0 - 1 - z) as f64 + 0.5) - added as f64;
        ((from_face + slice / 2.0) / slice).clamp(0.0, 1.0) as f32
    });
    (longer, longer_mask, fade.collect())
}
