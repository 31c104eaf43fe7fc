//! A curriculum from a CSV file: the largest weight that a sample may have in self-paced rounds.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_learn::SampleId;
use dasl_volume::dataset::Dataset;
use serde::Deserialize;

use crate::split::Sample;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sample: String,
    most: f64,
}

/// Reads a curriculum for samples of a dataset.
///
/// # Errors
/// If the file can't be read, a sample is not the dataset's or named twice, or a weight is not in
/// 0 to 1; the line is named.
pub fn read(path: &Path, dataset: &Dataset) -> Result<BTreeMap<SampleId, f64>> {
    let name = || path.display().to_string();
    let mut reader = csv::Reader::from_path(path).with_context(name)?;
    let mut curriculum = BTreeMap::new();
    for (i, row) in reader.deserialize().enumerate() {
        let line = i + 2;
        let Row { sample, most } = row.with_context(name)?;
        let place = Sample::parse(&sample);
        let known = place.filter(|s| dataset.has_scan(&s.scan)).is_some_and(|s| {
            dataset.scan(&s.scan).is_ok_and(|scan| {
                let mut nodules = scan.nodules.iter().map(|n| n.label);
                let mut candidates = scan.candidates.iter().map(|c| c.label);
                nodules.any(|label| label == s.label) || candidates.any(|label| label == s.label)
            })
        });
        if !known {
            bail!(
                "{}: line {line}: {sample} names no nodule and no candidate of the dataset",
                name()
            );
        }
        if !(0.0..=1.0).contains(&most) {
            bail!("{}: line {line}: {most} is no weight from 0 to 1", name());
        }
        if curriculum.insert(SampleId::from(sample.as_str()), most).is_some() {
            bail!("{}: line {line}: {sample} is there twice", name());
        }
    }
    Ok(curriculum)
}
