//! Two whole LIDC-IDRI scans: imported, they hold the nodules that pylidc 0.2.3 finds
//! (nodules.json beside the DICOM files), and those survive the way to the network's grid and back.

mod made_up;
mod shared_data;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::dataset::{Dataset, NoduleRecord, ScanRecord};
use dasl_volume::resample::resample_probability;
use dasl_volume::{LabelVolume, Volume, VoxelPos, dicom, nifti};
use made_up::{Ran, run};
use serde_json::Value;

const SCANS: [(&str, &str); 2] =
    [("LIDC-IDRI-0001", "lidc-idri-0001"), ("LIDC-IDRI-0003", "lidc-idri-0003")];

struct Bench {
    source: PathBuf,
    dataset: PathBuf,
    imported: Value,
    /// nodules.json by patient.
    known: BTreeMap<&'static str, Value>,
    _lock: File,
}

fn bench() -> Option<&'static Bench> {
    static BENCH: OnceLock<Option<Bench>> = OnceLock::new();
    BENCH.get_or_init(prepare).as_ref()
}

fn prepare() -> Option<Bench> {
    let data = [shared_data::folder(SCANS[0].1)?, shared_data::folder(SCANS[1].1)?];
    let (folder, lock) = made_up::shared_folder("real_scans");
    let (source, dataset) = (folder.join("source"), folder.join("dataset"));
    fs::create_dir(&source).unwrap();
    let mut known = BTreeMap::new();
    std::thread::scope(|threads| {
        for ((patient, _), data) in SCANS.iter().zip(&data) {
            let (archive, to) = (data.join(format!("{patient}.dicom.tar.xz")), &source);
            threads.spawn(move || shared_data::unpack(&archive, to));
            let text = fs::read_to_string(data.join("nodules.json")).unwrap();
            known.insert(*patient, serde_json::from_str::<Value>(&text).unwrap()[*patient].take());
        }
    });
    let imported = import(&source, &dataset).done().json();
    Some(Bench { source, dataset, imported, known, _lock: lock })
}

fn import(source: &Path, out: &Path) -> Ran {
    run(["--json", "import", "lidc", text(source), "--out", text(out)])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// nodules.json rounds to one decimal.
fn near(value: f64, json: &Value, what: &str) {
    assert!((value - number(json)).abs() <= 0.0501, "{what}: {value} is not {json}");
}

#[test]
fn the_nodules_are_those_of_pylidc() {
    let Some(bench) = bench() else { return };
    assert_eq!(bench.imported["set_aside"], Value::Array(Vec::new()));
    let added: Vec<ScanRecord> = serde_json::from_value(bench.imported["added"].clone()).unwrap();
    assert_eq!(added.len(), 2);
    for (scan, (patient, _)) in added.iter().zip(SCANS) {
        let known = &bench.known[patient];
        assert_eq!((scan.scan_id.as_str(), scan.patient_id.as_str()), (patient, patient));
        assert_eq!(scan.series_uid, known["series_uid"].as_str().unwrap());
        assert!(scan.whole && scan.lung_sure);
        let size = |i: usize| known["shape_row_col_slice"][i].as_u64().unwrap() as usize;
        let native = &scan.native_geometry;
        assert_eq!(native.shape, [size(2), size(0), size(1)]);
        for (mm, name) in native.spacing_mm.iter().zip(["slice", "pixel", "pixel"]) {
            assert!((mm - number(&known[format!("{name}_spacing")])).abs() < 1e-6);
        }
        assert_eq!(scan.nodules.len(), known["nodules"].as_array().unwrap().len());
        for (nodule, known) in scan.nodules.iter().zip(known["nodules"].as_array().unwrap()) {
            check(nodule, known);
        }
    }
}

fn check(nodule: &NoduleRecord, known: &Value) {
    assert_eq!(u64::from(nodule.readers), known["readers"].as_u64().unwrap());
    assert_eq!(nodule.native_voxels as u64, known["consensus50_voxels"].as_u64().unwrap());
    assert_eq!(serde_json::json!(nodule.malignancy), known["malignancy"]);
    near(nodule.volume_mm3, &known["consensus50_mm3"], "volume");
    near(nodule.diameter_mm, &known["equiv_diameter_mm"], "diameter");
    let c = nodule.center_mm;
    for (i, mm) in [c.x, c.y, c.z].into_iter().enumerate() {
        near(mm, &known["world_xyz_mm"][i], "centre");
    }
}

/// Every file below a folder with its bytes.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_second_import_skips_both_and_changes_no_byte() {
    let Some(bench) = bench() else { return };
    let before = files(&bench.dataset);
    let again = import(&bench.source, &bench.dataset).done().json();
    assert_eq!((&again["skipped"], &again["added"]), (&2.into(), &Value::Array(Vec::new())));
    let after = files(&bench.dataset);
    assert!(before.keys().eq(after.keys()));
    for (path, bytes) in &before {
        assert!(after[path] == *bytes, "{} changed", path.display());
    }
}

/// Dice of a nodule with itself after native grid -> dataset's grid -> crop of at least 32 voxels
/// -> native grid by linear interpolation and 0.5, as a perfect network would give it.
fn carried(
    dataset: &Dataset,
    scan: &ScanRecord,
    native: &LabelVolume,
    nodule: &NoduleRecord,
) -> f64 {
    let edge = nodule.box_shape.into_iter().max().unwrap() + 8;
    let edge = edge.max(32).next_multiple_of(8);
    let middle = |axis: usize| nodule.box_start[axis] + nodule.box_shape[axis] / 2;
    let start = [0, 1, 2].map(|axis| middle(axis) as i64 - edge as i64 / 2);
    let crop = dataset.read_labels(&scan.scan_id, start, [edge; 3]).unwrap();
    let mask = crop.mapv(|label| if label == nodule.label { 1.0 } else { 0.0 });
    let from = scan.geometry.crop(start, [edge; 3]);
    // All native voxels that the crop reaches.
    let reached = |n: usize| {
        let at =
            VoxelPos::new((n / 4 * edge) as f64, (n / 2 % 2 * edge) as f64, (n % 2 * edge) as f64);
        let v = native.geometry.to_voxel(from.to_mm(at));
        [v.z, v.y, v.x]
    };
    let corners: Vec<[f64; 3]> = (0..8).map(reached).collect();
    let bound = |axis: usize, best: fn(f64, f64) -> f64| {
        corners.iter().map(|c| c[axis]).reduce(best).unwrap()
    };
    let first = [0, 1, 2].map(|axis| bound(axis, f64::min).floor() as i64 - 2);
    let size =
        [0, 1, 2].map(|axis| (bound(axis, f64::max).ceil() as i64 + 3 - first[axis]) as usize);
    let back = resample_probability(&Volume::new(mask, from), &native.geometry.crop(first, size));

    let (mut both, mut returned) = (0_usize, 0_usize);
    for ((z, y, x), _) in back.voxels.indexed_iter().filter(|(_, p)| **p >= 0.5) {
        let at = [0, 1, 2].map(|axis| (first[axis] + [z, y, x][axis] as i64) as usize);
        both += usize::from(native.voxels.get(at) == Some(&nodule.label));
        returned += 1;
    }
    2.0 * both as f64 / (returned + nodule.native_voxels) as f64
}

#[test]
fn the_reference_survives_the_way_to_the_networks_grid_and_back() {
    let Some(bench) = bench() else { return };
    let dataset = Dataset::open(&bench.dataset).unwrap();
    let mut low = Vec::new();
    for id in dataset.scan_ids() {
        let scan = dataset.scan(&id).unwrap();
        let native = dataset.read_native_labels(&id).unwrap();
        for nodule in &scan.nodules {
            let dice = carried(&dataset, &scan, &native, nodule);
            let mm = nodule.diameter_mm;
            println!("{id} nodule {}: {mm:.1} mm, Dice {dice:.4}", nodule.label);
            let least = 0.99;
            if dice < least {
                low.push((id.clone(), nodule.label, dice));
            }
        }
    }
    assert!(low.is_empty(), "{low:?}");
}

#[test]
fn a_real_scans_label_map_lies_on_its_own_grid() {
    let Some(bench) = bench() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A network that has learnt nothing, at 2 mm to be quick: where it looks is all that counts.
    made_up::scans(&at("source"), 5, 1);
    let config = made_up::CONFIG.replace("steps = 40", "steps = 2").replace("most = 4", "most = 1");
    fs::write(at("config.toml"), config).unwrap();
    let [source, made, config, model, out] =
        ["source", "made", "config.toml", "model", "out"].map(at);
    made_up::import(&source, &made).done();
    let train = ["train", text(&made), "--preset", "tiny", "--config", text(&config)];
    run(train.iter().chain(&["--out", text(&model)])).done();

    let scan = bench.source.join("LIDC-IDRI-0003");
    let segment = ["segment", text(&scan), "--model", text(&model), "--threshold", "0"];
    run(segment.iter().chain(&["--out", text(&out)])).done();
    let labels = nifti::read_labels(&out.join("LIDC-IDRI-0003/nodules.nii.gz")).unwrap();
    let ct = dicom::read_folder(&scan).unwrap().volume;
    assert!(labels.geometry.same_grid(&ct.geometry, 1e-3), "{:?}", labels.geometry);
}
