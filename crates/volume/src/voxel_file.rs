//! What `MetaImage`, NRRD and `NIfTI` have in common: a header, and voxels as bytes behind it or in a
//! file of their own.
//!
//! Nothing is believed that a header says about sizes: they are compared with the length of the
//! file before memory is taken.

mod error;
mod field;
mod sample;
mod voxels;

pub use error::{HeaderError, VoxelFileError};
pub(crate) use field::{numbers, quoted, sizes};
pub(crate) use sample::{Sample, Voxel};
pub(crate) use voxels::read as read_voxels;

use crate::geometry::Geometry;
use crate::volume::Volume;
use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes within which a header must end.
pub(crate) const LONGEST_HEADER: u64 = 1 << 20;

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The grid.
    pub geometry: Geometry,
    /// The file with the voxels, as the header names it; none: they follow the header.
    pub data_file: Option<PathBuf>,
    /// How the voxels are stored.
    pub(crate) layout: Layout,
}

/// How voxels are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    /// Length of the header, in bytes.
    pub header_bytes: u64,
    /// Lines before the voxels.
    pub line_skip: u64,
    /// Where the voxels begin after that.
    pub start: Start,
    /// Whether they are compressed.
    pub encoding: Encoding,
    /// Type of a sample.
    pub sample: Sample,
    /// Whether a sample's first byte is its most significant.
    pub big_endian: bool,
    /// A voxel is the first times its sample, and the second.
    pub scale: [f64; 2],
}

/// Voxels that are their samples.
pub(crate) const UNSCALED: [f64; 2] = [1.0, 0.0];

/// Where the voxels begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// After so many bytes.
    After(u64),
    /// They are the last bytes of the file.
    AtEnd,
}

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Encoding {
    /// As they are.
    Raw,
    /// A zlib or gzip stream.
    Deflate {
        /// Unpacked bytes before the voxels.
        skip: u64,
        /// Bytes of the stream, where the header says.
        length: Option<u64>,
    },
}

/// Reads a file whose header `parse` understands.
pub(crate) fn read<T: Voxel>(
    path: &Path,
    parse: fn(&[u8]) -> Result<Header, HeaderError>,
) -> Result<Volume<T>, VoxelFileError> {
    let (mut file, length, header) = read_header(path, parse)?;
    let voxels = if let Some(name) = &header.data_file {
        let beside = path.with_file_name(name);
        let (mut data, length) = open(&beside)?;
        voxels::read(&mut data, length, 0, &header, &beside)?
    } else {
        voxels::read(&mut file, length, header.layout.header_bytes, &header, path)?
    };
    Ok(Volume::new(voxels, header.geometry))
}

/// The file with the voxels, if it is another one than the header's; it can be opened.
pub(crate) fn data_file(
    path: &Path,
    parse: fn(&[u8]) -> Result<Header, HeaderError>,
) -> Result<Option<PathBuf>, VoxelFileError> {
    let (_, _, header) = read_header(path, parse)?;
    let beside = header.data_file.map(|name| path.with_file_name(name));
    if let Some(beside) = &beside {
        open(beside)?;
    }
    Ok(beside)
}

/// An open file, its length and its header.
fn read_header(
    path: &Path,
    parse: fn(&[u8]) -> Result<Header, HeaderError>,
) -> Result<(File, u64, Header), VoxelFileError> {
    let (mut file, length) = open(path)?;
    let mut head = Vec::new();
    (&mut file)
        .take(LONGEST_HEADER)
        .read_to_end(&mut head)
        .map_err(|error| VoxelFileError::read(path, &error))?;
    let wrong = |reason| VoxelFileError::Header { file: path.to_path_buf(), reason };
    let header = parse(&head).map_err(wrong)?;
    // A header as long as what was looked at may go on behind it.
    if header.layout.header_bytes == LONGEST_HEADER && length > LONGEST_HEADER {
        return Err(wrong(HeaderError::Endless));
    }
    Ok((file, length, header))
}

/// Reads a whole file that is in memory, header and voxels.
pub(crate) fn from_bytes<T: Voxel>(
    bytes: &[u8],
    parse: fn(&[u8]) -> Result<Header, HeaderError>,
) -> Result<Volume<T>, VoxelFileError> {
    let file = Path::new("bytes in memory");
    let wrong = |reason| VoxelFileError::Header { file: file.to_path_buf(), reason };
    let header = parse(bytes).map_err(wrong)?;
    if let Some(elsewhere) = &header.data_file {
        return Err(VoxelFileError::Missing(elsewhere.clone()));
    }
    let from = header.layout.header_bytes;
    let voxels = voxels::read(&mut Cursor::new(bytes), bytes.len() as u64, from, &header, file)?;
    Ok(Volume::new(voxels, header.geometry))
}

/// An open file and its length; only a file, for a pipe or a device may never end.
pub(crate) fn open(path: &Path) -> Result<(File, u64), VoxelFileError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => VoxelFileError::Missing(path.to_path_buf()),
        _ => VoxelFileError::read(path, &error),
    };
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(VoxelFileError::read(path, &std::io::Error::other("this is no file")));
    }
    Ok((File::open(path).map_err(failed)?, about.len()))
}
