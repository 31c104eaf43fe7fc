//! A made-up dataset of small scans whose nodules are rods, and outlines of it, so that figures can be
//! counted by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dasl_volume::dataset::{
    Dataset, DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord,
};
use dasl_volume::{Geometry, LabelVolume, PointMm, VoxelPos, nifti};
use ndarray::Array3;

const SHAPE: [usize; 3] = [8, 12, 40];

/// What the first system outlines.
const IN_A: [Rod; 5] = [
    (1, [2, 3, 4], 6),
    (2, [2, 3, 10], 2),
    (3, [2, 3, 12], 4),
    (4, [5, 3, 19], 3),
    (5, [6, 9, 30], 3),
];
const IN_C: [Rod; 1] = [(1, [4, 4, 4], 4)];

/// A rod of `length` voxels along x from [z, y, x].
pub type Rod = (u16, [usize; 3], usize);

/// Their grid.
pub fn grid() -> Geometry {
    Geometry::axial(SHAPE, [2.0, 1.0, 1.0], PointMm::new(-10.0, 5.0, 100.0))
}

/// Middle of a rod.
fn middle([z, y, x]: [usize; 3], length: usize) -> PointMm {
    grid().to_mm(VoxelPos::new(z as f64, y as f64, x as f64 + (length as f64 - 1.0) / 2.0))
}

/// A label map of rods.
pub fn labels(rods: &[Rod]) -> LabelVolume {
    let mut voxels = Array3::zeros(SHAPE);
    for &(label, [z, y, x], length) in rods {
        (x..x + length).for_each(|x| voxels[[z, y, x]] = label);
    }
    LabelVolume::new(voxels, grid())
}

/// Adds a scan with rods as its nodules and places that don't count, in voxels.
pub fn scan(dataset: &DatasetWriter, id: &str, rods: &[Rod], ignored: &[[f64; 3]]) {
    let nodule = |&(label, at, length): &Rod| NoduleRecord {
        label,
        readers: 3,
        center_mm: middle(at, length),
        diameter_mm: length as f64,
        volume_mm3: 2.0 * length as f64,
        native_voxels: length,
        box_start: at,
        box_shape: [1, 1, length],
        malignancy: vec![3],
        texture: if length > 6 { vec![5, 5, 4] } else { vec![1, 2, 1] },
    };
    let place = |&[z, y, x]: &[f64; 3]| IgnoredRecord {
        kind: "non-nodule".into(),
        center_mm: grid().to_mm(VoxelPos::new(z, y, x)),
        diameter_mm: 0.0,
    };
    let native_labels = labels(rods).voxels;
    let record = ScanRecord {
        scan_id: id.into(),
        patient_id: id.into(),
        series_uid: format!("1.2.{id}"),
        geometry: grid(),
        native_geometry: grid(),
        lung_sure: true,
        whole: true,
        annotated: true,
        nodules: rods.iter().map(nodule).collect(),
        ignored: ignored.iter().map(place).collect(),
        candidates: Vec::new(),
        notes: Vec::new(),
        source: Vec::new(),
        series_files: 0,
        composed: None,
    };
    let arrays = ScanArrays {
        ct: Array3::from_shape_fn(SHAPE, |(z, y, x)| (60 * (z + y) + 7 * x) as i16 - 1000),
        labels: native_labels.clone(),
        lung: Array3::ones(SHAPE),
        native_labels,
    };
    dataset.write_scan(&record, &arrays).unwrap();
}

/// Two nodules that touch; one nodule; none; one that was not predicted.
pub fn dataset(root: &Path) -> Dataset {
    let info = DatasetInfo {
        format: 1,
        dasl_version: String::new(),
        spacing_mm: 1.0,
        rule: "pylidc".into(),
    };
    let dataset = DatasetWriter::create_or_open(root, &info).unwrap();
    scan(&dataset, "a", &[(1, [2, 3, 4], 8), (2, [2, 3, 12], 4)], &[[5.0, 3.0, 20.0]]);
    scan(&dataset, "b", &[(1, [1, 1, 1], 4)], &[]);
    scan(&dataset, "c", &[], &[]);
    scan(&dataset, "d", &[(1, [1, 1, 1], 4)], &[]);
    dataset.finish().unwrap();
    Dataset::open(root).unwrap()
}

/// Writes a scan's outlines, without scores.
pub fn predict(root: &Path, id: &str, rods: &[Rod]) {
    let folder = root.join(id);
    fs::create_dir_all(&folder).unwrap();
    nifti::write_labels(&folder.join("nodules.nii.gz"), &labels(rods)).unwrap();
    let note = serde_json::json!({
        "name": id, "series_uid": format!("1.2.{id}"), "dasl_version": "", "lung_sure": true,
    });
    fs::write(folder.join("scan.json"), note.to_string()).unwrap();
}

/// In a: nodule 1 found twice, nodule 2 once, one on a place that does not count, one false. In b
/// nothing is found. In c one is false.
pub fn first_system(root: &Path) {
    predict(root, "a", &IN_A);
    predict(root, "b", &[]);
    predict(root, "c", &IN_C);
}

/// The first system's outlines with scores: the two hits score 0.9 and 0.7, the duplicate 0.8, the
/// ignored one 0.6, the false ones 0.5 and 0.65.
pub fn first_system_with_scores(root: &Path) {
    first_system(root);
    scores(root, "a", &IN_A, &[0.9, 0.8, 0.7, 0.6, 0.5]);
    scores(root, "b", &[], &[]);
    scores(root, "c", &IN_C, &[0.65]);
}

/// Writes the table that goes with outlines.
fn scores(root: &Path, id: &str, rods: &[Rod], scores: &[f64]) {
    let mut table = "id,x_mm,y_mm,z_mm,diameter_mm,volume_mm3,score\n".to_string();
    for ((label, at, length), score) in rods.iter().zip(scores) {
        let PointMm { x, y, z } = middle(*at, *length);
        writeln!(table, "{label},{x:.2},{y:.2},{z:.2},5.0,60.0,{score:.4}").unwrap();
    }
    fs::write(root.join(id).join("nodules.csv"), table).unwrap();
}
