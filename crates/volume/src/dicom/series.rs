//! From slices to a volume.

use super::error::DicomError;
use super::find::{SeriesFiles, find_series};
use super::left_out::{stack_without_odd_ones, without_copies};
use super::slice::CtFile;
use super::stack::Stack;
use crate::geometry::Geometry;
use crate::volume::CtVolume;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A CT series as a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct CtScan {
    /// Hounsfield units [z, y, x]: z along the slice normal, y down a column, x along a row.
    pub volume: CtVolume,
    /// `SeriesInstanceUID`.
    pub series_uid: String,
    /// `StudyInstanceUID`.
    pub study_uid: String,
    /// `PatientID`.
    pub patient_id: String,
    /// `FrameOfReferenceUID`, if the files have one.
    pub frame_of_reference_uid: Option<String>,
    /// `SOPInstanceUID` of each slice, in array order.
    pub slice_uids: Vec<String>,
    /// Which frame of its file each slice is, from 1, in array order; `None` if the file has a
    /// single one.
    pub slice_frames: Vec<Option<u32>>,
    /// `SliceThickness`, mm: what a slice averages over, not the distance of slices.
    pub slice_thickness_mm: Option<f64>,
    /// The file of each slice, in array order; the frames of a multi-frame file all name it.
    pub source: Vec<PathBuf>,
    /// What the user should know and need not act on, one line each: files that were left out and
    /// why, pixels that went through lossy compression.
    pub notes: Vec<String>,
}

/// Reads a folder tree that holds exactly one CT series. Other modalities, pictures of the screen,
/// dose reports and localizers beside it are fine.
///
/// # Errors
/// As [`find_series`] and [`read_series`]; also for an unreadable file, for no CT series and for
/// more than one.
pub fn read_folder(folder: &Path) -> Result<CtScan, DicomError> {
    let found = find_series(folder)?;
    if let Some((file, reason)) = found.unreadable.into_iter().next() {
        return Err(DicomError::Unreadable { file, reason });
    }
    let (ct, other): (Vec<SeriesFiles>, Vec<SeriesFiles>) =
        found.series.into_iter().partition(|series| series.modality == "CT");
    let (mut notes, mut with_slices) = (Vec::new(), Vec::new());
    if ct.len() == 1 {
        with_slices = ct;
    } else {
        // A scout often is a series of its own beside the scan.
        for one in ct {
            if is_localizer(&one) {
                notes.push(format!("series {}: a localizer, left out", one.series_uid));
            } else {
                with_slices.push(one);
            }
        }
    }
    match with_slices.as_slice() {
        [one] => {
            warn_of(&notes);
            let mut scan = read_series(one)?;
            scan.notes.splice(0..0, notes);
            Ok(scan)
        }
        [] if !notes.is_empty() => {
            Err(DicomError::OnlyLocalizers { place: folder.display().to_string() })
        }
        [] => {
            let mut modalities: Vec<String> = other.into_iter().map(|s| s.modality).collect();
            modalities.sort();
            modalities.dedup();
            Err(DicomError::NotCt {
                place: folder.display().to_string(),
                modality: modalities.join(", "),
            })
        }
        several => Err(DicomError::SeveralSeries {
            folder: folder.to_path_buf(),
            series: several.iter().map(|s| (s.series_uid.clone(), s.files.len())).collect(),
        }),
    }
}

/// Whether all images of a series are localizers (scouts), of which no volume is made.
pub fn is_localizer(series: &SeriesFiles) -> bool {
    series.files.iter().all(|file| CtFile::is_localizer(file))
}

/// Reads one CT series: checks that the slices make an even stack, orders them along their normal
/// (for an axial series from feet to head) and converts to Hounsfield units. Values beyond an i16
/// are held at its ends; padded pixels become [`crate::PADDING_HU`].
///
/// Copies of a slice are used once; localizers, and a few single images of another size or
/// orientation beside an even stack, are left out: [`CtScan::notes`] names them.
///
/// # Errors
/// A [`DicomError`] that names the file or files at fault.
pub fn read_series(files: &SeriesFiles) -> Result<CtScan, DicomError> {
    let mut notes = Vec::new();
    let stack = stack(files, &mut notes)?;
    let lossy = stack.slices.iter().filter(|slice| slice.header.is_lossy).count();
    if lossy > 0 {
        notes.push(format!(
            "series {}: {lossy} slices went through lossy compression, their values are approximate",
            files.series_uid
        ));
    }
    warn_of(&notes);
    let voxels = stack.read_voxels()?;
    let first = &stack.slices[0].header;
    Ok(CtScan {
        volume: CtVolume::new(voxels, stack.geometry()),
        series_uid: files.series_uid.clone(),
        study_uid: files.study_uid.clone(),
        patient_id: files.patient_id.clone(),
        frame_of_reference_uid: first.frame_of_reference_uid.clone(),
        slice_thickness_mm: first.slice_thickness_mm,
        slice_uids: stack.slices.iter().map(|s| s.header.sop_uid.clone()).collect(),
        slice_frames: stack
            .slices
            .iter()
            .map(|s| (s.header.frames > 1).then_some(s.header.frame as u32 + 1))
            .collect(),
        source: stack.slices.iter().map(|s| s.header.file.clone()).collect(),
        notes,
    })
}

/// Where the voxels of a series lie, without reading them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesGrid {
    /// The grid that [`read_series`] would give its volume.
    pub geometry: Geometry,
    /// `SliceThickness`, mm: what a slice averages over, not the distance of slices.
    pub slice_thickness_mm: Option<f64>,
}

/// Reads the grid of a CT series from its headers.
///
/// # Errors
/// As [`read_series`], but for what only the pixels show.
pub fn read_grid(files: &SeriesFiles) -> Result<SeriesGrid, DicomError> {
    let stack = stack(files, &mut Vec::new())?;
    let slice_thickness_mm = stack.slices[0].header.slice_thickness_mm;
    Ok(SeriesGrid { geometry: stack.geometry(), slice_thickness_mm })
}

/// The slices of a series in order, by their headers; what was left out is noted.
fn stack(files: &SeriesFiles, notes: &mut Vec<String>) -> Result<Stack, DicomError> {
    if files.modality != "CT" {
        return Err(DicomError::NotCt {
            place: format!("series {}", files.series_uid),
            modality: files.modality.clone(),
        });
    }
    // Collected before the errors are looked at, so that the first file in order is named
    // whatever the thread count.
    let read: Vec<_> = files.files.par_iter().map(|file| CtFile::read(file)).collect();
    let mut slices = Vec::new();
    for (file, read) in files.files.iter().zip(read) {
        match read? {
            CtFile::Slices(of_file) => slices.extend(of_file),
            CtFile::Localizer => {
                notes.push(format!("{}: a localizer, left out", file.display()));
            }
        }
    }
    if slices.is_empty() && !notes.is_empty() {
        return Err(DicomError::OnlyLocalizers { place: format!("series {}", files.series_uid) });
    }
    let slices = without_copies(slices, notes)?;
    stack_without_odd_ones(&files.series_uid, slices, notes)
}

fn warn_of(notes: &[String]) {
    for note in notes {
        tracing::warn!("{note}");
    }
}
