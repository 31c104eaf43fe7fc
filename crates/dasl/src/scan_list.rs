//! Which scans lie in files and folders: DICOM series and volume files, in any layout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_volume::dicom::{DicomError, Found, SeriesFiles, find_series, is_localizer};
use dasl_volume::image_file::{Format, ImageFileError};

use crate::segmented_folder::is_label_map;
use crate::spoiled::Spoiled;

/// What scans there are. Only headers were read.
pub struct ScanList {
    /// CT series, sorted by patient, then by UID. Localizers are left out where there is anything
    /// else.
    pub series: Vec<SeriesFiles>,
    /// Volume files, sorted.
    pub images: Vec<PathBuf>,
    /// Files that should be DICOM and can't be read.
    pub spoiled: Spoiled,
}

impl ScanList {
    /// The scans of one file, or of a folder and all below it.
    ///
    /// # Errors
    /// If there is none, or a folder can't be listed.
    pub fn of(src: &Path) -> Result<Self> {
        if !src.exists() {
            bail!("{}: it does not exist; give a folder or a file of scans", src.display());
        }
        let images = image_files(src)?;
        let found = match find_series(src) {
            Err(DicomError::Empty(_)) if !images.is_empty() => Found::default(),
            Err(DicomError::Empty(file)) if src.is_file() => bail!(ImageFileError::Unknown(file)),
            found => found?,
        };
        let (ct, other): (Vec<_>, Vec<_>) =
            found.series.into_iter().partition(|series| series.modality == "CT");
        let bad = found.unreadable.len() + found.unlisted.len();
        if ct.is_empty() && images.is_empty() && bad == 0 {
            let mut modalities: Vec<String> = other.into_iter().map(|s| s.modality).collect();
            modalities.sort();
            modalities.dedup();
            let (place, modality) = (src.display().to_string(), modalities.join(", "));
            bail!(DicomError::NotCt { place, modality });
        }
        Ok(Self {
            series: without_localizers(ct),
            images,
            spoiled: Spoiled::new(found.unreadable, found.unlisted),
        })
    }
}

/// A scout often is a series of its own beside the scan.
fn without_localizers(series: Vec<SeriesFiles>) -> Vec<SeriesFiles> {
    let (localizers, scans): (Vec<_>, Vec<_>) = series.into_iter().partition(is_localizer);
    if scans.is_empty() {
        return localizers;
    }
    for one in localizers {
        tracing::warn!("series {}: a localizer, left out", one.series_uid);
    }
    scans
}

/// Volume files below a folder, sorted, but for what `dasl segment` found in them; or the file itself.
fn image_files(src: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(src).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // The list of series names it.
            Err(error) if error.depth() > 0 => continue,
            Err(error) => return Err(error).with_context(|| src.display().to_string()),
        };
        let is_image = entry.file_type().is_file() && Format::of(entry.path()).is_some();
        // What is named itself is meant.
        let found = entry.depth() > 0 && is_label_map(entry.path());
        if is_image && !found {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}
