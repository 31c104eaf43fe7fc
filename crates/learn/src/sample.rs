//! What gets annotated: a patch, a VOI or a scan; here only its name, the kind of its label and what
//! the learner thinks of it.
//!
//! An annotation and a pseudo-label are different types all the way to the learner, so that one
//! can't be taken for the other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of a sample, unique in a run; samples are ordered by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SampleId(String);

impl SampleId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for SampleId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for SampleId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sample whose label an oracle gave; it is trained on with weight 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnnotatedSample {
    /// The sample.
    pub id: SampleId,
    /// Who gave the label: the oracle's name, or where the label was before the run.
    pub by: String,
}

/// A sample that is trained on with the label the learner itself gives it (Eq. 7) and the weight
/// of Eq. (8), which lies in (0, 1].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PseudoSample {
    id: SampleId,
    weight: f64,
}

impl PseudoSample {
    /// A pseudo-labelled sample; `None` if the weight is not in (0, 1].
    pub fn new(id: SampleId, weight: f64) -> Option<Self> {
        (weight > 0.0 && weight <= 1.0).then_some(Self { id, weight })
    }

    /// The sample.
    pub fn id(&self) -> &SampleId {
        &self.id
    }

    /// Weight v in (0, 1].
    pub fn weight(&self) -> f64 {
        self.weight
    }
}

/// What the learner thinks of one sample of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleScore {
    /// The sample.
    #[serde(rename = "sample")]
    pub id: SampleId,
    /// Eq. (2).
    pub uncertainty: f64,
    /// Mean entropy of the voxels.
    #[serde(default)]
    pub entropy: f64,
    /// The density of Eq. (3); `None` in rounds that don't need it.
    pub density: Option<f64>,
    /// How much a committee differs on it; `None` in rounds without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<f64>,
    /// `l_i`, the loss under the learner's own best pseudo-label.
    pub loss: f64,
    /// Whether the learner sees any foreground.
    pub foreground: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_labelled_sample_has_a_weight_in_zero_to_one() {
        for refused in [0.0, -0.1, 1.000_001, f64::NAN] {
            assert_eq!(PseudoSample::new("a".into(), refused), None);
        }
        assert_eq!(PseudoSample::new("a".into(), 1.0).map(|s| s.weight()), Some(1.0));
    }
}
