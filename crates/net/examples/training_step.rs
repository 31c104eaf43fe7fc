//! Writes everything about two training steps on a synthetic batch to one safetensors file, for
//! `oracle/compare_training_step.py` to compute anew in `PyTorch`.
//!
//! From the repository root:
//!
//! ```text
//! cargo run --release -p dasl-net --example training_step -- tiny target/step-tiny.safetensors
//! ```
//!
//! | name | what |
//! | --- | --- |
//! | image/I, labels/I, weight/I | patch I: intensities, instance labels [z, y, x]; v of Eq. (4) |
//! | cubes/I | its nodules, [nodules, 4]: centre z, y, x and edge in voxels |
//! | roi/I, mask/I | their crops: first voxel [nodules, 3], [nodules, crop, crop, crop] |
//! | loss/..., gradient/... | of the first step; loss/class is [patches] |
//! | weights/, after/, second/ | before, after one and after two steps, running statistics too |
//! | infer/... | features, head output, mask logits, best proposals with weights/, in use |
//!
//! The metadata's `config` is the configuration as JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dasl_net::anchor::Anchors;
use dasl_net::backbone::Features;
use dasl_net::config::{Config, Preset, Rule};
use dasl_net::infer::Segmenter;
use dasl_net::layer::normal;
use dasl_net::loss::PatchLoss;
use dasl_net::model::NoduleRcnn;
use dasl_net::optimizer::Optimizer;
use dasl_net::patch::{Patch, assemble};
use dasl_net::trainer::batch_loss;
use dasl_net::weights::{Named, Values, export, import, save, to_values};
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EDGE: usize = 48;
/// Centre [z, y, x] and radius of the spheres of each patch. The first is near several anchors,
/// the second far from all; the third is cut by the border: its patch has nothing to find.
const SPHERES: [&[([i32; 3], i32)]; 2] =
    [&[([17, 20, 15], 9), ([39, 31, 35], 2)], &[([2, 24, 24], 5)]];
/// Best proposals to write.
const PROPOSALS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [preset, path] = arguments.as_slice() else {
        return Err("usage: training_step tiny|small OUTPUT.safetensors".into());
    };
    let config = configuration(preset)?;
    let device = Device::flex().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let labels = SPHERES.map(spheres);
    let mut patches = Vec::new();
    for labels in &labels {
        let ct = intensities(labels, &mut rng);
        patches.push(assemble(ct.view(), labels.view(), config.train.mask_crop, || 0));
    }

    let fresh = NoduleRcnn::new(&config.net, 3, &device);
    let start = varied(export(&fresh), &mut rng);
    let model = import(fresh, &start)?;
    let mut out = described(&patches, &labels);
    add(&mut out, "weights", export(&model));
    add(&mut out, "infer", inference(&model.valid(), &config, &patches));

    let mut optimizer = Optimizer::default();
    let rate = config.train.learning_rate;
    let losses = batch_loss(&model, &config, &patches, &mut rng, &device);
    let total = mean_loss(&losses);
    add(&mut out, "loss", loss_values(&losses, &total));
    let gradients = total.backward();
    add(&mut out, "gradient", gradient_values(&model, &gradients));
    let diverged = "the gradients are no numbers";
    let model = optimizer.step(model, &gradients, &config.train, rate).ok_or(diverged)?;
    add(&mut out, "after", export(&model));

    let losses = batch_loss(&model, &config, &patches, &mut rng, &device);
    let gradients = mean_loss(&losses).backward();
    let model = optimizer.step(model, &gradients, &config.train, rate).ok_or(diverged)?;
    add(&mut out, "second", export(&model));

    let about = BTreeMap::from([("config".into(), serde_json::to_string(&config)?)]);
    save(Path::new(path), &out, &about)?;
    Ok(())
}

/// A preset without chance: every negative is drawn. Decay and clipping are strong enough to show.
fn configuration(preset: &str) -> Result<Config, Box<dyn Error>> {
    let preset = match preset {
        "tiny" => Preset::Tiny,
        "small" => Preset::Small,
        other => return Err(format!("{other}: tiny or small").into()),
    };
    let mut config = Config::preset(preset);
    config.train.patch = EDGE;
    config.train.batch = SPHERES.len();
    config.train.negatives = Anchors::new(&config.net, [EDGE; 3]).len();
    config.train.hard_negatives = 8;
    config.train.optimizer = Rule::Sgd;
    config.train.learning_rate = 0.02;
    config.train.weight_decay = 0.01;
    config.train.clip_norm = 1.0;
    Ok(config)
}

/// Instance labels of spheres.
fn spheres(spheres: &[([i32; 3], i32)]) -> Array3<u16> {
    Array3::from_shape_fn([EDGE; 3], |(z, y, x)| {
        let at = [z, y, x].map(|v| v as i32);
        let inside = |&(center, radius): &([i32; 3], i32)| {
            (0..3).map(|a| (at[a] - center[a]).pow(2)).sum::<i32>() <= radius * radius
        };
        spheres.iter().position(inside).map_or(0, |found| found as u16 + 1)
    })
}

/// Bright where labelled, and noise everywhere, HU.
fn intensities(labels: &Array3<u16>, rng: &mut ChaCha8Rng) -> Array3<i16> {
    labels.mapv(|l| {
        let tissue = if l == 0 { -800.0 } else { 30.0 };
        (tissue + 80.0 * normal(rng)) as i16
    })
}

/// Norms that are not neutral: a missing factor of 1 or summand of 0 would not show.
fn varied(mut named: Named, rng: &mut ChaCha8Rng) -> Named {
    for (name, array) in &mut named {
        for value in &mut array.values {
            *value = match name.rsplit('.').next() {
                Some("gamma" | "running_variance") => rng.random_range(0.6..1.4),
                Some("beta" | "running_mean") => 0.2 * normal(rng) as f32,
                Some("bias") => *value + 0.2 * normal(rng) as f32,
                _ => *value,
            };
        }
    }
    named
}

/// The loss of a batch, as the trainer has it.
fn mean_loss(losses: &[PatchLoss]) -> Tensor<1> {
    Tensor::cat(losses.iter().map(PatchLoss::total).collect(), 0).mean()
}

fn loss_values(losses: &[PatchLoss], total: &Tensor<1>) -> Named {
    let row = |terms: Vec<Tensor<1>>| to_values(Tensor::cat(terms, 0));
    Named::from([
        ("class".into(), row(losses.iter().map(|l| l.class.clone()).collect())),
        ("boxes".into(), row(losses.iter().filter_map(|l| l.boxes.clone()).collect())),
        ("mask".into(), row(losses.iter().filter_map(|l| l.mask.clone()).collect())),
        ("total".into(), to_values(total.clone())),
    ])
}

fn gradient_values(model: &NoduleRcnn, gradients: &Gradients) -> Named {
    struct Visitor<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        out: Named,
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                self.out.insert(self.path.join("."), to_values(gradient));
            }
        }
    }
    let mut visitor = Visitor { gradients, path: Vec::new(), out: Named::new() };
    model.visit(&mut visitor);
    visitor.out
}

/// What a network off the tape says about the batch.
fn inference(model: &NoduleRcnn, config: &Config, patches: &[Patch]) -> Named {
    let device = Device::flex();
    let images = patches.iter().flat_map(|p| p.image.iter().copied()).collect();
    let data = TensorData::new::<f32, _>(images, [patches.len(), EDGE, EDGE, EDGE, 1]);
    let Features { p2, p0 } = model.features(Tensor::from_data(data, &device));
    let crop = config.train.mask_crop;
    let rois = patches[0].targets.iter().map(|target| {
        (0..3).fold(p0.clone().narrow(0, 0, 1), |roi, axis| {
            roi.narrow(1 + axis, target.roi[axis], crop)
        })
    });
    let masks = model.mask(Tensor::cat(rois.collect(), 0));
    let first = Features { p2: p2.clone().narrow(0, 0, 1), p0: p0.clone().narrow(0, 0, 1) };
    let segmenter = Segmenter::new(model.clone(), config.clone(), &device);
    let best = segmenter.proposals(&first.p2, [EDGE; 3], 0.0);
    let values = best.iter().take(PROPOSALS).flat_map(|p| {
        let [z, y, x] = p.cube.center;
        [z, y, x, p.cube.edge, p.score].map(|v| v as f32)
    });
    let proposals = Values { shape: vec![PROPOSALS, 5], values: values.collect() };
    Named::from([
        ("p2".into(), to_values(p2.clone())),
        ("p0".into(), to_values(p0)),
        ("detections".into(), to_values(model.detect(p2))),
        ("masks".into(), to_values(masks)),
        ("proposals".into(), proposals),
    ])
}

/// The batch and its targets.
fn described(patches: &[Patch], labels: &[Array3<u16>]) -> Named {
    let mut out = Named::new();
    for (i, (patch, labels)) in patches.iter().zip(labels).enumerate() {
        let mut put = |name: &str, shape: &[usize], values: Vec<f32>| {
            out.insert(format!("{name}/{i}"), Values { shape: shape.to_vec(), values });
        };
        put("image", patch.image.shape(), patch.image.iter().copied().collect());
        put("labels", labels.shape(), labels.iter().map(|&l| f32::from(l)).collect());
        let targets = &patch.targets;
        let Some(first) = targets.first() else { continue };
        let mask = targets.iter().flat_map(|t| t.mask.iter().copied());
        put("mask", &[&[targets.len()], first.mask.shape()].concat(), mask.collect());
        let roi = targets.iter().flat_map(|t| t.roi.map(|v| v as f32));
        put("roi", &[targets.len(), 3], roi.collect());
        let cubes = targets.iter().flat_map(|t| {
            let [z, y, x] = t.cube.center;
            [z, y, x, t.cube.edge].map(|v| v as f32)
        });
        put("cubes", &[targets.len(), 4], cubes.collect());
    }
    out
}

fn add(out: &mut Named, prefix: &str, named: Named) {
    out.extend(named.into_iter().map(|(name, v)| (format!("{prefix}/{name}"), v)));
}
