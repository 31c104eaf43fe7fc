//! DICOM series on their way into a dataset: names, and files that spoil a series.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use dasl_volume::dataset::Dataset;
use dasl_volume::dicom::SeriesFiles;

use crate::scan_name;

/// Files that can't be read, with the reason.
pub struct Spoiled {
    /// Reason by file.
    pub files: BTreeMap<PathBuf, String>,
    folders: BTreeMap<PathBuf, (PathBuf, String)>,
}

impl Spoiled {
    /// As [`dasl_volume::dicom::find_series`] lists them.
    pub fn new(files: Vec<(PathBuf, String)>) -> Self {
        let mut folders = BTreeMap::new();
        for (file, why) in &files {
            let folder = file.parent().unwrap_or(file).to_path_buf();
            folders.entry(folder).or_insert_with(|| (file.clone(), why.clone()));
        }
        Self { files: files.into_iter().collect(), folders }
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

/// Patients who have more than one CT series.
pub fn patients_with_several(series: &[SeriesFiles]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    let ct = series.iter().filter(|s| s.modality == "CT").map(|s| s.patient_id.as_str());
    ct.filter(|patient| !seen.insert(*patient)).collect()
}

/// The name of a new scan: the patient's, or with the end of the series' UID where the patient has
/// several series or the name is another's. `None` if the series is there already; one without
/// annotations gives its name to one with.
///
/// # Errors
/// If both names are taken by others.
pub fn free_name(
    dataset: &Dataset,
    files: &SeriesFiles,
    several: bool,
    annotated: bool,
) -> Result<Option<String>> {
    let patient = scan_name::plain(&files.patient_id);
    let series = scan_name::with_series(&files.patient_id, &files.series_uid);
    let alone = !several && !patient.is_empty();
    let mut free = None;
    for (name, wanted) in [(patient, alone), (series, true)] {
        if !dataset.has_scan(&name) {
            free = free.or_else(|| wanted.then_some(name));
            continue;
        }
        let there = dataset.scan(&name)?;
        if there.series_uid == files.series_uid {
            return Ok((annotated && !there.annotated).then_some(name));
        }
    }
    free.map(Some).ok_or_else(|| {
        anyhow!("no name is left for series {}; import it into another folder", files.series_uid)
    })
}
