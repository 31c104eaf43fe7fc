//! One import at a time adds to a dataset.

use super::error::{DatasetError, file_error};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A dataset's `import.lock`, held by this process. The system lets go of it when the process ends,
/// however it ends; the file stays.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the dataset in `root`.
    ///
    /// # Errors
    /// [`DatasetError::Locked`] if another import holds it; file errors.
    pub fn take(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join("import.lock");
        let file = File::create(&path).map_err(|error| file_error(&path, &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(DatasetError::Locked(root.to_path_buf())),
            // A file system without locks: nothing to be had.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                Err(file_error(&path, &error))
            }
            _ => Ok(Self { _file: file }),
        }
    }
}
