//! FROC of a segmentation's candidates, by LUNA16's rules.

use anyhow::Result;
use dasl_metrics::froc::{MAX_MARKS_PER_SCAN, curve_rates};
use dasl_metrics::{
    Annotation, FrocCounts, FrocError, FrocIntervals, Mark, Ranking, froc_intervals,
};
use dasl_volume::PointMm;
use serde::{Deserialize, Serialize};

use super::Evaluated;
use crate::args::BootstrapArgs;

/// The curve and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrocCurve {
    /// By whose rules: a candidate hits by its centre, not by its outline.
    pub rules: String,
    /// Numbers of false positives per scan at which the curve is given.
    pub false_positives_per_scan: Vec<f64>,
    /// Its height there.
    pub sensitivity: Vec<f64>,
    /// Its height at LUNA16's seven numbers of false positives per scan.
    pub sensitivities: [f64; 7],
    /// Their mean.
    pub cpm: f64,
    /// What was counted.
    pub counts: FrocCounts,
    /// 95% intervals, where they were asked for; the band is at `false_positives_per_scan`.
    pub intervals: Option<FrocIntervals>,
    /// Lowest score of a candidate: what a lower threshold would add is not in the curve.
    pub lowest_score: Option<f64>,
}

impl FrocCurve {
    /// The curve; `None` where a scan has no scores or none has a nodule.
    ///
    /// # Errors
    /// If nothing can be ranked.
    pub fn of(scans: &[Evaluated], bootstrap: BootstrapArgs) -> Result<Option<Self>> {
        let Some(ranking) = ranked(scans)? else { return Ok(None) };
        let scores = scans.iter().flat_map(|scan| scan.candidates.iter().flatten());
        let lowest_score = scores.map(|candidate| candidate.score).reduce(f64::min);
        let (rates, curve) = (curve_rates(), ranking.froc());
        let intervals = froc_intervals(&ranking, &rates, bootstrap.bootstrap, bootstrap.seed);
        Ok(Some(Self {
            rules: "LUNA16".into(),
            sensitivity: rates.iter().map(|rate| curve.sensitivity_at(*rate)).collect(),
            false_positives_per_scan: rates,
            sensitivities: curve.sensitivities,
            cpm: curve.cpm,
            counts: curve.counts,
            intervals,
            lowest_score,
        }))
    }
}

/// What was outlined, ranked; `None` where a scan has no scores or none has a nodule.
///
/// # Errors
/// If nothing can be ranked.
pub(super) fn ranked(scans: &[Evaluated]) -> Result<Option<Ranking>> {
    let (mut marks, mut nodules, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    for scan in scans {
        let Some(candidates) = &scan.candidates else { return Ok(None) };
        marks.extend(candidates.iter().map(|c| Mark {
            scan: scan.scan.clone(),
            centre_mm: centre(c.center_mm),
            probability: c.score,
        }));
        nodules.extend(scan.facts.iter().map(|n| Annotation {
            scan: scan.scan.clone(),
            centre_mm: centre(n.center_mm),
            diameter_mm: n.diameter_mm,
        }));
        excluded.extend(scan.excluded.iter().cloned());
    }
    let ids: Vec<String> = scans.iter().map(|s| s.scan.clone()).collect();
    match Ranking::new(&ids, &marks, &nodules, &excluded, MAX_MARKS_PER_SCAN) {
        Err(FrocError::NoNodules) => Ok(None),
        ranked => Ok(Some(ranked?)),
    }
}

/// A point as the metrics write it, (x, y, z) in mm.
pub fn centre(point: PointMm) -> [f64; 3] {
    [point.x, point.y, point.z]
}
