//! One CT slice: its place, its scale, what tells it from others.

use super::error::{DicomError, io_reason};
use super::header::{Header, is_localizer};
use super::open::{NOT_DICOM, open_header};
use super::pixel_layout::{HounsfieldScale, PixelLayout};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntax;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use std::path::{Path, PathBuf};

/// What may tell two stacks of one series apart that lie at the same positions, by keyword.
pub(super) const MARKS: [(&str, Tag); 10] = [
    ("AcquisitionNumber", tags::ACQUISITION_NUMBER),
    ("FrameAcquisitionNumber", tags::FRAME_ACQUISITION_NUMBER),
    ("TemporalPositionIdentifier", tags::TEMPORAL_POSITION_IDENTIFIER),
    ("TemporalPositionIndex", tags::TEMPORAL_POSITION_INDEX),
    ("NominalPercentageOfCardiacPhase", tags::NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE),
    ("StackID", tags::STACK_ID),
    ("ConvolutionKernel", tags::CONVOLUTION_KERNEL),
    ("KVP", tags::KVP),
    ("ReconstructionDiameter", tags::RECONSTRUCTION_DIAMETER),
    ("ImageType", tags::IMAGE_TYPE),
];

/// What a slice's header says, checked. A frame of a multi-frame file is a slice too.
#[derive(Debug, Clone)]
pub(super) struct SliceHeader {
    pub file: PathBuf,
    /// Which frame of the file, from 0.
    pub frame: usize,
    /// How many frames the file has.
    pub frames: usize,
    /// The most bytes that its pixels can have, those of the file; `None` if they are compressed.
    pub most_bytes: Option<u64>,
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
    pub scale: HounsfieldScale,
    pub frame_of_reference_uid: Option<String>,
    pub slice_thickness_mm: Option<f64>,
    /// Whether the pixels were once compressed with loss.
    pub is_lossy: bool,
    /// The values of [`MARKS`], in their order.
    pub marks: [Option<String>; MARKS.len()],
}

/// What a CT file holds.
pub(super) enum CtFile {
    /// Slices, checked: one, or one for each frame.
    Slices(Vec<SliceHeader>),
    /// A localizer: no slice of the stack, and often without what a slice has.
    Localizer,
}

impl CtFile {
    /// Reads everything before the pixels and checks that this is a kind of CT slice that can be
    /// put into a volume.
    pub fn read(file: &Path) -> Result<Self, DicomError> {
        let unreadable =
            |reason: String| DicomError::Unreadable { file: file.to_path_buf(), reason };
        let object = open_header(file)
            .and_then(|o| o.ok_or_else(|| NOT_DICOM.into()))
            .map_err(unreadable)?;
        let header = Header::new(file, &object);
        let modality = header.text(tags::MODALITY, "Modality")?;
        if modality != "CT" {
            return Err(DicomError::NotCt { place: file.display().to_string(), modality });
        }
        if is_localizer(&header) {
            return Ok(Self::Localizer);
        }
        let is_native = TransferSyntaxRegistry
            .get(object.meta().transfer_syntax())
            .is_some_and(TransferSyntax::is_codec_free);
        let bytes = std::fs::metadata(file).map_err(|error| unreadable(io_reason(&error)))?.len();
        let most_bytes = is_native.then_some(bytes);
        let frames = header.optional_text(tags::NUMBER_OF_FRAMES).unwrap_or_else(|| "1".into());
        let Some(groups) = header.frame_groups() else {
            if frames != "1" {
                return Err(DicomError::Unsupported {
                    file: file.to_path_buf(),
                    what: format!("a multi-frame file ({frames} frames)"),
                    todo: "convert it to single-frame CT or to NIfTI first",
                });
            }
            return Ok(Self::Slices(vec![SliceHeader::new(&header, 0, 1, most_bytes)?]));
        };
        let frames: usize = frames.parse().map_err(|_| header.missing("NumberOfFrames"))?;
        if frames < groups {
            return header.refuse(
                format!("NumberOfFrames is {frames}, and {groups} frames are described"),
                "export this series again",
            );
        }
        let slice = |frame: usize| {
            let of_frame = header.of_frame(frame);
            let of_frame =
                of_frame.ok_or_else(|| header.missing("PerFrameFunctionalGroupsSequence"))?;
            SliceHeader::new(&of_frame, frame, frames, most_bytes)
        };
        (0..frames).map(slice).collect::<Result<_, _>>().map(Self::Slices)
    }

    /// Whether a file is a localizer; a file that cannot be read is none.
    pub fn is_localizer(file: &Path) -> bool {
        let object = open_header(file).ok().flatten();
        object.is_some_and(|object| is_localizer(&Header::new(file, &object)))
    }
}

impl SliceHeader {
    fn new(
        header: &Header<'_>,
        frame: usize,
        frames: usize,
        most_bytes: Option<u64>,
    ) -> Result<Self, DicomError> {
        let layout = header.layout()?;
        let rows = header.count(tags::ROWS, "Rows")? as usize;
        let columns = header.count(tags::COLUMNS, "Columns")? as usize;
        // What two bytes hold, as the standard has it: then no product of them runs over.
        if [rows, columns].iter().any(|n| !(1..=usize::from(u16::MAX)).contains(n)) {
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
        Ok(Self {
            file: header.file.to_path_buf(),
            frame,
            frames,
            most_bytes,
            sop_uid: header.text(tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
            rows,
            columns,
            pixel_spacing_mm,
            position_mm: header.numbers(tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient")?,
            along_row,
            along_column,
            scale: header.scale(layout)?,
            frame_of_reference_uid: header.optional_text(tags::FRAME_OF_REFERENCE_UID),
            slice_thickness_mm: header
                .numbers::<1>(tags::SLICE_THICKNESS, "SliceThickness")
                .ok()
                .map(|[mm]| mm),
            is_lossy: header
                .optional_text(tags::LOSSY_IMAGE_COMPRESSION)
                .is_some_and(|value| value == "01"),
            marks: MARKS.map(|(_, tag)| header.optional_text(tag)),
        })
    }

    /// Bytes of the pixels of all frames of the file, if they are not compressed.
    pub fn bytes(&self) -> usize {
        self.frames * self.rows * self.columns * self.bytes_per_pixel()
    }

    pub fn bytes_per_pixel(&self) -> usize {
        self.scale.layout.bits_allocated as usize / 8
    }

    /// The unit vector at a right angle to the slice, right-handed with its rows and columns.
    pub fn normal(&self) -> [f64; 3] {
        let ([a, b, c], [d, e, f]) = (self.along_row, self.along_column);
        [b * f - c * e, c * d - a * f, a * e - b * d]
    }

    /// Whether two headers are of one image of one file.
    pub fn is_same_file_frame(&self, other: &Self) -> bool {
        self.file == other.file && self.frame == other.frame
    }

    /// Whether this is the same image as another: the identifier and the place agree.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.sop_uid == other.sop_uid
            && self.frame == other.frame
            && self.file != other.file
            && (0..3).all(|i| (self.position_mm[i] - other.position_mm[i]).abs() < 1e-3)
    }
}

impl Header<'_> {
    fn refuse<T>(&self, what: String, todo: &'static str) -> Result<T, DicomError> {
        Err(DicomError::Unsupported { file: self.file.to_path_buf(), what, todo })
    }

    /// The scale to Hounsfield units; refuses values that are known to be something else.
    fn scale(&self, layout: PixelLayout) -> Result<HounsfieldScale, DicomError> {
        // Unspecified (US) is what some converters write beside the scale of a CT.
        let kind = self.optional_text(tags::RESCALE_TYPE).unwrap_or_else(|| "HU".into());
        if !["HU", "US"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return self.refuse(
                format!("RescaleType is {kind}, not HU"),
                "only Hounsfield units are read; export the series with them",
            );
        }
        let [slope] = self.numbers::<1>(tags::RESCALE_SLOPE, "RescaleSlope")?;
        let [intercept] = self.numbers::<1>(tags::RESCALE_INTERCEPT, "RescaleIntercept")?;
        if slope <= 0.0 {
            return Err(self.missing("RescaleSlope"));
        }
        let limit = self.optional_int(tags::PIXEL_PADDING_RANGE_LIMIT);
        let padding = self
            .optional_int(tags::PIXEL_PADDING_VALUE)
            .and_then(|value| layout.padding(value, limit));
        Ok(HounsfieldScale { layout, slope, intercept, padding })
    }

    /// The pixels' layout; refuses what is no plain grey CT slice.
    fn layout(&self) -> Result<PixelLayout, DicomError> {
        let photometric =
            self.text(tags::PHOTOMETRIC_INTERPRETATION, "PhotometricInterpretation")?;
        if photometric != "MONOCHROME2" {
            return self.refuse(
                format!("PhotometricInterpretation is {photometric}, not MONOCHROME2"),
                "convert the series to MONOCHROME2 first",
            );
        }
        let samples = self.count(tags::SAMPLES_PER_PIXEL, "SamplesPerPixel").unwrap_or(1);
        let bits_allocated = self.count(tags::BITS_ALLOCATED, "BitsAllocated")?;
        if samples != 1 || !matches!(bits_allocated, 8 | 16) {
            return self.refuse(
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
    fn directions_that_are_no_right_angle_are_refused() {
        assert!(orthonormal([1., 0., 0., 0., 1., 0.]).is_some());
        assert!(orthonormal([1., 0., 0., 0.1, 0.995, 0.]).is_none());
        assert!(orthonormal([0.; 6]).is_none());
    }
}
