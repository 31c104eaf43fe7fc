//! Coarser grids, each of whose voxels stands for a cube of voxels; at the far ends for what is left
//! of one.

use ndarray::{Array3, ArrayView3, Axis, s};
use rayon::prelude::*;

/// Mean intensities over cubes of an edge, HU.
///
/// # Shapes
/// [z, y, x] -> each divided by `edge`, rounded up
pub fn block_mean(ct: ArrayView3<'_, i16>, edge: usize) -> Array3<i16> {
    over(ct, edge, |block| {
        let sum: i64 = block.iter().map(|&hu| i64::from(hu)).sum();
        (sum as f64 / block.len() as f64).round() as i16
    })
}

/// 1 where a cube of an edge holds anything of a mask.
///
/// # Shapes
/// [z, y, x] -> each divided by `edge`, rounded up
pub fn block_any(mask: ArrayView3<'_, u8>, edge: usize) -> Array3<u8> {
    over(mask, edge, |block| u8::from(block.iter().any(|&inside| inside != 0)))
}

/// The label of at least half of a cube's voxels, of two halves the smaller one; else 0.
///
/// # Shapes
/// [z, y, x] -> each divided by `edge`, rounded up
pub fn block_label(labels: ArrayView3<'_, u16>, edge: usize) -> Array3<u16> {
    over(labels, edge, |block| {
        let mut found: Vec<u16> = block.iter().copied().filter(|&label| label != 0).collect();
        found.sort_unstable();
        let half = block.len().div_ceil(2);
        let of_half = found.chunk_by(|a, b| a == b).find(|same| same.len() >= half);
        of_half.map_or(0, |same| same[0])
    })
}

fn over<T: Copy + Sync, U: Copy + Default + Send + Sync>(
    voxels: ArrayView3<'_, T>,
    edge: usize,
    of: impl Fn(ArrayView3<'_, T>) -> U + Sync,
) -> Array3<U> {
    let (depth, height, width) = voxels.dim();
    let mut out = Array3::default([depth, height, width].map(|n| n.div_ceil(edge)));
    let range = |i: usize, n: usize| i * edge..((i + 1) * edge).min(n);
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(z, mut plane)| {
        let slab = voxels.slice(s![range(z, depth), .., ..]);
        for ((y, x), out) in plane.indexed_iter_mut() {
            *out = of(slab.slice(s![.., range(y, height), range(x, width)]));
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_are_whole_but_for_the_last() {
        let ct = Array3::from_shape_fn((2, 2, 5), |(z, y, x)| (100 * x + 10 * y + z) as i16);
        // Means over z and y add 5.5, over x they are 50, 250 and, alone, 400.
        assert_eq!(block_mean(ct.view(), 2).into_raw_vec_and_offset().0, [56, 256, 406]);
        assert_eq!(block_mean(ct.view(), 1), ct);
        let mut mask = Array3::zeros((2, 2, 5));
        mask[[1, 0, 4]] = 1;
        assert_eq!(block_any(mask.view(), 2).into_raw_vec_and_offset().0, [0, 0, 1]);
    }

    #[test]
    fn a_label_needs_half_of_the_cube() {
        let mut labels = Array3::zeros((2, 2, 4));
        labels.slice_mut(s![0, .., 0..2]).fill(7);
        labels.slice_mut(s![1, .., 2..4]).fill(9);
        labels[[1, 1, 3]] = 2;
        assert_eq!(block_label(labels.view(), 2).into_raw_vec_and_offset().0, [7, 0]);
        labels.slice_mut(s![1, .., 0..2]).fill(3);
        assert_eq!(block_label(labels.view(), 2)[[0, 0, 0]], 3);
    }
}
