//! Lengths that a file claims for its elements, checked against the file's size before the parser
//! sets memory aside for them: a few damaged bytes can claim gigabytes.

use dicom_core::header::{HasLength, Header};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::decode::{DecodeFrom, file_header_decoder};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::FileMetaTable;
use dicom_parser::DynStatefulDecoder;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use std::io::{BufRead, Read};

/// No deflated stream grows more than this (RFC 1951: 258 bytes from two bits).
const MOST_INFLATED: u64 = 1032;

/// Magic code and group length element (PS3.10, 7.1).
const META_HEAD: usize = 16;

/// Checks a file of `file_bytes` from its magic code on, up to its pixels or to its end. What the
/// parser will refuse by itself passes.
pub(super) fn check(
    mut stream: impl BufRead,
    file_bytes: u64,
    to_pixels: bool,
) -> Result<(), String> {
    let mut meta = vec![0; META_HEAD];
    if stream.read_exact(&mut meta).is_err() {
        return Ok(());
    }
    let length = u32::from_le_bytes([meta[12], meta[13], meta[14], meta[15]]);
    bounded(length, file_bytes)?;
    if stream.by_ref().take(u64::from(length)).read_to_end(&mut meta).is_err() {
        return Ok(());
    }
    check_meta(&meta[META_HEAD..], file_bytes)?;
    let Ok(table) = FileMetaTable::from_reader(&meta[..]) else { return Ok(()) };
    let Some(syntax) = TransferSyntaxRegistry.get(table.transfer_syntax()) else { return Ok(()) };
    if syntax.uid() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let inflated = flate2::bufread::DeflateDecoder::new(stream);
        return check_data_set(inflated, syntax, file_bytes * MOST_INFLATED, to_pixels);
    }
    check_data_set(stream, syntax, file_bytes, to_pixels)
}

fn bounded(length: u32, most: u64) -> Result<(), String> {
    if u64::from(length) <= most {
        return Ok(());
    }
    Err("the file is truncated, or the length of an element in it is damaged".into())
}

/// The elements of the file meta group after its length.
fn check_meta(mut group: &[u8], file_bytes: u64) -> Result<(), String> {
    let decoder = file_header_decoder();
    while let Ok((header, _)) = decoder.decode_header(&mut group) {
        let length = header.length().0;
        bounded(length, file_bytes)?;
        group = group.get(length as usize..).unwrap_or_default();
    }
    Ok(())
}

fn check_data_set(
    stream: impl Read,
    syntax: &TransferSyntax,
    most: u64,
    to_pixels: bool,
) -> Result<(), String> {
    let characters = SpecificCharacterSet::default();
    let Ok(decoder) = DynStatefulDecoder::new_with(stream, syntax, characters, 0) else {
        return Ok(());
    };
    let mut reader = LazyDataSetReader::new(decoder);
    // Whatever else is wrong is the parser's to say.
    while let Some(Ok(token)) = reader.advance() {
        let (tag, length) = match &token {
            LazyDataToken::LazyValue { header, .. } => (Some(header.tag()), header.length().0),
            LazyDataToken::LazyItemValue { len, .. } => (None, *len),
            LazyDataToken::PixelSequenceStart if to_pixels => return Ok(()),
            _ => continue,
        };
        if to_pixels && tag == Some(tags::PIXEL_DATA) {
            return Ok(());
        }
        bounded(length, most)?;
        if token.skip().is_err() {
            return Ok(());
        }
    }
    Ok(())
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
        check(bytes, bytes.len() as u64, to_pixels).is_ok()
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
        assert!(checked(&file(&[pixels]), true));
        assert!(!checked(&file(&[pixels]), false));
    }

    #[test]
    fn so_is_the_meta_group() {
        let mut damaged = file(&[]);
        damaged[12..16].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert!(!checked(&damaged, true));
        let mut damaged = file(&[]);
        damaged[20..22].copy_from_slice(b"UN");
        damaged[24..28].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert!(!checked(&damaged, true));
    }
}
