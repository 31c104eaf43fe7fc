//! Stochastic gradient descent with momentum, weight decay and a bound on the gradient's norm.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

use crate::config::TrainConfig;
use crate::model::NoduleRcnn;
use crate::weights::{Named, to_values};

/// The optimiser: one velocity per weight tensor.
#[derive(Default)]
pub struct Sgd {
    velocity: BTreeMap<String, Tensor<1>>,
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

impl Sgd {
    /// One step down the gradients.
    pub fn step(
        &mut self,
        model: NoduleRcnn,
        gradients: &Gradients,
        config: &TrainConfig,
        learning_rate: f64,
    ) -> NoduleRcnn {
        let norm = global_norm(&model, gradients);
        let scale = if norm > config.clip_norm { config.clip_norm / norm } else { 1.0 };
        let mut mapper = Step { sgd: self, gradients, config, learning_rate, scale, path: vec![] };
        model.map(&mut mapper)
    }

    /// The state, by the name of the weight it belongs to.
    pub fn export(&self) -> Named {
        self.velocity.iter().map(|(name, v)| (name.clone(), to_values(v.clone()))).collect()
    }

    /// The state that [`Sgd::export`] gave.
    pub fn import(named: &Named, device: &burn::tensor::Device) -> Self {
        let device = device.clone().inner();
        let tensor = |values: &Vec<f32>| {
            Tensor::from_data(TensorData::new(values.clone(), [values.len()]), &device)
        };
        Self { velocity: named.iter().map(|(k, v)| (k.clone(), tensor(&v.values))).collect() }
    }
}

struct Step<'a> {
    sgd: &'a mut Sgd,
    gradients: &'a Gradients,
    config: &'a TrainConfig,
    learning_rate: f64,
    scale: f64,
    path: Vec<String>,
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
        let name = self.path.join(".");
        let shape = gradient.dims();
        let size = shape.iter().product::<usize>();
        param.map(|weight| {
            let weight = weight.inner();
            let mut step = gradient.reshape([size]) * self.scale;
            // Norm scales and biases are not decayed.
            if D > 1 {
                step = step + weight.clone().reshape([size]) * self.config.weight_decay;
            }
            let velocity = match self.sgd.velocity.remove(&name) {
                Some(old) => old * self.config.momentum + step,
                None => step,
            };
            self.sgd.velocity.insert(name, velocity.clone());
            let new = weight - (velocity * self.learning_rate).reshape(shape);
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
}
