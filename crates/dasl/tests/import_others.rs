//! `dasl import scans` and `dasl import luna16`.

mod made_up;

use std::fs;
use std::path::Path;

use dasl_volume::dataset::Dataset;
use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, Geometry, PointMm, Volume, nifti};
use made_up::{Ran, run};
use ndarray::Array3;

/// A block of soft tissue in lung, which has not one density.
fn volume() -> CtVolume {
    let geometry = Geometry::axial([24, 30, 32], [2.5, 2.0, 2.0], PointMm::new(-30.0, 10.0, -5.0));
    let voxels = Array3::from_shape_fn(geometry.shape, |(z, y, x)| {
        let tissue = (8..14).contains(&z) && (9..15).contains(&y) && x > 20;
        if tissue { 40 } else { -850 - (x % 3) as i16 }
    });
    Volume::new(voxels, geometry)
}

fn import(what: &str, source: &Path, dataset: &Path, more: &[&str]) -> Ran {
    let paths = [source.to_str().unwrap(), "--out", dataset.to_str().unwrap()];
    run(["import", what].iter().chain(&paths).chain(&["--spacing", "2"]).chain(more))
}

#[test]
fn scans_of_any_format_become_a_pool_and_readings_can_follow() {
    let folder = tempfile::tempdir().unwrap();
    let (source, dataset) = (folder.path().join("source"), folder.path().join("dataset"));
    made_up::scans(&source, 5, 2);
    let deep = source.join("more/and more");
    fs::create_dir_all(&deep).unwrap();
    nifti::write_ct(&deep.join("a.nii.gz"), &volume()).unwrap();
    metaimage::write_ct(&deep.join("b.mhd"), &volume(), Compression::None).unwrap();
    fs::write(deep.join("c.nrrd"), "NRRD0004\nno such field: 1\n\n").unwrap();

    let ran = import("scans", &source, &dataset, &[]).set_aside(&["c.nrrd"]);
    assert!(ran.out.contains("4 scans with 0 nodules added"), "{}", ran.out);
    let again = import("scans", &source, &dataset, &[]).set_aside(&["c.nrrd"]);
    assert!(again.out.contains("0 scans with 0 nodules added, 4 there already"), "{}", again.out);

    let pool = Dataset::open(&dataset).unwrap();
    assert_eq!(pool.scan_ids(), ["PHANTOM-001", "PHANTOM-002", "a", "b"]);
    assert_eq!(pool.info().rule, "none");
    for id in pool.scan_ids() {
        let record = pool.scan(&id).unwrap();
        assert!(!record.annotated && record.nodules.is_empty(), "{id}");
        assert!(!record.source.is_empty(), "{id}");
    }
    let same = |id| pool.read_ct(id, [0; 3], pool.scan(id).unwrap().geometry.shape).unwrap();
    assert_eq!(same("a"), same("b"));

    // Nothing in it is a sample or background: there is nothing to train on.
    let (out, dataset_text) = (folder.path().join("run"), dataset.to_str().unwrap());
    let train = ["train", dataset_text, "--out", out.to_str().unwrap(), "--preset", "tiny"];
    run(train).failed(&["no sample to train on"]);

    // The readings of two of the scans come later.
    let ran = import("lidc", &source, &dataset, &[]).done();
    assert!(ran.out.contains("2 scans with"), "{}", ran.out);
    let annotated = Dataset::open(&dataset).unwrap();
    assert_eq!(annotated.info().rule, "pylidc");
    let record = annotated.scan("PHANTOM-001").unwrap();
    assert!(record.annotated && !record.nodules.is_empty());
    assert_eq!(annotated.scan_ids().len(), 4);

    // Other voxels under the same header are another scan.
    let mut other = volume();
    other.voxels.mapv_inplace(|hu| hu + 1);
    metaimage::write_ct(&deep.join("b.mhd"), &other, Compression::None).unwrap();
    let ran = import("scans", &source, &dataset, &[]).set_aside(&["c.nrrd"]);
    assert!(ran.out.contains("1 scans with 0 nodules added, 3 there already"), "{}", ran.out);
}

#[test]
fn luna16_comes_with_its_nodules_and_findings() {
    let folder = tempfile::tempdir().unwrap();
    let (source, dataset) = (folder.path().join("luna16"), folder.path().join("dataset"));
    for (subset, name) in [("subset0", "1.2.1"), ("subset3", "1.2.2")] {
        fs::create_dir_all(source.join(subset)).unwrap();
        let path = source.join(subset).join(format!("{name}.mhd"));
        metaimage::write_ct(&path, &volume(), Compression::None).unwrap();
    }
    let missing = import("luna16", &source, &dataset, &[]);
    missing.failed(&["no annotations.csv", "LUNA16's tables"]);
    let table = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.2,10.0,34.0,22.5,9.0\n\
                 1.2.2,-11.5,40.1,12.0,5.0\n7.7.7,0,0,0,8\n";
    fs::write(source.join("annotations.csv"), table).unwrap();
    let excluded = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.2,1.0,2.0,3.0,-1.0\n";
    fs::write(source.join("annotations_excluded.csv"), excluded).unwrap();

    import("luna16", &source, &dataset, &["--subset", "5"]).failed(&["no subset"]);
    let ran = import("luna16", &source, &dataset, &["--subset", "3,4"]).done();
    assert!(ran.out.contains("1 scans with 2 nodules added"), "{}", ran.out);
    let ran = import("luna16", &source, &dataset, &[]).done();
    assert!(ran.out.contains("1 scans with 0 nodules added, 1 there already"), "{}", ran.out);

    let luna = Dataset::open(&dataset).unwrap();
    let record = luna.scan("1.2.2").unwrap();
    assert!(record.annotated && record.whole);
    assert_eq!(record.notes[0], "LUNA16 subset3");
    assert_eq!(record.source.len(), 2);
    let [first, second] = &record.nodules[..] else { panic!("{:?}", record.nodules) };
    assert!((first.center_mm.x - 10.0).abs() < 1e-9 && (first.center_mm.z - 22.5).abs() < 1e-9);
    assert!((first.diameter_mm - 9.0).abs() < 0.5, "{}", first.diameter_mm);
    assert!((second.diameter_mm - 5.0).abs() < 0.7, "{}", second.diameter_mm);
    assert_eq!((record.ignored[0].kind.as_str(), record.ignored.len()), ("excluded", 1));
    assert!(luna.scan("1.2.1").unwrap().nodules.is_empty());
}
