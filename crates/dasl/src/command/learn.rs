//! `dasl learn`: active and self-paced rounds with a reader, simulated or real.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dasl_learn::sample::{AnnotatedSample, SampleId};
use dasl_learn::state::{Phase, RunState};
use dasl_learn::{Event, Observer, Run};
use dasl_net::Device;
use dasl_volume::dataset::Dataset;
use indicatif::ProgressBar;

use super::status::{self, Waiting, rounds};
use crate::Outcome;
use crate::annotation_store::AnnotationStore;
use crate::args::{LearnArgs, LearnWhat};
use crate::config_file::Settings;
use crate::hidden_labels::HiddenLabels;
use crate::network_learner::{Begun, NetworkLearner, ROUND_WEIGHTS};
use crate::oracle_choice::OracleChoice;
use crate::progress::bar;
use crate::queue::QueueOracle;
use crate::run_folder::RunFolder;
use crate::split::{Sample, Split};

mod begin;

pub use begin::warn_if_all_are_initial;
use begin::{begin, pool};

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
        let known = AnnotationStore::new(&folder.annotations());
        let names = pool(settings, split).map(Sample::name).filter(|id| !known.is_declined(id));
        let (given, pool): (Vec<_>, Vec<_>) = names.partition(|name| known.has(name));
        let given =
            given.into_iter().map(|name| AnnotatedSample { id: name.into(), by: "queue".into() });
        let pool = pool.into_iter().map(SampleId::from).collect();
        Run::create(&rounds, settings.learn.engine.clone(), pool, given.collect())?
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
    learner.checkpoint = Some(rounds.join("training.safetensors"));
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
