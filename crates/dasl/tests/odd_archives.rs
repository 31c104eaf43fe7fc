//! Archives as they are: links that lead nowhere, patients without a name, scans that come in pieces.

mod made_up;

use std::fs;
use std::path::Path;

use dasl_volume::dataset::Dataset;
use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, Geometry, PointMm, Volume, nifti};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use made_up::{run_in, scans, slice};
use ndarray::Array3;

/// Half soft tissue, half lung.
fn volume(spacing_mm: f64) -> CtVolume {
    let geometry = Geometry::axial([24; 3], [spacing_mm; 3], PointMm::new(0.0, 0.0, 0.0));
    let voxels =
        Array3::from_shape_fn([24; 3], |(z, _, x)| if x > 12 { 40 } else { -850 - (z % 3) as i16 });
    Volume::new(voxels, geometry)
}

#[test]
fn what_cannot_be_had_is_set_aside_and_the_rest_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let archive = root.join("archive");
    // What macOS leaves beside a file on a foreign disk.
    let first = slice(&scans(&archive, 3, 1)[0], 1);
    fs::write(first.with_file_name("._000001.dcm"), b"\x00\x05\x16\x07").unwrap();
    metaimage::write_ct(&archive.join("a.mha"), &volume(2.0), Compression::None).unwrap();
    metaimage::write_ct(&archive.join("metres.mha"), &volume(700.0), Compression::None).unwrap();
    metaimage::write_ct(&archive.join("z.mha"), &volume(2.0), Compression::None).unwrap();
    fs::write(archive.join("._z.mha"), b"\x00\x05\x16\x07").unwrap();
    let import = "import scans @archive --spacing 2 --out @dataset";
    let ran = run_in(root, import).set_aside(&["metres.mha", "more than a patient", "voxel size"]);
    assert!(ran.out.contains("3 scans with 0 nodules added"), "{}", ran.out);
    fs::remove_file(archive.join("metres.mha")).unwrap();

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", archive.join("moved")).unwrap();
        for command in [import, "import lidc @archive --spacing 2 --out @annotated"] {
            run_in(root, command).set_aside(&["moved", "cannot be listed"]);
        }
        let ran = run_in(root, "segment @archive --threshold 0.9 --shard 2/4 --out @segmented");
        assert!(ran.out.contains("1 scans"), "{ran:?}");
        run_in(root, "import scans @archive/moved --out @dataset").failed(&["moved", "not exist"]);
        // Where there is no DICOM at all it is named too.
        fs::create_dir(root.join("volumes")).unwrap();
        let file = root.join("volumes/b.mha");
        metaimage::write_ct(&file, &volume(2.0), Compression::None).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("volumes/moved")).unwrap();
        let ran = run_in(root, "import scans @volumes --out @few").set_aside(&["moved"]);
        assert!(ran.out.contains("1 scans with"), "{}", ran.out);
        fs::remove_file(file).unwrap();
        let ran = run_in(root, "import scans @volumes --out @none").set_aside(&["moved"]);
        assert!(ran.out.contains("0 scans with"), "{}", ran.out);
    }
}

#[test]
fn a_series_that_was_still_arriving_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let own = scans(&root.join("archive"), 3, 1).remove(0);
    let late = root.join("late");
    fs::create_dir(&late).unwrap();
    for number in 1..=8 {
        let from = slice(&own, number);
        fs::rename(&from, late.join(from.file_name().unwrap())).unwrap();
    }
    let import = "import scans @archive --spacing 2 --out @dataset";
    let height = || {
        let dataset = Dataset::open(&root.join("dataset")).unwrap();
        let record = dataset.scan("PHANTOM-001").unwrap();
        (record.native_geometry.shape[0], record.series_files)
    };
    run_in(root, import).done();
    let (part, files) = height();
    for number in 1..=8 {
        let to = slice(&own, number);
        fs::rename(late.join(to.file_name().unwrap()), to).unwrap();
    }
    run_in(root, import).done();
    assert_eq!(height(), (part + 8, files + 8));
    let again = run_in(root, import).done();
    assert!(again.out.contains("1 there already"), "{}", again.out);
}

#[test]
fn a_scan_is_one_patients_and_those_without_a_name_are_not_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let archive = root.join("archive");
    let series = scans(&archive, 3, 2);
    let copy = archive.join("copy");
    made_up::copy(&series[0], &copy);
    made_up::rewrite(&copy, tags::PATIENT_ID, VR::LO, "PSEUDONYM");
    let import = "import scans @archive --spacing 2 --out @dataset";
    run_in(root, import).set_aside(&["PHANTOM-001", "of another patient", "keep one"]);
    fs::remove_dir_all(copy).unwrap();

    for series in &series {
        made_up::rewrite(series, tags::PATIENT_ID, VR::LO, "");
    }
    run_in(root, "import lidc @archive --spacing 2 --out @nameless").done();
    let dataset = Dataset::open(&root.join("nameless")).unwrap();
    let patients = |dataset: &Dataset| {
        let mut all: Vec<String> =
            dataset.scan_ids().iter().map(|id| dataset.scan(id).unwrap().patient_id).collect();
        all.dedup();
        all
    };
    assert_eq!(patients(&dataset).len(), 2);
    let record = dataset.scan(&dataset.scan_ids()[0]).unwrap();
    assert!(record.notes.iter().any(|note| note.contains("no PatientID")), "{:?}", record.notes);
}

/// The image of a volume file, with its array axes exchanged.
fn turned(dataset: &Path, order: [usize; 3], file: &Path) {
    let dataset = Dataset::open(dataset).unwrap();
    let record = dataset.scan("PHANTOM-001").unwrap();
    let grid = record.geometry;
    let ct = dataset.read_ct("PHANTOM-001", [0; 3], grid.shape).unwrap();
    let geometry = Geometry {
        shape: order.map(|axis| grid.shape[axis]),
        axes: order.map(|axis| grid.axes[axis]),
        ..grid
    };
    let ct = ct.permuted_axes(order).as_standard_layout().into_owned();
    nifti::write_ct(file, &Volume::new(ct, geometry)).unwrap();
}

#[test]
fn a_scan_lies_in_axial_order_whatever_its_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    scans(&root.join("archive"), 3, 1);
    run_in(root, "import scans @archive --spacing 2 --out @dataset").done();
    fs::create_dir(root.join("files")).unwrap();
    turned(&root.join("dataset"), [0, 1, 2], &root.join("files/axial.nii.gz"));
    turned(&root.join("dataset"), [2, 0, 1], &root.join("files/sagittal.nii.gz"));
    run_in(root, "import scans @files --spacing 2 --out @turned").done();
    let dataset = Dataset::open(&root.join("turned")).unwrap();
    let of = |id| {
        let shape = dataset.scan(id).unwrap().geometry.shape;
        (dataset.read_ct(id, [0; 3], shape).unwrap(), dataset.read_lung(id, [0; 3], shape).unwrap())
    };
    assert!(of("axial") == of("sagittal"));
}

#[test]
fn a_nodule_that_no_voxel_shows_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("luna/subset0")).unwrap();
    let file = root.join("luna/subset0/1.2.mhd");
    metaimage::write_ct(&file, &volume(2.0), Compression::None).unwrap();
    // The second is beyond the scan, of the third the first leaves no voxel.
    let table = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,20,20,20,8\n1.2,200,20,20,8\n\
                 1.2,20,20,21,3\n";
    fs::write(root.join("luna/annotations.csv"), table).unwrap();
    let ran = run_in(root, "import luna16 @luna --out @dataset").done();
    assert!(ran.err.contains("no annotations_excluded.csv"), "{}", ran.err);
    assert!(ran.err.contains("(200.0, 20.0, 20.0) mm has no voxel"), "{}", ran.err);
    let dataset = Dataset::open(&root.join("dataset")).unwrap();
    let record = dataset.scan("1.2").unwrap();
    assert_eq!((record.nodules.len(), record.notes.len()), (1, 4), "{:?}", record.notes);
    assert!(record.ignored.iter().all(|place| place.kind == "lost"));
    assert_eq!(record.ignored.len(), 2);
}

#[test]
fn series_are_listed_and_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let series = scans(&root.join("archive"), 3, 2);
    made_up::rewrite(&series[1], tags::SERIES_DESCRIPTION, VR::LO, "LUNG, 1.0, B60");
    made_up::rewrite(&series[1], tags::CONVOLUTION_KERNEL, VR::SH, "B60f");
    let listed = run_in(root, "series @archive").done().out;
    let (header, lines) = listed.split_once('\n').unwrap();
    assert!(header.starts_with("series_uid,patient_id,modality,files,description,kernel,slice_"));
    assert_eq!(lines.lines().count(), 2, "{listed}");
    let sharp = lines.lines().find(|line| line.contains("\"LUNG, 1.0, B60\",B60f")).unwrap();
    let rows = run_in(root, "--json series @archive").done().json();
    assert_eq!(rows[1]["patient_id"], "PHANTOM-002");
    // The lines that are kept, and one of another archive.
    fs::write(root.join("chosen.csv"), format!("{header}\n{sharp}\n9.9,,,,,,,,\n")).unwrap();
    let chosen = "import scans @archive --series @chosen.csv --spacing 2 --out @dataset";
    let ran = run_in(root, chosen).done();
    assert!(ran.err.contains("1 series that --series names are not there, such as 9.9"), "{ran:?}");
    assert_eq!(Dataset::open(&root.join("dataset")).unwrap().scan_ids(), ["PHANTOM-002"]);
    let ran = run_in(root, "segment @archive --series @chosen.csv --threshold 0.99 --out @out");
    assert!(ran.out.contains("1 scans with"), "{ran:?}");
    fs::write(root.join("chosen.csv"), "uid\n1\n").unwrap();
    run_in(root, chosen).failed(&["chosen.csv", "series_uid"]);
}
