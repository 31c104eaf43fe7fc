//! Blocks and network on a GPU backend: Burn's own operations there against our kernels on the CPU.
//! Built with `--features gpu` only; `just check-gpu` runs it on Mesa's software device, with
//! `DASL_TEST_GPU` set on the system's own GPU.
#![cfg(feature = "gpu")]

use burn::module::Module;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use dasl_net::config::{Config, Preset};
use dasl_net::layer::normal;
use dasl_net::model::NoduleRcnn;
use dasl_net::ops::{self, DenseLayer, Scale};
use dasl_net::weights::{export, import};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Of an array's norm.
const TOLERANCE: f64 = 2e-5;

fn gpu() -> Device {
    match std::env::var_os("DASL_TEST_GPU") {
        Some(_) => Device::wgpu(DeviceKind::DefaultDevice),
        None => Device::wgpu(DeviceKind::Cpu),
    }
}

/// The same numbers on every device.
fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal(&mut rng) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("32-bit floats")
}

fn assert_close(what: &str, cpu: &[f32], gpu: &[f32]) {
    assert_eq!(cpu.len(), gpu.len(), "{what}");
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let difference = norm(&mut cpu.iter().zip(gpu).map(|(a, b)| a - b)).sqrt();
    let error = difference / norm(&mut cpu.iter().copied()).sqrt();
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

/// Values, and gradients of input and weight, on both devices.
fn check(
    what: &str,
    shape: [usize; 5],
    weight: [usize; 5],
    block: &dyn Fn(Tensor<5>, Tensor<5>) -> Tensor<5>,
) {
    let run = |device: &Device| {
        let x = random(shape, 1, device).require_grad();
        let weight = random(weight, 2, device).require_grad();
        let out = block(x.clone(), weight.clone());
        let mix = random(out.dims(), 3, device);
        let gradients = (out.clone() * mix).sum().backward();
        [Some(out), x.grad(&gradients), weight.grad(&gradients)].map(|t| t.map(values))
    };
    let (cpu, gpu) = (run(&Device::flex().autodiff()), run(&gpu().autodiff()));
    for (part, (cpu, gpu)) in ["values", "dx", "dw"].iter().zip(cpu.iter().zip(&gpu)) {
        assert_eq!(cpu.is_some(), gpu.is_some(), "{what} {part}");
        if let (Some(cpu), Some(gpu)) = (cpu, gpu) {
            assert_close(&format!("{what} {part}"), cpu, gpu);
        }
    }
}

fn scale(x: &Tensor<5>, channels: usize) -> Scale {
    let device = x.device();
    Scale { gamma: random([channels], 4, &device), beta: random([channels], 5, &device) }
}

#[test]
fn the_blocks_are_the_same_on_a_gpu() {
    let shape = [2, 4, 6, 8, 5];
    check("convolution", shape, [3, 3, 3, 5, 4], &ops::conv3d);
    check("norm and convolution", shape, [1, 1, 1, 5, 7], &|x, w| {
        ops::norm_conv_train(x.clone(), scale(&x, 5), w).0
    });
    check("norm and deconvolution", shape, [5, 2, 2, 2, 3], &|x, w| {
        let onto = random([2, 8, 12, 16, 3], 6, &x.device());
        ops::norm_deconv_train(x.clone(), scale(&x, 5), w, onto).0
    });
    check("dense block", shape, [3, 3, 3, 7, 2], &|x, w| {
        let layer =
            |c: usize| DenseLayer { scale: scale(&x, c), weight: w.clone().narrow(3, 0, c) };
        ops::dense_train(x.clone(), vec![layer(5), layer(7)]).0
    });
    check("max pooling", shape, [1; 5], &|x, _| ops::max_pool2(x));
}

/// Only outputs: the whole network's gradients change by percents where one ReLU or one maximum
/// rounds to the other side.
#[test]
fn the_network_is_the_same_on_a_gpu() {
    let net = Config::preset(Preset::Tiny).net;
    let weights = export(&NoduleRcnn::new(&net, 5, &Device::flex().autodiff()));
    let run = |device: &Device| {
        let training = device.clone().autodiff();
        let model =
            import(NoduleRcnn::new(&net, 6, &training), &weights).expect("the same network");
        let outputs = |model: &NoduleRcnn, device: &Device| {
            let features = model.features(random([1, 16, 16, 32, 1], 9, device));
            let roi = features.p0.narrow(3, 8, 16);
            [values(model.detect(features.p2)), values(model.mask(roi))]
        };
        [outputs(&model, &training), outputs(&model.valid(), device)].concat()
    };
    let (cpu, gpu) = (run(&Device::flex()), run(&gpu()));
    let parts = ["head in training", "mask in training", "head in use", "mask in use"];
    for (part, (cpu, gpu)) in parts.iter().zip(cpu.iter().zip(&gpu)) {
        assert_close(part, cpu, gpu);
    }
}
