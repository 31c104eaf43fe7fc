//! Transposed convolution with kernel 2 and stride 2: each voxel becomes a block of 2^3.
//!
//! It is a 1^3 convolution to 8 x `c_out` channels, the block's voxels being seen as channels.

use crate::convolve::{Sink, Weights, convolve};
use crate::correlate::correlate;
use crate::pack::Source;
use crate::simd::Isa;
use crate::view::{ScaleShift, View, ViewMut, Write};

/// `out[2v + t, o] = bias[o] + sum over i of a(x[v, i]) * weight[i, t, o]`, t in {0, 1}^3, where `a`
/// is `norm` (normalisation and `ReLU`, applied as x is read) or nothing.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, weight `[c_in, 2, 2, 2, c_out]`, bias `[c_out]`,
/// out `[n, 2z, 2y, 2x, c_out]`; `dims` is x's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn deconv2(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    bias: Option<&[f32]>,
    out: ViewMut<'_>,
) {
    deconv2_on(Isa::best(), x, norm, dims, weight, bias, out);
}

pub(crate) fn deconv2_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    bias: Option<&[f32]>,
    out: ViewMut<'_>,
) {
    check_weight(weight, x.channels(), out.channels());
    let source = Source::new(x, norm, dims, 1);
    let sink = Sink::new(out, Write::Set, bias, dims, 2);
    let outputs = sink.channels();
    let weights = Weights::new(&source, outputs, 1, |_, i, o| weight[i * outputs + o]);
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the (normalised) input of [`deconv2`].
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
    write: Write,
    dx: ViewMut<'_>,
) {
    deconv2_input_gradient_on(Isa::best(), grad, dims, weight, write, dx);
}

pub(crate) fn deconv2_input_gradient_on(
    isa: Isa,
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    write: Write,
    dx: ViewMut<'_>,
) {
    check_weight(weight, dx.channels(), grad.channels());
    let source = Source::new(grad, None, dims, 2);
    let outputs = source.channels();
    let weights = Weights::new(&source, dx.channels(), 1, |_, o, i| weight[i * outputs + o]);
    let sink = Sink::new(dx, write, None, dims, 1);
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the weights of [`deconv2`], `norm` being applied as there.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, grad `[n, 2z, 2y, 2x, c_out]`, dw `[c_in, 2, 2, 2, c_out]`, overwritten;
/// `dims` is x's `[n, z, y, x]`.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn deconv2_weight_gradient(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    dw: &mut [f32],
) {
    deconv2_weight_gradient_on(Isa::best(), x, norm, grad, dims, dw);
}

pub(crate) fn deconv2_weight_gradient_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    dw: &mut [f32],
) {
    check_weight(dw, x.channels(), grad.channels());
    let (x, grad) = (Source::new(x, norm, dims, 1), Source::new(grad, None, dims, 2));
    correlate(isa, &x, &grad, dims, 1, dw);
}

fn check_weight(weight: &[f32], c_in: usize, c_out: usize) {
    assert_eq!(weight.len(), c_in * 8 * c_out, "the weight must be [{c_in}, 2, 2, 2, {c_out}]");
}
