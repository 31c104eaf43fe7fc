//! NRRD files: every place and packing of the voxels, and damage that is named.

use dasl_volume::nrrd::{ct_from_bytes, read_ct, read_labels};
use dasl_volume::{Geometry, PointMm, image_file};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;

const VALUES: [i16; 6] = [-1000, -1, 0, 1, 300, 3000];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn little() -> Vec<u8> {
    VALUES.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A header with `lines` in it.
fn head(lines: &str) -> String {
    format!(
        "NRRD0004\ndimension: 3\nsizes: 3 2 1\nspace: RAS\nspace origin: (1,2,3)\n\
         space directions: (0.5,0,0) (0,0.6,0) (0,0,2)\n{lines}\n"
    )
}

/// Writes that header, and what comes behind it.
fn write(path: &Path, lines: &str, rest: &[u8]) {
    std::fs::write(path, [head(lines).as_bytes(), rest].concat()).unwrap();
}

fn voxels(path: &Path) -> Vec<i16> {
    let ct = read_ct(path).unwrap();
    let geometry = Geometry {
        axes: [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]],
        ..Geometry::axial([1, 2, 3], [2.0, 0.6, 0.5], PointMm::new(-1.0, -2.0, 3.0))
    };
    assert_eq!(ct.geometry, geometry);
    ct.voxels.iter().copied().collect()
}

#[test]
fn attached_voxels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    write(&path, "type: short\nencoding: raw\nendian: little\n", &little());
    assert_eq!(voxels(&path), VALUES);
    let big: Vec<u8> = VALUES.iter().flat_map(|v| v.to_be_bytes()).collect();
    write(&path, "type: int16\nencoding: raw\nendian: big\n", &big);
    assert_eq!(voxels(&path), VALUES);
    write(&path, "type: short\nencoding: gz\nendian: little\n", &gzip(&little()));
    assert_eq!(voxels(&path), VALUES);
    let doubles: Vec<u8> = VALUES.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    write(&path, "type: double\nencoding: gzip\nendian: little\n", &gzip(&doubles));
    assert_eq!(voxels(&path), VALUES);
}

#[test]
fn skipped_lines_and_bytes_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    let begin = "type: short\nendian: little\nencoding:";
    let rest = [b"one\ntwo\nxyz", little().as_slice()].concat();
    write(&path, &format!("{begin} raw\nline skip: 2\nbyte skip: 3\n"), &rest);
    assert_eq!(voxels(&path), VALUES);
    write(&path, &format!("{begin} raw\nbyte skip: -1\n"), &rest);
    assert_eq!(voxels(&path), VALUES);
    // Lines lie before the stream, bytes in it.
    let packed = gzip(&[b"xyz", little().as_slice()].concat());
    let rest = [b"one\n", packed.as_slice()].concat();
    write(&path, &format!("{begin} gzip\nline skip: 1\nbyte skip: 3\n"), &rest);
    assert_eq!(voxels(&path), VALUES);
    write(&path, &format!("{begin} gzip\nline skip: 99999999999\n"), &rest);
    let error = read_ct(&path).unwrap_err().to_string();
    assert!(error.ends_with("0 bytes of 12 that the header promises; copy the file again"));
    write(&path, &format!("{begin} gzip\nbyte skip: 999\n"), &gzip(&little()));
    let error = read_ct(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("12 bytes of 1011 that the header promises; copy the file again"),
        "{error}"
    );
}

#[test]
fn detached_voxels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nhdr");
    std::fs::write(folder.path().join("a b.raw"), little()).unwrap();
    write(&path, "type: short\nencoding: raw\nendian: little\ndata file: a b.raw", &[]);
    assert_eq!(voxels(&path), VALUES);
    assert_eq!(image_file::read_ct(&path).unwrap().voxels[[0, 1, 2]], 3000);
    std::fs::write(folder.path().join("a.raw.gz"), gzip(&little())).unwrap();
    write(&path, "type: short\nencoding: gzip\nendian: little\ndata file: ./a.raw.gz\n", &[]);
    assert_eq!(voxels(&path), VALUES);
    write(&path, "type: short\nencoding: raw\nendian: little\ndata file: none.raw", &[]);
    let error = read_ct(&path).unwrap_err().to_string();
    assert!(error.contains("none.raw: does not exist;"), "{error}");
}

#[test]
fn labels_of_any_type_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.seg.nrrd");
    write(&path, "type: uint8\nencoding: raw\n", &[0, 1, 2, 0, 255, 0]);
    assert_eq!(read_labels(&path).unwrap().voxels[[0, 1, 1]], 255);
    let wide: Vec<u8> = [0_i64, 1, 65535, 0, 0, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
    write(&path, "type: int64\nendian: little\nencoding: raw\n", &wide);
    assert_eq!(read_labels(&path).unwrap().voxels[[0, 0, 2]], 65535);
    write(&path, "type: short\nendian: little\nencoding: raw\n", &little());
    let error = read_labels(&path).unwrap_err().to_string();
    assert!(error.ends_with(
        "the voxel at [0, 0, 0] [z, y, x] is -1000; labels are whole numbers from 0 to 65535"
    ));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    let told = || read_ct(&path).unwrap_err().to_string();
    let lines = "type: short\nendian: little\nencoding:";
    write(&path, &format!("{lines} raw\n"), &little()[..7]);
    assert!(told().ends_with("7 bytes of 12 that the header promises; copy the file again"));
    let mut packed = gzip(&little());
    write(&path, &format!("{lines} gzip\n"), &packed[..packed.len() - 12]);
    assert!(told().contains("the compressed voxels are damaged ("), "{}", told());
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    write(&path, &format!("{lines} gzip\n"), &packed);
    assert!(told().contains("the compressed voxels are damaged ("), "{}", told());
    write(&path, &format!("{lines} gzip\n"), &gzip(&little()[..10]));
    assert!(told().ends_with("10 bytes of 12 that the header promises; copy the file again"));
    write(&path, &format!("{lines} gzip"), &[]);
    assert!(told().ends_with("the header does not end; check that the file is whole"));
    let head = "NRRD0004\ndimension: 3\nsizes: 10000 10000 10000\nspacings: 1 1 1\n";
    for (encoding, message) in [
        ("raw", "4 bytes of 1000000000000 that the header promises; copy the file again"),
        (
            "gzip",
            "4 compressed bytes cannot hold the 1000000000000 that the header promises; copy the file again",
        ),
    ] {
        let text = format!("{head}type: uchar\nencoding: {encoding}\n\n1234");
        std::fs::write(&path, text).unwrap();
        assert!(told().ends_with(message), "{}", told());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever happens to a file, it is read or refused.
    #[test]
    fn no_damage_makes_the_reader_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(), packed in any::<bool>(),
    ) {
        let (encoding, rest) = if packed { ("gzip", gzip(&little())) } else { ("raw", little()) };
        let lines = format!("type: short\nendian: little\nline skip: 0\nencoding: {encoding}\n");
        let mut bytes = [head(&lines).as_bytes(), &rest].concat();
        prop_assert!(ct_from_bytes(&bytes).is_ok());
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = ct_from_bytes(&bytes);
        let _ = ct_from_bytes(&bytes[..cut % bytes.len()]);
    }
}
