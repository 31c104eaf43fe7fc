//! Transposed convolution with kernel 2 and stride 2: each voxel becomes a block of 2^3.
//!
//! It is a 1^3 convolution to 8 x `c_out` channels, the block's voxels being seen as channels.

use crate::correlate::correlate;
use crate::grid;
use crate::memory;
use crate::pack::Source;
use crate::pointwise::{Weights, convolve};
use crate::simd::Isa;
use crate::sink::Sink;
use crate::view::{ScaleShift, View, ViewMut, Write};

/// Adds `sum over i of a(x[v, i]) * weight[i, t, o]` to `out[2v + t, o]`, t in {0, 1}^3, where `a` is
/// `norm` (normalisation and `ReLU`, applied as x is read) or nothing.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, weight `[c_in, 2, 2, 2, c_out]`, out `[n, 2z, 2y, 2x, c_out]`; `dims` is
/// x's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn add_deconv2(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    out: ViewMut<'_>,
) {
    add_deconv2_on(Isa::best(), x, norm, dims, weight, out);
}

pub(crate) fn add_deconv2_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    out: ViewMut<'_>,
) {
    check_weight(weight, x.channels(), out.channels());
    let source = Source::new(x, norm, dims, 1);
    let sink = Sink::new(out, Write::Add, dims, 2);
    let outputs = sink.channels();
    let weights = Weights::new(source.channels(), outputs, |i, o| weight[i * outputs + o]);
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the (normalised) input of [`add_deconv2`].
///
/// # Shapes
/// grad `[n, 2z, 2y, 2x, c_out]`, weight `[c_in, 2, 2, 2, c_out]`, dx `[n, z, y, x, c_in]`;
/// `dims` is dx's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn deconv2_input_gradient(
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    c_in: usize,
) -> Vec<f32> {
    // SAFETY: every voxel is of one tile, which is set.
    unsafe {
        memory::array(grid::voxels(dims), c_in, |dx| {
            deconv2_input_gradient_on(Isa::best(), grad, dims, weight, dx);
        })
    }
}

pub(crate) fn deconv2_input_gradient_on(
    isa: Isa,
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    dx: ViewMut<'_>,
) {
    check_weight(weight, dx.channels(), grad.channels());
    let source = Source::new(grad, None, dims, 2);
    let outputs = source.channels();
    let weights = Weights::new(outputs, dx.channels(), |o, i| weight[i * outputs + o]);
    let sink = Sink::new(dx, Write::Set, dims, 1);
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the weights of [`add_deconv2`], `norm` being applied as there.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, grad `[n, 2z, 2y, 2x, c_out]`, dw `[c_in, 2, 2, 2, c_out]`; `dims` is
/// x's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn deconv2_weight_gradient(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
) -> Vec<f32> {
    deconv2_weight_gradient_on(Isa::best(), x, norm, grad, dims)
}

pub(crate) fn deconv2_weight_gradient_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
) -> Vec<f32> {
    let (x, grad) = (Source::new(x, norm, dims, 1), Source::new(grad, None, dims, 2));
    correlate(isa, &x, &grad, dims, 1)
}

fn check_weight(weight: &[f32], c_in: usize, c_out: usize) {
    assert_eq!(weight.len(), c_in * 8 * c_out, "the weight must be [{c_in}, 2, 2, 2, {c_out}]");
}
