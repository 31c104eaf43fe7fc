//! Cutting a volume into the blocks of output voxels that tasks work on.

use std::ops::Range;

/// Voxels of a tile along z, y and x. Large enough that a halo (36 rows read for 16) costs little, and
/// small enough for the second-level cache.
pub(crate) const TILE: [usize; 3] = [4, 4, 64];

/// The same without a halo, for all channels to be in the cache at once.
pub(crate) const SMALL_TILE: [usize; 3] = [1, 4, 64];

/// The blocks of an array `[n, z, y, x]`, a number that depends on its shape alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    dims: [usize; 4],
    largest: [usize; 3],
    counts: [usize; 4],
}

/// One block: `start` is `[n, z, y, x]`, `size` is `[z, y, x]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) start: [usize; 4],
    pub(crate) size: [usize; 3],
}

impl Tile {
    /// With whole 2 x 2 blocks of rows (z, y).
    pub(crate) fn of_whole_blocks(&self) -> Self {
        let [z, y, x] = self.size;
        Self { start: self.start, size: [z.next_multiple_of(2), y.next_multiple_of(2), x] }
    }
}

impl Tiles {
    /// Tiles of at most `largest`, or of twice as many rows where rows are short.
    pub(crate) fn new(dims: [usize; 4], mut largest: [usize; 3]) -> Self {
        if 2 * dims[3] <= largest[2] {
            largest[1] *= 2;
        }
        let counts = [
            dims[0],
            dims[1].div_ceil(largest[0]),
            dims[2].div_ceil(largest[1]),
            dims[3].div_ceil(largest[2]),
        ];
        Self { dims, largest, counts }
    }

    pub(crate) fn count(&self) -> usize {
        self.counts.iter().product()
    }

    pub(crate) fn get(&self, index: usize) -> Tile {
        let [_, cz, cy, cx] = self.counts;
        let (rest, x) = (index / cx, index % cx);
        let (rest, y) = (rest / cy, rest % cy);
        let (n, z) = (rest / cz, rest % cz);
        let start = [n, z * self.largest[0], y * self.largest[1], x * self.largest[2]];
        let size = [0, 1, 2].map(|i| self.largest[i].min(self.dims[i + 1] - start[i + 1]));
        Tile { start, size }
    }
}

/// `0 .. total` in the fewest blocks of at most `largest`, as even as they can be.
pub(crate) fn even_blocks(total: usize, largest: usize) -> Vec<Range<usize>> {
    let count = total.div_ceil(largest);
    (0..count).map(|i| i * total / count..(i + 1) * total / count).collect()
}

/// Length of the longest block.
pub(crate) fn longest(blocks: &[Range<usize>]) -> usize {
    blocks.iter().map(Range::len).max().unwrap_or(0)
}
