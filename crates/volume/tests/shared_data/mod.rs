//! The real data beside the repository, if they are there.

#![allow(dead_code)] // each test file uses its part

use flate2::read::DeflateDecoder;
use ndarray::Array3;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the data, or a message and nothing.
pub fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.is_dir() {
        eprintln!("skipped: no folder shared/data/{name} beside the repository");
        return None;
    }
    Some(path)
}

/// Unpacks an archive into a new temporary folder.
pub fn unpack(archive: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let status =
        Command::new("tar").arg("xJf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success(), "tar could not unpack {}", archive.display());
    folder
}

/// A scan's DICOM, unpacked.
pub fn scan(folder_name: &str, patient: &str) -> Option<tempfile::TempDir> {
    Some(unpack(&folder(folder_name)?.join(format!("{patient}.dicom.tar.xz"))))
}

/// One LIDC nodule: its consensus mask [z, y, x] and spacing [z, y, x] in mm.
pub struct Voi {
    pub name: String,
    pub mask: Array3<u8>,
    pub spacing_mm: [f64; 3],
}

/// All nodules of lidc-voi-cubes with a consensus mask, sorted by name.
pub fn vois() -> Option<Vec<Voi>> {
    let folder = folder("lidc-voi-cubes")?;
    let index = std::fs::read_to_string(folder.join("index.csv")).unwrap();
    let mut lines = index.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| columns.iter().position(|c| *c == name).unwrap();
    let (matched, pixel, slice) =
        (column("matched"), column("pixel_spacing"), column("slice_spacing"));
    let rows: BTreeMap<&str, Vec<&str>> =
        lines.map(|line| line.split(',').collect::<Vec<_>>()).map(|row| (row[0], row)).collect();
    let masks = read_npz(&folder.join("consensus50_masks.npz"));
    let vois = masks.into_iter().filter(|(name, _)| rows[name.as_str()][matched] == "1");
    let voi = |(name, mask): (String, Array3<u8>)| {
        let row = &rows[name.as_str()];
        let (pixel, slice) = (row[pixel].parse().unwrap(), row[slice].parse().unwrap());
        Voi { spacing_mm: [slice, pixel, pixel], mask, name }
    };
    Some(vois.map(voi).collect())
}

/// The u8 arrays of an npz, turned from [x, y, z] to [z, y, x].
fn read_npz(path: &Path) -> BTreeMap<String, Array3<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0_usize, |n, b| (n << 8) | usize::from(*b))
    };
    // The zip's central directory, found from its end record.
    let end = (0..bytes.len() - 3).rev().find(|i| &bytes[*i..*i + 4] == b"PK\x05\x06").unwrap();
    let (entries, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let mut arrays = BTreeMap::new();
    for _ in 0..entries {
        assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
        let (method, size) = (number(at + 10, 2), number(at + 20, 4));
        let (name_length, extra, comment) =
            (number(at + 28, 2), number(at + 30, 2), number(at + 32, 2));
        let local = number(at + 42, 4);
        let name = String::from_utf8(bytes[at + 46..at + 46 + name_length].to_vec()).unwrap();
        at += 46 + name_length + extra + comment;
        let start = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        let packed = &bytes[start..start + size];
        let mut npy = Vec::new();
        match method {
            0 => npy.extend_from_slice(packed),
            _ => drop(DeflateDecoder::new(packed).read_to_end(&mut npy).unwrap()),
        }
        arrays.insert(name.trim_end_matches(".npy").to_string(), read_npy(&npy));
    }
    arrays
}

fn read_npy(npy: &[u8]) -> Array3<u8> {
    assert_eq!(&npy[..6], b"\x93NUMPY");
    let length = usize::from(npy[8]) + 256 * usize::from(npy[9]);
    let header = std::str::from_utf8(&npy[10..10 + length]).unwrap();
    assert!(header.contains("|u1"), "{header}");
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let shape: Vec<usize> = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let values = npy[10 + length..].to_vec();
    let [x, y, z] = shape[..] else { panic!("{shape:?}") };
    let xyz = if header.contains("'fortran_order': True") {
        Array3::from_shape_vec((z, y, x), values).unwrap().reversed_axes()
    } else {
        Array3::from_shape_vec((x, y, z), values).unwrap()
    };
    xyz.reversed_axes().as_standard_layout().into_owned()
}
