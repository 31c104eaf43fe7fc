//! The input of one tile, transposed into a zero-padded scratch `[z, y, channel, x]`.

use std::marker::PhantomData;
use std::ops::Range;

use crate::grid::Grid;
use crate::scratch::LINE;
use crate::simd::Eight;
use crate::tiles::Tile;
use crate::view::{ScaleShift, View};

/// An array to read, with what is applied while it is read. A pointer, since other channels of the
/// same array may be written meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    grid: Grid,
    data: *const f32,
    norm: Option<ScaleShift<'a>>,
    borrowed: PhantomData<&'a [f32]>,
}

// SAFETY: the channels that are read are not written while it exists, by the contract of `within`.
unsafe impl Sync for Source<'_> {}

impl<'a> Source<'a> {
    pub(crate) fn new(
        view: View<'a>,
        norm: Option<ScaleShift<'a>>,
        dims: [usize; 4],
        fold: usize,
    ) -> Self {
        let View { data, stride, offset, channels } = view;
        let grid = Grid { dims, fold, stride, offset, channels };
        assert_eq!(view.voxels(), grid.voxels(), "the input's length must fit dims {dims:?}");
        if let Some(norm) = norm {
            norm.check(channels);
        }
        Self { grid, data: data.as_ptr(), norm, borrowed: PhantomData }
    }

    /// The first `channels` channels of the array at `data`.
    ///
    /// # Safety
    /// The array has the voxels of `dims` and `stride` channels, outlives the source, and nobody
    /// writes the channels that are read.
    pub(crate) unsafe fn within(
        data: *const f32,
        stride: usize,
        channels: usize,
        norm: ScaleShift<'a>,
        dims: [usize; 4],
    ) -> Self {
        norm.check(channels);
        let grid = Grid { dims, fold: 1, stride, offset: 0, channels };
        Self { grid, data, norm: Some(norm), borrowed: PhantomData }
    }

    /// Channels, those of folded voxels included.
    pub(crate) fn channels(&self) -> usize {
        self.grid.channels * self.grid.groups()
    }
}

/// The scratch's layout: rows of `pitch` floats, of which x starts at `halo`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    pub(crate) halo: usize,
    pub(crate) pitch: usize,
    /// Channels that a row has room for.
    pub(crate) channels: usize,
    /// `[z, y]`, halo included.
    rows: [usize; 2],
}

impl Patch {
    /// For vectors of `lanes` that start anywhere in a tile's row, and all taps.
    pub(crate) fn new(tile: &Tile, halo: usize, channels: usize, lanes: usize) -> Self {
        let [z, y, x] = tile.size;
        // An odd number of vectors: rows a power of two apart would compete for the same cache lines.
        let pitch = (x.next_multiple_of(lanes) + 2 * halo).div_ceil(lanes) | 1;
        let pitch = pitch * lanes;
        Self { halo, pitch, channels, rows: [z + 2 * halo, y + 2 * halo] }
    }

    /// Floats to reserve, in whole cache lines.
    pub(crate) fn len(&self) -> usize {
        (self.rows[0] * self.plane()).next_multiple_of(LINE)
    }

    /// From one z to the next.
    pub(crate) fn plane(&self) -> usize {
        self.rows[1] * self.row()
    }

    /// From one y to the next.
    pub(crate) fn row(&self) -> usize {
        self.channels * self.pitch
    }

    /// Fills `to` with `channels` of the tile; what lies outside the volume is zero.
    ///
    /// # Safety
    /// The processor has `E`'s instruction set.
    #[inline(always)]
    pub(crate) unsafe fn pack<E: Eight>(
        &self,
        source: &Source<'_>,
        tile: &Tile,
        channels: Range<usize>,
        to: &mut [f32],
    ) {
        let (grid, halo) = (&source.grid, self.halo);
        debug_assert!(channels.len() <= self.channels);
        let [n, z0, y0, x0] = tile.start;
        let [_, dz, dy, dx] = grid.dims;
        // The part of a row that exists, as positions in the scratch and in the volume.
        let from_x = x0.saturating_sub(halo);
        let to_x = (x0 + tile.size[2] + halo).min(dx);
        let (left, width) = (from_x + halo - x0, to_x - from_x);
        for (i, row) in to[..self.rows[0] * self.plane()].chunks_exact_mut(self.row()).enumerate() {
            let (z, y) = (z0 + i / self.rows[1], y0 + i % self.rows[1]);
            if z < halo || y < halo || z - halo >= dz || y - halo >= dy {
                row.fill(0.0);
                continue;
            }
            for channel in row.chunks_exact_mut(self.pitch) {
                channel[..left].fill(0.0);
                channel[left + width..].fill(0.0);
            }
            let mut done = 0;
            while done < channels.len() {
                let (group, first) = (
                    (channels.start + done) / grid.channels,
                    (channels.start + done) % grid.channels,
                );
                let count = (grid.channels - first).min(channels.len() - done);
                let at = grid.at([n, z - halo, y - halo, from_x], group) + first;
                let line = Line {
                    // SAFETY: the grid places this voxel and this channel within the array.
                    from: unsafe { source.data.add(at) },
                    step: grid.step(),
                    channels: count,
                    width,
                    norm: source.norm.map(|norm| ScaleShift {
                        scale: &norm.scale[first..first + count],
                        shift: &norm.shift[first..first + count],
                    }),
                };
                // SAFETY: by this function's own contract; the row's `width` voxels exist.
                unsafe { line.transpose::<E>(&mut row[done * self.pitch + left..], self.pitch) };
                done += count;
            }
        }
    }
}

/// Channels of one voxel of the source, for all x of a row.
struct Line<'a> {
    /// The first voxel's first channel.
    from: *const f32,
    step: usize,
    channels: usize,
    width: usize,
    norm: Option<ScaleShift<'a>>,
}

impl Line<'_> {
    /// Writes each channel's `width` floats, `pitch` from channel to channel.
    ///
    /// # Safety
    /// The processor has `E`'s instruction set; `width` voxels can be read, `step` floats apart.
    #[inline(always)]
    unsafe fn transpose<E: Eight>(&self, to: &mut [f32], pitch: usize) {
        let &Self { from, step, channels, width, norm } = self;
        assert!(to.len() >= (channels - 1) * pitch + width);
        if width < 8 || channels == 1 {
            for c in 0..channels {
                let (scale, shift) = norm.map_or((1.0, 0.0), |norm| (norm.scale[c], norm.shift[c]));
                for x in 0..width {
                    // SAFETY: a channel of a voxel of the line.
                    let value = unsafe { *from.add(x * step + c) };
                    let value = if norm.is_some() { value * scale + shift } else { value };
                    to[c * pitch + x] = if norm.is_some() && value < 0.0 { 0.0 } else { value };
                }
            }
            return;
        }
        let to = to.as_mut_ptr();
        for x in (0..width).step_by(8) {
            // The last eight overlap the ones before, which writes the same again.
            let x = x.min(width - 8);
            for c in (0..channels).step_by(8) {
                let count = 8.min(channels - c);
                // SAFETY: 8 voxels from x and `count` channels from c are within the line, and `to`
                // has room for them, asserted above.
                unsafe {
                    let from = from.add(x * step + c);
                    let mut lines = [E::splat(0.0); 8];
                    for (i, line) in lines.iter_mut().enumerate() {
                        let from = from.add(i * step);
                        *line = if count == 8 { E::load(from) } else { E::load_first(from, count) };
                    }
                    if let Some(norm) = norm {
                        let scale = E::load_first(norm.scale[c..].as_ptr(), count);
                        let shift = E::load_first(norm.shift[c..].as_ptr(), count);
                        for line in &mut lines {
                            // In this order NaN stays: a broken network is to be seen as one.
                            *line = E::splat(0.0).max(shift.add_product(*line, scale));
                        }
                    }
                    let columns = E::transpose(lines);
                    let to = to.add(c * pitch + x);
                    if count == 8 {
                        // Apart, for the columns to stay in registers.
                        for (i, column) in columns.into_iter().enumerate() {
                            column.store(to.add(i * pitch));
                        }
                    } else {
                        for (i, column) in columns.into_iter().enumerate().take(count) {
                            column.store(to.add(i * pitch));
                        }
                    }
                }
            }
        }
    }
}
