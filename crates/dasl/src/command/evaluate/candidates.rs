//! A scan's candidates with their scores, and what became of each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use dasl_metrics::ScanResult;
use dasl_volume::PointMm;
use serde::{Deserialize, Serialize};

use crate::found::{self, Found};

/// What a candidate counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It found a nodule.
    Hit,
    /// It lies on a nodule that another one found.
    Duplicate,
    /// It touches no nodule.
    FalsePositive,
    /// It lies on a place that does not count.
    Ignored,
}

/// Something that the network outlined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its label.
    pub id: u16,
    /// Centre of its mask.
    pub center_mm: PointMm,
    /// Objectness, 0 to 1.
    pub score: f64,
    /// What it counts as.
    pub fate: Fate,
}

/// The candidates of a scan's output folder; `None` if it has no table.
///
/// # Errors
/// If the table can't be read, a score is not from 0 to 1, or it lists others than the label map.
pub fn read(folder: &Path, result: &ScanResult) -> Result<Option<Vec<Candidate>>> {
    let Some(found) = found::read(folder)? else { return Ok(None) };
    let shown = found::table(folder);
    let shown = shown.display();
    let mut fates = fates(result);
    let mut candidates = Vec::new();
    for Found { id, center_mm, score, .. } in found {
        let Some(fate) = fates.remove(&id) else {
            bail!("{shown}: nodule {id} is not in the label map beside it; segment again");
        };
        candidates.push(Candidate { id, center_mm, score, fate });
    }
    if let Some(id) = fates.keys().next() {
        bail!("{shown}: nodule {id} of the label map beside it is missing; segment again");
    }
    Ok(Some(candidates))
}

fn fates(result: &ScanResult) -> BTreeMap<u16, Fate> {
    let all = |labels: &[u16], fate| labels.iter().map(move |l| (*l, fate)).collect::<Vec<_>>();
    let hits = result.nodules.iter().filter_map(|n| Some((n.prediction?, Fate::Hit)));
    hits.chain(all(&result.duplicates, Fate::Duplicate))
        .chain(all(&result.false_positives, Fate::FalsePositive))
        .chain(all(&result.ignored, Fate::Ignored))
        .collect()
}
