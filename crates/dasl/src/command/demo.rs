//! `dasl demo`: everything on a made-up cohort.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dasl_lidc::Rule;
use dasl_metrics::RESAMPLES;
use dasl_net::Device;
use dasl_net::config::Preset;
use dasl_phantom::{PhantomConfig, cohort};
use dasl_volume::dataset::Dataset;
use dasl_volume::dicom::read_folder;

use super::evaluate::{self, evaluate};
use super::import_lidc::import;
use super::learn::learn;
use super::segment::{Identity, MadeWith, Scan, segment, write};
use super::status::rounds;
use crate::Outcome;
use crate::args::{BootstrapArgs, DemoArgs, MIN_DIAMETER_MM};
use crate::config_file::Settings;
use crate::model::Model;
use crate::progress::bar;
use crate::report;
use crate::run_folder::RunFolder;
use crate::split::Split;

/// Scans to learn from.
const SCANS: usize = 10;
/// Scans kept back, to segment.
const UNSEEN: usize = 2;

/// Runs the command.
///
/// # Errors
/// If the folder is in use or can't be written.
pub fn run(args: &DemoArgs, json: bool) -> Result<Outcome> {
    let start = Instant::now();
    let out = &args.out;
    if out.exists() && fs::read_dir(out)?.next().is_some() {
        bail!("{} is not empty: remove it, or name another folder with --out", out.display());
    }
    say("making a cohort of synthetic scans, as DICOM with LIDC XML");
    let unseen = make_cohort(out, args.seed)?;

    say("importing it");
    let dataset = imported(&out.join("cohort"), &out.join("dataset"))?;
    let reference = imported(&out.join("unseen"), &out.join("unseen-dataset"))?;

    say("training `tiny` and learning in the sequence SPL-AL-SPL");
    let settings = settings(args.seed);
    let split = Split::draw(&dataset, 0.2, args.seed)?;
    let folder = RunFolder::new(&out.join("run"));
    folder.create(&settings, &split, &dataset, args.seed, None)?;
    let state = learn(&dataset, &settings, &split, &folder, Device::flex(), None, &mut |_, _| {})?;

    say("segmenting scans it has not seen");
    let model = Model::of_run(&folder, &Device::flex())?;
    let found = out.join("segmented");
    let made_with = MadeWith::of(&model, MIN_DIAMETER_MM);
    let progress = bar("segment", unseen.len() as u64);
    for path in &unseen {
        let scan = unseen_scan(path)?;
        let outlined = segment(&model.segmenter, &scan, MIN_DIAMETER_MM, &progress)?;
        write(&found, &scan, &outlined, &made_with, &model.trained_on)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let bootstrap = BootstrapArgs { bootstrap: RESAMPLES, seed: args.seed };
    let evaluation = evaluate(&found, &reference, bootstrap)?;
    evaluate::write(&found, &evaluation)?;
    let report = report::write(&[folder.root().to_path_buf(), found], out)?.report;

    if json {
        let result = serde_json::json!({
            "report": report, "rounds": state.history, "evaluation": evaluation,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!("{}\n", rounds(&state));
        println!("{}\n", evaluate::render(&evaluation));
        println!("report: {} ({:.0} s)", report.display(), start.elapsed().as_secs_f64());
    }
    Ok(Outcome::Done)
}

fn say(text: &str) {
    eprintln!("demo: {text}");
}

/// Small enough for five minutes on two cores. The paper's pace is for a network that is sure of
/// itself after days of training; this one is not, so it starts further up.
fn settings(seed: u64) -> Settings {
    let mut settings = Settings::preset(Preset::Tiny);
    settings.learn.initial_steps = 450;
    settings.learn.round_steps = 125;
    // Few scans: background and vessels must be learnt from fewer patches.
    settings.train.positive_share = 0.6;
    settings.train.hard_negatives = 8;
    let engine = &mut settings.learn.engine;
    engine.lambda_0 = 0.2;
    engine.alpha = 0.1;
    engine.initial = 16;
    engine.per_round = 4;
    engine.spl_rounds = 1;
    engine.al_rounds = 2;
    engine.seed = seed;
    settings
}

/// Writes the scans and sets the last ones apart; returns the series folders of those.
fn make_cohort(out: &Path, seed: u64) -> Result<Vec<PathBuf>> {
    let (all, unseen) = (out.join("cohort"), out.join("unseen"));
    fs::create_dir_all(&unseen).with_context(|| unseen.display().to_string())?;
    let child = PhantomConfig {
        shape: [84, 182, 252],
        spacing_mm: [2.0, 1.0, 1.0],
        scale: 0.7,
        nodules: 5,
        diameter_mm: [6.0, 22.0],
        ..PhantomConfig::default()
    };
    let patients = cohort(&child, seed, SCANS + UNSEEN, &all)?;
    for patient in &patients[SCANS..] {
        fs::rename(all.join(patient), unseen.join(patient))?;
    }
    Ok(patients[SCANS..].iter().map(|p| unseen.join(p)).collect())
}

fn unseen_scan(folder: &Path) -> Result<Scan> {
    let scan = read_folder(folder)?;
    let identity =
        Identity::Series { series_uid: scan.series_uid.clone(), files: scan.source.len() };
    Scan::of_series(scan.patient_id.clone(), identity, scan)
}

fn imported(src: &Path, out: &Path) -> Result<Dataset> {
    let imported = import(src, out, Rule::Pylidc, 1.0)?;
    if let Some((what, why)) = imported.set_aside.first() {
        bail!("{what}: {why}");
    }
    imported.dataset().finish()?;
    Ok(Dataset::open(out)?)
}
