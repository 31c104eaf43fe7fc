//! The series reads back as the phantom it was written from.

use dasl_phantom::{Phantom, PhantomConfig, PhantomError, make, write_dicom};
use dasl_volume::VoxelPos;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, open_file};
use std::collections::BTreeSet;
use std::path::Path;

fn phantom() -> Phantom {
    let shape = [30, 50, 70];
    let config = PhantomConfig { shape, spacing_mm: [4.0, 2.6, 2.5], ..Default::default() };
    make(&config, 11)
}

fn slices(folder: &Path) -> Vec<DefaultDicomObject> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dcm"))
        .collect();
    files.sort();
    files.iter().map(|path| open_file(path).unwrap()).collect()
}

fn text(slice: &DefaultDicomObject, tag: dicom_core::Tag) -> String {
    slice.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_string()
}

fn numbers(slice: &DefaultDicomObject, tag: dicom_core::Tag) -> Vec<f64> {
    slice.element(tag).unwrap().to_multi_float64().unwrap()
}

#[test]
fn the_series_holds_the_phantoms_voxels_and_geometry() {
    let root = tempfile::tempdir().unwrap();
    let phantom = phantom();
    let folder = write_dicom(&phantom, "PHANTOM-007", 3, root.path()).unwrap();
    let slices = slices(&folder);
    assert_eq!(slices.len(), 30);
    let geometry = phantom.ct.geometry;
    for (file, slice) in slices.iter().enumerate() {
        // The first file is the one nearest to the head.
        let z = slices.len() - 1 - file;
        let at = geometry.to_mm(VoxelPos::new(z as f64, 0.0, 0.0));
        let position = numbers(slice, tags::IMAGE_POSITION_PATIENT);
        for (read, expected) in position.iter().zip([at.x, at.y, at.z]) {
            assert!((read - expected).abs() < 1e-6, "slice {z}: {position:?}");
        }
        assert_eq!(numbers(slice, tags::PIXEL_SPACING), [2.6, 2.5]);
        assert_eq!(numbers(slice, tags::IMAGE_ORIENTATION_PATIENT), [1., 0., 0., 0., 1., 0.]);
        assert_eq!(numbers(slice, tags::SLICE_THICKNESS), [4.0]);
        assert_eq!(numbers(slice, tags::ROWS), [50.0]);
        assert_eq!(numbers(slice, tags::COLUMNS), [70.0]);
        let slope = numbers(slice, tags::RESCALE_SLOPE)[0];
        let intercept = numbers(slice, tags::RESCALE_INTERCEPT)[0];
        let stored = slice.element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
        assert_eq!(stored.len(), 50 * 70);
        let plane = phantom.ct.voxels.index_axis(ndarray::Axis(0), z);
        assert!(stored.iter().zip(plane).all(|(stored, hu)| {
            (f64::from(*stored) * slope + intercept - f64::from(*hu)).abs() < 1e-9
        }));
    }
}

#[test]
fn names_and_identifiers_are_consistent() {
    let root = tempfile::tempdir().unwrap();
    let folder = write_dicom(&phantom(), "PHANTOM-007", 3, root.path()).unwrap();
    let slices = slices(&folder);
    let unique = |tag| slices.iter().map(|s| text(s, tag)).collect::<BTreeSet<_>>();
    assert_eq!(unique(tags::SOP_INSTANCE_UID).len(), slices.len());
    let [study, series] = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID].map(unique);
    let expected = root.path().join("PHANTOM-007");
    let expected = expected.join(study.first().unwrap()).join(series.first().unwrap());
    assert_eq!((study.len(), series.len(), folder), (1, 1, expected));
    assert_eq!(unique(tags::FRAME_OF_REFERENCE_UID).len(), 1);
    assert_eq!(unique(tags::PATIENT_NAME), BTreeSet::from(["PHANTOM^007".to_string()]));
    assert_eq!(unique(tags::PATIENT_ID), BTreeSet::from(["PHANTOM-007".to_string()]));
    for slice in &slices {
        let meta = slice.meta();
        let clean = |uid: &str| uid.trim_end_matches('\0').to_string();
        assert_eq!(clean(meta.transfer_syntax()), uids::EXPLICIT_VR_LITTLE_ENDIAN);
        assert_eq!(clean(meta.media_storage_sop_class_uid()), uids::CT_IMAGE_STORAGE);
        let sop_uid = text(slice, tags::SOP_INSTANCE_UID);
        assert_eq!(clean(meta.media_storage_sop_instance_uid()), sop_uid);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let root = tempfile::NamedTempFile::new().unwrap();
    let error = write_dicom(&phantom(), "PHANTOM-001", 1, root.path()).unwrap_err();
    assert!(matches!(error, PhantomError::Write { .. }));
    assert!(error.to_string().contains("PHANTOM-001"), "{error}");
}
