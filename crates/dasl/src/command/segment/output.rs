//! A scan's output folder, and the note in it that says what it was made of and with what.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dasl_net::config::{InferConfig, NetConfig};
use dasl_volume::atomic_file::is_temporary;
use dasl_volume::dicom::{Algorithm, Segment, write_segmentation};
use dasl_volume::{PointMm, nifti, write_atomic};
use serde::{Deserialize, Serialize};

use super::scan::{Identity, Scan};
use super::{PREDICTION, Segmented};
use crate::model::Model;
use crate::outline_picture::{Outline, extent_mm, picture};
use crate::paste::Nodule;
use crate::segmented_folder::{LABELS, SCAN};
use crate::trained_on::{self, Patients};

/// The columns of a scan's table.
pub(super) const TABLE_COLUMNS: [&str; 7] =
    ["id", "x_mm", "y_mm", "z_mm", "diameter_mm", "volume_mm3", "score"];
/// The same as [`LABELS`] as a DICOM segmentation.
const SEGMENTATION: &str = "nodules.seg.dcm";

/// What a result depends on beside the scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeWith {
    /// Version of dasl.
    pub dasl_version: String,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// The network.
    pub net: NetConfig,
    /// Its use.
    pub infer: InferConfig,
    /// Smaller nodules are dropped.
    pub min_diameter_mm: f64,
}

impl MadeWith {
    /// Of a network and its settings in this use.
    pub fn of(model: &Model, min_diameter_mm: f64) -> Self {
        let config = model.segmenter.config();
        Self {
            dasl_version: env!("CARGO_PKG_VERSION").into(),
            weights_sha256: model.weights_sha256.clone(),
            net: config.net.clone(),
            infer: config.infer.clone(),
            min_diameter_mm,
        }
    }
}

/// What is known of the scan of an output folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScanNote {
    /// Name of the folder.
    pub name: String,
    /// Its series, where it comes from DICOM.
    pub series_uid: Option<String>,
    /// Version of dasl; empty where something else outlined the scan.
    #[serde(default)]
    pub dasl_version: String,
    /// Whether the lungs were found; else the whole body was searched.
    #[serde(default = "yes")]
    pub lung_sure: bool,
    /// The scan; older versions did not say.
    #[serde(default)]
    pub source: Option<Identity>,
    /// Model and settings; older versions did not say.
    #[serde(default)]
    pub made_with: Option<MadeWith>,
}

fn yes() -> bool {
    true
}

impl ScanNote {
    /// The note in a folder.
    ///
    /// # Errors
    /// If there is none, or none that can be understood.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SCAN);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Whether it is about this scan, if perhaps about an earlier state of it.
    pub fn is_same_scan(&self, scan: &Identity) -> bool {
        match scan {
            Identity::Series { series_uid, .. } => self.series_uid.as_ref() == Some(series_uid),
            // Older versions told files by their names alone.
            Identity::File { .. } => match &self.source {
                Some(source) => source == scan,
                None => self.series_uid.is_none(),
            },
        }
    }

    /// Whether it is about just this scan, segmented with just these settings.
    pub fn is_of(&self, scan: &Identity, made_with: &MadeWith) -> bool {
        self.source.as_ref() == Some(scan) && self.made_with.as_ref() == Some(made_with)
    }
}

/// Writes label map, table, DICOM segmentation (of a DICOM series, if there is a nodule), one
/// picture per nodule, whom the network was trained on, and last the note. What an earlier run left
/// of these is removed; other files stay.
///
/// # Errors
/// If a file can't be written.
pub fn write(
    out: &Path,
    scan: &Scan,
    found: &Segmented,
    made_with: &MadeWith,
    trained_on: &Patients,
) -> Result<PathBuf> {
    let folder = out.join(&scan.name);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    remove_old(&folder).with_context(|| folder.display().to_string())?;
    nifti::write_labels(&folder.join(LABELS), &found.labels)?;
    if let Some(images) = scan.images.as_ref().filter(|_| !found.nodules.is_empty()) {
        let path = folder.join(SEGMENTATION);
        let segments: Vec<_> = found.nodules.iter().map(segment_of).collect();
        write_segmentation(&path, images, &found.labels, &segments, &algorithm(made_with))?;
    }
    let table = table(&found.nodules)?;
    write_atomic(&folder.join("nodules.csv"), |file| file.write_all(&table))?;
    for n in &found.nodules {
        let outline =
            Outline { labels: &found.labels, label: Some(n.id), color: PREDICTION, dashed: false };
        let center = PointMm::new(n.x_mm, n.y_mm, n.z_mm);
        let extent = extent_mm(n.diameter_mm);
        let name = format!("nodule-{:03}.png", n.id);
        picture(&scan.ct, &[outline], center, extent).save(&folder.join(name))?;
    }
    trained_on::write(&folder, trained_on)?;
    let note = ScanNote {
        name: scan.name.clone(),
        series_uid: scan.series_uid().map(Into::into),
        dasl_version: env!("CARGO_PKG_VERSION").into(),
        lung_sure: found.lung_sure,
        source: Some(scan.identity.clone()),
        made_with: Some(made_with.clone()),
    };
    let note = serde_json::to_string_pretty(&note)?;
    write_atomic(&folder.join(SCAN), |file| file.write_all(note.as_bytes()))?;
    Ok(folder)
}

/// Removes what an earlier run wrote, the note first: without it a folder counts as unfinished.
fn remove_old(folder: &Path) -> std::io::Result<()> {
    let note = folder.join(SCAN);
    if note.exists() {
        std::fs::remove_file(note)?;
    }
    for old in std::fs::read_dir(folder)?.flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        let picture = name.strip_prefix("nodule-").and_then(|rest| rest.strip_suffix(".png"));
        if picture.is_some() || name == SEGMENTATION || is_temporary(&name) {
            std::fs::remove_file(old.path())?;
        }
    }
    Ok(())
}

fn table(nodules: &[Nodule]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(TABLE_COLUMNS)?;
    for n in nodules {
        let numbers = [n.x_mm, n.y_mm, n.z_mm, n.diameter_mm, n.volume_mm3];
        let numbers = numbers.map(|v| format!("{v:.2}"));
        csv.write_field(n.id.to_string())?;
        csv.write_record(numbers.iter().chain([&format!("{:.4}", n.score)]))?;
    }
    Ok(csv.into_inner()?)
}

fn segment_of(n: &Nodule) -> Segment {
    Segment {
        name: format!("Nodule {}", n.id),
        description: format!(
            "{:.1} mm, {:.0} mm3, score {:.3}",
            n.diameter_mm, n.volume_mm3, n.score
        ),
    }
}

fn algorithm(made_with: &MadeWith) -> Algorithm {
    Algorithm {
        name: "dasl".into(),
        version: made_with.dasl_version.clone(),
        parameters: format!(
            "weights SHA-256 {}, threshold {}, at least {} mm",
            made_with.weights_sha256, made_with.infer.threshold, made_with.min_diameter_mm
        ),
    }
}
