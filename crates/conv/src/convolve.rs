//! Forward convolution of a tile: 6 output channels times a few x vectors held in registers.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use crate::grid::Grid;
use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Eight, Isa, Kernel, Lanes, Registers};
use crate::tiles::{SMALL_TILE, TILE, Tile, Tiles, even_blocks};
use crate::view::{ViewMut, Write};

/// Output channels in registers.
const HELD: usize = 6;

/// Input channels at a time, so that the inputs and weights in use stay in the first-level cache.
const fn input_block(kernel: usize) -> usize {
    if kernel == 1 { 96 } else { 32 }
}

/// An array to write. Tasks write different voxels of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink<'a> {
    grid: Grid,
    data: *mut f32,
    write: Write,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: used by `convolve` only, where each task writes the voxels of its own tile.
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

/// Weights in the order in which the kernel reads them.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Per block of inputs, block of outputs, z tap, y tap, input channel, x tap: the outputs.
    data: Vec<f32>,
    inputs: Vec<Range<usize>>,
    outputs: Vec<Range<usize>>,
    kernel: usize,
}

impl Weights {
    /// `weight(tap, input, output)` gives one weight; taps count `(z * kernel + y) * kernel + x`.
    pub(crate) fn new(
        source: &Source<'_>,
        outputs: usize,
        kernel: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let inputs = even_blocks(source.channels(), input_block(kernel));
        let mut data = Vec::with_capacity(kernel.pow(3) * source.channels() * outputs);
        let outputs = even_blocks(outputs, HELD);
        for input in &inputs {
            for output in &outputs {
                for zy in 0..kernel * kernel {
                    for i in input.clone() {
                        for x in 0..kernel {
                            data.extend(output.clone().map(|o| weight(zy * kernel + x, i, o)));
                        }
                    }
                }
            }
        }
        Self { data, inputs, outputs, kernel }
    }
}

/// Convolves `source` into `sink`; `weights` were made for this source and this sink.
pub(crate) fn convolve(isa: Isa, source: &Source<'_>, weights: &Weights, sink: &Sink<'_>) {
    let tiles = Tiles::new(sink.grid.dims, if weights.kernel == 1 { SMALL_TILE } else { TILE });
    (0..tiles.count()).into_par_iter().for_each(|index| {
        let tile = tiles.get(index);
        match weights.kernel {
            1 => isa.run(ConvolveTile::<1> { source, weights, sink, tile }),
            3 => isa.run(ConvolveTile::<3> { source, weights, sink, tile }),
            kernel => panic!("kernel {kernel} is neither 1 nor 3"),
        }
    });
}

struct ConvolveTile<'a, const K: usize> {
    source: &'a Source<'a>,
    weights: &'a Weights,
    sink: &'a Sink<'a>,
    tile: Tile,
}

impl<const K: usize> Kernel for ConvolveTile<'_, K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { source, weights, sink, tile } = self;
        let lanes = R::Wide::LANES;
        let channels = weights.inputs.iter().map(Range::len).max().unwrap_or(0);
        let patch = Patch::new(&tile, K / 2, channels, lanes);
        let [z, y, x] = tile.size;
        let vectors_x = x.div_ceil(lanes);
        let vectors = z * y * vectors_x;
        // Sums are [output channel, z, y, x], x rounded up to vectors.
        let plane = vectors * lanes;
        let mut scratch = Scratch::take(patch.len() + sink.channels() * plane);
        let (inputs, sums) = scratch.memory().split_at_mut(patch.len());
        let mut at = 0;
        for (block, channels) in weights.inputs.iter().enumerate() {
            // SAFETY: the instruction set exists by this function's contract.
            unsafe { patch.pack::<R::Eight>(source, &tile, channels.clone(), inputs) };
            let taps = Taps { patch: &patch, channels: channels.len(), first: block == 0 };
            for first in (0..vectors).step_by(V) {
                let mut from = [inputs.as_ptr(); V];
                let mut to = [0; V];
                for v in 0..V {
                    // Past the end the last vector is computed again, to the same result.
                    let vector = (first + v).min(vectors - 1);
                    let (row, i) = (vector / vectors_x, vector % vectors_x);
                    let start = row / y * patch.plane() + row % y * patch.row() + i * lanes;
                    from[v] = inputs[start..].as_ptr();
                    to[v] = vector * lanes;
                }
                let mut weight = &weights.data[at..];
                for output in &weights.outputs {
                    let sums = &mut sums[output.start * plane..output.end * plane];
                    // SAFETY: the vectors lie in the patch, with all taps, and in the sums;
                    // the weights of this block follow each other.
                    unsafe {
                        let args = (from, weight.as_ptr(), sums.as_mut_ptr(), to, plane);
                        match output.len() {
                            1 => taps.multiply::<R::Wide, 1, V, K>(args),
                            2 => taps.multiply::<R::Wide, 2, V, K>(args),
                            3 => taps.multiply::<R::Wide, 3, V, K>(args),
                            4 => taps.multiply::<R::Wide, 4, V, K>(args),
                            5 => taps.multiply::<R::Wide, 5, V, K>(args),
                            _ => taps.multiply::<R::Wide, HELD, V, K>(args),
                        }
                    }
                    weight = &weight[K * K * K * channels.len() * output.len()..];
                }
            }
            at += K * K * K * channels.len() * sink.channels();
        }
        // SAFETY: the instruction set exists, and this task alone writes this tile.
        unsafe { write_tile::<R::Eight>(sink, &tile, sums, plane, vectors_x * lanes) };
    }
}

/// Inputs, weights, sums, the vectors' places in the sums, and the distance between output channels.
type Operands<const V: usize> = ([*const f32; V], *const f32, *mut f32, [usize; V], usize);

struct Taps<'a> {
    patch: &'a Patch,
    channels: usize,
    /// Nothing has been summed before.
    first: bool,
}

impl Taps<'_> {
    /// Adds to V vectors of x of O output channels the K^3 taps of all channels of the patch.
    ///
    /// # Safety
    /// The processor has `W`'s instruction set, and all operands lie within their buffers.
    #[inline(always)]
    unsafe fn multiply<W: Lanes, const O: usize, const V: usize, const K: usize>(
        &self,
        (from, mut weight, sums, to, plane): Operands<V>,
    ) {
        // SAFETY: by this function's contract.
        unsafe {
            let mut held = [[W::splat(0.0); V]; O];
            if !self.first {
                for o in 0..O {
                    for v in 0..V {
                        held[o][v] = W::load(sums.add(o * plane + to[v]));
                    }
                }
            }
            for z in 0..K {
                for y in 0..K {
                    let mut at = z * self.patch.plane() + y * self.patch.row();
                    for _ in 0..self.channels {
                        for x in 0..K {
                            let mut input = [W::splat(0.0); V];
                            for v in 0..V {
                                input[v] = W::load(from[v].add(at + x));
                            }
                            for o in 0..O {
                                let factor = W::splat(*weight.add(x * O + o));
                                for v in 0..V {
                                    held[o][v] = held[o][v].add_product(input[v], factor);
                                }
                            }
                        }
                        at += self.patch.pitch;
                        weight = weight.add(K * O);
                    }
                }
            }
            for o in 0..O {
                for v in 0..V {
                    held[o][v].store(sums.add(o * plane + to[v]));
                }
            }
        }
    }
}

/// Transposes the sums `[channel, z, y, x]` to channels-last.
///
/// # Safety
/// The processor has `E`'s instruction set, and no one else uses the tile of the sink.
#[inline(always)]
unsafe fn write_tile<E: Eight>(
    sink: &Sink<'_>,
    tile: &Tile,
    sums: &[f32],
    plane: usize,
    width: usize,
) {
    let (grid, [n, z0, y0, x0]) = (&sink.grid, tile.start);
    let [z, y, x] = tile.size;
    for group in 0..grid.groups() {
        for row in 0..z * y {
            let at = grid.at([n, z0 + row / y, y0 + row % y, x0], group);
            for c in (0..grid.channels).step_by(8) {
                let count = 8.min(grid.channels - c);
                let from = &sums[(group * grid.channels + c) * plane + row * width..];
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
