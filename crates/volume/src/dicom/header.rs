//! The attributes of one image, wherever its file keeps them.

use super::error::DicomError;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use std::path::Path;

/// The functional groups of an enhanced CT image that are read (PS3.3, C.7.6.16 and C.8.15.3).
const FUNCTIONAL_GROUPS: [Tag; 8] = [
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::CT_RECONSTRUCTION_SEQUENCE,
    tags::CTX_RAY_DETAILS_SEQUENCE,
];

/// Reads the attributes of a file's image, or of one frame of it; each getter names the file in
/// its error.
pub(super) struct Header<'a> {
    pub file: &'a Path,
    object: &'a InMemDicomObject,
    /// The frame's own functional groups, then those all frames share.
    groups: Vec<&'a InMemDicomObject>,
}

impl<'a> Header<'a> {
    pub fn new(file: &'a Path, object: &'a InMemDicomObject) -> Self {
        Self { file, object, groups: Vec::new() }
    }

    /// The same for one frame of a multi-frame file; `None` if the file has no such frame in its
    /// `PerFrameFunctionalGroupsSequence`.
    pub fn of_frame(&self, frame: usize) -> Option<Self> {
        let groups_of = |sequence: Tag, item: usize| {
            let groups = self.object.get(sequence)?.items()?.get(item)?;
            Some(
                FUNCTIONAL_GROUPS
                    .iter()
                    .filter_map(|group| groups.get(*group)?.items()?.first())
                    .collect::<Vec<&InMemDicomObject>>(),
            )
        };
        let mut groups = groups_of(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame)?;
        groups.extend(groups_of(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0).into_iter().flatten());
        Some(Self { file: self.file, object: self.object, groups })
    }

    /// Of how many frames the file has functional groups, if it has them at all.
    pub fn frame_groups(&self) -> Option<usize> {
        let groups = self.object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)?;
        Some(groups.items().map_or(0, <[_]>::len))
    }

    fn get(&self, tag: Tag) -> Option<&'a InMemElement> {
        self.groups.iter().find_map(|group| group.get(tag)).or_else(|| self.object.get(tag))
    }

    pub fn missing(&self, attribute: &'static str) -> DicomError {
        DicomError::Attribute { file: self.file.to_path_buf(), attribute }
    }

    pub fn optional_text(&self, tag: Tag) -> Option<String> {
        let value = self.get(tag)?.to_str().ok()?;
        let value = value.trim_matches(['\0', ' ']);
        (!value.is_empty()).then(|| value.to_string())
    }

    pub fn text(&self, tag: Tag, name: &'static str) -> Result<String, DicomError> {
        self.optional_text(tag).ok_or_else(|| self.missing(name))
    }

    pub fn count(&self, tag: Tag, name: &'static str) -> Result<u32, DicomError> {
        let value = self.get(tag).and_then(|element| element.to_int::<u32>().ok());
        value.ok_or_else(|| self.missing(name))
    }

    /// A value of VR US or SS, whichever the file says.
    pub fn optional_int(&self, tag: Tag) -> Option<i32> {
        self.get(tag)?.to_int::<i32>().ok()
    }

    pub fn numbers<const N: usize>(
        &self,
        tag: Tag,
        name: &'static str,
    ) -> Result<[f64; N], DicomError> {
        let values = self.get(tag).and_then(|element| element.to_multi_float64().ok());
        values
            .and_then(|v| <[f64; N]>::try_from(v).ok())
            .filter(|v| v.iter().all(|n| n.is_finite()))
            .ok_or_else(|| self.missing(name))
    }
}

/// Whether an image says of itself that it is a localizer (scout, topogram): `ImageType`, value 3
/// (PS3.3, C.8.2.1.1.1).
pub(super) fn is_localizer(header: &Header<'_>) -> bool {
    header
        .optional_text(tags::IMAGE_TYPE)
        .is_some_and(|text| text.split('\\').any(|value| value.trim() == "LOCALIZER"))
}
