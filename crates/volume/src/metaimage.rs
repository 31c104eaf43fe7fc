//! `MetaImage` files: `.mhd` with `.raw` or `.zraw`, and `.mha`.
//!
//! Read and written as ITK does it (itkMetaImageIO and metaImage.cxx): positions are LPS,
//! and `TransformMatrix` holds the direction of the x axis, then of y, then of z.
//! `AnatomicalOrientation` is written for people and not read, which is what ITK does too.

mod header;
mod write;

pub use header::parse_header;
pub use write::{Compression, write_ct, write_labels};

use crate::volume::{CtVolume, LabelVolume};
use crate::voxel_file::{self, VoxelFileError, from_bytes, read};
use std::path::{Path, PathBuf};

/// Reads a CT [z, y, x] in Hounsfield units, rounded.
///
/// # Errors
/// A [`VoxelFileError`] that names the file, also for a value that is no Hounsfield number.
pub fn read_ct(path: &Path) -> Result<CtVolume, VoxelFileError> {
    read(path, parse_header)
}

/// Reads a CT as [`read_ct`] does out of the bytes of a file that holds its voxels, `.mha`.
///
/// # Errors
/// As [`read_ct`].
pub fn ct_from_bytes(bytes: &[u8]) -> Result<CtVolume, VoxelFileError> {
    from_bytes(bytes, parse_header)
}

/// Reads an instance label map [z, y, x]; the file may hold integers or whole floats.
///
/// # Errors
/// A [`VoxelFileError`] that names the file, also for a value that is no label.
pub fn read_labels(path: &Path) -> Result<LabelVolume, VoxelFileError> {
    read(path, parse_header)
}

/// The file with the voxels, if the header names one.
///
/// # Errors
/// A [`VoxelFileError`] that names the file, if its header can't be read.
pub fn data_file(path: &Path) -> Result<Option<PathBuf>, VoxelFileError> {
    voxel_file::data_file(path, parse_header)
}
