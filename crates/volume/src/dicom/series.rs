//! From slices to a volume.

use super::error::DicomError;
use super::find::{SeriesFiles, find_series};
use super::slice::{SliceHeader, dot};
use crate::geometry::{Geometry, PointMm};
use crate::volume::CtVolume;
use ndarray::{Array3, Axis};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A gap may differ from the usual one by this share of it, or by [`GAP_MM`] if that is more:
/// positions are rounded when written.
const GAP_SHARE: f64 = 0.01;
/// See [`GAP_SHARE`].
const GAP_MM: f64 = 0.02;
/// How far a slice may lie from its place in an evenly spaced stack, as a share of the spacing:
/// small deviations of the same sign add up.
const DRIFT_SHARE: f64 = 0.1;
/// How far a slice may lie beside the normal through the first one.
const SIDEWAYS_MM: f64 = 0.2;

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
    /// `SliceThickness`, mm: what a slice averages over, not the distance of slices.
    pub slice_thickness_mm: Option<f64>,
    /// The file of each slice, in array order.
    pub source: Vec<PathBuf>,
}

/// Reads a folder tree that holds exactly one CT series (other modalities beside it are fine).
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
    match ct.as_slice() {
        [one] => read_series(one),
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

/// Reads one CT series: checks that the slices make an even stack, orders them along their normal
/// (for an axial series from feet to head) and converts to Hounsfield units.
///
/// # Errors
/// A [`DicomError`] that names the file or files at fault.
pub fn read_series(files: &SeriesFiles) -> Result<CtScan, DicomError> {
    if files.modality != "CT" {
        return Err(DicomError::NotCt {
            place: format!("series {}", files.series_uid),
            modality: files.modality.clone(),
        });
    }
    // Collected before the errors are looked at, so that the first file in order is named
    // whatever the thread count.
    let headers: Vec<_> = files.files.par_iter().map(|file| SliceHeader::read(file)).collect();
    let headers = headers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let stack = Stack::new(&files.series_uid, headers)?;
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
        source: stack.slices.iter().map(|s| s.header.file.clone()).collect(),
    })
}

/// A slice and its place along the normal.
struct Placed {
    header: SliceHeader,
    along_mm: f64,
}

/// Slices in order along their normal, evenly spaced.
struct Stack {
    slices: Vec<Placed>,
    normal: [f64; 3],
    spacing_mm: f64,
}

impl Stack {
    fn new(series_uid: &str, headers: Vec<SliceHeader>) -> Result<Self, DicomError> {
        let Some(first) = headers.first() else {
            return Err(DicomError::Empty(PathBuf::from(format!("series {series_uid}"))));
        };
        if headers.len() == 1 {
            let file = first.file.clone();
            return Err(DicomError::SingleSlice { series_uid: series_uid.into(), file });
        }
        for other in &headers[1..] {
            same_grid(first, other)?;
        }
        let normal = cross(first.along_row, first.along_column);
        let mut slices: Vec<Placed> = headers
            .into_iter()
            .map(|header| Placed { along_mm: dot(header.position_mm, normal), header })
            .collect();
        slices.sort_by(|a, b| {
            a.along_mm.total_cmp(&b.along_mm).then_with(|| a.header.file.cmp(&b.header.file))
        });
        let spacing_mm = even_spacing(&slices)?;
        let stack = Self { slices, normal, spacing_mm };
        stack.check_sideways()?;
        Ok(stack)
    }

    /// Refuses a tilted gantry: slices must follow each other along their normal.
    fn check_sideways(&self) -> Result<(), DicomError> {
        let first = &self.slices[0];
        let beside = |slice: &Placed| {
            let from = first.header.position_mm;
            let step = [0, 1, 2].map(|i| slice.header.position_mm[i] - from[i]);
            let along = dot(step, self.normal);
            let rest = [0, 1, 2].map(|i| step[i] - along * self.normal[i]);
            dot(rest, rest).sqrt()
        };
        match self.slices.iter().find(|slice| beside(slice) > SIDEWAYS_MM) {
            None => Ok(()),
            Some(slice) => Err(DicomError::Tilted {
                first: first.header.file.clone(),
                file: slice.header.file.clone(),
                offset_mm: beside(slice),
            }),
        }
    }

    fn geometry(&self) -> Geometry {
        let first = &self.slices[0].header;
        let [x, y, z] = first.position_mm;
        Geometry {
            shape: [self.slices.len(), first.rows, first.columns],
            spacing_mm: [self.spacing_mm, first.pixel_spacing_mm[0], first.pixel_spacing_mm[1]],
            origin_mm: PointMm::new(x, y, z),
            axes: [self.normal, first.along_column, first.along_row],
        }
    }

    fn read_voxels(&self) -> Result<Array3<i16>, DicomError> {
        let mut voxels = Array3::<i16>::zeros(self.geometry().shape);
        let mut results: Vec<Result<(), DicomError>> = Vec::new();
        voxels
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(&self.slices)
            .map(|(mut plane, slice)| match plane.as_slice_mut() {
                Some(pixels) => slice.header.read_hounsfield(pixels),
                None => unreachable!("a plane of a new array is contiguous"),
            })
            .collect_into_vec(&mut results);
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(voxels)
    }
}

/// Refuses slices that cannot share one grid.
fn same_grid(first: &SliceHeader, other: &SliceHeader) -> Result<(), DicomError> {
    let differ = |attribute, first_value: String, value: String| {
        Err(DicomError::Differing {
            first: first.file.clone(),
            file: other.file.clone(),
            attribute,
            first_value,
            value,
        })
    };
    let close = |a: &[f64], b: &[f64], tolerance: f64| {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    };
    let show =
        |values: &[f64]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join("\\");
    if (first.rows, first.columns) != (other.rows, other.columns) {
        let size = |s: &SliceHeader| format!("{}x{}", s.rows, s.columns);
        return differ("Rows x Columns", size(first), size(other));
    }
    if !close(&first.pixel_spacing_mm, &other.pixel_spacing_mm, 1e-4) {
        let (a, b) = (show(&first.pixel_spacing_mm), show(&other.pixel_spacing_mm));
        return differ("PixelSpacing", a, b);
    }
    if !close(&first.along_row, &other.along_row, 1e-3)
        || !close(&first.along_column, &other.along_column, 1e-3)
    {
        let both = |s: &SliceHeader| show(&[s.along_row, s.along_column].concat());
        return differ("ImageOrientationPatient", both(first), both(other));
    }
    if first.frame_of_reference_uid != other.frame_of_reference_uid {
        let uid = |s: &SliceHeader| s.frame_of_reference_uid.clone().unwrap_or_default();
        return differ("FrameOfReferenceUID", uid(first), uid(other));
    }
    Ok(())
}

/// The distance of neighbouring slices, or which pair breaks the even stack.
fn even_spacing(slices: &[Placed]) -> Result<f64, DicomError> {
    let gaps: Vec<f64> = slices.windows(2).map(|w| w[1].along_mm - w[0].along_mm).collect();
    let usual = median(&gaps);
    let pair = |i: usize| (slices[i].header.file.clone(), slices[i + 1].header.file.clone());
    if let Some(i) = gaps.iter().position(|gap| *gap < 1e-3_f64.max(0.01 * usual)) {
        let (first, second) = pair(i);
        let position_mm = slices[i].along_mm;
        return Err(DicomError::DuplicateSlice { first, second, position_mm });
    }
    if let Some(i) = gaps.iter().position(|gap| *gap > 1.5 * usual) {
        let (below, above) = pair(i);
        let gap_mm = gaps[i];
        return Err(DicomError::MissingSlice { below, above, gap_mm, spacing_mm: usual });
    }
    let tolerance = GAP_MM.max(GAP_SHARE * usual);
    let spacing_mm = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let drifts = |i: usize| {
        let place = slices[0].along_mm + (i + 1) as f64 * spacing_mm;
        (slices[i + 1].along_mm - place).abs() > tolerance.max(DRIFT_SHARE * spacing_mm)
    };
    let uneven = |i: usize| (gaps[i] - usual).abs() > tolerance || drifts(i);
    if let Some(i) = (0..gaps.len()).find(|i| uneven(*i)) {
        let (below, above) = pair(i);
        let gap_mm = gaps[i];
        return Err(DicomError::UnevenSpacing { below, above, gap_mm, spacing_mm: usual });
    }
    Ok(spacing_mm)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn cross(u: [f64; 3], v: [f64; 3]) -> [f64; 3] {
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}
