//! Convolution 1^3, which a deconvolution is as well.

use std::ops::Range;

use rayon::prelude::*;

use crate::multiply::{HELD, held_blocks, multiply};
use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, Lanes, Registers};
use crate::sink::{Sink, Sums, write_tile};
use crate::tiles::{SMALL_TILE, Tile, Tiles, even_blocks};

/// Input channels at a time, so that the inputs and weights in use stay in the first-level cache.
const INPUTS: usize = 96;

/// Weights in the order in which the kernel reads them.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Per block of inputs, block of outputs, input channel: the outputs.
    data: Vec<f32>,
    inputs: Vec<Range<usize>>,
    outputs: Vec<Range<usize>>,
}

impl Weights {
    /// `weight(input, output)` gives one weight.
    pub(crate) fn new(inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let mut data = Vec::with_capacity(inputs * outputs);
        let (inputs, outputs) = (even_blocks(inputs, INPUTS), held_blocks(outputs));
        for input in &inputs {
            for output in &outputs {
                for i in input.clone() {
                    data.extend(output.clone().map(|o| weight(i, o)));
                }
            }
        }
        Self { data, inputs, outputs }
    }
}

/// Convolves `source` into `sink`; `weights` were made for their channels.
pub(crate) fn convolve(isa: Isa, source: &Source<'_>, weights: &Weights, sink: &Sink<'_>) {
    let tiles = Tiles::new(sink.dims(), SMALL_TILE);
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
        let patch = Patch::new(&tile, 0, channels, lanes);
        let [z, y, x] = tile.size;
        let vectors_x = x.div_ceil(lanes);
        let vectors = z * y * vectors_x;
        let plane = vectors * lanes;
        let mut scratch = Scratch::take(patch.len() + sink.channels() * plane);
        let (inputs, sums) = scratch.memory().split_at_mut(patch.len());
        let mut at = 0;
        for (block, channels) in weights.inputs.iter().enumerate() {
            // SAFETY: the instruction set exists by this function's contract.
            unsafe { patch.pack::<R::Eight>(source, &tile, channels.clone(), inputs) };
            let of_block = (channels.len(), patch.pitch);
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
                    let args = (from, of_block, weight.as_ptr(), sums.as_mut_ptr(), to, plane);
                    // SAFETY: the vectors lie in the patch and in the sums; the weights of this
                    // block follow each other.
                    unsafe {
                        match output.len() {
                            1 => add::<R::Wide, 1, V>(args, block > 0),
                            2 => add::<R::Wide, 2, V>(args, block > 0),
                            3 => add::<R::Wide, 3, V>(args, block > 0),
                            4 => add::<R::Wide, 4, V>(args, block > 0),
                            5 => add::<R::Wide, 5, V>(args, block > 0),
                            _ => add::<R::Wide, HELD, V>(args, block > 0),
                        }
                    }
                    weight = &weight[channels.len() * output.len()..];
                }
            }
            at += channels.len() * sink.channels();
        }
        let sums = Sums { values: sums, rows: y, width: vectors_x * lanes, plane };
        // SAFETY: the instruction set exists, and this task alone writes this tile.
        unsafe { write_tile::<R::Eight>(sink, &tile, &sums) };
    }
}

/// Inputs, their channels and pitch, weights, sums, the vectors' places in the sums, and the distance
/// between output channels.
type Operands<const V: usize> =
    ([*const f32; V], (usize, usize), *const f32, *mut f32, [usize; V], usize);

/// Sums of V vectors of O output channels, on top of what was summed before if there is any.
///
/// # Safety
/// The processor has `W`'s instruction set, and all operands lie within their buffers.
#[inline(always)]
unsafe fn add<W: Lanes, const O: usize, const V: usize>(
    (from, channels, weight, sums, to, plane): Operands<V>,
    before: bool,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let mut held = [[W::splat(0.0); V]; O];
        if before {
            for o in 0..O {
                for v in 0..V {
                    held[o][v] = W::load(sums.add(o * plane + to[v]));
                }
            }
        }
        multiply::<W, O, V, 1>(&mut held, from, channels, weight);
        for o in 0..O {
            for v in 0..V {
                held[o][v].store(sums.add(o * plane + to[v]));
            }
        }
    }
}
