//! Who annotates in a run: `labels` or `queue:DIR`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who annotates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OracleChoice {
    /// A simulated reader, who reveals the dataset's labels.
    #[default]
    Labels,
    /// A person, who answers in this folder.
    Queue(PathBuf),
}

/// Why a text names no oracle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no oracle: give labels, or queue:DIR with the folder that the reader works in")]
pub struct OracleChoiceError(String);

impl FromStr for OracleChoice {
    type Err = OracleChoiceError;

    fn from_str(text: &str) -> Result<Self, OracleChoiceError> {
        match text.split_once(':') {
            None if text == "labels" => Ok(Self::Labels),
            Some(("queue", folder)) if !folder.is_empty() => Ok(Self::Queue(folder.into())),
            _ => Err(OracleChoiceError(text.into())),
        }
    }
}

impl fmt::Display for OracleChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labels => f.write_str("labels"),
            Self::Queue(folder) => write!(f, "queue:{}", folder.display()),
        }
    }
}

impl TryFrom<String> for OracleChoice {
    type Error = OracleChoiceError;

    fn try_from(text: String) -> Result<Self, OracleChoiceError> {
        text.parse()
    }
}

impl From<OracleChoice> for String {
    fn from(choice: OracleChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_it_says() {
        for text in ["labels", "queue:to do", "queue:C:\\queue"] {
            assert_eq!(text.parse::<OracleChoice>().unwrap().to_string(), text);
        }
        for wrong in ["", "label", "queue", "queue:", "Queue:a"] {
            assert!(wrong.parse::<OracleChoice>().is_err(), "{wrong}");
        }
    }
}
