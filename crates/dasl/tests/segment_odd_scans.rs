//! Volumes that are no usual chest: a result or a clear refusal, within 2 GB of memory.

mod made_up;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::{CtVolume, Geometry, PointMm, Volume, nifti};
use made_up::Ran;
use ndarray::Array3;

struct Bench {
    model: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("segment_odd_scans");
        made_up::scans(&folder.join("source"), 8, 1);
        let model = made_up::model(&folder, &folder.join("source"));
        Bench { model, _lock: lock }
    })
}

/// Segments a file with at most 2 GB of memory, mapped memory and all.
fn segment(scan: &Path, out: &Path) -> Ran {
    let program = env!("CARGO_BIN_EXE_dasl");
    let paths = [scan, &bench().model, out].map(|path| path.to_str().unwrap());
    let [scan, model, out] = paths;
    let limited = "ulimit -v 2000000 && exec \"$0\" \"$@\"";
    let output = assert_cmd::Command::new("sh")
        .args(["-c", limited, program, "segment", scan, "--model", model, "--out", out])
        .env_remove("DASL_LOG")
        .output()
        .unwrap();
    let ran = Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran
}

/// A volume whose voxels follow from their place in mm, from its middle.
fn volume(
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    hounsfield: impl Fn([f64; 3]) -> i16,
) -> CtVolume {
    let half = [0, 1, 2].map(|a| (shape[a] as f64 - 1.0) * spacing_mm[a] / 2.0);
    let geometry = Geometry::axial(shape, spacing_mm, PointMm::new(-half[2], -half[1], -half[0]));
    let at = |index: [usize; 3]| [0, 1, 2].map(|a| index[a] as f64 * spacing_mm[a] - half[a]);
    let voxels = Array3::from_shape_fn(shape, |(z, y, x)| hounsfield(at([z, y, x])));
    Volume::new(voxels, geometry)
}

/// A chest as simple as can be: two lungs in a body in air. The lungs are 25 cm high.
fn chest([z, y, x]: [f64; 3]) -> i16 {
    let lung = |side: f64| {
        ((x - side * 65.0) / 50.0).powi(2) + (y / 70.0).powi(2) + (z / 125.0).powi(2) < 1.0
    };
    let nodule = (x - 65.0).powi(2) + y * y + z * z < 64.0;
    if (x / 150.0).powi(2) + (y / 100.0).powi(2) > 1.0 {
        -1000
    } else if (lung(1.0) || lung(-1.0)) && !nodule {
        -850
    } else {
        40
    }
}

/// It was segmented, and the label map lies on its own grid.
fn has_a_result(ct: &CtVolume) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    nifti::write_ct(&path, ct).unwrap();
    let ran = segment(&path, folder.path()).done();
    let labels = nifti::read_labels(&folder.path().join("scan/nodules.nii.gz")).unwrap();
    assert!(labels.geometry.same_grid(&ct.geometry, 1e-2), "{:?}", labels.geometry);
    assert!(ran.out.contains("1 scans with"), "{}", ran.out);
    ran
}

fn is_refused(ct: &CtVolume, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    nifti::write_ct(&path, ct).unwrap();
    segment(&path, &folder.path().join("out"))
        .set_aside(&[&[path.to_str().unwrap()], words].concat());
    let written = made_up::only(&folder.path().join("out"));
    assert!(written.ends_with("set_aside.csv"), "something is written for a refused scan");
}

#[test]
fn a_chest_in_voxels_of_many_sizes() {
    for (shape, spacing_mm) in [
        ([150, 108, 160], [2.0, 2.0, 2.0]),
        ([30, 108, 160], [10.0, 2.0, 2.0]),
        ([30, 22, 32], [10.0, 10.0, 10.0]),
        ([1000, 54, 80], [0.3, 4.0, 4.0]),
    ] {
        let ran = has_a_result(&volume(shape, spacing_mm, chest));
        assert!(!ran.err.contains("lungs not found"), "{shape:?}: {}", ran.err);
    }
}

#[test]
fn fine_voxels_in_plane() {
    let ran = has_a_result(&volume([30, 730, 1040], [8.0, 0.3, 0.3], chest));
    assert!(!ran.err.contains("lungs not found"), "{}", ran.err);
}

#[test]
fn a_scan_that_is_no_chest_is_searched_whole_and_says_so() {
    let head = |[z, y, x]: [f64; 3]| match (x * x + y * y + z * z).sqrt() {
        r if r < 70.0 => 35,
        r if r < 80.0 => 1200,
        _ => -1000,
    };
    let ran = has_a_result(&volume([60, 70, 70], [3.0; 3], head));
    assert!(ran.err.contains("lungs not found"), "{}", ran.err);
}

#[test]
fn three_slices() {
    for thickness in [0.3, 1.0, 10.0] {
        has_a_result(&volume([3, 108, 160], [thickness, 2.0, 2.0], chest));
    }
}

#[test]
fn one_voxel_in_plane() {
    has_a_result(&volume([20, 1, 1], [2.0; 3], |[z, ..]| z as i16 - 900));
}

#[test]
fn fifteen_hundred_slices() {
    let ran = has_a_result(&volume([1500, 54, 80], [0.5, 4.0, 4.0], chest));
    assert!(!ran.err.contains("lungs not found"), "{}", ran.err);
}

#[test]
fn nothing_but_air_holds_no_nodule() {
    let air = |[z, ..]: [f64; 3]| -1000 - ((z / 3.0).abs() as i16 % 3);
    let ran = has_a_result(&volume([40, 100, 100], [3.0; 3], air));
    assert!(ran.out.contains("none"), "{}", ran.out);
}

#[test]
fn constant_voxels_are_refused() {
    for value in [0, -1000] {
        let ct = volume([20, 80, 80], [3.0; 3], |_| value);
        is_refused(&ct, &["every voxel is", "export the scan again"]);
    }
}

#[test]
fn what_is_not_in_hounsfield_units_is_refused_and_not_without_nodules() {
    let words = ["no chest in Hounsfield units", "export it again"];
    // As unsigned numbers are stored, with padding beyond the scan; a scale forgotten; a label map.
    let offset = |at: [f64; 3]| if at[1].abs() > 95.0 { -2000 + 1024 } else { chest(at) + 1024 };
    is_refused(&volume([40, 108, 160], [6.0, 2.0, 2.0], offset), &[&words[..], &["1064"]].concat());
    is_refused(&volume([40, 54, 80], [6.0, 4.0, 4.0], |at| chest(at) / 1000), &words);
    is_refused(&volume([40, 54, 80], [6.0, 4.0, 4.0], |at| i16::from(chest(at) > 0)), &words);
}

#[test]
fn a_scan_larger_than_any_patient_is_refused() {
    // 256 voxels of 10 mm, as a header in the wrong unit says.
    let ct = volume([100, 256, 256], [10.0; 3], chest);
    is_refused(&ct, &["2560 x 2560 x 1000 mm", "check the voxel size"]);
}

#[test]
fn a_value_that_is_no_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let ct = volume([20, 40, 40], [3.0; 3], chest);
    let mut values: Vec<f32> = ct.voxels.iter().map(|hu| f32::from(*hu)).collect();
    values[777] = f32::NAN;
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();

    let nii = folder.path().join("nan.nii");
    nifti::write_ct(&nii, &ct).unwrap();
    // Of the header: type and bits per voxel; the voxels begin at 352.
    let mut file = fs::read(&nii).unwrap();
    file[70..74].copy_from_slice(&[16, 0, 32, 0]);
    file.truncate(352);
    file.extend(&bytes);
    fs::write(&nii, file).unwrap();
    segment(&nii, &out).set_aside(&["nan.nii", "is NaN; a CT holds Hounsfield units"]);

    let mha = folder.path().join("nan.mha");
    let head = "ObjectType = Image\nNDims = 3\nDimSize = 40 40 20\nElementSpacing = 3 3 3\n\
                ElementType = MET_FLOAT\nElementDataFile = LOCAL\n";
    fs::write(&mha, [head.as_bytes(), &bytes].concat()).unwrap();
    segment(&mha, &out).set_aside(&["nan.mha", "NaN"]);

    let nrrd = folder.path().join("nan.nrrd");
    let head = "NRRD0004\ntype: float\ndimension: 3\nsizes: 40 40 20\nspace: LPS\n\
                space directions: (3,0,0) (0,3,0) (0,0,3)\nencoding: raw\nendian: little\n\n";
    fs::write(&nrrd, [head.as_bytes(), &bytes].concat()).unwrap();
    segment(&nrrd, &out).set_aside(&["nan.nrrd", "NaN"]);
    assert!(made_up::only(&out).ends_with("set_aside.csv"));
}
