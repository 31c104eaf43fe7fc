//! DICOM series on their way into a dataset: their names.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use dasl_volume::dataset::Dataset;
use dasl_volume::dicom::SeriesFiles;

use crate::scan_name;

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
