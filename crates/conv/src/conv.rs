//! Convolution with stride 1 and zero padding, kernel 1^3 or 3^3.

use crate::convolve::{Sink, Weights, convolve};
use crate::correlate::correlate;
use crate::pack::Source;
use crate::simd::Isa;
use crate::view::{ScaleShift, View, ViewMut, Write};

/// `out[v, o] = bias[o] + sum over taps t, inputs i of a(x[v + t, i]) * weight[t, i, o]`, where `a`
/// is `norm` (normalisation and `ReLU`, applied as x is read) or nothing; outside the volume a(x) is 0.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, weight `[kernel, kernel, kernel, c_in, c_out]`, bias `[c_out]`,
/// out `[n, z, y, x, c_out]`; `dims` is `[n, z, y, x]`; `c_in` and `c_out` are those of the views.
///
/// # Panics
/// If kernel is neither 1 nor 3, or a length does not fit the shapes.
pub fn conv3d(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    bias: Option<&[f32]>,
    out: ViewMut<'_>,
) {
    conv3d_on(Isa::best(), x, norm, dims, weight, kernel, bias, out);
}

#[expect(clippy::too_many_arguments, reason = "as conv3d, and the instruction set")]
pub(crate) fn conv3d_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    bias: Option<&[f32]>,
    out: ViewMut<'_>,
) {
    let (c_in, c_out) = (x.channels(), out.channels());
    check_weight(weight, kernel, c_in, c_out);
    let source = Source::new(x, norm, dims, 1);
    let sink = Sink::new(out, Write::Set, bias, dims, 1);
    let weights =
        Weights::new(&source, c_out, kernel, |tap, i, o| weight[(tap * c_in + i) * c_out + o]);
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the (normalised) input of [`conv3d`].
///
/// # Shapes
/// grad `[n, z, y, x, c_out]`, weight `[kernel, kernel, kernel, c_in, c_out]`,
/// dx `[n, z, y, x, c_in]`.
///
/// # Panics
/// If kernel is neither 1 nor 3, or a length does not fit the shapes.
pub fn conv3d_input_gradient(
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    write: Write,
    dx: ViewMut<'_>,
) {
    conv3d_input_gradient_on(Isa::best(), grad, dims, weight, kernel, write, dx);
}

pub(crate) fn conv3d_input_gradient_on(
    isa: Isa,
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    write: Write,
    dx: ViewMut<'_>,
) {
    let (c_in, c_out) = (dx.channels(), grad.channels());
    check_weight(weight, kernel, c_in, c_out);
    let source = Source::new(grad, None, dims, 1);
    let sink = Sink::new(dx, write, None, dims, 1);
    // The same convolution with the taps mirrored and the roles of the channels exchanged.
    let last = kernel.pow(3) - 1;
    let weights = Weights::new(&source, c_in, kernel, |tap, o, i| {
        weight[((last - tap) * c_in + i) * c_out + o]
    });
    convolve(isa, &source, &weights, &sink);
}

/// Gradient with respect to the weights of [`conv3d`], `norm` being applied as there.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, grad `[n, z, y, x, c_out]`,
/// dw `[kernel, kernel, kernel, c_in, c_out]`, overwritten.
///
/// # Panics
/// If kernel is neither 1 nor 3, or a length does not fit the shapes.
pub fn conv3d_weight_gradient(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    kernel: usize,
    dw: &mut [f32],
) {
    conv3d_weight_gradient_on(Isa::best(), x, norm, grad, dims, kernel, dw);
}

pub(crate) fn conv3d_weight_gradient_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    kernel: usize,
    dw: &mut [f32],
) {
    check_weight(dw, kernel, x.channels(), grad.channels());
    let (x, grad) = (Source::new(x, norm, dims, 1), Source::new(grad, None, dims, 1));
    correlate(isa, &x, &grad, dims, kernel, dw);
}

fn check_weight(weight: &[f32], kernel: usize, c_in: usize, c_out: usize) {
    assert!(kernel == 1 || kernel == 3, "kernel {kernel} is neither 1 nor 3");
    let shape = [kernel, kernel, kernel, c_in, c_out];
    assert_eq!(weight.len(), shape.iter().product::<usize>(), "the weight must be {shape:?}");
}
