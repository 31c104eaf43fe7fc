//! What `dasl segment` writes lies on the scan's own grid, and its table says what its map holds.

mod made_up;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::dataset::Dataset;
use dasl_volume::{CtVolume, LabelVolume, PointMm, VoxelPos, dicom, nifti};
use made_up::{CONFIG, import, run};

struct Bench {
    folder: PathBuf,
    /// Two series' folders.
    series: Vec<PathBuf>,
    dataset: PathBuf,
    model: PathBuf,
    /// Where PHANTOM-001 was segmented to: everything that is no background for certain.
    found: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("geometry");
        let at = |name: &str| folder.join(name);
        let series = made_up::scans(&at("source"), 4, 2);
        fs::write(at("config.toml"), CONFIG).unwrap();
        let [source, dataset, model, config, found] =
            ["source", "dataset", "model", "config.toml", "found"].map(at);
        import(&source, &dataset).done();
        let train = ["train", text(&dataset), "--preset", "tiny", "--config", text(&config)];
        run(train.iter().chain(&["--out", text(&model)])).done();
        segment(&series[0], &model, &found, "0");
        Bench { folder, series, dataset, model, found, _lock: lock }
    })
}

fn segment(scan: &Path, model: &Path, out: &Path, threshold: &str) {
    let paths = [text(scan), "--model", text(model), "--out", text(out)];
    run(["segment", "--threshold", threshold].iter().chain(&paths)).done();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A row of nodules.csv.
struct Row {
    id: u16,
    center: PointMm,
    diameter_mm: f64,
    volume_mm3: f64,
    score: f64,
}

fn table(folder: &Path) -> Vec<Row> {
    let table = fs::read_to_string(folder.join("nodules.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next().unwrap(), "id,x_mm,y_mm,z_mm,diameter_mm,volume_mm3,score");
    let row = |line: &str| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let [id, x, y, z, diameter_mm, volume_mm3, score] = cells[..] else { panic!("{line}") };
        Row { id: id as u16, center: PointMm::new(x, y, z), diameter_mm, volume_mm3, score }
    };
    lines.map(row).collect()
}

/// Mean position of a label's voxels, and how many they are.
fn place(labels: &LabelVolume, label: u16) -> (PointMm, usize) {
    let (mut sum, mut count) = ([0.0; 3], 0);
    for ((z, y, x), _) in labels.voxels.indexed_iter().filter(|(_, l)| **l == label) {
        sum = [sum[0] + z as f64, sum[1] + y as f64, sum[2] + x as f64];
        count += 1;
    }
    let [z, y, x] = sum.map(|s| s / count as f64);
    (labels.geometry.to_mm(VoxelPos::new(z, y, x)), count)
}

#[test]
fn the_label_map_lies_on_the_scans_own_grid() {
    let bench = bench();
    let scan = dicom::read_folder(&bench.series[0]).unwrap();
    let labels = nifti::read_labels(&bench.found.join("PHANTOM-001/nodules.nii.gz")).unwrap();
    assert!(labels.geometry.same_grid(&scan.volume.geometry, 1e-3), "{:?}", labels.geometry);
    assert!(labels.voxels.iter().any(|l| *l > 0), "nothing was found: nothing is tested");
}

#[test]
fn the_table_says_what_the_map_holds() {
    let folder = bench().found.join("PHANTOM-001");
    let labels = nifti::read_labels(&folder.join("nodules.nii.gz")).unwrap();
    let rows = table(&folder);
    let ids: BTreeSet<u16> = labels.voxels.iter().copied().filter(|l| *l > 0).collect();
    assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), Vec::from_iter(ids));
    assert!(rows.is_sorted_by(|a, b| a.score >= b.score), "best first");
    for row in &rows {
        let (center, voxels) = place(&labels, row.id);
        let volume_mm3 = voxels as f64 * labels.geometry.voxel_mm3();
        assert!(center.distance_mm(row.center) < 0.01, "{}", row.id);
        // The file keeps the spacing in 32 bits.
        assert!((row.volume_mm3 / volume_mm3 - 1.0).abs() < 1e-5, "{}", row.id);
        let diameter_mm = (6.0 * volume_mm3 / std::f64::consts::PI).cbrt();
        assert!((row.diameter_mm - diameter_mm).abs() < 0.006, "{}", row.id);
        assert!((0.0..=1.0).contains(&row.score));
    }
}

#[test]
fn a_picture_of_every_nodule() {
    let folder = bench().found.join("PHANTOM-001");
    let rows = table(&folder);
    for row in &rows {
        let path = folder.join(format!("nodule-{:03}.png", row.id));
        let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap()))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert!(pixels.iter().any(|p| *p != pixels[0]), "nodule {} is a blank", row.id);
    }
    assert_eq!(pictures(&folder), rows.len());
}

fn pictures(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.extension().is_some_and(|e| e == "png")).count()
}

#[test]
fn a_repeated_run_leaves_nothing_of_the_last_one() {
    let bench = bench();
    let folder = tempfile::tempdir().unwrap();
    made_up::copy(&bench.found, folder.path());
    let scan = folder.path().join("PHANTOM-001");
    assert!(pictures(&scan) > 0);
    segment(&bench.series[0], &bench.model, folder.path(), "1");
    assert_eq!((table(&scan).len(), pictures(&scan)), (0, 0));
    let labels = nifti::read_labels(&scan.join("nodules.nii.gz")).unwrap();
    assert!(labels.voxels.iter().all(|l| *l == 0));
    // And the first threshold again gives the first bytes again.
    segment(&bench.series[0], &bench.model, folder.path(), "0");
    for name in ["nodules.nii.gz", "nodules.csv", "scan.json", "nodule-001.png"] {
        let of = |root: &Path| fs::read(root.join("PHANTOM-001").join(name)).unwrap();
        assert!(of(folder.path()) == of(&bench.found), "{name} differs");
    }
}

/// The same voxels in a grid that is turned in the patient: the same nodules, turned with it.
#[test]
fn a_turned_nifti_gives_the_same_voxels_in_the_turned_grid() {
    let bench = bench();
    let straight = dicom::read_folder(&bench.series[0]).unwrap().volume;
    let mut geometry = straight.geometry;
    let (s, c) = 0.2_f64.sin_cos();
    geometry.axes = [[0., -s, c], [0., c, s], [1., 0., 0.]];
    let path = bench.folder.join("turned.nii.gz");
    nifti::write_ct(&path, &CtVolume::new(straight.voxels, geometry)).unwrap();
    segment(&path, &bench.model, &bench.folder.join("turned"), "0");

    let folder = bench.folder.join("turned/turned");
    let labels = nifti::read_labels(&folder.join("nodules.nii.gz")).unwrap();
    assert!(labels.geometry.same_grid(&geometry, 1e-3), "{:?}", labels.geometry);
    let first = nifti::read_labels(&bench.found.join("PHANTOM-001/nodules.nii.gz")).unwrap();
    let both = labels.voxels.iter().zip(&first.voxels).filter(|(a, b)| **a > 0 && a == b).count();
    let sum = [&labels, &first].map(|l| l.voxels.iter().filter(|l| **l > 0).count());
    let dice = 2.0 * both as f64 / (sum[0] + sum[1]) as f64;
    assert!(dice > 0.99, "{dice}");
    for row in table(&folder) {
        assert!(place(&labels, row.id).0.distance_mm(row.center) < 0.01);
    }
}

/// The reference itself, written as a prediction: it comes back from DICOM, dataset and `NIfTI`
/// on one and the same grid.
#[test]
fn the_reference_as_a_prediction_is_perfect() {
    let bench = bench();
    let dataset = Dataset::open(&bench.dataset).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for id in dataset.scan_ids() {
        let out = folder.path().join(&id);
        fs::create_dir(&out).unwrap();
        let labels = dataset.read_native_labels(&id).unwrap();
        nifti::write_labels(&out.join("nodules.nii.gz"), &labels).unwrap();
        let note = serde_json::json!({
            "name": "any", "series_uid": dataset.scan(&id).unwrap().series_uid,
            "dasl_version": "", "lung_sure": true,
        });
        fs::write(out.join("scan.json"), note.to_string()).unwrap();
    }
    let result = run(["--json", "evaluate", text(folder.path()), text(&bench.dataset)]);
    let summary = &result.done().json()["summary"];
    assert_eq!(summary["scans"], 2);
    assert!(summary["nodules"].as_u64().unwrap() > 0);
    for (figure, perfect) in
        [("dice_mean", 1.0), ("hit_rate", 1.0), ("false_positives_per_scan", 0.0)]
    {
        assert!((summary[figure].as_f64().unwrap() - perfect).abs() < 1e-12, "{figure}");
    }
    assert!(bench.found.join("PHANTOM-001").is_dir());
}
