//! Many phantoms in one folder, laid out as LIDC-IDRI is.

use crate::config::PhantomConfig;
use crate::dicom_writer::write_dicom;
use crate::error::PhantomError;
use crate::phantom::make;
use std::path::Path;

/// Writes `scans` phantoms under `root` as patients PHANTOM-001, PHANTOM-002, ... and returns
/// their names in order. The same settings and seed give the same bytes; the first scans of a
/// larger cohort are those of a smaller one.
///
/// # Errors
/// [`PhantomError::Config`] for settings that make no scan; [`PhantomError::Write`] or
/// [`PhantomError::Dicom`] if a file cannot be written.
pub fn cohort(
    config: &PhantomConfig,
    seed: u64,
    scans: usize,
    root: &Path,
) -> Result<Vec<String>, PhantomError> {
    config.check()?;
    (1..=scans)
        .map(|number| {
            let patient_id = format!("PHANTOM-{number:03}");
            let own_seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number as u64);
            write_dicom(&make(config, own_seed), &patient_id, own_seed, root)?;
            Ok(patient_id)
        })
        .collect()
}
