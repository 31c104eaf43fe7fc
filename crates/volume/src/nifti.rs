//! `NIfTI`-1 files, `.nii` and `.nii.gz`.
//!
//! Geometry is converted between the format's RAS and the patient coordinates used here (LPS) in
//! `affine`. What is written reads the same in `SimpleITK` and 3D Slicer: sform and qform are both
//! set and say the same.

mod affine;

use crate::atomic_file::{publish, temporary_beside};
use crate::geometry::Geometry;
use crate::volume::{CtVolume, LabelVolume, Volume};
use crate::voxel_file::{self, Encoding, Layout, Sample, Start, UNSCALED, Voxel, VoxelFileError};
use ::nifti::writer::WriterOptions;
use ::nifti::{Endianness, NiftiHeader, NiftiType};
use affine::Affine;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes of a header, with the four that say whether extensions follow.
const HEADER_BYTES: u64 = 352;
/// What the header of `NIfTI`-2 begins with.
const NIFTI_2: i32 = 540;

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
    /// The format's second version.
    #[error("{}: this is NIfTI-2; save it as NIfTI-1", .0.display())]
    Version2(PathBuf),
    /// Voxels that are no single numbers.
    #[error("{}: its voxels are of type {kind}; save the image with one number per voxel", .file.display())]
    Type {
        /// The file.
        file: PathBuf,
        /// The type met.
        kind: String,
    },
    /// The voxels cannot be read.
    #[error(transparent)]
    Voxels(#[from] VoxelFileError),
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
    read(path)
}

/// Reads an instance label map [z, y, x]; the file may hold integers or whole floats.
///
/// # Errors
/// A [`NiftiError`] that names the file, also for a value that is no label.
pub fn read_labels(path: &Path) -> Result<LabelVolume, NiftiError> {
    read(path)
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

fn read<T: Voxel>(path: &Path) -> Result<Volume<T>, NiftiError> {
    if !path.exists() {
        return Err(NiftiError::Missing(path.to_path_buf()));
    }
    let (mut file, length) = voxel_file::open(path)?;
    let (header, packed) = read_header(path, &mut file)?;
    let layout = layout(path, &header, packed)?;
    let geometry = geometry(path, &header)?;
    let header = voxel_file::Header { geometry, data_file: None, layout };
    let voxels = voxel_file::read_voxels(&mut file, length, 0, &header, path)?;
    Ok(Volume::new(voxels, header.geometry))
}

/// The header, and whether the file is compressed, whatever its name says.
fn read_header(path: &Path, file: &mut File) -> Result<(NiftiHeader, bool), NiftiError> {
    let damaged = |reason: String| NiftiError::Read { file: path.to_path_buf(), reason };
    let failed = |error: io::Error| damaged(error.to_string());
    let mut source = BufReader::new(&mut *file);
    let packed = source.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut head = Vec::new();
    let read = if packed {
        MultiGzDecoder::new(source).take(HEADER_BYTES).read_to_end(&mut head)
    } else {
        source.take(HEADER_BYTES).read_to_end(&mut head)
    };
    read.map_err(failed)?;
    if head.starts_with(&NIFTI_2.to_le_bytes()) || head.starts_with(&NIFTI_2.to_be_bytes()) {
        return Err(NiftiError::Version2(path.to_path_buf()));
    }
    let header = NiftiHeader::from_reader(&head[..]);
    Ok((header.map_err(|error| damaged(reason(&error)))?, packed))
}

/// How the voxels are stored.
fn layout(path: &Path, header: &NiftiHeader, packed: bool) -> Result<Layout, NiftiError> {
    let damaged = |reason: String| NiftiError::Read { file: path.to_path_buf(), reason };
    if header.magic != *b"n+1\0" {
        return Err(damaged("its voxels are in another file: save both as one .nii".into()));
    }
    let kind = header.data_type().map_err(|error| damaged(reason(&error)))?;
    let sample = match kind {
        NiftiType::Int8 => Sample::I8,
        NiftiType::Uint8 => Sample::U8,
        NiftiType::Int16 => Sample::I16,
        NiftiType::Uint16 => Sample::U16,
        NiftiType::Int32 => Sample::I32,
        NiftiType::Uint32 => Sample::U32,
        NiftiType::Int64 => Sample::I64,
        NiftiType::Uint64 => Sample::U64,
        NiftiType::Float32 => Sample::F32,
        NiftiType::Float64 => Sample::F64,
        _ => return Err(NiftiError::Type { file: path.to_path_buf(), kind: format!("{kind:?}") }),
    };
    // Which of the two is wrong nobody knows.
    let bits = 8 * sample.bytes();
    if usize::from(header.bitpix.unsigned_abs()) != bits {
        return Err(damaged(format!(
            "its header gives {} bits to voxels of {bits}",
            header.bitpix
        )));
    }
    // A slope of 0 or none at all: the values are as they are stored.
    let (slope, intercept) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    let scaled = slope.is_finite() && slope != 0.0;
    if scaled && !intercept.is_finite() {
        return Err(damaged(format!("its header has scl_slope {slope} and scl_inter {intercept}")));
    }
    // The header and its four bytes more come first; less than that, or no number, means just behind.
    let before = header.vox_offset.max(HEADER_BYTES as f32) as u64;
    Ok(Layout {
        header_bytes: 0,
        line_skip: 0,
        start: Start::After(if packed { 0 } else { before }),
        encoding: if packed {
            Encoding::Deflate { skip: before, length: None }
        } else {
            Encoding::Raw
        },
        sample,
        big_endian: header.endianness == Endianness::Big,
        scale: if scaled { [slope, intercept] } else { UNSCALED },
    })
}

fn geometry(path: &Path, header: &NiftiHeader) -> Result<Geometry, NiftiError> {
    let file = || path.to_path_buf();
    let count = usize::from(header.dim[0]).min(7);
    let sizes = &header.dim[1..=count];
    if count < 3 || sizes[3..].iter().any(|n| *n != 1) || sizes.contains(&0) {
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        return Err(NiftiError::Dimensions { file: file(), dimensions: sizes.join(" x ") });
    }
    // The file runs along x fastest: turned round, that is [z, y, x] without moving a voxel.
    let shape = [sizes[2], sizes[1], sizes[0]].map(usize::from);
    Affine::from_header(header)
        .geometry(shape)
        .map_err(|what| NiftiError::Geometry { file: file(), what })
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
