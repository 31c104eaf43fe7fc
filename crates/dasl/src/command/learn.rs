//! `dasl learn`: active and self-paced rounds with a reader, simulated or real.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use dasl_learn::sample::SampleId;
use dasl_learn::state::{Phase, RunState};
use dasl_learn::{Event, Observer, Run, Strategy};
use dasl_net::Device;
use dasl_volume::dataset::Dataset;
use indicatif::ProgressBar;

use super::status::{self, Waiting, rounds};
use super::train::{New, resolve};
use crate::Outcome;
use crate::annotation_store::AnnotationStore;
use crate::args::{LearnArgs, LearnWhat};
use crate::config_file::Settings;
use crate::curriculum;
use crate::network_learner::{Begun, HiddenLabels, NetworkLearner, ROUND_WEIGHTS};
use crate::oracle_choice::OracleChoice;
use crate::progress::bar;
use crate::queue::QueueOracle;
use crate::run_folder::RunFolder;
use crate::split::{Sample, Split};

/// Runs the command.
///
/// # Errors
/// If the dataset can't be read, a setting is wrong, or the run can't be written.
pub fn run(args: &LearnArgs, json: bool) -> Result<Outcome> {
    let (dataset, folder) = match (&args.what, &args.dataset, &args.out) {
        (Some(LearnWhat::Status(args)), ..) => return status::run(args, json),
        (None, Some(dataset), Some(out)) => (Dataset::open(dataset)?, RunFolder::new(out)),
        _ => bail!("name the dataset and --out: see dasl learn --help"),
    };
    let (settings, split) = begin(args, &folder, &dataset)?;
    let device = args.network.device.open()?;
    let state = learn(&dataset, &settings, &split, &folder, device, None, &mut |_, _| {})?;
    let waiting = Waiting::of(&state, &settings.learn.oracle);
    if json && waiting.is_none() {
        println!("{}", serde_json::to_string_pretty(&state.history)?);
    } else if json {
        let result = serde_json::json!({ "history": state.history, "waiting": waiting });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else if !state.history.is_empty() {
        println!("{}", rounds(&state));
        let of = state.best().map_or(String::new(), |best| format!(", of round {}", best.round));
        println!("weights: {}{of}", folder.weights().display());
    }
    let Some(waiting) = waiting else { return Ok(Outcome::Done) };
    eprintln!("{waiting}, then run the same command again");
    Ok(Outcome::Waiting)
}

/// A new run's settings and split, written down, or those of the run that goes on.
fn begin(args: &LearnArgs, folder: &RunFolder, dataset: &Dataset) -> Result<(Settings, Split)> {
    if folder.is_learning() {
        folder.check_dataset(dataset)?;
        let mut settings = folder.read_settings()?;
        let there = &mut settings.learn.oracle;
        match args.oracle.clone().map(absolute).transpose()? {
            Some(wanted) if wanted == *there => {}
            Some(OracleChoice::Queue(moved)) if matches!(there, OracleChoice::Queue(_)) => {
                *there = OracleChoice::Queue(moved);
                folder.write_settings(&settings)?;
            }
            Some(wanted) => bail!(
                "{}: this run's oracle is {there}, not {wanted}: give the same, or another --out",
                folder.root().display()
            ),
            None => {}
        }
        eprintln!(
            "going on with the run in {}; the settings written there hold",
            folder.root().display()
        );
        return Ok((settings, folder.read_split()?));
    }
    if folder.is_training() || folder.weights().exists() {
        bail!(
            "{} holds a network that `dasl learn` has not made: name another --out",
            folder.root().display()
        );
    }
    let New { mut settings, split, start } = resolve(&args.network, dataset)?;
    override_engine(&mut settings, args)?;
    if let Some(oracle) = &args.oracle {
        settings.learn.oracle = oracle.clone();
    }
    settings.learn.oracle = absolute(settings.learn.oracle)?;
    if let Some(path) = &args.curriculum {
        settings.learn.engine.curriculum = curriculum::read(path, dataset)?;
    }
    let samples = pool(&settings, &split).count();
    if samples == 0 && !split.candidates.is_empty() {
        bail!(
            "nobody has annotated the dataset's nodules, which --oracle labels would reveal: ask a \
             reader with --oracle queue:DIR"
        );
    }
    warn_if_all_are_initial(settings.learn.engine.initial, samples);
    if settings.learn.engine.patience.is_some() && split.validation.is_empty() {
        bail!(
            "learn.engine.patience needs scores, and there is nothing to validate on: leave it out, \
             or add annotated scans of two patients and more"
        );
    }
    folder.create(&settings, &split, dataset, args.network.new_seed(), start.as_ref())?;
    Ok((settings, split))
}

/// The folder of a queue from the root on: the run may go on from another folder.
fn absolute(oracle: OracleChoice) -> Result<OracleChoice> {
    Ok(match oracle {
        OracleChoice::Queue(folder) => OracleChoice::Queue(std::path::absolute(folder)?),
        OracleChoice::Labels => oracle,
    })
}

/// The command line's values in place of the configuration's.
fn override_engine(settings: &mut Settings, args: &LearnArgs) -> Result<()> {
    let engine = &mut settings.learn.engine;
    engine.seed = args.network.new_seed();
    if let Some(initial) = args.initial {
        engine.initial = initial;
    }
    if let Some(sequence) = &args.sequence {
        engine.sequence = sequence.parse()?;
    }
    if let Some(strategy) = &args.strategy {
        let value = serde_json::Value::String(strategy.clone());
        engine.strategy = serde_json::from_value(value)
            .map_err(|_| anyhow!("--strategy {strategy}: choose {}", strategies()))?;
    }
    if args.budget.is_some() {
        engine.budget = args.budget;
    }
    engine.check()?;
    Ok(())
}

/// The samples that may be asked about.
fn pool<'a>(settings: &Settings, split: &'a Split) -> impl Iterator<Item = &'a Sample> {
    // Of a candidate there is no label that a simulated reader could reveal.
    let asked = match settings.learn.oracle {
        OracleChoice::Queue(_) => &split.candidates[..],
        OracleChoice::Labels => &[],
    };
    split.train.iter().chain(asked)
}

/// Says if annotating the initial set leaves nothing to choose from.
pub fn warn_if_all_are_initial(initial: usize, pool: usize) {
    if initial >= pool {
        tracing::warn!(
            "the initial set, of {initial}, takes all {pool} samples: no active and no self-paced \
             round will follow; give a smaller --initial"
        );
    }
}

/// The names of all strategies.
fn strategies() -> String {
    let name = |s: &Strategy| serde_json::to_value(s).ok()?.as_str().map(str::to_owned);
    Strategy::ALL.iter().filter_map(name).collect::<Vec<_>>().join(", ")
}

/// Begins the loop, or goes on with it, to its end or until it waits for a reader; leaves the best
/// round's weights as the run's. `begun` is the initial training, where another run has done it;
/// `timed` hears of each round that this process did from its first step to its last.
///
/// # Errors
/// As [`run`].
pub fn learn(
    dataset: &Dataset,
    settings: &Settings,
    split: &Split,
    folder: &RunFolder,
    device: Device,
    begun: Option<Begun>,
    timed: Timed<'_>,
) -> Result<RunState> {
    let rounds = folder.rounds();
    let mut run = if folder.is_learning() {
        Run::open(&rounds)?
    } else {
        let pool = pool(settings, split).map(|s| SampleId::from(s.name())).collect();
        Run::create(&rounds, settings.learn.engine.clone(), pool, Vec::new())?
    };
    let seed = run.state().config.seed;
    // A round that another process began has taken longer than it takes here.
    let whole = matches!(run.state().phase, Phase::Start | Phase::Predict);
    let queue_device = device.clone();
    let mut learner = NetworkLearner::new(dataset, settings.clone(), split, seed, device);
    if let Some(weights) = folder.read_initial()? {
        learner.begin_with(weights)?;
    }
    learner.begun = begun;
    learner.progress = bar("learn", 1);
    let progress = learner.progress.clone();
    let mut watcher = Watcher { progress, begun: None, whole, timed };
    match &settings.learn.oracle {
        OracleChoice::Labels => {
            let mut oracle = HiddenLabels::new(dataset, split);
            run.advance(&mut learner, &mut oracle, &mut watcher)?;
        }
        OracleChoice::Queue(queue) => {
            let store = AnnotationStore::new(&folder.annotations());
            learner.annotations = Some(store.clone());
            let (network, queue) = (settings.network(), queue.clone());
            let mut oracle =
                QueueOracle::new(dataset, network, queue_device, queue, store, folder.initial());
            let advanced = run.advance(&mut learner, &mut oracle, &mut watcher);
            watcher.progress.finish_and_clear();
            oracle.notes.iter().for_each(|note| eprintln!("{note}"));
            advanced?;
        }
    }
    watcher.progress.finish_and_clear();
    let state = run.state().clone();
    if let Some(best) = state.best() {
        publish(&rounds.join(&best.weights).join(ROUND_WEIGHTS), &folder.weights())?;
    }
    Ok(state)
}

/// Copies a round's weights to where the run's are looked for.
fn publish(from: &Path, to: &Path) -> Result<()> {
    let (mut named, about) = dasl_net::weights::load(from)?;
    named.retain(|name, _| !dasl_net::optimizer::is_optimizer_state(name));
    dasl_net::weights::save(to, &named, &about).with_context(|| to.display().to_string())
}

/// Hears of the end of a round (its number) and the seconds it took.
pub type Timed<'a> = &'a mut dyn FnMut(usize, f64);

struct Watcher<'a> {
    progress: ProgressBar,
    /// When the round began; `None` if that was in another process.
    begun: Option<Instant>,
    /// Whether the next round to begin is one from its first step on.
    whole: bool,
    timed: Timed<'a>,
}

impl Observer for Watcher<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Round { round, kind, .. } => {
                self.begun = self.whole.then(Instant::now);
                self.whole = true;
                self.progress.set_prefix(format!("round {round} {kind}"));
            }
            Event::Predicted { done, of } => {
                if *done as u64 <= self.progress.position() {
                    // Another stage's position: its time does not count.
                    self.progress.reset();
                }
                self.progress.set_length(*of as u64);
                self.progress.set_position(*done as u64);
                self.progress.set_message("predicting the pool");
            }
            Event::Recorded { record } => {
                tracing::info!(
                    "round {} {}: Dice {:.3}, {} annotated, {} pseudo-labelled",
                    record.round,
                    record.kind,
                    record.score.value,
                    record.annotated,
                    record.pseudo
                );
                if let Some(begun) = self.begun {
                    (self.timed)(record.round, begun.elapsed().as_secs_f64());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
