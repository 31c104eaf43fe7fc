//! What a network and its training are made of: presets, and the file that overrides them.

use serde::{Deserialize, Serialize};

/// Numbers of mirror images that can be averaged: none but the patch itself, then also along x,
/// then y, then z.
pub const MIRROR_COUNTS: [usize; 4] = [1, 2, 4, 8];

/// The number of them that is the patch alone, as in files from before there was a choice.
pub fn patch_alone() -> usize {
    MIRROR_COUNTS[0]
}

/// Name of one of the three ready-made configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For laptops, tests and the demo.
    Tiny,
    /// The default.
    Small,
    /// Layers per block as in the network that the paper cites for its dense blocks.
    Paper,
}

/// The shape of Nodule R-CNN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Channels of the two stem convolutions and of the mask features P0.
    pub stem: usize,
    /// Channels that each dense layer adds (12 in the paper).
    pub growth: usize,
    /// Layers of the dense blocks at 1/2, 1/4 and 1/8 of the input's size.
    pub layers: [usize; 3],
    /// Channels of the top-down maps P2 (1/4, detection) and P1 (1/2).
    pub top_down: [usize; 2],
    /// Channels of the mask branch.
    pub mask: usize,
    /// Edge lengths of the cubic anchors, mm.
    pub anchors_mm: Vec<f64>,
    /// Voxel edge that the network sees, mm (isotropic).
    pub spacing_mm: f64,
}

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay: each weight's step has its own scale, so that the mask
    /// branch is not starved by the large gradients of the detection branch.
    Adam,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: usize,
    /// Patches per step.
    pub batch: usize,
    /// Edge of the cubic patches in voxels, a multiple of 16.
    pub patch: usize,
    /// Share of patches that hold a nodule (paper: 0.7).
    pub positive_share: f64,
    /// Share of the patches of whole scans that are cut from a grid of 2 or 4 times the spacing, for
    /// [`InferConfig::coarser`].
    #[serde(default)]
    pub coarse_share: f64,
    /// How gradients become steps.
    pub optimizer: Rule,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up; a cosine to 1% of the peak follows.
    pub warm_up: usize,
    /// Momentum of stochastic gradient descent.
    pub momentum: f64,
    /// Weight decay on convolution weights.
    pub weight_decay: f64,
    /// Gradients of stochastic gradient descent are scaled down to this global norm.
    pub clip_norm: f64,
    /// Edge of the mask crops in voxels (paper: 32).
    pub mask_crop: usize,
    /// Random negatives that the hard ones are taken from.
    pub negatives: usize,
    /// Hardest negatives kept per patch.
    pub hard_negatives: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
}

/// How proposals become nodules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferConfig {
    /// Objectness from which a proposal is kept.
    pub threshold: f64,
    /// Two proposals that overlap more than this (IoU) are one.
    pub nms_iou: f64,
    /// Edge of the tiles in voxels, a multiple of 16.
    pub tile: usize,
    /// Voxels of each tile's border whose proposals belong to the neighbour.
    pub border: usize,
    /// Proposals kept per scan at most.
    pub most: usize,
    /// Mirror images over which a mask is averaged: 1, 2, 4 or 8. A model from before there was a
    /// choice has 1.
    #[serde(default = "patch_alone")]
    pub flips: usize,
    /// Coarser grids that whole scans are searched on too, for what is too large for the network's own:
    /// how many times its spacing each has.
    #[serde(default)]
    pub coarser: Vec<usize>,
}

/// Everything that is written beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network.
    pub net: NetConfig,
    /// Its training.
    pub train: TrainConfig,
    /// Its use.
    pub infer: InferConfig,
}

impl Config {
    /// The values of a preset.
    pub fn preset(preset: Preset) -> Self {
        let net = NetConfig {
            stem: 24,
            growth: 12,
            layers: [4, 4, 4],
            top_down: [64, 32],
            mask: 24,
            anchors_mm: vec![5.0, 10.0, 20.0],
            spacing_mm: 1.0,
        };
        let train = TrainConfig {
            steps: 4000,
            batch: 2,
            patch: 64,
            positive_share: 0.7,
            coarse_share: 0.0,
            optimizer: Rule::Adam,
            learning_rate: 0.003,
            warm_up: 100,
            momentum: 0.9,
            weight_decay: 1e-3,
            clip_norm: 5.0,
            mask_crop: 32,
            negatives: 800,
            hard_negatives: 2,
            checkpoint_every: 50,
        };
        let infer = InferConfig {
            threshold: 0.5,
            nms_iou: 0.1,
            tile: 128,
            border: 16,
            most: 100,
            flips: 1,
            coarser: Vec::new(),
        };
        match preset {
            Preset::Tiny => Self {
                net: NetConfig {
                    stem: 8,
                    growth: 6,
                    layers: [2, 2, 2],
                    top_down: [24, 12],
                    mask: 8,
                    ..net
                },
                train: TrainConfig { steps: 1000, patch: 48, checkpoint_every: 100, ..train },
                infer: InferConfig { tile: 96, ..infer },
            },
            Preset::Small => Self { net, train, infer },
            Preset::Paper => Self {
                net: NetConfig { layers: [6, 8, 8], ..net },
                train: TrainConfig { patch: 128, batch: 1, ..train },
                infer,
            },
        }
    }

    /// Checks what the code relies on.
    ///
    /// # Errors
    /// One line that names the setting and what it must be.
    pub fn validate(&self) -> Result<(), String> {
        for (name, edge) in [("train.patch", self.train.patch), ("infer.tile", self.infer.tile)] {
            if edge == 0 || edge % 16 != 0 {
                return Err(format!("{name} is {edge}: it must be a multiple of 16"));
            }
        }
        if !MIRROR_COUNTS.contains(&self.infer.flips) {
            return Err(format!("infer.flips is {}: it must be 1, 2, 4 or 8", self.infer.flips));
        }
        if 2 * self.infer.border >= self.infer.tile {
            return Err(format!(
                "infer.border is {}: it must be less than half of infer.tile ({})",
                self.infer.border, self.infer.tile
            ));
        }
        if self.net.anchors_mm.is_empty() || !self.net.anchors_mm.iter().all(|a| *a > 0.0) {
            return Err("net.anchors_mm needs at least one length above 0".into());
        }
        let (net, train) = (&self.net, &self.train);
        for (name, count) in [
            ("net.stem", net.stem),
            ("net.growth", net.growth),
            ("net.layers", net.layers.into_iter().min().unwrap_or(0)),
            ("net.top_down", net.top_down.into_iter().min().unwrap_or(0)),
            ("net.mask", net.mask),
            ("train.steps", train.steps),
            ("train.batch", train.batch),
            ("train.mask_crop", train.mask_crop),
            ("train.negatives", train.negatives),
            ("train.hard_negatives", train.hard_negatives),
            ("train.checkpoint_every", train.checkpoint_every),
            ("infer.most", self.infer.most),
        ] {
            if count == 0 {
                return Err(format!("{name} must be above 0"));
            }
        }
        for (name, value) in
            [("train.learning_rate", train.learning_rate), ("train.clip_norm", train.clip_norm)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(format!("{name} is {value}: it must be above 0"));
            }
        }
        if !(train.weight_decay.is_finite() && train.weight_decay >= 0.0) {
            return Err(format!(
                "train.weight_decay is {}: it must be 0 or more",
                train.weight_decay
            ));
        }
        for (name, share) in [
            ("train.positive_share", train.positive_share),
            ("train.coarse_share", train.coarse_share),
            ("train.momentum", train.momentum),
            ("infer.threshold", self.infer.threshold),
            ("infer.nms_iou", self.infer.nms_iou),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{name} is {share}: it must lie in 0 to 1"));
            }
        }
        if let Some(coarser) = self.infer.coarser.iter().find(|n| !(2..=16).contains(*n)) {
            return Err(format!("infer.coarser holds {coarser}: it must lie in 2 to 16"));
        }
        if self.net.spacing_mm.is_nan() || self.net.spacing_mm <= 0.0 {
            return Err("net.spacing_mm must be above 0".into());
        }
        Ok(())
    }
}
