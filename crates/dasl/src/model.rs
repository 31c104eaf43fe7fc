//! The network that scans are segmented with: a run's, or the one that is part of the binary.

use std::path::Path;

use anyhow::{Context, Result};
use dasl_net::Device;
use dasl_net::config::Config;
use dasl_net::infer::Segmenter;
use dasl_net::weights::WeightsError;
use sha2::{Digest, Sha256};

use crate::run_folder::RunFolder;

/// Weights of the network in the binary; docs/model-card.md says how they were made.
const WEIGHTS: &[u8] = include_bytes!("../model/weights.safetensors");
/// Its configuration.
const CONFIG: &str = include_str!("../model/config.toml");

/// A network and which one it is.
pub struct Model {
    /// The network, ready for use.
    pub segmenter: Segmenter,
    /// SHA-256 of its weights file.
    pub weights_sha256: String,
}

impl Model {
    /// The one of a run's folder, or else the one in the binary.
    ///
    /// # Errors
    /// If the run has none or its files don't fit each other.
    pub fn of(run: Option<&Path>, device: &Device) -> Result<Self> {
        match run {
            Some(run) => Self::of_run(&RunFolder::new(run), device),
            None => Self::built_in(device),
        }
    }

    /// A run's: its final weights, or those of the last checkpoint.
    ///
    /// # Errors
    /// If there is none or the files don't fit each other.
    pub fn of_run(folder: &RunFolder, device: &Device) -> Result<Self> {
        let config = folder.read_settings()?.network();
        let path = folder.weights_in_use()?;
        let shown = path.display().to_string();
        let weights = std::fs::read(&path).with_context(|| shown.clone())?;
        Self::new(&weights, &shown, config, device).map_err(|error| match error {
            // The other errors name the file themselves.
            WeightsError::Mismatch { .. } => anyhow::Error::new(error).context(shown),
            error => error.into(),
        })
    }

    /// The one in the binary.
    ///
    /// # Errors
    /// Never: that it fits is tested.
    fn built_in(device: &Device) -> Result<Self> {
        let config = toml::from_str(CONFIG).context("the configuration in the binary")?;
        Ok(Self::new(WEIGHTS, "the weights in the binary", config, device)?)
    }

    fn new(
        weights: &[u8],
        shown: &str,
        config: Config,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            segmenter: Segmenter::from_bytes(weights, shown, config, device)?,
            weights_sha256: format!("{:x}", Sha256::digest(weights)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_in_the_binary_fits_its_configuration() {
        let model = Model::built_in(&Device::flex()).unwrap();
        model.segmenter.config().validate().unwrap();
    }
}
