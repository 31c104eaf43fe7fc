//! One patch through the whole network, once with and once without its gradients: what is timed,
//! and what other libraries are held against.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::Config;
use crate::layer::normal;
use crate::model::NoduleRcnn;
use crate::weights::{self, Named, WeightsError};

/// A network with fresh weights and a patch of noise.
pub struct PatchPass {
    config: Config,
    edge: usize,
    device: Device,
    model: NoduleRcnn,
    patch: Vec<f32>,
}

impl PatchPass {
    /// For one patch of `edge`^3 voxels, a multiple of 16.
    pub fn new(config: Config, edge: usize, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let patch = (0..edge.pow(3)).map(|_| normal(&mut rng) as f32).collect();
        let model = NoduleRcnn::new(&config.net, 1, &device.clone().autodiff());
        Self { config, edge, device: device.clone(), model, patch }
    }

    /// Head output, [1, z/4, y/4, x/4, anchors, 5], and mask logits, [1, crop, crop, crop, 1], of
    /// the network in use.
    pub fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let (head, mask) = self.outputs(&self.model.valid(), &self.device);
        (values(head), values(mask))
    }

    /// The mean squares of both outputs of the network in training, and their gradients with
    /// respect to all weights.
    pub fn forward_backward(&self) {
        let (head, mask) = self.outputs(&self.model, &self.device.clone().autodiff());
        let loss = head.square().mean() + mask.square().mean();
        let _gradients = loss.backward();
        // A GPU may still be at it.
        self.device.sync().expect("the operations were valid");
    }

    fn outputs(&self, model: &NoduleRcnn, device: &Device) -> (Tensor<6>, Tensor<5>) {
        let shape = [1, self.edge, self.edge, self.edge, 1];
        let x = Tensor::from_data(TensorData::new(self.patch.clone(), shape), device);
        let features = model.features(x);
        let head = model.detect(features.p2);
        // An RoI in the middle, as for one nodule.
        let crop = self.config.train.mask_crop.min(self.edge);
        let start = (self.edge - crop) / 2;
        let roi = (1..4).fold(features.p0, |roi, axis| roi.narrow(axis, start, crop));
        (head, model.mask(roi))
    }

    /// Writes the weights (weights/...), the patch and both outputs to a safetensors file; the
    /// metadata is `about` and, under `config`, the configuration as JSON.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(
        &self,
        path: &Path,
        mut about: BTreeMap<String, String>,
    ) -> Result<(), WeightsError> {
        let (head, mask) = self.forward();
        let array = |values: Vec<f32>| weights::Values { shape: vec![values.len()], values };
        let mut named = Named::from([
            ("patch".into(), array(self.patch.clone())),
            ("head".into(), array(head)),
            ("mask".into(), array(mask)),
        ]);
        let model = weights::export(&self.model).into_iter();
        named.extend(model.map(|(name, values)| (format!("weights/{name}"), values)));
        let config = serde_json::to_string(&self.config).expect("a configuration is plain data");
        about.insert("config".into(), config);
        weights::save(path, &named, &about)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("outputs are f32")
}
