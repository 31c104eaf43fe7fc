//! Cutting a volume into the blocks of output voxels that tasks work on.

use std::ops::Range;

/// Rows of a tile along z and y; voxels along x. Large enough that the halo (36 rows read for 16)
/// costs little, small enough for the second-level cache.
const TILE: [usize; 3] = [4, 4, 64];

/// The blocks of an array `[n, z, y, x]`, a number that depends on its shape alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    dims: [usize; 4],
    counts: [usize; 4],
}

/// One block: `start` is `[n, z, y, x]`, `size` is `[z, y, x]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) start: [usize; 4],
    pub(crate) size: [usize; 3],
}

impl Tiles {
    pub(crate) fn new(dims: [usize; 4]) -> Self {
        let [n, z, y, x] = dims;
        let counts = [n, z.div_ceil(TILE[0]), y.div_ceil(TILE[1]), x.div_ceil(TILE[2])];
        Self { dims, counts }
    }

    pub(crate) fn count(&self) -> usize {
        self.counts.iter().product()
    }

    pub(crate) fn get(&self, index: usize) -> Tile {
        let [_, cz, cy, cx] = self.counts;
        let (rest, x) = (index / cx, index % cx);
        let (rest, y) = (rest / cy, rest % cy);
        let (n, z) = (rest / cz, rest % cz);
        let [z, y, x] = [z * TILE[0], y * TILE[1], x * TILE[2]];
        let size = [
            TILE[0].min(self.dims[1] - z),
            TILE[1].min(self.dims[2] - y),
            TILE[2].min(self.dims[3] - x),
        ];
        Tile { start: [n, z, y, x], size }
    }
}

/// `0 .. total` in the fewest blocks of at most `largest`, as even as they can be.
pub(crate) fn even_blocks(total: usize, largest: usize) -> Vec<Range<usize>> {
    let count = total.div_ceil(largest);
    (0..count).map(|i| i * total / count..(i + 1) * total / count).collect()
}
