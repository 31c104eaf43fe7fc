//! `dasl evaluate`: outlines against a dataset's reference, nodule by nodule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_metrics::{MATCHING_RULE, NoduleResult, ScanResult, Summary, match_instances};
use dasl_volume::dataset::{Dataset, ScanRecord};
use dasl_volume::{Geometry, nifti};
use serde::Serialize;

use super::segment::{LABELS, SCAN, ScanNote};
use crate::Outcome;
use crate::args::EvaluateArgs;
use crate::progress::bar;
use crate::table;

/// Farthest that two grids' corners may lie apart, mm.
const SAME_GRID_MM: f64 = 0.01;

/// A scan's result with its name.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluated {
    /// The scan.
    pub scan: String,
    /// Its nodules, hits and false positives.
    #[serde(flatten)]
    pub result: ScanResult,
}

/// Results of all scans that were predicted.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// How predictions and nodules are matched.
    pub matching: &'static str,
    /// Which voxels are nodule.
    pub consensus: String,
    /// All figures together.
    pub summary: Summary,
    /// Scan by scan.
    pub scans: Vec<Evaluated>,
    /// Scans of the dataset without a prediction: not counted.
    pub not_predicted: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// If nothing can be compared, or a prediction lies on another grid than its reference.
pub fn run(args: &EvaluateArgs, json: bool) -> Result<Outcome> {
    let dataset = Dataset::open(&args.dataset)?;
    let evaluation = evaluate(&args.predictions, &dataset)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        println!("{}", render(&evaluation));
    }
    Ok(Outcome::Done)
}

/// Compares all predictions in a folder with a dataset.
///
/// # Errors
/// As [`run`].
pub fn evaluate(predictions: &Path, dataset: &Dataset) -> Result<Evaluation> {
    let predicted = predicted(predictions)?;
    let (mut scans, mut not_predicted) = (Vec::new(), Vec::new());
    let ids = dataset.scan_ids();
    let progress = bar("evaluate", ids.len() as u64);
    for id in ids {
        let record = dataset.scan(&id)?;
        if !record.annotated {
            continue;
        }
        // A nodule volume has the series' UID too, but is not the scan that was segmented.
        let by_series = predicted.by_series.get(&record.series_uid).filter(|_| record.whole);
        let folder = by_series.or(predicted.by_name.get(&id));
        match folder {
            Some(folder) => {
                let result = compare(&folder.join(LABELS), dataset, &record)?;
                scans.push(Evaluated { scan: id, result });
            }
            None => not_predicted.push(id),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    if scans.is_empty() {
        bail!(
            "none of the {} scans of {} has a prediction in {}",
            not_predicted.len(),
            dataset.root().display(),
            predictions.display()
        );
    }
    let results: Vec<ScanResult> = scans.iter().map(|s| s.result.clone()).collect();
    Ok(Evaluation {
        matching: MATCHING_RULE,
        consensus: dataset.info().rule.clone(),
        summary: Summary::of(&results),
        scans,
        not_predicted,
    })
}

/// Output folders, by the series and by the name of their scans.
struct Predicted {
    by_series: BTreeMap<String, PathBuf>,
    by_name: BTreeMap<String, PathBuf>,
}

fn predicted(root: &Path) -> Result<Predicted> {
    let mut found = Predicted { by_series: BTreeMap::new(), by_name: BTreeMap::new() };
    let entries = std::fs::read_dir(root).with_context(|| root.display().to_string())?;
    for entry in entries {
        let folder = entry?.path();
        let note = folder.join(SCAN);
        if !note.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&note)?;
        let note: ScanNote =
            serde_json::from_str(&text).with_context(|| note.display().to_string())?;
        if let Some(series) = note.series_uid {
            found.by_series.insert(series, folder.clone());
        }
        found.by_name.insert(note.name, folder);
    }
    Ok(found)
}

fn compare(path: &Path, dataset: &Dataset, record: &ScanRecord) -> Result<ScanResult> {
    let prediction = nifti::read_labels(path)?;
    let reference = dataset.read_native_labels(&record.scan_id)?;
    if !prediction.geometry.same_grid(&reference.geometry, SAME_GRID_MM) {
        bail!(
            "{} lies on another grid than scan {}: {} against {}; segment the scan itself",
            path.display(),
            record.scan_id,
            described(&prediction.geometry),
            described(&reference.geometry)
        );
    }
    match_instances(reference.voxels.view(), prediction.voxels.view())
        .with_context(|| path.display().to_string())
}

fn described(g: &Geometry) -> String {
    let o = g.origin_mm;
    format!(
        "{:?} voxels [z, y, x] of {:.3?} mm from ({:.2}, {:.2}, {:.2}) mm",
        g.shape, g.spacing_mm, o.x, o.y, o.z
    )
}

/// The figures as tables.
pub fn render(evaluation: &Evaluation) -> String {
    let header = ["scan", "nodule", "found as", "Dice", "voxels", "predicted"];
    let row = |scan: &str, n: &NoduleResult| {
        vec![
            scan.to_string(),
            n.reference.to_string(),
            n.prediction.map_or("missed".into(), |p| p.to_string()),
            format!("{:.3}", n.dice),
            n.overlap.reference_voxels.to_string(),
            n.overlap.predicted_voxels.to_string(),
        ]
    };
    let rows = evaluation.scans.iter();
    let rows = rows.flat_map(|s| s.result.nodules.iter().map(move |n| row(&s.scan, n)));
    let nodules = table::render(&header, &rows.collect::<Vec<_>>());
    let s = &evaluation.summary;
    let header = ["scans", "nodules", "Dice", "TP Dice", "hit rate", "false positives/scan"];
    let summary = vec![
        s.scans.to_string(),
        s.nodules.to_string(),
        table::mean_sd(s.dice_mean, s.dice_sd),
        table::mean_sd(s.tp_dice_mean, s.tp_dice_sd),
        table::figure(s.hit_rate),
        table::figure(s.false_positives_per_scan),
    ];
    let summary = table::render(&header, &[summary]);
    let missing = match evaluation.not_predicted.len() {
        0 => String::new(),
        n => format!("; {n} scans without a prediction are not counted"),
    };
    format!(
        "{nodules}\n\n{summary}\nmatching: {}; consensus: {}{missing}",
        evaluation.matching, evaluation.consensus
    )
}
