//! A preset, and the file whose values replace some of its own.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use dasl_learn::LearnConfig;
use dasl_net::config::{Config, InferConfig, MIRROR_COUNTS, NetConfig, Preset, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::oracle_choice::OracleChoice;

/// Settings of the learning loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopConfig {
    /// Steps of the initial training.
    pub initial_steps: usize,
    /// Steps of each round's fine-tuning.
    pub round_steps: usize,
    /// Peak learning rate of fine-tuning, as a share of `train.learning_rate`.
    pub round_rate: f64,
    /// `P` of Eq. (3).
    pub descriptor: Descriptor,
    /// The voxels that Eq. (2) is the mean over.
    #[serde(default)]
    pub uncertainty: Uncertainty,
    /// The class of a pseudo-label, Eq. (7).
    #[serde(default)]
    pub pseudo_class: PseudoClass,
    /// Of the nodules trained on in a round at least this share is annotated; 0 leaves it to
    /// Eq. (4), where many pseudo-labels outweigh few annotations.
    #[serde(default)]
    pub annotated_share: f64,
    /// Mirror images over which the mask of a pseudo-label is averaged: 1, 2, 4 or 8.
    #[serde(default = "dasl_net::config::patch_alone")]
    pub pseudo_flips: usize,
    /// Who annotates: `labels` or `queue:DIR`.
    #[serde(default)]
    pub oracle: OracleChoice,
    /// The engine's own settings.
    pub engine: LearnConfig,
}

/// What two samples are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Descriptor {
    /// The output volume (paper).
    Output,
    /// The encoder's features (as in suggestive annotation).
    Encoder,
}

/// The voxels that a sample's uncertainty is the mean over. A run that does not say it is from before
/// there was a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uncertainty {
    /// All of the output (paper). Nearly all that is uncertain lies at a nodule's border, so this
    /// is larger the larger a nodule is.
    #[default]
    Volume,
    /// Those near the border of the network's own mask, whatever its size.
    Border,
}

/// The class that a sample of the pool gets in Eq. (7). A run that does not say it is from before there
/// was a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PseudoClass {
    /// A sample is where the dataset says that a nodule lies: its class is given, and only its
    /// box and mask are the network's own.
    Given,
    /// The likelier one (paper). A sample without a nodule trains the objectness alone.
    #[default]
    Own,
}

impl LoopConfig {
    /// Where there is no learning loop: a preset's.
    fn of_no_run() -> Self {
        Settings::preset(Preset::Small).learn
    }
}

/// All settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The network.
    pub net: NetConfig,
    /// Its training.
    pub train: TrainConfig,
    /// Its use.
    pub infer: InferConfig,
    /// The learning loop; an exported network has none.
    #[serde(default = "LoopConfig::of_no_run")]
    pub learn: LoopConfig,
}

impl Settings {
    /// A preset's values, those of `file` in their place where it gives any.
    ///
    /// # Errors
    /// If the file can't be read, is no TOML, names an unknown setting, or a value makes no sense.
    pub fn resolve(preset: Preset, file: Option<&Path>) -> Result<Self> {
        let base = Self::preset(preset);
        let Some(path) = file else { return Ok(base) };
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let over: toml::Table = toml::from_str(&text).map_err(|e| {
            anyhow!("{} is no TOML: {}", path.display(), in_one_line(&e, Some(&text)))
        })?;
        let mut table = toml::Table::try_from(&base)?;
        merge(&mut table, over);
        let settings: Self = table.try_into().map_err(|e| {
            anyhow!("{}: unknown or wrong setting: {}", path.display(), in_one_line(&e, None))
        })?;
        settings.check().with_context(|| path.display().to_string())?;
        Ok(settings)
    }

    /// A preset's values.
    pub fn preset(preset: Preset) -> Self {
        let Config { net, train, infer } = Config::preset(preset);
        let (initial_steps, round_steps) = match preset {
            Preset::Tiny => (300, 100),
            Preset::Small | Preset::Paper => (2000, 500),
        };
        let learn = LoopConfig {
            initial_steps,
            round_steps,
            round_rate: 1.0,
            descriptor: Descriptor::Output,
            uncertainty: Uncertainty::Volume,
            pseudo_class: PseudoClass::Given,
            annotated_share: 0.5,
            pseudo_flips: 8,
            oracle: OracleChoice::Labels,
            engine: LearnConfig::default(),
        };
        Self { net, train, infer, learn }
    }

    /// The network's part.
    pub fn network(&self) -> Config {
        Config { net: self.net.clone(), train: self.train.clone(), infer: self.infer.clone() }
    }

    /// Refuses values that make no sense, wherever they were written.
    ///
    /// # Errors
    /// If there is one; it is named.
    pub fn check(&self) -> Result<()> {
        self.network().validate().map_err(|reason| anyhow!(reason))?;
        let learn = &self.learn;
        if !MIRROR_COUNTS.contains(&learn.pseudo_flips) {
            bail!("learn.pseudo_flips is {}: it must be 1, 2, 4 or 8", learn.pseudo_flips);
        }
        if !(0.0..=1.0).contains(&learn.annotated_share) {
            bail!("learn.annotated_share is {}: it must lie in 0 to 1", learn.annotated_share);
        }
        if !(learn.round_rate > 0.0 && learn.round_rate.is_finite()) {
            bail!("learn.round_rate is {}: it must be above 0", learn.round_rate);
        }
        learn.engine.check()?;
        Ok(())
    }
}

/// A parser's complaint in one line; its own takes several. `text` is what was parsed, if it was
/// text.
pub fn in_one_line(error: &toml::de::Error, text: Option<&str>) -> String {
    let before = text.zip(error.span()).and_then(|(text, span)| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", 1 + before.matches('\n').count(), error.message()),
        None => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// Puts the values of `over` in place of those of `base`, table by table.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn resolve(text: &str) -> Result<Settings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::resolve(Preset::Tiny, Some(file.path()))
    }

    #[test]
    fn a_file_replaces_what_it_names_and_nothing_else() {
        let got = resolve("[train]\nsteps = 7\n[learn.engine]\ninitial = 9").unwrap();
        let mut want = Settings::preset(Preset::Tiny);
        want.train.steps = 7;
        want.learn.engine.initial = 9;
        assert_eq!(got, want);
    }

    /// The rows of a section of docs/settings.md: setting and value.
    fn documented(section: &str) -> BTreeMap<String, String> {
        let text = include_str!("../../../docs/settings.md");
        let begin = text.split(&format!("## `[{section}]`")).nth(1).unwrap();
        let rows = begin.split("\n## ").next().unwrap().lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
        });
        rows.collect()
    }

    #[test]
    fn every_setting_is_in_the_documentation_with_its_value() {
        let value = |preset| serde_json::to_value(Settings::preset(preset)).unwrap();
        let (small, tiny) = (value(Preset::Small), value(Preset::Tiny));
        for section in ["net", "train", "infer", "learn", "learn.engine"] {
            let place = format!("/{}", section.replace('.', "/"));
            let [small, tiny] = [&small, &tiny].map(|all| all.pointer(&place).unwrap());
            let documented = documented(section);
            let mut names: Vec<&String> = small.as_object().unwrap().keys().collect();
            names.retain(|name| *name != "engine");
            names.sort();
            assert_eq!(names, documented.keys().collect::<Vec<_>>(), "[{section}]");
            for (name, said) in documented {
                let numbers: Vec<f64> = said.split(", ").filter_map(|v| v.parse().ok()).collect();
                for (number, real) in numbers.iter().zip([small, tiny]) {
                    if let Some(real) = real[&name].as_f64() {
                        assert!((number - real).abs() < 1e-12, "{section}.{name}: {said}");
                    }
                }
                if let ([one], Some(real)) = (&numbers[..], tiny[&name].as_f64()) {
                    assert!((one - real).abs() < 1e-12, "{section}.{name} of tiny: {said}");
                }
            }
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let text = |e: anyhow::Error| format!("{e:#}");
        assert!(text(resolve("[train]\nstep = 7").unwrap_err()).contains("`step`"));
        assert!(text(resolve("[train]\npatch = 50").unwrap_err()).contains("multiple of 16"));
        assert!(
            text(resolve("[learn]\nround_rate = -3").unwrap_err()).contains("round_rate is -3")
        );
        assert!(text(resolve("[[[").unwrap_err()).contains("is no TOML"));
    }
}
