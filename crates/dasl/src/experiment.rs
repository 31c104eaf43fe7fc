//! What an experiment compares: a grid of arms, sizes of the initial set and seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use dasl_learn::{LearnConfig, Sequence, Strategy};
use dasl_net::config::Preset;
use serde::{Deserialize, Serialize};

use crate::config_file::{Settings, Uncertainty, in_one_line};
use crate::oracle_choice::OracleChoice;

/// An experiment's file. Paths in it are taken from the file's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Dataset folder.
    pub dataset: PathBuf,
    /// Ready-made configuration.
    pub preset: Preset,
    /// TOML file whose values replace the preset's.
    pub config: Option<PathBuf>,
    /// Share of the patients that every run is tested on, the same for all.
    #[serde(default = "default_test")]
    pub test: f64,
    /// Share of the other patients kept for validation, by the run's seed.
    #[serde(default = "default_validation")]
    pub validation: f64,
    /// Seeds; each determines one run of every arm and size.
    pub seeds: Vec<u64>,
    /// Samples annotated before the first round.
    #[serde(default)]
    pub initial: Vec<usize>,
    /// What is compared, by name.
    pub arms: BTreeMap<String, Arm>,
}

/// One way to spend annotations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// How an active round chooses.
    pub strategy: Option<Strategy>,
    /// Stages in order.
    pub sequence: Option<Sequence>,
    /// Annotations at most, the initial ones included.
    pub budget: Option<usize>,
    /// Sizes of the initial set, in place of the experiment's.
    pub initial: Option<Vec<usize>>,
    /// Steps of the initial training, in place of the configuration's.
    pub initial_steps: Option<usize>,
    /// Steps of a round's fine-tuning, in place of the configuration's: arms of few rounds can so
    /// be trained for as long as arms of many.
    pub round_steps: Option<usize>,
    /// Steps of a round that trains from the first weights on, in place of `train.steps`.
    pub anew_steps: Option<usize>,
    /// The voxels that the uncertainty is the mean over, in place of the configuration's.
    pub uncertainty: Option<Uncertainty>,
    /// Whether active rounds train on pseudo-labels too, in place of what the configuration says.
    pub pseudo_in_active: Option<bool>,
    /// Everything is annotated before the first round: full training. Such an arm runs once a seed.
    #[serde(default)]
    pub full: bool,
}

/// One run of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell<'a> {
    /// The arm's name.
    pub arm: &'a str,
    /// Samples annotated before the first round; `None` is all.
    pub initial: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// Everything that is set.
    pub settings: Settings,
}

/// The size of the initial set where everything is annotated before the first round.
pub const ALL: &str = "all";

impl Cell<'_> {
    /// Name of the run's folder.
    pub fn name(&self) -> String {
        run_name(self.arm, &self.size(), self.seed)
    }

    /// Whether the initial training of both is the same: what an arm sets apart from it concerns
    /// the rounds that follow.
    pub fn begins_as(&self, other: &Self) -> bool {
        let first = |cell: &Self| {
            let mut settings = cell.settings.clone();
            let learn = &mut settings.learn;
            (learn.round_steps, learn.uncertainty) = (0, Uncertainty::default());
            settings.train.steps = 0;
            let plain = LearnConfig::default();
            let engine = &mut learn.engine;
            engine.strategy = plain.strategy;
            engine.sequence = plain.sequence;
            engine.pseudo_in_active = plain.pseudo_in_active;
            settings
        };
        self.seed == other.seed && self.initial == other.initial && first(self) == first(other)
    }

    /// Size of the initial set, in words.
    pub fn size(&self) -> String {
        self.initial.map_or(ALL.into(), |n| n.to_string())
    }
}

/// Name of the folder of an arm's run.
pub fn run_name(arm: &str, initial: &str, seed: u64) -> String {
    format!("{arm}-{initial}-{seed}")
}

fn default_test() -> f64 {
    0.2
}

fn default_validation() -> f64 {
    0.1
}

impl Experiment {
    /// Reads an experiment's file.
    ///
    /// # Errors
    /// If it can't be read, names an unknown setting, or leaves nothing to run.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
        let mut read: Self = toml::from_str(&text)
            .map_err(|error| anyhow!("{shown}: {}", in_one_line(&error, Some(&text))))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        read.dataset = folder.join(&read.dataset);
        read.config = read.config.map(|config| folder.join(config));
        for (name, empty) in [
            ("seeds", read.seeds.is_empty()),
            ("arms", read.arms.is_empty()),
            (
                "initial",
                read.arms.values().any(|arm| {
                    !arm.full && arm.initial.as_ref().unwrap_or(&read.initial).is_empty()
                }),
            ),
        ] {
            if empty {
                bail!("{shown}: {name} is empty: nothing to run");
            }
        }
        let sizes =
            read.arms.values().filter_map(|arm| arm.initial.as_ref()).chain([&read.initial]);
        for (name, twice) in [
            ("seeds", repeated(&read.seeds).map(ToString::to_string)),
            ("initial", sizes.filter_map(|sizes| repeated(sizes)).map(ToString::to_string).next()),
        ] {
            if let Some(twice) = twice {
                bail!("{shown}: {name} has {twice} twice: each is run once");
            }
        }
        for (name, share) in [("test", read.test), ("validation", read.validation)] {
            if !(share > 0.0 && share < 1.0) {
                bail!("{shown}: {name} is {share}: it must lie between 0 and 1");
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if let Some(name) =
            read.arms.keys().find(|name| name.is_empty() || !name.chars().all(plain))
        {
            bail!("{shown}: an arm is named {name:?}; use letters, digits, - and _");
        }
        Ok(read)
    }

    /// The runs: seed by seed, so that a stopped experiment has compared all arms on some seeds.
    ///
    /// # Errors
    /// If the configuration is wrong.
    pub fn cells(&self) -> Result<Vec<Cell<'_>>> {
        let base = Settings::resolve(self.preset, self.config.as_deref())?;
        if base.learn.oracle != OracleChoice::Labels {
            bail!("learn.oracle is {}: an experiment has no reader to ask", base.learn.oracle);
        }
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for (name, arm) in &self.arms {
                let sizes: Vec<Option<usize>> = if arm.full {
                    vec![None]
                } else {
                    arm.initial
                        .as_ref()
                        .unwrap_or(&self.initial)
                        .iter()
                        .copied()
                        .map(Some)
                        .collect()
                };
                for initial in sizes {
                    let mut settings = base.clone();
                    let engine = &mut settings.learn.engine;
                    *engine = arm.engine(engine, initial, seed);
                    engine.check()?;
                    let learn = &mut settings.learn;
                    learn.initial_steps = arm.initial_steps.unwrap_or(learn.initial_steps);
                    learn.round_steps = arm.round_steps.unwrap_or(learn.round_steps);
                    learn.uncertainty = arm.uncertainty.unwrap_or(learn.uncertainty);
                    let steps = &mut settings.train.steps;
                    *steps = arm.anew_steps.unwrap_or(*steps);
                    cells.push(Cell { arm: name, initial, seed, settings });
                }
            }
        }
        Ok(cells)
    }
}

/// A value that is in a list before.
fn repeated<T: PartialEq>(values: &[T]) -> Option<&T> {
    values
        .iter()
        .enumerate()
        .find(|(i, value)| values[..*i].contains(value))
        .map(|(_, value)| value)
}

impl Arm {
    fn engine(&self, base: &LearnConfig, initial: Option<usize>, seed: u64) -> LearnConfig {
        LearnConfig {
            // As large as a TOML integer may be on any machine.
            initial: initial.unwrap_or(i32::MAX as usize),
            strategy: self.strategy.unwrap_or(base.strategy),
            sequence: self.sequence.clone().unwrap_or_else(|| base.sequence.clone()),
            pseudo_in_active: self.pseudo_in_active.unwrap_or(base.pseudo_in_active),
            budget: self.budget.or(base.budget).filter(|_| !self.full),
            seed,
            ..base.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "dataset = \"d\"\npreset = \"tiny\"\nseeds = [1, 2]\ninitial = [5, 9]\n\
        [arms.full]\nfull = true\n[arms.al]\nsequence = \"al:2\"\nstrategy = \"random\"\nround_steps = 7\n\
        anew_steps = 8\npseudo_in_active = true\n\
        [arms.spl]\nsequence = \"spl:2\"\ninitial = [11]\n";

    fn read(text: &str) -> Result<Experiment> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.toml");
        std::fs::write(&path, text).unwrap();
        Experiment::read(&path)
    }

    #[test]
    fn every_arm_runs_with_every_size_and_seed_and_full_training_once_a_seed() {
        let experiment = read(TEXT).unwrap();
        let cells = experiment.cells().unwrap();
        let names: Vec<String> = cells.iter().map(Cell::name).collect();
        assert_eq!(
            names,
            [
                "al-5-1",
                "al-9-1",
                "full-all-1",
                "spl-11-1",
                "al-5-2",
                "al-9-2",
                "full-all-2",
                "spl-11-2"
            ]
        );
        let engine = &cells[1].settings.learn.engine;
        assert_eq!((engine.initial, engine.seed, engine.strategy), (9, 1, Strategy::Random));
        assert_eq!(engine.sequence.to_string(), "al:2");
        assert!(engine.pseudo_in_active && !cells[2].settings.learn.engine.pseudo_in_active);
        let steps =
            |cell: &Cell| (cell.settings.learn.initial_steps, cell.settings.learn.round_steps);
        assert_eq!((steps(&cells[1]), steps(&cells[2])), ((300, 7), (300, 100)));
        let anew = |cell: &Cell| cell.settings.train.steps;
        assert_eq!((anew(&cells[1]), anew(&cells[2])), (8, 1000));
        // Only the rounds that follow differ; the seed and the size are the beginning's.
        let text = TEXT.replace("[arms.al]", "[arms.plain]\nsequence = \"al:2\"\n[arms.al]");
        let experiment = read(&text).unwrap();
        let cells = experiment.cells().unwrap();
        let named = |name: &str| cells.iter().find(|cell| cell.name() == name).unwrap();
        assert!(named("al-5-1").begins_as(named("plain-5-1")));
        assert!(!named("al-5-1").begins_as(named("plain-9-1")));
        assert!(!named("al-5-1").begins_as(named("plain-5-2")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |text: String| format!("{:#}", read(&text).unwrap_err());
        assert!(text(TEXT.replace("seeds = [1, 2]", "seeds = []")).contains("seeds is empty"));
        assert!(text(TEXT.replace("initial", "initials")).contains("initials"));
        assert!(text(TEXT.replace("[1, 2]", "[1, 2, 1]")).contains("seeds has 1 twice"));
        assert!(text(TEXT.replace("[5, 9]", "[5, 5]")).contains("initial has 5 twice"));
        assert!(text(TEXT.replace("[11]", "[11, 11]")).contains("initial has 11 twice"));
        assert!(text(format!("test = 1.5\n{TEXT}")).contains("test is 1.5"));
        assert!(text(TEXT.replace("arms.al", "arms.\"a b\"")).contains("\"a b\""));
    }

    #[test]
    fn every_setting_is_in_the_documentation() {
        let text =
            include_str!("../../../docs/settings.md").split("## An experiment's file").nth(1);
        let experiment = read(TEXT).unwrap();
        let arm = serde_json::to_value(&experiment.arms["al"]).unwrap();
        let experiment = serde_json::to_value(&experiment).unwrap();
        for (name, _) in [&experiment, &arm].into_iter().flat_map(|v| v.as_object().unwrap()) {
            assert!(text.unwrap().contains(&format!("`{name}`")), "{name}");
        }
    }
}
