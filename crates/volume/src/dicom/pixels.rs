//! The pixels of a file's slices.

use super::compressed;
use super::error::DicomError;
use super::open::open_whole;
use super::slice::SliceHeader;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use std::path::{Path, PathBuf};

/// A file with its pixels, of which the slices are read one by one.
pub(super) struct PixelFile {
    file: PathBuf,
    object: DefaultDicomObject,
}

impl PixelFile {
    /// The header was read before, so what fails now is the pixels.
    pub fn open(file: &Path) -> Result<Self, DicomError> {
        let object = open_whole(file).map_err(|reason| DicomError::Unreadable {
            file: file.to_path_buf(),
            reason: format!("pixel data: {reason}"),
        })?;
        Ok(Self { file: file.to_path_buf(), object })
    }

    /// Fills `out` [rows * columns] with the Hounsfield units of a slice of this file.
    pub fn read_hounsfield(&self, slice: &SliceHeader, out: &mut [i16]) -> Result<(), DicomError> {
        let element = self.object.get(tags::PIXEL_DATA).ok_or_else(|| DicomError::Attribute {
            file: self.file.clone(),
            attribute: "PixelData",
        })?;
        let pixels = slice.rows * slice.columns;
        let (first, scale) = (slice.frame * pixels, slice.scale);
        let (bytes_per_pixel, expected) = (slice.bytes_per_pixel(), slice.bytes());
        // Rows or columns that the header does not have: each pixel would lie elsewhere.
        let excess = slice.rows.min(slice.columns) * bytes_per_pixel;
        let check = |found: usize| {
            let file = self.file.clone();
            if found < expected {
                Err(DicomError::TruncatedPixels { file, found, expected })
            } else if found - expected >= excess {
                Err(DicomError::ExcessPixels { file, found, expected })
            } else {
                Ok(())
            }
        };
        match element.value() {
            Value::Primitive(PrimitiveValue::U16(cells)) if bytes_per_pixel == 2 => {
                check(cells.len() * 2)?;
                scale.apply(cells[first..first + pixels].iter().copied(), out);
            }
            Value::Primitive(value) => {
                let bytes = value.to_bytes();
                check(bytes.len())?;
                let start = first * bytes_per_pixel;
                let bytes = &bytes[start..start + pixels * bytes_per_pixel];
                if bytes_per_pixel == 1 {
                    scale.apply(bytes.iter().map(|b| u16::from(*b)), out);
                } else {
                    let cells = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
                    scale.apply(cells, out);
                }
            }
            Value::PixelSequence(sequence) => {
                let cells = compressed::decode(&self.object, sequence, slice)?;
                scale.apply(cells.into_iter(), out);
            }
            Value::Sequence(_) => {
                return Err(DicomError::Attribute {
                    file: self.file.clone(),
                    attribute: "PixelData",
                });
            }
        }
        Ok(())
    }
}

/// Refuses a slice whose file is too short for the size in its header. To be asked before memory is
/// taken by that size.
pub(super) fn check_size(slice: &SliceHeader) -> Result<(), DicomError> {
    match slice.most_bytes {
        // Reading fails before it fills anything, and says what is wrong.
        Some(bytes) if bytes < slice.bytes() as u64 => {
            PixelFile::open(&slice.file)?.read_hounsfield(slice, &mut [])
        }
        _ => Ok(()),
    }
}

/// So many voxels of a series to be filled, of which `file` is one.
pub(super) fn zeros(voxels: usize, file: &Path) -> Result<Vec<i16>, DicomError> {
    let mut out = Vec::new();
    out.try_reserve_exact(voxels)
        .map_err(|_| DicomError::Memory { file: file.to_path_buf(), voxels })?;
    out.resize(voxels, 0);
    Ok(out)
}

/// Whether two slices hold the same picture.
pub(super) fn same_pixels(a: &SliceHeader, b: &SliceHeader) -> Result<bool, DicomError> {
    if (a.rows, a.columns) != (b.rows, b.columns) {
        return Ok(false);
    }
    let read = |slice: &SliceHeader| {
        check_size(slice)?;
        let mut out = zeros(slice.rows * slice.columns, &slice.file)?;
        PixelFile::open(&slice.file)?.read_hounsfield(slice, &mut out)?;
        Ok::<_, DicomError>(out)
    };
    Ok(read(a)? == read(b)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_without_memory_are_an_error_that_names_the_file() {
        let error = zeros(usize::MAX / 4, Path::new("a/0.dcm")).unwrap_err().to_string();
        assert!(error.starts_with("a/0.dcm: no memory for 4611686018427387903 voxels"), "{error}");
        assert_eq!(zeros(3, Path::new("a/0.dcm")).unwrap(), [0; 3]);
    }
}
