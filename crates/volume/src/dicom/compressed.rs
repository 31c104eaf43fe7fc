//! Pixels that are stored compressed (encapsulated, PS3.5, A.4).
//!
//! RLE and JPEG-LS are decoded here; JPEG, and JPEG 2000 with the feature `jpeg2000`, by
//! dicom-pixeldata, once the stream's own head agrees with the file's.

mod jpeg_ls;
mod rle;
mod stream_head;

use super::error::DicomError;
use super::slice::SliceHeader;
use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use std::panic::{AssertUnwindSafe, catch_unwind};
use stream_head::StreamHead;

/// The stored cells [rows * columns] of a slice.
pub(super) fn decode(
    object: &DefaultDicomObject,
    sequence: &PixelFragmentSequence<Vec<u8>>,
    slice: &SliceHeader,
) -> Result<Vec<u16>, DicomError> {
    let syntax = object.meta().transfer_syntax();
    cells(object, syntax, sequence, slice).map_err(|reason| {
        let name = TransferSyntaxRegistry.get(syntax).map_or(syntax, |known| known.name());
        DicomError::Unsupported {
            file: slice.file.clone(),
            what: format!("pixels compressed as {name} cannot be decoded ({reason})"),
            todo: todo(syntax),
        }
    })
}

fn todo(syntax: &str) -> &'static str {
    if StreamHead::is_jpeg_2000(syntax) && !cfg!(feature = "jpeg2000") {
        "build with the feature jpeg2000, or decompress the series first, e.g. with gdcmconv --raw"
    } else {
        "decompress the series first, e.g. with gdcmconv --raw"
    }
}

fn cells(
    object: &DefaultDicomObject,
    syntax: &str,
    sequence: &PixelFragmentSequence<Vec<u8>>,
    slice: &SliceHeader,
) -> Result<Vec<u16>, String> {
    let stream = frame(sequence, slice.frame, slice.frames)?;
    let (rows, columns) = (slice.rows, slice.columns);
    let bytes_per_pixel = slice.scale.layout.bits_allocated as usize / 8;
    let (is_encapsulated, has_decoder) = match TransferSyntaxRegistry.get(syntax) {
        Some(known) => (known.is_encapsulated_pixel_data(), known.can_decode_all()),
        None => (false, false),
    };
    let cells = match syntax {
        uids::RLE_LOSSLESS => rle::decode(&stream, rows * columns, bytes_per_pixel),
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => {
            jpeg_ls::decode(&stream, rows, columns)
        }
        _ if !is_encapsulated => Err("the file does not say by what codec".into()),
        _ if !has_decoder => Err("there is no decoder for it in this program".into()),
        _ => {
            if let Some(head) = StreamHead::of(syntax, &stream)? {
                head.check(rows, columns, slice.scale.layout.bits_allocated)?;
            }
            by_library(object, stream, bytes_per_pixel)
        }
    }?;
    if cells.len() == rows * columns {
        Ok(cells)
    } else {
        Err(format!("{} pixels of {}", cells.len(), rows * columns))
    }
}

/// The bytes of one frame, put together from its fragments.
fn frame(
    sequence: &PixelFragmentSequence<Vec<u8>>,
    frame: usize,
    frames: usize,
) -> Result<Vec<u8>, String> {
    let (fragments, offsets) = (sequence.fragments(), sequence.offset_table());
    if frames == 1 {
        return Ok(fragments.concat());
    }
    if fragments.len() == frames {
        return Ok(fragments[frame].clone());
    }
    if offsets.len() != frames {
        return Err(format!(
            "{} fragments for {frames} frames, without an offset table",
            fragments.len()
        ));
    }
    // Offsets count from the first fragment's item tag; tag and length take 8 bytes (PS3.5, A.4).
    let end = offsets.get(frame + 1).map_or(usize::MAX, |offset| *offset as usize);
    let mut at = 0;
    let mut stream = Vec::new();
    for fragment in fragments {
        if (offsets[frame] as usize..end).contains(&at) {
            stream.extend_from_slice(fragment);
        }
        at += 8 + fragment.len();
    }
    Ok(stream)
}

/// Decodes one frame with dicom-pixeldata. It is handed that frame alone with the attributes it
/// needs, so that oddities of other attributes (display windows) do not stop it.
fn by_library(
    object: &DefaultDicomObject,
    stream: Vec<u8>,
    bytes_per_pixel: usize,
) -> Result<Vec<u16>, String> {
    let needed = [
        tags::SOP_CLASS_UID,
        tags::SOP_INSTANCE_UID,
        tags::SAMPLES_PER_PIXEL,
        tags::PHOTOMETRIC_INTERPRETATION,
        tags::ROWS,
        tags::COLUMNS,
        tags::BITS_ALLOCATED,
        tags::BITS_STORED,
        tags::HIGH_BIT,
        tags::PIXEL_REPRESENTATION,
    ];
    let mut alone =
        InMemDicomObject::from_element_iter(needed.iter().filter_map(|t| object.get(*t)).cloned());
    let pixels = Value::PixelSequence(PixelFragmentSequence::new(Vec::new(), vec![stream]));
    alone.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
    let alone = alone.with_exact_meta(object.meta().clone());
    // The decoders are not ours, and a damaged stream must not end the program.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        alone.decode_pixel_data().map(|data| data.data().to_vec()).map_err(|e| deepest(&e))
    }));
    let bytes = decoded.map_err(|_| "the stream is damaged".to_string())??;
    Ok(if bytes_per_pixel == 1 {
        bytes.into_iter().map(u16::from).collect()
    } else {
        bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
    })
}

/// An error's innermost cause, on one line.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    let text = error.to_string().replace('\n', " ");
    if text.contains("failed to fill whole buffer") { "the stream ends early".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(offsets: &[u32], lengths: &[usize]) -> PixelFragmentSequence<Vec<u8>> {
        let fragments: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(i, length)| vec![i as u8; *length]).collect();
        PixelFragmentSequence::new(offsets.to_vec(), fragments)
    }

    #[test]
    fn frames_are_put_together_from_their_fragments() {
        assert_eq!(frame(&fragments(&[], &[2, 4]), 0, 1).unwrap(), [0, 0, 1, 1, 1, 1]);
        assert_eq!(frame(&fragments(&[], &[2, 4]), 1, 2).unwrap(), [1; 4]);
        let three = fragments(&[0, 22], &[2, 4, 2]); // 8 + 2 + 8 + 4 bytes before the third
        assert_eq!(frame(&three, 0, 2).unwrap(), [0, 0, 1, 1, 1, 1]);
        assert_eq!(frame(&three, 1, 2).unwrap(), [2, 2]);
        assert!(frame(&fragments(&[], &[2, 4, 2]), 0, 2).is_err());
    }
}
