//! `dasl train`: a network from all annotations of a dataset.

use anyhow::{Result, bail};
use dasl_net::config::NetConfig;
use dasl_net::infer::Segmenter;
use dasl_net::patch::{Known, TrainingSample, TrainingSet};
use dasl_net::sample::{compare, predict_sample};
use dasl_net::trainer::{StepLosses, TrainError, Trainer};
use dasl_net::weights;
use dasl_volume::dataset::{Dataset, DatasetError};
use std::collections::BTreeMap;

use crate::Outcome;
use crate::args::{NetworkArgs, PresetArg, TrainArgs};
use crate::config_file::Settings;
use crate::curve;
use crate::model::Finished;
use crate::progress::{bar, bar_from};
use crate::run_folder::{InitialWeights, Origin, RunFolder};
use crate::split::{Sample, Split};
use crate::table;

/// Runs the command.
///
/// # Errors
/// If the dataset can't be read, there is nothing to train on, or the run can't be written.
pub fn run(args: &TrainArgs, json: bool) -> Result<Outcome> {
    let dataset = Dataset::open(&args.dataset)?;
    let folder = RunFolder::new(&args.out);
    let (settings, split, seed) = begin(args, &folder, &dataset)?;
    let _lock = folder.lock()?;
    let device = args.network.device.open()?;
    let mut trainer = Trainer::new(settings.network(), seed, &device);
    if args.resume && folder.checkpoint().exists() {
        trainer.load(&folder.checkpoint())?;
    } else if let Some(weights) = folder.read_initial()? {
        trainer.start_from(Some(&weights))?;
    }
    let set = all_annotated(&split);
    let last = train(&mut trainer, &dataset, &set, &settings, &folder)?;
    weights::save(&folder.weights(), &weights::export(&trainer.model()), &BTreeMap::new())?;

    let segmenter = Segmenter::new(trainer.model(), settings.network(), &device);
    let progress = bar("validate", split.validation.len() as u64);
    let mut tell = |done: usize, _| progress.set_position(done as u64);
    let scores = validate(&segmenter, &dataset, &split.validation, &mut tell)?;
    progress.finish_and_clear();
    if json {
        let result = serde_json::json!({
            "run": args.out, "steps": trainer.steps_done(), "last": last, "validation": scores,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!("{}", table::render(&SampleScores::HEADER, &[scores.row()]));
        println!("weights: {}", folder.weights().display());
    }
    Ok(Outcome::Done)
}

/// Settings, split and seed of a new run, written down, or those of the run that goes on.
///
/// # Errors
/// If the folder holds a run that is not to go on, or the settings are wrong.
fn begin(
    args: &TrainArgs,
    folder: &RunFolder,
    dataset: &Dataset,
) -> Result<(Settings, Split, u64)> {
    let root = folder.root().display();
    if folder.is_learning() {
        bail!("{root} holds a run of `dasl learn`: name another --out");
    }
    if args.resume && folder.exists() {
        folder.check_dataset(dataset)?;
        let (settings, origin) = (folder.read_settings()?, folder.read_origin()?);
        let seed = origin.seed;
        let asked = &args.network;
        if asked.seed.is_some_and(|asked| asked != seed)
            || asks_for_other(asked, &origin, dataset, |new| *new != settings)?
        {
            bail!(
                "{root} holds a run with other settings, by which --resume goes on: leave --preset, \
                 --config, --from and --seed out, or name another --out and begin with --from {root}"
            );
        }
        return Ok((settings, folder.read_split()?, seed));
    }
    if args.resume {
        eprintln!("{root} holds no run yet: one is begun");
    }
    if folder.exists() {
        bail!("{root} holds a run already: add --resume to go on with it, or name another --out");
    }
    let New { settings, split, start } = resolve(&args.network, dataset)?;
    if split.train.is_empty() {
        bail!(TrainError::Empty);
    }
    let seed = args.network.new_seed();
    folder.create(&settings, &split, dataset, seed, start.as_ref())?;
    Ok((settings, split, seed))
}

/// Whether --preset, --config or --from, where one is given, are not what a run began with: by its
/// origin, and by the settings that they come to.
///
/// # Errors
/// As [`resolve`].
pub fn asks_for_other(
    asked: &NetworkArgs,
    origin: &Origin,
    dataset: &Dataset,
    differ: impl FnOnce(&mut Settings) -> bool,
) -> Result<bool> {
    if asked.preset.is_none() && asked.config.is_none() && asked.from.is_none() {
        return Ok(false);
    }
    let New { mut settings, start, .. } = resolve(asked, dataset)?;
    let began_with = start.map(|start| start.sha256);
    let begins_otherwise = asked.from.is_some() && began_with != origin.began_with_sha256;
    Ok(begins_otherwise || differ(&mut settings))
}

/// What a new run is made of.
pub struct New {
    /// Its settings.
    pub settings: Settings,
    /// Its split.
    pub split: Split,
    /// What it begins with; `None` for fresh weights.
    pub start: Option<InitialWeights>,
}

/// A new run's settings, split and first weights.
///
/// # Errors
/// If a setting is wrong, or the dataset or the weights can't be read.
pub fn resolve(args: &NetworkArgs, dataset: &Dataset) -> Result<New> {
    let preset = args.preset.unwrap_or(PresetArg::Small);
    let mut settings = Settings::resolve(preset.into(), args.config.as_deref())?;
    let start = args.from.as_deref().map(|from| Finished::of(Some(from))).transpose()?;
    let spacing_mm = dataset.info().spacing_mm;
    if let (Some(start), Some(from)) = (&start, &args.from) {
        let its = start.config.net.spacing_mm;
        if (its - spacing_mm).abs() > 1e-9 {
            bail!(
                "--from {}: that network sees voxels of {its} mm, the dataset has {spacing_mm} mm: \
                 import it anew with --spacing {its}, or begin with fresh weights",
                from.display()
            );
        }
        let preset = Settings::preset(preset.into()).net;
        let own = NetConfig { spacing_mm: preset.spacing_mm, ..settings.net.clone() };
        let theirs = NetConfig { spacing_mm: preset.spacing_mm, ..start.config.net.clone() };
        if own != preset && own != theirs {
            bail!("--config sets [net], which is that of --from {}: leave it out", from.display());
        }
        settings.net = start.config.net.clone();
    }
    settings.net.spacing_mm = spacing_mm;
    let mut split = Split::draw(dataset, args.validation, args.new_seed())?;
    split.trained_on.extend(start.iter().flat_map(|start| start.trained_on.clone()));
    let start = start.map(|Finished { weights, sha256, .. }| InitialWeights { weights, sha256 });
    Ok(New { settings, split, start })
}

fn all_annotated(split: &Split) -> TrainingSet {
    let sample = |s: &Sample| TrainingSample {
        scan: s.scan.clone(),
        label: s.label,
        weight: 1.0,
        known: Known::Dataset,
    };
    TrainingSet {
        samples: split.train.iter().map(sample).collect(),
        background: split.background.clone(),
        annotated_share: 0.0,
    }
}

/// Trains to the last step, with checkpoints on the way.
fn train(
    trainer: &mut Trainer,
    dataset: &Dataset,
    set: &TrainingSet,
    settings: &Settings,
    folder: &RunFolder,
) -> Result<Option<StepLosses>> {
    curve::begin(&folder.log(), trainer.steps_done())?;
    let (steps, done) = (settings.train.steps as u64, trainer.steps_done() as u64);
    let progress = bar_from("train", steps, done);
    let mut last = None;
    while trainer.steps_done() < settings.train.steps {
        let losses = trainer.train_step(dataset, set)?;
        curve::append(&folder.log(), &losses)?;
        progress.inc(1);
        progress.set_message(format!("loss {:.3}", losses.total));
        if trainer.steps_done().is_multiple_of(settings.train.checkpoint_every) {
            trainer.save(&folder.checkpoint())?;
        }
        last = Some(losses);
    }
    trainer.save(&folder.checkpoint())?;
    progress.finish_and_clear();
    Ok(last)
}

/// How a network does on samples whose place is given.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SampleScores {
    /// Samples.
    pub samples: usize,
    /// Mean Dice, a miss counted as 0.
    pub dice: Option<f64>,
    /// Mean Dice of those that were found.
    pub tp_dice: Option<f64>,
    /// Share that was found: objectness above the threshold and a mask that overlaps.
    pub hit_rate: Option<f64>,
    /// Mean Dice whatever the objectness: of the mask where the place of the nodule is given.
    pub mask_dice: Option<f64>,
}

impl SampleScores {
    const HEADER: [&str; 5] = ["validation samples", "Dice", "TP Dice", "hit rate", "mask Dice"];

    fn row(&self) -> Vec<String> {
        vec![
            self.samples.to_string(),
            table::figure(self.dice),
            table::figure(self.tp_dice),
            table::figure(self.hit_rate),
            table::figure(self.mask_dice),
        ]
    }
}

/// Scores samples; `progress` hears of those done and in total.
///
/// # Errors
/// If the dataset can't be read.
pub fn validate(
    segmenter: &Segmenter,
    dataset: &Dataset,
    samples: &[Sample],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<SampleScores, DatasetError> {
    let (mut dice, mut masks) = (Vec::new(), Vec::new());
    for (i, sample) in samples.iter().enumerate() {
        let found = predict_sample(segmenter, dataset, &sample.scan, sample.label)?;
        let (shared, a, b) = compare(&found, dataset, &sample.scan, sample.label)?;
        let hit = found.proposal.score >= segmenter.config().infer.threshold && shared > 0;
        let mask = dasl_metrics::dice(shared, a, b);
        masks.push(mask);
        dice.push(if hit { mask } else { 0.0 });
        progress(i + 1, samples.len());
    }
    let mean = |v: &[f64]| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
    let hits: Vec<f64> = dice.iter().copied().filter(|d| *d > 0.0).collect();
    Ok(SampleScores {
        samples: dice.len(),
        dice: mean(&dice),
        tp_dice: mean(&hits),
        hit_rate: mean(&dice.iter().map(|d| if *d > 0.0 { 1.0 } else { 0.0 }).collect::<Vec<_>>()),
        mask_dice: mean(&masks),
    })
}
