//! The network in the binary: segments without a run, and is judged where places are given.

mod made_up;
mod shared_data;

use std::fs;
use std::path::Path;

use made_up::{run_in, scans};
use serde_json::Value;

fn samples(folder: &Path) -> Value {
    let ran = run_in(folder, "--json evaluate samples @dataset --out @samples").done();
    ran.json()
}

#[test]
fn a_scan_is_segmented_without_a_run_and_nodules_are_outlined_at_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let source = root.join("source");
    let series = scans(&source, 3, 2);
    run_in(root, "import lidc @source --out @dataset").done();

    fs::rename(&series[0], root.join("one")).unwrap();
    let ran = run_in(root, "--json segment @one --out @found").done();
    let result = ran.json();
    let scan = result["scans"][0]["scan"].as_str().unwrap();
    let note = fs::read_to_string(root.join("found").join(scan).join("scan.json")).unwrap();

    let evaluated = samples(root);
    let sha256 = evaluated["weights_sha256"].as_str().unwrap();
    assert!(note.contains(sha256), "{note}");
    let groups = evaluated["groups"].as_array().unwrap();
    let count = |group: &Value| group["nodules"].as_u64().unwrap();
    assert_eq!(groups[0]["name"], "all");
    assert_eq!(count(&groups[0]), groups[1..].iter().map(count).sum::<u64>());
    // Real nodules were learnt from, and the made-up ones are balls in lung: a box is enough.
    assert!(groups[0]["box_dice"]["mean"].as_f64().unwrap() > 0.5, "{evaluated}");
    let table = fs::read_to_string(root.join("samples/samples.csv")).unwrap();
    assert_eq!(table.lines().count() as u64, 1 + count(&groups[0]));
    assert_eq!(samples(root), evaluated);
}

#[test]
fn what_does_not_fit_the_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    scans(&root.join("source"), 3, 1);
    run_in(root, "import lidc --spacing 2 @source --out @dataset").done();
    run_in(root, "evaluate samples @dataset").failed(&["2 mm", "--spacing 1"]);
    run_in(root, "evaluate samples @nowhere").failed(&["nowhere"]);
    run_in(root, "evaluate samples @dataset --model @source").failed(&["is no run of dasl"]);
}

/// The tumour of Lung_Dx-A0001 is about 60 mm wide, more than the network's own grid is good for.
#[test]
fn a_mass_is_found_on_a_coarser_grid() {
    let Some(data) = shared_data::folder("lung-pet-ct-dx-a0001") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("source")).unwrap();
    shared_data::unpack(&data.join("Lung_Dx-A0001.tar.xz"), &root.join("source"));
    let found = run_in(root, "--json segment @source --out @found").done().json();
    let nodules = found["scans"][0]["nodules"].as_array().unwrap();
    let mass = nodules.iter().find(|n| n["diameter_mm"].as_f64().unwrap() > 45.0).expect("a mass");
    for (axis, at) in [("x_mm", 48.0), ("y_mm", 200.0), ("z_mm", -209.0)] {
        assert!((mass[axis].as_f64().unwrap() - at).abs() < 10.0, "{mass}");
    }
}
