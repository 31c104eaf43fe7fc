//! Weight gradient: correlation of the input with the output's gradient over all voxels.

use std::ops::Range;

use rayon::prelude::*;

use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, Lanes, Registers};
use crate::tiles::{TILE, Tile, Tiles, even_blocks};

/// Sums are kept apart for this many parts of the volume, and added in order: a fixed number, for the
/// result not to depend on the number of threads.
const PARTS: usize = 64;

/// Output channels whose gradient is packed at a time.
const OUTPUTS: usize = 48;

/// Input channels that are packed at a time.
const fn input_block(kernel: usize) -> usize {
    if kernel == 1 { 48 } else { 16 }
}

/// `dw[tap, input, output]` = sum over voxels of `x[voxel + tap, input] * grad[voxel, output]`.
pub(crate) fn correlate(
    isa: Isa,
    x: &Source<'_>,
    grad: &Source<'_>,
    dims: [usize; 4],
    kernel: usize,
) -> Vec<f32> {
    let mut dw = vec![0.0; kernel.pow(3) * x.channels() * grad.channels()];
    let tiles = Tiles::new(dims, TILE);
    let parts = tiles.count().min(PARTS);
    let sums: Vec<Vec<f32>> = (0..parts)
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; dw.len()];
            for index in part * tiles.count() / parts..(part + 1) * tiles.count() / parts {
                let (tile, sums) = (tiles.get(index), &mut sums[..]);
                match kernel {
                    1 => isa.run(CorrelateTile::<1> { x, grad, tile, sums }),
                    3 => isa.run(CorrelateTile::<3> { x, grad, tile, sums }),
                    _ => panic!("kernel {kernel} is neither 1 nor 3"),
                }
            }
            sums
        })
        .collect();
    dw.par_chunks_mut(4096).enumerate().for_each(|(i, dw)| {
        for sums in &sums {
            for (total, sum) in dw.iter_mut().zip(&sums[i * 4096..]) {
                *total += sum;
            }
        }
    });
    dw
}

struct CorrelateTile<'a, const K: usize> {
    x: &'a Source<'a>,
    grad: &'a Source<'a>,
    tile: Tile,
    sums: &'a mut [f32],
}

impl<const K: usize> Kernel for CorrelateTile<'_, K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { x, grad, tile, sums } = self;
        let lanes = R::Wide::LANES;
        let (inputs, outputs) =
            (even_blocks(x.channels(), input_block(K)), even_blocks(grad.channels(), OUTPUTS));
        let x_patch = Patch::new(&tile, K / 2, longest(&inputs), lanes);
        let grad_patch = Patch::new(&tile, 0, longest(&outputs), lanes);
        let mut scratch = Scratch::take(x_patch.len() + grad_patch.len());
        let (x_packed, grad_packed) = scratch.memory().split_at_mut(x_patch.len());
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
                let block = Block {
                    tile: &tile,
                    x: (&x_patch, x_packed),
                    grad: (&grad_patch, grad_packed),
                    inputs: input.clone(),
                    outputs: output.clone(),
                    shape: [x.channels(), grad.channels()],
                };
                // SAFETY: the instruction set exists; both patches are those of the tile.
                unsafe { block.add_to::<R, K>(sums) };
            }
        }
    }
}

fn longest(blocks: &[Range<usize>]) -> usize {
    blocks.iter().map(Range::len).max().unwrap_or(0)
}

/// A tile's packed inputs and gradients for some of the channels.
struct Block<'a> {
    tile: &'a Tile,
    x: (&'a Patch, &'a [f32]),
    grad: (&'a Patch, &'a [f32]),
    inputs: Range<usize>,
    outputs: Range<usize>,
    /// Number of all input channels and of all output channels.
    shape: [usize; 2],
}

impl Block<'_> {
    /// # Safety
    /// The processor has `R`'s instruction set, and the patches were made for the tile and K.
    #[inline(always)]
    unsafe fn add_to<R: Registers, const K: usize>(&self, sums: &mut [f32]) {
        for held in even_blocks(self.outputs.len(), R::HELD) {
            let grad = &self.grad.1[held.start * self.grad.0.pitch..];
            // Three inputs are held: three taps along x, or else three channels. One channel's rows
            // stay in the first-level cache for all taps.
            for input in (0..self.inputs.len()).step_by(if K == 3 { 1 } else { 3 }) {
                for zy in 0..K * K {
                    let tap = zy / K * self.x.0.plane() + zy % K * self.x.0.row();
                    let mut from = [self.x.1.as_ptr(); 3];
                    let mut weights = [0; 3];
                    for (i, (from, weight)) in from.iter_mut().zip(&mut weights).enumerate() {
                        let (channel, x) = if K == 3 {
                            (input, i)
                        } else {
                            // Past the end the last channel is computed again, and not used.
                            ((input + i).min(self.inputs.len() - 1), 0)
                        };
                        *from = self.x.1[tap + channel * self.x.0.pitch + x..].as_ptr();
                        let weight_row = (zy * K + x) * self.shape[0] + self.inputs.start + channel;
                        *weight = weight_row * self.shape[1] + self.outputs.start + held.start;
                    }
                    let count = if K == 3 { 3 } else { 3.min(self.inputs.len() - input) };
                    // SAFETY: both pointers are into the patches at a channel's start, and the
                    // patches have room for the tile's rows in whole vectors, and for the taps.
                    unsafe {
                        let args = (from, grad.as_ptr(), &weights[..count], &mut *sums);
                        match held.len() {
                            1 => self.multiply::<R::Wide, 1>(args),
                            2 => self.multiply::<R::Wide, 2>(args),
                            3 => self.multiply::<R::Wide, 3>(args),
                            4 => self.multiply::<R::Wide, 4>(args),
                            5 => self.multiply::<R::Wide, 5>(args),
                            6 => self.multiply::<R::Wide, 6>(args),
                            7 => self.multiply::<R::Wide, 7>(args),
                            _ => self.multiply::<R::Wide, 8>(args),
                        }
                    }
                }
            }
        }
    }

    /// Sums three inputs times O gradients over the voxels of the tile.
    ///
    /// # Safety
    /// The processor has `W`'s instruction set, and the pointers are to rows of the patches.
    #[inline(always)]
    unsafe fn multiply<W: Lanes, const O: usize>(
        &self,
        (from, grad, weights, sums): ([*const f32; 3], *const f32, &[usize], &mut [f32]),
    ) {
        let [z, y, x] = self.tile.size;
        // SAFETY: by this function's contract.
        unsafe {
            let mut held = [[W::splat(0.0); 3]; O];
            for z in 0..z {
                for y in 0..y {
                    let at_x = z * self.x.0.plane() + y * self.x.0.row();
                    let at_grad = z * self.grad.0.plane() + y * self.grad.0.row();
                    for x in (0..x).step_by(W::LANES) {
                        let mut input = [W::splat(0.0); 3];
                        for i in 0..3 {
                            input[i] = W::load(from[i].add(at_x + x));
                        }
                        for o in 0..O {
                            let factor = W::load(grad.add(at_grad + o * self.grad.0.pitch + x));
                            for i in 0..3 {
                                held[o][i] = held[o][i].add_product(input[i], factor);
                            }
                        }
                    }
                }
            }
            for (i, &weight) in weights.iter().enumerate() {
                let sums = &mut sums[weight..weight + O];
                let mut o = 0;
                while o + 4 <= O {
                    let four = [held[o][i], held[o + 1][i], held[o + 2][i], held[o + 3][i]];
                    W::add_sums(four, sums[o..].as_mut_ptr());
                    o += 4;
                }
                while o < O {
                    sums[o] += held[o][i].sum();
                    o += 1;
                }
            }
        }
    }
}
