//! `MetaImage` files: what is written reads back exactly, and damage is named.

use dasl_volume::metaimage::{
    Compression, ct_from_bytes, read_ct, read_labels, write_ct, write_labels,
};
use dasl_volume::{CtVolume, Geometry, LabelVolume, PointMm};
use ndarray::Array3;
use proptest::prelude::*;
use std::path::Path;

/// Columns of a rotation about z, then x.
fn axes(a: f64, b: f64, flip: bool) -> [[f64; 3]; 3] {
    let ((sa, ca), (sb, cb)) = (a.sin_cos(), b.sin_cos());
    let x = [ca, sa * cb, sa * sb].map(|v| if flip { -v } else { v });
    [[0.0, -sb, cb], [-sa, ca * cb, ca * sb], x]
}

fn geometry(shape: [usize; 3]) -> Geometry {
    Geometry {
        shape,
        spacing_mm: [2.5, 0.7, 0.8],
        origin_mm: PointMm::new(-120.25, 33.5, -340.125),
        axes: axes(0.2, -0.1, true),
    }
}

fn ct() -> CtVolume {
    let voxels =
        Array3::from_shape_fn([3, 5, 7], |(z, y, x)| (1000 * z + 100 * y + x) as i16 - 1024);
    CtVolume::new(voxels, geometry([3, 5, 7]))
}

/// A header by hand, with `lines` in it.
fn head(lines: &str) -> String {
    format!(
        "ObjectType = Image\nNDims = 3\nDimSize = 3 2 1\nElementSpacing = 1 1 2\n{lines}\n\
         ElementDataFile = LOCAL\n"
    )
}

/// Writes that header, and voxels behind it.
fn by_hand(path: &Path, lines: &str, voxels: &[u8]) {
    std::fs::write(path, [head(lines).as_bytes(), voxels].concat()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_ct_reads_back_exactly(
        values in proptest::collection::vec(any::<i16>(), 24),
        spacing in [0.1..5.0_f64, 0.1..5.0, 0.1..5.0],
        origin in [-1e3..1e3_f64, -1e3..1e3, -1e3..1e3],
        angles in [-3.1..3.1_f64, -3.1..3.1], flip in any::<bool>(),
        name in prop::sample::select(vec!["a.mhd", "a.mha", "a b.1.mhd"]), zlib in any::<bool>(),
    ) {
        let geometry = Geometry {
            shape: [2, 3, 4],
            spacing_mm: spacing,
            origin_mm: PointMm::new(origin[0], origin[1], origin[2]),
            axes: axes(angles[0], angles[1], flip),
        };
        let ct = CtVolume::new(Array3::from_shape_vec([2, 3, 4], values).unwrap(), geometry);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let compression = if zlib { Compression::Zlib } else { Compression::None };
        write_ct(&path, &ct, compression).unwrap();
        let back = read_ct(&path).unwrap();
        prop_assert_eq!(back.voxels, ct.voxels);
        prop_assert_eq!(back.geometry.origin_mm, geometry.origin_mm);
        prop_assert!(back.geometry.same_grid(&geometry, 1e-9));
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        prop_assert_eq!(files, if name.ends_with("mhd") { 2 } else { 1 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever happens to a file, it is read or refused.
    #[test]
    fn no_damage_makes_the_reader_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(), zlib in any::<bool>(),
    ) {
        let lines = if zlib { "ElementType = MET_SHORT\nCompressedData = True" }
            else { "ElementType = MET_SHORT\nHeaderSize = -1" };
        // Twelve zeros by zlib.
        let packed = [120, 156, 99, 96, 64, 0, 0, 0, 12, 0, 1];
        let mut bytes = head(lines).into_bytes();
        bytes.extend_from_slice(if zlib { packed.as_slice() } else { &[0; 12] });
        prop_assert!(ct_from_bytes(&bytes).is_ok());
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = ct_from_bytes(&bytes);
        let _ = ct_from_bytes(&bytes[..cut % bytes.len()]);
    }
}

#[test]
fn labels_read_back_up_to_the_largest() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = LabelVolume::new(Array3::zeros([3, 5, 7]), geometry([3, 5, 7]));
    labels.voxels[[2, 4, 6]] = u16::MAX;
    labels.voxels[[0, 0, 1]] = 1;
    for name in ["a.mhd", "a.mha"] {
        let path = folder.path().join(name);
        write_labels(&path, &labels, Compression::Zlib).unwrap();
        assert_eq!(read_labels(&path).unwrap().voxels, labels.voxels);
    }
}

#[test]
fn the_same_volume_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        write_ct(&path, &ct(), Compression::Zlib).unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(write("a.mha"), write("b.mha"));
}

#[test]
fn a_header_never_lies_beside_voxels_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mhd");
    write_ct(&path, &ct(), Compression::None).unwrap();
    // A folder of that name lets the new voxels fail to be published.
    std::fs::create_dir(folder.path().join("a.zraw")).unwrap();
    std::fs::write(folder.path().join("a.zraw/in the way"), "").unwrap();
    assert!(write_ct(&path, &ct(), Compression::Zlib).is_err());
    assert!(!path.exists());
}

#[test]
fn the_order_of_bytes_and_skipped_bytes_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mha");
    let values = [-1000_i16, -1, 0, 1, 300, 3000];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    for name in ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"] {
        by_hand(&path, &format!("ElementType = MET_SHORT\n{name} = True"), &bytes);
        let back = read_ct(&path).unwrap();
        assert_eq!(back.voxels.iter().copied().collect::<Vec<_>>(), values);
    }
    let padded = [&[7; 5], bytes.as_slice()].concat();
    let lines = "ElementType = MET_SHORT\nElementByteOrderMSB = True\nHeaderSize = -1";
    by_hand(&path, lines, &padded);
    assert_eq!(read_ct(&path).unwrap().voxels[[0, 1, 2]], 3000);
    // With voxels in their own file.
    let header = folder.path().join("b.mhd");
    let text = format!(
        "NDims = 3\nDimSize = 3 2 1\nElementSpacing = 1 1 2\n{}\nElementDataFile = in/b.raw",
        lines.replace("-1", "5")
    );
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(&header, text).unwrap();
    std::fs::write(folder.path().join("in/b.raw"), &padded).unwrap();
    assert_eq!(read_ct(&header).unwrap().voxels[[0, 1, 2]], 3000);
    std::fs::remove_file(folder.path().join("in/b.raw")).unwrap();
    let error = read_ct(&header).unwrap_err().to_string();
    assert!(error.ends_with(
        "in/b.raw: does not exist; check the path, and that header and voxels are together"
    ));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mha");
    let told = || {
        let error = read_ct(&path).unwrap_err().to_string();
        error.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&error).to_string()
    };
    by_hand(&path, "ElementType = MET_SHORT", &[0; 11]);
    assert_eq!(told(), "11 bytes of 12 that the header promises; copy the file again");
    by_hand(&path, "ElementType = MET_SHORT\nHeaderSize = -1", &[0; 11]);
    assert_eq!(told(), "11 bytes of 12 that the header promises; copy the file again");
    let floats = |values: [f32; 6]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    by_hand(&path, "ElementType = MET_FLOAT", &floats([0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]));
    assert_eq!(
        told(),
        "the voxel at [0, 1, 1] [z, y, x] is NaN; a CT holds Hounsfield units from -32768 to 32767"
    );
    by_hand(&path, "ElementType = MET_FLOAT", &floats([0.0, 0.0, 32768.0, 0.0, 0.0, 0.0]));
    assert_eq!(
        told(),
        "the voxel at [0, 0, 2] [z, y, x] is 32768; a CT holds Hounsfield units from -32768 to 32767"
    );
    by_hand(&path, "ElementType = MET_FLOAT", &floats([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]));
    let error = read_labels(&path).unwrap_err().to_string();
    assert!(error.ends_with("is 0.5; labels are whole numbers from 0 to 65535"), "{error}");

    write_ct(&path, &ct(), Compression::Zlib).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    assert!(told().ends_with("that the header promises; copy the file again"), "{}", told());
    // The last bytes are the checksum.
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert!(told().starts_with("the compressed voxels are damaged ("), "{}", told());
}

#[test]
fn a_header_that_promises_too_much_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mha");
    for (lines, message) in [
        ("", "12 bytes of 2000000000000 that the header promises; copy the file again"),
        (
            "\nCompressedData = True",
            "12 compressed bytes cannot hold the 2000000000000 that the header promises; copy the file again",
        ),
    ] {
        let text = format!(
            "NDims = 3\nDimSize = 10000 10000 10000\nElementSpacing = 1 1 1\nElementType = MET_SHORT{lines}\nElementDataFile = LOCAL\n"
        );
        std::fs::write(&path, [text.as_bytes(), &[0; 12]].concat()).unwrap();
        let error = read_ct(&path).unwrap_err().to_string();
        assert!(error.ends_with(message), "{error}");
    }
    // Never an end to the header, nor a file that is none.
    std::fs::write(&path, vec![b' '; 3 << 20]).unwrap();
    assert!(
        read_ct(&path)
            .unwrap_err()
            .to_string()
            .ends_with("this is no MetaImage header; check what the file is")
    );
    let error = read_ct(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("cannot be read (this is no file); check the file"), "{error}");
}

#[test]
fn a_name_that_a_header_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.nii", "50%.mhd", "a\nb.mha", "mhd"] {
        let error = write_ct(&folder.path().join(name), &ct(), Compression::None).unwrap_err();
        assert!(error.to_string().contains("the name must end in .mhd or .mha"), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
