//! The order of self-paced and active rounds, such as the paper's SPL-AL-SPL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Self-paced: pseudo-labelled samples are trained on, nobody is asked.
    Spl,
    /// Active: the most uncertain samples are annotated.
    Al,
}

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundKind {
    /// Round 0: training on the initial annotated samples.
    Initial,
    /// A self-paced round.
    Spl,
    /// An active round.
    Al,
}

impl From<Stage> for RoundKind {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Spl => Self::Spl,
            Stage::Al => Self::Al,
        }
    }
}

impl fmt::Display for RoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "initial",
            Self::Spl => "spl",
            Self::Al => "al",
        })
    }
}

/// One stage of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagePlan {
    /// What its rounds do.
    pub stage: Stage,
    /// How many rounds; `None` leaves it to the configuration.
    pub rounds: Option<usize>,
    /// Its rounds train from the weights that the run began with, not from the last round's.
    pub anew: bool,
}

/// Stages in order, written `spl-al-spl`; a stage may carry its own number of rounds, as in
/// `spl:4-al:2-spl`, and `:anew` where its rounds train from the first weights on: `al:3-spl:1:anew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sequence(Vec<StagePlan>);

impl Sequence {
    /// The paper's sequence, SPL-AL-SPL.
    pub fn paper() -> Self {
        let plan = |stage| StagePlan { stage, rounds: None, anew: false };
        Self(vec![plan(Stage::Spl), plan(Stage::Al), plan(Stage::Spl)])
    }

    /// The stages.
    pub fn stages(&self) -> &[StagePlan] {
        &self.0
    }
}

/// Why a text is no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no stage; write stages as in spl-al-spl or spl:4-al:2-spl:1:anew, rounds from 1"
)]
pub struct SequenceError {
    /// The part that could not be read.
    pub found: String,
}

impl FromStr for Sequence {
    type Err = SequenceError;

    fn from_str(text: &str) -> Result<Self, SequenceError> {
        text.split('-').map(stage_plan).collect::<Result<_, _>>().map(Self)
    }
}

fn stage_plan(part: &str) -> Result<StagePlan, SequenceError> {
    let error = || SequenceError { found: part.to_owned() };
    let lower = part.to_ascii_lowercase();
    let (plan, anew) = match lower.strip_suffix(":anew") {
        Some(plan) => (plan, true),
        None => (lower.as_str(), false),
    };
    let (name, rounds) = match plan.split_once(':') {
        Some((name, rounds)) => {
            (name, Some(rounds.parse().ok().filter(|&n| n > 0).ok_or_else(error)?))
        }
        None => (plan, None),
    };
    let stage = match name {
        "spl" => Stage::Spl,
        "al" => Stage::Al,
        _ => return Err(error()),
    };
    Ok(StagePlan { stage, rounds, anew })
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spl => "spl",
            Self::Al => "al",
        })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, plan) in self.0.iter().enumerate() {
            let dash = if i == 0 { "" } else { "-" };
            write!(f, "{dash}{}", plan.stage)?;
            if let Some(rounds) = plan.rounds {
                write!(f, ":{rounds}")?;
            }
            if plan.anew {
                write!(f, ":anew")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Sequence {
    type Error = SequenceError;

    fn try_from(text: String) -> Result<Self, SequenceError> {
        text.parse()
    }
}

impl From<Sequence> for String {
    fn from(sequence: Sequence) -> Self {
        sequence.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["spl-al-spl", "al", "spl:4-al:2-spl", "al:2:anew-spl:anew"] {
            let sequence: Sequence = text.parse().expect("a sequence");
            assert_eq!(sequence.to_string(), text);
            let json = serde_json::to_string(&sequence).expect("json");
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Sequence>(&json).expect("back"), sequence);
        }
        assert_eq!("SPL-AL-SPL".parse(), Ok(Sequence::paper()));
    }

    #[test]
    fn refuses_what_is_no_sequence() {
        let wrong = ["", "ad", "al:0", "al:x", "al:anew:2", "anew"].map(|text| (text, text));
        for (text, found) in wrong.into_iter().chain([("spl-", ""), ("spl-ad", "ad")]) {
            let found = found.to_owned();
            assert_eq!(text.parse::<Sequence>(), Err(SequenceError { found }));
        }
    }
}
