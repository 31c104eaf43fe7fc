//! Weight gradients: correlation of the input with the output's gradient over all voxels.

use rayon::prelude::*;

use crate::dot::Dot;
use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, Lanes, Registers};
use crate::tiles::{TILE, Tile, Tiles, even_blocks, longest};
use crate::transform::{self, PLANES};
use crate::winograd_gradient;

/// Sums are kept apart for this many parts of the volume, and added in order: a fixed number, for the
/// result not to depend on the number of threads.
const PARTS: usize = 64;

/// Channels of input and gradient that are packed at a time.
const CHANNELS: usize = 48;

/// `dw[tap, input, output]` = sum over voxels of `x[voxel + tap, input] * grad[voxel, output]`.
pub(crate) fn correlate(
    isa: Isa,
    x: &Source<'_>,
    grad: &Source<'_>,
    dims: [usize; 4],
    kernel: usize,
) -> Vec<f32> {
    let weights = x.channels() * grad.channels();
    if kernel == 1 {
        return sum_of_tiles(dims, weights, |tile, sums| {
            isa.run(CorrelateTile { x, grad, tile, sums });
        });
    }
    let planes = sum_of_tiles(dims, PLANES * 3 * weights, |tile, sums| {
        isa.run(winograd_gradient::CorrelateTile { x, grad, tile, sums });
    });
    // Back from the planes to the taps along z and y.
    let mut dw = vec![0.0; 27 * weights];
    for i in 0..3 * weights {
        let mut of_weight = [0.0; PLANES];
        for (plane, value) in of_weight.iter_mut().enumerate() {
            *value = planes[plane * 3 * weights + i];
        }
        for (zy, value) in transform::kernel_gradient(&of_weight).into_iter().flatten().enumerate()
        {
            dw[zy * 3 * weights + i] = value;
        }
    }
    dw
}

/// The sum of what `add` adds to `length` floats for each tile.
fn sum_of_tiles(
    dims: [usize; 4],
    length: usize,
    add: impl Fn(Tile, &mut [f32]) + Sync,
) -> Vec<f32> {
    let tiles = Tiles::new(dims, TILE);
    let parts = tiles.count().min(PARTS);
    let sums: Vec<Vec<f32>> = (0..parts)
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; length];
            for index in part * tiles.count() / parts..(part + 1) * tiles.count() / parts {
                add(tiles.get(index), &mut sums);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; length];
    total.par_chunks_mut(4096).enumerate().for_each(|(i, total)| {
        for sums in &sums {
            for (total, sum) in total.iter_mut().zip(&sums[i * 4096..]) {
                *total += sum;
            }
        }
    });
    total
}

struct CorrelateTile<'a> {
    x: &'a Source<'a>,
    grad: &'a Source<'a>,
    tile: Tile,
    sums: &'a mut [f32],
}

impl Kernel for CorrelateTile<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { x, grad, tile, sums } = self;
        let lanes = R::Wide::LANES;
        let inputs = even_blocks(x.channels(), CHANNELS);
        let outputs = even_blocks(grad.channels(), CHANNELS);
        let x_patch = Patch::new(&tile, 0, longest(&inputs), lanes);
        let grad_patch = Patch::new(&tile, 0, longest(&outputs), lanes);
        let mut scratch = Scratch::take(x_patch.len() + grad_patch.len());
        let (x_packed, grad_packed) = scratch.memory().split_at_mut(x_patch.len());
        let [z, y, width] = tile.size;
        for (i, input) in inputs.iter().enumerate() {
            // SAFETY: the instruction set exists by this function's contract.
            unsafe { x_patch.pack::<R::Eight>(x, &tile, input.clone(), x_packed) };
            for output in &outputs {
                if i == 0 || outputs.len() > 1 {
                    // SAFETY: the instruction set exists by this function's contract.
                    unsafe {
                        grad_patch.pack::<R::Eight>(grad, &tile, output.clone(), grad_packed);
                    };
                }
                for held in even_blocks(output.len(), R::HELD) {
                    // Three inputs are held.
                    for first in (0..input.len()).step_by(3) {
                        let mut from = [x_packed.as_ptr(); 3];
                        let mut weights = [0; 3];
                        for k in 0..3 {
                            // Past the end the last channel is computed again, and not used.
                            let channel = (first + k).min(input.len() - 1);
                            from[k] = x_packed[channel * x_patch.pitch..].as_ptr();
                            weights[k] = (input.start + channel) * grad.channels()
                                + output.start
                                + held.start;
                        }
                        let dot = Dot {
                            from,
                            grad: grad_packed[held.start * grad_patch.pitch..].as_ptr(),
                            pitch: grad_patch.pitch,
                            rows: z * y,
                            steps: [x_patch.row(), grad_patch.row()],
                            width,
                        };
                        let weights = &weights[..3.min(input.len() - first)];
                        // SAFETY: the pointers are to channels of the patches, whose rows follow
                        // each other, in whole vectors.
                        unsafe { dot.add_to::<R>(held.len(), weights, sums) };
                    }
                }
            }
        }
    }
}
