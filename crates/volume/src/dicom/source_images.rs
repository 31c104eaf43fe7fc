//! The images that something was derived from, and what a derived object says of their patient
//! and study.

use super::error::DicomError;
use super::open::{NOT_DICOM, open_header};
use super::series::CtScan;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// What a derived object takes over as it is (PS3.3: Patient, Clinical Trial Subject and Study,
/// General Study, Patient Study, Frame of Reference, SOP Common, General Series).
const TAKEN_OVER: [Tag; 35] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_BIRTH_TIME,
    tags::PATIENT_SEX,
    tags::PATIENT_COMMENTS,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::CLINICAL_TRIAL_SPONSOR_NAME,
    tags::CLINICAL_TRIAL_PROTOCOL_ID,
    tags::CLINICAL_TRIAL_PROTOCOL_NAME,
    tags::CLINICAL_TRIAL_SITE_ID,
    tags::CLINICAL_TRIAL_SITE_NAME,
    tags::CLINICAL_TRIAL_SUBJECT_ID,
    tags::CLINICAL_TRIAL_SUBJECT_READING_ID,
    tags::CLINICAL_TRIAL_TIME_POINT_ID,
    tags::CLINICAL_TRIAL_TIME_POINT_DESCRIPTION,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::STUDY_DESCRIPTION,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::FRAME_OF_REFERENCE_UID,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::BODY_PART_EXAMINED,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
];

/// Of those, what has to be there, if only without a value (type 2).
const THERE_IF_EMPTY: [(Tag, VR); 10] = [
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::STUDY_ID, VR::SH),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::POSITION_REFERENCE_INDICATOR, VR::LO),
];

/// One image of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceImage {
    pub sop_uid: String,
    /// From 1; `None` if its file has a single frame.
    pub frame: Option<u32>,
}

/// The images of a CT series in the order of the volume made of them.
#[derive(Debug, Clone)]
pub struct SourceImages {
    /// `SeriesInstanceUID`.
    pub series_uid: String,
    pub(super) sop_class: String,
    pub(super) images: Vec<SourceImage>,
    pub(super) slice_thickness_mm: Option<f64>,
    pub(super) is_lossy: bool,
    /// [`TAKEN_OVER`], as far as it is there, and [`THERE_IF_EMPTY`].
    pub(super) taken_over: InMemDicomObject,
    /// Date and time of the content, DICOM's DA and TM.
    pub(super) content: [String; 2],
    pub(super) series_number: Option<i32>,
}

impl SourceImages {
    /// The images of a scan; the header of the first is read again.
    ///
    /// # Errors
    /// [`DicomError::Unreadable`] if that can't be done any more.
    pub fn of(scan: &CtScan) -> Result<Self, DicomError> {
        let Some(file) = scan.source.first() else {
            return Err(DicomError::Empty(format!("series {}", scan.series_uid).into()));
        };
        let header = open_header(file)
            .and_then(|header| header.ok_or_else(|| NOT_DICOM.into()))
            .map_err(|reason| DicomError::Unreadable { file: file.clone(), reason })?;
        let text = |tag: Tag| {
            let value = header.get(tag)?.to_str().ok()?;
            let value = value.trim_matches(['\0', ' ']);
            (!value.is_empty()).then(|| value.to_string())
        };
        let first_of = |wanted: [Tag; 3]| wanted.into_iter().find_map(text);
        let date = first_of([tags::CONTENT_DATE, tags::SERIES_DATE, tags::STUDY_DATE]);
        let time = first_of([tags::CONTENT_TIME, tags::SERIES_TIME, tags::STUDY_TIME]);
        let images = scan.slice_uids.iter().zip(&scan.slice_frames);
        Ok(Self {
            series_uid: scan.series_uid.clone(),
            sop_class: text(tags::SOP_CLASS_UID).unwrap_or_else(|| uids::CT_IMAGE_STORAGE.into()),
            images: images
                .map(|(uid, frame)| SourceImage { sop_uid: uid.clone(), frame: *frame })
                .collect(),
            slice_thickness_mm: scan.slice_thickness_mm,
            is_lossy: text(tags::LOSSY_IMAGE_COMPRESSION).is_some_and(|value| value == "01"),
            taken_over: taken_over(&header),
            content: [
                date.unwrap_or_else(|| "19700101".into()),
                time.unwrap_or_else(|| "000000".into()),
            ],
            series_number: header.get(tags::SERIES_NUMBER).and_then(|number| number.to_int().ok()),
        })
    }
}

fn taken_over(header: &InMemDicomObject) -> InMemDicomObject {
    let mut out = InMemDicomObject::new_empty();
    for (tag, vr) in THERE_IF_EMPTY {
        out.put(InMemElement::new(tag, vr, PrimitiveValue::Empty));
    }
    for tag in TAKEN_OVER {
        if let Some(element) = header.get(tag) {
            out.put(element.clone());
        }
    }
    out
}
