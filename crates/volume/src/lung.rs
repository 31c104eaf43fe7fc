//! A loose lung mask: where to look for nodules, not where the lung ends.
//!
//! Air is thresholded, what is connected to the image's edge within a slice is outside, the
//! largest one or two of the remaining bodies of air are the lungs with their airways. Closing
//! takes in vessels and nodules at the pleura and the hilum, and small holes within a slice are
//! filled. A large tumour between chest wall and mediastinum is neither near air nor enclosed by
//! it: where one lung's mirror image has lung and the other side has a large body of soft tissue,
//! that is taken in, with the part of the heart that lies there. All of that runs on blocks of about 2 mm, which is precise enough and eight times
//! quicker than the 1 mm grid.

mod grid;

use crate::geometry::Geometry;
use crate::volume::{CtVolume, Volume};
use grid::Grid;
use ndarray::{Array3, Axis};
use rayon::prelude::*;

/// Below this, air (lung is about -850, soft tissue about 40).
const AIR_HU: i32 = -400;
/// Side of a block.
const BLOCK_MM: f64 = 2.0;
/// Nodules at the pleura are taken in by a ball of this radius.
const CLOSING_MM: f64 = 12.0;
/// Bodies of soft tissue in the place of lung are this large in every direction: no mere
/// difference in shape between the lungs.
const MISSING_MM: f64 = 16.0;
/// The mask reaches this far into the chest wall.
const RIM_MM: f64 = 2.0;
/// Holes in a slice are filled up to this size: a large tumour, but not the mediastinum.
const HOLE_MM2: f64 = 4000.0;
/// A second lung has at least this share of the first one's air.
const SECOND_SHARE: f64 = 0.15;
/// Below, what was found is no pair of lungs.
const LEAST_LITRES: f64 = 0.5;
/// Above, outside air was taken in.
const MOST_LITRES: f64 = 12.0;
/// A field of view smaller than this in plane holds no chest.
const CHEST_MM: f64 = 150.0;

/// Where to look for nodules.
#[derive(Debug, Clone, PartialEq)]
pub struct LungMask {
    /// 1 inside, 0 outside [z, y, x], on the CT's grid.
    pub mask: Volume<u8>,
    /// Whether lungs were found; if not, the mask is the whole body.
    pub sure: bool,
    /// Why not, in words for the log.
    pub reason: Option<String>,
}

/// The lungs, with vessels, airways and nodules at the pleura inside. `ct` is meant to be on the
/// working grid of about 1 mm, but any spacing works. Where lungs cannot be found the whole body is
/// the mask, so that nothing is lost.
pub fn lung_mask(ct: &CtVolume) -> LungMask {
    let in_plane = [1, 2].map(|i| ct.geometry.shape[i] as f64 * ct.geometry.spacing_mm[i]);
    if in_plane.iter().any(|mm| *mm < CHEST_MM) {
        let everything = Array3::ones(ct.geometry.shape);
        return unsure(everything, ct, "the field of view is smaller than a chest".into());
    }
    let blocks = block_sizes(&ct.geometry);
    let (hounsfield, grid) = block_means(ct, blocks);
    let air: Vec<bool> = hounsfield.iter().map(|hu| *hu < AIR_HU).collect();
    let outside = grid.connected_to_edge_in_slice(&air);
    let inner: Vec<bool> = air.iter().zip(&outside).map(|(air, out)| *air && !out).collect();

    let bodies = grid.components(&inner);
    let litres = |voxels: usize| voxels as f64 * grid.voxel_mm3() / 1e6;
    let lungs: Vec<_> = match bodies.by_size.as_slice() {
        [] => Vec::new(),
        [one] => vec![one.0],
        [first, second, ..] if (second.1 as f64) < SECOND_SHARE * first.1 as f64 => vec![first.0],
        [first, second, ..] => vec![first.0, second.0],
    };
    let mut mask: Vec<bool> =
        bodies.labels.iter().map(|label| *label != 0 && lungs.contains(label)).collect();
    let found = litres(mask.iter().filter(|inside| **inside).count());
    if !(LEAST_LITRES..=MOST_LITRES).contains(&found) {
        let body: Vec<bool> = outside.iter().map(|outside| !outside).collect();
        let reason = format!(
            "{found:.1} litres of air inside the body; lungs have {LEAST_LITRES} to {MOST_LITRES}"
        );
        return unsure(expand(&body, &grid, blocks, ct.geometry.shape), ct, reason);
    }
    mask = grid.closed(&mask, CLOSING_MM);
    grid.fill_holes_in_slices(&mut mask, HOLE_MM2);
    take_in_missing_lung(&mut mask, &air, &grid);
    mask = grid.dilated(&mask, RIM_MM);
    let mask = expand(&mask, &grid, blocks, ct.geometry.shape);
    LungMask { mask: Volume::new(mask, ct.geometry), sure: true, reason: None }
}

/// Takes in soft tissue that lies where the other lung's mirror image has lung. The plane of the
/// mirror is the middle of the lungs' extent, the median over the slices.
fn take_in_missing_lung(mask: &mut [bool], air: &[bool], grid: &Grid) {
    let [_, height, width] = grid.shape;
    let extents = mask.chunks(height * width).filter_map(|slice| {
        let columns = slice.iter().enumerate().filter(|(_, inside)| **inside);
        let columns = columns.map(|(at, _)| at % width);
        Some(columns.clone().min()? + columns.max()?)
    });
    let mut extents: Vec<usize> = extents.collect();
    extents.sort_unstable();
    let Some(&twice_the_middle) = extents.get(extents.len() / 2) else { return };
    let mirrored = |at: usize| {
        let (row, x) = (at - at % width, at % width);
        twice_the_middle.checked_sub(x).filter(|x| *x < width).map(|x| row + x)
    };
    let missing: Vec<bool> = (0..mask.len())
        .map(|at| !mask[at] && !air[at] && mirrored(at).is_some_and(|other| mask[other]))
        .collect();
    for (inside, missing) in mask.iter_mut().zip(grid.opened(&missing, MISSING_MM / 2.0)) {
        *inside |= missing;
    }
}

fn unsure(mask: Array3<u8>, ct: &CtVolume, reason: String) -> LungMask {
    LungMask { mask: Volume::new(mask, ct.geometry), sure: false, reason: Some(reason) }
}

/// Voxels per block along each axis.
fn block_sizes(geometry: &Geometry) -> [usize; 3] {
    geometry.spacing_mm.map(|mm| ((BLOCK_MM / mm).round() as usize).max(1))
}

/// Mean Hounsfield units of each block (blocks at the far faces may be cut), and the blocks' grid.
fn block_means(ct: &CtVolume, blocks: [usize; 3]) -> (Vec<i32>, Grid) {
    let shape = [0, 1, 2].map(|i| ct.geometry.shape[i].div_ceil(blocks[i]));
    let spacing_mm = [0, 1, 2].map(|i| ct.geometry.spacing_mm[i] * blocks[i] as f64);
    let grid = Grid { shape, spacing_mm };
    let mut means = vec![0_i32; grid.len()];
    let plane = shape[1] * shape[2];
    means.par_chunks_mut(plane).enumerate().for_each(|(bz, means)| {
        let mut counts = vec![0_i32; plane];
        let slices = bz * blocks[0]..((bz + 1) * blocks[0]).min(ct.geometry.shape[0]);
        for z in slices {
            let slice = ct.voxels.index_axis(Axis(0), z);
            for (y, row) in slice.outer_iter().enumerate() {
                let start = y / blocks[1] * shape[2];
                for (x, hu) in row.iter().enumerate() {
                    means[start + x / blocks[2]] += i32::from(*hu);
                    counts[start + x / blocks[2]] += 1;
                }
            }
        }
        for (mean, count) in means.iter_mut().zip(&counts) {
            *mean /= (*count).max(1);
        }
    });
    (means, grid)
}

/// Blocks back to voxels.
fn expand(mask: &[bool], grid: &Grid, blocks: [usize; 3], shape: [usize; 3]) -> Array3<u8> {
    let mut out = Array3::zeros(shape);
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(z, mut plane)| {
        for (y, mut row) in plane.outer_iter_mut().enumerate() {
            let start = (z / blocks[0] * grid.shape[1] + y / blocks[1]) * grid.shape[2];
            for (x, voxel) in row.iter_mut().enumerate() {
                *voxel = u8::from(mask[start + x / blocks[2]]);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PointMm;

    /// A body of water with two lungs (balls of `radius` mm) in air; a nodule at the pleura.
    fn chest(radius: f64) -> CtVolume {
        let g = Geometry::axial([120, 200, 260], [1.0; 3], PointMm::new(0., 0., 0.));
        let voxels = Array3::from_shape_fn(g.shape, |(z, y, x)| {
            let at = |cz: f64, cy: f64, cx: f64| {
                let d = [z as f64 - cz, y as f64 - cy, x as f64 - cx];
                (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt()
            };
            let (dy, dx) = ((y as f64 - 100.0) / 90.0, (x as f64 - 130.0) / 120.0);
            if dy * dy + dx * dx > 1.0 {
                -1000
            } else if at(60.0, 100.0, 75.0 - radius) < 8.0 {
                30
            } else if at(60.0, 100.0, 75.0) < radius || at(60.0, 100.0, 192.0) < radius {
                -850
            } else {
                40
            }
        });
        CtVolume::new(voxels, g)
    }

    #[test]
    fn both_lungs_and_the_nodule_at_the_pleura_are_inside() {
        let lung = lung_mask(&chest(45.0));
        assert!(lung.sure, "{:?}", lung.reason);
        let inside = |z, y, x| lung.mask.voxels[[z, y, x]] == 1;
        assert!(inside(60, 100, 75) && inside(60, 100, 192));
        assert!(inside(60, 100, 33)); // 3 mm into the lung's side of the nodule's centre
        assert!(!inside(60, 100, 12) && !inside(60, 5, 5) && !inside(60, 100, 133));
    }

    #[test]
    fn a_tumour_between_chest_wall_and_mediastinum_is_inside() {
        let mut ct = chest(45.0);
        for ((z, y, x), hu) in ct.voxels.indexed_iter_mut() {
            // Half of the lung at the image's left, from the wall to the middle.
            if (40..80).contains(&z) && y > 100 && x < 130 && *hu == -850 {
                *hu = 40;
            }
        }
        let lung = lung_mask(&ct);
        assert!(lung.sure && lung.mask.voxels[[60, 125, 75]] == 1);
        assert_eq!(lung.mask.voxels[[60, 100, 133]], 0);
    }

    #[test]
    fn without_lungs_the_body_is_the_mask() {
        let lung = lung_mask(&chest(5.0));
        assert!(!lung.sure);
        assert!(lung.reason.unwrap().contains("litres of air"));
        assert_eq!(lung.mask.voxels[[60, 100, 130]], 1);
        assert_eq!(lung.mask.voxels[[60, 5, 5]], 0);
    }

    #[test]
    fn a_volume_of_interest_is_searched_whole() {
        let g = Geometry::axial([10, 44, 44], [1.0; 3], PointMm::new(0., 0., 0.));
        let lung = lung_mask(&CtVolume::new(Array3::from_elem(g.shape, -850), g));
        assert!(!lung.sure && lung.mask.voxels.iter().all(|v| *v == 1));
    }
}
