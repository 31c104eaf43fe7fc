//! The dataset store: imported scans on one grid, in chunks, ready for training.
//!
//! ```text
//! dataset.json                       what all scans have in common
//! scans/<scan_id>/scan.json          the scan's record
//! scans/<scan_id>/ct                 i16, Hounsfield units
//! scans/<scan_id>/labels             u16, n in nodule n
//! scans/<scan_id>/lung               u8
//! scans/<scan_id>/native_labels      u16, on the scan's own grid
//! scans.csv, set_aside.csv           the scans that are in it, and what was not taken in
//! import.lock                        held while a process adds to it
//! ```
//!
//! The arrays are Zarr v3. A scan appears under its name only when it is complete.

mod arrays;
mod csv;
mod error;
mod leftovers;
mod lock;
mod record;
mod set_aside;
mod writer;

pub use error::DatasetError;
pub use record::{
    CandidateRecord, ComposedRecord, DatasetInfo, IgnoredRecord, InsertedRecord, NO_RULE,
    NoduleRecord, ScanArrays, ScanRecord, SourceFile,
};
pub use writer::DatasetWriter;

use crate::atomic_file::write_atomic;
use crate::volume::{LabelVolume, PADDING_HU, Volume};
use arrays::StoredArray;
use error::{damaged, file_error};
use ndarray::Array3;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The format this code writes.
const FORMAT: u32 = 1;
/// Opened scans that are kept; beyond it the cache starts anew.
const MOST_OPEN: usize = 4096;

/// A dataset on disk, to be read. All methods take `&self` and may be called from several threads.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    info: DatasetInfo,
    open: RwLock<HashMap<String, Arc<OpenScan>>>,
}

/// A scan whose record is parsed and whose arrays are open.
#[derive(Debug)]
struct OpenScan {
    record: ScanRecord,
    ct: StoredArray,
    labels: StoredArray,
    lung: StoredArray,
    native_labels: StoredArray,
}

impl Dataset {
    /// Opens an existing dataset.
    ///
    /// # Errors
    /// [`DatasetError::NotADataset`] if `root` holds none, [`DatasetError::Damaged`] if its
    /// dataset.json cannot be understood.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join("dataset.json");
        if !path.is_file() {
            return Err(DatasetError::NotADataset(root.to_path_buf()));
        }
        let info: DatasetInfo = read_json(&path)?;
        if info.format != FORMAT {
            let reason = format!("format {}, this version reads {FORMAT}", info.format);
            return Err(damaged(&path, reason));
        }
        Ok(Self { root: root.to_path_buf(), info, open: RwLock::default() })
    }

    /// What all scans have in common.
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The dataset's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The finished scans, sorted.
    pub fn scan_ids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join("scans")) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|name| self.has_scan(name)).collect();
        ids.sort();
        ids
    }

    /// Whether a finished scan of this name is there.
    pub fn has_scan(&self, id: &str) -> bool {
        is_scan_id(id) && self.folder(id).join("scan.json").is_file()
    }

    /// A scan's record.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`] or [`DatasetError::Damaged`].
    pub fn scan(&self, id: &str) -> Result<ScanRecord, DatasetError> {
        Ok(self.opened(id)?.record.clone())
    }

    /// The box of a scan's CT that starts at `start` [z, y, x], in Hounsfield units; outside the
    /// scan it is [`PADDING_HU`]. Only the chunks it touches are read.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`], [`DatasetError::Array`].
    pub fn read_ct(
        &self,
        id: &str,
        start: [i64; 3],
        shape: [usize; 3],
    ) -> Result<Array3<i16>, DatasetError> {
        self.opened(id)?.ct.read(start, shape, PADDING_HU)
    }

    /// The box of a scan's labels that starts at `start` [z, y, x]; outside the scan it is 0.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`], [`DatasetError::Array`].
    pub fn read_labels(
        &self,
        id: &str,
        start: [i64; 3],
        shape: [usize; 3],
    ) -> Result<Array3<u16>, DatasetError> {
        self.opened(id)?.labels.read(start, shape, 0)
    }

    /// The box of a scan's lung mask that starts at `start` [z, y, x]; outside the scan it is 0.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`], [`DatasetError::Array`].
    pub fn read_lung(
        &self,
        id: &str,
        start: [i64; 3],
        shape: [usize; 3],
    ) -> Result<Array3<u8>, DatasetError> {
        self.opened(id)?.lung.read(start, shape, 0)
    }

    /// A scan's labels on the scan's own grid.
    ///
    /// # Errors
    /// [`DatasetError::UnknownScan`], [`DatasetError::Array`].
    pub fn read_native_labels(&self, id: &str) -> Result<LabelVolume, DatasetError> {
        let scan = self.opened(id)?;
        let geometry = scan.record.native_geometry;
        let labels = scan.native_labels.read([0; 3], geometry.shape, 0)?;
        Ok(Volume::new(labels, geometry))
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.root.join("scans").join(id)
    }

    /// A scan from the cache, or opened now: parsing a record and an array's metadata costs more
    /// than reading a patch.
    fn opened(&self, id: &str) -> Result<Arc<OpenScan>, DatasetError> {
        if let Some(scan) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(scan.clone());
        }
        if !self.has_scan(id) {
            let root = self.root.clone();
            return Err(DatasetError::UnknownScan { root, id: id.to_string() });
        }
        let folder = self.folder(id);
        let record: ScanRecord = read_json(&folder.join("scan.json"))?;
        let array = |name, shape, something| StoredArray::open(&folder, id, name, shape, something);
        let nodules = !record.nodules.is_empty();
        let (grid, native) = (record.geometry.shape, record.native_geometry.shape);
        let scan = Arc::new(OpenScan {
            ct: array("ct", grid, true)?,
            labels: array("labels", grid, nodules)?,
            lung: array("lung", grid, false)?,
            native_labels: array("native_labels", native, nodules)?,
            record,
        });
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(id.to_string(), scan.clone());
        Ok(scan)
    }
}

/// A plain name: it becomes a folder's name and must not lead elsewhere.
fn is_scan_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.chars().all(plain)
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), DatasetError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| damaged(path, e.to_string()))?;
    write_atomic(path, |out| writeln!(out, "{text}")).map_err(|error| file_error(path, &error))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    let text = fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
    serde_json::from_str(&text).map_err(|error| damaged(path, error.to_string()))
}
