//! DICOM series on their way into a dataset: their names, and whom they show.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use dasl_volume::dataset::{Dataset, ScanRecord};
use dasl_volume::dicom::SeriesFiles;

use crate::scan_name;

/// Patients who have more than one CT series.
pub fn patients_with_several(series: &[SeriesFiles]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    let ct = series.iter().filter(|s| s.modality == "CT").map(|s| s.patient_id.as_str());
    ct.filter(|patient| !seen.insert(*patient)).collect()
}

/// Whom a series shows, and a note if that is a guess: without a patient's identifier all scans would be
/// one patient's.
pub fn patient(files: &SeriesFiles) -> (String, Option<String>) {
    if !files.patient_id.is_empty() {
        return (files.patient_id.clone(), None);
    }
    let SeriesFiles { study_uid, series_uid, .. } = files;
    let stands = if study_uid.is_empty() { series_uid } else { study_uid };
    (stands.clone(), Some("no PatientID: the study stands for the patient".into()))
}

/// The series of whole scans in a dataset, with the scan's name.
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// Those that are there.
    ///
    /// # Errors
    /// If the dataset can't be read.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let mut known = Self(BTreeMap::new());
        for id in dataset.scan_ids() {
            known.add(&dataset.scan(&id)?);
        }
        Ok(known)
    }

    /// One more.
    pub fn add(&mut self, record: &ScanRecord) {
        if record.whole && !record.series_uid.is_empty() {
            self.0.insert(record.series_uid.clone(), record.scan_id.clone());
        }
    }
}

/// The name of a new scan: the patient's, or with the end of the series' UID where the patient has
/// several series or the name is another's. `None` if the series is there already, whole; one without
/// annotations gives its name to one with, and one that was still arriving to all of it.
///
/// # Errors
/// If both names are taken by others, the series is there as another patient's, or it has grown and
/// what is there would be lost.
pub fn free_name(
    dataset: &Dataset,
    known: &Known,
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
            if annotated && !there.annotated {
                return Ok(Some(name));
            }
            let (now, then) = (files.files.len(), there.series_files);
            if then == 0 || now <= then {
                return Ok(None);
            }
            if there.annotated == annotated && there.candidates.is_empty() {
                return Ok(Some(name));
            }
            bail!(
                "it has {now} files, and had {then} when it was taken in as {name}; to import all of \
                 it remove {}",
                dataset.root().join("scans").join(&name).display()
            );
        }
    }
    if let Some(other) = known.0.get(&files.series_uid) {
        bail!(
            "series {} is in the dataset as {other}, of another patient: one scan under two \
             identifiers would be trained on and tested on; keep one of them",
            files.series_uid
        );
    }
    free.map(Some).ok_or_else(|| {
        anyhow!("no name is left for series {}; import it into another folder", files.series_uid)
    })
}
