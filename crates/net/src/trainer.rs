//! Training: draw patches, compute the three losses, step; a checkpoint holds all that a
//! continued run needs to give the numbers of an undisturbed one.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dasl_volume::dataset::{Dataset, DatasetError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::anchor::{Anchors, Cube};
use crate::config::Config;
use crate::loss::{PatchLoss, detection_loss, mask_loss};
use crate::model::{NoduleRcnn, PER_ANCHOR};
use crate::optimizer::{Optimizer, is_optimizer_state, learning_rate};
use crate::patch::{Patch, TrainingSet, draw};
use crate::weights::{self, Named, WeightsError};

/// What a step cost.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepLosses {
    /// Steps done.
    pub step: usize,
    /// Weighted sum of all terms: what was descended on.
    pub total: f64,
    /// Objectness, mean over patches.
    pub class: f64,
    /// Box, mean over patches with a nodule.
    pub boxes: Option<f64>,
    /// 1 + Dice loss, mean over patches with a nodule.
    pub mask: Option<f64>,
}

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data can't be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The checkpoint can't be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Nothing to train on.
    #[error("no sample to train on: the dataset has no nodule outside the validation split")]
    Empty,
    /// The loss or its gradient left the numbers.
    #[error(
        "training diverged at step {step}, where the loss is {loss}: lower train.learning_rate in the \
         configuration"
    )]
    Diverged {
        /// The step.
        step: usize,
        /// Its loss.
        loss: f64,
    },
}

/// A network in training.
pub struct Trainer {
    config: Config,
    /// Steps of warm-up as configured.
    warm_up: usize,
    /// Determines fresh weights.
    weights_seed: u64,
    /// Determines the patches.
    seed: u64,
    device: Device,
    model: NoduleRcnn,
    optimizer: Optimizer,
    step: usize,
}

impl Trainer {
    /// A fresh network on an execution device.
    pub fn new(mut config: Config, seed: u64, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let model = NoduleRcnn::new(&config.net, seed, &device);
        let warm_up = config.train.warm_up;
        config.train.warm_up = most_warm_up(warm_up, config.train.steps);
        Self {
            config,
            warm_up,
            weights_seed: seed,
            seed,
            device,
            model,
            optimizer: Optimizer::default(),
            step: 0,
        }
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// The network without its gradients, for use.
    pub fn model(&self) -> NoduleRcnn {
        self.model.valid()
    }

    /// Replaces the weights by those given, or by fresh ones.
    ///
    /// # Errors
    /// If they belong to another network.
    pub fn start_from(&mut self, weights: Option<&Named>) -> Result<(), WeightsError> {
        let fresh = NoduleRcnn::new(&self.config.net, self.weights_seed, &self.device);
        self.model = match weights {
            Some(weights) => weights::import(fresh, weights)?,
            None => fresh,
        };
        Ok(())
    }

    /// Starts the schedule anew for `steps` steps from the weights as they are.
    pub fn restart(&mut self, steps: usize, learning_rate: f64, seed: u64) {
        self.config.train.steps = steps;
        self.config.train.learning_rate = learning_rate;
        // From the configured value: what an earlier restart made of it is lost when a run goes on.
        self.config.train.warm_up = most_warm_up(self.warm_up, steps);
        self.seed = seed;
        self.step = 0;
        self.optimizer = Optimizer::default();
    }

    /// One step. Its randomness depends on seed and step alone, so a continued run draws what an
    /// undisturbed one draws.
    ///
    /// # Errors
    /// If there is nothing to train on, the data can't be read, or the loss is no number.
    pub fn train_step(
        &mut self,
        dataset: &Dataset,
        set: &TrainingSet,
    ) -> Result<StepLosses, TrainError> {
        if set.samples.is_empty() {
            return Err(TrainError::Empty);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + self.step as u64);
        let mut patches = Vec::with_capacity(self.config.train.batch);
        for _ in 0..self.config.train.batch {
            patches.push(draw(dataset, set, &self.config.train, &mut rng)?);
        }
        let losses = batch_loss(&self.model, &self.config, &patches, &mut rng, &self.device);
        let total = mean(&losses);
        let report = report(self.step + 1, &losses, &total);
        let diverged = || TrainError::Diverged { step: self.step + 1, loss: report.total };
        if !report.total.is_finite() {
            return Err(diverged());
        }
        let gradients = total.backward();
        let rate = learning_rate(&self.config.train, self.step);
        let model = self.model.clone();
        let stepped = self.optimizer.step(model, &gradients, &self.config.train, rate);
        self.model = stepped.ok_or_else(diverged)?;
        self.step += 1;
        Ok(report)
    }

    /// Writes weights and optimiser to one file, atomically.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        self.save_with(path, BTreeMap::new())
    }

    /// The same with more to know of it.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save_with(
        &self,
        path: &Path,
        mut about: BTreeMap<String, String>,
    ) -> Result<(), WeightsError> {
        let mut named: Named = weights::export(&self.model);
        named.extend(self.optimizer.export());
        about.insert("step".to_string(), self.step.to_string());
        weights::save(path, &named, &about)
    }

    /// Continues from what [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// If the file can't be read or belongs to another network.
    pub fn load(&mut self, path: &Path) -> Result<(), WeightsError> {
        let (named, about) = weights::load(path)?;
        self.take(named, &about)
    }

    /// Continues from what was read of such a file.
    ///
    /// # Errors
    /// If it belongs to another network.
    pub fn take(
        &mut self,
        named: Named,
        about: &BTreeMap<String, String>,
    ) -> Result<(), WeightsError> {
        let (state, weights): (Named, Named) =
            named.into_iter().partition(|(name, _)| is_optimizer_state(name));
        self.start_from(Some(&weights))?;
        self.step = about.get("step").and_then(|s| s.parse().ok()).unwrap_or(0);
        self.optimizer = Optimizer::import(&state, self.step, &self.device);
        Ok(())
    }
}

/// Of a short training the warm-up is a fifth at most, so that it reaches its rate.
fn most_warm_up(warm_up: usize, steps: usize) -> usize {
    warm_up.min(steps / 5)
}

/// The losses of each patch in one pass of the network.
pub fn batch_loss(
    model: &NoduleRcnn,
    config: &Config,
    patches: &[Patch],
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Vec<PatchLoss> {
    let edge = config.train.patch;
    let images: Vec<f32> = patches.iter().flat_map(|p| p.image.iter().copied()).collect();
    let shape = [patches.len(), edge, edge, edge, 1];
    let features = model.features(Tensor::from_data(TensorData::new(images, shape), device));
    let anchors = Anchors::new(&config.net, [edge; 3]);
    let output = model.detect(features.p2);
    let output = output.reshape([patches.len(), anchors.len(), PER_ANCHOR]);
    let logits = mask_logits(model, &features.p0, patches);
    let mut rois = 0;
    let mut losses = Vec::with_capacity(patches.len());
    for (i, patch) in patches.iter().enumerate() {
        let cubes: Vec<Cube> = patch.targets.iter().map(|t| t.cube).collect();
        let mut roles = anchors.assign(&cubes);
        let apart = |&a: &usize| patch.ignored.iter().all(|c| anchors.cube(a).iou(c) <= 0.0);
        roles.negative.retain(apart);
        let own = output.clone().narrow(0, i, 1).reshape([anchors.len(), PER_ANCHOR]);
        let (class, boxes) = detection_loss(&own, &anchors, &roles, &cubes, &config.train, rng);
        let count = patch.targets.len();
        let mask = logits.as_ref().filter(|_| count > 0).map(|logits| {
            mask_loss(logits.clone().narrow(0, rois, count), mask_target(patch, device))
        });
        rois += count;
        losses.push(PatchLoss { class, boxes, mask });
    }
    losses
}

/// Mask logits of all RoIs of a batch, [rois, crop, crop, crop, 1].
fn mask_logits(model: &NoduleRcnn, p0: &Tensor<5>, patches: &[Patch]) -> Option<Tensor<5>> {
    let mut rois = Vec::new();
    for (i, patch) in patches.iter().enumerate() {
        for target in &patch.targets {
            let crop = target.mask.shape()[0];
            let [z, y, x] = target.roi;
            rois.push(
                p0.clone().narrow(0, i, 1).narrow(1, z, crop).narrow(2, y, crop).narrow(3, x, crop),
            );
        }
    }
    (!rois.is_empty()).then(|| model.mask(Tensor::cat(rois, 0)))
}

fn mask_target(patch: &Patch, device: &Device) -> Tensor<5> {
    let crop = patch.targets[0].mask.shape()[0];
    let values: Vec<f32> = patch.targets.iter().flat_map(|t| t.mask.iter().copied()).collect();
    let shape = [patch.targets.len(), crop, crop, crop, 1];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Mean over the batch; the weights of Eq. (4) are in how its patches were drawn.
fn mean(losses: &[PatchLoss]) -> Tensor<1> {
    let terms = losses.iter().map(PatchLoss::total);
    terms.reduce(|a, b| a + b).expect("a batch has at least one patch") / losses.len() as f64
}

fn report(step: usize, losses: &[PatchLoss], total: &Tensor<1>) -> StepLosses {
    let value = |t: &Tensor<1>| f64::from(t.clone().into_scalar::<f32>());
    let mean = |values: Vec<f64>| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    StepLosses {
        step,
        total: value(total),
        class: mean(losses.iter().map(|l| value(&l.class)).collect()).unwrap_or(0.0),
        boxes: mean(losses.iter().filter_map(|l| l.boxes.as_ref()).map(value).collect()),
        mask: mean(losses.iter().filter_map(|l| l.mask.as_ref()).map(value).collect()),
    }
}
