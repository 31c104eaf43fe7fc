//! Gradients of every block against central differences, in 64-bit floats.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use dasl_net::anchor::{Anchors, Cube};
use dasl_net::backbone::Backbone;
use dasl_net::config::{Config, NetConfig, Preset};
use dasl_net::layer::{Conv, DenseBlock, Init, NormConv, NormDeconv, normal};
use dasl_net::loss::{detection_loss, dice_loss, mask_loss, smooth_l1};
use dasl_net::model::NoduleRcnn;
use dasl_net::ops::max_pool2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Step of the central differences.
const H: f64 = 1e-7;
/// Largest error allowed, relative to the gradient's size.
const TOLERANCE: f64 = 1e-4;

fn device() -> Device {
    Device::flex().autodiff()
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| normal(&mut rng)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

/// A loss in which every output counts differently.
fn mixed<const D: usize>(out: Tensor<D>) -> Tensor<1> {
    let weights = random(out.dims(), 99);
    (out * weights).sum()
}

/// Changes one element of one parameter, or only turns all of them into 64-bit floats.
struct Nudge {
    target: Option<(usize, usize, f64)>,
    next: usize,
}

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let this = self.next;
        self.next += 1;
        let target = self.target;
        param.map(|t| {
            let (shape, learns) = (t.dims(), t.is_require_grad());
            let mut values: Vec<f64> = t.to_data().convert::<f64>().try_to_vec().unwrap();
            if let Some((parameter, element, delta)) = target
                && parameter == this
            {
                values[element] += delta;
            }
            let data = TensorData::new(values, shape);
            let new = Tensor::from_data(data, (&device(), DType::F64));
            if learns { new.require_grad() } else { new }
        })
    }
}

fn nudged<M: Module>(module: &M, target: Option<(usize, usize, f64)>) -> M {
    module.clone().map(&mut Nudge { target, next: 0 })
}

struct Collect<'a> {
    gradients: &'a burn::tensor::Gradients,
    out: Vec<Option<Vec<f64>>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients);
        self.out.push(gradient.map(|g| g.into_data().try_to_vec::<f64>().unwrap()));
    }
}

/// Compares up to `per_tensor` elements of every parameter's gradient.
fn check<M: Module>(module: &M, per_tensor: usize, loss: impl Fn(&M) -> Tensor<1>) {
    let module = nudged(module, None);
    let gradients = loss(&module).backward();
    let mut collect = Collect { gradients: &gradients, out: Vec::new() };
    module.visit(&mut collect);
    assert!(collect.out.iter().any(Option::is_some), "no parameter has a gradient");
    let value = |m: &M| -> f64 { loss(m).into_scalar() };
    let mut rng = rng();
    for (parameter, gradient) in collect.out.iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        let size =
            gradient.iter().map(|g| g * g).sum::<f64>().sqrt() / (gradient.len() as f64).sqrt();
        for _ in 0..per_tensor.min(gradient.len()) {
            let element = rng.random_range(0..gradient.len());
            let up = value(&nudged(&module, Some((parameter, element, H))));
            let down = value(&nudged(&module, Some((parameter, element, -H))));
            let numeric = (up - down) / (2.0 * H);
            let error = (numeric - gradient[element]).abs();
            let scale = gradient[element].abs().max(size).max(1e-6);
            assert!(
                error <= TOLERANCE * scale,
                "parameter {parameter}, element {element}: {} against {numeric}",
                gradient[element]
            );
        }
    }
}

/// The input as a parameter in front of a block, so that its gradient is checked too.
#[derive(Module, Debug)]
struct WithInput<M: Module> {
    input: Param<Tensor<5>>,
    block: M,
}

fn with_input<M: Module>(shape: [usize; 5], block: M) -> WithInput<M> {
    WithInput { input: Param::from_tensor(random(shape, 3)), block }
}

#[test]
fn convolutions() {
    let (mut rng, device) = (rng(), device());
    let mut init = Init { rng: &mut rng, device: &device };
    for (kernel, shape) in [(3, [2, 3, 4, 5, 2]), (1, [1, 2, 3, 2, 2])] {
        let block = with_input(shape, Conv::new(&mut init, kernel, 2, 3));
        check(&block, 8, |m| mixed(m.block.forward(m.input.val())));
    }
}

#[test]
fn norm_and_convolution() {
    let (mut rng, device) = (rng(), device());
    let mut init = Init { rng: &mut rng, device: &device };
    let block = with_input([1, 4, 4, 4, 3], NormConv::new(&mut init, 3, 3, 2));
    check(&block, 8, |m| mixed(m.block.forward(m.input.val())));
    let block = with_input([2, 3, 2, 4, 3], NormConv::output(&mut init, 3, &[0.1, -0.2]));
    check(&block, 8, |m| mixed(m.block.forward(m.input.val())));
}

#[test]
fn deconvolution() {
    let (mut rng, device) = (rng(), device());
    let mut init = Init { rng: &mut rng, device: &device };
    let block = with_input([2, 2, 3, 2, 3], NormDeconv::new(&mut init, 3, 2));
    let onto = || random([2, 4, 6, 4, 2], 4);
    check(&block, 8, |m| mixed(m.block.forward(m.input.val(), onto())));
    // The gradient of what is added to, through another block.
    let block = with_input([2, 4, 6, 4, 2], NormDeconv::new(&mut init, 3, 2));
    let x = || random([2, 2, 3, 2, 3], 5);
    check(&block, 8, |m| mixed(m.block.forward(x(), m.input.val() * 2.0)));
}

#[test]
fn pooling() {
    let block = with_input([2, 4, 2, 6, 3], Vec::<Conv>::new());
    check(&block, 40, |m| mixed(max_pool2(m.input.val())));
}

#[test]
fn dense_block() {
    let (mut rng, device) = (rng(), device());
    let mut init = Init { rng: &mut rng, device: &device };
    let block = with_input([1, 4, 4, 4, 3], DenseBlock::new(&mut init, 3, 3, 2));
    check(&block, 4, |m| mixed(m.block.forward(m.input.val())));
}

fn small_net() -> NetConfig {
    NetConfig {
        stem: 3,
        growth: 2,
        layers: [1, 1, 1],
        top_down: [4, 3],
        mask: 3,
        ..Config::preset(Preset::Tiny).net
    }
}

#[test]
fn backbone() {
    let (mut rng, device) = (rng(), device());
    let mut init = Init { rng: &mut rng, device: &device };
    let block = with_input([1, 16, 16, 16, 1], Backbone::new(&mut init, &small_net()));
    check(&block, 1, |m| {
        let f = m.block.features(m.block.pyramid(m.input.val()));
        mixed(f.p2) + mixed(f.p0) * 0.1
    });
}

#[test]
fn losses() {
    let block = with_input([2, 1, 1, 8, 4], Vec::<Conv>::new());
    check(&block, 20, |m| smooth_l1(m.input.val().reshape([16, 4]), random([16, 4], 5)));
    let target = random([2, 32], 6).greater_elem(0.0).float().cast(FloatDType::F64);
    check(&block, 20, |m| {
        let p = burn::tensor::activation::sigmoid(m.input.val().reshape([2, 32]));
        dice_loss(p, target.clone()).sum()
    });
}

#[test]
fn whole_network_with_its_three_losses() {
    let config = Config { net: small_net(), ..Config::preset(Preset::Tiny) };
    let model = NoduleRcnn::new(&config.net, 1, &device());
    let block = with_input([1, 16, 16, 16, 1], model);
    let anchors = Anchors::new(&config.net, [16; 3]);
    let cubes = [Cube { center: [7.0, 8.0, 6.0], edge: 6.0 }];
    let roles = anchors.assign(&cubes);
    let mask = random([1, 8, 8, 8, 1], 8).greater_elem(0.0).float().cast(FloatDType::F64);
    check(&block, 1, |m| {
        let features = m.block.features(m.input.val());
        let out = m.block.detect(features.p2).reshape([anchors.len(), 5]);
        // All negatives are drawn and kept: a choice that flips has no derivative.
        let train = dasl_net::config::TrainConfig {
            negatives: anchors.len(),
            hard_negatives: anchors.len(),
            ..config.train.clone()
        };
        let (class, boxes) = detection_loss(&out, &anchors, &roles, &cubes, &train, &mut rng());
        let roi = features.p0.narrow(1, 4, 8).narrow(2, 4, 8).narrow(3, 4, 8);
        class + boxes.unwrap() + mask_loss(m.block.mask(roi), mask.clone())
    });
}
