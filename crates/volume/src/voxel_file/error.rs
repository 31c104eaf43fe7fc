//! What can be wrong with a `MetaImage` or NRRD file, in words for the person who has it.

use std::io;
use std::path::{Path, PathBuf};

/// Longest piece of a header that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// Why a header is no image that is read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// Another kind of file.
    #[error("this is no {0} header; check what the file is")]
    NotThis(&'static str),
    /// No end of the header.
    #[error("the header does not end; check that the file is whole")]
    Endless,
    /// A line that is neither field nor comment.
    #[error("line {0} of the header is no field; correct or delete it")]
    Line(usize),
    /// A field without which the image can't be read or placed.
    #[error("the header has no {0}; add it, or write the file again with a tool that does")]
    Missing(&'static str),
    /// A field given twice.
    #[error("the header has {0} twice; delete one of them")]
    Twice(&'static str),
    /// Two fields that both say what only one may.
    #[error("{0} and {1} say different things of the same; delete one of them")]
    Contradiction(&'static str, &'static str),
    /// A field whose value is not understood.
    #[error("{field} is {value:?}, not {wanted}; correct the header")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, or the beginning of it.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// An image of a kind that is not read.
    #[error("{what} is not read; {todo}")]
    Unsupported {
        /// What was met.
        what: String,
        /// What to do.
        todo: &'static str,
    },
    /// A geometry that is no grid.
    #[error("{0}; resample the image to a regular grid first")]
    Geometry(&'static str),
    /// More voxels than can be counted.
    #[error("{0:?} voxels are more than any file holds; correct the header")]
    TooLarge([usize; 3]),
}

impl HeaderError {
    /// A field whose value is not `wanted`.
    pub(crate) fn value(field: &'static str, value: &str, wanted: &'static str) -> Self {
        Self::Value { field, value: shortened(value), wanted }
    }

    /// A field with a value that stands for something that is not read.
    pub(crate) fn unsupported(field: &str, value: &str, todo: &'static str) -> Self {
        Self::Unsupported { what: format!("{field} {}", shortened(value)), todo }
    }
}

/// The beginning of a text; a header may hold anything.
pub(crate) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(LONGEST_QUOTE).collect();
    if characters.next().is_some() { start + "..." } else { start }
}

/// Why a `MetaImage` or NRRD file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VoxelFileError {
    /// No such file.
    #[error("{}: does not exist; check the path, and that header and voxels are together", .0.display())]
    Missing(PathBuf),
    /// The file system's complaint.
    #[error("{}: cannot be read ({reason}); check the file", .file.display())]
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
    /// A header that is not understood, or is of an image that is not read.
    #[error("{}: {reason}", .file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: HeaderError,
    },
    /// Fewer bytes than the header says.
    #[error("{}: {found} bytes of {expected} that the header promises; copy the file again", .file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// More voxels than the compressed bytes can hold, whatever they are.
    #[error("{}: {stored} compressed bytes cannot hold the {expected} that the header promises; copy the file again", .file.display())]
    Overpromised {
        /// The file.
        file: PathBuf,
        /// Compressed bytes there are.
        stored: u64,
        /// Bytes there should be once unpacked.
        expected: u64,
    },
    /// A compressed stream that does not unpack.
    #[error("{}: the compressed voxels are damaged ({reason}); copy the file again", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What the unpacker met.
        reason: String,
    },
    /// Not enough memory for the voxels.
    #[error("{}: no memory for {voxels} voxels; use a larger machine or crop the image", .file.display())]
    Memory {
        /// The file.
        file: PathBuf,
        /// Voxels that were to be held.
        voxels: usize,
    },
    /// A CT with a value that is no Hounsfield number.
    #[error("{}: the voxel at {at:?} [z, y, x] is {value}; a CT holds Hounsfield units from -32768 to 32767", .file.display())]
    Hounsfield {
        /// The file.
        file: PathBuf,
        /// The value met.
        value: f64,
        /// Its voxel [z, y, x].
        at: [usize; 3],
    },
    /// A label map with a value that is no label.
    #[error("{}: the voxel at {at:?} [z, y, x] is {value}; labels are whole numbers from 0 to 65535", .file.display())]
    Label {
        /// The file.
        file: PathBuf,
        /// The value met.
        value: f64,
        /// Its voxel [z, y, x].
        at: [usize; 3],
    },
    /// A name from which no format follows, or that a header cannot hold.
    #[error("{}: the name must end in .mhd or .mha and be plain text without %", .0.display())]
    Name(PathBuf),
}

impl VoxelFileError {
    /// The file system's complaint about a file that was to be read.
    pub(crate) fn read(file: &Path, error: &io::Error) -> Self {
        Self::Read { file: file.to_path_buf(), reason: error.to_string() }
    }

    /// The file system's complaint about a file that was to be written.
    pub(crate) fn write(file: &Path, error: &io::Error) -> Self {
        Self::Write { file: file.to_path_buf(), reason: error.to_string() }
    }
}
