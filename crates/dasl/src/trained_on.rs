//! Whom a network was trained on: figures on the same patients flatter, and this is said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dasl_volume::dataset::ScanRecord;
use dasl_volume::write_atomic;

/// Patients by their identifiers; empty where nothing is known.
pub type Patients = BTreeSet<String>;

/// The file that lists them, beside a network and beside what it outlined.
const LIST: &str = "trained-on.txt";

/// Writes down whom a network was trained on, where that is known, and returns the list's path; else
/// there is none.
///
/// # Errors
/// If the file can't be written.
pub fn write(folder: &Path, patients: &Patients) -> Result<Option<PathBuf>> {
    let path = folder.join(LIST);
    let written = if !patients.is_empty() {
        write_atomic(&path, |file| patients.iter().try_for_each(|p| writeln!(file, "{p}")))
    } else if path.exists() {
        std::fs::remove_file(&path)
    } else {
        Ok(())
    };
    written.with_context(|| path.display().to_string())?;
    Ok((!patients.is_empty()).then_some(path))
}

/// Whom a network was trained on, as a folder's list says.
///
/// # Errors
/// If the file can't be read.
pub fn read(folder: &Path) -> Result<Patients> {
    let path = folder.join(LIST);
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

/// Says that figures of `network` flatter, if scans show patients that it was trained on.
pub fn warn(network: &str, trained: &[&str], of: usize) {
    if let Some(first) = trained.first() {
        tracing::warn!(
            "{network}: {} of {of} scans show patients that the network was trained on, such as \
             {first}: their figures flatter",
            trained.len()
        );
    }
}
