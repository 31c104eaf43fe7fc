//! Stochastic gradient descent with momentum, weight decay and a bound on the gradient's norm; or
//! Adam with decoupled weight decay.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

use crate::config::{Rule, TrainConfig};
use crate::model::NoduleRcnn;
use crate::weights::{Named, to_values};

/// First and second moments of Adam decay at these rates (Kingma and Ba 2015), and its floor.
const ADAM: (f64, f64, f64) = (0.9, 0.999, 1e-8);

/// The optimiser's state: one or two moving means per weight tensor.
#[derive(Default)]
pub struct Optimizer {
    /// Velocity of SGD, or Adam's first moment.
    first: BTreeMap<String, Tensor<1>>,
    /// Adam's second moment.
    second: BTreeMap<String, Tensor<1>>,
    /// Steps done.
    steps: i32,
}

/// Learning rate of a step: linear warm-up, then a cosine from the peak to 1% of it.
pub fn learning_rate(config: &TrainConfig, step: usize) -> f64 {
    if step < config.warm_up {
        return config.learning_rate * (step + 1) as f64 / config.warm_up as f64;
    }
    let span = config.steps.saturating_sub(config.warm_up).max(1) as f64;
    let done = ((step - config.warm_up) as f64 / span).min(1.0);
    config.learning_rate * (0.01 + 0.99 * (1.0 + (PI * done).cos()) / 2.0)
}

impl Optimizer {
    /// One step down the gradients; `None` if these are no numbers.
    pub fn step(
        &mut self,
        model: NoduleRcnn,
        gradients: &Gradients,
        config: &TrainConfig,
        learning_rate: f64,
    ) -> Option<NoduleRcnn> {
        let norm = global_norm(&model, gradients);
        if !norm.is_finite() {
            return None;
        }
        let scale = match config.optimizer {
            Rule::Sgd if norm > config.clip_norm => config.clip_norm / norm,
            // Adam's steps do not grow with the gradient.
            Rule::Sgd | Rule::Adam => 1.0,
        };
        self.steps += 1;
        let mut mapper =
            Step { optimizer: self, gradients, config, learning_rate, scale, path: vec![] };
        Some(model.map(&mut mapper))
    }

    /// The state, by the name of the weight it belongs to.
    pub fn export(&self) -> Named {
        let named = |prefix: &str, moments: &BTreeMap<String, Tensor<1>>| -> Named {
            let name = |k: &String| format!("{prefix}{k}");
            moments.iter().map(|(k, v)| (name(k), to_values(v.clone()))).collect()
        };
        let mut out = named(FIRST, &self.first);
        out.extend(named(SECOND, &self.second));
        out
    }

    /// The state that [`Optimizer::export`] gave after so many steps; other tensors are left out.
    pub fn import(named: &Named, steps: usize, device: &burn::tensor::Device) -> Self {
        let device = device.clone().inner();
        let moments = |prefix: &str| {
            let own = named.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?, v)));
            let tensor =
                |v: &Vec<f32>| Tensor::from_data(TensorData::new(v.clone(), [v.len()]), &device);
            own.map(|(k, v)| (k.to_string(), tensor(&v.values))).collect()
        };
        Self { first: moments(FIRST), second: moments(SECOND), steps: steps as i32 }
    }
}

/// Prefixes of the state's tensors in a checkpoint.
const FIRST: &str = "velocity/";
const SECOND: &str = "second_moment/";

/// Whether a tensor of a checkpoint is the optimiser's, not the network's.
pub fn is_optimizer_state(name: &str) -> bool {
    name.starts_with(FIRST) || name.starts_with(SECOND)
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a Gradients,
    config: &'a TrainConfig,
    learning_rate: f64,
    scale: f64,
    path: Vec<String>,
}

impl Step<'_> {
    /// What a weight tensor loses, before the learning rate.
    fn direction(&mut self, gradient: Tensor<1>, weight: Tensor<1>, decays: bool) -> Tensor<1> {
        let name = self.path.join(".");
        let decay = if decays { self.config.weight_decay } else { 0.0 };
        let Optimizer { first, second, steps } = &mut *self.optimizer;
        match self.config.optimizer {
            Rule::Sgd => {
                let step = gradient * self.scale + weight * decay;
                let velocity = match first.remove(&name) {
                    Some(old) => old * self.config.momentum + step,
                    None => step,
                };
                first.insert(name, velocity.clone());
                velocity
            }
            Rule::Adam => {
                let (rate_1, rate_2, floor) = ADAM;
                let mean = |old: Option<Tensor<1>>, rate: f64, new: Tensor<1>| match old {
                    Some(old) => old * rate + new * (1.0 - rate),
                    None => new * (1.0 - rate),
                };
                let m = mean(first.remove(&name), rate_1, gradient.clone());
                let v = mean(second.remove(&name), rate_2, gradient.square());
                first.insert(name.clone(), m.clone());
                second.insert(name, v.clone());
                let (m, v) = (m / (1.0 - rate_1.powi(*steps)), v / (1.0 - rate_2.powi(*steps)));
                // Decoupled decay (Loshchilov and Hutter 2019).
                m / (v.sqrt() + floor) + weight * decay
            }
        }
    }
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad(self.gradients) else { return param };
        let shape = gradient.dims();
        let size = shape.iter().product::<usize>();
        param.map(|weight| {
            let weight = weight.inner();
            // Norm scales and biases are not decayed.
            let flat = weight.clone().reshape([size]);
            let direction = self.direction(gradient.reshape([size]), flat, D > 1);
            let new = weight - (direction * self.learning_rate).reshape(shape);
            Tensor::from_inner(new).require_grad()
        })
    }
}

/// Euclidean norm of all gradients together.
fn global_norm(model: &NoduleRcnn, gradients: &Gradients) -> f64 {
    struct Norm<'a> {
        gradients: &'a Gradients,
        squares: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                self.squares.push(gradient.square().sum());
            }
        }
    }
    let mut norm = Norm { gradients, squares: Vec::new() };
    model.visit(&mut norm);
    if norm.squares.is_empty() {
        return 0.0;
    }
    let total: f32 = Tensor::cat(norm.squares, 0).sum().into_scalar();
    f64::from(total).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Preset};

    #[test]
    fn warm_up_rises_to_the_peak_and_the_cosine_falls_to_a_hundredth() {
        let config = TrainConfig {
            steps: 1100,
            warm_up: 100,
            learning_rate: 1.0,
            ..Config::preset(Preset::Tiny).train
        };
        assert!((learning_rate(&config, 0) - 0.01).abs() < 1e-12);
        assert!((learning_rate(&config, 99) - 1.0).abs() < 1e-12);
        assert!((learning_rate(&config, 600) - 0.505).abs() < 1e-12);
        assert!((learning_rate(&config, 1100) - 0.01).abs() < 1e-12);
    }

    /// What a rule makes of the first bias of the detection head in some steps.
    fn weight_after(optimizer: Rule, steps: usize) -> f64 {
        use crate::weights::export;
        let device = burn::tensor::Device::flex().autodiff();
        let config = Config::preset(Preset::Tiny);
        let train = TrainConfig { optimizer, weight_decay: 0.0, clip_norm: 1e9, ..config.train };
        let mut model = NoduleRcnn::new(&config.net, 1, &device);
        let name = "detection.output.bias";
        let before = f64::from(export(&model)[name].values[0]);
        let mut state = Optimizer::default();
        for step in 0..steps {
            let x = Tensor::<5>::ones([1, 16, 16, 16, 1], &device);
            // The gradient of the first bias: the number of locations, 4^3, times 1 or 3.
            let out = model.detect(model.features(x).p2).narrow(5, 0, 1).sum();
            let gradients = (out * (1 + 2 * step) as f64).backward();
            model = state.step(model, &gradients, &train, 0.01).expect("numbers");
        }
        f64::from(export(&model)[name].values[0]) - before
    }

    #[test]
    fn steps_by_hand() {
        // SGD: 0.01 g1, then 0.01 (0.9 g1 + g2).
        assert!((weight_after(Rule::Sgd, 1) + 0.64).abs() < 1e-5);
        assert!((weight_after(Rule::Sgd, 2) + 0.64 + 0.01 * (57.6 + 192.0)).abs() < 1e-4);
        // Adam: the first step is the rate; the second has m = (0.09 + 0.3) g1 / 0.19 and
        // v = (0.000999 + 0.009) g1^2 / 0.001999.
        assert!((weight_after(Rule::Adam, 1) + 0.01).abs() < 1e-5);
        let second = (0.39 / 0.19) / (0.009_999_f64 / 0.001_999).sqrt();
        assert!((weight_after(Rule::Adam, 2) + 0.01 * (1.0 + second)).abs() < 1e-5);
    }
}
