//! Convolution with stride 1 and zero padding, kernel 1^3 or 3^3.

use crate::correlate::correlate;
use crate::grid;
use crate::memory;
use crate::pack::Source;
use crate::simd::Isa;
use crate::sink::Sink;
use crate::view::{ScaleShift, View, ViewMut, Write};
use crate::{pointwise, winograd};

/// `out[v, o] = sum over taps t, inputs i of a(x[v + t, i]) * weight[t, i, o]`, where `a` is `norm`
/// (normalisation and `ReLU`, applied as x is read) or nothing; outside the volume a(x) is 0.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, weight `[kernel, kernel, kernel, c_in, c_out]`, out
/// `[n, z, y, x, c_out]`; `dims` is `[n, z, y, x]`.
///
/// # Panics
/// If kernel is neither 1 nor 3, or a length does not fit the shapes.
pub fn conv3d(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    c_out: usize,
) -> Vec<f32> {
    // SAFETY: every voxel is of one tile, which is set.
    unsafe {
        memory::array(x.voxels(), c_out, |out| {
            conv3d_on(Isa::best(), x, norm, dims, weight, kernel, out);
        })
    }
}

pub(crate) fn conv3d_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    out: ViewMut<'_>,
) {
    let (c_in, c_out) = (x.channels(), out.channels());
    check_weight(weight, kernel, c_in, c_out);
    let source = Source::new(x, norm, dims, 1);
    let sink = Sink::new(out, Write::Set, dims, 1);
    convolve(isa, &source, &sink, kernel, |tap, i, o| weight[(tap * c_in + i) * c_out + o]);
}

/// `weight(tap, input, output)` gives one weight; taps count `(z * kernel + y) * kernel + x`.
fn convolve(
    isa: Isa,
    source: &Source<'_>,
    sink: &Sink<'_>,
    kernel: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
) {
    let (inputs, outputs) = (source.channels(), sink.channels());
    if kernel == 1 {
        let weights = pointwise::Weights::new(inputs, outputs, |i, o| weight(0, i, o));
        pointwise::convolve(isa, source, &weights, sink);
    } else {
        let weights = winograd::Weights::new(inputs, outputs, weight);
        winograd::convolve(isa, source, &weights, sink);
    }
}

/// [`conv3d`] (3^3, normalised) from the first `c_in` channels of a buffer to the `c_out` after
/// them, for the layers of a dense block.
///
/// # Shapes
/// buffer `[n, z, y, x, stride]`
pub(crate) fn conv3d_within(
    isa: Isa,
    buffer: &mut [f32],
    stride: usize,
    norm: ScaleShift<'_>,
    dims: [usize; 4],
    weight: &[f32],
    [c_in, c_out]: [usize; 2],
) {
    assert!(c_in + c_out <= stride, "channels {c_in}+{c_out} exceed the stride {stride}");
    assert_eq!(buffer.len(), grid::voxels(dims) * stride, "the buffer's length");
    let data = buffer.as_mut_ptr();
    // SAFETY: the buffer has the length asserted, is borrowed for the whole call, and what is
    // written lies after what is read.
    let (source, sink) = unsafe {
        let source = Source::within(data.cast_const(), stride, c_in, norm, dims);
        (source, Sink::within(data, stride, c_in, c_out, dims))
    };
    check_weight(weight, 3, c_in, c_out);
    convolve(isa, &source, &sink, 3, |tap, i, o| weight[(tap * c_in + i) * c_out + o]);
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
    c_in: usize,
) -> Vec<f32> {
    // SAFETY: every voxel is of one tile, which is set.
    unsafe {
        memory::array(grad.voxels(), c_in, |dx| {
            conv3d_input_gradient_on(Isa::best(), grad, dims, weight, kernel, dx);
        })
    }
}

pub(crate) fn conv3d_input_gradient_on(
    isa: Isa,
    grad: View<'_>,
    dims: [usize; 4],
    weight: &[f32],
    kernel: usize,
    dx: ViewMut<'_>,
) {
    let (c_in, c_out) = (dx.channels(), grad.channels());
    check_weight(weight, kernel, c_in, c_out);
    let source = Source::new(grad, None, dims, 1);
    let sink = Sink::new(dx, Write::Set, dims, 1);
    // The same convolution with the taps mirrored and the roles of the channels exchanged.
    let last = kernel.pow(3) - 1;
    convolve(isa, &source, &sink, kernel, |tap, o, i| {
        weight[((last - tap) * c_in + i) * c_out + o]
    });
}

/// Gradient with respect to the weights of [`conv3d`], `norm` being applied as there.
///
/// # Shapes
/// x `[n, z, y, x, c_in]`, grad `[n, z, y, x, c_out]`,
/// dw `[kernel, kernel, kernel, c_in, c_out]`.
///
/// # Panics
/// If kernel is neither 1 nor 3, or a length does not fit the shapes.
pub fn conv3d_weight_gradient(
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    kernel: usize,
) -> Vec<f32> {
    conv3d_weight_gradient_on(Isa::best(), x, norm, grad, dims, kernel)
}

pub(crate) fn conv3d_weight_gradient_on(
    isa: Isa,
    x: View<'_>,
    norm: Option<ScaleShift<'_>>,
    grad: View<'_>,
    dims: [usize; 4],
    kernel: usize,
) -> Vec<f32> {
    let (x, grad) = (Source::new(x, norm, dims, 1), Source::new(grad, None, dims, 1));
    correlate(isa, &x, &grad, dims, kernel)
}

fn check_weight(weight: &[f32], kernel: usize, c_in: usize, c_out: usize) {
    assert!(kernel == 1 || kernel == 3, "kernel {kernel} is neither 1 nor 3");
    let shape = [kernel, kernel, kernel, c_in, c_out];
    assert_eq!(weight.len(), shape.iter().product::<usize>(), "the weight must be {shape:?}");
}
