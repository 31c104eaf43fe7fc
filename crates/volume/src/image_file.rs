//! Any image file that is read, whatever its format.

use crate::nifti::{self, NiftiError};
use crate::volume::{CtVolume, LabelVolume};
use crate::voxel_file::VoxelFileError;
use crate::{metaimage, nrrd};
use std::path::{Path, PathBuf};

/// Endings of the names that are read, without the point.
pub const ENDINGS: [&str; 6] = ["nii", "nii.gz", "mhd", "mha", "nrrd", "nhdr"];

/// Why an image file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageFileError {
    /// A name from which no format follows.
    #[error("{}: no format that dasl reads; give NIfTI (.nii, .nii.gz), MetaImage (.mhd, .mha) or NRRD (.nrrd, .nhdr)", .0.display())]
    Unknown(PathBuf),
    /// A `NIfTI` file that could not be read.
    #[error(transparent)]
    Nifti(#[from] NiftiError),
    /// A `MetaImage` or NRRD file that could not be read.
    #[error(transparent)]
    VoxelFile(#[from] VoxelFileError),
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `NIfTI`-1.
    Nifti,
    /// `MetaImage`.
    MetaImage,
    /// NRRD.
    Nrrd,
}

impl Format {
    /// The format that a file's name tells; case does not count.
    pub fn of(path: &Path) -> Option<Self> {
        if is_left_by_macos(path) {
            return None;
        }
        match ending(path)? {
            "nii" | "nii.gz" => Some(Self::Nifti),
            "mhd" | "mha" => Some(Self::MetaImage),
            _ => Some(Self::Nrrd),
        }
    }
}

/// Whether a file is what macOS leaves beside each file on a foreign disk.
pub(crate) fn is_left_by_macos(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("._"))
}

/// The file's name without the ending of a format that is read: the name of a scan.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let without = ending(path).map_or(name.len(), |ending| name.len() - ending.len() - 1);
    name[..without].to_string()
}

fn ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let has = |ending: &&str| name.strip_suffix(*ending).is_some_and(|stem| stem.ends_with('.'));
    ENDINGS.into_iter().find(has)
}

/// Reads a CT [z, y, x] in Hounsfield units, rounded.
///
/// # Errors
/// An [`ImageFileError`] that names the file, also for a value that is no Hounsfield number.
pub fn read_ct(path: &Path) -> Result<CtVolume, ImageFileError> {
    Ok(match Format::of(path).ok_or_else(|| ImageFileError::Unknown(path.to_path_buf()))? {
        Format::Nifti => nifti::read_ct(path)?,
        Format::MetaImage => metaimage::read_ct(path)?,
        Format::Nrrd => nrrd::read_ct(path)?,
    })
}

/// Reads an instance label map [z, y, x]; the file may hold integers or whole floats.
///
/// # Errors
/// An [`ImageFileError`] that names the file, also for a value that is no label.
pub fn read_labels(path: &Path) -> Result<LabelVolume, ImageFileError> {
    Ok(match Format::of(path).ok_or_else(|| ImageFileError::Unknown(path.to_path_buf()))? {
        Format::Nifti => nifti::read_labels(path)?,
        Format::MetaImage => metaimage::read_labels(path)?,
        Format::Nrrd => nrrd::read_labels(path)?,
    })
}

/// The files that an image is read from: itself, and the one with its voxels if the header names
/// one.
///
/// # Errors
/// An [`ImageFileError`] that names the file, if the header can't be read or the other is missing.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, ImageFileError> {
    let beside =
        match Format::of(path).ok_or_else(|| ImageFileError::Unknown(path.to_path_buf()))? {
            Format::Nifti => None,
            Format::MetaImage => metaimage::data_file(path)?,
            Format::Nrrd => nrrd::data_file(path)?,
        };
    Ok(std::iter::once(path.to_path_buf()).chain(beside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format() {
        let of = |name: &str| (Format::of(Path::new(name)), stem(Path::new(name)));
        assert_eq!(of("a/1.2.3.nii.gz"), (Some(Format::Nifti), "1.2.3".into()));
        assert_eq!(of("a/1.2.3.NII"), (Some(Format::Nifti), "1.2.3".into()));
        assert_eq!(of("1.2.3.mhd"), (Some(Format::MetaImage), "1.2.3".into()));
        assert_eq!(of("1.2.3.mha"), (Some(Format::MetaImage), "1.2.3".into()));
        assert_eq!(of("a.seg.nrrd"), (Some(Format::Nrrd), "a.seg".into()));
        assert_eq!(of("a.nhdr"), (Some(Format::Nrrd), "a".into()));
        assert_eq!(of("a.raw"), (None, "a.raw".into()));
        assert_eq!(of("mhd"), (None, "mhd".into()));
        assert_eq!(of(""), (None, String::new()));
    }
}
