//! `NIfTI` files: what is written reads back, the same bytes every time.

use dasl_volume::nifti::{read_ct, read_labels, write_ct, write_labels};
use dasl_volume::{CtVolume, Geometry, LabelVolume, PointMm};
use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::Array3;
use std::io::Write;
use std::path::Path;

/// Places in a header, from nifti1.h.
const DATATYPE: usize = 70;
const BITPIX: usize = 72;
const VOX_OFFSET: usize = 108;
const SCL_SLOPE: usize = 112;
const SCL_INTER: usize = 116;
const VOXELS: usize = 352;

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
        "F/a.nii: the voxel at [0, 0, 0] [z, y, x] is -1024; labels are whole numbers from 0 to 65535"
    );
    let bytes = std::fs::read(path("a.nii")).unwrap();
    std::fs::write(path("cut.nii"), &bytes[..400]).unwrap();
    let error = text(&read_ct(&path("cut.nii")).unwrap_err());
    assert_eq!(error, "F/cut.nii: 48 bytes of 210 that the header promises; copy the file again");
    // Fewer bits than the data type has.
    let mut bits = bytes;
    bits[72] = 8;
    std::fs::write(path("bits.nii"), &bits).unwrap();
    let error = text(&read_ct(&path("bits.nii")).unwrap_err());
    assert!(error.contains("its header gives 8 bits to voxels of 16"), "{error}");
    let error = text(&read_ct(Path::new("none.nii")).unwrap_err());
    assert_eq!(error, "none.nii: does not exist; check the path");
}

fn plain() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    write_ct(&path, &ct()).unwrap();
    std::fs::read(&path).unwrap()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// What a file of these bytes is read as, or why it is not.
fn read(name: &str, bytes: &[u8]) -> Result<CtVolume, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read_ct(&path).map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn voxels_begin_where_the_header_says() {
    let mut bytes = plain();
    put(&mut bytes, VOX_OFFSET, &416.0_f32.to_le_bytes());
    bytes.splice(VOXELS..VOXELS, [7; 64]);
    assert_eq!(read("a.nii", &bytes).unwrap().voxels, ct().voxels);
    assert_eq!(read("a.nii.gz", &gzip(&bytes, Compression::fast())).unwrap().voxels, ct().voxels);
}

#[test]
fn values_are_scaled_as_the_header_says() {
    let scaled = |slope: f32, intercept: f32| {
        let mut bytes = plain();
        put(&mut bytes, SCL_SLOPE, &slope.to_le_bytes());
        put(&mut bytes, SCL_INTER, &intercept.to_le_bytes());
        read("a.nii", &bytes)
    };
    assert_eq!(scaled(2.0, -10.0).unwrap().voxels, ct().voxels.mapv(|v| 2 * v - 10));
    // 0 and no number are no scale.
    for (slope, intercept) in [(0.0, 5.0), (f32::NAN, f32::NAN), (f32::INFINITY, 5.0)] {
        assert_eq!(scaled(slope, intercept).unwrap().voxels, ct().voxels);
    }
    let error = scaled(2.0, f32::NAN).unwrap_err();
    assert!(error.contains("scl_slope 2 and scl_inter NaN"), "{error}");
}

#[test]
fn compressed_or_not_whatever_the_name_says() {
    let bytes = plain();
    let packed = gzip(&bytes, Compression::default());
    assert_eq!(read("a.nii", &packed).unwrap().voxels, ct().voxels);
    assert_eq!(read("a.nii.gz", &bytes).unwrap().voxels, ct().voxels);
    // As bgzip and `cat a.gz b.gz` leave it.
    let parts =
        [gzip(&bytes[..400], Compression::fast()), gzip(&bytes[400..], Compression::fast())];
    assert_eq!(read("a.nii.gz", &parts.concat()).unwrap().voxels, ct().voxels);
}

#[test]
fn a_damaged_stream_is_refused() {
    let mut stored = gzip(&plain(), Compression::none());
    let cut = read("a.nii.gz", &stored[..stored.len() - 8]).unwrap_err();
    assert!(cut.contains("damaged"), "{cut}");
    let voxel = stored.len() - 20;
    stored[voxel] ^= 1;
    let flipped = read("a.nii.gz", &stored).unwrap_err();
    assert!(flipped.contains("damaged"), "{flipped}");
}

#[test]
fn what_is_no_image_of_single_numbers_is_named() {
    let of_type = |datatype: i16, bits: i16| {
        let mut bytes = plain();
        put(&mut bytes, DATATYPE, &datatype.to_le_bytes());
        put(&mut bytes, BITPIX, &bits.to_le_bytes());
        bytes.extend([0; 2000]);
        read("a.nii", &bytes).unwrap_err()
    };
    for (datatype, bits, name) in
        [(128, 24, "Rgb24"), (2304, 32, "Rgba32"), (32, 64, "Complex64"), (1536, 128, "Float128")]
    {
        let error = of_type(datatype, bits);
        assert!(error.contains(&format!("its voxels are of type {name}")), "{error}");
    }
    let mut second = plain();
    put(&mut second, 0, &540_i32.to_le_bytes());
    assert!(read("a.nii", &second).unwrap_err().contains("NIfTI-2"));
    let mut pair = plain();
    put(&mut pair, 344, b"ni1");
    assert!(read("a.nii", &pair).unwrap_err().contains("in another file"));
}
