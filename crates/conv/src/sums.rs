//! Sums over all voxels, per channel: batch statistics.

use rayon::prelude::*;

use crate::simd::{Eight, Isa, Kernel, Lanes, Registers};
use crate::view::View;

/// Voxels of a task. Fixed, for sums not to depend on the number of threads.
pub(crate) const VOXELS: usize = 4096;

/// Voxels whose sum is taken in single precision.
pub(crate) const BLOCK: usize = 64;

/// Mean and biased variance over all voxels of each channel.
///
/// In blocks of 64 voxels, with a value of the same region subtracted, in single precision; from
/// there on in double precision, by the update of Chan, Golub and `LeVeque` (1983).
pub fn channel_stats(x: View<'_>) -> (Vec<f32>, Vec<f32>) {
    channel_stats_on(Isa::best(), x)
}

pub(crate) fn channel_stats_on(isa: Isa, x: View<'_>) -> (Vec<f32>, Vec<f32>) {
    let parts: Vec<_> = x
        .data
        .par_chunks(VOXELS * x.stride)
        .map(|data| {
            let part = View { data, ..x };
            let origin = &data[x.offset..x.offset + x.channels];
            let moments = isa.run(Moments { part, origin });
            (part.voxels() as f64, origin, moments)
        })
        .collect();
    let mut result = (vec![0.0; x.channels], vec![0.0; x.channels]);
    for c in 0..x.channels {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (voxels, origin, moments) in &parts {
            let [sum, square] = moments[c];
            let part_mean = f64::from(origin[c]) + sum / voxels;
            let difference = part_mean - mean;
            let total = count + voxels;
            squares +=
                square - sum * sum / voxels + difference * difference * count * voxels / total;
            mean += difference * voxels / total;
            count = total;
        }
        result.0[c] = mean as f32;
        let variance = squares / count;
        // What rounding makes negative is 0; NaN stays.
        result.1[c] = if variance < 0.0 { 0.0 } else { variance as f32 };
    }
    result
}

/// Sums of `x - origin` and of its square.
struct Moments<'a> {
    part: View<'a>,
    origin: &'a [f32],
}

impl Kernel for Moments<'_> {
    type Output = Vec<[f64; 2]>;

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) -> Self::Output {
        let View { data, stride, offset, channels } = self.part;
        let mut result = vec![[0.0; 2]; channels];
        for block in data.chunks(BLOCK * stride) {
            for c in (0..channels).step_by(8) {
                let count = 8.min(channels - c);
                let (mut sums, mut squares) = ([0.0; 8], [0.0; 8]);
                // SAFETY: the instruction set exists by this function's contract; `count` channels
                // are within the view's part of each voxel.
                unsafe {
                    let origin = R::Eight::load_first(self.origin[c..].as_ptr(), count);
                    let mut sum = R::Eight::splat(0.0);
                    let mut square = R::Eight::splat(0.0);
                    for voxel in block.chunks_exact(stride) {
                        let x = R::Eight::load_first(voxel.as_ptr().add(offset + c), count);
                        let x = x.sub(origin);
                        sum = sum.add(x);
                        square = square.add_product(x, x);
                    }
                    sum.store(sums.as_mut_ptr());
                    square.store(squares.as_mut_ptr());
                }
                for (i, [sum, square]) in result[c..c + count].iter_mut().enumerate() {
                    *sum += f64::from(sums[i]);
                    *square += f64::from(squares[i]);
                }
            }
        }
        result
    }
}
