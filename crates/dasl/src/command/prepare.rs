//! From a scan with labels on its own grid to a scan of a dataset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dasl_volume::dataset::{
    DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord, SourceFile,
};
use dasl_volume::lung::lung_mask;
use dasl_volume::resample::{resample_ct, resample_labels};
use dasl_volume::{CtVolume, LabelVolume, PointMm};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::out_folder::{self, Kind};
use crate::{hounsfield, scan_size};

/// What is known of a nodule beside its voxels.
pub struct NoduleFacts {
    /// Its label.
    pub label: u16,
    /// Readers who outlined it.
    pub readers: u32,
    /// Centre of its mask.
    pub center_mm: PointMm,
    /// Ratings, one per outline.
    pub malignancy: Vec<u8>,
    /// Ratings, one per outline.
    pub texture: Vec<u8>,
}

/// A scan as it was read.
pub struct Source {
    /// Name in the dataset.
    pub scan_id: String,
    /// Whom it shows.
    pub patient_id: String,
    /// Its series.
    pub series_uid: String,
    /// Hounsfield units on its own grid.
    pub ct: CtVolume,
    /// Nodules on the same grid.
    pub labels: LabelVolume,
    /// Whether readers looked at it.
    pub annotated: bool,
    /// What is known of them.
    pub nodules: Vec<NoduleFacts>,
    /// Places that don't count.
    pub ignored: Vec<IgnoredRecord>,
    /// What a user should know of how it was read.
    pub notes: Vec<String>,
    /// A whole chest, or only a nodule's surroundings.
    pub whole: bool,
    /// The files it was read from, relative to the import's root.
    pub files: Vec<SourceFile>,
    /// Files of its series, those that were left out included; 0 if it is of none.
    pub series_files: usize,
}

/// The kind of a place where a nodule is known that no voxel of the dataset shows.
const LOST: &str = "lost";

/// Opens a dataset to add to.
///
/// # Errors
/// If the folder holds a run, or a dataset with another spacing or rule, or another import adds to
/// it.
pub fn open(out: &Path, spacing_mm: f64, rule: &str) -> Result<DatasetWriter> {
    out_folder::check(out, Kind::Dataset)?;
    let info = DatasetInfo {
        format: 1,
        dasl_version: env!("CARGO_PKG_VERSION").into(),
        spacing_mm,
        rule: rule.into(),
    };
    Ok(DatasetWriter::create_or_open(out, &info)?)
}

/// Resamples a scan, finds its lungs and writes it.
///
/// # Errors
/// If a whole scan's values are no Hounsfield units, it is larger than any patient, or the dataset can't
/// be written.
pub fn add(dataset: &DatasetWriter, source: &Source) -> Result<ScanRecord> {
    if source.whole {
        hounsfield::check(&source.ct)?;
    }
    let spacing = dataset.info().spacing_mm;
    let native = source.ct.geometry;
    let grid = native.axial_order().with_spacing([spacing; 3]);
    scan_size::check(&grid)?;
    let ct = resample_ct(&source.ct, &grid);
    let labels = resample_labels(&source.labels, &grid);
    let mut notes = source.notes.clone();
    let (lung, lung_sure) = if source.whole {
        let lung = lung_mask(&ct);
        if let Some(reason) = &lung.reason {
            tracing::warn!("{}: lung mask: {reason}", source.scan_id);
            notes.push(format!("lung mask: {reason}"));
        }
        (lung.mask.voxels, lung.sure)
    } else {
        // All of a nodule's surroundings is looked at.
        (ndarray::Array3::ones(grid.shape), true)
    };
    let boxes = boxes(&labels);
    let native_voxels = counts(&source.labels);
    let (mut nodules, mut ignored) = (Vec::new(), source.ignored.clone());
    for facts in &source.nodules {
        let seen = boxes.get(&facts.label).zip(native_voxels.get(&facts.label));
        let Some((&(low, high), &voxels)) = seen else {
            let PointMm { x, y, z } = facts.center_mm;
            let note = format!(
                "the nodule at ({x:.1}, {y:.1}, {z:.1}) mm has no voxel on this grid: it is no \
                 sample, and a mark there does not count"
            );
            tracing::warn!("{}: {note}", source.scan_id);
            notes.push(note);
            let (kind, center_mm) = (LOST.to_string(), facts.center_mm);
            ignored.push(IgnoredRecord { kind, center_mm, diameter_mm: 0.0 });
            continue;
        };
        let volume_mm3 = voxels as f64 * native.voxel_mm3();
        nodules.push(NoduleRecord {
            label: facts.label,
            readers: facts.readers,
            center_mm: facts.center_mm,
            diameter_mm: dasl_metrics::sphere_diameter_mm(volume_mm3),
            volume_mm3,
            native_voxels: voxels,
            box_start: low,
            box_shape: [0, 1, 2].map(|a| high[a] - low[a] + 1),
            malignancy: facts.malignancy.clone(),
            texture: facts.texture.clone(),
        });
    }
    let is_known = |label| nodules.iter().any(|n| n.label == label);
    let known = |label| if label == 0 || is_known(label) { label } else { 0 };
    let native_labels = source.labels.voxels.mapv(known);
    let labels = labels.voxels.mapv(known);
    let record = ScanRecord {
        scan_id: source.scan_id.clone(),
        patient_id: source.patient_id.clone(),
        series_uid: source.series_uid.clone(),
        geometry: grid,
        native_geometry: native,
        lung_sure,
        whole: source.whole,
        annotated: source.annotated,
        nodules,
        ignored,
        candidates: Vec::new(),
        notes,
        source: source.files.clone(),
        series_files: source.series_files,
        composed: None,
    };
    let arrays = ScanArrays { ct: ct.voxels, labels, lung, native_labels };
    dataset.write_scan(&record, &arrays)?;
    Ok(record)
}

/// Tight boxes of the labels: first and last voxel.
pub fn boxes(labels: &LabelVolume) -> BTreeMap<u16, ([usize; 3], [usize; 3])> {
    let mut boxes = BTreeMap::new();
    for ((z, y, x), &label) in labels.voxels.indexed_iter() {
        if label == 0 {
            continue;
        }
        let (low, high) = boxes.entry(label).or_insert(([z, y, x], [z, y, x]));
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            low[axis] = at.min(low[axis]);
            high[axis] = at.max(high[axis]);
        }
    }
    boxes
}

/// Voxels per label.
pub fn counts(labels: &LabelVolume) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for &label in labels.voxels.iter().filter(|&&l| l != 0) {
        *counts.entry(label).or_insert(0) += 1;
    }
    counts
}

/// Hashes of files, their paths relative to `root`.
///
/// # Errors
/// If a file can't be read.
pub fn hashed(root: &Path, files: &[PathBuf]) -> Result<Vec<SourceFile>> {
    files
        .par_iter()
        .map(|file| {
            let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
            let sha256 = format!("{:x}", Sha256::digest(&bytes));
            let below = file.strip_prefix(root).unwrap_or(file);
            // The root may be the file itself.
            let named = if below.as_os_str().is_empty() { file.file_name() } else { None };
            let path = named.map_or(below, Path::new).display().to_string();
            Ok(SourceFile { path, sha256 })
        })
        .collect()
}
