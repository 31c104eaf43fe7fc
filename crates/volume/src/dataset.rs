//! The dataset store: imported scans on one grid, in chunks, ready for training.
//!
//! ```text
//! dataset.json                       what all scans have in common
//! scans/<scan_id>/scan.json          the scan's record
//! scans/<scan_id>/ct                 i16, Hounsfield units
//! scans/<scan_id>/labels             u16, n in nodule n
//! scans/<scan_id>/lung               u8
//! scans/<scan_id>/native_labels      u16, on the scan's own grid
//! scans.csv, set_aside.csv           written by finish()
//! ```
//!
//! The arrays are Zarr v3. A scan appears under its name only when it is complete.

mod arrays;
mod csv;
mod error;
mod record;

pub use error::DatasetError;
pub use record::{
    DatasetInfo, IgnoredRecord, NO_RULE, NoduleRecord, ScanArrays, ScanRecord, SourceFile,
};

use crate::atomic_file::write_atomic;
use crate::volume::{LabelVolume, PADDING_HU, Volume};
use arrays::StoredArray;
use error::{damaged, file_error};
use ndarray::Array3;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The format this code writes.
const FORMAT: u32 = 1;
/// Opened scans that are kept; beyond it the cache starts anew.
const MOST_OPEN: usize = 4096;

/// A dataset on disk. All methods take `&self` and may be called from several threads.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    info: DatasetInfo,
    open: RwLock<HashMap<String, Arc<OpenScan>>>,
    set_aside: Mutex<BTreeSet<(String, String)>>,
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
    /// Opens the dataset in `root`, or starts one there.
    ///
    /// # Errors
    /// [`DatasetError::Different`] if there is one with another spacing or rule; file errors.
    pub fn create_or_open(root: &Path, info: &DatasetInfo) -> Result<Self, DatasetError> {
        let path = root.join("dataset.json");
        if path.exists() {
            let mut dataset = Self::open(root)?;
            dataset.check_same(info)?;
            if dataset.info.rule == NO_RULE && info.rule != NO_RULE {
                dataset.info.rule.clone_from(&info.rule);
                write_json(&path, &dataset.info)?;
            }
            return Ok(dataset);
        }
        let scans = root.join("scans");
        fs::create_dir_all(&scans).map_err(|error| file_error(&scans, &error))?;
        write_json(&path, info)?;
        Self::open(root)
    }

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
        Ok(Self {
            root: root.to_path_buf(),
            info,
            open: RwLock::default(),
            set_aside: Mutex::default(),
        })
    }

    fn check_same(&self, wanted: &DatasetInfo) -> Result<(), DatasetError> {
        let differ = |what, here: String, wanted: String| {
            Err(DatasetError::Different { root: self.root.clone(), what, here, wanted })
        };
        if (self.info.spacing_mm - wanted.spacing_mm).abs() > 1e-9 {
            let mm = |spacing: f64| format!("{spacing} mm");
            return differ("spacing", mm(self.info.spacing_mm), mm(wanted.spacing_mm));
        }
        let either_none = [&self.info.rule, &wanted.rule].iter().any(|rule| *rule == NO_RULE);
        if self.info.rule != wanted.rule && !either_none {
            return differ("rule", self.info.rule.clone(), wanted.rule.clone());
        }
        Ok(())
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
        let temporary = self.root.join("scans").join(format!(".tmp-{id}"));
        remove_folder(&temporary)?;
        fs::create_dir_all(&temporary).map_err(|error| file_error(&temporary, &error))?;
        arrays::write(&temporary, id, "ct", &arrays.ct, PADDING_HU)?;
        arrays::write(&temporary, id, "labels", &arrays.labels, 0)?;
        arrays::write(&temporary, id, "lung", &arrays.lung, 0)?;
        arrays::write(&temporary, id, "native_labels", &arrays.native_labels, 0)?;
        write_json(&temporary.join("scan.json"), record)?;

        let folder = self.folder(id);
        remove_folder(&folder)?;
        fs::rename(&temporary, &folder).map_err(|error| file_error(&folder, &error))?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// Notes that a source was not taken in, for `set_aside.csv`.
    pub fn set_aside(&self, source: &str, reason: &str) {
        let mut set_aside = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        set_aside.insert((source.to_string(), reason.to_string()));
    }

    /// Writes scans.csv (all finished scans) and `set_aside.csv` (what was set aside since this
    /// dataset was opened), both sorted.
    ///
    /// # Errors
    /// [`DatasetError::Damaged`] for a record that cannot be read; file errors.
    pub fn finish(&self) -> Result<(), DatasetError> {
        let mut scans = vec![csv::SCANS_HEADER.map(String::from).to_vec()];
        for id in self.scan_ids() {
            scans.push(csv::scan_row(&self.scan(&id)?));
        }
        csv::write(&self.root.join("scans.csv"), &scans)?;
        let mut aside = vec![vec!["source".to_string(), "reason".to_string()]];
        let set_aside = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        aside.extend(set_aside.iter().map(|(source, reason)| vec![source.clone(), reason.clone()]));
        csv::write(&self.root.join("set_aside.csv"), &aside)
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
        let array = |name, shape| StoredArray::open(&folder, id, name, shape);
        let (grid, native) = (record.geometry.shape, record.native_geometry.shape);
        let scan = Arc::new(OpenScan {
            ct: array("ct", grid)?,
            labels: array("labels", grid)?,
            lung: array("lung", grid)?,
            native_labels: array("native_labels", native)?,
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

fn remove_folder(folder: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(folder, &error)),
        _ => Ok(()),
    }
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), DatasetError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| damaged(path, e.to_string()))?;
    write_atomic(path, |out| writeln!(out, "{text}")).map_err(|error| file_error(path, &error))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    let text = fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
    serde_json::from_str(&text).map_err(|error| damaged(path, error.to_string()))
}
