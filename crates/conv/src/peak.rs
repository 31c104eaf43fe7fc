//! The machine's arithmetic peak, which the kernels' throughput is a share of.

use std::hint::black_box;
use std::time::Instant;

use crate::simd::{Isa, Kernel, Lanes, Registers};

/// Sums held at a time: enough to hide a multiply-add's latency.
const SUMS: usize = 12;

/// Floating-point operations per second of all threads together in a loop of independent
/// multiply-adds in registers; the best of a few tries, about a tenth of a second each.
pub fn measured_peak() -> f64 {
    let rounds = 2_000_000;
    let tries = (0..5).map(|_| {
        let start = Instant::now();
        let lanes = rayon::broadcast(|_| Isa::best().run(MultiplyAdd { rounds }));
        let operations = 2 * SUMS * rounds * lanes.iter().sum::<usize>();
        operations as f64 / start.elapsed().as_secs_f64()
    });
    tries.fold(0.0, f64::max)
}

struct MultiplyAdd {
    rounds: usize,
}

impl Kernel for MultiplyAdd {
    /// Lanes of a register.
    type Output = usize;

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) -> usize {
        // SAFETY: the instruction set exists by this function's contract.
        unsafe {
            let factor = R::Wide::splat(black_box(0.999));
            let mut sums = [R::Wide::splat(black_box(1.0)); SUMS];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = sum.add_product(*sum, factor);
                }
            }
            for sum in sums {
                black_box(sum.sum());
            }
        }
        R::Wide::LANES
    }
}
