//! What can go wrong with a dataset.

use std::io;
use std::path::{Path, PathBuf};

/// Why a dataset could not be read or written; the message names the file or the scan.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file system refused.
    #[error("{}: {reason}", .path.display())]
    File {
        /// File or folder.
        path: PathBuf,
        /// The file system's answer.
        reason: String,
    },
    /// No dataset in the folder.
    #[error("{}: no dataset here (no dataset.json); make one with `dasl import`", .0.display())]
    NotADataset(PathBuf),
    /// A file that cannot be understood.
    #[error("{}: cannot be understood ({reason}); import again into a new folder", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A dataset that was made in another way.
    #[error("{}: this dataset has {what} {here}, not {wanted}; choose another folder", .root.display())]
    Different {
        /// The dataset.
        root: PathBuf,
        /// Which setting.
        what: &'static str,
        /// Its value in the dataset.
        here: String,
        /// The value asked for.
        wanted: String,
    },
    /// Another process adds to it.
    #[error("{}: another import into this dataset is running; wait for its end", .0.display())]
    Locked(PathBuf),
    /// No finished scan of that name.
    #[error("{}: no scan {id} in this dataset; scans.csv lists those there are", .root.display())]
    UnknownScan {
        /// The dataset.
        root: PathBuf,
        /// The name asked for.
        id: String,
    },
    /// A name that cannot be a folder's.
    #[error("{0:?} cannot be a scan's name; use letters, digits, '.', '_' and '-'")]
    ScanId(String),
    /// An array of a size other than its grid's.
    #[error("scan {scan_id}: array {array} is {found:?}, its grid is {expected:?} [z, y, x]")]
    Shape {
        /// The scan.
        scan_id: String,
        /// The array.
        array: &'static str,
        /// The grid's shape.
        expected: [usize; 3],
        /// The array's shape.
        found: Vec<usize>,
    },
    /// An array that cannot be read or written.
    #[error(
        "scan {scan_id}: array {array}: {reason}; remove scans/{scan_id} in the dataset and import it again"
    )]
    Array {
        /// The scan.
        scan_id: String,
        /// The array.
        array: &'static str,
        /// What the store answered.
        reason: String,
    },
}

pub(super) fn file_error(path: &Path, error: &io::Error) -> DatasetError {
    DatasetError::File { path: path.to_path_buf(), reason: error.to_string() }
}

pub(super) fn damaged(path: &Path, reason: String) -> DatasetError {
    DatasetError::Damaged { path: path.to_path_buf(), reason }
}
