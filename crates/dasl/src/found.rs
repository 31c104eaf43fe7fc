//! `nodules.csv`, the table of what was found in a scan, as `dasl segment` writes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_volume::PointMm;
use serde::Deserialize;

/// The table in a scan's output folder.
const TABLE: &str = "nodules.csv";

/// A line of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its label in the label map.
    pub id: u16,
    /// Centre of its mask.
    pub center_mm: PointMm,
    /// Diameter of the sphere with its volume, where the table has it.
    pub diameter_mm: Option<f64>,
    /// Objectness, 0 to 1.
    pub score: f64,
}

#[derive(Deserialize)]
struct Row {
    id: u16,
    x_mm: f64,
    y_mm: f64,
    z_mm: f64,
    diameter_mm: Option<f64>,
    score: f64,
}

/// The table's path in a scan's output folder.
pub fn table(folder: &Path) -> PathBuf {
    folder.join(TABLE)
}

/// The table of a scan's output folder; `None` if there is none.
///
/// # Errors
/// If it can't be read, a score is not from 0 to 1, or a place or diameter is none.
pub fn read(folder: &Path) -> Result<Option<Vec<Found>>> {
    let path = table(folder);
    if !path.exists() {
        return Ok(None);
    }
    let shown = || path.display().to_string();
    let mut all = Vec::new();
    for row in csv::Reader::from_path(&path).with_context(shown)?.deserialize() {
        let row: Row = row.with_context(|| {
            format!("{}: needs numbers in the columns id, x_mm, y_mm, z_mm and score", shown())
        })?;
        let Row { id, x_mm, y_mm, z_mm, diameter_mm, score } = row;
        if !(0.0..=1.0).contains(&score) || ![x_mm, y_mm, z_mm].iter().all(|v| v.is_finite()) {
            bail!("{}: nodule {id}: its score must be from 0 to 1, its place finite", shown());
        }
        if diameter_mm.is_some_and(|mm| !(mm.is_finite() && mm > 0.0)) {
            bail!("{}: nodule {id}: its diameter must be above 0", shown());
        }
        all.push(Found { id, center_mm: PointMm::new(x_mm, y_mm, z_mm), diameter_mm, score });
    }
    Ok(Some(all))
}
