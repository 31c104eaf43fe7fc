//! What a run of `dasl learn` begins with, or goes on with.

use anyhow::{Result, anyhow, bail};
use dasl_learn::{LearnConfig, Strategy};
use dasl_volume::dataset::Dataset;

use super::super::train::{New, asks_for_other, resolve};
use crate::annotation_store::AnnotationStore;
use crate::args::LearnArgs;
use crate::config_file::Settings;
use crate::curriculum;
use crate::oracle_choice::OracleChoice;
use crate::run_folder::RunFolder;
use crate::split::{Sample, Split};

/// A new run's settings and split, written down, or those of the run that goes on.
///
/// # Errors
/// If the folder holds something else, or what is asked for is not what the run began with, makes no
/// sense or can't be read or written.
pub fn begin(args: &LearnArgs, folder: &RunFolder, dataset: &Dataset) -> Result<(Settings, Split)> {
    if folder.is_learning() {
        return go_on(args, folder, dataset);
    }
    let shown = folder.root().display();
    if folder.is_training() {
        bail!("{shown} holds a run of `dasl train`: name another --out");
    }
    if folder.weights().exists() {
        bail!("{shown} holds a network that `dasl learn` has not made: name another --out");
    }
    let New { mut settings, split, start } = resolve(&args.network, dataset)?;
    settings.learn.engine.seed = args.network.new_seed();
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
    let other = args.annotations.as_deref().map(RunFolder::new);
    let known = other.map(|other| answers(&other, &settings, &split, dataset)).transpose()?;
    if known.is_none() && folder.annotations().exists() {
        bail!(
            "{shown} holds a reader's answers and no run: name another --out, and this as --annotations"
        );
    }
    folder.create(&settings, &split, dataset, args.network.new_seed(), start.as_ref())?;
    if let Some((store, known)) = known {
        let own = AnnotationStore::new(&folder.annotations());
        known.iter().try_for_each(|id| own.take_over(&store, id))?;
    }
    Ok((settings, split))
}

/// The settings and split of a run that goes on.
fn go_on(args: &LearnArgs, folder: &RunFolder, dataset: &Dataset) -> Result<(Settings, Split)> {
    let shown = folder.root().display();
    folder.check_dataset(dataset)?;
    let mut settings = folder.read_settings()?;
    let mut asked = settings.clone();
    override_engine(&mut asked, args)?;
    if asked != settings {
        bail!(
            "{shown}: this run began with another --initial, --sequence, --strategy, --budget or \
             --seed: leave them out, or name another --out"
        );
    }
    // What the command line says of these is compared already.
    let differ = |new: &mut Settings| {
        let LearnConfig { initial, sequence, strategy, budget, seed, curriculum, .. } =
            settings.learn.engine.clone();
        let own = new.learn.engine.clone();
        new.learn.engine =
            LearnConfig { initial, sequence, strategy, budget, seed, curriculum, ..own };
        new.learn.oracle = settings.learn.oracle.clone();
        *new != settings
    };
    let curriculum = args.curriculum.as_deref().map(|path| curriculum::read(path, dataset));
    if curriculum.transpose()?.is_some_and(|asked| asked != settings.learn.engine.curriculum)
        || asks_for_other(&args.network, &folder.read_origin()?, dataset, differ)?
    {
        bail!(
            "{shown}: this run began with another --preset, --config, --from or --curriculum, or what \
             they name has changed: leave them out, or name another --out"
        );
    }
    let there = &mut settings.learn.oracle;
    match args.oracle.clone().map(absolute).transpose()? {
        Some(wanted) if wanted == *there => {}
        Some(moved @ OracleChoice::Queue(_)) if *there != OracleChoice::Labels => {
            *there = moved;
            folder.write_settings(&settings)?;
        }
        Some(wanted) => bail!(
            "{shown}: this run's oracle is {there}, not {wanted}: give the same, or another --out"
        ),
        None => {}
    }
    eprintln!("going on with the run in {shown}; the settings written there hold");
    Ok((settings, folder.read_split()?))
}

/// The samples of a new run that the reader of another one has answered, and where.
fn answers(
    other: &RunFolder,
    settings: &Settings,
    split: &Split,
    dataset: &Dataset,
) -> Result<(AnnotationStore, Vec<String>)> {
    let shown = other.root().display();
    if settings.learn.oracle == OracleChoice::Labels {
        bail!("--annotations are a reader's: give --oracle queue:DIR too");
    }
    let (its, wanted) = (other.read_settings()?.train.patch, settings.train.patch);
    other.check_dataset(dataset)?;
    if its != wanted {
        bail!(
            "{shown}: its reader saw samples for train.patch = {its}, not {wanted}: set the same by \
             --config"
        );
    }
    let store = AnnotationStore::new(&other.annotations());
    let answered = |id: &String| store.has(id) || store.is_declined(id);
    let known = pool(settings, split).map(Sample::name).filter(answered);
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        bail!("{shown}: holds no reader's answer about a sample of this run's pool");
    }
    eprintln!("{} answers are known from {shown}", known.len());
    Ok((store, known))
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
    if let Some(seed) = args.network.seed {
        engine.seed = seed;
    }
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
pub fn pool<'a>(settings: &Settings, split: &'a Split) -> impl Iterator<Item = &'a Sample> {
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
