//! The output of the convolutions, and the way back to channels-last.

use std::marker::PhantomData;

use crate::grid::Grid;
use crate::simd::Eight;
use crate::tiles::Tile;
use crate::view::{ViewMut, Write};

/// An array to write. Tasks write different voxels of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink<'a> {
    grid: Grid,
    data: *mut f32,
    write: Write,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: used by the convolutions only, where each task writes the voxels of its own tile.
unsafe impl Sync for Sink<'_> {}

impl<'a> Sink<'a> {
    pub(crate) fn new(view: ViewMut<'a>, write: Write, dims: [usize; 4], fold: usize) -> Self {
        let voxels = view.voxels();
        let ViewMut { data, stride, offset, channels } = view;
        let grid = Grid { dims, fold, stride, offset, channels };
        assert_eq!(voxels, grid.voxels(), "the output's length must fit dims {dims:?}");
        Self { grid, data: data.as_mut_ptr(), write, borrowed: PhantomData }
    }

    /// `channels` channels from `offset` on of the array at `data`, to be set.
    ///
    /// # Safety
    /// The array has the voxels of `dims` and `stride` channels, outlives the sink, and nobody else
    /// uses these channels.
    pub(crate) unsafe fn within(
        data: *mut f32,
        stride: usize,
        offset: usize,
        channels: usize,
        dims: [usize; 4],
    ) -> Self {
        let grid = Grid { dims, fold: 1, stride, offset, channels };
        Self { grid, data, write: Write::Set, borrowed: PhantomData }
    }

    /// `[n, z, y, x]`, folded voxels being one.
    pub(crate) fn dims(&self) -> [usize; 4] {
        self.grid.dims
    }

    /// Channels, those of folded voxels included.
    pub(crate) fn channels(&self) -> usize {
        self.grid.channels * self.grid.groups()
    }

    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// The processor has `E`'s instruction set, and no one else uses these floats of the array.
    #[inline(always)]
    unsafe fn put<E: Eight>(&self, to: *mut f32, mut value: E, count: usize) {
        // SAFETY: by this function's contract.
        unsafe {
            if self.write == Write::Add {
                value = value.add(E::load_first(to, count));
            }
            value.store_first(to, count);
        }
    }
}

/// Sums of a tile, `[channel, z, y, x]` with rows rounded up.
pub(crate) struct Sums<'a> {
    pub(crate) values: &'a [f32],
    /// Rows along y of each z.
    pub(crate) rows: usize,
    /// Floats of a row.
    pub(crate) width: usize,
    /// Floats of a channel.
    pub(crate) plane: usize,
}

/// Transposes sums to channels-last.
///
/// # Safety
/// The processor has `E`'s instruction set, and no one else uses the tile of the sink.
#[inline(always)]
pub(crate) unsafe fn write_tile<E: Eight>(sink: &Sink<'_>, tile: &Tile, sums: &Sums<'_>) {
    let &Sums { values, rows, width, plane } = sums;
    let (grid, [n, z0, y0, x0]) = (&sink.grid, tile.start);
    let [z, y, x] = tile.size;
    for group in 0..grid.groups() {
        for row in 0..z * y {
            let at = grid.at([n, z0 + row / y, y0 + row % y, x0], group);
            for c in (0..grid.channels).step_by(8) {
                let count = 8.min(grid.channels - c);
                let first = (group * grid.channels + c) * plane;
                let from = &values[first + (row / y * rows + row % y) * width..];
                assert!(from.len() >= (count - 1) * plane + width);
                // SAFETY: reads `width` floats of `count` planes; writes `count` channels of the
                // voxels of the tile, which the grid places within the sink.
                unsafe {
                    for i in (0..x).step_by(8) {
                        let mut lines = [E::splat(0.0); 8];
                        for (k, line) in lines.iter_mut().enumerate() {
                            // Past the end the last channel again, which is not written.
                            *line = E::load(from.as_ptr().add(k.min(count - 1) * plane + i));
                        }
                        let voxels = E::transpose(lines);
                        let to = sink.data.add(at + i * grid.step() + c);
                        if x - i >= 8 {
                            // Apart, for the voxels to stay in registers.
                            for (k, voxel) in voxels.into_iter().enumerate() {
                                sink.put(to.add(k * grid.step()), voxel, count);
                            }
                        } else {
                            for (k, voxel) in voxels.into_iter().enumerate().take(x - i) {
                                sink.put(to.add(k * grid.step()), voxel, count);
                            }
                        }
                    }
                }
            }
        }
    }
}
