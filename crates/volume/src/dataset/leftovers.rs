//! Names of what is not finished in a dataset, and what becomes of it when a process died over it.
//!
//! ```text
//! .tmp-<process>-<n>      a table or dataset.json that was being written
//! scans/.tmp-<scan_id>    a scan that was being written
//! scans/.old-<scan_id>    a scan that was being replaced
//! ```

use super::error::{DatasetError, file_error};
use crate::atomic_file::is_temporary;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const UNFINISHED: &str = ".tmp-";
const REPLACED: &str = ".old-";

/// Where a scan lies until it is complete.
pub(super) fn unfinished(root: &Path, id: &str) -> PathBuf {
    root.join("scans").join(format!("{UNFINISHED}{id}"))
}

/// Where a scan lies while another one takes its place.
pub(super) fn replaced(root: &Path, id: &str) -> PathBuf {
    root.join("scans").join(format!("{REPLACED}{id}"))
}

/// Gives a finished folder its name. One that has the name goes to `replaced` for so long, so that
/// at any moment either is whole.
///
/// What is renamed is on the disk before: after a power failure there is no name without its content.
pub(super) fn publish(finished: &Path, folder: &Path, replaced: &Path) -> Result<(), DatasetError> {
    sync(finished)?;
    remove_folder(replaced)?;
    match fs::rename(folder, replaced) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(file_error(folder, &error));
        }
        _ => {}
    }
    fs::rename(finished, folder).map_err(|error| file_error(folder, &error))?;
    remove_folder(replaced)
}

/// Removes what a dead process left in a dataset, and puts back a scan that it had not replaced
/// yet. Nobody else may write to the dataset.
pub(super) fn remove(root: &Path) -> Result<(), DatasetError> {
    for (name, path) in entries(root)? {
        if is_temporary(&name) {
            fs::remove_file(&path).map_err(|error| file_error(&path, &error))?;
        }
    }
    let scans = root.join("scans");
    for (name, path) in entries(&scans)? {
        let folder = name.strip_prefix(REPLACED).map(|id| scans.join(id));
        match folder {
            Some(folder) if !folder.exists() => {
                fs::rename(&path, &folder).map_err(|error| file_error(&path, &error))?;
            }
            None if !name.starts_with(UNFINISHED) => {}
            _ => remove_folder(&path)?,
        }
    }
    Ok(())
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove_folder(folder: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(folder, &error)),
        _ => Ok(()),
    }
}

/// Waits until all below a folder is on the disk.
fn sync(folder: &Path) -> Result<(), DatasetError> {
    for (_, path) in entries(folder)? {
        if path.is_dir() {
            sync(&path)?;
        } else {
            let synced = fs::File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|error| file_error(&path, &error))?;
        }
    }
    Ok(())
}

/// Names and paths of what is in a folder.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let read = || -> io::Result<Vec<_>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        };
        fs::read_dir(folder)?.map(entry).collect()
    };
    read().map_err(|error| file_error(folder, &error))
}
