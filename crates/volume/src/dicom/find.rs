//! Which series a folder tree holds, by headers alone.

use super::error::{DicomError, io_reason};
use super::open::{NOT_DICOM, open_header};
use crate::image_file::is_left_by_macos;
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use rayon::prelude::*;
use std::collections::BTreeMap;
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
    /// `Modality`, such as CT; "CT without slices" for what a CT scanner filed that is no image of
    /// the patient's volume (pictures of the screen, dose reports, raw data).
    pub modality: String,
    /// Paths, sorted.
    pub files: Vec<PathBuf>,
    /// What its first file says of it.
    pub attributes: SeriesAttributes,
}

/// Attributes by which series are told apart, as written; empty where a file says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesAttributes {
    /// `SeriesDescription`.
    pub description: String,
    /// `ConvolutionKernel`.
    pub kernel: String,
    /// `SliceThickness`, mm.
    pub slice_thickness: String,
    /// `ImageType`, its values parted by backslashes.
    pub image_type: String,
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
    /// Folders and links that lead nowhere, with the reason, sorted.
    pub unlisted: Vec<(PathBuf, String)>,
}

/// The modality given to files of modality CT that are no slices.
const NO_SLICE: &str = "CT without slices";

/// What one file turned out to be.
enum Kind {
    Image {
        series_uid: String,
        study_uid: String,
        patient_id: String,
        modality: String,
        attributes: SeriesAttributes,
    },
    Other,
    Unreadable(String),
}

/// Lists the series below `root`, in whatever folders their files lie. Only headers are read.
/// Files that do not begin as DICOM (with or without preamble and file meta group) are passed over
/// unless they are named `*.dcm`; so is the directory of a disc, DICOMDIR.
///
/// # Errors
/// [`DicomError::Folder`] if `root` cannot be listed, [`DicomError::Empty`] if there is neither
/// a DICOM file nor an unreadable one.
pub fn find_series(root: &Path) -> Result<Found, DicomError> {
    let mut files = Vec::new();
    let mut found = Found::default();
    for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let place = error.path().unwrap_or(root).to_path_buf();
                let reason =
                    error.io_error().map_or_else(|| "a link in a circle".into(), io_reason);
                if error.depth() == 0 {
                    return Err(DicomError::Folder { folder: place, reason });
                }
                found.unlisted.push((place, format!("cannot be listed ({reason})")));
                continue;
            }
        };
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

    let mut series: BTreeMap<(String, String, String), SeriesFiles> = BTreeMap::new();
    for (path, kind) in files.into_iter().zip(kinds) {
        match kind {
            Kind::Image { series_uid, study_uid, patient_id, modality, attributes } => series
                .entry((patient_id.clone(), series_uid.clone(), modality.clone()))
                .or_insert_with(|| SeriesFiles {
                    series_uid,
                    study_uid,
                    patient_id,
                    modality,
                    files: Vec::new(),
                    attributes,
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
    found.unlisted.sort();
    if found.series.is_empty() && found.unreadable.is_empty() && found.unlisted.is_empty() {
        return Err(DicomError::Empty(root.to_path_buf()));
    }
    Ok(found)
}

/// Whether the file is an image of the patient's volume, for a file of modality CT. Beside the
/// slices, scanners file pictures of the screen, dose reports and raw data under that modality.
fn lies_in_space(header: &DefaultDicomObject, class: Option<&str>) -> bool {
    let is_ct = class.is_none_or(|uid| uid == CT_CLASS || uid.starts_with(CT_CLASSES));
    is_ct || header.get(tags::IMAGE_POSITION_PATIENT).is_some()
}

/// CT Image Storage.
const CT_CLASS: &str = uids::CT_IMAGE_STORAGE;
/// The beginning of the classes derived from it: enhanced, legacy converted enhanced, for
/// processing.
const CT_CLASSES: &str = "1.2.840.10008.5.1.4.1.1.2.";

fn look_at(path: &Path) -> Kind {
    // The directory of a disc is DICOM, but no image; what macOS leaves beside each file is neither.
    let is_directory = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR"));
    if is_directory || is_left_by_macos(path) {
        return Kind::Other;
    }
    let should_be_dicom = has_extension(path, "dcm");
    let header = match open_header(path) {
        Ok(Some(header)) => header,
        Ok(None) if should_be_dicom => return Kind::Unreadable(NOT_DICOM.into()),
        Err(reason) if should_be_dicom || has_content(path) => return Kind::Unreadable(reason),
        // An empty file of another name is no loss.
        Ok(None) | Err(_) => return Kind::Other,
    };
    let text = |tag| {
        let value = header.get(tag).and_then(|element| element.to_str().ok());
        value.map(|v| v.trim_matches(['\0', ' ']).to_string()).filter(|v| !v.is_empty())
    };
    let class = text(tags::SOP_CLASS_UID);
    match text(tags::SERIES_INSTANCE_UID) {
        Some(series_uid) => {
            let mut modality = text(tags::MODALITY).unwrap_or_default();
            if modality == "CT" && !lies_in_space(&header, class.as_deref()) {
                modality = NO_SLICE.into();
            }
            Kind::Image {
                series_uid,
                study_uid: text(tags::STUDY_INSTANCE_UID).unwrap_or_default(),
                patient_id: text(tags::PATIENT_ID).unwrap_or_default(),
                modality,
                attributes: SeriesAttributes {
                    description: text(tags::SERIES_DESCRIPTION).unwrap_or_default(),
                    kernel: text(tags::CONVOLUTION_KERNEL).unwrap_or_default(),
                    slice_thickness: text(tags::SLICE_THICKNESS).unwrap_or_default(),
                    image_type: text(tags::IMAGE_TYPE).unwrap_or_default(),
                },
            }
        }
        // Directories of a disc and the like are DICOM, but no image; an image that ends before
        // its series UID is a damaged one.
        None if class.is_some() => {
            Kind::Unreadable("no SeriesInstanceUID; the file may be truncated".into())
        }
        None => Kind::Other,
    }
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.len() > 0)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}
