//! A phantom as a DICOM CT series with LIDC's XML beside it.

use crate::error::PhantomError;
use crate::phantom::Phantom;
use crate::reader_xml::{SeriesNames, message};
use crate::uid::uid;
use dasl_volume::VoxelPos;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::Axis;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Stored value = HU + this.
const OFFSET_HU: i16 = 1024;

/// Writes `root/patient_id/study/series/NNNNNN.dcm` (CT Image Storage, explicit VR little endian,
/// one file per slice, head first) and `NNN.xml` with the readings; returns the series' folder.
/// The UIDs depend on `seed` and `patient_id` alone.
///
/// # Errors
/// [`PhantomError::Write`] or [`PhantomError::Dicom`] if a file cannot be written.
pub fn write_dicom(
    phantom: &Phantom,
    patient_id: &str,
    seed: u64,
    root: &Path,
) -> Result<PathBuf, PhantomError> {
    let study_uid = uid(seed, patient_id, "study");
    let series_uid = uid(seed, patient_id, "series");
    let slices = phantom.ct.voxels.len_of(Axis(0));
    let slice_uids: Vec<String> =
        (0..slices).map(|z| uid(seed, patient_id, &format!("slice {z}"))).collect();
    let folder = root.join(patient_id).join(&study_uid).join(&series_uid);
    std::fs::create_dir_all(&folder)
        .map_err(|source| PhantomError::Write { path: folder.clone(), source })?;
    let series = Series {
        phantom,
        patient_id,
        study: &study_uid,
        uid: &series_uid,
        frame_of_reference: uid(seed, patient_id, "frame of reference"),
    };
    (0..slices).into_par_iter().try_for_each(|z| {
        let number = slices - z;
        let path = folder.join(format!("{number:06}.dcm"));
        series.write_slice(z, number, &slice_uids[z], &path)
    })?;
    let at_slice = |z: usize| phantom.ct.geometry.to_mm(VoxelPos::new(z as f64, 0.0, 0.0)).z;
    let slice_z_mm: Vec<f64> = (0..slices).map(at_slice).collect();
    let xml = message(
        &phantom.readings,
        &SeriesNames {
            study_uid: &study_uid,
            series_uid: &series_uid,
            slice_uids: &slice_uids,
            slice_z_mm: &slice_z_mm,
        },
    );
    let digits: String = patient_id.chars().filter(char::is_ascii_digit).collect();
    let path = folder.join(format!("{digits:0>3}.xml"));
    std::fs::write(&path, xml).map_err(|source| PhantomError::Write { path, source })?;
    Ok(folder)
}

/// What the slices of a series share; the names are UIDs.
struct Series<'a> {
    phantom: &'a Phantom,
    patient_id: &'a str,
    study: &'a str,
    uid: &'a str,
    frame_of_reference: String,
}

impl Series<'_> {
    fn write_slice(
        &self,
        z: usize,
        number: usize,
        sop_uid: &str,
        path: &Path,
    ) -> Result<(), PhantomError> {
        let dicom = |message: String| PhantomError::Dicom { path: path.to_path_buf(), message };
        let mut object = self.object(z, number, sop_uid);
        let slice = self.phantom.ct.voxels.index_axis(Axis(0), z);
        let stored: Vec<u16> =
            slice.iter().map(|hu| hu.saturating_add(OFFSET_HU).max(0).unsigned_abs()).collect();
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(stored.into())));
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object.with_meta(meta).map_err(|e| dicom(e.to_string()))?;
        file.write_to_file(path).map_err(|e| dicom(e.to_string()))
    }

    /// All attributes of a slice but its pixels: the CT image's required modules.
    fn object(&self, z: usize, number: usize, sop_uid: &str) -> InMemDicomObject {
        let ct = &self.phantom.ct;
        let [_, rows, columns] = ct.geometry.shape;
        let [thickness, row_mm, column_mm] = ct.geometry.spacing_mm;
        let at = ct.geometry.to_mm(VoxelPos::new(z as f64, 0.0, 0.0));
        let name = self.patient_id.rsplit('-').next().unwrap_or_default();
        let mut object = InMemDicomObject::new_empty();
        let mut text = |tag: Tag, vr: VR, value: &str| {
            object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        };
        text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
        text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE);
        text(tags::SOP_INSTANCE_UID, VR::UI, sop_uid);
        // No scan took place: the dates are fixed ones.
        text(tags::STUDY_DATE, VR::DA, "20000101");
        text(tags::SERIES_DATE, VR::DA, "20000101");
        text(tags::CONTENT_DATE, VR::DA, "20000101");
        text(tags::STUDY_TIME, VR::TM, "000000");
        text(tags::CONTENT_TIME, VR::TM, "000000");
        text(tags::ACCESSION_NUMBER, VR::SH, "");
        text(tags::MODALITY, VR::CS, "CT");
        text(tags::MANUFACTURER, VR::LO, "dasl-phantom");
        text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        text(tags::SERIES_DESCRIPTION, VR::LO, "Synthetic chest");
        text(tags::PATIENT_NAME, VR::PN, &format!("PHANTOM^{name}"));
        text(tags::PATIENT_ID, VR::LO, self.patient_id);
        text(tags::PATIENT_BIRTH_DATE, VR::DA, "");
        text(tags::PATIENT_SEX, VR::CS, "");
        text(tags::BODY_PART_EXAMINED, VR::CS, "CHEST");
        text(tags::SLICE_THICKNESS, VR::DS, &decimal(thickness));
        text(tags::KVP, VR::DS, "120");
        text(tags::PATIENT_POSITION, VR::CS, "HFS");
        text(tags::STUDY_INSTANCE_UID, VR::UI, self.study);
        text(tags::SERIES_INSTANCE_UID, VR::UI, self.uid);
        text(tags::STUDY_ID, VR::SH, "1");
        text(tags::SERIES_NUMBER, VR::IS, "1");
        text(tags::ACQUISITION_NUMBER, VR::IS, "1");
        text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
        let position = [at.x, at.y, at.z].map(decimal).join("\\");
        text(tags::IMAGE_POSITION_PATIENT, VR::DS, &position);
        text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0");
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &self.frame_of_reference);
        text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
        text(tags::SLICE_LOCATION, VR::DS, &decimal(at.z));
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        let spacing = [row_mm, column_mm].map(decimal).join("\\");
        text(tags::PIXEL_SPACING, VR::DS, &spacing);
        text(tags::WINDOW_CENTER, VR::DS, "-600");
        text(tags::WINDOW_WIDTH, VR::DS, "1600");
        text(tags::RESCALE_INTERCEPT, VR::DS, &(-OFFSET_HU).to_string());
        text(tags::RESCALE_SLOPE, VR::DS, "1");
        text(tags::RESCALE_TYPE, VR::LO, "HU");
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            // The settings keep shapes within 16 bits.
            (tags::ROWS, rows as u16),
            (tags::COLUMNS, columns as u16),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        object
    }
}

/// A decimal string of at most 16 characters: nanometres and finer are rounded away.
fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_short_and_exact() {
        assert_eq!(decimal(1.5), "1.5");
        assert_eq!(decimal(-120.0), "-120");
        assert_eq!(decimal(-0.000_000_01), "0");
        assert_eq!(decimal(-234.567_891_2), "-234.567891");
    }
}
