//! Parts of scans that are to be left out: findings that nobody has outlined.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_volume::{Geometry, PointMm};
use serde::Deserialize;

use super::block::Block;

/// A row of the table: two opposite corners, patient mm, LPS.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct BoxMm {
    x0: f64,
    y0: f64,
    z0: f64,
    x1: f64,
    y1: f64,
    z1: f64,
}

#[derive(Deserialize)]
struct Row {
    scan: String,
    #[serde(flatten)]
    corners: BoxMm,
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
        let c = row.corners;
        if ![c.x0, c.y0, c.z0, c.x1, c.y1, c.z1].iter().all(|v| v.is_finite()) {
            bail!("{}: scan {}: a corner is no number in mm", name(), row.scan);
        }
        boxes.entry(row.scan).or_default().push(c);
    }
    Ok(boxes)
}

impl BoxMm {
    /// The voxels of a grid whose centres lie in it. On a grid whose axes are oblique to the
    /// patient's it is the box around them.
    pub fn voxels(&self, grid: &Geometry) -> Block {
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for corner in 0..8 {
            let pick = |bit: i32, a: f64, b: f64| if corner >> bit & 1 == 1 { b } else { a };
            let at = PointMm::new(
                pick(0, self.x0, self.x1),
                pick(1, self.y0, self.y1),
                pick(2, self.z0, self.z1),
            );
            let at = grid.to_voxel(at);
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
        let corners = BoxMm { x0: 2.2, y0: -99.0, z0: 103.0, x1: -1.0, y1: 99.0, z1: 105.9 };
        assert_eq!(corners.voxels(&grid), Block::new([3, 0, 4], [3, 20, 4]));
    }
}
