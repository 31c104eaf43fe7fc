//! `dasl evaluate` on a made-up dataset of small scans, counted by hand.

mod made_up;

use std::fs;
use std::path::Path;

use dasl_volume::dataset::{
    Dataset, DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord,
};
use dasl_volume::{Geometry, LabelVolume, PointMm, VoxelPos, nifti};
use made_up::{Ran, run_in};
use ndarray::Array3;
use tempfile::TempDir;

const SHAPE: [usize; 3] = [8, 12, 40];

/// A rod of `length` voxels along x from [z, y, x].
type Rod = (u16, [usize; 3], usize);

fn grid() -> Geometry {
    Geometry::axial(SHAPE, [2.0, 1.0, 1.0], PointMm::new(-10.0, 5.0, 100.0))
}

fn labels(rods: &[Rod]) -> LabelVolume {
    let mut voxels = Array3::zeros(SHAPE);
    for &(label, [z, y, x], length) in rods {
        (x..x + length).for_each(|x| voxels[[z, y, x]] = label);
    }
    LabelVolume::new(voxels, grid())
}

fn scan(dataset: &DatasetWriter, id: &str, rods: &[Rod], ignored: &[[f64; 3]]) {
    let nodule = |&(label, at, length): &Rod| NoduleRecord {
        label,
        readers: 3,
        center_mm: PointMm::new(0.0, 0.0, 0.0),
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
        notes: Vec::new(),
        source: Vec::new(),
        composed: None,
    };
    let arrays = ScanArrays {
        ct: Array3::zeros(SHAPE),
        labels: native_labels.clone(),
        lung: Array3::ones(SHAPE),
        native_labels,
    };
    dataset.write_scan(&record, &arrays).unwrap();
}

/// Two nodules that touch; one nodule; none; one that was not predicted.
fn dataset(root: &Path) -> Dataset {
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

fn predict(root: &Path, id: &str, rods: &[Rod]) {
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
fn first_system(root: &Path) {
    let in_a = [
        (1, [2, 3, 4], 6),
        (2, [2, 3, 10], 2),
        (3, [2, 3, 12], 4),
        (4, [5, 3, 19], 3),
        (5, [6, 9, 30], 3),
    ];
    predict(root, "a", &in_a);
    predict(root, "b", &[]);
    predict(root, "c", &[(1, [4, 4, 4], 4)]);
}

fn evaluate(root: &Path, more: &str) -> Ran {
    run_in(root, &format!("--json evaluate @found @dataset {more}"))
}

/// A folder with the dataset and the first system's outlines.
fn set_up() -> (TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder.path().join("dataset"));
    first_system(&folder.path().join("found"));
    (folder, dataset)
}

#[test]
fn by_hand() {
    let (folder, _) = set_up();
    let root = folder.path();
    let value = evaluate(root, "").done().json();
    let close = |value: &serde_json::Value, expected: f64| {
        let found = value.as_f64().unwrap_or(f64::NAN);
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    };
    let summary = &value["summary"];
    assert_eq!(
        (&summary["scans"], &summary["nodules"], &summary["hits"]),
        (&3.into(), &3.into(), &2.into())
    );
    // Nodule 1 by 6 of its 8 voxels, nodule 2 whole, the third missed.
    close(&summary["dice_mean"], (12.0 / 14.0 + 1.0) / 3.0);
    close(&summary["tp_dice_mean"], f64::midpoint(12.0 / 14.0, 1.0));
    for (figure, expected) in [
        ("hit_rate", 2.0 / 3.0),
        ("false_positives_per_scan", 2.0 / 3.0),
        ("duplicates_per_scan", 1.0 / 3.0),
        ("ignored_per_scan", 1.0 / 3.0),
    ] {
        close(&summary[figure], expected);
    }
    assert_eq!(value["not_predicted"], serde_json::json!(["d"]));
    assert_eq!(value["scans"][0]["ignored"], serde_json::json!([4]));
    let measures = &value["scans"][0]["facts"][0]["measures"];
    close(&measures["iou"], 0.75);
    close(&measures["volume_error"], -0.25);
    // Two voxels stick out, 1 and 2 mm; the other 12 are on each other.
    close(&measures["surface"]["mean_mm"], 3.0 / 14.0);
    assert!(value["scans"][1]["facts"][0]["measures"].is_null());
    let names: Vec<&str> =
        value["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all", "3-6 mm", "6-10 mm", "non-solid", "solid"]);
    close(&value["groups"][1]["hit_rate"], 0.5);
    close(&value["groups"][4]["dice"]["mean"], 12.0 / 14.0);

    let table = fs::read_to_string(root.join("found/nodules.csv")).unwrap();
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().nth(1).unwrap().starts_with("a,1,3,8.000,6-10 mm,solid,1,0.857143,0.75"));
    let json = fs::read_to_string(root.join("found/evaluation.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
}

#[test]
fn tables_fit_and_name_their_rules() {
    let (folder, dataset) = set_up();
    let root = folder.path();
    let writer = DatasetWriter::create_or_open(dataset.root(), dataset.info()).unwrap();
    let long = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192";
    scan(&writer, long, &[(1, [0, 0, 0], 35)], &[]);
    writer.finish().unwrap();
    predict(&root.join("found"), long, &[(1, [0, 0, 0], 17)]);
    let text = run_in(root, "evaluate @found @dataset --out @out").done().out;
    let out = root.join("out");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for rule in ["matching: overlap", "consensus: pylidc", "MedPy", "sphere of equal volume"] {
        assert!(text.contains(rule), "{rule}: {text}");
    }
    assert!(text.contains("1 scans without a prediction"), "{text}");
    assert!(out.join("nodules.csv").exists() && out.join("evaluation.json").exists());
    assert!(!root.join("found/nodules.csv").exists());
}

#[test]
fn two_systems() {
    let (folder, _) = set_up();
    let root = folder.path();
    let other = root.join("other");
    predict(&other, "a", &[]);
    predict(&other, "b", &[(1, [1, 1, 1], 4)]);
    let out = "--out @out --bootstrap 100 --against @other";
    evaluate(root, out).failed(&["scan c", "only one of the two systems"]);
    predict(&other, "c", &[]);
    let against = &evaluate(root, out).done().json()["against"];
    assert_eq!(against["summary"]["hits"], 1);
    let difference = against["dice_difference"]["difference"].as_f64().unwrap();
    assert!((difference - (12.0 / 14.0 + 1.0 - 1.0) / 3.0).abs() < 1e-12, "{difference}");
}

#[test]
fn no_reference_nodule_and_no_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    dataset(&root.join("dataset"));
    predict(&root.join("found"), "c", &[]);
    let value = evaluate(root, "").done().json();
    assert_eq!((&value["summary"]["scans"], &value["summary"]["nodules"]), (&1.into(), &0.into()));
    assert!(value["summary"]["dice_mean"].is_null() && value["intervals"]["dice"].is_null());
    assert_eq!(value["summary"]["false_positives_per_scan"], 0.0);
    assert_eq!(value["groups"].as_array().unwrap().len(), 1);
}

#[test]
fn another_grid_is_refused_with_both_named() {
    let (folder, _) = set_up();
    let root = folder.path();
    let path = root.join("found/b/nodules.nii.gz");
    let mut moved = labels(&[]);
    moved.geometry.spacing_mm = [2.0, 1.0, 1.1];
    nifti::write_labels(&path, &moved).unwrap();
    evaluate(root, "").failed(&[
        "another grid than scan b",
        "[2.000, 1.000, 1.100] mm from (-10.00, 5.00, 100.00) mm",
        "[2.000, 1.000, 1.000] mm from (-10.00, 5.00, 100.00) mm",
    ]);
}
