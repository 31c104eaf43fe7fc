//! What a volume is searched by: the grids, and on each the tiles.

use ndarray::{ArrayView3, CowArray, Ix3, Slice};

use crate::anchor::Cube;
use crate::config::InferConfig;

/// Edge from which on a box counts on a coarser grid, voxels: what is smaller is left to the finer.
const LEAST_ON_COARSER: f64 = 8.0;

/// A box of the volume, and the part of it whose proposals count.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// First voxel [z, y, x]; it may lie outside.
    pub start: [i64; 3],
    /// Edges.
    pub shape: [usize; 3],
    core_start: [i64; 3],
    core_end: [i64; 3],
}

impl Tile {
    /// Whether a proposal at a voxel counts.
    pub fn owns(&self, at: [i64; 3]) -> bool {
        (0..3).all(|a| self.core_start[a] <= at[a] && at[a] < self.core_end[a])
    }

    /// Whether any voxel of its core is set.
    fn owns_any(&self, mask: &CowArray<'_, u8, Ix3>) -> bool {
        let core = mask.slice_each_axis(|axis| {
            let [start, end] = [self.core_start, self.core_end].map(|at| at[axis.axis.index()]);
            Slice::from(start as usize..axis.len.min(end as usize))
        });
        core.iter().any(|&set| set != 0)
    }
}

/// Tiles whose cores cover a region (start, end) without overlap.
fn tiles((start, end): ([usize; 3], [usize; 3]), config: &InferConfig) -> Vec<Tile> {
    let axis_tiles = |axis: usize| {
        let length = end[axis] - start[axis];
        let border = config.border;
        let whole = (length + 2 * border).div_ceil(16) * 16;
        let edge = whole.min(config.tile);
        let step = edge - 2 * border;
        (0..length.div_ceil(step)).map(move |i| {
            let core = (start[axis] + i * step) as i64;
            (core - border as i64, edge, core, core + step as i64)
        })
    };
    let mut out = Vec::new();
    for z in axis_tiles(0) {
        for y in axis_tiles(1) {
            for x in axis_tiles(2) {
                out.push(Tile {
                    start: [z.0, y.0, x.0],
                    shape: [z.1, y.1, x.1],
                    core_start: [z.2, y.2, x.2],
                    core_end: [z.3, y.3, x.3],
                });
            }
        }
    }
    out
}

/// A volume on one of the grids that it is searched on.
pub struct Level<'a> {
    /// Edge of the cubes of the finest grid's voxels that are one of its own.
    pub coarser: usize,
    /// HU [z, y, x].
    pub ct: CowArray<'a, i16, Ix3>,
    lung: Option<CowArray<'a, u8, Ix3>>,
    /// What it is searched by.
    pub tiles: Vec<Tile>,
}

impl<'a> Level<'a> {
    /// A volume with the lung in it, if that is known.
    pub fn new(
        coarser: usize,
        ct: CowArray<'a, i16, Ix3>,
        lung: Option<CowArray<'a, u8, Ix3>>,
        config: &InferConfig,
    ) -> Self {
        let all = [ct.shape()[0], ct.shape()[1], ct.shape()[2]];
        let region = lung.as_ref().and_then(|lung| bounding_box(lung.view()));
        let mut tiles = tiles(region.unwrap_or(([0; 3], all)), config);
        // Elsewhere nothing is admitted.
        tiles.retain(|tile| lung.as_ref().is_none_or(|lung| tile.owns_any(lung)));
        Self { coarser, ct, lung, tiles }
    }

    /// Whether a box at a voxel is in the volume, in the lung if that is known, and of a size that
    /// the level is there for.
    pub fn admits(&self, at: [i64; 3], cube: &Cube) -> bool {
        let shape = self.ct.shape();
        (0..3).all(|a| at[a] >= 0 && (at[a] as usize) < shape[a])
            && self.lung.as_ref().is_none_or(|lung| lung[at.map(|v| v as usize)] != 0)
            && (self.coarser == 1 || cube.edge >= LEAST_ON_COARSER)
    }

    /// A box in voxels of the finest grid.
    pub fn in_finest(&self, cube: &Cube) -> Cube {
        let times = self.coarser as f64;
        // The middle of a cube of voxels lies between its first and its last.
        Cube {
            center: cube.center.map(|c| c * times + (times - 1.0) / 2.0),
            edge: cube.edge * times,
        }
    }
}

/// First voxel and one past the last of what is set.
fn bounding_box(mask: ArrayView3<'_, u8>) -> Option<([usize; 3], [usize; 3])> {
    let mut bounds: Option<([usize; 3], [usize; 3])> = None;
    for ((z, y, x), &v) in mask.indexed_iter() {
        if v == 0 {
            continue;
        }
        let (low, high) = bounds.get_or_insert(([z, y, x], [z + 1, y + 1, x + 1]));
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at + 1);
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, Preset};

    #[test]
    fn a_coarser_grid_is_there_for_large_boxes_in_the_lung() {
        let config = Config::preset(Preset::Small).infer;
        let mut lung = Array3::zeros((10, 10, 10));
        lung[[4, 4, 4]] = 1;
        let ct = Array3::from_elem((10, 10, 10), -800);
        let level = |coarser| {
            Level::new(coarser, CowArray::from(&ct), Some(CowArray::from(&lung)), &config)
        };
        let cube = |edge| Cube { center: [4.0; 3], edge };
        assert!(level(1).admits([4; 3], &cube(3.0)) && level(2).admits([4; 3], &cube(8.0)));
        assert!(!level(2).admits([4; 3], &cube(7.9)));
        assert!(
            !level(1).admits([4, 4, 5], &cube(8.0)) && !level(1).admits([4, 4, 10], &cube(8.0))
        );
        // Cubes 4 of two voxels are voxels 8 and 9.
        assert_eq!(level(2).in_finest(&cube(8.0)), Cube { center: [8.5; 3], edge: 16.0 });
        assert_eq!(level(1).in_finest(&cube(8.0)), cube(8.0));
    }

    #[test]
    fn tiles_without_lung_are_left_out() {
        let config = InferConfig { tile: 32, border: 8, ..Config::preset(Preset::Small).infer };
        let mut lung = Array3::zeros((64, 16, 16));
        let ct = Array3::from_elem((64, 16, 16), -800);
        let cores = |lung: &Array3<u8>| {
            let level = Level::new(1, CowArray::from(&ct), Some(CowArray::from(lung)), &config);
            level.tiles.iter().map(|tile| tile.core_start[0]).collect::<Vec<_>>()
        };
        assert!(cores(&lung).is_empty());
        lung[[3, 4, 4]] = 1;
        lung[[60, 4, 4]] = 1;
        // From 3 on in steps of 16; none in 19..51 is lung.
        assert_eq!(cores(&lung), [3, 51]);
        lung[[50, 4, 4]] = 1;
        assert_eq!(cores(&lung), [3, 35, 51]);
    }

    proptest! {
        #[test]
        fn every_voxel_of_the_region_is_in_one_core(
            start in prop::array::uniform3(0usize..20),
            length in prop::array::uniform3(1usize..150),
            at in prop::array::uniform3(0.0..1.0),
        ) {
            let config = InferConfig { tile: 64, border: 16, ..Config::preset(Preset::Small).infer };
            let end = [0, 1, 2].map(|a| start[a] + length[a]);
            let at = [0, 1, 2].map(|a| (start[a] + (at[a] * length[a] as f64) as usize) as i64);
            let tiles = tiles((start, end), &config);
            prop_assert_eq!(tiles.iter().filter(|t| t.owns(at)).count(), 1);
            for t in &tiles {
                prop_assert!(t.shape.iter().all(|n| n % 16 == 0 && *n <= 64));
            }
        }
    }
}
