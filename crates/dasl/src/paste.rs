//! Detections on the network's grid become instances on the scan's own.

use dasl_net::infer::Detection;
use dasl_net::instance::MASK_THRESHOLD;
use dasl_volume::components::keep_largest;
use dasl_volume::resample::resample_probability;
use dasl_volume::{Geometry, LabelVolume, PointMm, Volume, VoxelPos};
use ndarray::Array3;
use serde::Serialize;

/// A nodule as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nodule {
    /// Label in the instance map.
    pub id: u16,
    /// Centre of the mask, patient's left, mm (LPS).
    pub x_mm: f64,
    /// Centre of the mask, patient's back, mm (LPS).
    pub y_mm: f64,
    /// Centre of the mask, patient's head, mm (LPS).
    pub z_mm: f64,
    /// Diameter of the sphere of equal volume, mm.
    pub diameter_mm: f64,
    /// Volume of the mask, mm3.
    pub volume_mm3: f64,
    /// Objectness, 0 to 1.
    pub score: f64,
}

/// A voxel halfway between nodule and background has the threshold's probability but for rounding,
/// which differs with the order of the scan's axes and must not decide.
const TIE: f32 = 1e-4;

/// Pastes detections, best first, into a label map on `native`; where two overlap, the better one
/// keeps the voxel, and of what is left of the other its largest body stays. A mask that has most of
/// its voxels in better ones means the same nodule and is left out; so is one whose diameter is below
/// `min_diameter_mm` without the voxels that it lost.
///
/// `grid` is the network's grid, which the detections lie on, or on coarser ones of the same extent.
pub fn paste(
    detections: &[Detection],
    grid: &Geometry,
    native: &Geometry,
    min_diameter_mm: f64,
) -> (LabelVolume, Vec<Nodule>) {
    let mut labels = Array3::<u16>::zeros(native.shape);
    let mut nodules = Vec::new();
    for detection in detections {
        let id = nodules.len() as u16 + 1;
        let size = detection.mask.dim();
        let coarser = grid.spacing_mm.map(|mm| mm * detection.coarser as f64);
        let from = grid.with_spacing(coarser).crop(detection.start, [size.0, size.1, size.2]);
        let start = covering(&from, native);
        let target = native.crop(start.0, start.1);
        let map = resample_probability(&Volume::new(detection.mask.clone(), from), &target);
        let (mut own, mut taken) = (Vec::new(), 0);
        let mut free = vec![false; map.voxels.len()];
        for (index, ((z, y, x), &p)) in map.voxels.indexed_iter().enumerate() {
            let at = [z as i64 + start.0[0], y as i64 + start.0[1], x as i64 + start.0[2]];
            let inside = (0..3).all(|a| at[a] >= 0 && (at[a] as usize) < native.shape[a]);
            if p < MASK_THRESHOLD - TIE || !inside {
                continue;
            }
            let at = at.map(|v| v as usize);
            if labels[at] == 0 {
                free[index] = true;
                own.push((index, at));
            } else {
                taken += 1;
            }
        }
        let same = taken > own.len();
        keep_largest(&mut free, start.1);
        own.retain(|(index, _)| free[*index]);
        let volume = own.len() as f64 * native.voxel_mm3();
        if own.is_empty() || same || dasl_metrics::sphere_diameter_mm(volume) < min_diameter_mm {
            continue;
        }
        let mut sum = [0.0; 3];
        for (_, at) in &own {
            labels[*at] = id;
            (0..3).for_each(|a| sum[a] += at[a] as f64);
        }
        let [z, y, x] = sum.map(|s| s / own.len() as f64);
        let center = native.to_mm(VoxelPos::new(z, y, x));
        nodules.push(nodule(id, center, volume, detection.proposal.score));
    }
    (LabelVolume::new(labels, *native), nodules)
}

fn nodule(id: u16, center: PointMm, volume_mm3: f64, score: f64) -> Nodule {
    Nodule {
        id,
        x_mm: center.x,
        y_mm: center.y,
        z_mm: center.z,
        diameter_mm: dasl_metrics::sphere_diameter_mm(volume_mm3),
        volume_mm3,
        score,
    }
}

/// The box of `to` that covers `from`, one voxel wider: first voxel and size.
fn covering(from: &Geometry, to: &Geometry) -> ([i64; 3], [usize; 3]) {
    let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
    for corner in 0..8 {
        let at = |axis: usize| if corner >> axis & 1 == 1 { from.shape[axis] as f64 } else { -1.0 };
        let v = to.to_voxel(from.to_mm(VoxelPos::new(at(0), at(1), at(2))));
        for (axis, value) in [v.z, v.y, v.x].into_iter().enumerate() {
            low[axis] = value.min(low[axis]);
            high[axis] = value.max(high[axis]);
        }
    }
    let start = low.map(|v| v.floor() as i64 - 1);
    (start, [0, 1, 2].map(|a| (high[a].ceil() as i64 + 2 - start[a]) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dasl_net::anchor::Cube;
    use dasl_net::infer::Proposal;

    #[test]
    fn the_better_detection_keeps_the_voxel_and_an_empty_mask_is_no_nodule() {
        let grid = Geometry::axial([20; 3], [1.0; 3], PointMm::new(-5.0, 3.0, 7.0));
        let detection = |score: f64, x: i64, fill: f32| Detection {
            proposal: Proposal { cube: Cube { center: [8.0; 3], edge: 4.0 }, score },
            coarser: 1,
            start: [8, 8, x],
            mask: Array3::from_elem((4, 4, 4), fill),
        };
        let found = [detection(0.9, 8, 1.0), detection(0.8, 4, 0.1), detection(0.7, 10, 1.0)];
        let (labels, nodules) = paste(&found, &grid, &grid, 3.0);
        assert_eq!(nodules.len(), 2);
        assert!((nodules[0].volume_mm3 - 64.0).abs() < 1e-9);
        assert!((nodules[1].volume_mm3 - 32.0).abs() < 1e-9, "two of its columns are taken");
        assert_eq!(labels.voxels[[9, 9, 10]], 1);
        assert_eq!(labels.voxels[[9, 9, 12]], 2);
        // Centre of voxels 8..12 is 9.5: x = -5 + 9.5.
        assert!((nodules[0].x_mm - 4.5).abs() < 1e-9 && (nodules[0].z_mm - 16.5).abs() < 1e-9);
        // With three of its four columns in the better one it is the same nodule.
        let (labels, nodules) =
            paste(&[detection(0.9, 8, 1.0), detection(0.7, 9, 1.0)], &grid, &grid, 0.0);
        assert_eq!(nodules.len(), 1);
        assert_eq!(labels.voxels[[9, 9, 12]], 0);
    }

    #[test]
    fn a_voxel_of_a_coarser_mask_is_a_cube_of_voxels() {
        let grid = Geometry::axial([40; 3], [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
        let cube = Cube { center: [19.5; 3], edge: 8.0 };
        let mut mask = Array3::zeros((6, 6, 6));
        mask.slice_mut(ndarray::s![1..5, 1..5, 1..5]).fill(1.0);
        let found =
            Detection { proposal: Proposal { cube, score: 0.9 }, coarser: 2, start: [7; 3], mask };
        let (labels, nodules) = paste(&[found], &grid, &grid, 3.0);
        // Cubes 8 to 11 are voxels 16 to 23; interpolation rounds the corners off.
        let marked = labels.voxels.slice(ndarray::s![16..24, 16..24, 16..24]);
        assert_eq!(marked.iter().filter(|&&label| label == 1).count(), 512 - 8);
        assert!((nodules[0].volume_mm3 - 504.0).abs() < 1e-9);
        assert!((nodules[0].x_mm - 19.5).abs() < 1e-9);
    }

    /// What a better nodule cuts off of a mask is no part of it.
    #[test]
    fn of_a_mask_its_largest_body_stays() {
        let grid = Geometry::axial([12; 3], [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
        let detection = |score: f64, x: i64, shape: (usize, usize, usize)| Detection {
            proposal: Proposal { cube: Cube { center: [4.0; 3], edge: 4.0 }, score },
            coarser: 1,
            start: [4, 4, x],
            mask: Array3::from_elem(shape, 1.0),
        };
        let found = [detection(0.9, 4, (1, 1, 1)), detection(0.8, 2, (1, 1, 7))];
        let (labels, nodules) = paste(&found, &grid, &grid, 0.0);
        let row: Vec<u16> = labels.voxels.slice(ndarray::s![4, 4, 2..9]).to_vec();
        assert_eq!(row, [0, 0, 1, 2, 2, 2, 2]);
        assert!((nodules[1].volume_mm3 - 4.0).abs() < 1e-9 && (nodules[1].x_mm - 6.5).abs() < 1e-9);
    }

    /// A dropped nodule leaves its voxels to others and no gap in the numbers.
    #[test]
    fn what_is_smaller_than_asked_for_is_dropped() {
        let grid = Geometry::axial([20; 3], [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
        let detection = |score: f64, x: i64, edge: usize| Detection {
            proposal: Proposal { cube: Cube { center: [8.0; 3], edge: 4.0 }, score },
            coarser: 1,
            start: [8, 8, x],
            mask: Array3::from_elem((edge, edge, edge), 1.0),
        };
        // 8 mm3 are a sphere of 2.5 mm, 64 mm3 one of 5.0 mm.
        let found = [detection(0.9, 8, 2), detection(0.8, 8, 4)];
        let (labels, nodules) = paste(&found, &grid, &grid, 3.0);
        assert_eq!(nodules.len(), 1);
        assert_eq!((nodules[0].id, nodules[0].volume_mm3), (1, 64.0));
        assert!(labels.voxels.iter().all(|label| *label <= 1));
        assert_eq!(paste(&found, &grid, &grid, 2.0).1.len(), 2);
    }
}
