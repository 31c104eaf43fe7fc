//! nodules.csv and evaluation.json.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_metrics::Measures;
use dasl_volume::write_atomic;

use super::place::seen_from;
use super::{Evaluated, Evaluation};
use crate::segmented_folder::SCAN;

const HEADER: [&str; 16] = [
    "scan",
    "nodule",
    "readers",
    "diameter_mm",
    "size",
    "texture",
    "found_as",
    "dice",
    "iou",
    "mean_distance_mm",
    "hd95_mm",
    "reference_mm3",
    "volume_error_mm3",
    "volume_error",
    "diameter_error_mm",
    "predicted_voxels",
];

/// The evaluation as JSON.
pub const JSON: &str = "evaluation.json";

/// Refuses a scan's folder, which has a table of that name.
///
/// # Errors
/// If it is one.
pub fn check(folder: &Path) -> Result<()> {
    if folder.join(SCAN).exists() {
        bail!("{}: holds the outlines of one scan: name another --out", folder.display());
    }
    Ok(())
}

/// Writes both into a folder; the file's paths are as seen from there.
///
/// # Errors
/// If the folder can't be made or a file not be written.
pub fn write(folder: &Path, evaluation: &Evaluation) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut evaluation = evaluation.clone();
    let against = evaluation.against.as_mut().map(|against| &mut against.predictions);
    for path in [&mut evaluation.predictions, &mut evaluation.dataset].into_iter().chain(against) {
        *path = seen_from(folder, path)?;
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEADER)?;
    for scan in &evaluation.scans {
        for row in rows(scan) {
            csv.write_record(row)?;
        }
    }
    let table = csv.into_inner()?;
    let json = serde_json::to_string_pretty(&evaluation)?;
    for (name, bytes) in [("nodules.csv", &table[..]), (JSON, json.as_bytes())] {
        let path = folder.join(name);
        write_atomic(&path, |file| file.write_all(bytes)).with_context(|| {
            format!("{}: cannot be written; name a folder with --out", path.display())
        })?;
    }
    Ok(())
}

/// One row per nodule; what a miss has no figure for is empty.
fn rows(scan: &Evaluated) -> impl Iterator<Item = Vec<String>> {
    scan.result.nodules.iter().zip(&scan.facts).map(|(nodule, facts)| {
        let of = |pick: fn(&Measures) -> f64| {
            facts.measures.as_ref().map_or(String::new(), |m| format!("{:.6}", pick(m)))
        };
        vec![
            scan.scan.clone(),
            nodule.reference.to_string(),
            facts.readers.to_string(),
            format!("{:.3}", facts.diameter_mm),
            facts.size.to_string(),
            facts.texture.to_string(),
            nodule.prediction.map_or(String::new(), |p| p.to_string()),
            format!("{:.6}", nodule.dice),
            of(|m| m.iou),
            of(|m| m.surface.mean_mm),
            of(|m| m.surface.hd95_mm),
            format!("{:.6}", facts.reference_mm3),
            of(|m| m.volume_error_mm3),
            of(|m| m.volume_error),
            of(|m| m.diameter_error_mm),
            nodule.overlap.predicted_voxels.to_string(),
        ]
    })
}
