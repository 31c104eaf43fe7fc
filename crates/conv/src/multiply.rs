//! The innermost loop of the convolutions: output channels times x vectors held in registers.

use std::ops::Range;

use crate::simd::Lanes;
use crate::tiles::even_blocks;

/// Output channels in registers.
pub(crate) const HELD: usize = 6;

/// Output channels in blocks that are held together.
pub(crate) fn held_blocks(outputs: usize) -> Vec<Range<usize>> {
    even_blocks(outputs, HELD)
}

/// Adds to O output channels of V vectors the X taps along x of all channels. Channels of the input
/// are `pitch` apart; weights are `[channel, tap, output]`.
///
/// # Safety
/// The processor has `W`'s instruction set, and all operands lie within their buffers.
#[inline(always)]
pub(crate) unsafe fn multiply<W: Lanes, const O: usize, const V: usize, const X: usize>(
    held: &mut [[W; V]; O],
    from: [*const f32; V],
    (channels, pitch): (usize, usize),
    mut weight: *const f32,
) {
    let mut at = 0;
    for _ in 0..channels {
        for x in 0..X {
            // SAFETY: by this function's contract.
            unsafe {
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
        }
        at += pitch;
        // SAFETY: at most one past the last weight.
        weight = unsafe { weight.add(X * O) };
    }
}
