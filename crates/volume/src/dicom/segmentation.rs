//! Writing a label map as a DICOM Segmentation (PS3.3, A.51): binary, one segment per nodule.
//!
//! The object belongs to the patient, the study and the frame of reference of the CT series it was
//! made from, and names the image behind each of its frames. `frames` packs the voxels, `item`
//! knows elements and codes, `uid` makes the identifiers: they follow from the content, so that the
//! same scan and labels give the same bytes. For the same reason the content's date and time are
//! those of the series.

mod frames;
mod item;
mod uid;

use super::source_images::{SourceImage, SourceImages};
use crate::atomic_file::write_atomic;
use crate::geometry::{Geometry, VoxelPos};
use crate::volume::LabelVolume;
use dicom_core::value::PrimitiveValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use frames::Frames;
use item::{Code, decimals, item, set, set_items};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use uid::Uids;

const CATEGORY: Code =
    Code { value: "49755003", scheme: "SCT", meaning: "Morphologically Abnormal Structure" };
const NODULE: Code = Code { value: "27925004", scheme: "SCT", meaning: "Nodule" };
const LUNG: Code = Code { value: "39607008", scheme: "SCT", meaning: "Lung" };
/// CID 7162, the families of algorithms.
const FAMILY: Code = Code { value: "123110", scheme: "DCM", meaning: "Artificial Intelligence" };
/// CID 7203, how an image was derived.
const SEGMENTATION: Code = Code { value: "113076", scheme: "DCM", meaning: "Segmentation" };
/// CID 7202, why an image is named.
const SOURCE: Code =
    Code { value: "121322", scheme: "DCM", meaning: "Source image for image processing operation" };
/// What is added to the source's `SeriesNumber`.
const SERIES_AFTER: i32 = 1000;

/// Why a segmentation could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SegmentationError {
    /// No labelled voxel: the standard wants a segment at least.
    #[error("{}: nothing is labelled, and a DICOM segmentation has at least one segment", .0.display())]
    Nothing(PathBuf),
    /// A label map that does not belong to the series.
    #[error("{}: {slices} slices of labels for {images} images of the series", .file.display())]
    Slices {
        /// The file that was to be written.
        file: PathBuf,
        /// Slices of the label map.
        slices: usize,
        /// Images of the series.
        images: usize,
    },
    /// Labels that are not those of the segments.
    #[error("{}: {segments} segments were given, but label {label} is {what}", .file.display())]
    Label {
        /// The file that was to be written.
        file: PathBuf,
        /// How many segments.
        segments: usize,
        /// The label.
        label: u16,
        /// Missing from the one or the other.
        what: &'static str,
    },
    /// More than the format can hold, or a file system's complaint.
    #[error("{}: cannot be written ({reason})", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What was met.
        reason: String,
    },
}

/// A segment: what is said of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// A short name, at most 64 characters.
    pub name: String,
    /// Figures for whoever looks at it.
    pub description: String,
}

/// What made the labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithm {
    /// Its name, at most 64 characters.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its settings, in words.
    pub parameters: String,
}

/// Writes a binary segmentation (explicit VR little endian), whole or not at all. Label n of the
/// map is `segments[n - 1]`; the map's slices are those of `source`.
///
/// # Errors
/// A [`SegmentationError`] that names the file.
pub fn write_segmentation(
    path: &Path,
    source: &SourceImages,
    labels: &LabelVolume,
    segments: &[Segment],
    algorithm: &Algorithm,
) -> Result<(), SegmentationError> {
    let file = || path.to_path_buf();
    let failed = |reason: String| SegmentationError::Write { file: file(), reason };
    let (slices, images) = (labels.geometry.shape[0], source.images.len());
    if slices != images {
        return Err(SegmentationError::Slices { file: file(), slices, images });
    }
    let frames = Frames::of(labels.voxels.view());
    check_labels(path, &frames, segments.len())?;
    if u32::try_from(frames.bits.len()).is_err() {
        return Err(failed("more than 4 GiB of voxels".into()));
    }
    let made = Made { source, geometry: &labels.geometry, frames: &frames, segments, algorithm };
    // The identifiers follow from all the rest.
    let draft = made.object(&Uids::none()).map_err(&failed)?;
    let uids = Uids::of(&draft, &frames.bits).map_err(&failed)?;
    let mut object = made.object(&uids).map_err(&failed)?;
    set(&mut object, tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(frames.bits.into()));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let object = object.with_meta(meta).map_err(|error| failed(error.to_string()))?;
    write_atomic(path, |out| object.write_all(out).map_err(io::Error::other))
        .map_err(|error| failed(error.to_string()))
}

/// Every label has a segment, every segment a voxel.
fn check_labels(path: &Path, frames: &Frames, segments: usize) -> Result<(), SegmentationError> {
    let there: BTreeSet<u16> = frames.places.iter().map(|(label, _)| *label).collect();
    if there.is_empty() {
        return Err(SegmentationError::Nothing(path.to_path_buf()));
    }
    let wrong =
        |label, what| SegmentationError::Label { file: path.to_path_buf(), segments, label, what };
    if let Some(label) = there.iter().find(|label| usize::from(**label) > segments) {
        return Err(wrong(*label, "in the map"));
    }
    match (1..).take(segments).find(|label| !there.contains(label)) {
        Some(label) => Err(wrong(label, "not in the map")),
        None => Ok(()),
    }
}

/// All that an object is made of.
struct Made<'a> {
    source: &'a SourceImages,
    geometry: &'a Geometry,
    frames: &'a Frames,
    segments: &'a [Segment],
    algorithm: &'a Algorithm,
}

impl Made<'_> {
    /// Everything but the pixels.
    fn object(&self, uids: &Uids) -> Result<InMemDicomObject, String> {
        let mut object = self.source.taken_over.clone();
        object.convert_to_utf8();
        if object.get(tags::FRAME_OF_REFERENCE_UID).is_none() {
            // The series gives none; whatever refers to it lies in the same space.
            let uid = Uids::named("frame of reference", &self.source.series_uid);
            set(&mut object, tags::FRAME_OF_REFERENCE_UID, VR::UI, uid);
        }
        self.describe(&mut object, uids);
        self.describe_pixels(&mut object)?;
        let segments = (1..).zip(self.segments).map(|(number, segment)| {
            segment_item(number, segment, self.algorithm, &uids.of_segment(number))
        });
        set_items(&mut object, tags::SEGMENT_SEQUENCE, segments.collect());
        self.refer(&mut object);
        let organization = uids.dimensions();
        let of = (tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str().into());
        set_items(&mut object, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![item([of])]);
        set_items(&mut object, tags::DIMENSION_INDEX_SEQUENCE, dimensions(&organization));
        set_items(
            &mut object,
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
            vec![shared_groups(self.geometry, self.source.slice_thickness_mm)],
        );
        set_items(&mut object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, self.frame_groups());
        Ok(object)
    }

    /// SOP Common, Segmentation Series, Enhanced General Equipment, Segmentation Image.
    fn describe(&self, object: &mut InMemDicomObject, uids: &Uids) {
        let [date, time] = &self.source.content;
        let (name, version) = (self.algorithm.name.as_str(), self.algorithm.version.as_str());
        let series = self.source.series_number.unwrap_or(0).saturating_add(SERIES_AFTER);
        let about = format!("Nodules by {name} {version}");
        let (instance_uid, series_uid) = (uids.instance(), uids.series());
        let mut text = |tag: Tag, vr: VR, value: &str| set(object, tag, vr, value);
        text(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE);
        text(tags::SOP_INSTANCE_UID, VR::UI, &instance_uid);
        text(tags::SERIES_INSTANCE_UID, VR::UI, &series_uid);
        text(tags::MODALITY, VR::CS, "SEG");
        text(tags::SERIES_NUMBER, VR::IS, &series.to_string());
        text(tags::SERIES_DESCRIPTION, VR::LO, &about);
        text(tags::MANUFACTURER, VR::LO, name);
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, name);
        // No device has a serial number; one must be given.
        text(tags::DEVICE_SERIAL_NUMBER, VR::LO, "0");
        text(tags::SOFTWARE_VERSIONS, VR::LO, version);
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY");
        text(tags::INSTANCE_NUMBER, VR::IS, "1");
        text(tags::CONTENT_DATE, VR::DA, date);
        text(tags::CONTENT_TIME, VR::TM, time);
        text(tags::CONTENT_LABEL, VR::CS, "NODULES");
        text(tags::CONTENT_DESCRIPTION, VR::LO, &about);
        // No person did.
        text(tags::CONTENT_CREATOR_NAME, VR::PN, "");
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
        text(tags::SEGMENTS_OVERLAP, VR::CS, "NO");
        let lossy = if self.source.is_lossy { "01" } else { "00" };
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, lossy);
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    }

    fn describe_pixels(&self, object: &mut InMemDicomObject) -> Result<(), String> {
        let [_, rows, columns] = self.geometry.shape;
        let short = |n: usize| u16::try_from(n).map_err(|_| "an image of more than 65535 pixels");
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, short(rows)?),
            (tags::COLUMNS, short(columns)?),
            (tags::BITS_ALLOCATED, 1),
            (tags::BITS_STORED, 1),
            (tags::HIGH_BIT, 0),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            set(object, tag, VR::US, value);
        }
        let frames = self.frames.places.len().to_string();
        set(object, tags::NUMBER_OF_FRAMES, VR::IS, frames);
        Ok(())
    }

    /// Common Instance Reference: the series and all its images.
    fn refer(&self, object: &mut InMemDicomObject) {
        let instances: BTreeSet<&str> =
            self.source.images.iter().map(|image| image.sop_uid.as_str()).collect();
        let instance = |uid: &str| {
            item([
                (tags::REFERENCED_SOP_CLASS_UID, VR::UI, self.source.sop_class.as_str().into()),
                (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid.into()),
            ])
        };
        let uid = self.source.series_uid.as_str();
        let mut series = item([(tags::SERIES_INSTANCE_UID, VR::UI, uid.into())]);
        let instances = instances.into_iter().map(instance).collect();
        set_items(&mut series, tags::REFERENCED_INSTANCE_SEQUENCE, instances);
        set_items(object, tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
    }

    /// What belongs to each frame alone.
    fn frame_groups(&self) -> Vec<InMemDicomObject> {
        let slices: BTreeSet<usize> = self.frames.places.iter().map(|(_, z)| *z).collect();
        let rank: BTreeMap<usize, u32> = slices.into_iter().zip(1..).collect();
        let of = |(label, z): &(u16, usize)| {
            let index = [u32::from(*label), rank[z]];
            let index = PrimitiveValue::U32(index.as_slice().into());
            let at = self.geometry.to_mm(VoxelPos::new(*z as f64, 0.0, 0.0));
            let mut groups = InMemDicomObject::new_empty();
            let mut group =
                |tag: Tag, item: InMemDicomObject| set_items(&mut groups, tag, vec![item]);
            group(
                tags::FRAME_CONTENT_SEQUENCE,
                item([(tags::DIMENSION_INDEX_VALUES, VR::UL, index)]),
            );
            let position = decimals(&[at.x, at.y, at.z]);
            group(
                tags::PLANE_POSITION_SEQUENCE,
                item([(tags::IMAGE_POSITION_PATIENT, VR::DS, position)]),
            );
            group(tags::DERIVATION_IMAGE_SEQUENCE, self.derivation(&self.source.images[*z]));
            group(
                tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                item([(tags::REFERENCED_SEGMENT_NUMBER, VR::US, (*label).into())]),
            );
            groups
        };
        self.frames.places.iter().map(of).collect()
    }

    /// The image that a frame was made from.
    fn derivation(&self, image: &SourceImage) -> InMemDicomObject {
        let mut source = item([
            (tags::REFERENCED_SOP_CLASS_UID, VR::UI, self.source.sop_class.as_str().into()),
            (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, image.sop_uid.as_str().into()),
            (tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES".into()),
        ]);
        if let Some(frame) = image.frame {
            set(&mut source, tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string());
        }
        let purpose = tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE;
        set_items(&mut source, purpose, vec![SOURCE.item()]);
        let mut derivation = InMemDicomObject::new_empty();
        set_items(&mut derivation, tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
        set_items(&mut derivation, tags::DERIVATION_CODE_SEQUENCE, vec![SEGMENTATION.item()]);
        derivation
    }
}

/// Segment Description macro.
fn segment_item(
    number: u16,
    segment: &Segment,
    algorithm: &Algorithm,
    tracking_uid: &str,
) -> InMemDicomObject {
    let (name, version) = (algorithm.name.as_str(), algorithm.version.as_str());
    let mut out = item([
        (tags::SEGMENT_NUMBER, VR::US, number.into()),
        (tags::SEGMENT_LABEL, VR::LO, segment.name.as_str().into()),
        (tags::SEGMENT_DESCRIPTION, VR::ST, segment.description.as_str().into()),
        (tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC".into()),
        (tags::SEGMENT_ALGORITHM_NAME, VR::LO, name.into()),
        (tags::TRACKING_ID, VR::UT, segment.name.as_str().into()),
        (tags::TRACKING_UID, VR::UI, tracking_uid.into()),
    ]);
    let mut identification = item([
        (tags::ALGORITHM_NAME, VR::LO, name.into()),
        (tags::ALGORITHM_VERSION, VR::LO, version.into()),
        (tags::ALGORITHM_PARAMETERS, VR::LT, algorithm.parameters.as_str().into()),
    ]);
    let family = tags::ALGORITHM_FAMILY_CODE_SEQUENCE;
    set_items(&mut identification, family, vec![FAMILY.item()]);
    for (tag, item) in [
        (tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, CATEGORY.item()),
        (tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, NODULE.item()),
        (tags::ANATOMIC_REGION_SEQUENCE, LUNG.item()),
        (tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, identification),
    ] {
        set_items(&mut out, tag, vec![item]);
    }
    out
}

/// What orders the frames: segment, then place.
fn dimensions(organization: &str) -> Vec<InMemDicomObject> {
    let by = |pointer: Tag, group: Tag, label: &str| {
        item([
            (tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.into()),
            (tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(pointer)),
            (tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(group)),
            (tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label.into()),
        ])
    };
    let segment = tags::SEGMENT_IDENTIFICATION_SEQUENCE;
    vec![
        by(tags::REFERENCED_SEGMENT_NUMBER, segment, "Segment"),
        by(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Position"),
    ]
}

/// What all frames share.
fn shared_groups(geometry: &Geometry, slice_thickness_mm: Option<f64>) -> InMemDicomObject {
    let [between, row, column] = geometry.spacing_mm;
    let [_, along_column, along_row] = geometry.axes;
    let thickness = slice_thickness_mm.filter(|mm| *mm > 0.0).unwrap_or(between);
    let mut groups = InMemDicomObject::new_empty();
    let measures = item([
        (tags::SLICE_THICKNESS, VR::DS, decimals(&[thickness])),
        (tags::SPACING_BETWEEN_SLICES, VR::DS, decimals(&[between])),
        (tags::PIXEL_SPACING, VR::DS, decimals(&[row, column])),
    ]);
    set_items(&mut groups, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    let cosines = decimals(&[along_row, along_column].concat());
    let orientation = item([(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, cosines)]);
    set_items(&mut groups, tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]);
    groups
}
