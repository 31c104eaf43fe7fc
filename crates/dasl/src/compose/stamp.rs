//! A piece of one scan and how it is mixed into another.

use dasl_metrics::squared_distances_mm2;
use dasl_volume::components::keep_largest;
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
const STRUCTURE_HU: [f32; 2] = [70.0, 180.0];
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
    /// What is seen of the mask's surroundings [z, y, x].
    around: Array3<bool>,
}

/// What lies around a mask, from [`GROWN_MM`] to [`REACH_MM`] away.
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
    /// The share falls from 1 to 0 between [`GROWN_MM`] and [`REACH_MM`] from the mask, and sooner
    /// where a slice ends sooner: nothing is known beyond. In each slice it is multiplied by that
    /// slice's `fade`.
    ///
    /// # Shapes
    /// `ct` and `mask` [z, y, x], voxels of `spacing_mm`; `fade` `[z]`
    pub fn cut(
        ct: ArrayView3<i16>,
        mask: ArrayView3<bool>,
        fade: &[f32],
        spacing_mm: f64,
    ) -> Option<Self> {
        let size = ct.dim();
        let shape = [size.0, size.1, size.2];
        let reach = (REACH_MM / spacing_mm).ceil() as i64;
        let block = Block::around(mask.indexed_iter())?.grown(reach).within(shape);
        let [start, end] = [block.start, block.end].map(|v| v.map(|v| v as usize));
        let region = s![start[0]..end[0], start[1]..end[1], start[2]..end[2]];
        let mask = mask.slice(region).to_owned();
        let mut share = Array3::zeros(mask.dim());
        let mut around = Array3::from_elem(mask.dim(), false);
        let distances = squared_distances_mm2(mask.view(), [spacing_mm; 3]);
        for ((z, y, x), &squared) in distances.indexed_iter() {
            let at = [z + start[0], y + start[1], x + start[2]];
            let beyond = (1..3).map(|a| (at[a] + 1).min(shape[a] - at[a])).min().unwrap_or(1);
            let (distance_mm, fade) = (squared.sqrt(), fade[at[0]]);
            share[[z, y, x]] = fade * share_at(distance_mm, beyond as f64 * spacing_mm);
            // Half faded is where the volume's own slices end.
            around[[z, y, x]] = fade > 0.5 && distance_mm > GROWN_MM && distance_mm <= REACH_MM;
        }
        Some(Self { hounsfield: ct.slice(region).mapv(f32::from), mask, share, around })
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
            around: turn.apply(&self.around),
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

    /// Share of the mask that lies in what a background of its shape holds of wall and vessels.
    pub fn hidden_in(&self, background: ArrayView3<i16>) -> f64 {
        let inside = self.mask.iter().zip(background).filter(|(inside, _)| **inside);
        dense_share(inside.map(|(_, &hu)| f32::from(hu)))
    }

    /// The mask without wall and vessels of a background of its shape, which a reader would not take
    /// for nodule: the largest body that is left. Noise of single voxels is averaged out before.
    pub fn seen_on(&self, background: ArrayView3<i16>) -> Array3<bool> {
        let smooth = mean_of_27(&background.mapv(f32::from));
        let mut seen = self.mask.clone();
        Zip::from(&mut seen).and(&smooth).for_each(|seen, hu| *seen &= *hu <= DENSE_HU);
        let mut inside: Vec<bool> = seen.iter().copied().collect();
        keep_largest(&mut inside, self.shape());
        seen.iter_mut().zip(inside).for_each(|(seen, inside)| *seen = inside);
        seen
    }

    fn dense_in(&self, hounsfield: ArrayView3<f32>) -> f64 {
        let mixed = self.share.iter().zip(hounsfield).filter(|(share, _)| **share > 0.0);
        dense_share(mixed.map(|(_, &hu)| hu))
    }

    fn margin(&self, hounsfield: ArrayView3<f32>) -> Vec<f32> {
        self.around.iter().zip(hounsfield).filter(|(a, _)| **a).map(|(_, hu)| *hu).collect()
    }

    /// What differences to soft tissue are multiplied by, so that its lung's median becomes
    /// `median_hu`. `None` if there is nothing around it.
    pub fn stretch(&self, median_hu: f32) -> Option<f32> {
        let own = self.surroundings()?.median_hu;
        Some((TISSUE_HU - median_hu) / (TISSUE_HU - own))
    }

    /// Mixes it into a background of its shape, whose lung around it has the median `median_hu`.
    ///
    /// Its lung becomes as dense as the background's and soft tissue stays: a voxel that is partly
    /// air is as much of both as before. Vessels and wall of the background stay where they are
    /// denser than the piece. A mean of two noises is weaker than either: the grain is mixed apart
    /// from the rest, by shares whose squares add up to 1.
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
            let kept = step(STRUCTURE_HU, above) * step(DENSER_HU, before[at] - matched[at]);
            let share = self.share[at] * (1.0 - kept);
            let mixed = |a: f32, b: f32| (1.0 - share) * a + share * b;
            let grain = mixed(before[at] - smooth_before[at], matched[at] - smooth[at]);
            let grain = grain / (share.powi(2) + (1.0 - share).powi(2)).sqrt();
            *hu = (mixed(smooth_before[at], smooth[at]) + grain).round() as i16;
        }
    }
}

impl Surroundings {
    fn of(mut hounsfield: Vec<f32>) -> Option<Self> {
        if hounsfield.is_empty() {
            return None;
        }
        let dense = dense_share(hounsfield.iter().copied());
        let middle = hounsfield.len() / 2;
        let median_hu = *hounsfield.select_nth_unstable_by(middle, f32::total_cmp).1;
        Some(Self { median_hu, dense })
    }
}

/// Share of voxels that are no lung tissue; 0 of none.
fn dense_share(hounsfield: impl Iterator<Item = f32>) -> f64 {
    let (mut all, mut dense) = (0_usize, 0_usize);
    for hu in hounsfield {
        all += 1;
        dense += usize::from(hu > DENSE_HU);
    }
    dense as f64 / all.max(1) as f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const SIZE: usize = 40;

    /// Lung with the grain of a scanner.
    fn lung(median_hu: f32, seed: u64) -> Array3<i16> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let noise = Array3::from_shape_simple_fn((SIZE, SIZE, SIZE), || {
            (0..4).map(|_| rng.random_range(-60.0..60.0_f32)).sum::<f32>()
        });
        (0.5 * &noise + mean_of_27(&noise)).mapv(|v| (median_hu + v) as i16)
    }

    fn ball(radius: f64) -> Array3<bool> {
        Array3::from_shape_fn((SIZE, SIZE, SIZE), |(z, y, x)| {
            let d = [z, y, x].map(|v| v as f64 - SIZE as f64 / 2.0);
            d.iter().map(|d| d * d).sum::<f64>() < radius * radius
        })
    }

    fn cut(ct: &Array3<i16>, mask: &Array3<bool>) -> Stamp {
        Stamp::cut(ct.view(), mask.view(), &[1.0; SIZE], 1.0).unwrap()
    }

    /// Puts it where it comes from, in another scan.
    fn paste(stamp: &Stamp, ct: &Array3<i16>, put: impl FnOnce(ArrayViewMut3<i16>)) -> Array3<i16> {
        let mut composed = ct.clone();
        let first = (SIZE - stamp.shape()[0]) / 2 + 1;
        let end = first + stamp.shape()[0];
        put(composed.slice_mut(s![first..end, first..end, first..end]));
        composed
    }

    /// Mean absolute difference of neighbours along x where the share is between two bounds.
    fn roughness(ct: &Array3<i16>, stamp: &Stamp, [low, high]: [f32; 2]) -> f64 {
        let first = (SIZE - stamp.shape()[0]) / 2 + 1;
        let (mut sum, mut count) = (0.0, 0.0);
        for ((z, y, x), share) in stamp.share.indexed_iter() {
            if *share > low && *share <= high {
                let at = [z + first, y + first, x + first];
                let here = f64::from(ct[at]);
                for next in [at[2] - 1, at[2] + 1] {
                    sum += (here - f64::from(ct[[at[0], at[1], next]])).abs();
                    count += 1.0;
                }
            }
        }
        sum / count
    }

    #[test]
    fn a_piece_of_denser_lung_leaves_no_seam() {
        let (background, other) = (lung(-860.0, 1), lung(-760.0, 2));
        let stamp = cut(&other, &ball(6.0));
        let soft = paste(&stamp, &background, |to| stamp.mix_into(to, -860.0));
        let hard = paste(&stamp, &background, |mut to| {
            Zip::from(&mut to).and(&stamp.share).and(&stamp.hounsfield).for_each(
                |to, share, hu| {
                    if *share > 0.0 {
                        *to = *hu as i16;
                    }
                },
            );
        });
        for (bounds, pasted) in [([0.0, 0.1], 1.2), ([0.1, 0.5], 0.0), ([0.5, 0.999], 0.0)] {
            let untouched = roughness(&background, &stamp, bounds);
            let ratio = roughness(&soft, &stamp, bounds) / untouched;
            // Its grain grows with the stretch, 1.125, like all else.
            assert!((0.93..1.17).contains(&ratio), "{bounds:?}: {ratio}");
            // The measure sees a seam where there is one.
            let ratio = roughness(&hard, &stamp, bounds) / untouched;
            assert!(ratio > pasted, "{bounds:?}: {ratio}");
        }
        // As dense as its new surroundings, within the noise.
        let inside = stamp.mask.indexed_iter().filter(|(_, inside)| **inside);
        let first = (SIZE - stamp.shape()[0]) / 2 + 1;
        let inside: Vec<f64> = inside
            .map(|((z, y, x), _)| f64::from(soft[[z + first, y + first, x + first]]))
            .collect();
        let mean = inside.iter().sum::<f64>() / inside.len() as f64;
        assert!((mean + 860.0).abs() < 8.0, "{mean}");
    }

    #[test]
    fn a_nodule_keeps_its_density_and_nothing_else_is_changed() {
        let (background, mut other) = (lung(-860.0, 3), lung(-800.0, 4));
        let mask = ball(5.0);
        Zip::from(&mut other).and(&mask).for_each(|hu, inside| {
            if *inside {
                *hu = 60;
            }
        });
        let stamp = cut(&other, &mask);
        let composed = paste(&stamp, &background, |to| stamp.mix_into(to, -860.0));
        let first = (SIZE - stamp.shape()[0]) / 2 + 1;
        let mut changed = 0;
        for ((z, y, x), hu) in composed.indexed_iter() {
            let at = [z, y, x].map(|v| v.wrapping_sub(first));
            let share = stamp.share.get(at).copied().unwrap_or(0.0);
            if share == 0.0 {
                assert_eq!(*hu, background[[z, y, x]]);
            }
            changed += usize::from(*hu != background[[z, y, x]]);
            if stamp.mask.get(at).copied().unwrap_or(false) {
                assert_eq!(*hu, 60);
            }
        }
        assert!(changed > 1000, "{changed}");
    }

    #[test]
    fn the_wall_beside_a_nodule_stays() {
        let mut background = lung(-860.0, 5);
        background.slice_mut(s![.., .., 24..]).fill(40);
        let mut other = lung(-860.0, 6);
        let mask = ball(3.5);
        Zip::from(&mut other).and(&mask).for_each(|hu, inside| {
            if *inside {
                *hu = 0;
            }
        });
        let stamp = cut(&other, &mask);
        let composed = paste(&stamp, &background, |to| stamp.mix_into(to, -860.0));
        let wall = composed.slice(s![.., .., 25..]);
        assert!(wall.iter().all(|hu| *hu > -60), "{:?}", wall.iter().min());
    }

    #[test]
    fn the_share_falls_with_the_distance_and_sooner_at_the_end_of_a_slice() {
        for (distance, percent) in [(0.0, 100), (1.0, 100), (2.5, 50), (4.0, 0), (9.0, 0)] {
            assert_eq!((share_at(distance, 50.0) * 100.0).round() as i32, percent);
        }
        let falling: Vec<f32> = (0..40).map(|i| share_at(f64::from(i) / 10.0, 50.0)).collect();
        assert!(falling.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(share_at(1.0, 1.0) < share_at(1.0, 9.0));
    }
}
