//! Batch norm over all voxels of each channel, followed by `ReLU`.

use rayon::prelude::*;

use crate::simd::{Eight, Isa, Kernel, Lanes, Registers};
use crate::sums::{BLOCK, VOXELS};
use crate::view::{ScaleShift, View, ViewMut};

/// The parameters of `y = max(0, (x - mean) / sqrt(variance + epsilon) * gamma + beta)`, one value per
/// channel. Mean and variance are those of the batch in training ([`crate::channel_stats`]), running
/// averages in inference.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Mean of x.
    pub mean: &'a [f32],
    /// Biased variance of x.
    pub variance: &'a [f32],
    /// Learnt factor.
    pub gamma: &'a [f32],
    /// Learnt summand.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

impl BatchNorm<'_> {
    /// The same as `max(0, x * scale + shift)`: scale and shift.
    pub fn scale_shift(&self) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> =
            (0..self.gamma.len()).map(|c| self.gamma[c] * self.inverse_deviation(c)).collect();
        let shift = (0..scale.len()).map(|c| self.beta[c] - self.mean[c] * scale[c]).collect();
        (scale, shift)
    }

    fn inverse_deviation(&self, c: usize) -> f32 {
        1.0 / (self.variance[c] + self.epsilon).sqrt()
    }
}

/// Gradients of training-mode batch norm followed by `ReLU`; y is not needed, its sign is recomputed.
///
/// With h = (x - mean) / sqrt(variance + epsilon), g = grad where y > 0, else 0, and N voxels:
/// dbeta = sum g, dgamma = sum g h, dx = gamma / sqrt(variance + epsilon) (g - dbeta/N - h dgamma/N).
///
/// # Shapes
/// x and grad (with respect to y; it becomes dx) `[voxels, c]`; dgamma and dbeta `[c]`, returned.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn norm_relu_gradient(
    x: View<'_>,
    norm: &BatchNorm<'_>,
    grad: ViewMut<'_>,
) -> (Vec<f32>, Vec<f32>) {
    norm_relu_gradient_on(Isa::best(), x, None, norm, grad)
}

/// [`norm_relu_gradient`] with the gradient apart, to whose dx is added; without one it is in `dx`.
pub(crate) fn norm_relu_gradient_on(
    isa: Isa,
    x: View<'_>,
    grad: Option<View<'_>>,
    norm: &BatchNorm<'_>,
    dx: ViewMut<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let shape = (x.voxels(), x.channels);
    assert_eq!(shape, (dx.voxels(), dx.channels), "x and dx differ in shape");
    if let Some(grad) = grad {
        assert_eq!(shape, (grad.voxels(), grad.channels), "x and grad differ in shape");
    }
    for values in [norm.mean, norm.variance, norm.gamma, norm.beta] {
        assert_eq!(values.len(), x.channels, "one parameter per channel");
    }
    let (scale, shift) = norm.scale_shift();
    let affine = ScaleShift { scale: &scale, shift: &shift };
    let parts = shape.0.div_ceil(VOXELS);
    let all = grad.unwrap_or(dx.view());
    let parts: Vec<_> = (0..parts)
        .into_par_iter()
        .map(|part| {
            let (x, grad) = (x.part_of(part, VOXELS), all.part_of(part, VOXELS));
            isa.run(Sums { x, grad, affine, mean: norm.mean })
        })
        .collect();
    let voxels = shape.0 as f64;
    let mut slopes = Slopes { grad: scale.clone(), x: Vec::new(), constant: Vec::new() };
    let (mut dgamma, mut dbeta) = (Vec::new(), Vec::new());
    for c in 0..x.channels {
        let inverse = f64::from(norm.inverse_deviation(c));
        let sum: f64 = parts.iter().map(|part| part[c][0]).sum();
        let product: f64 = parts.iter().map(|part| part[c][1]).sum();
        let scale = f64::from(scale[c]);
        slopes.x.push((-scale * inverse * inverse * product / voxels) as f32);
        slopes.constant.push((-scale * sum / voxels) as f32);
        dbeta.push(sum as f32);
        dgamma.push((product * inverse) as f32);
    }

    let ViewMut { data, stride, offset, channels } = dx;
    data.par_chunks_mut(VOXELS * stride).enumerate().for_each(|(part, data)| {
        let x = x.part_of(part, VOXELS);
        let grad = grad.map(|grad| grad.part_of(part, VOXELS));
        let dx = ViewMut { data, stride, offset, channels };
        isa.run(Backward { x, grad, affine, mean: norm.mean, slopes: &slopes, dx });
    });
    (dgamma, dbeta)
}

/// Sums of g and of g (x - mean).
struct Sums<'a> {
    x: View<'a>,
    grad: View<'a>,
    affine: ScaleShift<'a>,
    mean: &'a [f32],
}

impl Kernel for Sums<'_> {
    type Output = Vec<[f64; 2]>;

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) -> Self::Output {
        let Self { x, grad, affine, mean } = self;
        let mut result = vec![[0.0; 2]; x.channels];
        let blocks = x.data.chunks(BLOCK * x.stride);
        for (x_block, grad_block) in blocks.zip(grad.data.chunks(BLOCK * grad.stride)) {
            for c in (0..x.channels).step_by(8) {
                let count = 8.min(x.channels - c);
                let (mut sums, mut products) = ([0.0; 8], [0.0; 8]);
                // SAFETY: the instruction set exists by this function's contract; `count` channels
                // are within the views' parts of each voxel.
                unsafe {
                    let scale = R::Eight::load_first(affine.scale[c..].as_ptr(), count);
                    let shift = R::Eight::load_first(affine.shift[c..].as_ptr(), count);
                    let mean = R::Eight::load_first(mean[c..].as_ptr(), count);
                    let mut sum = R::Eight::splat(0.0);
                    let mut product = R::Eight::splat(0.0);
                    let voxels = x_block.chunks_exact(x.stride);
                    for (xs, grads) in voxels.zip(grad_block.chunks_exact(grad.stride)) {
                        let x = R::Eight::load_first(xs.as_ptr().add(x.offset + c), count);
                        let g = R::Eight::load_first(grads.as_ptr().add(grad.offset + c), count);
                        let g = g.where_positive(shift.add_product(x, scale));
                        sum = sum.add(g);
                        product = product.add_product(g, x.sub(mean));
                    }
                    sum.store(sums.as_mut_ptr());
                    product.store(products.as_mut_ptr());
                }
                for (i, [sum, product]) in result[c..c + count].iter_mut().enumerate() {
                    *sum += f64::from(sums[i]);
                    *product += f64::from(products[i]);
                }
            }
        }
        result
    }
}

/// dx = grad * g + x * (x - mean) + constant, per channel.
struct Slopes {
    grad: Vec<f32>,
    x: Vec<f32>,
    constant: Vec<f32>,
}

struct Backward<'a> {
    x: View<'a>,
    /// Whose dx is added to `dx`; else `dx` holds the gradient.
    grad: Option<View<'a>>,
    affine: ScaleShift<'a>,
    mean: &'a [f32],
    slopes: &'a Slopes,
    dx: ViewMut<'a>,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<R: Registers, const V: usize>(self) {
        let Self { x, grad, affine, mean, slopes, dx } = self;
        let voxels = x.voxels();
        assert!(voxels == dx.voxels() && grad.is_none_or(|grad| grad.voxels() == voxels));
        for first in (0..voxels).step_by(BLOCK) {
            for c in (0..x.channels).step_by(8) {
                let count = 8.min(x.channels - c);
                // SAFETY: the instruction set exists by this function's contract; `count` channels
                // are within the views' parts of each voxel.
                unsafe {
                    let scale = R::Eight::load_first(affine.scale[c..].as_ptr(), count);
                    let shift = R::Eight::load_first(affine.shift[c..].as_ptr(), count);
                    let mean = R::Eight::load_first(mean[c..].as_ptr(), count);
                    let slope_grad = R::Eight::load_first(slopes.grad[c..].as_ptr(), count);
                    let slope_x = R::Eight::load_first(slopes.x[c..].as_ptr(), count);
                    let constant = R::Eight::load_first(slopes.constant[c..].as_ptr(), count);
                    let mut to = dx.data.as_mut_ptr().add(first * dx.stride + dx.offset + c);
                    let mut xs = x.data.as_ptr().add(first * x.stride + x.offset + c);
                    let (mut grads, step) = match grad {
                        Some(g) => (g.data.as_ptr().add(first * g.stride + g.offset + c), g.stride),
                        None => (to.cast_const(), dx.stride),
                    };
                    for _ in first..voxels.min(first + BLOCK) {
                        let x_here = R::Eight::load_first(xs, count);
                        let g = R::Eight::load_first(grads, count);
                        let g = g.where_positive(shift.add_product(x_here, scale));
                        let mut value = constant
                            .add_product(slope_grad, g)
                            .add_product(slope_x, x_here.sub(mean));
                        if grad.is_some() {
                            value = value.add(R::Eight::load_first(to, count));
                        }
                        value.store_first(to, count);
                        // The last step may leave the array; nothing is read there.
                        to = to.wrapping_add(dx.stride);
                        xs = xs.wrapping_add(x.stride);
                        grads = grads.wrapping_add(step);
                    }
                }
            }
        }
    }
}
