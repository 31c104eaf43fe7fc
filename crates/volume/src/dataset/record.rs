//! What is known about a dataset, a scan and its nodules.

use super::error::DatasetError;
use crate::geometry::{Geometry, PointMm};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

/// The rule of a dataset whose scans nobody has annotated: any rule can follow.
pub const NO_RULE: &str = "none";

/// What all scans of a dataset have in common (dataset.json).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Version of the layout on disk: 1.
    pub format: u32,
    /// The program that made the dataset.
    pub dasl_version: String,
    /// Isotropic spacing of the working grid, mm.
    pub spacing_mm: f64,
    /// The rule by which readers' outlines become reference nodules, such as `pylidc`.
    pub rule: String,
}

impl DatasetInfo {
    /// What keeps scans of two datasets from being one's: the setting, and its values in both. A dataset
    /// without annotations fits any rule.
    pub fn differs_from(&self, other: &Self) -> Option<(&'static str, String, String)> {
        if (self.spacing_mm - other.spacing_mm).abs() > 1e-9 {
            let mm = |info: &Self| format!("{} mm", info.spacing_mm);
            return Some(("spacing", mm(self), mm(other)));
        }
        let either_none = [&self.rule, &other.rule].iter().any(|rule| *rule == NO_RULE);
        (self.rule != other.rule && !either_none)
            .then(|| ("rule", self.rule.clone(), other.rule.clone()))
    }
}

/// A file that a scan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Path relative to the import's root.
    pub path: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

/// A reference nodule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoduleRecord {
    /// Its value in the label arrays.
    pub label: u16,
    /// How many readers marked it.
    pub readers: u32,
    /// Centre of the consensus mask.
    pub center_mm: PointMm,
    /// Diameter of the sphere with the consensus mask's volume, mm.
    pub diameter_mm: f64,
    /// Volume of the consensus mask, mm3.
    pub volume_mm3: f64,
    /// Voxels of the consensus mask on the scan's own grid.
    pub native_voxels: usize,
    /// First voxel of the label's tight box on the dataset's grid [z, y, x].
    pub box_start: [usize; 3],
    /// Size of that box [z, y, x].
    pub box_shape: [usize; 3],
    /// The readers' ratings of malignancy, 1 to 5.
    pub malignancy: Vec<u8>,
    /// The readers' ratings of texture, 1 (non-solid) to 5 (solid).
    pub texture: Vec<u8>,
}

/// A place that is neither nodule nor background: a mark there counts neither way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IgnoredRecord {
    /// Why: `small-nodule`, `non-nodule`, `few-readers`, `unrated` (LIDC), `excluded` (LUNA16), or `lost`
    /// (no voxel of the dataset shows it).
    pub kind: String,
    /// Where.
    pub center_mm: PointMm,
    /// Its size, mm; 0 where only a point is known.
    pub diameter_mm: f64,
}

/// A place that may hold a nodule, and that nobody has outlined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// Its number among the scan's samples.
    pub label: u16,
    /// Where.
    pub center_mm: PointMm,
    /// Its size as whoever proposed it has it, mm.
    pub diameter_mm: f64,
    /// How sure whoever proposed it is, 0 to 1.
    pub score: f64,
}

/// What was put into a composed scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InsertedRecord {
    /// Its value in the label arrays; none for a piece of lung without a nodule.
    pub label: Option<u16>,
    /// The scan that it was taken from.
    pub scan_id: String,
    /// Whom that scan shows.
    pub patient_id: String,
    /// Centre of what is seen of the nodule's mask, or of the mask that the piece of lung was cut by.
    pub center_mm: PointMm,
    /// Whether it was put against the chest wall, the mediastinum or a vessel.
    #[serde(default)]
    pub attached: bool,
}

/// How a scan was composed of others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComposedRecord {
    /// The scan that all but the insertions is taken from.
    pub background: String,
    /// Whom that scan shows.
    pub background_patient: String,
    /// What was put into it.
    pub inserted: Vec<InsertedRecord>,
}

/// A scan (scan.json).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRecord {
    /// Name in the dataset, and of its folder.
    pub scan_id: String,
    /// `PatientID`: all scans of a patient belong to the same part of a split.
    pub patient_id: String,
    /// `SeriesInstanceUID`.
    pub series_uid: String,
    /// The dataset's grid.
    pub geometry: Geometry,
    /// The scan's own grid.
    pub native_geometry: Geometry,
    /// Whether the lung mask is one, or the whole body.
    pub lung_sure: bool,
    /// Whether this is a whole chest, or only a volume of interest.
    pub whole: bool,
    /// Whether readers looked at it: only then is what they did not mark background.
    #[serde(default = "yes")]
    pub annotated: bool,
    /// Its reference nodules, by label.
    pub nodules: Vec<NoduleRecord>,
    /// Places that don't count.
    #[serde(default)]
    pub ignored: Vec<IgnoredRecord>,
    /// Places to ask a reader about, of a scan that is not annotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateRecord>,
    /// What a user should know of how it was read.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The files it was made from.
    pub source: Vec<SourceFile>,
    /// Files of its series when it was taken in, those that were left out included: a series may still
    /// have been arriving. 0 where that is not known.
    #[serde(default)]
    pub series_files: usize,
    /// What it is made of, if it is no scan of one patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composed: Option<ComposedRecord>,
}

impl ScanRecord {
    /// The patients whom it shows: of a composed scan also those of its background and of what was
    /// put into it.
    pub fn shows(&self) -> impl Iterator<Item = &str> {
        let composed = self.composed.iter().flat_map(|composed| {
            let inserted = composed.inserted.iter().map(|inserted| inserted.patient_id.as_str());
            inserted.chain([composed.background_patient.as_str()])
        });
        composed.chain([self.patient_id.as_str()])
    }
}

fn yes() -> bool {
    true
}

/// A scan's voxels [z, y, x].
#[derive(Debug, Clone, PartialEq)]
pub struct ScanArrays {
    /// Hounsfield units on the dataset's grid.
    pub ct: Array3<i16>,
    /// Reference nodules on the dataset's grid.
    pub labels: Array3<u16>,
    /// Where to look for nodules, on the dataset's grid.
    pub lung: Array3<u8>,
    /// Reference nodules on the scan's own grid.
    pub native_labels: Array3<u16>,
}

impl ScanArrays {
    /// Refuses arrays that do not fit the record's grids.
    pub(super) fn check_shapes(&self, record: &ScanRecord) -> Result<(), DatasetError> {
        let (grid, native) = (record.geometry.shape, record.native_geometry.shape);
        let arrays = [
            ("ct", self.ct.shape(), grid),
            ("labels", self.labels.shape(), grid),
            ("lung", self.lung.shape(), grid),
            ("native_labels", self.native_labels.shape(), native),
        ];
        match arrays.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((array, found, expected)) => Err(DatasetError::Shape {
                scan_id: record.scan_id.clone(),
                array,
                expected,
                found: found.to_vec(),
            }),
        }
    }
}
