//! How far two masks' surfaces lie apart, mm.

use ndarray::{Array3, ArrayView3, Zip, s};
use serde::{Deserialize, Serialize};

use crate::distance_transform::squared_distances_mm2;

/// Name of the definition by which [`surface_distances`] measures.
///
/// `MedPy`: a mask's surface is its voxels that have a background voxel (or the array's end) among
/// their 6 neighbours; distances run between voxel centres, from each surface voxel to the nearest
/// one of the other mask's surface. `mean_mm` is their mean over both directions together
/// (`medpy.metric.binary.assd` of `MedPy` 0.5; up to 0.4 it was the mean of the directions' means);
/// `hd95_mm` is their 95th percentile, with straight lines between order statistics (`hd95`).
pub const SURFACE_RULE: &str = "MedPy 0.5 (assd, hd95)";

/// Distances of two masks' surfaces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurfaceDistances {
    /// Average symmetric surface distance, mm.
    pub mean_mm: f64,
    /// 95th percentile of the symmetric surface distances (Hausdorff 95), mm.
    pub hd95_mm: f64,
}

/// Measures how far the surfaces of two masks lie apart, by the definition [`SURFACE_RULE`];
/// `None` if one of them is empty, or their shapes differ.
///
/// # Shapes
/// Both [z, y, x]; `spacing_mm` is the distance of voxel centres along these axes.
pub fn surface_distances(
    a: ArrayView3<'_, bool>,
    b: ArrayView3<'_, bool>,
    spacing_mm: [f64; 3],
) -> Option<SurfaceDistances> {
    if a.dim() != b.dim() {
        return None;
    }
    // Nothing outside of both masks' box takes part.
    let (low, high) = bounds(a, b)?;
    let within = s![low[0]..high[0], low[1]..high[1], low[2]..high[2]];
    let (a, b) = (surface(a.slice(within)), surface(b.slice(within)));
    let mut both = distances_mm(&a, &b, spacing_mm)?;
    both.extend(distances_mm(&b, &a, spacing_mm)?);
    // Sorted also for the sum: then it does not matter which mask is named first.
    both.sort_by(f64::total_cmp);
    let mean_mm = both.iter().sum::<f64>() / both.len() as f64;
    Some(SurfaceDistances { mean_mm, hd95_mm: percentile(&both, 0.95) })
}

/// The voxels of a mask that have a neighbour outside of it. The array's end is outside.
fn surface(mask: ArrayView3<'_, bool>) -> Array3<bool> {
    let (depth, height, width) = mask.dim();
    let mut border = mask.to_owned();
    if depth < 3 || height < 3 || width < 3 {
        return border;
    }
    let shifted = |z: usize, y: usize, x: usize| {
        mask.slice_move(s![z..z + depth - 2, y..y + height - 2, x..x + width - 2])
    };
    // An inner voxel is surface if one of the voxels below, above, before, ... is missing.
    let mut inner = border.slice_mut(s![1..depth - 1, 1..height - 1, 1..width - 1]);
    let mut enclosed = Array3::from_elem(inner.dim(), true);
    for (z, y, x) in [(0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)] {
        enclosed.zip_mut_with(&shifted(z, y, x), |all, &neighbour| *all &= neighbour);
    }
    Zip::from(&mut inner).and(&enclosed).for_each(|voxel, &enclosed| *voxel &= !enclosed);
    border
}

/// From each voxel of `from` to the nearest of `to`, in array order; `None` if there is none.
fn distances_mm(from: &Array3<bool>, to: &Array3<bool>, spacing_mm: [f64; 3]) -> Option<Vec<f64>> {
    let squared = squared_distances_mm2(to.view(), spacing_mm);
    let at = from.iter().zip(&squared).filter(|(inside, _)| **inside);
    let distances: Vec<f64> = at.map(|(_, squared)| squared.sqrt()).collect();
    (!distances.is_empty() && distances[0].is_finite()).then_some(distances)
}

/// The value below which the share `part` of sorted `values` lies, as numpy's `percentile`.
fn percentile(values: &[f64], part: f64) -> f64 {
    let at = part * (values.len() - 1) as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// First and past-the-last voxel of the box about both masks.
fn bounds(a: ArrayView3<'_, bool>, b: ArrayView3<'_, bool>) -> Option<([usize; 3], [usize; 3])> {
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for ((z, y), row) in row_by_row(a).chain(row_by_row(b)) {
        let (Some(first), Some(last)) = row else { continue };
        for (axis, from, to) in [(0, z, z), (1, y, y), (2, first, last)] {
            low[axis] = low[axis].min(from);
            high[axis] = high[axis].max(to + 1);
        }
    }
    (high[0] > 0).then_some((low, high))
}

/// (z, y) of each row and its first and last voxel that belong.
fn row_by_row(
    mask: ArrayView3<'_, bool>,
) -> impl Iterator<Item = ((usize, usize), (Option<usize>, Option<usize>))> {
    let width = mask.dim().2;
    (0..mask.dim().0).flat_map(move |z| (0..mask.dim().1).map(move |y| (z, y))).map(
        move |(z, y)| {
            let row = mask.slice_move(s![z, y, ..]);
            let first = row.iter().position(|&inside| inside);
            let last =
                row.iter().rev().position(|&inside| inside).map(|from_end| width - 1 - from_end);
            ((z, y), (first, last))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cube(shape: [usize; 3], low: [usize; 3], high: [usize; 3]) -> Array3<bool> {
        Array3::from_shape_fn(shape, |(z, y, x)| {
            [z, y, x].iter().enumerate().all(|(axis, &at)| low[axis] <= at && at < high[axis])
        })
    }

    #[test]
    fn a_hollow_cube_is_its_own_surface() {
        let solid = cube([7; 3], [1; 3], [6; 3]);
        let border = surface(solid.view());
        assert_eq!(border.iter().filter(|&&b| b).count(), 125 - 27);
        assert!(!border[[2, 3, 3]] && border[[1, 3, 3]] && !border[[0, 3, 3]]);
        // A full array ends at its ends.
        let full = surface(cube([4; 3], [0; 3], [4; 3]).view());
        assert_eq!(full.iter().filter(|&&b| b).count(), 64 - 8);
    }

    #[test]
    fn two_voxels_and_a_plate_by_hand() {
        let at = |z, x| cube([5, 1, 9], [z, 0, x], [z + 1, 1, x + 1]);
        let found = surface_distances(at(0, 1).view(), at(2, 5).view(), [1.5, 1.0, 1.0]);
        let expected = SurfaceDistances { mean_mm: 5.0, hd95_mm: 5.0 };
        assert_eq!(found, Some(expected));
        // A row of 4 against its first voxel: distances 0, 1, 2, 3 one way and 0 the other.
        let (row, first) = (cube([1, 1, 6], [0; 3], [1, 1, 4]), cube([1, 1, 6], [0; 3], [1; 3]));
        let found = surface_distances(row.view(), first.view(), [1.0; 3]).expect("not empty");
        assert!((found.mean_mm - 1.2).abs() < 1e-12);
        // Sorted 0 0 1 2 3: index 0.95 * 4 = 3.8.
        assert!((found.hd95_mm - 2.8).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_surface() {
        let (none, one) = (Array3::from_elem((3, 3, 3), false), cube([3; 3], [1; 3], [2; 3]));
        assert_eq!(surface_distances(none.view(), one.view(), [1.0; 3]), None);
        assert_eq!(surface_distances(one.view(), none.view(), [1.0; 3]), None);
        assert_eq!(surface_distances(none.view(), none.view(), [1.0; 3]), None);
        assert_eq!(
            surface_distances(one.view(), cube([2; 3], [0; 3], [1; 3]).view(), [1.0; 3]),
            None
        );
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_0_for_equals(
            voxels in proptest::collection::vec(any::<(bool, bool)>(), 4 * 5 * 6),
            spacing_mm in proptest::array::uniform3(0.3..4.0_f64),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = voxels.into_iter().unzip();
            let shaped = |v| Array3::from_shape_vec((4, 5, 6), v).expect("as many voxels");
            let (a, b) = (shaped(a), shaped(b));
            let found = surface_distances(a.view(), b.view(), spacing_mm);
            prop_assert_eq!(found, surface_distances(b.view(), a.view(), spacing_mm));
            if let Some(same) = surface_distances(a.view(), a.view(), spacing_mm) {
                prop_assert_eq!((same.mean_mm, same.hd95_mm), (0.0, 0.0));
            }
        }
    }
}
