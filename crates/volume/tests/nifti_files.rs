//! `NIfTI` files: what is written reads back, the same bytes every time.

use dasl_volume::nifti::{read_ct, read_labels, write_ct, write_labels};
use dasl_volume::{CtVolume, Geometry, LabelVolume, PointMm};
use ndarray::Array3;
use std::path::Path;

fn oblique() -> Geometry {
    let (s, c) = 0.2_f64.sin_cos();
    Geometry {
        shape: [3, 5, 7],
        spacing_mm: [2.5, 0.7, 0.8],
        origin_mm: PointMm::new(-120.25, 33.5, -340.125),
        axes: [[0.0, -s, c], [0.0, c, s], [1.0, 0.0, 0.0]],
    }
}

fn ct() -> CtVolume {
    let voxels =
        Array3::from_shape_fn([3, 5, 7], |(z, y, x)| (1000 * z + 100 * y + x) as i16 - 1024);
    CtVolume::new(voxels, oblique())
}

#[test]
fn a_ct_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["1.2.840.10008.nii", "1.2.840.10008.nii.gz"] {
        let path = folder.path().join(name);
        write_ct(&path, &ct()).unwrap();
        let back = read_ct(&path).unwrap();
        assert_eq!(back.voxels, ct().voxels);
        assert!(back.geometry.same_grid(&oblique(), 1e-4));
    }
    // Nothing is left beside the files.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn labels_read_back_up_to_the_largest() {
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("labels.nii.gz");
    let mut labels = LabelVolume::new(Array3::zeros([3, 5, 7]), oblique());
    labels.voxels[[2, 4, 6]] = u16::MAX;
    labels.voxels[[0, 0, 1]] = 1;
    write_labels(&path, &labels).unwrap();
    assert_eq!(read_labels(&path).unwrap().voxels, labels.voxels);
}

#[test]
fn the_same_volume_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        write_ct(&path, &ct()).unwrap();
        std::fs::read(path).unwrap()
    };
    let first = write("a.nii.gz");
    std::thread::sleep(std::time::Duration::from_millis(1100)); // gzip's clock has seconds
    assert_eq!(first, write("b.nii.gz"));
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = |error: &dyn std::fmt::Display| {
        error.to_string().replace(&folder.path().display().to_string(), "F")
    };
    let path = |name: &str| folder.path().join(name);
    let error = write_ct(&path("a.mha"), &ct()).unwrap_err();
    assert_eq!(text(&error), "F/a.mha: the name must end in .nii or .nii.gz");
    write_ct(&path("a.nii"), &ct()).unwrap();
    let error = read_labels(&path("a.nii")).unwrap_err();
    assert_eq!(
        text(&error),
        "F/a.nii: -1024 is not a label; labels are whole numbers from 0 to 65535"
    );
    let bytes = std::fs::read(path("a.nii")).unwrap();
    std::fs::write(path("cut.nii"), &bytes[..400]).unwrap();
    let error = text(&read_ct(&path("cut.nii")).unwrap_err());
    assert!(error.starts_with("F/cut.nii: cannot be read as NIfTI-1 ("), "{error}");
    // Fewer bits than the data type has.
    let mut bits = bytes;
    bits[72] = 8;
    std::fs::write(path("bits.nii"), &bits).unwrap();
    let error = text(&read_ct(&path("bits.nii")).unwrap_err());
    assert!(error.contains("its header gives 8 bits to voxels of 16"), "{error}");
    let error = text(&read_ct(Path::new("none.nii")).unwrap_err());
    assert_eq!(error, "none.nii: does not exist; check the path");
}
