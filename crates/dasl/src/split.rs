//! Which patients are kept for validation.

use std::collections::BTreeSet;

use anyhow::Result;
use dasl_volume::dataset::{Dataset, ScanRecord};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::trained_on::Patients;

/// A nodule of a scan, as a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// The scan.
    pub scan: String,
    /// The nodule's label.
    pub label: u16,
}

impl Sample {
    /// Name in a ledger.
    pub fn name(&self) -> String {
        format!("{}#{}", self.scan, self.label)
    }

    /// The sample of a name.
    pub fn parse(name: &str) -> Option<Self> {
        let (scan, label) = name.rsplit_once('#')?;
        Some(Self { scan: scan.into(), label: label.parse().ok()? })
    }
}

/// Samples and scans, apart by patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Patients kept for validation, sorted.
    pub validation_patients: Vec<String>,
    /// Samples to train on, sorted.
    pub train: Vec<Sample>,
    /// Samples to validate on, sorted.
    pub validation: Vec<Sample>,
    /// Whole scans to draw background from, sorted.
    pub background: Vec<String>,
    /// Places of scans that nobody has annotated, to ask a reader about, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Sample>,
    /// Patients whom the scans to train on show, and those of what the network was trained on before.
    /// Older versions did not say.
    #[serde(default)]
    pub trained_on: Patients,
}

impl Split {
    /// Draws a share of the patients for validation: at least one, if there are two.
    ///
    /// # Errors
    /// If the dataset can't be read.
    pub fn draw(dataset: &Dataset, share: f64, seed: u64) -> Result<Self> {
        Ok(Self::draw_with_test(dataset, share, seed, 0.0, 0)?.0)
    }

    /// The same of the patients that are not drawn for a test, and the samples of those that are.
    ///
    /// # Errors
    /// If the dataset can't be read.
    pub fn draw_with_test(
        dataset: &Dataset,
        share: f64,
        seed: u64,
        test_share: f64,
        test_seed: u64,
    ) -> Result<(Self, Vec<Sample>)> {
        let scans: Vec<_> =
            dataset.scan_ids().iter().map(|id| dataset.scan(id)).collect::<Result<_, _>>()?;
        let patients: BTreeSet<&str> =
            scans.iter().filter(|s| !s.nodules.is_empty()).map(|s| s.patient_id.as_str()).collect();
        let tested = draw_patients(&patients, test_share, test_seed);
        let kept = draw_patients(&patients.difference(&tested).copied().collect(), share, seed);
        let mut split = Self {
            validation_patients: kept.iter().map(ToString::to_string).collect(),
            train: Vec::new(),
            validation: Vec::new(),
            background: Vec::new(),
            candidates: Vec::new(),
            trained_on: Patients::new(),
        };
        let mut test = Vec::new();
        for scan in &scans {
            let patient = scan.patient_id.as_str();
            let sample = |label| Sample { scan: scan.scan_id.clone(), label };
            let samples = scan.nodules.iter().map(|n| sample(n.label));
            if tested.contains(patient) {
                test.extend(samples);
            } else if kept.contains(patient) {
                split.validation.extend(samples);
            } else {
                split.train.extend(samples);
                split.candidates.extend(scan.candidates.iter().map(|c| sample(c.label)));
                // What nobody has looked at is no background: it may hold nodules.
                if scan.whole && scan.annotated {
                    split.background.push(scan.scan_id.clone());
                }
            }
        }
        let apart = |scan: &&ScanRecord| {
            let patient = scan.patient_id.as_str();
            tested.contains(patient) || kept.contains(patient)
        };
        let (held, trained): (Vec<_>, Vec<_>) = scans.iter().partition(apart);
        warn_of_shared(&held, &trained);
        let shown = trained.iter().flat_map(|scan| scan.shows());
        split.trained_on = shown.map(ToString::to_string).collect();
        Ok((split, test))
    }
}

/// Says if scans that are kept for validation or test show patients who are in training scans too, as
/// composed ones do.
fn warn_of_shared(held: &[&ScanRecord], trained: &[&ScanRecord]) {
    let [held, trained] =
        [held, trained].map(|scans| scans.iter().flat_map(|scan| scan.shows()).collect());
    let shared: Vec<&&str> = BTreeSet::intersection(&held, &trained).collect();
    if let Some(first) = shared.first() {
        tracing::warn!(
            "what is kept for validation or test and what is trained on show the same {} patients, \
             such as {first}, as scans are composed of both: scores will flatter; compose apart, by \
             --patients",
            shared.len()
        );
    }
}

/// Draws a share of patients: at least one if there are two, and never all.
fn draw_patients<'a>(patients: &BTreeSet<&'a str>, share: f64, seed: u64) -> BTreeSet<&'a str> {
    let mut patients: Vec<&str> = patients.iter().copied().collect();
    let count = match (share * patients.len() as f64).round() as usize {
        0 if share > 0.0 && patients.len() > 1 => 1,
        count => count.min(patients.len().saturating_sub(1)),
    };
    patients.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    patients.into_iter().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_name() {
        let sample = Sample { scan: "LIDC#odd".into(), label: 12 };
        assert_eq!(Sample::parse(&sample.name()), Some(sample));
        assert_eq!(Sample::parse("nothing"), None);
    }
}
