//! Convolution 3^3: minimal filtering over z and y ([`crate::transform`]), taps along x as they are.

use std::ops::Range;

use rayon::prelude::*;

use crate::multiply::{HELD, held_blocks, multiply};
use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, Lanes, Registers};
use crate::sink::{Sink, Sums, write_tile};
use crate::tiles::{TILE, Tile, Tiles, even_blocks};
use crate::transform::{self, PLANES};

/// Input channels at a time, so that a tile's inputs and planes stay in the second-level cache.
const INPUTS: usize = 32;

/// Weights in the order in which the kernel reads them.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Per block of inputs, block of outputs, plane, input channel, x tap: the outputs.
    data: Vec<f32>,
    inputs: Vec<Range<usize>>,
    outputs: Vec<Range<usize>>,
}

impl Weights {
    /// `weight(tap, input, output)` gives one weight; taps count `(z * 3 + y) * 3 + x`.
    pub(crate) fn new(
        inputs: usize,
        outputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let mut data = vec![0.0; PLANES * 3 * inputs * outputs];
        let (inputs, outputs) = (even_blocks(inputs, INPUTS), held_blocks(outputs));
        let mut at = 0;
        for input in &inputs {
            for output in &outputs {
                let block = &mut data[at..at + PLANES * 3 * input.len() * output.len()];
                let plane_length = 3 * input.len() * output.len();
                for (i, input) in input.clone().enumerate() {
                    for x in 0..3 {
                        for (o, c_out) in output.clone().enumerate() {
                            let tap =
                                |z: usize, y: usize| weight((z * 3 + y) * 3 + x, input, c_out);
                            let g = [0, 1, 2].map(|z| [0, 1, 2].map(|y| tap(z, y)));
                            for (plane, value) in transform::kernel(&g).into_iter().enumerate() {
                                let place = (i * 3 + x) * output.len() + o;
                                block[plane * plane_length + place] = value;
                            }
                        }
                    }
                }
                at += block.len();
            }
        }
        Self { data, inputs, outputs }
    }
}

/// Convolves `source` into `sink`; `weights` were made for their channels.
pub(crate) fn convolve(isa: Isa, source: &Source<'_>, weights: &Weights, sink: &Sink<'_>) {
    let tiles = Tiles::new(sink.dims(), TILE);
    (0..tiles.count()).into_par_iter().for_each(|index| {
        isa.run(ConvolveTile { source, weights, sink, tile: tiles.get(index) });
    });
}

struct ConvolveTile<'a> {
    source: &'a Source<'a>,
    weights: &'a Weights,
    sink: &'a Sink<'a>,
    tile: Tile,
}

impl Kernel for ConvolveTile<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { source, weights, sink, tile } = self;
        let lanes = R::Wide::LANES;
        let channels = weights.inputs.iter().map(Range::len).max().unwrap_or(0);
        let whole = tile.of_whole_blocks();
        let patch = Patch::new(&whole, 1, channels, lanes);
        let [z, y, x] = whole.size;
        let width = x.next_multiple_of(lanes);
        let sum_plane = z * y * width;
        let step = channels * patch.pitch;
        let mut scratch = Scratch::take(
            patch.len() + PLANES * step + PLANES * HELD * width + sink.channels() * sum_plane,
        );
        let (inputs, rest) = scratch.memory().split_at_mut(patch.len());
        let (planes, rest) = rest.split_at_mut(PLANES * step);
        let (products, sums) = rest.split_at_mut(PLANES * HELD * width);
        let mut at = 0;
        for (block, channels) in weights.inputs.iter().enumerate() {
            // SAFETY: the instruction set exists by this function's contract.
            unsafe { patch.pack::<R::Eight>(source, &whole, channels.clone(), inputs) };
            for index in 0..z / 2 * (y / 2) {
                let (block_z, block_y) = (index / (y / 2) * 2, index % (y / 2) * 2);
                let from = &inputs[block_z * patch.plane() + block_y * patch.row()..];
                // SAFETY: the 4 x 4 rows of the block lie in the patch.
                unsafe { to_planes::<R::Wide>(&patch, channels.len(), from, planes, step) };
                let mut weight = &weights.data[at..];
                for output in &weights.outputs {
                    let place = output.start * sum_plane + (block_z * y + block_y) * width;
                    let args = Block {
                        planes: planes.as_ptr(),
                        step,
                        channels: (channels.len(), patch.pitch),
                        weight: weight.as_ptr(),
                        products: products.as_mut_ptr(),
                        width,
                        sums: sums[place..].as_mut_ptr(),
                        sum_plane,
                        sum_z: y * width,
                        before: block > 0,
                    };
                    // SAFETY: planes and products are those of this tile; the weights of this
                    // block follow each other; the sums have room for its outputs.
                    unsafe {
                        match output.len() {
                            1 => args.convolve::<R::Wide, 1, V>(),
                            2 => args.convolve::<R::Wide, 2, V>(),
                            3 => args.convolve::<R::Wide, 3, V>(),
                            4 => args.convolve::<R::Wide, 4, V>(),
                            5 => args.convolve::<R::Wide, 5, V>(),
                            _ => args.convolve::<R::Wide, HELD, V>(),
                        }
                    }
                    weight = &weight[PLANES * 3 * channels.len() * output.len()..];
                }
            }
            at += PLANES * 3 * channels.len() * sink.channels();
        }
        let sums = Sums { values: sums, rows: y, width, plane: sum_plane };
        // SAFETY: the instruction set exists, and this task alone writes this tile.
        unsafe { write_tile::<R::Eight>(sink, &tile, &sums) };
    }
}

/// Transforms a block's 4 x 4 rows of `channels` channels, from `from` on.
///
/// # Safety
/// The processor has `W`'s instruction set, and the rows lie in the patch.
#[inline(always)]
unsafe fn to_planes<W: Lanes>(
    patch: &Patch,
    channels: usize,
    from: &[f32],
    planes: &mut [f32],
    step: usize,
) {
    let rows = (patch.plane(), patch.row());
    for x in (0..channels * patch.pitch).step_by(W::LANES) {
        let (from, to) = (from[x..].as_ptr(), planes[x..].as_mut_ptr());
        // SAFETY: by this function's contract; channels follow each other in both.
        unsafe {
            transform::input::<W, 0>(from, rows, to, step);
            transform::input::<W, 1>(from, rows, to.add(4 * step), step);
            transform::input::<W, 2>(from, rows, to.add(8 * step), step);
            transform::input::<W, 3>(from, rows, to.add(12 * step), step);
        }
    }
}

/// One 2 x 2 block of rows and some of the output channels.
struct Block {
    planes: *const f32,
    /// From plane to plane.
    step: usize,
    /// Number of input channels, and their distance.
    channels: (usize, usize),
    weight: *const f32,
    /// Room for `[plane, output, x]`.
    products: *mut f32,
    /// Floats of a row of products and of sums.
    width: usize,
    /// The block's first row.
    sums: *mut f32,
    /// From output channel to output channel.
    sum_plane: usize,
    /// From z to z.
    sum_z: usize,
    /// Whether there are sums of earlier input channels.
    before: bool,
}

impl Block {
    /// # Safety
    /// The processor has `W`'s instruction set, and all lies within its buffer.
    #[inline(always)]
    unsafe fn convolve<W: Lanes, const O: usize, const V: usize>(&self) {
        let vectors = self.width / W::LANES;
        // SAFETY: by this function's contract.
        unsafe {
            for plane in 0..PLANES {
                let from = self.planes.add(plane * self.step);
                let weight = self.weight.add(plane * 3 * self.channels.0 * O);
                let to = self.products.add(plane * O * self.width);
                for first in (0..vectors).step_by(V) {
                    let mut inputs = [from; V];
                    let mut places = [0; V];
                    for v in 0..V {
                        // Past the end the last vector is computed again, to the same result.
                        places[v] = (first + v).min(vectors - 1) * W::LANES;
                        inputs[v] = from.add(places[v]);
                    }
                    let mut held = [[W::splat(0.0); V]; O];
                    multiply::<W, O, V, 3>(&mut held, inputs, self.channels, weight);
                    for o in 0..O {
                        for v in 0..V {
                            held[o][v].store(to.add(o * self.width + places[v]));
                        }
                    }
                }
            }
            for o in 0..O {
                for x in (0..self.width).step_by(W::LANES) {
                    transform::output::<W>(
                        self.products.add(o * self.width + x),
                        O * self.width,
                        self.sums.add(o * self.sum_plane + x),
                        (self.sum_z, self.width),
                        self.before,
                    );
                }
            }
        }
    }
}
