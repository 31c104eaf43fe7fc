//! Products of inputs and gradients, added up over the voxels of some rows: the core of the weight
//! gradients.

use crate::simd::{Lanes, Registers};

/// Three inputs and some gradients, to be multiplied over all voxels of some rows.
pub(crate) struct Dot {
    pub(crate) from: [*const f32; 3],
    pub(crate) grad: *const f32,
    /// From gradient to gradient.
    pub(crate) pitch: usize,
    pub(crate) rows: usize,
    /// From row to row of the inputs, and of the gradients.
    pub(crate) steps: [usize; 2],
    /// Voxels of a row; past them the gradients are zero.
    pub(crate) width: usize,
}

impl Dot {
    /// Adds the sums of `outputs` gradients times input i to `sums[weights[i]..]`.
    ///
    /// # Safety
    /// The processor has `R`'s instruction set; the rows can be read in whole vectors.
    #[inline(always)]
    pub(crate) unsafe fn add_to<R: Registers>(
        &self,
        outputs: usize,
        weights: &[usize],
        sums: &mut [f32],
    ) {
        // SAFETY: by this function's contract.
        unsafe {
            match outputs {
                1 => self.multiply::<R::Wide, 1>(weights, sums),
                2 => self.multiply::<R::Wide, 2>(weights, sums),
                3 => self.multiply::<R::Wide, 3>(weights, sums),
                4 => self.multiply::<R::Wide, 4>(weights, sums),
                5 => self.multiply::<R::Wide, 5>(weights, sums),
                6 => self.multiply::<R::Wide, 6>(weights, sums),
                7 => self.multiply::<R::Wide, 7>(weights, sums),
                _ => self.multiply::<R::Wide, 8>(weights, sums),
            }
        }
    }

    /// # Safety
    /// As [`Dot::add_to`].
    #[inline(always)]
    unsafe fn multiply<W: Lanes, const O: usize>(&self, weights: &[usize], sums: &mut [f32]) {
        // SAFETY: by this function's contract.
        unsafe {
            let mut held = [[W::splat(0.0); 3]; O];
            for row in 0..self.rows {
                let (at_x, at_grad) = (row * self.steps[0], row * self.steps[1]);
                for x in (0..self.width).step_by(W::LANES) {
                    let mut input = [W::splat(0.0); 3];
                    for i in 0..3 {
                        input[i] = W::load(self.from[i].add(at_x + x));
                    }
                    for o in 0..O {
                        let factor = W::load(self.grad.add(at_grad + o * self.pitch + x));
                        for i in 0..3 {
                            held[o][i] = held[o][i].add_product(input[i], factor);
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
