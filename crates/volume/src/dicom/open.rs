//! Opening files as archives write them: with or without preamble, magic code and file meta group.

use super::claims;
use super::error::io_reason;
use dicom_core::header::HasLength;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::decode::{DecodeFrom, file_header_decoder};
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, OpenFileOptions, ReadError};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
/// Bytes in which the beginning is looked for: preamble, magic code, file meta group.
const START: usize = 4096;

/// A file's header, everything before the pixels; `None` if the file does not begin as DICOM.
pub(super) fn open_header(path: &Path) -> Result<Option<DefaultDicomObject>, String> {
    open(path, OpenFileOptions::new().read_until(tags::PIXEL_DATA), true)
}

/// A file with its pixels.
pub(super) fn open_whole(path: &Path) -> Result<DefaultDicomObject, String> {
    open(path, OpenFileOptions::new().read_to(tags::PIXEL_DATA), false)?
        .ok_or_else(|| NOT_DICOM.into())
}

/// Said of a file whose beginning is not one of [`Beginning`].
pub(super) const NOT_DICOM: &str = "it does not begin like a DICOM file";

fn open(
    path: &Path,
    options: OpenFileOptions,
    to_pixels: bool,
) -> Result<Option<DefaultDicomObject>, String> {
    let mut file = File::open(path).map_err(|error| io_reason(&error))?;
    let mut start = Vec::with_capacity(START);
    file.by_ref().take(START as u64).read_to_end(&mut start).map_err(|error| io_reason(&error))?;
    if start.is_empty() {
        return Err("the file is empty".into());
    }
    let Some(Beginning { lead, skip }) = Beginning::of(&start) else {
        return Ok(None);
    };
    let bytes = file.metadata().map_err(|error| io_reason(&error))?.len();
    let opened = || {
        (&file).seek(SeekFrom::Start(skip))?;
        Ok(Cursor::new(&lead).chain(BufReader::new(&file)))
    };
    let end = claims::check(opened, bytes, to_pixels)?;
    file.seek(SeekFrom::Start(skip)).map_err(|error| io_reason(&error))?;
    options
        .read_preamble(ReadPreamble::Never)
        .from_reader(Cursor::new(lead).chain(file).take(end))
        .map(Some)
        .map_err(|error| parse_reason(&error))
}

/// Where the parser starts, and what the file lacks before that: the parser wants the magic code
/// and a file meta group.
#[derive(Debug, PartialEq)]
struct Beginning {
    lead: Vec<u8>,
    skip: u64,
}

impl Beginning {
    fn of(start: &[u8]) -> Option<Self> {
        let has_magic = |at: usize| start.get(at..).is_some_and(|rest| rest.starts_with(MAGIC));
        let magic = [PREAMBLE, 0].into_iter().find(|at| has_magic(*at));
        let skip = magic.map_or(0, |at| at + MAGIC.len());
        // What is wrong behind a magic code is the parser's to say.
        let lead = lead(&start[skip..]).or(magic.map(|_| MAGIC.to_vec()))?;
        Some(Self { lead, skip: skip as u64 })
    }
}

/// The magic code, and what is missing behind it before `data`; `None` if that is not DICOM.
fn lead(data: &[u8]) -> Option<Vec<u8>> {
    if data.starts_with(&[2, 0, 0, 0, b'U', b'L']) {
        return Some(MAGIC.to_vec());
    }
    let bare = || data_set_syntax(data).map(made_up_meta);
    length_of_meta(data).map(meta_head).or_else(bare)
}

/// The length of a file meta group that does not begin with it; `None` for other data.
fn length_of_meta(data: &[u8]) -> Option<u32> {
    // Its elements that come first: the version, or the SOP class.
    if !matches!(data, [2, 0, 1, 0, b'O', b'B', ..] | [2, 0, 2, 0, b'U', b'I', ..]) {
        return None;
    }
    let mut rest = data;
    while rest.starts_with(&[2, 0]) {
        let (header, _) = file_header_decoder().decode_header(&mut rest).ok()?;
        rest = rest.get(header.length().get()? as usize..)?;
    }
    Some((data.len() - rest.len()) as u32)
}

/// The magic code and the first element of a file meta group, which says how long the rest is.
fn meta_head(length: u32) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend([2, 0, 0, 0, b'U', b'L', 4, 0]);
    out.extend(length.to_le_bytes());
    out
}

/// The transfer syntax of a bare data set, from its first element: group 0008 in one byte order
/// or the other, then a value representation or a length.
fn data_set_syntax(data: &[u8]) -> Option<&'static str> {
    let head: [u8; 8] = data.get(..8)?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = head;
    // The elements that come first: (0008,0000) to (0008,0018), the SOPInstanceUID.
    let little = [a, b, d] == [8, 0, 0] && c <= 0x18;
    let big = [a, b, c] == [0, 8, 0] && d <= 0x18;
    let has_vr = e.is_ascii_uppercase() && f.is_ascii_uppercase();
    match (little, big) {
        (true, _) if has_vr => Some(uids::EXPLICIT_VR_LITTLE_ENDIAN),
        (true, _) if u32::from_le_bytes([e, f, g, h]) < 1024 => {
            Some(uids::IMPLICIT_VR_LITTLE_ENDIAN)
        }
        (_, true) if has_vr => Some(EXPLICIT_VR_BIG_ENDIAN),
        _ => None,
    }
}

/// Retired, and still in archives.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The magic code and a file meta group that says the transfer syntax alone.
fn made_up_meta(syntax: &str) -> Vec<u8> {
    let mut uid = syntax.as_bytes().to_vec();
    if uid.len() % 2 == 1 {
        uid.push(0);
    }
    let mut out = meta_head(8 + uid.len() as u32);
    out.extend([2, 0, 0x10, 0, b'U', b'I']);
    out.extend((uid.len() as u16).to_le_bytes());
    out.extend(uid);
    out
}

/// The parser's complaint without its layers and backtraces.
fn parse_reason(error: &ReadError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    let text = deepest.to_string();
    if text.contains("failed to fill whole buffer")
        || matches!(error, ReadError::PrematureEnd { .. })
    {
        "the file is truncated".into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_tells_the_transfer_syntax() {
        let explicit = [8, 0, 5, 0, b'C', b'S', 10, 0];
        assert_eq!(data_set_syntax(&explicit), Some(uids::EXPLICIT_VR_LITTLE_ENDIAN));
        let implicit = [8, 0, 5, 0, 10, 0, 0, 0];
        assert_eq!(data_set_syntax(&implicit), Some(uids::IMPLICIT_VR_LITTLE_ENDIAN));
        let big = [0, 8, 0, 5, b'C', b'S', 0, 10];
        assert_eq!(data_set_syntax(&big), Some(EXPLICIT_VR_BIG_ENDIAN));
        assert_eq!(data_set_syntax(b"PK\x03\x04text"), None);
        assert_eq!(data_set_syntax(&[8, 0, 5]), None);
    }

    #[test]
    fn what_is_missing_before_the_data_set_is_made_up() {
        let bare = [8, 0, 5, 0, b'C', b'S', 10, 0];
        let preamble = [&[0; PREAMBLE][..], MAGIC].concat();
        let standard = [&preamble[..], &[2, 0, 0, 0, b'U', b'L', 4, 0]].concat();
        let no_meta = [&preamble[..], &bare].concat();
        let meta = made_up_meta(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let begins = |start: &[u8]| Beginning::of(start).map(|b| (b.lead, b.skip));
        assert_eq!(begins(&standard), Some((MAGIC.to_vec(), 132)));
        assert_eq!(begins(&no_meta), Some((meta.clone(), 132)));
        assert_eq!(begins(&standard[PREAMBLE..]), Some((MAGIC.to_vec(), 4)));
        assert_eq!(begins(&standard[PREAMBLE + 4..]), Some((MAGIC.to_vec(), 0)));
        assert_eq!(begins(&bare), Some((meta, 0)));
        assert_eq!(begins(b"a text file"), None);
    }

    #[test]
    fn a_meta_group_that_does_not_say_its_length_is_measured() {
        let version = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01";
        let class = b"\x02\0\x02\0UI\x04\0" as &[u8];
        let group = [&version[..], class, b"1.2\0"].concat();
        let whole = [&group[..], &[8, 0, 5, 0, b'C', b'S', 10, 0]].concat();
        let begins = |start: &[u8]| Beginning::of(start).map(|b| (b.lead, b.skip));
        assert_eq!(begins(&whole), Some((meta_head(26), 0)));
        assert_eq!(begins(&whole[version.len()..]), Some((meta_head(12), 0)));
        assert_eq!(begins(&[MAGIC, &whole[..]].concat()), Some((meta_head(26), 4)));
        assert_eq!(begins(&group[..group.len() - 1]), None);
    }
}
