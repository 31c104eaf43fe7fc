//! The same network on a GPU backend: Burn's own operations there against our kernels on the CPU.
//! Built with `--features gpu` only; `just check-gpu` runs it on Mesa's software device.
#![cfg(feature = "gpu")]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, DeviceKind, Gradients, Tensor, TensorData};
use dasl_net::config::{Config, NetConfig, Preset};
use dasl_net::layer::normal;
use dasl_net::model::NoduleRcnn;
use dasl_net::weights::{export, import};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Of an array's norm.
const TOLERANCE: f64 = 2e-5;

fn config() -> NetConfig {
    NetConfig { layers: [2, 1, 1], ..Config::preset(Preset::Tiny).net }
}

/// Every parameter's gradient, in order.
struct Collect<'a> {
    gradients: &'a Gradients,
    out: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.out.extend(param.val().grad(self.gradients).map(values));
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("32-bit floats")
}

/// Outputs in training and in use, and all gradients, of one network on one device.
fn results(device: &Device) -> Vec<Vec<f32>> {
    let training = device.clone().autodiff();
    // The weights of one device on all: they are drawn on the host.
    let fresh = NoduleRcnn::new(&config(), 5, &Device::flex().autodiff());
    let model = import(NoduleRcnn::new(&config(), 6, &training), &export(&fresh)).expect("same");
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let patch: Vec<f32> = (0..16 * 16 * 32).map(|_| normal(&mut rng) as f32).collect();
    let x = |device: &Device| {
        Tensor::<5>::from_data(TensorData::new(patch.clone(), [1, 16, 16, 32, 1]), device)
    };
    let outputs = |model: &NoduleRcnn, x: Tensor<5>| {
        let features = model.features(x);
        let roi = features.p0.narrow(3, 8, 16);
        (model.detect(features.p2), model.mask(roi))
    };
    let (head, mask) = outputs(&model, x(&training));
    let gradients = (head.clone().square().mean() + mask.clone().square().mean()).backward();
    let mut collect = Collect { gradients: &gradients, out: vec![values(head), values(mask)] };
    model.visit(&mut collect);
    let mut all = collect.out;
    let (head, mask) = outputs(&model.valid(), x(device));
    all.extend([values(head), values(mask)]);
    all
}

#[test]
fn the_network_is_the_same_on_a_gpu() {
    let device = if std::env::var_os("DASL_TEST_GPU").is_some() {
        Device::wgpu(DeviceKind::DefaultDevice)
    } else {
        Device::wgpu(DeviceKind::Cpu)
    };
    let (cpu, gpu) = (results(&Device::flex()), results(&device));
    assert_eq!(cpu.len(), gpu.len());
    let norm = |v: &[f32]| v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let largest = cpu.iter().map(|v| norm(v)).fold(0.0, f64::max);
    for (i, (a, b)) in cpu.iter().zip(&gpu).enumerate() {
        assert_eq!(a.len(), b.len(), "array {i}");
        let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let error = norm(&difference) / (norm(a) + 1e-5 * largest);
        assert!(error < TOLERANCE, "array {i}: {error:e}");
    }
}
