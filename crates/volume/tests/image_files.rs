//! One entry for all formats: the same scan comes out of each.

use dasl_volume::image_file::{read_ct, read_labels};
use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, Geometry, PointMm, nifti};
use ndarray::Array3;

fn ct() -> CtVolume {
    let voxels = Array3::from_shape_fn([3, 5, 7], |(z, y, x)| (1000 * z + 100 * y + x) as i16);
    let origin = PointMm::new(-120.25, 33.5, -340.125);
    CtVolume::new(voxels, Geometry::axial([3, 5, 7], [2.5, 0.75, 0.75], origin))
}

#[test]
fn the_name_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    nifti::write_ct(&path("a.nii.gz"), &ct()).unwrap();
    metaimage::write_ct(&path("a.mhd"), &ct(), Compression::None).unwrap();
    metaimage::write_ct(&path("b.MHA"), &ct(), Compression::Zlib).unwrap_err();
    metaimage::write_ct(&path("b.mha"), &ct(), Compression::Zlib).unwrap();
    std::fs::rename(path("b.mha"), path("b.MHA")).unwrap();
    for name in ["a.nii.gz", "a.mhd", "b.MHA"] {
        let back = read_ct(&path(name)).unwrap();
        assert_eq!(back.voxels, ct().voxels, "{name}");
        assert!(back.geometry.same_grid(&ct().geometry, 1e-4), "{name}");
        assert_eq!(read_labels(&path(name)).unwrap().voxels, ct().voxels.mapv(|v| v as u16));
    }
    // The voxels alone say nothing of where they lie.
    let error = read_ct(&path("a.raw")).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "a.raw: no format that dasl reads; give NIfTI (.nii, .nii.gz), MetaImage (.mhd, .mha) or NRRD (.nrrd, .nhdr)"
        ),
        "{error}"
    );
    for name in ["none.nii", "none.mhd", "none.nrrd"] {
        let error = read_ct(&path(name)).unwrap_err().to_string();
        assert!(error.contains("does not exist; check the path"), "{error}");
    }
}

#[test]
fn a_nifti_is_held_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    nifti::write_ct(&path, &ct()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let change =
        |bytes: &mut [u8], at: usize, to: &[u8]| bytes[at..at + to.len()].copy_from_slice(to);
    // nifti1.h: slope at byte 112; 104 with the largest voxel of 2406.
    change(&mut bytes, 112, &104.0_f32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let error = read_ct(&path).unwrap_err().to_string();
    assert!(error.ends_with("a CT holds Hounsfield units from -32768 to 32767"), "{error}");
    // nifti1.h: dim[1..] from byte 42.
    for at in [42, 44, 46] {
        change(&mut bytes, at, &10000_i16.to_le_bytes());
    }
    std::fs::write(&path, &bytes).unwrap();
    let error = read_ct(&path).unwrap_err().to_string();
    assert!(error.contains("bytes of 2000000000000 that the header promises"), "{error}");
}
