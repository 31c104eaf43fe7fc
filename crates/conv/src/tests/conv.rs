//! Convolution and deconvolution. One list of products `(out, in, weight)` defines each: the output
//! and both gradients follow from it.

use proptest::prelude::*;

use super::{Array, assert_close, dims, index, margins, numbers, voxels};
use crate::conv::{conv3d_input_gradient_on, conv3d_on, conv3d_weight_gradient_on};
use crate::deconv::{add_deconv2_on, deconv2_input_gradient_on, deconv2_weight_gradient_on};
use crate::view::Write;
use crate::{Isa, ScaleShift, View, ViewMut, conv3d, conv3d_weight_gradient};

/// Pairs of voxels that a tap joins: `(out voxel, in voxel, tap)`.
fn conv_pairs(dims: [usize; 4], kernel: usize) -> Vec<(usize, usize, usize)> {
    let inside = |v: usize, tap: usize, size: usize| {
        (v + tap).checked_sub(kernel / 2).filter(|&shifted| shifted < size)
    };
    let taps = || voxels([1, kernel, kernel, kernel]).enumerate();
    let pairs = voxels(dims).flat_map(|v| {
        taps().filter_map(move |(tap, [_, a, b, c])| {
            let z = inside(v[1], a, dims[1])?;
            let y = inside(v[2], b, dims[2])?;
            let x = inside(v[3], c, dims[3])?;
            Some((index(dims, v), index(dims, [v[0], z, y, x]), tap))
        })
    });
    pairs.collect()
}

fn deconv_pairs(dims: [usize; 4]) -> Vec<(usize, usize, usize)> {
    let fine = [dims[0], 2 * dims[1], 2 * dims[2], 2 * dims[3]];
    let pairs = voxels(fine).map(|v| {
        let coarse = [v[0], v[1] / 2, v[2] / 2, v[3] / 2];
        let tap = (v[1] % 2 * 2 + v[2] % 2) * 2 + v[3] % 2;
        (index(fine, v), index(dims, coarse), tap)
    });
    pairs.collect()
}

/// One random problem with what it should give.
struct Case {
    x: Array,
    /// Gradient, and the shape of the output.
    grad: Array,
    norm: Option<(Vec<f32>, Vec<f32>)>,
    weight: Vec<f32>,
    out: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

impl Case {
    /// `at(tap, input, output)` is a weight's place.
    fn new(
        pairs: &[(usize, usize, usize)],
        x: Array,
        grad: Array,
        normed: bool,
        at: impl Fn(usize, usize, usize) -> usize,
    ) -> Self {
        let (c_in, c_out) = (x.channels, grad.channels);
        let taps = pairs.iter().map(|pair| pair.2).max().unwrap() + 1;
        // Of kernels larger than the volume some taps may never be used.
        let taps = if taps == 1 || taps == 8 { taps } else { 27 };
        let weight = numbers(7, taps * c_in * c_out);
        let norm = normed.then(|| (numbers(9, c_in), numbers(10, c_in)));
        let read = |voxel, c: usize| match &norm {
            Some((scale, shift)) => {
                (x.at(voxel, c) * f64::from(scale[c]) + f64::from(shift[c])).max(0.0)
            }
            None => x.at(voxel, c),
        };
        let out_voxels = grad.data.len() / grad.stride;
        let mut out = vec![0.0; out_voxels * c_out];
        let mut dx = vec![0.0; x.data.len() / x.stride * c_in];
        let mut dw = vec![0.0; weight.len()];
        for &(to, from, tap) in pairs {
            for i in 0..c_in {
                for o in 0..c_out {
                    let place = at(tap, i, o);
                    out[to * c_out + o] += read(from, i) * f64::from(weight[place]);
                    dx[from * c_in + i] += grad.at(to, o) * f64::from(weight[place]);
                    dw[place] += grad.at(to, o) * read(from, i);
                }
            }
        }
        Self { x, grad, norm, weight, out, dx, dw }
    }

    fn norm(&self) -> Option<ScaleShift<'_>> {
        self.norm.as_ref().map(|(scale, shift)| ScaleShift { scale, shift })
    }

    /// `run` gets a target with the shape of `like`; `want` is compared with what it writes there.
    fn check(what: &str, like: &Array, write: Write, want: &[f64], run: impl Fn(ViewMut<'_>)) {
        let mut target = like.clone();
        run(target.view_mut());
        let before = like.dense().into_iter().map(f64::from);
        let want: Vec<f64> = match write {
            Write::Set => want.to_vec(),
            Write::Add => want.iter().zip(before).map(|(a, b)| a + b).collect(),
        };
        assert_close(what, &target.dense(), &want);
        assert_eq!(target.hidden(), like.hidden(), "{what}: other channels were written");
    }
}

/// All ways in which channels fall into blocks and tails.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..18_usize, Just(24), Just(36), Just(42), Just(50)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn conv3d_and_its_gradients(
        dims in dims(), kernel in prop_oneof![Just(1), Just(3)], c_in in channels(),
        c_out in channels(), x_margins in margins(), out_margins in margins(),
        normed: bool, seed: u64,
    ) {
        let size = dims.iter().product();
        let x = Array::new(seed, size, c_in, x_margins);
        let grad = Array::new(seed + 1, size, c_out, out_margins);
        let at = |tap, i, o| (tap * c_in + i) * c_out + o;
        let case = Case::new(&conv_pairs(dims, kernel), x, grad, normed, at);
        let Case { x, grad, weight, .. } = &case;
        for isa in Isa::available() {
            Case::check(&format!("{isa:?} out"), grad, Write::Set, &case.out, |out| {
                conv3d_on(isa, x.view(), case.norm(), dims, weight, kernel, out);
            });
            Case::check(&format!("{isa:?} dx"), x, Write::Set, &case.dx, |dx| {
                conv3d_input_gradient_on(isa, grad.view(), dims, weight, kernel, dx);
            });
            let norm = case.norm();
            let dw = conv3d_weight_gradient_on(isa, x.view(), norm, grad.view(), dims, kernel);
            assert_close(&format!("{isa:?} dw"), &dw, &case.dw);
        }
    }

    #[test]
    fn deconv2_and_its_gradients(
        dims in dims(), c_in in channels(), c_out in 1..14_usize, x_margins in margins(),
        out_margins in margins(), normed: bool, seed: u64,
    ) {
        let size = dims.iter().product::<usize>();
        let x = Array::new(seed, size, c_in, x_margins);
        let grad = Array::new(seed + 1, 8 * size, c_out, out_margins);
        let at = |tap, i, o| (i * 8 + tap) * c_out + o;
        let case = Case::new(&deconv_pairs(dims), x, grad, normed, at);
        let Case { x, grad, weight, .. } = &case;
        for isa in Isa::available() {
            Case::check(&format!("{isa:?} out"), grad, Write::Add, &case.out, |out| {
                add_deconv2_on(isa, x.view(), case.norm(), dims, weight, out);
            });
            Case::check(&format!("{isa:?} dx"), x, Write::Set, &case.dx, |dx| {
                deconv2_input_gradient_on(isa, grad.view(), dims, weight, dx);
            });
            let dw = deconv2_weight_gradient_on(isa, x.view(), case.norm(), grad.view(), dims);
            assert_close(&format!("{isa:?} dw"), &dw, &case.dw);
        }
    }
}

/// Zero padding comes after the norm: with a shift of 1, a border voxel sees fewer ones.
#[test]
fn padding_stays_zero_under_a_norm() {
    let (x, weight) = ([0.0; 27], [1.0; 27]);
    let norm = ScaleShift { scale: &[1.0], shift: &[1.0] };
    let out = conv3d(View::new(&x, 1), Some(norm), [1, 3, 3, 3], &weight, 3, 1);
    assert_eq!([out[0], out[1], out[4], out[13]].map(|v| v as u32), [8, 12, 18, 27]);
}

#[test]
#[should_panic(expected = "too many voxels")]
fn more_voxels_than_can_be_counted_panic() {
    // Counted without care, they are none.
    conv3d(View::new(&[], 1), None, [1 << 63, 2, 1, 1], &[0.0; 27], 3, 1);
}

/// A broken network is to be seen as one: ReLU makes no zero of what is no number.
#[test]
fn what_is_no_number_stays_none_under_a_norm() {
    let dims = [1, 2, 2, 9];
    for (c_in, kernel) in [(1, 3), (3, 3), (9, 3), (9, 1)] {
        let mut x = Array::new(1, 36, c_in, (0, 0));
        x.data[17 * c_in] = f32::NAN;
        let norm = ScaleShift { scale: &vec![1.0; c_in], shift: &vec![0.5; c_in] };
        let weight = numbers(2, kernel * kernel * kernel * c_in * 2);
        for isa in Isa::available() {
            let mut out = vec![0.0; 36 * 2];
            let sink = ViewMut::new(&mut out, 2);
            conv3d_on(isa, x.view(), Some(norm), dims, &weight, kernel, sink);
            assert!(out[2 * 17].is_nan(), "{isa:?}, {c_in} channels, kernel {kernel}");
        }
    }
    let stats = crate::channel_stats(View::new(&[1.0, f32::NAN], 1));
    assert!(stats.0[0].is_nan() && stats.1[0].is_nan());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let dims = [1, 20, 17, 33];
    let size = 20 * 17 * 33;
    let (x, grad) = (numbers(1, size * 7), numbers(2, size * 5));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (x, grad) = (View::new(&x, 7), View::new(&grad, 5));
        pool.install(|| conv3d_weight_gradient(x, None, grad, dims, 3))
    };
    assert_eq!(run(1), run(3));
}

#[test]
#[should_panic(expected = "the weight must be [3, 3, 3, 1, 2]")]
fn a_wrong_weight_panics() {
    conv3d(View::new(&[0.0; 8], 1), None, [1, 2, 2, 2], &[0.0; 27], 3, 2);
}

#[test]
#[should_panic(expected = "the input's length must fit dims")]
fn wrong_dims_panic() {
    conv3d(View::new(&[0.0; 8], 1), None, [1, 2, 2, 3], &[0.0; 27], 3, 1);
}
