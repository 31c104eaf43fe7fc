//! Slices in order along their normal, or why they make no even stack.

use super::error::DicomError;
use super::pixels::{PixelFile, check_size, zeros};
use super::slice::{MARKS, SliceHeader, dot};
use crate::geometry::{Geometry, PointMm};
use ndarray::{Array3, ArrayViewMut2, Axis};
use rayon::prelude::*;
use std::collections::BTreeMap;
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

/// A slice and its place along the normal.
pub(super) struct Placed {
    pub header: SliceHeader,
    along_mm: f64,
}

/// Slices in order along their normal, evenly spaced.
pub(super) struct Stack {
    pub slices: Vec<Placed>,
    normal: [f64; 3],
    spacing_mm: f64,
}

impl Stack {
    pub fn new(series_uid: &str, headers: Vec<SliceHeader>) -> Result<Self, DicomError> {
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
        // Every slice by the first one's normal, so that rounding does not move them.
        let normal = first.normal();
        let mut slices: Vec<Placed> = headers
            .into_iter()
            .map(|header| Placed { along_mm: dot(header.position_mm, normal), header })
            .collect();
        slices.sort_by(|a, b| {
            a.along_mm.total_cmp(&b.along_mm).then_with(|| a.header.file.cmp(&b.header.file))
        });
        let in_order: Vec<&Placed> = slices.iter().collect();
        let spacing_mm = even_spacing(&in_order)
            .map_err(|error| several_stacks(series_uid, &in_order).unwrap_or(error))?;
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

    pub fn geometry(&self) -> Geometry {
        let first = &self.slices[0].header;
        let [x, y, z] = first.position_mm;
        Geometry {
            shape: [self.slices.len(), first.rows, first.columns],
            spacing_mm: [self.spacing_mm, first.pixel_spacing_mm[0], first.pixel_spacing_mm[1]],
            origin_mm: PointMm::new(x, y, z),
            axes: [self.normal, first.along_column, first.along_row],
        }
    }

    /// The Hounsfield units [z, y, x].
    pub fn read_voxels(&self) -> Result<Array3<i16>, DicomError> {
        self.slices.iter().try_for_each(|slice| check_size(&slice.header))?;
        let shape = self.geometry().shape;
        let zeros = zeros(shape.iter().product(), &self.slices[0].header.file)?;
        let Ok(mut voxels) = Array3::from_shape_vec(shape, zeros) else {
            unreachable!("as many zeros as the shape has voxels");
        };
        // A multi-frame file holds many planes and is opened once.
        let mut files: BTreeMap<&Path, Vec<(&SliceHeader, ArrayViewMut2<'_, i16>)>> =
            BTreeMap::new();
        for (slice, plane) in self.slices.iter().zip(voxels.axis_iter_mut(Axis(0))) {
            files.entry(slice.header.file.as_path()).or_default().push((&slice.header, plane));
        }
        // Collected before the errors are looked at, so that the first file in order is named
        // whatever the thread count.
        let results: Vec<Result<(), DicomError>> = files
            .into_par_iter()
            .map(|(file, planes)| {
                let pixels = PixelFile::open(file)?;
                let planes: Vec<Result<(), DicomError>> = planes
                    .into_par_iter()
                    .map(|(header, mut plane)| match plane.as_slice_mut() {
                        Some(out) => pixels.read_hounsfield(header, out),
                        None => unreachable!("a plane of a new array is contiguous"),
                    })
                    .collect();
                planes.into_iter().collect()
            })
            .collect();
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
fn even_spacing(slices: &[&Placed]) -> Result<f64, DicomError> {
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

/// Whether uneven slices are two or more even stacks over the same places, told apart by one of
/// [`MARKS`]: then that is the reason to give.
fn several_stacks(series_uid: &str, slices: &[&Placed]) -> Option<DicomError> {
    let stacks_by = |mark: usize| {
        let mut stacks: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
        for slice in slices {
            let value = slice.header.marks[mark].as_deref().unwrap_or("none");
            stacks.entry(value).or_default().push(slice);
        }
        stacks
    };
    let overlap = |a: &[&Placed], b: &[&Placed]| {
        let ends = |s: &[&Placed]| (s[0].along_mm, s[s.len() - 1].along_mm);
        let ((a_low, a_high), (b_low, b_high)) = (ends(a), ends(b));
        a_low <= b_high && b_low <= a_high
    };
    MARKS.iter().enumerate().find_map(|(mark, (attribute, _))| {
        let stacks = stacks_by(mark);
        let mut each = stacks.values();
        let (first, second) = (each.next()?, each.next()?);
        let are_even = stacks.values().all(|s| s.len() > 1 && even_spacing(s).is_ok());
        (are_even && overlap(first, second)).then(|| DicomError::SeveralStacks {
            series_uid: series_uid.into(),
            attribute,
            values: stacks.keys().map(ToString::to_string).collect(),
            first: first[0].header.file.clone(),
            second: second[0].header.file.clone(),
        })
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
