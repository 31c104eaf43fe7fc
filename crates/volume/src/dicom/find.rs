//! Which series a folder tree holds, by headers alone.

use super::error::DicomError;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions, ReadError};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFiles {
    /// `SeriesInstanceUID`.
    pub series_uid: String,
    /// `StudyInstanceUID`.
    pub study_uid: String,
    /// `PatientID`: an identifier, never a name.
    pub patient_id: String,
    /// `Modality`, such as CT.
    pub modality: String,
    /// Paths, sorted.
    pub files: Vec<PathBuf>,
}

/// What a folder tree holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Sorted by patient, then by series UID.
    pub series: Vec<SeriesFiles>,
    /// The `*.xml` files met, sorted: LIDC keeps its readers' outlines in them.
    pub xml: Vec<PathBuf>,
    /// Files that should be DICOM and cannot be read, with the reason, sorted.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// What one file turned out to be.
enum Kind {
    Image { series_uid: String, study_uid: String, patient_id: String, modality: String },
    Other,
    Unreadable(String),
}

/// Lists the series below `root`. Only headers are read; files that are plainly not DICOM are
/// passed over.
///
/// # Errors
/// [`DicomError::Folder`] if a folder cannot be listed, [`DicomError::Empty`] if there is neither
/// a DICOM file nor an unreadable one.
pub fn find_series(root: &Path) -> Result<Found, DicomError> {
    let mut files = Vec::new();
    let mut found = Found::default();
    for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| DicomError::Folder {
            folder: error.path().unwrap_or(root).to_path_buf(),
            reason: error.io_error().map_or_else(|| "a link in a circle".into(), reason),
        })?;
        if !entry.file_type().is_file() {
            continue;
        }
        if has_extension(entry.path(), "xml") {
            found.xml.push(entry.into_path());
        } else {
            files.push(entry.into_path());
        }
    }
    let kinds: Vec<Kind> = files.par_iter().map(|path| look_at(path)).collect();

    let mut series: BTreeMap<(String, String), SeriesFiles> = BTreeMap::new();
    for (path, kind) in files.into_iter().zip(kinds) {
        match kind {
            Kind::Image { series_uid, study_uid, patient_id, modality } => series
                .entry((patient_id.clone(), series_uid.clone()))
                .or_insert_with(|| SeriesFiles {
                    series_uid,
                    study_uid,
                    patient_id,
                    modality,
                    files: Vec::new(),
                })
                .files
                .push(path),
            Kind::Unreadable(reason) => found.unreadable.push((path, reason)),
            Kind::Other => {}
        }
    }
    found.series = series.into_values().collect();
    for one in &mut found.series {
        one.files.sort();
    }
    found.xml.sort();
    found.unreadable.sort();
    if found.series.is_empty() && found.unreadable.is_empty() {
        return Err(DicomError::Empty(root.to_path_buf()));
    }
    Ok(found)
}

/// A file's header, everything before the pixels.
pub(super) fn open_header(path: &Path) -> Result<DefaultDicomObject, String> {
    if std::fs::metadata(path).map_err(|e| reason(&e))?.len() == 0 {
        return Err("the file is empty".into());
    }
    OpenFileOptions::new()
        .read_until(tags::PIXEL_DATA)
        .open_file(path)
        .map_err(|error| parse_reason(&error))
}

/// The parser's complaint without its layers and backtraces.
pub(super) fn parse_reason(error: &ReadError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    let text = deepest.to_string();
    if text.contains("failed to fill whole buffer")
        || matches!(error, ReadError::PrematureEnd { .. })
    {
        "the file is truncated".into()
    } else {
        text
    }
}

fn look_at(path: &Path) -> Kind {
    let magic = has_magic(path);
    if !magic && !has_extension(path, "dcm") {
        return Kind::Other;
    }
    let header = match open_header(path) {
        Ok(header) => header,
        Err(reason) => return Kind::Unreadable(reason),
    };
    let text = |tag| {
        let value = header.get(tag).and_then(|element| element.to_str().ok());
        value.map(|v| v.trim_matches(['\0', ' ']).to_string()).filter(|v| !v.is_empty())
    };
    match text(tags::SERIES_INSTANCE_UID) {
        Some(series_uid) => Kind::Image {
            series_uid,
            study_uid: text(tags::STUDY_INSTANCE_UID).unwrap_or_default(),
            patient_id: text(tags::PATIENT_ID).unwrap_or_default(),
            modality: text(tags::MODALITY).unwrap_or_default(),
        },
        // Directories of a disc (DICOMDIR) and the like are DICOM, but no image; an image that
        // ends before its series UID is a damaged one.
        None if text(tags::SOP_CLASS_UID).is_some() => {
            Kind::Unreadable("no SeriesInstanceUID; the file may be truncated".into())
        }
        None => Kind::Other,
    }
}

fn has_magic(path: &Path) -> bool {
    let mut start = [0; 132];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && &start[128..] == b"DICM"
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".into(),
        _ => error.to_string(),
    }
}
