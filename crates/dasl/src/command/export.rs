//! `dasl export`: a network as files that other software reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_net::Device;
use dasl_net::infer::Segmenter;
use dasl_net::onnx::{self, Exported};
use dasl_net::weights;
use dasl_volume::write_atomic;

use crate::Outcome;
use crate::args::ExportArgs;
use crate::model::Finished;
use crate::out_folder::{self, Kind};
use crate::run_folder::RunFolder;
use crate::table;
use crate::trained_on::{self, Patients};

/// Runs the command.
///
/// # Errors
/// If the network can't be read or the files can't be written.
pub fn run(args: &ExportArgs, json: bool) -> Result<Outcome> {
    let Finished { weights: named, config, sha256, trained_on } =
        Finished::of(args.model.as_deref())?;
    let device = Device::flex();
    // Also checks that weights and configuration belong to each other.
    let segmenter = Segmenter::from_named(&named, config.clone(), &device)?;
    let Exported { network, mask } = onnx::export(&config.net, &named);
    out_folder::check(&args.out, Kind::Run)?;
    let real = |path: &Path| path.canonicalize().ok();
    if real(&args.out).is_some() && real(&args.out) == args.model.as_deref().and_then(real) {
        bail!("{} is what is exported: name another --out", args.out.display());
    }
    let out = RunFolder::new(&args.out);
    if out.split().exists() {
        bail!("{} holds a run: name another --out", args.out.display());
    }
    let network_file = args.out.join("network.onnx");
    if out.settings().exists() && !network_file.exists() {
        bail!("{} would be replaced: name another --out", out.settings().display());
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let mask_file = args.out.join("mask.onnx");
    let example_file = args.out.join("example.safetensors");
    write(&network_file, &network)?;
    write(&mask_file, &mask)?;
    weights::save(&example_file, &onnx::example(&segmenter), &BTreeMap::new())?;
    let about = BTreeMap::from([("sha256_of_source".to_string(), sha256)]);
    weights::save(&out.weights(), &named, &about)?;
    write(&out.settings(), toml::to_string_pretty(&config)?.as_bytes())?;
    let mut files = vec![
        (network_file, "HU patch to detection and mask features"),
        (mask_file, "region of the mask features to mask"),
        (example_file, "a patch and what dasl makes of it, to check a runtime"),
        (out.weights(), "the weights; with config.toml a --model for dasl"),
        (out.settings(), "the configuration"),
    ];
    let listed = if args.patients { trained_on } else { Patients::new() };
    if let Some(list) = trained_on::write(&args.out, &listed)? {
        files.push((list, "the patients that it was trained on"));
    }
    if json {
        let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "files": paths }))?);
    } else {
        let row =
            |(path, what): &(PathBuf, &str)| vec![path.display().to_string(), (*what).to_string()];
        println!(
            "{}",
            table::render(&["file", "what"], &files.iter().map(row).collect::<Vec<_>>())
        );
    }
    Ok(Outcome::Done)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |file| file.write_all(bytes)).with_context(|| path.display().to_string())
}
