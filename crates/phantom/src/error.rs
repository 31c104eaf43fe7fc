//! What can go wrong when a phantom is written.

use std::path::PathBuf;

/// Why no phantom came out.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A setting makes no scan.
    #[error("phantom settings: {0}; correct the setting")]
    Config(String),
    /// A folder or file cannot be written.
    #[error("cannot write {path}: {source}; check the folder's permissions and free space")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A slice cannot be encoded as DICOM.
    #[error("cannot write the DICOM slice {path}: {message}; check free space and the settings")]
    Dicom {
        /// The slice's file.
        path: PathBuf,
        /// The encoder's reason.
        message: String,
    },
}
