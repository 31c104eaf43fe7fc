//! Seconds and memory of one patch through the network.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use dasl_net::Device;
use dasl_net::config::Config;
use dasl_net::patch_pass::PatchPass;
use serde::Serialize;

use super::{median_seconds, peak_memory};

/// What one patch costs.
#[derive(Debug, Serialize)]
pub struct NetworkTimes {
    /// Preset.
    pub preset: String,
    /// Edge of the patch, voxels.
    pub edge: usize,
    /// Threads.
    pub threads: usize,
    /// Seconds in use.
    pub forward: f64,
    /// Peak memory in use, GB.
    pub forward_gb: Option<f64>,
    /// Seconds of forward and backward in training.
    pub training: f64,
    /// Peak memory in training, GB.
    pub training_gb: Option<f64>,
}

/// Times a patch; with `export`, writes weights, patch, outputs and times there for other
/// libraries to be held against.
///
/// # Errors
/// If the file can't be written.
pub fn measure(
    preset: &str,
    config: Config,
    edge: usize,
    device: &Device,
    export: Option<&Path>,
) -> Result<NetworkTimes> {
    let pass = PatchPass::new(config, edge, device);
    peak_memory::reset();
    for _ in 0..2 {
        pass.forward();
    }
    let forward = median_seconds(0.0, || _ = pass.forward());
    let forward_gb = peak_memory::gigabytes();
    peak_memory::reset();
    for _ in 0..2 {
        pass.forward_backward();
    }
    let training = median_seconds(0.0, || pass.forward_backward());
    let training_gb = peak_memory::gigabytes();
    let threads = rayon::current_num_threads();
    let preset = preset.to_string();
    let times = NetworkTimes { preset, edge, threads, forward, forward_gb, training, training_gb };
    if let Some(path) = export {
        let about = BTreeMap::from([("bench".into(), serde_json::to_string(&times)?)]);
        pass.write(path, about)?;
    }
    Ok(times)
}
