//! What a folder is known by that `dasl segment` wrote for a scan.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The instance label map.
pub const LABELS: &str = "nodules.nii.gz";
/// What scan it is about; written last, so that a folder with it is whole.
pub const SCAN: &str = "scan.json";

/// Such folders in what `dasl segment` wrote to, sorted.
///
/// # Errors
/// If it can't be listed.
pub fn folders(segmented: &Path) -> Result<Vec<PathBuf>> {
    let shown = || segmented.display().to_string();
    let entries = std::fs::read_dir(segmented).with_context(shown)?;
    let folders = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut folders: Vec<PathBuf> = folders.collect::<Result<_, _>>().with_context(shown)?;
    folders.retain(|folder| folder.join(SCAN).is_file());
    folders.sort();
    Ok(folders)
}

/// Whether a file is the label map of such a folder, which is no scan.
pub fn is_label_map(file: &Path) -> bool {
    file.ends_with(LABELS) && file.with_file_name(SCAN).is_file()
}
