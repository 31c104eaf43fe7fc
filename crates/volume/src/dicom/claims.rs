//! Lengths that a file claims for its elements, checked against the file's size before the parser
//! sets memory aside for them: a few damaged bytes can claim gigabytes. Also how deep sequences lie
//! in each other, for the parser calls itself for each.

use dicom_core::Tag;
use dicom_core::header::{HasLength, Header, Length};
use dicom_dictionary_std::tags;
use dicom_encoding::decode::{DecodeFrom, file_header_decoder};
use dicom_encoding::{Codec, TransferSyntax, TransferSyntaxIndex};
use dicom_object::FileMetaTable;
use dicom_parser::dataset::DataToken;
use dicom_parser::dataset::read::DataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use std::io::{self, BufRead, Read};

use super::error::io_reason;

/// No deflated stream grows more than this (RFC 1951: 258 bytes from two bits).
const MOST_INFLATED: u64 = 1032;
/// Sequences that may lie in each other; an enhanced CT has four or five.
const DEEPEST: usize = 64;

/// Checks a file of `file_bytes` up to its pixels or to their end; `open` gives it from its magic
/// code on. What the parser will refuse by itself passes.
///
/// The answer is after how many bytes the parser has all it needs: behind the pixels may be what
/// fills up a block of a tape.
pub(super) fn check<R: BufRead>(
    open: impl Fn() -> io::Result<R>,
    file_bytes: u64,
    to_pixels: bool,
) -> Result<u64, String> {
    let opened = || open().map_err(|error| io_reason(&error));
    check_meta(opened()?, file_bytes)?;
    // Read by the parser itself, so that the data set begins where the parser sees it begin.
    let mut stream = opened()?.take(u64::MAX);
    let Ok(meta) = FileMetaTable::from_reader(&mut stream) else { return Ok(u64::MAX) };
    let Some(syntax) = TransferSyntaxRegistry.get(meta.transfer_syntax()) else {
        return Ok(u64::MAX);
    };
    // Deflated Explicit VR, and what only refers to pixels elsewhere.
    if matches!(syntax.codec(), Codec::Dataset(_)) {
        let inflated = flate2::bufread::DeflateDecoder::new(stream);
        check_data_set(inflated, syntax, file_bytes * MOST_INFLATED, to_pixels)?;
        return Ok(u64::MAX); // an inflated stream knows its end
    }
    check_data_set(&mut stream, syntax, file_bytes, to_pixels)?;
    Ok(u64::MAX - stream.limit())
}

fn bounded(length: u32, most: u64) -> Result<(), String> {
    if u64::from(length) <= most {
        return Ok(());
    }
    Err("the file is truncated, or the length of an element in it is damaged".into())
}

/// The file meta group (PS3.10, 7.1): magic code, the group's length, its other elements.
fn check_meta(mut stream: impl Read, file_bytes: u64) -> Result<(), String> {
    let mut start = [0; 16];
    if stream.read_exact(&mut start).is_err() {
        return Ok(());
    }
    let group = u64::from(u32::from_le_bytes([start[12], start[13], start[14], start[15]]));
    let decoder = file_header_decoder();
    let mut read = 0;
    while read < group {
        let Ok((header, header_bytes)) = decoder.decode_header(&mut stream) else { break };
        bounded(header.length().0, file_bytes)?;
        let length = u64::from(header.length().0);
        if io::copy(&mut stream.by_ref().take(length), &mut io::sink()).is_err() {
            break;
        }
        read += header_bytes as u64 + length;
    }
    Ok(())
}

/// Goes through the data set with the parser that will read it, which tells a length before it
/// takes memory for the value.
fn check_data_set(
    stream: impl Read,
    syntax: &TransferSyntax,
    most: u64,
    to_pixels: bool,
) -> Result<(), String> {
    let Ok(tokens) = DataSetReader::new_with_ts(stream, syntax) else { return Ok(()) };
    // Which element of the file itself is read (not which of an icon in a sequence).
    let (mut tag, mut depth) = (Tag(0, 0), 0_usize);
    // What the parser itself complains of is its to say, when it reads.
    for token in tokens.map_while(Result::ok) {
        if depth == 0 {
            tag = match &token {
                DataToken::ElementHeader(header) => header.tag(),
                DataToken::SequenceStart { tag, .. } => *tag,
                DataToken::PixelSequenceStart => tags::PIXEL_DATA,
                _ => tag,
            };
            if ends(tag, to_pixels) {
                break;
            }
        }
        let or_undefined = |length: Length| length.get().unwrap_or(0);
        match &token {
            DataToken::ElementHeader(header) => bounded(or_undefined(header.length()), most)?,
            DataToken::ItemStart { len } => bounded(or_undefined(*len), most)?,
            DataToken::SequenceStart { .. } | DataToken::PixelSequenceStart => depth += 1,
            DataToken::SequenceEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("more than {DEEPEST} sequences lie in each other"));
        }
        let is_end = matches!(token, DataToken::PrimitiveValue(_) | DataToken::SequenceEnd);
        if is_end && depth == 0 && tag == tags::PIXEL_DATA {
            break;
        }
    }
    Ok(())
}

/// Whether the reading ends before an element: at the pixels, or behind them.
fn ends(tag: Tag, to_pixels: bool) -> bool {
    if to_pixels { tag >= tags::PIXEL_DATA } else { tag > tags::PIXEL_DATA }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of explicit little endian elements after a meta group.
    fn file(elements: &[&[u8]]) -> Vec<u8> {
        let uid = b"1.2.840.10008.1.2.1\0";
        let meta = [&b"\x02\0\x10\0UI\x14\0"[..], uid].concat();
        let length = (meta.len() as u32).to_le_bytes();
        [&b"DICM\x02\0\0\0UL\x04\0"[..], &length, &meta, &elements.concat()].concat()
    }

    fn checked(bytes: &[u8], to_pixels: bool) -> bool {
        check(|| Ok(bytes), bytes.len() as u64, to_pixels).is_ok()
    }

    #[test]
    fn an_element_that_claims_more_than_the_file_holds_is_refused() {
        let rows = b"\x28\0\x10\0US\x02\0\x20\0";
        let unknown = b"\x28\0\x11\0UN\0\0\xff\xff\xff\x77ab";
        let in_sequence =
            [b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff", &unknown[..]];
        assert!(checked(&file(&[rows, rows]), false));
        assert!(!checked(&file(&[rows, unknown]), false));
        assert!(!checked(&file(&in_sequence.map(|bytes| bytes)), true));
    }

    #[test]
    fn pixels_are_only_looked_at_if_they_are_read() {
        let pixels = b"\xe0\x7f\x10\0OW\0\0\xff\xff\xff\x77ab";
        let icon =
            [b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff", &pixels[..]];
        assert!(!checked(&file(&icon), true));
        assert!(checked(&file(&[pixels]), true));
        assert!(!checked(&file(&[pixels]), false));
    }

    #[test]
    fn so_is_the_meta_group() {
        // A group that ends within an element: the data set begins behind that.
        let unknown = b"\x28\0\x11\0UN\0\0\xff\xff\xff\x77ab";
        let mut short = file(&[unknown]);
        short[12] -= 4;
        assert!(!checked(&short, true));
        let mut damaged = file(&[]);
        damaged[20..22].copy_from_slice(b"UN");
        damaged[24..28].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert!(!checked(&damaged, true));
    }

    #[test]
    fn sequences_may_lie_in_each_other_to_a_depth() {
        let sequence = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff";
        assert!(checked(&file(&[&sequence[..]; DEEPEST]), true));
        assert!(!checked(&file(&[&sequence[..]; DEEPEST + 1]), true));
    }

    #[test]
    fn what_lies_behind_the_pixels_is_not_looked_at() {
        let native = b"\xe0\x7f\x10\0OW\0\0\x04\0\0\0abcd";
        // An empty offset table, a fragment, the end.
        let encapsulated = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\
            \xfe\xff\0\xe0\x02\0\0\0ab\xfe\xff\xdd\xe0\0\0\0\0";
        let icon = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\
            \xe0\x7f\x10\0OW\0\0\x02\0\0\0ab\
            \xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0";
        for pixels in [&native[..], encapsulated] {
            let whole = file(&[icon, pixels]);
            for padding in [&[0; 512][..], &[0; 3], &[0xff; 64]] {
                let padded = [&whole, padding].concat();
                let end = check(|| Ok(&padded[..]), padded.len() as u64, false);
                assert_eq!(end, Ok(whole.len() as u64));
            }
        }
    }
}
