//! A small made-up CT series, written by dicom-object, and what the reader says of it.

use dasl_volume::dicom::read_folder;
use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{FileDicomObject, InMemDicomObject};
use std::path::{Path, PathBuf};

pub const ROWS: usize = 3;
pub const COLUMNS: usize = 4;

/// A slice as its test wants it; [`Slice::new`] is a good one.
#[derive(Clone)]
pub struct Slice {
    pub series: &'static str,
    pub modality: &'static str,
    pub photometric: &'static str,
    pub orientation: &'static str,
    pub spacing: &'static str,
    pub position: String,
    pub frames: Option<&'static str>,
    pub signed: bool,
    pub slope: &'static str,
    pub intercept: &'static str,
    /// Stored value of the first pixel; the others count up.
    pub first: i32,
    pub uid: String,
}

impl Slice {
    /// Slice `n` of an axial series, 2.5 mm apart from z = -100 mm.
    pub fn new(n: usize) -> Self {
        Self {
            series: "1.2.3",
            modality: "CT",
            photometric: "MONOCHROME2",
            orientation: r"1\0\0\0\1\0",
            spacing: r"0.7\0.8",
            position: format!(r"-20\-30\{}", -100.0 + 2.5 * n as f64),
            frames: None,
            signed: false,
            slope: "1",
            intercept: "-1024",
            first: 100 * n as i32,
            uid: format!("1.2.3.{n}"),
        }
    }

    pub fn object(&self) -> FileDicomObject<InMemDicomObject> {
        let text =
            |tag: Tag, vr: VR, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let number = |tag: Tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, value));
        let cells: Vec<u16> =
            (0..ROWS * COLUMNS).map(|i| (self.first + i as i32) as i16 as u16).collect();
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &self.uid),
            text(tags::MODALITY, VR::CS, self.modality),
            text(tags::PATIENT_NAME, VR::PN, "Secret^Name"),
            text(tags::PATIENT_ID, VR::LO, "P1"),
            text(tags::SLICE_THICKNESS, VR::DS, "2.5"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, self.series),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.9"),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, &self.position),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, self.orientation),
            number(tags::SAMPLES_PER_PIXEL, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, self.photometric),
            number(tags::ROWS, ROWS as u16),
            number(tags::COLUMNS, COLUMNS as u16),
            text(tags::PIXEL_SPACING, VR::DS, self.spacing),
            number(tags::BITS_ALLOCATED, 16),
            number(tags::BITS_STORED, 16),
            number(tags::HIGH_BIT, 15),
            number(tags::PIXEL_REPRESENTATION, u16::from(self.signed)),
            text(tags::RESCALE_INTERCEPT, VR::DS, self.intercept),
            text(tags::RESCALE_SLOPE, VR::DS, self.slope),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(cells.into())),
        ]);
        if let Some(frames) = self.frames {
            object.put(text(tags::NUMBER_OF_FRAMES, VR::IS, frames));
        }
        object
            .with_meta(FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN))
            .unwrap()
    }

    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        self.object().write_to_file(&path).unwrap();
        path
    }
}

/// Slices 0 to 4, changed by the test, in a new folder.
pub fn folder(change: impl Fn(usize, &mut Slice)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        let mut slice = Slice::new(n);
        change(n, &mut slice);
        slice.write(folder.path(), &format!("{n}.dcm"));
    }
    folder
}

/// The one-line message, with the folder's name taken out.
pub fn refusal(folder: &Path) -> String {
    let error = read_folder(folder).unwrap_err();
    let text = error.to_string().replace(&format!("{}/", folder.display()), "");
    assert!(!text.contains('\n') && !text.contains("Secret"), "{text}");
    text.replace(&folder.display().to_string(), "FOLDER")
}
