//! Fast 3D kernels for CPUs, f32 and channels-last, for training and running a dense feature
//! pyramid network: convolution, deconvolution, max pooling, batch norm with `ReLU`.
//!
//! Arrays are `[n, z, y, x, c]`; `dims` is always `[n, z, y, x]`. A [`View`] is some of the channels
//! of such an array, so that the layers of a dense block read from and write into one buffer, and a
//! concatenation costs nothing. Convolutions can apply `max(0, x * scale + shift)` to their input
//! while they read it, so that the normalised tensor never exists.
//!
//! # How it works
//! The vector lanes run along x, not along the channels: 12 or 24 channels fill no whole number of
//! 16-lane registers, but x is a multiple of 8 or 16 nearly everywhere. A task is a block of
//! 4 x 4 rows. `pack` transposes its input, with a halo, into a zero-padded scratch
//! `[z, y, channel, x]` that stays in the second-level cache. A 3^3 convolution (`winograd`) then
//! transforms each 2 x 2 block of rows to 16 planes (`transform`), which takes 16 products where a
//! plain sum takes 36, and `multiply` holds 6 output channels times a few x vectors in registers and
//! walks channels and the taps along x without a branch; the result is transposed back once. Its
//! error is that of single precision, as the tests hold it to. The weight gradient
//! (`winograd_gradient`, `correlate`) holds 3 taps times a few output channels and walks voxels. A
//! deconvolution with kernel and stride 2 is a 1^3 convolution (`pointwise`) onto an array whose 2^3
//! blocks are seen as channels (`fold`), so it has no code of its own.
//!
//! The instruction set (AVX-512, AVX2 with FMA, or plain Rust) is chosen at run time. Results do not
//! depend on the number of threads: the work is cut by shape, and partial sums are added in order.
//! All arithmetic goes through `simd::Lanes`, and inputs are converted as `pack` reads them: that is
//! where another element type would come in.
//!
//! # Panics
//! Every function panics if a slice's length does not fit the shapes given: a bug in the caller.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a function with the target \
    features is compiled without them: intrinsics become calls"
)]
#![expect(clippy::needless_range_loop, reason = "loops over registers, to be unrolled")]

mod conv;
mod correlate;
mod deconv;
mod dense;
mod dot;
mod grid;
mod memory;
mod multiply;
mod norm;
mod pack;
mod peak;
mod pointwise;
mod pool;
mod scratch;
mod simd;
mod sink;
mod sums;
mod tiles;
mod transform;
mod view;
mod winograd;
mod winograd_gradient;

pub use conv::{conv3d, conv3d_input_gradient, conv3d_weight_gradient};
pub use deconv::{add_deconv2, deconv2_input_gradient, deconv2_weight_gradient};
pub use dense::{DenseBlock, DenseGradient};
pub use memory::keep_freed;
pub use norm::{BatchNorm, norm_relu_gradient};
pub use peak::measured_peak;
pub use pool::{max_pool2, max_pool2_gradient};
pub use simd::Isa;
pub use sums::channel_stats;
pub use view::{ScaleShift, View, ViewMut};

#[cfg(test)]
mod tests;
