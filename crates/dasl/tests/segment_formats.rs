//! The same scan in another format, or with its axes in another order or direction, has the same
//! nodules in the same places.

mod made_up;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, Geometry, Volume, VoxelPos, dicom, nifti};
use made_up::run;
use serde_json::Value;

struct Bench {
    series: PathBuf,
    model: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("segment_formats");
        let series = made_up::scans(&folder.join("source"), 7, 2).swap_remove(0);
        let model = made_up::model(&folder, &folder.join("source"));
        Bench { series, model, _lock: lock }
    })
}

fn nodules(scan: &Path) -> Vec<Value> {
    let out = tempfile::tempdir().unwrap();
    let [scan, model, out] = [scan, &bench().model, out.path()].map(|path| path.to_str().unwrap());
    let ran =
        run(["--json", "segment", scan, "--model", model, "--out", out, "--threshold", "0.01"]);
    ran.done().json()["scans"][0]["nodules"].as_array().unwrap().clone()
}

/// The same voxels, the array axes in another order and some of them the other way round.
fn reordered(ct: &CtVolume, order: [usize; 3], turned: [bool; 3]) -> CtVolume {
    let g = &ct.geometry;
    let last = |axis: usize| if turned[axis] { g.shape[axis] as f64 - 1.0 } else { 0.0 };
    let geometry = Geometry {
        shape: order.map(|a| g.shape[a]),
        spacing_mm: order.map(|a| g.spacing_mm[a]),
        origin_mm: g.to_mm(VoxelPos::new(last(0), last(1), last(2))),
        axes: order.map(|a| g.axes[a].map(|v| if turned[a] { -v } else { v })),
    };
    let mut voxels = ct.voxels.view();
    for axis in (0..3).filter(|axis| turned[*axis]) {
        voxels.invert_axis(ndarray::Axis(axis));
    }
    Volume::new(voxels.permuted_axes(order).as_standard_layout().into_owned(), geometry)
}

fn same_nodules(scan: &Path, expected: &[Value]) {
    let found = nodules(scan);
    assert_eq!(found.len(), expected.len(), "{}: {found:?}", scan.display());
    for (a, b) in found.iter().zip(expected) {
        for (what, most) in
            [("x_mm", 0.1), ("y_mm", 0.1), ("z_mm", 0.1), ("diameter_mm", 0.1), ("score", 1e-3)]
        {
            let difference = (a[what].as_f64().unwrap() - b[what].as_f64().unwrap()).abs();
            assert!(difference <= most, "{}: {what}: {a} is not {b}", scan.display());
        }
    }
}

#[test]
fn every_format_and_every_order_of_the_axes_gives_the_same_nodules() {
    let expected = nodules(&bench().series);
    assert!(expected.len() > 1, "too few were found: nothing is tested");
    let ct = dicom::read_folder(&bench().series).unwrap().volume;
    let folder = tempfile::tempdir().unwrap();
    for (name, order, turned) in [
        ("as-it-is", [0, 1, 2], [false, false, false]),
        // From right to left and back to front, as NIfTI's own axes run.
        ("ras", [0, 1, 2], [false, true, true]),
        ("head-first", [0, 1, 2], [true, false, false]),
        ("sagittal", [2, 0, 1], [false, true, false]),
        ("coronal", [1, 0, 2], [true, true, true]),
    ] {
        let ct = reordered(&ct, order, turned);
        let path = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        nifti::write_ct(&path("nii.gz"), &ct).unwrap();
        same_nodules(&path("nii.gz"), &expected);
        metaimage::write_ct(&path("mha"), &ct, Compression::Zlib).unwrap();
        same_nodules(&path("mha"), &expected);
    }
}
