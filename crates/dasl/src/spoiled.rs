//! Files that can't be read, and the series that they spoil.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use dasl_volume::dicom::SeriesFiles;

/// What can't be read, with the reason.
pub struct Spoiled {
    /// Reason by file or folder.
    pub files: BTreeMap<PathBuf, String>,
    folders: BTreeMap<PathBuf, (PathBuf, String)>,
}

impl Spoiled {
    /// As [`dasl_volume::dicom::find_series`] lists them: files, and what leads nowhere, which spoils
    /// nothing beside it.
    pub fn new(files: Vec<(PathBuf, String)>, unlisted: Vec<(PathBuf, String)>) -> Self {
        let mut folders = BTreeMap::new();
        for (file, why) in &files {
            let folder = file.parent().unwrap_or(file).to_path_buf();
            folders.entry(folder).or_insert_with(|| (file.clone(), why.clone()));
        }
        Self { files: files.into_iter().chain(unlisted).collect(), folders }
    }
}

/// A series that lies beside unreadable files may miss a slice at either end, where no gap shows.
/// The files it complains of need not be listed again.
///
/// # Errors
/// If such a file lies there.
pub fn whole_series(files: &SeriesFiles, spoiled: &mut Spoiled) -> Result<()> {
    let folders: BTreeSet<&Path> = files.files.iter().filter_map(|f| f.parent()).collect();
    let Some((file, why)) = folders.iter().find_map(|f| spoiled.folders.get(*f)) else {
        return Ok(());
    };
    let error = anyhow!(
        "{}: {why}, so the series may miss slices; copy the file again or remove it",
        file.display()
    );
    spoiled.files.retain(|file, _| file.parent().is_none_or(|f| !folders.contains(f)));
    Err(error)
}
