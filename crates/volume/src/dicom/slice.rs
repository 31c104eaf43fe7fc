//! One CT slice: its place, its scale, its pixels.

use super::error::DicomError;
use super::find::{open_header, parse_reason};
use dicom_core::Tag;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use dicom_pixeldata::PixelDecoder;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use std::path::{Path, PathBuf};

/// What a slice's header says, checked.
#[derive(Debug, Clone)]
pub(super) struct SliceHeader {
    pub file: PathBuf,
    pub sop_uid: String,
    pub rows: usize,
    pub columns: usize,
    /// Distance of rows, then of columns, mm (`PixelSpacing`).
    pub pixel_spacing_mm: [f64; 2],
    /// Centre of the first pixel, LPS mm.
    pub position_mm: [f64; 3],
    /// Unit vectors along a row and along a column.
    pub along_row: [f64; 3],
    pub along_column: [f64; 3],
    pub slope: f64,
    pub intercept: f64,
    pub frame_of_reference_uid: Option<String>,
    pub slice_thickness_mm: Option<f64>,
    layout: PixelLayout,
}

/// How a stored pixel's bits are laid out (PS3.5, section 8.1).
#[derive(Debug, Clone, Copy, PartialEq)]
struct PixelLayout {
    bits_allocated: u32,
    bits_stored: u32,
    high_bit: u32,
    signed: bool,
}

impl PixelLayout {
    /// The stored value within its allocated bits.
    fn value(self, cell: u16) -> i32 {
        let above = 31 - self.high_bit;
        let aligned = u32::from(cell) << above;
        let drop = 32 - self.bits_stored;
        if self.signed { (aligned as i32) >> drop } else { (aligned >> drop) as i32 }
    }
}

/// Reads attributes of one file; each getter names the file in its error.
struct Header<'a> {
    file: &'a Path,
    object: &'a DefaultDicomObject,
}

impl Header<'_> {
    fn missing(&self, attribute: &'static str) -> DicomError {
        DicomError::Attribute { file: self.file.to_path_buf(), attribute }
    }

    fn optional_text(&self, tag: Tag) -> Option<String> {
        let value = self.object.get(tag)?.to_str().ok()?;
        let value = value.trim_matches(['\0', ' ']);
        (!value.is_empty()).then(|| value.to_string())
    }

    fn text(&self, tag: Tag, name: &'static str) -> Result<String, DicomError> {
        self.optional_text(tag).ok_or_else(|| self.missing(name))
    }

    fn count(&self, tag: Tag, name: &'static str) -> Result<u32, DicomError> {
        let value = self.object.get(tag).and_then(|element| element.to_int::<u32>().ok());
        value.ok_or_else(|| self.missing(name))
    }

    fn numbers<const N: usize>(
        &self,
        tag: Tag,
        name: &'static str,
    ) -> Result<[f64; N], DicomError> {
        let values = self.object.get(tag).and_then(|element| element.to_multi_float64().ok());
        values
            .and_then(|v| <[f64; N]>::try_from(v).ok())
            .filter(|v| v.iter().all(|n| n.is_finite()))
            .ok_or_else(|| self.missing(name))
    }
}

impl SliceHeader {
    /// Reads everything before the pixels and checks that this is a kind of CT slice that can be
    /// put into a volume.
    pub fn read(file: &Path) -> Result<Self, DicomError> {
        let object = open_header(file)
            .map_err(|reason| DicomError::Unreadable { file: file.to_path_buf(), reason })?;
        let header = Header { file, object: &object };
        let modality = header.text(tags::MODALITY, "Modality")?;
        if modality != "CT" {
            return Err(DicomError::NotCt { place: file.display().to_string(), modality });
        }
        let layout = header.layout()?;
        let rows = header.count(tags::ROWS, "Rows")? as usize;
        let columns = header.count(tags::COLUMNS, "Columns")? as usize;
        if rows == 0 || columns == 0 {
            return Err(header.missing("Rows/Columns"));
        }
        let pixel_spacing_mm = header.numbers::<2>(tags::PIXEL_SPACING, "PixelSpacing")?;
        if pixel_spacing_mm.iter().any(|s| *s <= 0.0) {
            return Err(header.missing("PixelSpacing"));
        }
        let cosines =
            header.numbers::<6>(tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient")?;
        let (along_row, along_column) =
            orthonormal(cosines).ok_or_else(|| header.missing("ImageOrientationPatient"))?;
        let [slope] = header.numbers::<1>(tags::RESCALE_SLOPE, "RescaleSlope")?;
        let [intercept] = header.numbers::<1>(tags::RESCALE_INTERCEPT, "RescaleIntercept")?;
        Ok(Self {
            file: file.to_path_buf(),
            sop_uid: header.text(tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
            rows,
            columns,
            pixel_spacing_mm,
            position_mm: header.numbers(tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient")?,
            along_row,
            along_column,
            slope,
            intercept,
            frame_of_reference_uid: header.optional_text(tags::FRAME_OF_REFERENCE_UID),
            slice_thickness_mm: header
                .numbers::<1>(tags::SLICE_THICKNESS, "SliceThickness")
                .ok()
                .map(|[mm]| mm),
            layout,
        })
    }

    /// Fills `out` [rows * columns] with Hounsfield units: stored value x slope + intercept,
    /// rounded, held within an i16.
    pub fn read_hounsfield(&self, out: &mut [i16]) -> Result<(), DicomError> {
        // The header was read before, so what fails now is the pixels.
        let object = OpenFileOptions::new().open_file(&self.file).map_err(|error| {
            let reason = format!("pixel data: {}", parse_reason(&error));
            DicomError::Unreadable { file: self.file.clone(), reason }
        })?;
        let bytes_per_pixel = self.layout.bits_allocated as usize / 8;
        let expected = self.rows * self.columns * bytes_per_pixel;
        let check = |found: usize| {
            if found < expected {
                Err(DicomError::TruncatedPixels { file: self.file.clone(), found, expected })
            } else {
                Ok(())
            }
        };
        let element = object.get(tags::PIXEL_DATA).ok_or_else(|| DicomError::Attribute {
            file: self.file.clone(),
            attribute: "PixelData",
        })?;
        match element.value() {
            Value::Primitive(PrimitiveValue::U16(cells)) if bytes_per_pixel == 2 => {
                check(cells.len() * 2)?;
                self.scale(cells.iter().copied(), out);
            }
            Value::Primitive(value) => {
                let bytes = value.to_bytes();
                check(bytes.len())?;
                self.scale_bytes(&bytes, out);
            }
            _ => {
                let decoded =
                    object.decode_pixel_data().map_err(|error| self.codec(&object, &error))?;
                check(decoded.data().len())?;
                self.scale_bytes(decoded.data(), out);
            }
        }
        Ok(())
    }

    /// Pixels as little-endian bytes, which is what decoders and 8-bit data give.
    fn scale_bytes(&self, bytes: &[u8], out: &mut [i16]) {
        if self.layout.bits_allocated == 8 {
            self.scale(bytes.iter().map(|b| u16::from(*b)), out);
        } else {
            self.scale(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])), out);
        }
    }

    fn scale(&self, cells: impl Iterator<Item = u16>, out: &mut [i16]) {
        let layout = self.layout;
        // Nearly every CT has slope 1 and a whole intercept; whole numbers are much faster.
        let is_whole = |v: f64| v.fract().abs() < f64::EPSILON && v.abs() < 1e6;
        if (self.slope - 1.0).abs() < f64::EPSILON && is_whole(self.intercept) {
            let intercept = self.intercept as i32;
            for (hu, cell) in out.iter_mut().zip(cells) {
                let value = layout.value(cell) + intercept;
                *hu = value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            }
        } else {
            for (hu, cell) in out.iter_mut().zip(cells) {
                let value = f64::from(layout.value(cell)) * self.slope + self.intercept;
                *hu = value.round() as i16;
            }
        }
    }

    fn codec(&self, object: &DefaultDicomObject, error: &dicom_pixeldata::Error) -> DicomError {
        let uid = object.meta().transfer_syntax();
        let name = TransferSyntaxRegistry.get(uid).map_or(uid, |syntax| syntax.name());
        DicomError::Unsupported {
            file: self.file.clone(),
            what: format!("pixels compressed as {name} cannot be decoded ({error})"),
            todo: "decompress the series first, e.g. with gdcmconv --raw",
        }
    }
}

impl Header<'_> {
    /// The pixels' layout; refuses what is no plain grey CT slice.
    fn layout(&self) -> Result<PixelLayout, DicomError> {
        let refuse = |what: String, todo| {
            Err(DicomError::Unsupported { file: self.file.to_path_buf(), what, todo })
        };
        let frames = self.optional_text(tags::NUMBER_OF_FRAMES);
        if let Some(frames) = frames.filter(|f| f != "1") {
            return refuse(
                format!("a multi-frame file ({frames} frames)"),
                "convert it to single-frame CT or to NIfTI first",
            );
        }
        let photometric =
            self.text(tags::PHOTOMETRIC_INTERPRETATION, "PhotometricInterpretation")?;
        if photometric != "MONOCHROME2" {
            return refuse(
                format!("PhotometricInterpretation is {photometric}, not MONOCHROME2"),
                "convert the series to MONOCHROME2 first",
            );
        }
        let samples = self.count(tags::SAMPLES_PER_PIXEL, "SamplesPerPixel").unwrap_or(1);
        let bits_allocated = self.count(tags::BITS_ALLOCATED, "BitsAllocated")?;
        if samples != 1 || !matches!(bits_allocated, 8 | 16) {
            return refuse(
                format!("{samples} samples of {bits_allocated} bits per pixel"),
                "only one sample of 8 or 16 bits is read",
            );
        }
        let bits_stored = self.count(tags::BITS_STORED, "BitsStored")?;
        let high_bit = self.count(tags::HIGH_BIT, "HighBit")?;
        if bits_stored == 0 || high_bit >= bits_allocated || bits_stored > high_bit + 1 {
            return Err(self.missing("BitsStored/HighBit"));
        }
        let signed = self.count(tags::PIXEL_REPRESENTATION, "PixelRepresentation")? == 1;
        Ok(PixelLayout { bits_allocated, bits_stored, high_bit, signed })
    }
}

/// Row and column directions as exact unit vectors at a right angle; `None` if the file's are
/// further from that than rounding explains.
fn orthonormal(cosines: [f64; 6]) -> Option<([f64; 3], [f64; 3])> {
    let [a, b, c, d, e, f] = cosines;
    let unit = |v: [f64; 3]| {
        let length = dot(v, v).sqrt();
        ((length - 1.0).abs() < 1e-2).then(|| v.map(|x| x / length))
    };
    let row = unit([a, b, c])?;
    let column = unit([d, e, f])?;
    let skew = dot(row, column);
    if skew.abs() > 1e-3 {
        return None;
    }
    let column = unit([0, 1, 2].map(|i| column[i] - skew * row[i]))?;
    Some((row, column))
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bits_are_taken_out_of_the_allocated_ones() {
        let twelve =
            PixelLayout { bits_allocated: 16, bits_stored: 12, high_bit: 11, signed: true };
        assert_eq!(twelve.value(0x0fff), -1);
        assert_eq!(twelve.value(0xf800), -2048); // the four bits above are not the pixel's
        let shifted = PixelLayout { high_bit: 15, signed: false, ..twelve };
        assert_eq!(shifted.value(0xfff7), 0x0fff);
        let sixteen = PixelLayout { bits_stored: 16, high_bit: 15, ..twelve };
        assert_eq!(sixteen.value(0x8000), -32768);
    }

    #[test]
    fn directions_that_are_no_right_angle_are_refused() {
        assert!(orthonormal([1., 0., 0., 0., 1., 0.]).is_some());
        assert!(orthonormal([1., 0., 0., 0.1, 0.995, 0.]).is_none());
        assert!(orthonormal([0.; 6]).is_none());
    }
}
