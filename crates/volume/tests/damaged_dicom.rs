//! Files that are damaged, or written as the standard does not have it: read as they are meant where
//! that is plain, refused in clear words otherwise, and never the end of the program.

mod dicom_slice;

use dasl_volume::dicom::{find_series, read_folder};
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject};
use dicom_slice::{COLUMNS, ROWS, Slice, folder, refusal};
use std::path::Path;

type Object = FileDicomObject<InMemDicomObject>;

/// The good series with each object changed.
fn with_objects(change: impl Fn(&mut Object)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        let mut object = Slice::new(n).object();
        change(&mut object);
        object.write_to_file(folder.path().join(format!("{n}.dcm"))).unwrap();
    }
    folder
}

/// The good series with the bytes of each file changed.
fn with_bytes(change: impl Fn(&[u8]) -> Vec<u8>) -> tempfile::TempDir {
    let folder = folder(|_, _| {});
    for n in 0..5 {
        let path = folder.path().join(format!("{n}.dcm"));
        std::fs::write(&path, change(&std::fs::read(&path).unwrap())).unwrap();
    }
    folder
}

fn put_number(object: &mut Object, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, dicom_value!(U16, value)));
}

fn put_pixels(object: &mut Object, cells: usize) {
    let cells: Vec<u16> = (0..cells as u16).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(cells.into())));
}

/// An enhanced CT that describes some of its frames; its pixels are those of one.
fn enhanced(frames: usize, described: usize) -> Object {
    let mut object = Slice::new(0).object();
    let groups = |n: usize| {
        let position = PrimitiveValue::from(Slice::new(n).position);
        let position = DataElement::new(tags::IMAGE_POSITION_PATIENT, VR::DS, position);
        let plane = DataSetSequence::from(vec![InMemDicomObject::from_element_iter([position])]);
        let plane = DataElement::new(tags::PLANE_POSITION_SEQUENCE, VR::SQ, plane);
        InMemDicomObject::from_element_iter([plane])
    };
    let groups: Vec<InMemDicomObject> = (0..described).map(groups).collect();
    let sequence = tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE;
    object.put(DataElement::new(sequence, VR::SQ, DataSetSequence::from(groups)));
    let frames = PrimitiveValue::from(frames.to_string());
    object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, frames));
    object
}

fn assert_reads_like_the_good_series(changed: &Path, what: &str) {
    let good = read_folder(folder(|_, _| {}).path()).unwrap();
    let scan = read_folder(changed).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(scan.volume, good.volume, "{what}");
}

#[test]
fn deep_sequences_do_not_end_the_program() {
    let nested = |depth: usize| {
        with_bytes(|bytes| {
            let open = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff";
            let close = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0";
            let patient = b"\x10\0\x10\0PN";
            let at = bytes.windows(6).position(|window| window == patient).unwrap();
            [&bytes[..at], &open.repeat(depth), &close.repeat(depth), &bytes[at..]].concat()
        })
    };
    assert_reads_like_the_good_series(nested(64).path(), "64 levels");
    let deep = nested(2000);
    assert_eq!(find_series(deep.path()).unwrap().unreadable.len(), 5);
    assert_eq!(
        refusal(deep.path()),
        "0.dcm: cannot be read as DICOM (more than 64 sequences lie in each other); \
         copy the file again or leave it out"
    );
}

#[test]
fn a_size_beyond_the_file_takes_no_memory() {
    let huge = with_objects(|object| {
        put_number(object, tags::ROWS, u16::MAX);
        put_number(object, tags::COLUMNS, u16::MAX);
    });
    let truncated = "0.dcm: truncated pixel data (24 bytes of 8589672450); copy the file again";
    assert_eq!(refusal(huge.path()), truncated);
    // Copies are compared before the stack is read.
    std::fs::copy(huge.path().join("0.dcm"), huge.path().join("0copy.dcm")).unwrap();
    assert_eq!(refusal(huge.path()), truncated);
    // More than the two bytes of the standard hold.
    let four_bytes = with_objects(|object| {
        object.put(DataElement::new(tags::ROWS, VR::UL, dicom_value!(U32, 70_000)));
    });
    assert!(refusal(four_bytes.path()).contains("Rows/Columns is missing or not a valid value"));
    // 8.6 terabytes.
    let mut object = enhanced(1000, 1000);
    put_number(&mut object, tags::ROWS, u16::MAX);
    put_number(&mut object, tags::COLUMNS, u16::MAX);
    let huge = tempfile::tempdir().unwrap();
    object.write_to_file(huge.path().join("ct.dcm")).unwrap();
    assert_eq!(
        refusal(huge.path()),
        "ct.dcm: truncated pixel data (24 bytes of 8589672450000); copy the file again"
    );
}

#[test]
fn more_pixels_than_rows_and_columns_are_refused() {
    let narrow = with_objects(|object| put_number(object, tags::COLUMNS, COLUMNS as u16 - 1));
    assert_eq!(
        refusal(narrow.path()),
        "0.dcm: 24 bytes of pixel data where Rows, Columns and frames make 18; \
         export this series again"
    );
    let low = with_objects(|object| put_number(object, tags::ROWS, ROWS as u16 - 1));
    assert!(refusal(low.path()).contains("24 bytes of pixel data where"));
    // A column too few is less than a row of a wide image.
    let wide = with_objects(|object| {
        put_number(object, tags::COLUMNS, 7);
        put_pixels(object, ROWS * 8);
    });
    assert!(refusal(wide.path()).contains("48 bytes of pixel data where"));
    let padded = with_objects(|object| put_pixels(object, ROWS * COLUMNS + 1));
    assert!(read_folder(padded.path()).is_ok());
}

#[test]
fn frames_and_their_descriptions_must_be_as_many() {
    let enhanced = |frames: usize| {
        let mut object = enhanced(frames, 6);
        put_pixels(&mut object, 6 * ROWS * COLUMNS);
        let folder = tempfile::tempdir().unwrap();
        object.write_to_file(folder.path().join("ct.dcm")).unwrap();
        folder
    };
    let scan = read_folder(enhanced(6).path()).unwrap();
    assert_eq!(scan.volume.geometry.shape, [6, ROWS, COLUMNS]);
    assert_eq!(
        refusal(enhanced(5).path()),
        "ct.dcm: NumberOfFrames is 5, and 6 frames are described; export this series again"
    );
    assert!(refusal(enhanced(7).path()).contains("PerFrameFunctionalGroupsSequence"));
}

#[test]
fn bytes_behind_the_pixels_are_no_damage() {
    for padding in [&[0; 3][..], &[0; 64], &[0; 4096], &[0xff; 64], b"what a tape leaves"] {
        let padded = with_bytes(|bytes| [bytes, padding].concat());
        assert_reads_like_the_good_series(padded.path(), &format!("{padding:?}"));
    }
    // An element behind the pixels that the standard has: DataSetTrailingPadding.
    let trailing =
        with_bytes(|bytes| [bytes, &b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"[..]].concat());
    assert_reads_like_the_good_series(trailing.path(), "trailing padding");
}

#[test]
fn a_meta_group_need_not_say_its_length() {
    // Preamble and magic code are 132 bytes, the length is 12, the version 14.
    let no_length = with_bytes(|bytes| [&bytes[..132], &bytes[144..]].concat());
    assert_reads_like_the_good_series(no_length.path(), "without length");
    let no_magic = with_bytes(|bytes| bytes[144..].to_vec());
    assert_reads_like_the_good_series(no_magic.path(), "from the version on");
    let no_version = with_bytes(|bytes| {
        assert_eq!(bytes[158..164], *b"\x02\0\x02\0UI");
        bytes[158..].to_vec()
    });
    assert_reads_like_the_good_series(no_version.path(), "from the SOP class on");
}

#[test]
fn padding_of_unsigned_pixels_may_be_written_signed() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        let mut object = Slice { first: 63536, ..Slice::new(n) }.object();
        let padding = dicom_value!(I16, -2000);
        object.put(DataElement::new(tags::PIXEL_PADDING_VALUE, VR::SS, padding));
        object.write_to_file(folder.path().join(format!("{n}.dcm"))).unwrap();
    }
    let voxels = read_folder(folder.path()).unwrap().volume.voxels;
    assert_eq!((voxels[[0, 0, 0]], voxels[[0, 0, 1]]), (dasl_volume::PADDING_HU, i16::MAX));
}
