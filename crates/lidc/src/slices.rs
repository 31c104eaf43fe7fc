//! At which z the slices of a scan lie.

use dasl_volume::{Geometry, VoxelPos};

/// Positions of a scan's slices, mm, in the order of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct SlicePositions {
    z_mm: Vec<f64>,
}

impl SlicePositions {
    /// From explicit positions (DICOM's image position, z), in the order of the grid. `None` if
    /// there is none or one is not a number.
    pub fn new(z_mm: Vec<f64>) -> Option<Self> {
        (!z_mm.is_empty() && z_mm.iter().all(|z| z.is_finite())).then_some(Self { z_mm })
    }

    /// From an evenly spaced grid: z of voxel [k, 0, 0] for every slice k. `None` if the grid is
    /// empty, not finite, or its slices do not differ in z (a sagittal or coronal grid).
    pub fn of(geometry: &Geometry) -> Option<Self> {
        if geometry.axes[0][2].abs() < 0.5 {
            return None;
        }
        let z = |k: usize| geometry.to_mm(VoxelPos::new(k as f64, 0.0, 0.0)).z;
        Self::new((0..geometry.shape[0]).map(z).collect())
    }

    /// Index of the slice nearest to `z_mm` and its distance in mm; of two equally near ones the
    /// first (as numpy's argmin in pylidc's `image_k_position`).
    pub fn nearest(&self, z_mm: f64) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (k, z) in self.z_mm.iter().enumerate() {
            let off = (z - z_mm).abs();
            if off < best.1 {
                best = (k, off);
            }
        }
        best
    }

    /// Slice on which `z_mm` lies: the nearest, at most half the distance to its neighbour away.
    pub fn slice_at(&self, z_mm: f64) -> Option<usize> {
        let (k, off) = self.nearest(z_mm);
        let gap = |a: usize, b: usize| (self.z_mm[a] - self.z_mm[b]).abs();
        let mut half_mm = f64::INFINITY;
        if k > 0 {
            half_mm = gap(k, k - 1) / 2.0;
        }
        if k + 1 < self.z_mm.len() {
            half_mm = half_mm.min(gap(k, k + 1) / 2.0);
        }
        // A single slice has no neighbour: then half a millimetre.
        let half_mm = if half_mm.is_finite() { half_mm } else { 0.5 };
        (off <= half_mm).then_some(k)
    }

    /// Number of slices.
    pub fn len(&self) -> usize {
        self.z_mm.len()
    }

    /// Never: there is at least one slice.
    pub fn is_empty(&self) -> bool {
        self.z_mm.is_empty()
    }

    /// Lowest and highest position, mm.
    pub fn range_mm(&self) -> (f64, f64) {
        let fold = |(low, high): (f64, f64), &z: &f64| (low.min(z), high.max(z));
        self.z_mm.iter().fold((f64::INFINITY, f64::NEG_INFINITY), fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dasl_volume::PointMm;

    #[test]
    fn a_position_belongs_to_the_nearest_slice_within_half_a_spacing() {
        let g = Geometry::axial([4, 9, 9], [2.5, 1.0, 1.0], PointMm::new(5.0, 5.0, -340.0));
        let slices = SlicePositions::of(&g).unwrap();
        assert_eq!(slices.slice_at(-340.0), Some(0));
        assert_eq!(slices.slice_at(-336.2), Some(2));
        assert_eq!(slices.slice_at(-332.5 + 1.2), Some(3));
        assert_eq!(slices.slice_at(-332.5 + 1.3), None);
        assert_eq!(slices.slice_at(-341.3), None);
        assert_eq!(slices.range_mm(), (-340.0, -332.5));
    }

    #[test]
    fn a_coronal_grid_has_no_slice_positions() {
        let mut g = Geometry::axial([4, 9, 9], [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
        g.axes = [[0., 1., 0.], [0., 0., 1.], [1., 0., 0.]];
        assert_eq!(SlicePositions::of(&g), None);
    }
}
