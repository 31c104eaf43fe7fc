//! Max pooling of 2^3 blocks.

use rayon::prelude::*;

use crate::memory;
use crate::simd::{Eight, Isa, Kernel, Lanes, Registers};
use crate::view::{View, ViewMut};

/// Maximum of each 2^3 block of voxels; argmax is its place `(z * 2 + y) * 2 + x` within the block, the
/// first one where several are equal.
///
/// # Shapes
/// x `[n, z, y, x, c]`, out and argmax `[n, z/2, y/2, x/2, c]`; `dims` is x's `[n, z, y, x]`.
///
/// # Panics
/// If z, y or x is odd, or a length does not fit the shapes.
pub fn max_pool2(x: View<'_>, dims: [usize; 4]) -> (Vec<f32>, Vec<u8>) {
    let mut argmax = vec![0; x.voxels() / 8 * x.channels];
    // SAFETY: every row is set.
    let out = unsafe {
        memory::array(x.voxels() / 8, x.channels, |out| {
            max_pool2_on(Isa::best(), x, dims, out, &mut argmax);
        })
    };
    (out, argmax)
}

pub(crate) fn max_pool2_on(
    isa: Isa,
    x: View<'_>,
    dims: [usize; 4],
    out: ViewMut<'_>,
    argmax: &mut [u8],
) {
    let [n, dz, dy, dx] = dims;
    assert!(dims[1..].iter().all(|d| d.is_multiple_of(2)), "dims {dims:?} must be even");
    assert_eq!(x.voxels(), n * dz * dy * dx, "x's length must fit dims {dims:?}");
    assert_eq!(out.voxels() * 8, x.voxels(), "out must have an eighth of x's voxels");
    assert_eq!(x.channels, out.channels, "x and out differ in channels");
    assert_eq!(argmax.len(), out.voxels() * x.channels, "argmax must have out's shape");
    let ViewMut { data, stride, offset, .. } = out;
    let rows = data.par_chunks_mut(dx / 2 * stride);
    rows.zip(argmax.par_chunks_mut(dx / 2 * x.channels)).enumerate().for_each(
        |(row, (out, argmax))| {
            // Row (n, z, y) of out; n and z of x count on as one.
            let (nz, y) = (row / (dy / 2) * 2, row % (dy / 2) * 2);
            let from = [0, 1, 2, 3].map(|i| {
                let row = (nz + i / 2) * dy + y + i % 2;
                &x.data[row * dx * x.stride..(row + 1) * dx * x.stride]
            });
            isa.run(PoolRow { x, from, out, stride, offset, argmax });
        },
    );
}

/// Four rows of x (z, y) to one of out.
struct PoolRow<'a> {
    x: View<'a>,
    from: [&'a [f32]; 4],
    out: &'a mut [f32],
    stride: usize,
    offset: usize,
    argmax: &'a mut [u8],
}

impl Kernel for PoolRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let View { stride, offset, channels, .. } = self.x;
        let voxels = self.out.chunks_exact_mut(self.stride);
        for (i, (out, argmax)) in voxels.zip(self.argmax.chunks_exact_mut(channels)).enumerate() {
            let out = &mut out[self.offset..self.offset + channels];
            let at = 2 * i * stride + offset;
            let corners = [0, 1, 2, 3, 4, 5, 6, 7].map(|corner| {
                let at = at + corner % 2 * stride;
                &self.from[corner / 2][at..at + channels]
            });
            for c in (0..channels).step_by(8) {
                let count = 8.min(channels - c);
                let mut places = [0.0; 8];
                // SAFETY: the instruction set exists by this function's contract; `count` channels
                // from c are within the slices.
                unsafe {
                    let mut best = R::Eight::load_first(corners[0][c..].as_ptr(), count);
                    let mut place = R::Eight::splat(0.0);
                    for corner in 1..8 {
                        let value = R::Eight::load_first(corners[corner][c..].as_ptr(), count);
                        let change = R::Eight::splat(corner as f32).sub(place);
                        place = place.add(change.where_positive(value.sub(best)));
                        best = value.max(best);
                    }
                    best.store_first(out[c..].as_mut_ptr(), count);
                    place.store(places.as_mut_ptr());
                }
                for (argmax, place) in argmax[c..c + count].iter_mut().zip(places) {
                    *argmax = place as u8;
                }
            }
        }
    }
}

/// Gradient with respect to the input of [`max_pool2`]: each gradient goes to where the maximum was.
///
/// # Shapes
/// grad and argmax `[n, z, y, x, c]`, dx `[n, 2z, 2y, 2x, c]`; `dims` is grad's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn max_pool2_gradient(grad: View<'_>, argmax: &[u8], dims: [usize; 4]) -> Vec<f32> {
    // SAFETY: every row is set.
    unsafe {
        memory::array(8 * grad.voxels(), grad.channels, |dx| {
            max_pool2_gradient_on(Isa::best(), grad, argmax, dims, dx);
        })
    }
}

pub(crate) fn max_pool2_gradient_on(
    isa: Isa,
    grad: View<'_>,
    argmax: &[u8],
    dims: [usize; 4],
    dx: ViewMut<'_>,
) {
    let [n, dims_z, dims_y, dims_x] = dims;
    assert_eq!(grad.voxels(), n * dims_z * dims_y * dims_x, "grad's length must fit {dims:?}");
    assert_eq!(argmax.len(), grad.voxels() * grad.channels, "argmax must have grad's shape");
    assert_eq!(dx.voxels(), grad.voxels() * 8, "dx must have eight times grad's voxels");
    assert_eq!(dx.channels, grad.channels, "grad and dx differ in channels");
    let ViewMut { data, stride, offset, .. } = dx;
    data.par_chunks_mut(2 * dims_x * stride).enumerate().for_each(|(row, dx)| {
        let (nz, y) = (row / (2 * dims_y), row % (2 * dims_y));
        let first = (nz / 2 * dims_y + y / 2) * dims_x;
        let corner = (nz % 2 * 4 + y % 2 * 2) as u8;
        let grad_row = &grad.data[first * grad.stride..(first + dims_x) * grad.stride];
        let argmax = &argmax[first * grad.channels..(first + dims_x) * grad.channels];
        let grad = View { data: grad_row, ..grad };
        isa.run(UnpoolRow { grad, argmax, corner, dx, stride, offset });
    });
}

/// One row of gradients to one of the four rows (z, y) of dx.
struct UnpoolRow<'a> {
    grad: View<'a>,
    argmax: &'a [u8],
    corner: u8,
    dx: &'a mut [f32],
    stride: usize,
    offset: usize,
}

impl Kernel for UnpoolRow<'_> {
    type Output = ();

    // A plain loop, which the compiler vectorises for the instruction set.
    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let View { data, stride, offset, channels } = self.grad;
        for (i, dx) in self.dx.chunks_exact_mut(self.stride).enumerate() {
            let (x, corner) = (i / 2, self.corner + (i % 2) as u8);
            let dx = &mut dx[self.offset..self.offset + channels];
            let grad = &data[x * stride + offset..][..channels];
            let places = &self.argmax[x * channels..][..channels];
            for ((dx, &grad), &place) in dx.iter_mut().zip(grad).zip(places) {
                *dx = if place == corner { grad } else { 0.0 };
            }
        }
    }
}
