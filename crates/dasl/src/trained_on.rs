//! Whom a network was trained on: figures on the same patients flatter, and this is said.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use dasl_volume::dataset::ScanRecord;
use dasl_volume::write_atomic;

use crate::segmented_folder::TRAINED_ON;

/// Patients by their identifiers; empty where nothing is known.
pub type Patients = BTreeSet<String>;

/// Writes down, beside what a network outlined, whom it was trained on, where that is known.
///
/// # Errors
/// If the file can't be written.
pub fn write(folder: &Path, patients: &Patients) -> Result<()> {
    if patients.is_empty() {
        return Ok(());
    }
    let path = folder.join(TRAINED_ON);
    write_atomic(&path, |file| patients.iter().try_for_each(|patient| writeln!(file, "{patient}")))
        .with_context(|| path.display().to_string())
}

/// Whom a network was trained on, as it stands beside what it outlined.
///
/// # Errors
/// If the file can't be read.
pub fn read(folder: &Path) -> Result<Patients> {
    let path = folder.join(TRAINED_ON);
    if !path.exists() {
        return Ok(Patients::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(listed(&text))
}

/// The patients of a list, one a line.
pub fn listed(lines: &str) -> Patients {
    lines.lines().map(ToString::to_string).collect()
}

/// Whether a scan shows one of them.
pub fn shows_any(scan: &ScanRecord, patients: &Patients) -> bool {
    scan.shows().any(|patient| patients.contains(patient))
}

/// Says that figures flatter, if scans show patients that were trained on.
pub fn warn(trained: &[&str], of: usize) {
    if let Some(first) = trained.first() {
        tracing::warn!(
            "{} of {of} scans show patients that the network was trained on, such as {first}: their \
             figures flatter",
            trained.len()
        );
    }
}
