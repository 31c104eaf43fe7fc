//! A run's folder: configuration, split and origin beside the weights.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use dasl_net::weights::{self, Named};
use dasl_volume::dataset::{Dataset, DatasetInfo};
use dasl_volume::write_atomic;
use serde::{Deserialize, Serialize};

use crate::config_file::{Settings, in_one_line};
use crate::out_folder::{self, Kind};
use crate::split::Split;

/// Where a run comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of dasl.
    pub dasl_version: String,
    /// Determines every number.
    pub seed: u64,
    /// The dataset's description.
    pub dataset: DatasetInfo,
    /// Scans in it.
    pub scans: usize,
    /// SHA-256 of the weights file that the training began with; `None` for fresh weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_with_sha256: Option<String>,
}

/// What a training begins with, where it is not fresh weights.
pub struct InitialWeights {
    /// The weights, without an optimiser's state.
    pub weights: Named,
    /// SHA-256 of the file that they are from.
    pub sha256: String,
}

/// Paths in a run's folder.
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The folder at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The configuration as it was resolved.
    pub fn settings(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Patients, samples and background of training and validation.
    pub fn split(&self) -> PathBuf {
        self.root.join("split.json")
    }

    /// Weights and optimiser of a training that goes on.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint.safetensors")
    }

    /// Weights that the training begins with, where they are not fresh.
    pub fn initial(&self) -> PathBuf {
        self.root.join("initial.safetensors")
    }

    /// The result.
    pub fn weights(&self) -> PathBuf {
        self.root.join("weights.safetensors")
    }

    /// The weights that the training begins with; `None` for fresh ones.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn read_initial(&self) -> Result<Option<Named>> {
        let path = self.initial();
        Ok(if path.exists() { Some(weights::load(&path)?.0) } else { None })
    }

    /// Losses per step.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.csv")
    }

    /// The learning loop's state and ledger.
    pub fn rounds(&self) -> PathBuf {
        self.root.join("learn")
    }

    /// What readers answered.
    pub fn annotations(&self) -> PathBuf {
        self.root.join("annotations")
    }

    /// Writes what a new run is made of.
    ///
    /// # Errors
    /// If the folder holds something else or can't be written.
    pub fn create(
        &self,
        settings: &Settings,
        split: &Split,
        dataset: &Dataset,
        seed: u64,
        start: Option<&InitialWeights>,
    ) -> Result<()> {
        out_folder::check(&self.root, Kind::Run)?;
        std::fs::create_dir_all(&self.root).with_context(|| self.root.display().to_string())?;
        let origin = Origin {
            dasl_version: env!("CARGO_PKG_VERSION").into(),
            seed,
            dataset: dataset.info().clone(),
            scans: dataset.scan_ids().len(),
            began_with_sha256: start.map(|start| start.sha256.clone()),
        };
        match start {
            Some(start) => weights::save(&self.initial(), &start.weights, &BTreeMap::new())?,
            // What a begin that was killed left is not what this run begins with.
            None if self.initial().exists() => std::fs::remove_file(self.initial())?,
            None => {}
        }
        write(&self.root.join("origin.json"), &serde_json::to_string_pretty(&origin)?)?;
        write(&self.split(), &serde_json::to_string_pretty(split)?)?;
        // Last: a folder with a configuration is a run.
        self.write_settings(settings)
    }

    /// Keeps other processes from training in the folder while the result lives.
    ///
    /// # Errors
    /// If one does, or the lock can't be made.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("run.lock");
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("{}: another process trains in it; wait for its end", self.root.display())
            }
            // A file system without locks has nothing to offer.
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(lock),
        }
    }

    /// Whether there is a run.
    pub fn exists(&self) -> bool {
        self.settings().exists()
    }

    /// The configuration of the run that is there.
    ///
    /// # Errors
    /// If there is none or it can't be read.
    pub fn read_settings(&self) -> Result<Settings> {
        let path = self.settings();
        if !path.exists() {
            bail!(
                "{} is no run of dasl (config.toml is missing); name a folder that `dasl train` \
                 or `dasl learn` wrote",
                self.root.display()
            );
        }
        let text = std::fs::read_to_string(&path)?;
        let settings: Settings = toml::from_str(&text)
            .map_err(|e| anyhow!("{}: {}", path.display(), in_one_line(&e, Some(&text))))?;
        settings.check().with_context(|| path.display().to_string())?;
        Ok(settings)
    }

    /// Where the run that is there comes from.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read_origin(&self) -> Result<Origin> {
        let path = self.root.join("origin.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Whether the run that is there was made by `dasl train`.
    pub fn is_training(&self) -> bool {
        self.exists() && (self.log().exists() || self.checkpoint().exists())
    }

    /// Replaces the configuration of the run that is there.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write_settings(&self, settings: &Settings) -> Result<()> {
        write(&self.settings(), &toml::to_string_pretty(settings)?)
    }

    /// Refuses to go on with a dataset whose voxels or nodules are not those that the run began with.
    ///
    /// # Errors
    /// If it is one, or the run's origin can't be read.
    pub fn check_dataset(&self, dataset: &Dataset) -> Result<()> {
        let own = self.read_origin()?.dataset;
        if let Some((what, own, given)) = own.differs_from(dataset.info()) {
            bail!(
                "{}: this run began with a dataset of {what} {own}, not {given}: give the same \
                 dataset, or another --out",
                self.root.display()
            );
        }
        Ok(())
    }

    /// Whether the run that is there was made by `dasl learn`: its loop has begun.
    pub fn is_learning(&self) -> bool {
        self.rounds().join("state.json").exists()
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The split of the run that is there.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read_split(&self) -> Result<Split> {
        let path = self.split();
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The file of the run's final weights, or of its last checkpoint.
    ///
    /// # Errors
    /// If there is neither.
    pub fn weights_in_use(&self) -> Result<PathBuf> {
        let candidates = [self.weights(), self.checkpoint()];
        candidates.into_iter().find(|path| path.exists()).ok_or_else(|| {
            anyhow!("{} has no weights yet: let its training finish", self.root.display())
        })
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}
