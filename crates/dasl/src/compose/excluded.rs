//! Parts of scans that are to be left out: findings that nobody has outlined.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_volume::{Geometry, PointMm};
use serde::Deserialize;

use super::block::Block;

/// A box by two opposite corners, patient mm, LPS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxMm {
    corners: [PointMm; 2],
}

/// A row of the table.
#[derive(Deserialize)]
struct Row {
    scan: String,
    x0: f64,
    y0: f64,
    z0: f64,
    x1: f64,
    y1: f64,
    z1: f64,
}

/// Reads a table with the header scan,x0,y0,z0,x1,y1,z1: boxes by scan.
///
/// # Errors
/// If it can't be read, or a number is none.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<BoxMm>>> {
    let name = || path.display().to_string();
    let mut boxes = BTreeMap::<String, Vec<BoxMm>>::new();
    let mut table = csv::Reader::from_path(path).with_context(name)?;
    for row in table.deserialize() {
        let row: Row =
            row.with_context(|| format!("{}: a line must be scan,x0,y0,z0,x1,y1,z1", name()))?;
        if ![row.x0, row.y0, row.z0, row.x1, row.y1, row.z1].iter().all(|v| v.is_finite()) {
            bail!("{}: scan {}: a corner is no number in mm", name(), row.scan);
        }
        let corners = [PointMm::new(row.x0, row.y0, row.z0), PointMm::new(row.x1, row.y1, row.z1)];
        boxes.entry(row.scan).or_default().push(BoxMm { corners });
    }
    Ok(boxes)
}

impl BoxMm {
    /// The voxels of a grid whose centres lie in it. On a grid whose axes are oblique to the
    /// patient's it is the box around them.
    pub fn voxels(&self, grid: &Geometry) -> Block {
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for corner in 0..8 {
            let end = |axis: usize| self.corners[corner >> axis & 1];
            let at = grid.to_voxel(PointMm::new(end(0).x, end(1).y, end(2).z));
            for (axis, value) in [at.z, at.y, at.x].into_iter().enumerate() {
                low[axis] = value.min(low[axis]);
                high[axis] = value.max(high[axis]);
            }
        }
        let start = low.map(|v| v.ceil() as i64);
        let end = high.map(|v| v.floor() as i64 + 1);
        Block { start, end }.within(grid.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_holds_the_voxels_whose_centres_it_holds() {
        let grid = Geometry::axial([10, 20, 30], [1.0; 3], PointMm::new(-5.0, 0.0, 100.0));
        // Corners in any order; beyond the grid it is cut.
        let corners = [PointMm::new(2.2, -99.0, 103.0), PointMm::new(-1.0, 99.0, 105.9)];
        assert_eq!(BoxMm { corners }.voxels(&grid), Block::new([3, 0, 4], [3, 20, 4]));
    }
}
