//! A piece of one scan and how it is mixed into another.

use dasl_metrics::squared_distances_mm2;
use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis, Zip, s};

use super::block::Block;
use super::turn::Turn;

/// The piece's own values reach this far beyond its mask.
const GROWN_MM: f64 = 1.0;
/// From there they fade into the background over this length.
const SEAM_MM: f64 = 3.0;
/// Farthest from the mask that anything is changed.
pub const REACH_MM: f64 = GROWN_MM + SEAM_MM;
/// Soft tissue: as dense in every lung, however much air that holds.
const TISSUE_HU: f32 = 40.0;
/// Denser than this is no lung tissue, but vessel, wall or nodule.
const DENSE_HU: f32 = -400.0;
/// From how much above its lung on the background is a vessel or the wall, and from where surely.
const STRUCTURE_HU: [f32; 2] = [200.0, 400.0];
/// The background's structures stay where they are this much denser than the piece.
const DENSER_HU: [f32; 2] = [0.0, 200.0];

/// A piece of a scan, no larger than what is mixed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    /// Hounsfield units [z, y, x].
    hounsfield: Array3<f32>,
    /// Its nodule, or the shape of one [z, y, x].
    mask: Array3<bool>,
    /// Its share in the mixture [z, y, x]: 1 in the mask, 0 from [`REACH_MM`] on.
    share: Array3<f32>,
}

/// What lies around a mask, where the shares are between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings {
    /// Median, HU.
    pub median_hu: f32,
    /// Share of the voxels that are no lung tissue.
    pub dense: f64,
}

impl Stamp {
    /// Cuts the surroundings of a mask out of a volume; `None` for an empty mask.
    ///
    /// The share falls from 1 to 0 between [`GROWN_MM`] and [`REACH_MM`] from the mask, and
    /// sooner where the volume ends sooner: nothing is known beyond.
    ///
    /// # Shapes
    /// `ct` and `mask` [z, y, x], voxels of `spacing_mm`
    pub fn cut(ct: ArrayView3<i16>, mask: ArrayView3<bool>, spacing_mm: f64) -> Option<Self> {
        let size = ct.dim();
        let shape = [size.0, size.1, size.2];
        let reach = (REACH_MM / spacing_mm).ceil() as i64;
        let block = Block::around(mask.indexed_iter())?.grown(reach).within(shape);
        let [start, end] = [block.start, block.end].map(|v| v.map(|v| v as usize));
        let region = s![start[0]..end[0], start[1]..end[1], start[2]..end[2]];
        let mask = mask.slice(region).to_owned();
        let mut share = Array3::zeros(mask.dim());
        let distances = squared_distances_mm2(mask.view(), [spacing_mm; 3]);
        for ((z, y, x), &squared) in distances.indexed_iter() {
            let at = [z + start[0], y + start[1], x + start[2]];
            let beyond = (0..3).map(|a| (at[a] + 1).min(shape[a] - at[a])).min().unwrap_or(1);
            share[[z, y, x]] = share_at(squared.sqrt(), beyond as f64 * spacing_mm);
        }
        Some(Self { hounsfield: ct.slice(region).mapv(f32::from), mask, share })
    }

    /// Voxels along [z, y, x].
    pub fn shape(&self) -> [usize; 3] {
        let size = self.mask.dim();
        [size.0, size.1, size.2]
    }

    /// Its mask [z, y, x].
    pub fn mask(&self) -> &Array3<bool> {
        &self.mask
    }

    /// Its shares [z, y, x].
    pub fn share(&self) -> &Array3<f32> {
        &self.share
    }

    /// The same, turned.
    #[must_use]
    pub fn turned(&self, turn: Turn) -> Self {
        Self {
            hounsfield: turn.apply(&self.hounsfield),
            mask: turn.apply(&self.mask),
            share: turn.apply(&self.share),
        }
    }

    /// What lies around its mask where it comes from; `None` if nothing does.
    pub fn surroundings(&self) -> Option<Surroundings> {
        Surroundings::of(self.margin(self.hounsfield.view()))
    }

    /// Share of its voxels that are no lung tissue, the mask's included.
    pub fn dense(&self) -> f64 {
        self.dense_in(self.hounsfield.view())
    }

    /// What of a background of its shape would lie around its mask.
    pub fn surroundings_in(&self, background: ArrayView3<i16>) -> Option<Surroundings> {
        Surroundings::of(self.margin(background.mapv(f32::from).view()))
    }

    /// Share of a background's voxels where it would be mixed in that are no lung tissue.
    pub fn dense_of(&self, background: ArrayView3<i16>) -> f64 {
        self.dense_in(background.mapv(f32::from).view())
    }

    fn dense_in(&self, hounsfield: ArrayView3<f32>) -> f64 {
        let mixed = self.share.iter().zip(hounsfield).filter(|(share, _)| **share > 0.0);
        let (mut all, mut dense) = (0_usize, 0_usize);
        for (_, &hu) in mixed {
            all += 1;
            dense += usize::from(hu > DENSE_HU);
        }
        dense as f64 / all.max(1) as f64
    }

    fn margin(&self, hounsfield: ArrayView3<f32>) -> Vec<f32> {
        let around = |share: f32| share > 0.0 && share < 1.0;
        self.share.iter().zip(hounsfield).filter(|(s, _)| around(**s)).map(|(_, hu)| *hu).collect()
    }

    /// How much denser lung with its surroundings' median is than soft tissue, against lung with
    /// another median: what differences to soft tissue are multiplied by. `None` if there is
    /// nothing around it.
    pub fn stretch(&self, median_hu: f32) -> Option<f32> {
        let own = self.surroundings()?.median_hu;
        Some((TISSUE_HU - median_hu) / (TISSUE_HU - own))
    }

    /// Mixes it into a background of its shape, whose lung around it has the median `median_hu`.
    ///
    /// Its lung becomes as dense as the background's and soft tissue stays: a voxel that is partly
    /// air is as much of both as before. Vessels and wall of the background stay where they are
    /// denser than the piece.
    ///
    /// # Shapes
    /// `background` [z, y, x], as the stamp
    pub fn mix_into(&self, mut background: ArrayViewMut3<i16>, median_hu: f32) {
        let stretch = self.stretch(median_hu).unwrap_or(1.0);
        let matched = self
            .hounsfield
            .mapv(|hu| if hu < TISSUE_HU { TISSUE_HU + (hu - TISSUE_HU) * stretch } else { hu });
        let before = background.mapv(f32::from);
        let (smooth, smooth_before) = (mean_of_27(&matched), mean_of_27(&before));
        for (at, hu) in background.indexed_iter_mut() {
            let above = smooth_before[at] - median_hu;
            let kept = step(STRUCTURE_HU, above) * step(DENSER_HU, smooth_before[at] - smooth[at]);
            let share = self.share[at] * (1.0 - kept);
            *hu = (before[at] + share * (matched[at] - before[at])).round() as i16;
        }
    }
}

impl Surroundings {
    fn of(mut hounsfield: Vec<f32>) -> Option<Self> {
        if hounsfield.is_empty() {
            return None;
        }
        let dense = hounsfield.iter().filter(|hu| **hu > DENSE_HU).count();
        let dense = dense as f64 / hounsfield.len() as f64;
        let middle = hounsfield.len() / 2;
        let median_hu = *hounsfield.select_nth_unstable_by(middle, f32::total_cmp).1;
        Some(Self { median_hu, dense })
    }
}

/// The share of a voxel at a distance from the mask, with the volume's end `beyond_mm` away.
fn share_at(distance_mm: f64, beyond_mm: f64) -> f32 {
    let to_the_reach = (distance_mm - GROWN_MM) / SEAM_MM;
    let to_the_end = distance_mm / (distance_mm + beyond_mm);
    1.0 - step([0.0, 1.0], to_the_reach.max(to_the_end) as f32)
}

/// From 0 at the first bound to 1 at the second, without a kink.
fn step([low, high]: [f32; 2], value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Mean over each voxel's 27 neighbours, itself included; at the border the last voxel is repeated.
fn mean_of_27(values: &Array3<f32>) -> Array3<f32> {
    let mut mean = values.clone();
    for axis in 0..3 {
        Zip::from(mean.lanes_mut(Axis(axis))).for_each(|mut line| {
            let before = line.to_vec();
            let last = before.len() - 1;
            for (i, value) in line.iter_mut().enumerate() {
                let (left, right) = (before[i.saturating_sub(1)], before[(i + 1).min(last)]);
                *value = (left + before[i] + right) / 3.0;
            }
        });
    }
    mean
}
