//! The simulated reader.

use std::collections::BTreeSet;

use dasl_learn::sample::SampleId;
use dasl_learn::{Answer, Oracle, Request};
use dasl_volume::dataset::Dataset;

use crate::network_learner::{LearnerError, sample};
use crate::split::{Sample, Split};

/// Reveals the dataset's labels and counts what that costs.
pub struct HiddenLabels<'a> {
    dataset: &'a Dataset,
    known: BTreeSet<String>,
}

impl<'a> HiddenLabels<'a> {
    /// A reader of these samples.
    pub fn new(dataset: &'a Dataset, split: &Split) -> Self {
        Self { dataset, known: split.train.iter().map(Sample::name).collect() }
    }
}

impl Oracle for HiddenLabels<'_> {
    type Error = LearnerError;

    fn name(&self) -> &'static str {
        "labels"
    }

    fn annotate(&mut self, request: &Request) -> Result<Vec<Answer>, LearnerError> {
        let answer = |id: &SampleId| {
            let Sample { scan, label } = sample(id)?;
            let record = self.dataset.scan(&scan)?;
            let nodule = record.nodules.iter().find(|n| n.label == label);
            match nodule.filter(|_| self.known.contains(id.as_str())) {
                Some(nodule) => Ok(Answer::Annotated {
                    id: id.clone(),
                    foreground_voxels: nodule.native_voxels as u64,
                }),
                None => Ok(Answer::Declined { id: id.clone() }),
            }
        };
        request.questions.iter().map(|q| answer(&q.sample)).collect()
    }
}
