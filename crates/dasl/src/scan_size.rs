//! Whether a scan can be a patient's, by its size.

use anyhow::{Result, bail};
use dasl_volume::Geometry;

/// Voxels on the grid of a network or a dataset from which on it can't be held in 2 GB beside the
/// scan; at 1 mm a space of 50 x 50 x 160 cm.
const MOST_VOXELS: f64 = 4e8;

/// Refuses a grid that is larger than any patient: a wrong voxel size in a header.
///
/// # Errors
/// If it is.
pub fn check(grid: &Geometry) -> Result<()> {
    let voxels: f64 = grid.shape.iter().map(|n| *n as f64).product();
    if voxels > MOST_VOXELS {
        let [z, y, x] = [0, 1, 2].map(|a| grid.shape[a] as f64 * grid.spacing_mm[a]);
        bail!(
            "{x:.0} x {y:.0} x {z:.0} mm (left, back, head) are more than a patient; check the \
             voxel size in its header"
        );
    }
    Ok(())
}
