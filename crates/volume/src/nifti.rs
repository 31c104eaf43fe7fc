//! `NIfTI`-1 files, `.nii` and `.nii.gz`.
//!
//! Geometry is converted between the format's RAS and the patient coordinates used here (LPS) in
//! `affine`. What is written reads the same in `SimpleITK` and 3D Slicer: sform and qform are both
//! set and say the same.

mod affine;

use crate::atomic_file::{publish, temporary_beside};
use crate::geometry::Geometry;
use crate::volume::{CtVolume, LabelVolume, Volume};
use crate::voxel_file::MOST_PER_BYTE;
use ::nifti::writer::WriterOptions;
use ::nifti::{IntoNdArray, NiftiHeader, NiftiObject, NiftiVolume, ReaderOptions};
use affine::Affine;
use ndarray::{Array3, Axis};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why a `NIfTI` file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NiftiError {
    /// No such file.
    #[error("{}: does not exist; check the path", .0.display())]
    Missing(PathBuf),
    /// The file cannot be opened or is damaged.
    #[error("{}: cannot be read as NIfTI-1 ({reason}); check that the file is whole", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the reader met.
        reason: String,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written ({reason})", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the writer met.
        reason: String,
    },
    /// Not one three-dimensional image.
    #[error("{}: an image of {dimensions}; give one three-dimensional image", .file.display())]
    Dimensions {
        /// The file.
        file: PathBuf,
        /// Sizes along the axes.
        dimensions: String,
    },
    /// A geometry that is no grid.
    #[error("{}: {what}; resample the image to a regular grid first", .file.display())]
    Geometry {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A CT with a value that is no Hounsfield number.
    #[error("{}: {value} is no Hounsfield number; a CT holds values from -32768 to 32767", .file.display())]
    Hounsfield {
        /// The file.
        file: PathBuf,
        /// The value met.
        value: f32,
    },
    /// A label map with a value that is no label.
    #[error("{}: {value} is not a label; labels are whole numbers from 0 to 65535", .file.display())]
    Label {
        /// The file.
        file: PathBuf,
        /// The value met.
        value: f32,
    },
    /// A name from which no format follows.
    #[error("{}: the name must end in .nii or .nii.gz", .0.display())]
    Name(PathBuf),
    /// More voxels along an axis than `NIfTI`-1 can say.
    #[error("{}: NIfTI-1 holds at most 32767 voxels along an axis, not {length}", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The longest axis.
        length: usize,
    },
}

/// Reads a CT [z, y, x] in Hounsfield units: scaled by the header's slope and intercept, rounded.
///
/// # Errors
/// A [`NiftiError`] that names the file, also for a value that is no Hounsfield number.
pub fn read_ct(path: &Path) -> Result<CtVolume, NiftiError> {
    let (values, geometry) = read(path)?;
    let is_hounsfield = |v: &&f32| (-32768.0..=32767.0).contains(&v.round());
    if let Some(value) = values.iter().find(|v| !is_hounsfield(v)) {
        return Err(NiftiError::Hounsfield { file: path.to_path_buf(), value: *value });
    }
    Ok(Volume::new(values.mapv(|v| v.round() as i16), geometry))
}

/// Reads an instance label map [z, y, x]; the file may hold integers or whole floats.
///
/// # Errors
/// A [`NiftiError`] that names the file, also for a value that is no label.
pub fn read_labels(path: &Path) -> Result<LabelVolume, NiftiError> {
    let (values, geometry) = read(path)?;
    let is_label = |v: &&f32| v.fract() == 0.0 && (0.0..=65535.0).contains(*v);
    if let Some(value) = values.iter().find(|v| !is_label(v)) {
        return Err(NiftiError::Label { file: path.to_path_buf(), value: *value });
    }
    Ok(Volume::new(values.mapv(|v| v as u16), geometry))
}

/// Writes a CT as 16-bit integers, whole or not at all; the same volume gives the same bytes.
///
/// # Errors
/// [`NiftiError::Name`], [`NiftiError::TooLarge`], [`NiftiError::Geometry`] or
/// [`NiftiError::Write`].
pub fn write_ct(path: &Path, ct: &CtVolume) -> Result<(), NiftiError> {
    write(path, &ct.geometry, |to| to.write_nifti(&ct.voxels.view().reversed_axes()))
}

/// Writes a label map as unsigned 16-bit integers, whole or not at all; the same volume gives the
/// same bytes.
///
/// # Errors
/// As [`write_ct`].
pub fn write_labels(path: &Path, labels: &LabelVolume) -> Result<(), NiftiError> {
    write(path, &labels.geometry, |to| to.write_nifti(&labels.voxels.view().reversed_axes()))
}

fn read(path: &Path) -> Result<(Array3<f32>, Geometry), NiftiError> {
    let file = || path.to_path_buf();
    let damaged =
        |error: ::nifti::NiftiError| NiftiError::Read { file: file(), reason: reason(&error) };
    if !path.exists() {
        return Err(NiftiError::Missing(file()));
    }
    let header = NiftiHeader::from_file(path).map_err(damaged)?;
    if !holds_what_it_promises(path, &header).map_err(damaged)? {
        return Err(damaged(std::io::Error::from(ErrorKind::UnexpectedEof).into()));
    }
    // The reader takes the bytes of the one and the voxels of the other.
    let bits = 8 * header.data_type().map_err(damaged)?.size_of();
    if usize::from(header.bitpix.unsigned_abs()) != bits {
        let reason = format!("its header gives {} bits to voxels of {bits}", header.bitpix);
        return Err(NiftiError::Read { file: file(), reason });
    }
    let object = ReaderOptions::new().read_file(path).map_err(damaged)?;
    let affine = Affine::from_header(object.header());
    let dimensions = object.volume().dim().to_vec();
    if dimensions.len() < 3 || dimensions[3..].iter().any(|n| *n != 1) || dimensions.contains(&0) {
        let sizes: Vec<String> = dimensions.iter().map(ToString::to_string).collect();
        return Err(NiftiError::Dimensions { file: file(), dimensions: sizes.join(" x ") });
    }
    let mut values = object.into_volume().into_ndarray::<f32>().map_err(damaged)?;
    while values.ndim() > 3 {
        let last = Axis(values.ndim() - 1);
        values = values.index_axis_move(last, 0);
    }
    let values = values
        .into_dimensionality::<ndarray::Ix3>()
        .map_err(|error| NiftiError::Read { file: file(), reason: error.to_string() })?;
    // The file runs along x fastest: turned round, that is [z, y, x] without moving a voxel.
    let values = values.reversed_axes();
    let shape = [values.shape()[0], values.shape()[1], values.shape()[2]];
    let geometry =
        affine.geometry(shape).map_err(|what| NiftiError::Geometry { file: file(), what })?;
    Ok((values, geometry))
}

/// Whether the file is long enough for the voxels of its header: the reader takes memory for them
/// before it looks.
fn holds_what_it_promises(path: &Path, header: &NiftiHeader) -> ::nifti::Result<bool> {
    let bytes = header.dim()?.iter().fold(u128::from(header.bitpix.unsigned_abs()) / 8, |n, d| {
        n.saturating_mul(u128::from(*d))
    });
    let stored = u128::from(std::fs::metadata(path)?.len());
    let packed = path.extension().is_some_and(|ending| ending == "gz");
    Ok(bytes <= if packed { stored * u128::from(MOST_PER_BYTE) } else { stored })
}

/// The reader's complaint in words: its own shows a system error as code.
fn reason(error: &::nifti::NiftiError) -> String {
    match error {
        ::nifti::NiftiError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "the file is truncated or of another kind".into()
        }
        ::nifti::NiftiError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn write(
    path: &Path,
    geometry: &Geometry,
    write_to: impl FnOnce(&WriterOptions) -> ::nifti::Result<()>,
) -> Result<(), NiftiError> {
    let file = || path.to_path_buf();
    let name = path.to_string_lossy();
    let ending = if name.ends_with(".nii.gz") {
        ".nii.gz"
    } else if name.ends_with(".nii") {
        ".nii"
    } else {
        return Err(NiftiError::Name(file()));
    };
    if let Some(length) = geometry.shape.into_iter().find(|n| *n > 32767) {
        return Err(NiftiError::TooLarge { file: file(), length });
    }
    let mut header = NiftiHeader::default();
    Affine::from_geometry(geometry).into_header(&mut header);
    let temporary = temporary_beside(path, ending);
    let failed = |reason: String| NiftiError::Write { file: file(), reason };
    let options = WriterOptions::new(&temporary).reference_header(&header);
    write_to(&options).map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        failed(error.to_string())
    })?;
    publish(&temporary, path).map_err(|error| failed(error.to_string()))
}
