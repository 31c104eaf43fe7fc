//! From one grid to another.
//!
//! Intensities and probabilities are interpolated linearly (`linear`). Labels are carried so
//! that the way back by [`resample_probability`] and a threshold of 0.5 gives them again as well
//! as the grids allow (`labels`).

mod labels;
mod linear;

pub use labels::{resample_labels, resample_labels_linear};

use crate::geometry::Geometry;
use crate::volume::{CtVolume, PADDING_HU, Volume};

/// A CT on another grid, by linear interpolation; [`PADDING_HU`] outside the scan. As in
/// `SimpleITK`, the half voxel around the outermost centres still belongs to the scan and has their
/// value. `to` may be turned against the scan's grid in any way.
pub fn resample_ct(ct: &CtVolume, to: &Geometry) -> CtVolume {
    let voxels =
        linear::resample(&ct.voxels, &ct.geometry, to, f32::from, PADDING_HU, |v| v.round() as i16);
    Volume::new(voxels, *to)
}

/// A probability map on another grid, by linear interpolation; 0 outside.
pub fn resample_probability(map: &Volume<f32>, to: &Geometry) -> Volume<f32> {
    let voxels = linear::resample(&map.voxels, &map.geometry, to, |v| v, 0.0, |v| v);
    Volume::new(voxels, *to)
}
