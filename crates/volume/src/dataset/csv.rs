//! The two tables of a dataset.

use super::error::{DatasetError, file_error};
use super::record::ScanRecord;
use crate::atomic_file::write_atomic;
use std::io::{self, Write};
use std::path::Path;

/// Columns of scans.csv.
pub(super) const SCANS_HEADER: [&str; 12] = [
    "scan_id",
    "patient_id",
    "series_uid",
    "whole",
    "annotated",
    "lung_sure",
    "nodules",
    "ignored",
    "voxels_z",
    "voxels_y",
    "voxels_x",
    "files",
];

/// A scan's line in scans.csv.
pub(super) fn scan_row(record: &ScanRecord) -> Vec<String> {
    let [z, y, x] = record.geometry.shape;
    vec![
        record.scan_id.clone(),
        record.patient_id.clone(),
        record.series_uid.clone(),
        record.whole.to_string(),
        record.annotated.to_string(),
        record.lung_sure.to_string(),
        record.nodules.len().to_string(),
        record.ignored.len().to_string(),
        z.to_string(),
        y.to_string(),
        x.to_string(),
        record.source.len().to_string(),
    ]
}

/// Writes a table, or replaces it.
pub(super) fn write(path: &Path, rows: &[Vec<String>]) -> Result<(), DatasetError> {
    write_atomic(path, |out| write_rows(out, rows)).map_err(|error| file_error(path, &error))
}

/// Writes rows as RFC 4180 does, with plain line ends.
pub(super) fn write_rows(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let mut out = ::csv::Writer::from_writer(out);
    rows.iter().try_for_each(|row| out.write_record(row))?;
    out.flush()
}
