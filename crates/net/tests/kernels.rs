//! Our own kernels against Burn's operations: the same network, the same values and gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use dasl_net::layer::{Init, NormConv, normal};
use dasl_net::ops::{self, ChannelStats, DenseLayer, Scale, plain};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal(&mut rng) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().try_to_vec().unwrap()
}

fn assert_close(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = b.iter().fold(1e-3_f32, |m, v| m.max(v.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= 2e-5 * size, "{what}[{i}]: {x} against {y}, of {size}");
    }
}

/// Values and gradients of x, gamma, beta and weight under both.
fn compare(
    x: [usize; 5],
    weight: [usize; 5],
    fast: impl Fn(Tensor<5>, Scale, Tensor<5>) -> Tensor<5>,
    slow: impl Fn(Tensor<5>, Scale, Tensor<5>) -> Tensor<5>,
) {
    let device = Device::flex().autodiff();
    let channels = x[4];
    let run = |f: &dyn Fn(Tensor<5>, Scale, Tensor<5>) -> Tensor<5>| {
        let x = random(x, 1, &device).require_grad();
        let weight = random(weight, 2, &device).require_grad();
        let gamma = (random([channels], 3, &device) * 0.2 + 1.0).require_grad();
        let beta = random([channels], 4, &device).require_grad();
        let scale = Scale { gamma: gamma.clone(), beta: beta.clone() };
        let out = f(x.clone(), scale, weight.clone());
        let mix = random(out.dims(), 5, &device);
        let gradients = (out.clone() * mix).sum().backward();
        let of = |g: Option<Tensor<5>>| g.map(values).unwrap_or_default();
        let of1 = |g: Option<Tensor<1>>| g.map(values).unwrap_or_default();
        [
            values(out),
            of(x.grad(&gradients)),
            of(weight.grad(&gradients)),
            of1(gamma.grad(&gradients)),
            of1(beta.grad(&gradients)),
        ]
    };
    let (a, b) = (run(&fast), run(&slow));
    for (i, what) in ["output", "dx", "dw", "dgamma", "dbeta"].iter().enumerate() {
        assert_close(what, &a[i], &b[i]);
    }
}

#[test]
fn norm_relu_convolution() {
    for (x, k, c_out) in
        [([2, 5, 6, 7, 3], 3, 4), ([1, 8, 8, 8, 24], 3, 12), ([1, 4, 6, 5, 9], 1, 5)]
    {
        compare(
            x,
            [k, k, k, x[4], c_out],
            |x, s, w| ops::norm_conv_train(x, s, w).0,
            |x, s, w| plain::conv3d(plain::norm_relu_train(x, s).0, w),
        );
    }
}

#[test]
fn plain_convolution_and_pooling() {
    compare(
        [1, 6, 8, 4, 1],
        [3, 3, 3, 1, 8],
        |x, _, w| ops::conv3d(x, w),
        |x, _, w| plain::conv3d(x, w),
    );
    compare([2, 6, 8, 4, 3], [1; 5], |x, _, _| ops::max_pool2(x), |x, _, _| plain::max_pool2(x));
}

#[test]
fn norm_relu_deconvolution() {
    compare(
        [2, 3, 4, 5, 6],
        [6, 2, 2, 2, 4],
        |x, s, w| ops::norm_deconv_train(x.clone(), s, w, onto(&x)).0,
        |x, s, w| onto(&x) + plain::deconv2(plain::norm_relu_train(x, s).0, w),
    );
}

/// Something that depends on x, [2, 6, 8, 10, 4], so that its gradient shows in dx.
fn onto(x: &Tensor<5>) -> Tensor<5> {
    let x = x.clone().narrow(4, 1, 4);
    Tensor::cat(vec![x.clone(), x.clone() * 2.0], 1).repeat(&[1, 1, 2, 2, 1]) * 0.5
}

#[test]
fn dense_block() {
    let layers = |s: Scale, w: Tensor<5>| {
        // Two layers that share their parameters: the second reads 9 channels, the first 6.
        [6, 9].map(|c| DenseLayer {
            scale: Scale {
                gamma: s.gamma.clone().narrow(0, 0, c),
                beta: s.beta.clone().narrow(0, 0, c),
            },
            weight: w.clone().narrow(3, 0, c),
        })
    };
    let wide = |x: Tensor<5>| x.narrow(4, 0, 6);
    compare(
        [2, 3, 4, 5, 9],
        [3, 3, 3, 9, 3],
        |x, s, w| ops::dense_train(wide(x), layers(s, w).into()).0,
        |x, s, w| plain::dense_train(wide(x), layers(s, w).into()).0,
    );
}

#[test]
fn inference_with_running_statistics() {
    let device = Device::flex();
    let x = random([1, 6, 5, 4, 7], 1, &device);
    let scale = || Scale { gamma: random([7], 2, &device), beta: random([7], 3, &device) };
    let stats = || ChannelStats {
        mean: random([7], 4, &device),
        variance: random([7], 5, &device).square() + 0.1,
    };
    let w = random([3, 3, 3, 7, 5], 6, &device);
    let fast = ops::norm_conv(x.clone(), scale(), stats(), w.clone());
    let slow = plain::conv3d(plain::norm_relu(x.clone(), scale(), stats()), w);
    assert_close("conv", &values(fast), &values(slow));
    let w = random([7, 2, 2, 2, 3], 7, &device);
    let onto = random([1, 12, 10, 8, 3], 8, &device);
    let fast = ops::norm_deconv(x.clone(), scale(), stats(), w.clone(), onto.clone());
    let slow = onto + plain::deconv2(plain::norm_relu(x.clone(), scale(), stats()), w);
    assert_close("deconv", &values(fast), &values(slow));
    let layers = || {
        let weight = random([3, 3, 3, 7, 4], 9, &device);
        vec![(DenseLayer { scale: scale(), weight }, stats())]
    };
    assert_close(
        "dense",
        &values(ops::dense(x.clone(), layers())),
        &values(plain::dense(x, layers())),
    );
}

/// The running statistics must follow the batches, or inference would not match training.
#[test]
fn running_statistics_approach_those_of_the_batches() {
    struct Last(Vec<Vec<f32>>);
    impl ModuleVisitor for Last {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(values(param.val()));
        }
    }
    let device = Device::flex().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let unit = NormConv::new(&mut Init { rng: &mut rng, device: &device }, 1, 2, 2);
    let x = random([1, 8, 8, 8, 2], 2, &device) * 3.0 + 5.0;
    for _ in 0..600 {
        unit.forward(x.clone());
    }
    let mut last = Last(Vec::new());
    unit.valid().visit(&mut last);
    // In order: gamma, beta, running mean, running variance, weight.
    assert!(last.0[2].iter().all(|m| (m - 5.0).abs() < 0.5), "{:?}", last.0[2]);
    assert!(last.0[3].iter().all(|v| (v - 9.0).abs() < 1.5), "{:?}", last.0[3]);
    let train = values(unit.forward(x.clone()));
    let infer = values(unit.valid().forward(x.inner()));
    let size = train.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(train.iter().zip(&infer).all(|(a, b)| (a - b).abs() < 0.01 * size));
}
