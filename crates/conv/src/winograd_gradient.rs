//! The weight gradient of a 3^3 convolution: minimal filtering over z and y ([`crate::transform`])
//! run backwards, taps along x as they are.

use std::ops::Range;

use crate::dot::Dot;
use crate::pack::{Patch, Source};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Lanes, Registers};
use crate::tiles::{Tile, even_blocks, longest};
use crate::transform;

/// Input channels that are packed at a time.
const INPUTS: usize = 16;

/// Output channels whose gradient is packed at a time.
const OUTPUTS: usize = 32;

/// A tile's part of the gradient of the transformed weights.
pub(crate) struct CorrelateTile<'a> {
    pub(crate) x: &'a Source<'a>,
    pub(crate) grad: &'a Source<'a>,
    pub(crate) tile: Tile,
    /// `[plane, x tap, input, output]`
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for CorrelateTile<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { x, grad, tile, sums } = self;
        let lanes = R::Wide::LANES;
        let whole = tile.of_whole_blocks();
        let inputs = even_blocks(x.channels(), INPUTS);
        let outputs = even_blocks(grad.channels(), OUTPUTS);
        let x_patch = Patch::new(&whole, 1, longest(&inputs), lanes);
        let grad_patch = Patch::new(&whole, 0, longest(&outputs), lanes);
        let blocks = whole.size[0] / 2 * (whole.size[1] / 2);
        // Four of the sixteen planes at a time stay in the second-level cache: `[plane, block,
        // channel, x]`.
        let (x_planes, grad_planes) = (4 * blocks * x_patch.row(), 4 * blocks * grad_patch.row());
        let mut scratch = Scratch::take(x_patch.len() + grad_patch.len() + x_planes + grad_planes);
        let (x_packed, rest) = scratch.memory().split_at_mut(x_patch.len());
        let (grad_packed, rest) = rest.split_at_mut(grad_patch.len());
        let (x_planes, grad_planes) = rest.split_at_mut(x_planes);
        for (i, input) in inputs.iter().enumerate() {
            // SAFETY: the instruction set exists by this function's contract.
            unsafe { x_patch.pack::<R::Eight>(x, &whole, input.clone(), x_packed) };
            for output in &outputs {
                if i == 0 || outputs.len() > 1 {
                    // SAFETY: the instruction set exists by this function's contract.
                    unsafe {
                        grad_patch.pack::<R::Eight>(grad, &whole, output.clone(), grad_packed);
                    };
                }
                let mut block = Block {
                    size: whole.size,
                    x: (&x_patch, x_packed, &mut *x_planes),
                    grad: (&grad_patch, grad_packed, &mut *grad_planes),
                    inputs: input.clone(),
                    outputs: output.clone(),
                    shape: [x.channels(), grad.channels()],
                };
                // SAFETY: the instruction set exists; patches and planes are those of the tile.
                unsafe {
                    block.add_to::<R, 0>(sums);
                    block.add_to::<R, 1>(sums);
                    block.add_to::<R, 2>(sums);
                    block.add_to::<R, 3>(sums);
                }
            }
        }
    }
}

/// A tile's packed inputs and gradients for some of the channels, with room for their planes.
struct Block<'a> {
    size: [usize; 3],
    x: (&'a Patch, &'a [f32], &'a mut [f32]),
    grad: (&'a Patch, &'a [f32], &'a mut [f32]),
    inputs: Range<usize>,
    outputs: Range<usize>,
    /// Number of all input channels and of all output channels.
    shape: [usize; 2],
}

impl Block<'_> {
    /// Adds planes `4 * I ..` of four.
    ///
    /// # Safety
    /// The processor has `R`'s instruction set; patches and planes were made for the tile.
    #[inline(always)]
    unsafe fn add_to<R: Registers, const I: usize>(&mut self, sums: &mut [f32]) {
        let [z, y, width] = self.size;
        let blocks = z / 2 * (y / 2);
        let (x_patch, x_packed, x_planes) = &mut self.x;
        let (grad_patch, grad_packed, grad_planes) = &mut self.grad;
        let (x_row, grad_row) = (x_patch.row(), grad_patch.row());
        let (x_step, grad_step) = (blocks * x_row, blocks * grad_row);
        for block in 0..blocks {
            let (block_z, block_y) = (block / (y / 2) * 2, block % (y / 2) * 2);
            let rows = (x_patch.plane(), x_row);
            let from = &x_packed[block_z * rows.0 + block_y * rows.1..];
            for at in (0..self.inputs.len() * x_patch.pitch).step_by(R::Wide::LANES) {
                let to = x_planes[block * x_row + at..].as_mut_ptr();
                // SAFETY: the block's rows lie in the patch, and all planes have room.
                unsafe {
                    transform::input::<R::Wide, I>(from[at..].as_ptr(), rows, to, x_step);
                }
            }
            let rows = (grad_patch.plane(), grad_row);
            let from = &grad_packed[block_z * rows.0 + block_y * rows.1..];
            for at in (0..self.outputs.len() * grad_patch.pitch).step_by(R::Wide::LANES) {
                let to = grad_planes[block * grad_row + at..].as_mut_ptr();
                // SAFETY: the block's rows lie in the patch, and all planes have room.
                unsafe {
                    transform::gradient::<R::Wide, I>(from[at..].as_ptr(), rows, to, grad_step);
                }
            }
        }
        let [c_in, c_out] = self.shape;
        for plane in 0..4 {
            for held in even_blocks(self.outputs.len(), R::HELD) {
                let grad = plane * grad_step + held.start * grad_patch.pitch;
                for input in 0..self.inputs.len() {
                    let from = &x_planes[plane * x_step + input * x_patch.pitch..];
                    let weights = [0, 1, 2].map(|tap| {
                        let row = ((4 * I + plane) * 3 + tap) * c_in + self.inputs.start + input;
                        row * c_out + self.outputs.start + held.start
                    });
                    let dot = Dot {
                        from: [0, 1, 2].map(|tap| from[tap..].as_ptr()),
                        grad: grad_planes[grad..].as_ptr(),
                        pitch: grad_patch.pitch,
                        rows: blocks,
                        steps: [x_row, grad_row],
                        width,
                    };
                    // SAFETY: the pointers are to channels of the planes, in whole vectors, with
                    // room for the taps.
                    unsafe { dot.add_to::<R>(held.len(), &weights, sums) };
                }
            }
        }
    }
}
