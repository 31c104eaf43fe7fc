//! `dasl compose`: nodules in the lungs of other scans.

mod made_up;

use std::fs;
use std::path::{Path, PathBuf};

use dasl_volume::dataset::{
    Dataset, DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord,
};
use dasl_volume::{Geometry, PointMm, nifti};
use made_up::{Ran, run};
use ndarray::{Array3, s};
use tempfile::TempDir;

/// Of a background.
const SHAPE: [usize; 3] = [70, 90, 110];
/// Of a volume around a nodule: its slices end with the nodule.
const VOLUME: [usize; 3] = [7, 36, 36];

fn writer(root: &Path, spacing_mm: f64, rule: &str) -> DatasetWriter {
    let info =
        DatasetInfo { format: 1, dasl_version: "0".into(), spacing_mm, rule: rule.to_owned() };
    DatasetWriter::create_or_open(root, &info).unwrap()
}

/// Lung with a grain that is another one for every scan.
fn lung_hu(at: [usize; 3], seed: usize) -> i16 {
    let mixed = (at[0] * 7919 + at[1] * 104_729 + at[2] * 1_299_709 + seed * 15_485_863) % 9973;
    -880 + (mixed * mixed % 61) as i16
}

fn record(id: &str, shape: [usize; 3], spacing_mm: f64, nodules: Vec<NoduleRecord>) -> ScanRecord {
    let geometry = Geometry::axial(shape, [spacing_mm; 3], PointMm::new(-50.0, 10.0, -5.0));
    ScanRecord {
        scan_id: id.into(),
        patient_id: format!("patient-of-{id}"),
        series_uid: format!("1.2.{id}"),
        geometry,
        native_geometry: geometry,
        lung_sure: true,
        whole: shape == SHAPE,
        annotated: true,
        nodules,
        ignored: Vec::new(),
        candidates: Vec::new(),
        notes: Vec::new(),
        source: Vec::new(),
        series_files: 0,
        composed: None,
    }
}

fn nodule(label: u16, voxels: usize, start: [usize; 3], shape: [usize; 3]) -> NoduleRecord {
    NoduleRecord {
        label,
        readers: 3,
        center_mm: PointMm::new(0.0, 0.0, 0.0),
        diameter_mm: 5.0,
        volume_mm3: voxels as f64,
        native_voxels: voxels,
        box_start: start,
        box_shape: shape,
        malignancy: vec![2, 3, 3],
        texture: vec![5, 5, 4],
    }
}

/// A volume with a nodule that no turn maps on itself.
fn volume(dataset: &DatasetWriter, id: &str, seed: usize, spacing_mm: f64) {
    let mut labels = Array3::<u16>::zeros(VOLUME);
    labels.slice_mut(s![1..6, 16..20, 16..19]).fill(1);
    labels.slice_mut(s![2..4, 16..18, 19..22]).fill(1);
    labels.slice_mut(s![0..1, 17..19, 17..18]).fill(1);
    let ct = Array3::from_shape_fn(VOLUME, |(z, y, x)| {
        if labels[[z, y, x]] != 0 { 30 } else { lung_hu([z, y, x], seed) }
    });
    let voxels = labels.iter().filter(|l| **l != 0).count();
    let record = record(id, VOLUME, spacing_mm, vec![nodule(1, voxels, [0, 16, 16], [6, 4, 6])]);
    let lung = Array3::ones(VOLUME);
    let arrays = ScanArrays { ct, native_labels: labels.clone(), labels, lung };
    dataset.write_scan(&record, &arrays).unwrap();
}

/// Two lungs in soft tissue, the left one with a nodule of its own.
fn background(dataset: &DatasetWriter, id: &str, change: impl FnOnce(&mut ScanRecord)) {
    let is_lung =
        |y: usize, x: usize| (8..82).contains(&y) && (6..104).contains(&x) && x.abs_diff(55) > 4;
    let mut labels = Array3::<u16>::zeros(SHAPE);
    labels.slice_mut(s![30..36, 40..46, 80..86]).fill(1);
    let ct = Array3::from_shape_fn(SHAPE, |(z, y, x)| {
        if labels[[z, y, x]] != 0 || !is_lung(y, x) { 40 } else { lung_hu([z, y, x], 99) }
    });
    let lung = Array3::from_shape_fn(SHAPE, |(_, y, x)| u8::from(is_lung(y, x)));
    let mut record = record(id, SHAPE, 1.0, vec![nodule(1, 216, [30, 40, 80], [6, 6, 6])]);
    record.ignored.push(IgnoredRecord {
        kind: "non-nodule".into(),
        center_mm: record.geometry.origin_mm,
        diameter_mm: 3.0,
    });
    change(&mut record);
    let lung = if record.lung_sure { lung } else { Array3::ones(SHAPE) };
    let arrays = ScanArrays { ct, native_labels: labels.clone(), labels, lung };
    dataset.write_scan(&record, &arrays).unwrap();
}

/// Six volumes and one background.
fn sources() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let nodules = writer(&folder.path().join("nodules"), 1.0, "pylidc");
    for i in 0..6 {
        volume(&nodules, &format!("N{i}"), i, 1.0);
    }
    background(&writer(&folder.path().join("backgrounds"), 1.0, "pylidc"), "B", |_| ());
    folder
}

fn compose(folder: &TempDir, out: &str, more: &str) -> Ran {
    let command = format!("compose @nodules @backgrounds --out @{out} {more}");
    made_up::run_in(folder.path(), &command)
}

fn voxels(dataset: &Dataset, id: &str) -> (ScanRecord, Array3<i16>, Array3<u16>, Array3<u8>) {
    let record = dataset.scan(id).unwrap();
    let shape = record.geometry.shape;
    let ct = dataset.read_ct(id, [0; 3], shape).unwrap();
    let labels = dataset.read_labels(id, [0; 3], shape).unwrap();
    let lung = dataset.read_lung(id, [0; 3], shape).unwrap();
    (record, ct, labels, lung)
}

/// All files of a folder but its lock, with their bytes.
fn bytes(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(
                bytes(&path)
                    .into_iter()
                    .map(|(p, b)| (PathBuf::from(path.file_name().unwrap()).join(p), b)),
            );
        } else {
            files.push((path.file_name().unwrap().into(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn nodules_are_put_into_lung_with_their_masks_and_names() {
    let folder = sources();
    let ran =
        compose(&folder, "out", "--copies 2 --per-scan 3 --attached 0 --nothing 2 --nifti").done();
    assert!(ran.out.contains("6 of 6 nodules can be inserted"), "{}", ran.out);
    let (_, ct, own, _) = voxels(&Dataset::open(&folder.path().join("backgrounds")).unwrap(), "B");
    let composed = Dataset::open(&folder.path().join("out")).unwrap();
    assert_eq!(composed.scan_ids(), ["composed-B-1", "composed-B-2"]);
    let mut taken = Vec::new();
    for id in composed.scan_ids() {
        let (record, new, labels, lung) = voxels(&composed, &id);
        assert_eq!((&record.patient_id, record.annotated, record.whole), (&id, true, true));
        assert_eq!(record.native_geometry, record.geometry);
        assert_eq!(composed.read_native_labels(&id).unwrap().voxels, labels);
        // Its own nodule is as it was, and the new ones have the voxels of theirs, all in lung.
        assert_eq!(record.nodules.iter().map(|n| n.label).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(own.iter().zip(&labels).all(|(own, new)| (*own == 1) == (*new == 1)));
        for nodule in &record.nodules[1..] {
            let at: Vec<_> = labels.indexed_iter().filter(|(_, l)| **l == nodule.label).collect();
            assert_eq!((at.len(), nodule.native_voxels), (74, 74));
            let mut edges = nodule.box_shape;
            edges[1..].sort_unstable();
            assert_eq!(edges, [6, 4, 6]);
            let outside = at.iter().filter(|(at, _)| lung[*at] == 0).count();
            assert!(outside < 37, "{outside}");
            // Fading where the volume's slices end, dense elsewhere.
            let dense = at.iter().filter(|(at, _)| new[*at] > -10).count();
            assert!(dense >= 70, "{dense}");
        }
        // Far from all that was put in nothing is changed.
        let inserted = &record.composed.as_ref().unwrap().inserted;
        assert_eq!(
            inserted.iter().map(|i| i.label).collect::<Vec<_>>(),
            [Some(2), Some(3), Some(4), None, None]
        );
        let mut changed = vec![0; inserted.len()];
        for ((z, y, x), _) in new.indexed_iter().filter(|(at, hu)| **hu != ct[*at]) {
            let voxel = [z, y, x].map(|v| v as f64);
            let near = inserted.iter().position(|i| {
                let c = record.geometry.to_voxel(i.center_mm);
                (0..3).all(|a| (voxel[a] - [c.z, c.y, c.x][a]).abs() <= 8.0)
            });
            changed[near.unwrap_or_else(|| panic!("{id}: {voxel:?} is changed"))] += 1;
        }
        assert!(changed.iter().all(|n| *n > 100), "{changed:?}");
        for (i, a) in inserted.iter().enumerate() {
            assert_eq!(a.patient_id, format!("patient-of-{}", a.scan_id));
            for b in &inserted[i + 1..] {
                assert!(a.center_mm.distance_mm(b.center_mm) > 8.0, "{a:?} {b:?}");
            }
        }
        taken.extend(inserted[..3].iter().map(|i| i.scan_id.clone()));
        let file = folder.path().join(format!("out/nifti/{id}.nii.gz"));
        let read = nifti::read_ct(&file).unwrap();
        assert_eq!(read.voxels, new);
        assert!(read.geometry.same_grid(&record.geometry, 1e-3));
    }
    taken.sort();
    assert_eq!(taken, ["N0", "N1", "N2", "N3", "N4", "N5"], "each has its turn");
}

#[test]
fn attached_nodules_lie_in_the_wall_in_part_and_are_outlined_without_it() {
    let folder = sources();
    compose(&folder, "out", "--per-scan 4 --attached 3 --nothing 4").done();
    let (_, before, ..) = voxels(&Dataset::open(&folder.path().join("backgrounds")).unwrap(), "B");
    let (record, ct, labels, _) =
        voxels(&Dataset::open(&folder.path().join("out")).unwrap(), "composed-B-1");
    let inserted = record.composed.unwrap().inserted;
    // As many of the pieces of lung as of the nodules.
    let attached: Vec<_> = inserted.iter().map(|i| i.attached).collect();
    assert_eq!(attached, [true, true, true, false, true, true, true, false]);
    let is_wall = |at: &[usize; 3]| before[*at] > -400;
    for new in inserted.iter().filter(|i| i.label.is_some()) {
        let own = |at: &[usize; 3]| Some(labels[*at]) == new.label;
        let all = labels.indexed_iter().map(|((z, y, x), _)| [z, y, x]);
        let mask: Vec<[usize; 3]> = all.filter(own).collect();
        let beside = |at: &[usize; 3], axis: usize, step: isize| {
            let mut at = *at;
            at[axis] = at[axis].wrapping_add_signed(step);
            at
        };
        let touching = mask.iter().filter(|at| {
            (0..3).any(|axis| [-1, 1].iter().any(|step| is_wall(&beside(at, axis, *step))))
        });
        if new.attached {
            assert!((44..74).contains(&mask.len()), "{}", mask.len());
            assert!(!mask.iter().any(is_wall) && touching.count() >= 3);
        } else {
            assert_eq!(mask.len(), 74);
        }
        assert!(mask.iter().filter(|at| ct[**at] > -10).count() * 10 >= mask.len() * 9);
    }
}

#[test]
fn a_seed_determines_all_and_what_is_there_stays() {
    let folder = sources();
    let settings = "--copies 2 --per-scan 3";
    compose(&folder, "a", settings).done();
    compose(&folder, "b", settings).done();
    compose(&folder, "c", &format!("{settings} --seed 2")).done();
    let record = Dataset::open(&folder.path().join("a")).unwrap().scan("composed-B-1").unwrap();
    let inserted = record.composed.unwrap().inserted;
    let attached = |nodule: bool| {
        inserted.iter().filter(|i| i.label.is_some() == nodule && i.attached).count()
    };
    assert_eq!((attached(true), attached(false)), (1, 1), "a third, if nothing is said");
    let all = ["a", "b", "c"].map(|name| bytes(&folder.path().join(name)));
    assert_eq!(all[0], all[1]);
    assert_ne!(all[0], all[2]);
    // Both show the same patients, so one of them can't judge what was trained on the other.
    fs::write(folder.path().join("short.toml"), "[train]\nsteps = 1\npatch = 32\n").unwrap();
    let train = "train @a --preset tiny --config @short.toml --validation 0.5 --out @run";
    let ran = made_up::run_in(folder.path(), train).done();
    assert!(ran.err.contains("scores will flatter"), "{}", ran.err);
    let again = compose(&folder, "a", settings).done();
    assert!(again.out.contains("2 there already"), "{}", again.out);
    // A killed command's missing scan comes out as it was.
    fs::remove_dir_all(folder.path().join("a/scans/composed-B-2")).unwrap();
    compose(&folder, "a", settings).done();
    assert_eq!(bytes(&folder.path().join("a")), all[1]);
}

#[test]
fn only_the_named_patients_nodules_are_taken_and_boxes_are_left_out() {
    let folder = sources();
    fs::write(folder.path().join("patients"), "patient-of-N2\npatient-of-N4\n").unwrap();
    // A strip at the side without the scan's own nodule.
    let table = "scan,x0,y0,z0,x1,y1,z1\nB,-60,0,-20,-40,200,200\n";
    fs::write(folder.path().join("boxes.csv"), table).unwrap();
    compose(&folder, "out", "--patients @patients --exclude @boxes.csv --per-scan 5").done();
    let (record, ct, _, lung) =
        voxels(&Dataset::open(&folder.path().join("out")).unwrap(), "composed-B-1");
    let composed = record.composed.unwrap();
    let mut scans: Vec<_> = composed.inserted.iter().filter(|i| i.label.is_some()).collect();
    scans.sort_by(|a, b| a.scan_id.cmp(&b.scan_id));
    assert_eq!(scans.iter().map(|i| i.scan_id.as_str()).collect::<Vec<_>>(), ["N2", "N4"]);
    assert!(ct.slice(s![.., .., ..11]).iter().all(|hu| *hu == -1024));
    assert!(lung.slice(s![.., .., ..11]).iter().all(|inside| *inside == 0));
    assert!(composed.inserted.iter().all(|i| i.center_mm.x > -40.0));
    assert!(ct.slice(s![.., .., 11..]).iter().all(|hu| *hu != -1024));
}

#[test]
fn what_does_not_fit_is_said_in_one_line() {
    let folder = sources();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    file("nobody", "patient-of-X\n");
    let failed = |more: &str| compose(&folder, "out", more);
    failed("--per-scan 3 --attached 4").failed(&["--attached 4", "--per-scan 3"]);
    let ran = failed("--patients @nobody");
    ran.failed(&["nodules", "no nodule of these patients can be inserted"]);
    file("empty", "\n");
    failed("--patients @empty").failed(&["empty", "names no patient", "one id a line"]);
    file("boxes.csv", "scan,x0,y0,z0,x1,y1,z1\nNONE,0,0,0,1,1,1\n");
    failed("--exclude @boxes.csv").failed(&["boxes.csv", "has no scan NONE"]);
    file("boxes.csv", "scan,x0,y0,z0,x1,y1,z1\nB,0,0,0,1,1,wide\n");
    failed("--exclude @boxes.csv").failed(&["boxes.csv", "scan,x0,y0,z0,x1,y1,z1"]);
    let coarse = writer(&folder.path().join("coarse"), 2.0, "pylidc");
    volume(&coarse, "N", 1, 2.0);
    drop(coarse);
    let ran = run(["compose", "nodules", "backgrounds"]
        .map(|name| match name {
            "nodules" => folder.path().join("coarse").display().to_string(),
            "backgrounds" => folder.path().join("backgrounds").display().to_string(),
            name => name.to_owned(),
        })
        .into_iter()
        .chain(["--out".to_owned(), folder.path().join("x").display().to_string()]));
    ran.failed(&["voxels of 2 mm", "of 1 mm", "--spacing"]);
    assert!(!folder.path().join("out").exists() && !folder.path().join("x").exists());
    compose(&folder, "backgrounds", "").failed(&["backgrounds is what is composed of"]);

    // A background that can't be used is set aside, and the others are composed.
    file("boxes.csv", "scan,x0,y0,z0,x1,y1,z1\nB,-99,-99,-99,99,199,199\n");
    compose(&folder, "out", "--exclude @boxes.csv").set_aside(&[
        "composed-B-1",
        "touches nodule 1",
        "own nodules stay",
    ]);
    let backgrounds = writer(&folder.path().join("backgrounds"), 1.0, "pylidc");
    background(&backgrounds, "unsure", |record| record.lung_sure = false);
    compose(&folder, "out", "--per-scan 2").set_aside(&["composed-unsure-1", "no lung mask"]);
    background(&backgrounds, "unsure", |record| {
        // Marks everywhere: no room.
        record.ignored[0].center_mm = PointMm::new(0.0, 50.0, 30.0);
        record.ignored[0].diameter_mm = 300.0;
    });
    compose(&folder, "out", "--per-scan 2").set_aside(&["composed-unsure-1", "no room"]);
    assert!(folder.path().join("out/scans/composed-B-1").is_dir());
}

#[test]
fn what_is_composed_is_not_composed_of() {
    let folder = sources();
    compose(&folder, "out", "--per-scan 2").done();
    let again = |words: &str| made_up::run_in(folder.path(), words);
    again("compose @nodules @out --out @again").set_aside(&["composed-B-1", "is composed itself"]);
    again("compose @out @backgrounds --out @more")
        .failed(&["no nodule can be inserted; left out: those of 1 composed scans"]);
}
