//! Adding to a dataset.

use super::error::{DatasetError, file_error};
use super::lock::Lock;
use super::record::{DatasetInfo, NO_RULE, ScanArrays, ScanRecord};
use super::set_aside::SetAside;
use super::{Dataset, arrays, csv, is_scan_id, leftovers, write_json};
use crate::volume::PADDING_HU;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A dataset that this process alone adds to. All methods take `&self` and may be called from
/// several threads.
#[derive(Debug)]
pub struct DatasetWriter {
    dataset: Dataset,
    set_aside: Mutex<SetAside>,
    _lock: Lock,
}

impl Deref for DatasetWriter {
    type Target = Dataset;

    fn deref(&self) -> &Dataset {
        &self.dataset
    }
}

impl DatasetWriter {
    /// Opens the dataset in `root` to add to it, or starts one there. What a killed import left
    /// half written is removed.
    ///
    /// # Errors
    /// [`DatasetError::Locked`] while another import adds to it, [`DatasetError::Different`] if it
    /// has another spacing or rule; file errors.
    pub fn create_or_open(root: &Path, info: &DatasetInfo) -> Result<Self, DatasetError> {
        let scans = root.join("scans");
        fs::create_dir_all(&scans).map_err(|error| file_error(&scans, &error))?;
        let lock = Lock::take(root)?;
        let path = root.join("dataset.json");
        if !path.exists() {
            write_json(&path, info)?;
        }
        let mut dataset = Dataset::open(root)?;
        check_same(&dataset, info)?;
        if dataset.info.rule == NO_RULE && info.rule != NO_RULE {
            dataset.info.rule.clone_from(&info.rule);
            write_json(&path, &dataset.info)?;
        }
        leftovers::remove(root)?;
        let set_aside = Mutex::new(SetAside::open(root)?);
        Ok(Self { dataset, set_aside, _lock: lock })
    }

    /// Adds a scan, or replaces the one of the same name. It is written beside and renamed: nobody
    /// sees a part of it. The same scan gives the same bytes, whatever the number of threads.
    ///
    /// # Errors
    /// [`DatasetError::ScanId`] for a name that is no plain file name, [`DatasetError::Shape`] if
    /// an array does not fit its geometry, [`DatasetError::Array`] and file errors.
    pub fn write_scan(&self, record: &ScanRecord, arrays: &ScanArrays) -> Result<(), DatasetError> {
        let id = record.scan_id.as_str();
        if !is_scan_id(id) {
            return Err(DatasetError::ScanId(id.to_string()));
        }
        arrays.check_shapes(record)?;
        let temporary = leftovers::unfinished(&self.root, id);
        leftovers::remove_folder(&temporary)?;
        fs::create_dir_all(&temporary).map_err(|error| file_error(&temporary, &error))?;
        arrays::write(&temporary, id, "ct", &arrays.ct, PADDING_HU)?;
        arrays::write(&temporary, id, "labels", &arrays.labels, 0)?;
        arrays::write(&temporary, id, "lung", &arrays.lung, 0)?;
        arrays::write(&temporary, id, "native_labels", &arrays.native_labels, 0)?;
        write_json(&temporary.join("scan.json"), record)?;
        leftovers::publish(&temporary, &self.folder(id), &leftovers::replaced(&self.root, id))?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// Writes a finished scan's record anew; its arrays stay.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`] for a scan that is not there; file errors.
    pub fn rewrite_record(&self, record: &ScanRecord) -> Result<(), DatasetError> {
        let id = record.scan_id.as_str();
        if !self.has_scan(id) {
            return Err(DatasetError::UnknownScan { root: self.root.clone(), id: id.to_string() });
        }
        write_json(&self.folder(id).join("scan.json"), record)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// Notes in `set_aside.csv` that a series or (without `series_uid`) a file was not taken in.
    ///
    /// # Errors
    /// File errors.
    pub fn set_aside(
        &self,
        source: &str,
        series_uid: &str,
        reason: &str,
    ) -> Result<(), DatasetError> {
        self.table().insert(source, series_uid, reason)
    }

    /// Strikes from `set_aside.csv` what an earlier import noted of a series and of `sources`: they
    /// are in the dataset now.
    ///
    /// # Errors
    /// File errors.
    pub fn taken_in(&self, series_uid: &str, sources: &[String]) -> Result<(), DatasetError> {
        self.table().remove(series_uid, sources)
    }

    /// Writes scans.csv (all finished scans) and `set_aside.csv` (what was set aside by this import
    /// or an earlier one, and not taken in since), both sorted.
    ///
    /// # Errors
    /// [`DatasetError::Damaged`] for a record that cannot be read; file errors.
    pub fn finish(&self) -> Result<(), DatasetError> {
        let mut scans = vec![csv::SCANS_HEADER.map(String::from).to_vec()];
        for id in self.scan_ids() {
            scans.push(csv::scan_row(&self.scan(&id)?));
        }
        csv::write(&self.root.join("scans.csv"), &scans)?;
        self.table().save()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, SetAside> {
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_same(dataset: &Dataset, wanted: &DatasetInfo) -> Result<(), DatasetError> {
    match dataset.info.differs_from(wanted) {
        Some((what, here, wanted)) => {
            Err(DatasetError::Different { root: dataset.root.clone(), what, here, wanted })
        }
        None => Ok(()),
    }
}
