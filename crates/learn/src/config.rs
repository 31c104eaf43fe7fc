//! The settings of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sample::SampleId;
use crate::sequence::Sequence;
use crate::strategy::{Selection, Strategy};

/// Settings of a run; what is not given has the paper's value, or, where the paper has none, the
/// one named here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnConfig {
    /// Samples annotated before the first round, those that were annotated before the run
    /// included (paper: 50, 100 and 150; default 50).
    pub initial: usize,
    /// N, samples annotated in one active round (paper: 20).
    pub per_round: usize,
    /// Stages in order (paper: spl-al-spl).
    pub sequence: Sequence,
    /// Rounds of a self-paced stage (not in the paper; default 3).
    pub spl_rounds: usize,
    /// Rounds of an active stage (not in the paper; default 3).
    pub al_rounds: usize,
    /// lambda^0 of Eq. (9) (paper: 0.005).
    pub lambda_0: f64,
    /// alpha of Eq. (9) (paper: 0.002).
    pub alpha: f64,
    /// tau of Eq. (9), the self-paced round from which on the pace stands still (not in the paper,
    /// which says "a few iterations"; default 5).
    pub tau: usize,
    /// C of Eq. (4) and (8) (paper: 1).
    pub c: f64,
    /// beta of Eq. (3) (paper: 1).
    pub beta: f64,
    /// Active rounds train on pseudo-labels too, weighed as in a self-paced round: those of the
    /// samples that they do not choose (not said in the paper; default false). They leave the pace
    /// as it is.
    pub pseudo_in_active: bool,
    /// How an active round chooses (paper: dasl).
    pub strategy: Strategy,
    /// K of the strategy suggestive: samples on which the committee differs most, of which
    /// `per_round` are taken; `None` is 2 `per_round`, as in Yang et al. (K = 16, k = 8).
    pub candidates: Option<usize>,
    /// Models in the committee of the strategy suggestive (Yang et al.: 4).
    pub committee: usize,
    /// Part of the choice that the strategy foreground-aware-random takes from samples in which
    /// the learner sees foreground (default 0.66).
    pub foreground_fraction: f64,
    /// Most annotations the oracle may give, the initial ones included; `None` is no limit.
    pub budget: Option<usize>,
    /// A stage ends early when its last so many validation scores are all not above the best
    /// before them; `None` is never.
    pub patience: Option<usize>,
    /// Descriptors of a pool are kept in memory up to so many bytes, beyond that in a scratch file
    /// (default 256 MiB).
    pub descriptor_bytes: u64,
    /// Determines every choice that chance makes.
    pub seed: u64,
    /// Psi of Eq. (4): the largest weight v that a sample may have in self-paced rounds; 1 for
    /// those not named. 0 keeps a sample out.
    pub curriculum: BTreeMap<SampleId, f64>,
}

impl Default for LearnConfig {
    fn default() -> Self {
        Self {
            initial: 50,
            per_round: 20,
            sequence: Sequence::paper(),
            spl_rounds: 3,
            al_rounds: 3,
            lambda_0: 0.005,
            alpha: 0.002,
            tau: 5,
            c: 1.0,
            beta: 1.0,
            pseudo_in_active: false,
            strategy: Strategy::Dasl,
            candidates: None,
            committee: 4,
            foreground_fraction: 0.66,
            budget: None,
            patience: None,
            descriptor_bytes: 256 << 20,
            seed: 0,
            curriculum: BTreeMap::new(),
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {setting} is {found}; it must be {wanted}")]
pub struct ConfigError {
    /// Name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub found: String,
    /// What it must be.
    pub wanted: &'static str,
}

impl LearnConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// If a setting is out of its range; the error names the first such.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = |setting, value: f64| {
            require(setting, &value, value.is_finite() && value > 0.0, "a number above 0")
        };
        let not_negative = |setting, value: f64| {
            require(setting, &value, value.is_finite() && value >= 0.0, "a number from 0 on")
        };
        let at_least_one = |setting, n: usize| require(setting, &n, n > 0, "at least 1");
        at_least_one("per_round", self.per_round)?;
        at_least_one("spl_rounds", self.spl_rounds)?;
        at_least_one("al_rounds", self.al_rounds)?;
        at_least_one("patience", self.patience.unwrap_or(1))?;
        require("committee", &self.committee, self.committee >= 2, "at least 2")?;
        let enough = self.candidates() >= self.per_round;
        require("candidates", &self.candidates(), enough, "at least per_round")?;
        for most in self.curriculum.values() {
            require("curriculum", most, (0.0..=1.0).contains(most), "in 0 to 1 for every sample")?;
        }
        positive("lambda_0", self.lambda_0)?;
        positive("c", self.c)?;
        not_negative("alpha", self.alpha)?;
        not_negative("beta", self.beta)?;
        let fraction = self.foreground_fraction;
        require("foreground_fraction", &fraction, (0.0..=1.0).contains(&fraction), "in 0 to 1")
    }

    /// K of the strategy suggestive.
    pub fn candidates(&self) -> usize {
        self.candidates.unwrap_or(self.per_round.saturating_mul(2))
    }

    /// How an active round chooses.
    pub fn selection(&self) -> Selection {
        Selection {
            strategy: self.strategy,
            beta: self.beta,
            foreground_fraction: self.foreground_fraction,
        }
    }
}

fn require(
    setting: &'static str,
    found: &impl ToString,
    holds: bool,
    wanted: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError { setting, found: found.to_string(), wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_paper() {
        let config: LearnConfig = serde_json::from_str("{}").expect("defaults");
        assert_eq!(config, LearnConfig::default());
        assert_eq!((config.per_round, config.lambda_0, config.alpha), (20, 0.005, 0.002));
        assert_eq!((config.c, config.beta, config.strategy), (1.0, 1.0, Strategy::Dasl));
        assert_eq!(config.sequence.to_string(), "spl-al-spl");
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn an_unknown_setting_is_an_error() {
        assert!(serde_json::from_str::<LearnConfig>(r#"{"lamda_0": 0.1}"#).is_err());
        let strategy = r#"{"strategy": "foreground-aware-random"}"#;
        let config: LearnConfig = serde_json::from_str(strategy).expect("a strategy");
        assert_eq!(config.strategy, Strategy::ForegroundAwareRandom);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let named = |config: LearnConfig| config.check().expect_err("out of range").setting;
        let paper = LearnConfig::default;
        assert_eq!(named(LearnConfig { per_round: 0, ..paper() }), "per_round");
        assert_eq!(named(LearnConfig { lambda_0: 0.0, ..paper() }), "lambda_0");
        assert_eq!(named(LearnConfig { beta: f64::NAN, ..paper() }), "beta");
        assert_eq!(
            named(LearnConfig { foreground_fraction: 1.1, ..paper() }),
            "foreground_fraction"
        );
        assert_eq!(named(LearnConfig { patience: Some(0), ..paper() }), "patience");
        assert_eq!(named(LearnConfig { candidates: Some(19), ..paper() }), "candidates");
        assert_eq!(named(LearnConfig { committee: 1, ..paper() }), "committee");
        let curriculum = BTreeMap::from([("a".into(), 1.5)]);
        assert_eq!(named(LearnConfig { curriculum, ..paper() }), "curriculum");
    }
}
