//! The dataset store: what goes in comes out, by boxes, whole or not at all, the same bytes.

use dasl_volume::dataset::{
    Dataset, DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord,
    SourceFile,
};
use dasl_volume::{Geometry, PADDING_HU, PointMm, crop_padded};
use ndarray::Array3;
use proptest::prelude::*;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

const SHAPE: [usize; 3] = [70, 90, 130];

fn info() -> DatasetInfo {
    DatasetInfo { format: 1, dasl_version: "0.1.0".into(), spacing_mm: 1.0, rule: "pylidc".into() }
}

fn scan(id: &str) -> (ScanRecord, ScanArrays) {
    let origin = PointMm::new(-166.1, -171.699_997, -340.3);
    let geometry = Geometry::axial(SHAPE, [1.0; 3], origin);
    let native_geometry = Geometry::axial([28, 128, 185], [2.5, 0.703_125, 0.703_125], origin);
    let record = ScanRecord {
        scan_id: id.into(),
        patient_id: "P1".into(),
        series_uid: "1.2.3".into(),
        geometry,
        native_geometry,
        lung_sure: true,
        whole: true,
        annotated: true,
        nodules: vec![NoduleRecord {
            label: 1,
            readers: 4,
            center_mm: PointMm::new(0.1, 0.2, 0.3),
            diameter_mm: 7.25,
            volume_mm3: 199.5,
            native_voxels: 161,
            box_start: [20, 30, 60],
            box_shape: [8, 9, 10],
            malignancy: vec![3, 4, 4, 5],
            texture: vec![5, 5, 5, 4],
        }],
        ignored: vec![IgnoredRecord {
            kind: "non-nodule".into(),
            center_mm: PointMm::new(1.5, 2.5, -3.5),
            diameter_mm: 0.0,
        }],
        candidates: Vec::new(),
        notes: vec!["a scout was left out".into()],
        source: vec![SourceFile { path: "a/1.dcm".into(), sha256: "00".into() }],
        series_files: 1,
        composed: None,
    };
    let ct = Array3::from_shape_fn(SHAPE, |(z, y, x)| {
        ((z * 7919 + y * 104_729 + x * 1_299_709) % 3000) as i16 - 1000
    });
    let inside = |z: usize, y: usize, x: usize| {
        (20..28).contains(&z) && (30..39).contains(&y) && (60..70).contains(&x)
    };
    let labels = Array3::from_shape_fn(SHAPE, |(z, y, x)| u16::from(inside(z, y, x)));
    let lung = Array3::from_shape_fn(SHAPE, |(z, y, _)| u8::from(z > 5 && y > 9));
    let native_labels = Array3::from_shape_fn([28, 128, 185], |(z, y, x)| {
        if (z, y / 8, x / 8) == (9, 6, 11) { 40_000 } else { 0 }
    });
    (record, ScanArrays { ct, labels, lung, native_labels })
}

fn with_scan() -> (tempfile::TempDir, DatasetWriter, ScanArrays) {
    let folder = tempfile::tempdir().unwrap();
    let dataset = DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
    let (record, arrays) = scan("A");
    dataset.write_scan(&record, &arrays).unwrap();
    (folder, dataset, arrays)
}

/// Every file below a folder with its bytes.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

#[test]
fn what_goes_in_comes_out() {
    let (folder, dataset, arrays) = with_scan();
    let (record, _) = scan("A");
    let again = Dataset::open(folder.path()).unwrap();
    for dataset in [&*dataset, &again] {
        assert_eq!(dataset.scan("A").unwrap(), record);
        assert_eq!(dataset.read_ct("A", [0; 3], SHAPE).unwrap(), arrays.ct);
        assert_eq!(dataset.read_labels("A", [0; 3], SHAPE).unwrap(), arrays.labels);
        assert_eq!(dataset.read_lung("A", [0; 3], SHAPE).unwrap(), arrays.lung);
        let native = dataset.read_native_labels("A").unwrap();
        assert_eq!(
            (native.voxels, native.geometry),
            (arrays.native_labels.clone(), record.native_geometry)
        );
    }
    // dataset.json, set_aside.csv, import.lock, scan.json, and per array its zarr.json and its one
    // shard.
    assert_eq!(bytes(folder.path()).len(), 12);
}

#[test]
fn boxes_are_cut_and_padded() {
    let (_folder, dataset, arrays) = with_scan();
    let start = -40..140_i64;
    let strategy = ([start.clone(), start.clone(), start], [1..80_usize, 1..80, 1..80]);
    proptest!(ProptestConfig::with_cases(40), |((start, shape) in strategy)| {
        let ct = dataset.read_ct("A", start, shape).unwrap();
        prop_assert_eq!(ct, crop_padded(arrays.ct.view(), start, shape, PADDING_HU));
        let labels = dataset.read_labels("A", start, shape).unwrap();
        prop_assert_eq!(labels, crop_padded(arrays.labels.view(), start, shape, 0));
        let lung = dataset.read_lung("A", start, shape).unwrap();
        prop_assert_eq!(lung, crop_padded(arrays.lung.view(), start, shape, 0));
    });
}

#[test]
fn the_same_scans_give_the_same_bytes_whatever_the_threads() {
    let write = |threads: usize, ids: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let dataset = DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            ids.par_iter().for_each(|id| {
                let (record, arrays) = scan(id);
                dataset.write_scan(&record, &arrays).unwrap();
                dataset.set_aside(&format!("{id}.dcm"), "", "a, \"b\"").unwrap();
            });
        });
        dataset.finish().unwrap();
        assert_eq!(dataset.scan_ids(), ["A", "B", "C"]);
        bytes(folder.path())
    };
    let (one, four) = (write(1, &["A", "B", "C"]), write(4, &["C", "B", "A"]));
    assert_eq!(one, four);
    let table = std::str::from_utf8(&one["set_aside.csv"]).unwrap();
    assert!(table.starts_with("source,series_uid,reason\nA.dcm,,\"a, \"\"b\"\"\"\n"), "{table}");
    let table = std::str::from_utf8(&one["scans.csv"]).unwrap();
    assert_eq!(table.lines().nth(1), Some("A,P1,1.2.3,true,true,true,1,1,70,90,130,1"));
}

#[test]
fn a_half_written_scan_is_not_there() {
    let (folder, dataset, _) = with_scan();
    std::fs::create_dir(folder.path().join("scans/.tmp-B")).unwrap();
    std::fs::write(folder.path().join("scans/.tmp-B/scan.json"), "{").unwrap();
    std::fs::create_dir(folder.path().join("scans/C")).unwrap();
    assert_eq!(dataset.scan_ids(), ["A"]);
    assert!(!dataset.has_scan("B") && !dataset.has_scan("C") && !dataset.has_scan(".tmp-B"));
    let error = dataset.read_ct("B", [0; 3], [1; 3]).unwrap_err().to_string();
    assert!(
        error.ends_with("no scan B in this dataset; scans.csv lists those there are"),
        "{error}"
    );
    let (record, arrays) = scan("B");
    dataset.write_scan(&record, &arrays).unwrap();
    assert_eq!(dataset.scan_ids(), ["A", "B"]);
}

#[test]
fn a_scan_that_is_written_again_is_read_anew() {
    let (_folder, dataset, _) = with_scan();
    assert_eq!(dataset.read_lung("A", [0; 3], [1; 3]).unwrap()[[0, 0, 0]], 0);
    let (mut record, mut arrays) = scan("A");
    record.lung_sure = false;
    arrays.lung.fill(1);
    dataset.write_scan(&record, &arrays).unwrap();
    assert_eq!(dataset.read_lung("A", [0; 3], [1; 3]).unwrap()[[0, 0, 0]], 1);
    assert!(!dataset.scan("A").unwrap().lung_sure);
}

#[test]
fn another_spacing_or_rule_is_refused() {
    let (folder, _, _) = with_scan();
    let refused = |info: DatasetInfo| {
        let error = DatasetWriter::create_or_open(folder.path(), &info).unwrap_err().to_string();
        error.replace(&folder.path().display().to_string(), "ROOT")
    };
    assert_eq!(
        refused(DatasetInfo { spacing_mm: 0.8, ..info() }),
        "ROOT: this dataset has spacing 1 mm, not 0.8 mm; choose another folder"
    );
    assert_eq!(
        refused(DatasetInfo { rule: "two-of-four".into(), ..info() }),
        "ROOT: this dataset has rule pylidc, not two-of-four; choose another folder"
    );
    let later = DatasetInfo { dasl_version: "0.2.0".into(), ..info() };
    assert!(DatasetWriter::create_or_open(folder.path(), &later).is_ok());
}

#[test]
fn what_is_no_dataset_or_no_scan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Dataset::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("no dataset here (no dataset.json); make one with `dasl import`"));
    let dataset = DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
    let (mut record, mut arrays) = scan("../B");
    let error = dataset.write_scan(&record, &arrays).unwrap_err().to_string();
    assert!(error.starts_with("\"../B\" cannot be a scan's name"), "{error}");
    record.scan_id = "B".into();
    arrays.lung = Array3::zeros([1, 2, 3]);
    assert_eq!(
        dataset.write_scan(&record, &arrays).unwrap_err().to_string(),
        "scan B: array lung is [1, 2, 3], its grid is [70, 90, 130] [z, y, x]"
    );
    assert!(dataset.scan_ids().is_empty());
}

#[test]
fn a_damaged_array_is_named() {
    let (folder, _, _) = with_scan();
    let shard = folder.path().join("scans/A/ct/c/0/0/0");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let error = Dataset::open(folder.path()).unwrap().read_ct("A", [0; 3], SHAPE).unwrap_err();
    assert!(error.to_string().starts_with("scan A: array ct: "), "{error}");
}

#[test]
fn what_a_dead_process_left_is_removed_and_what_it_was_replacing_put_back() {
    let (folder, dataset, _) = with_scan();
    drop(dataset);
    let at = |name: &str| folder.path().join(name);
    let before = bytes(folder.path());
    std::fs::rename(at("scans/A"), at("scans/.old-A")).unwrap();
    for half in ["scans/.tmp-A", "scans/.tmp-B", "scans/.old-A/.."] {
        std::fs::create_dir_all(at(half)).unwrap();
    }
    std::fs::write(at("scans/.tmp-A/.tmp-1234-0"), "{").unwrap();
    std::fs::write(at(".tmp-1234-7"), "scan_id,").unwrap();
    std::fs::write(at(".tmp-of-another-program"), "").unwrap();

    let dataset = DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
    assert_eq!(dataset.scan_ids(), ["A"]);
    std::fs::remove_file(at(".tmp-of-another-program")).unwrap();
    assert_eq!(bytes(folder.path()), before);
    assert_eq!(std::fs::read_dir(at("scans")).unwrap().count(), 1);

    // Where the new one is there, the old one goes.
    drop(dataset);
    std::fs::create_dir(at("scans/.old-A")).unwrap();
    DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
    assert_eq!(std::fs::read_dir(at("scans")).unwrap().count(), 1);
}

#[test]
fn voxels_that_are_gone_are_not_air() {
    let (folder, dataset, _) = with_scan();
    drop(dataset);
    for array in ["labels", "ct"] {
        std::fs::remove_file(folder.path().join("scans/A").join(array).join("c/0/0/0")).unwrap();
        let dataset = Dataset::open(folder.path()).unwrap();
        let error = dataset.read_ct("A", [0; 3], [2; 3]).unwrap_err().to_string();
        assert!(error.contains(array) && error.contains("is missing"), "{error}");
        assert!(error.contains("remove scans/A"), "{error}");
    }
}

#[test]
fn only_one_process_adds() {
    let (folder, dataset, _) = with_scan();
    let error = DatasetWriter::create_or_open(folder.path(), &info()).unwrap_err().to_string();
    assert!(error.ends_with("another import into this dataset is running; wait for its end"));
    assert!(Dataset::open(folder.path()).is_ok());
    drop(dataset);
    assert!(DatasetWriter::create_or_open(folder.path(), &info()).is_ok());
}

/// The table of what was set aside, without its header.
fn table(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("set_aside.csv")).unwrap();
    text.strip_prefix("source,series_uid,reason\n").unwrap().to_string()
}

#[test]
fn what_was_set_aside_is_kept_until_it_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let open = || DatasetWriter::create_or_open(folder.path(), &info()).unwrap();
    let dataset = open();
    dataset.set_aside("z", "1.2", "a slice\nis missing").unwrap();
    dataset.set_aside("z", "1.3", "no XML").unwrap();
    dataset.set_aside("b.nii", "", "empty").unwrap();
    // Not finished: it is there all the same, and again after the next start, sorted.
    assert_eq!(table(folder.path()), "z,1.2,\"a slice\nis missing\"\nz,1.3,no XML\nb.nii,,empty\n");
    drop(dataset);
    let dataset = open();
    let sorted = "b.nii,,empty\nz,1.2,\"a slice\nis missing\"\nz,1.3,no XML\n";
    assert_eq!(table(folder.path()), sorted);
    dataset.set_aside("b.nii", "", "truncated").unwrap();
    assert_eq!(table(folder.path()), sorted.replace("empty", "truncated"));
    // A series by its UID, wherever it lies; a file by its name.
    dataset.taken_in("1.2", &["elsewhere".into()]).unwrap();
    dataset.taken_in("", &["z".into()]).unwrap();
    assert_eq!(table(folder.path()), "b.nii,,truncated\nz,1.3,no XML\n");
    dataset.taken_in("1.4", &["b.nii".into()]).unwrap();
    dataset.finish().unwrap();
    assert_eq!(table(folder.path()), "z,1.3,no XML\n");
    drop(dataset);

    // A line that a machine's end cut off is forgotten, a spoilt one named.
    let path = folder.path().join("set_aside.csv");
    std::fs::write(&path, "source,series_uid,reason\na,,b\nc,").unwrap();
    open();
    assert_eq!(table(folder.path()), "a,,b\n");
    std::fs::write(&path, "source,series_uid,reason\na\n").unwrap();
    let error = DatasetWriter::create_or_open(folder.path(), &info()).unwrap_err().to_string();
    assert!(error.contains("set_aside.csv") && error.contains("line"), "{error}");
}
