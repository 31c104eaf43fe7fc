//! The network that scans are segmented with: a run's, or the one that is part of the binary.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, Result};
use dasl_net::Device;
use dasl_net::config::Config;
use dasl_net::infer::Segmenter;
use dasl_net::optimizer::is_optimizer_state;
use dasl_net::weights::{self, Named, WeightsError};
use sha2::{Digest, Sha256};

use crate::run_folder::RunFolder;
use crate::trained_on::{self, Patients};

/// Weights of the network in the binary; docs/model-card.md says how they were made.
const WEIGHTS: &[u8] = include_bytes!("../model/weights.safetensors");
/// Its configuration.
const CONFIG: &str = include_str!("../model/config.toml");
/// Whom it was trained on.
const TRAINED_ON: &str = include_str!("../model/trained-on.txt");

/// The name of the network in the binary on the command line.
const BUILT_IN: &str = "built-in";

/// A finished network's files.
struct Source {
    weights: Cow<'static, [u8]>,
    /// Where the weights are from, for errors.
    shown: String,
    config: Config,
    trained_on: Patients,
}

impl Source {
    /// That of a run's folder; the one in the binary for `built-in` or none.
    fn of(from: Option<&Path>) -> Result<Self> {
        match from.filter(|from| *from != Path::new(BUILT_IN)) {
            None => Self::built_in(),
            Some(run) => Self::of_run(&RunFolder::new(run)),
        }
    }

    /// The network in the binary.
    fn built_in() -> Result<Self> {
        let config = toml::from_str(CONFIG).context("the configuration in the binary")?;
        Ok(Self {
            weights: WEIGHTS.into(),
            shown: "the weights in the binary".into(),
            config,
            trained_on: trained_on::listed(TRAINED_ON),
        })
    }

    /// A run's: its final weights, or those of the last checkpoint.
    fn of_run(folder: &RunFolder) -> Result<Self> {
        let config = folder.read_settings()?.network();
        let path = folder.weights_in_use()?;
        let shown = path.display().to_string();
        if path == folder.checkpoint() {
            eprintln!("{shown}: the training is not finished; its last checkpoint is used");
        }
        let weights = std::fs::read(&path).with_context(|| shown.clone())?;
        // An exported network is in a folder without a split, but with a list.
        let trained_on = if folder.split().exists() {
            folder.read_split()?.trained_on
        } else {
            trained_on::read(folder.root())?
        };
        Ok(Self { weights: weights.into(), shown, config, trained_on })
    }

    fn sha256(&self) -> String {
        format!("{:x}", Sha256::digest(&self.weights))
    }
}

/// A network and which one it is.
pub struct Model {
    /// The network, ready for use.
    pub segmenter: Segmenter,
    /// SHA-256 of its weights file.
    pub weights_sha256: String,
    /// Whom it was trained on.
    pub trained_on: Patients,
}

impl Model {
    /// That of a run's folder; the one in the binary for `built-in` or none.
    ///
    /// # Errors
    /// If the run has none or its files don't fit each other.
    pub fn of(run: Option<&Path>, device: &Device) -> Result<Self> {
        Self::new(Source::of(run)?, device)
    }

    /// A run's: its final weights, or those of the last checkpoint.
    ///
    /// # Errors
    /// If there is none or the files don't fit each other.
    pub fn of_run(folder: &RunFolder, device: &Device) -> Result<Self> {
        Self::new(Source::of_run(folder)?, device)
    }

    fn new(source: Source, device: &Device) -> Result<Self> {
        let weights_sha256 = source.sha256();
        let Source { weights, shown, config, trained_on } = source;
        let segmenter = Segmenter::from_bytes(&weights, &shown, config, device);
        let segmenter = segmenter.map_err(|error| match error {
            // The other errors name the file themselves.
            WeightsError::Mismatch { .. } => anyhow::Error::new(error).context(shown),
            error => error.into(),
        })?;
        Ok(Self { segmenter, weights_sha256, trained_on })
    }
}

/// A finished network's weights, to train on from or to export.
pub struct Finished {
    /// The weights, without an optimiser's state.
    pub weights: Named,
    /// What belongs to them.
    pub config: Config,
    /// SHA-256 of their file.
    pub sha256: String,
    /// Whom they were trained on.
    pub trained_on: Patients,
}

impl Finished {
    /// Those of a run's folder; those of the network in the binary for `built-in` or none.
    ///
    /// # Errors
    /// If the run has none or they can't be read.
    pub fn of(from: Option<&Path>) -> Result<Self> {
        let source = Source::of(from)?;
        let sha256 = source.sha256();
        let mut weights = weights::parse(&source.weights, &source.shown)?.0;
        weights.retain(|name, _| !is_optimizer_state(name));
        Ok(Self { weights, config: source.config, sha256, trained_on: source.trained_on })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_in_the_binary_fits_its_configuration() {
        let model = Model::of(None, &Device::flex()).unwrap();
        model.segmenter.config().validate().unwrap();
    }

    #[test]
    fn the_network_in_the_binary_was_trained_on_none_whom_it_is_tested_on() {
        let trained_on = Source::built_in().unwrap().trained_on;
        let tested_on = trained_on::listed(include_str!("../../../docs/model-test-patients.txt"));
        assert_eq!((trained_on.len(), tested_on.len()), (375, 94));
        assert!(trained_on.is_disjoint(&tested_on));
    }
}
