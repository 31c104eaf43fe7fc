//! A label map written as a DICOM segmentation comes back from its bytes, voxel by voxel and in the
//! same places, however the series' slices lie.

use dasl_volume::dicom::{
    Algorithm, CtScan, Segment, SegmentationError, SourceImages, read_folder, write_segmentation,
};
use dasl_volume::{Geometry, LabelVolume, PointMm, VoxelPos};
use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, open_file};
use ndarray::Array3;
use std::path::{Path, PathBuf};

/// 7 x 5 pixels: a frame ends within a byte.
const SHAPE: [usize; 3] = [6, 7, 5];

/// Writes a series on a grid whose slices follow their normal, and reads it. Files are named
/// against their order.
fn series(folder: &Path, geometry: &Geometry, change: impl Fn(&mut InMemDicomObject)) -> CtScan {
    let [slices, rows, columns] = geometry.shape;
    let [_, row_mm, column_mm] = geometry.spacing_mm;
    let [_, along_column, along_row] = geometry.axes;
    let decimals =
        |values: &[f64]| PrimitiveValue::Strs(values.iter().map(|v| format!("{v:.10}")).collect());
    for z in 0..slices {
        let at = geometry.to_mm(VoxelPos::new(z as f64, 0.0, 0.0));
        let mut object = InMemDicomObject::new_empty();
        let mut put = |tag: Tag, vr: VR, value: PrimitiveValue| {
            object.put(DataElement::new(tag, vr, value));
        };
        for (tag, vr, value) in [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
            (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            (tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.{z}")),
            (tags::MODALITY, VR::CS, "CT"),
            (tags::PATIENT_NAME, VR::PN, "Größe^Ä"),
            (tags::PATIENT_ID, VR::LO, "P1"),
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
            (tags::STUDY_DATE, VR::DA, "20200229"),
            (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"),
            (tags::SERIES_NUMBER, VR::IS, "4"),
            (tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.9"),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            (tags::SLICE_THICKNESS, VR::DS, "3"),
            (tags::RESCALE_INTERCEPT, VR::DS, "-1024"),
            (tags::RESCALE_SLOPE, VR::DS, "1"),
        ] {
            put(tag, vr, value.into());
        }
        put(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&[at.x, at.y, at.z]));
        let cosines = decimals(&[along_row, along_column].concat());
        put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, cosines);
        put(tags::PIXEL_SPACING, VR::DS, decimals(&[row_mm, column_mm]));
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, rows as u16),
            (tags::COLUMNS, columns as u16),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            put(tag, VR::US, value.into());
        }
        let pixels = vec![z as u16; rows * columns];
        put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()));
        change(&mut object);
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object.with_meta(meta).unwrap();
        file.write_to_file(folder.join(format!("{}.dcm", slices - z))).unwrap();
    }
    read_folder(folder).unwrap()
}

fn axial() -> Geometry {
    Geometry::axial(SHAPE, [2.5, 0.7, 0.8], PointMm::new(-20.0, -30.25, -100.0))
}

/// Three nodules: the first two touch by a face, within a slice and across; the third is one voxel
/// of the last slice. No voxel lies in slice 0 and slice 4.
fn labels(geometry: &Geometry) -> LabelVolume {
    let mut voxels = Array3::zeros(geometry.shape);
    for (at, label) in [
        ([1, 2, 2], 1),
        ([1, 2, 3], 2),
        ([2, 2, 2], 1),
        ([2, 3, 2], 2),
        ([3, 2, 2], 2),
        ([3, 0, 0], 2),
        ([5, 6, 4], 3),
    ] {
        voxels[at] = label;
    }
    LabelVolume::new(voxels, *geometry)
}

fn segments(count: usize) -> Vec<Segment> {
    let segment = |n: usize| Segment { name: format!("Nodule {n}"), description: "5.0 mm".into() };
    (1..=count).map(segment).collect()
}

fn algorithm() -> Algorithm {
    Algorithm { name: "dasl".into(), version: "1.0".into(), parameters: "none".into() }
}

fn written(folder: &Path, scan: &CtScan, labels: &LabelVolume) -> PathBuf {
    let path = folder.join("nodules.seg.dcm");
    let source = SourceImages::of(scan).unwrap();
    write_segmentation(&path, &source, labels, &segments(3), &algorithm()).unwrap();
    path
}

/// The only item of a sequence.
fn only(object: &InMemDicomObject, tag: Tag) -> &InMemDicomObject {
    let items = object.element(tag).unwrap().items().unwrap();
    assert_eq!(items.len(), 1, "{tag}");
    &items[0]
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_string()
}

fn numbers(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

/// Frames of an object: label, place of the first pixel, pixels, and the image they are of.
fn frames(object: &InMemDicomObject) -> Vec<(u16, PointMm, Vec<bool>, String)> {
    let size = |tag| object.element(tag).unwrap().to_int::<usize>().unwrap();
    let pixels = size(tags::ROWS) * size(tags::COLUMNS);
    let bits = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let groups = object.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
    let groups = groups.items().unwrap();
    assert_eq!(groups.len(), size(tags::NUMBER_OF_FRAMES));
    assert_eq!(bits.len(), (groups.len() * pixels).div_ceil(16) * 2);
    let of = |(frame, group): (usize, &InMemDicomObject)| {
        let segment = only(group, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
        let label = segment.element(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int().unwrap();
        let position = only(group, tags::PLANE_POSITION_SEQUENCE);
        let at = numbers(position, tags::IMAGE_POSITION_PATIENT);
        let bit = |at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
        let own = (frame * pixels..(frame + 1) * pixels).map(bit).collect();
        let source =
            only(only(group, tags::DERIVATION_IMAGE_SEQUENCE), tags::SOURCE_IMAGE_SEQUENCE);
        let uid = text(source, tags::REFERENCED_SOP_INSTANCE_UID);
        (label, PointMm::new(at[0], at[1], at[2]), own, uid)
    };
    groups.iter().enumerate().map(of).collect()
}

/// The label map that an object says, put onto a grid by the positions in it alone.
fn read_back(object: &InMemDicomObject, grid: &Geometry) -> Array3<u16> {
    let shared = only(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let measures = only(shared, tags::PIXEL_MEASURES_SEQUENCE);
    let spacing = numbers(measures, tags::PIXEL_SPACING);
    let orientation = only(shared, tags::PLANE_ORIENTATION_SEQUENCE);
    let cosines = numbers(orientation, tags::IMAGE_ORIENTATION_PATIENT);
    let columns = object.element(tags::COLUMNS).unwrap().to_int::<usize>().unwrap();
    let mut voxels = Array3::zeros(grid.shape);
    for (label, first, pixels, _) in frames(object) {
        assert!(pixels.iter().any(|inside| *inside), "an empty frame");
        for (pixel, _) in pixels.iter().enumerate().filter(|(_, inside)| **inside) {
            let along_row = (pixel % columns) as f64 * spacing[1];
            let along_column = (pixel / columns) as f64 * spacing[0];
            let at = |i: usize| along_row * cosines[i] + along_column * cosines[3 + i];
            let point = PointMm::new(first.x + at(0), first.y + at(1), first.z + at(2));
            let v = grid.to_voxel(point);
            let nearest = [v.z, v.y, v.x].map(f64::round);
            for (place, nearest) in [v.z, v.y, v.x].into_iter().zip(nearest) {
                assert!((place - nearest).abs() < 1e-5, "beside the grid: {place}");
            }
            let voxel = &mut voxels[nearest.map(|i| i as usize)];
            assert_eq!(*voxel, 0, "two segments in one voxel");
            *voxel = label;
        }
    }
    voxels
}

fn round_trip(geometry: &Geometry) {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), geometry, |_| {});
    assert!(scan.volume.geometry.same_grid(geometry, 1e-6), "{:?}", scan.volume.geometry);
    let labels = labels(&scan.volume.geometry);
    let object = open_file(written(folder.path(), &scan, &labels)).unwrap();
    assert_eq!(read_back(&object, geometry), labels.voxels);
    for (_, first, _, uid) in frames(&object) {
        let z = geometry.to_voxel(first).z.round();
        assert_eq!(uid, format!("1.2.3.{z}"), "the frame names another image");
    }
}

#[test]
fn an_axial_series_comes_back() {
    round_trip(&axial());
}

/// Rows from right to left and from the back forwards, slices from head to feet.
#[test]
fn turned_and_flipped_series_come_back() {
    let axes = [
        [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]],
        [[0., 0., -1.], [0., -1., 0.], [1., 0., 0.]],
    ];
    for axes in axes {
        round_trip(&Geometry { axes, ..axial() });
    }
}

#[test]
fn an_oblique_series_comes_back() {
    let ((s, c), (t, d)) = (0.3_f64.sin_cos(), 0.7_f64.sin_cos());
    // Rows turned about z by 0.7 rad, then all about x by 0.3 rad.
    let along_row = [d, t * c, t * s];
    let along_column = [-t, d * c, d * s];
    round_trip(&Geometry { axes: [[0., -s, c], along_column, along_row], ..axial() });
}

#[test]
fn frames_are_sorted_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), &axial(), |_| {});
    let labels = labels(&scan.volume.geometry);
    let object = open_file(written(folder.path(), &scan, &labels)).unwrap();
    let groups = object.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
    let index = |group: &InMemDicomObject| {
        let content = only(group, tags::FRAME_CONTENT_SEQUENCE);
        content.element(tags::DIMENSION_INDEX_VALUES).unwrap().to_multi_int::<u32>().unwrap()
    };
    let indices: Vec<_> = groups.items().unwrap().iter().map(index).collect();
    // Slices 1, 2, 3 and 5 are the first to fourth position.
    let expected = [[1, 1], [1, 2], [2, 1], [2, 2], [2, 3], [3, 4]];
    assert_eq!(indices, expected);
}

#[test]
fn patient_study_and_space_are_the_series() {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), &axial(), |_| {});
    let labels = labels(&scan.volume.geometry);
    let object = open_file(written(folder.path(), &scan, &labels)).unwrap();
    for (tag, value) in [
        (tags::SOP_CLASS_UID, uids::SEGMENTATION_STORAGE),
        (tags::MODALITY, "SEG"),
        (tags::PATIENT_NAME, "Größe^Ä"),
        (tags::PATIENT_ID, "P1"),
        (tags::PATIENT_SEX, ""),
        (tags::STUDY_INSTANCE_UID, "1.2"),
        (tags::FRAME_OF_REFERENCE_UID, "1.2.9"),
        (tags::SERIES_NUMBER, "1004"),
        (tags::CONTENT_DATE, "20200229"),
        (tags::SEGMENTATION_TYPE, "BINARY"),
        (tags::LOSSY_IMAGE_COMPRESSION, "00"),
    ] {
        assert_eq!(text(&object, tag), value, "{tag}");
    }
    assert_ne!(text(&object, tags::SERIES_INSTANCE_UID), "1.2.3");
    let referenced = only(&object, tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!(text(referenced, tags::SERIES_INSTANCE_UID), "1.2.3");
    let instances = referenced.element(tags::REFERENCED_INSTANCE_SEQUENCE).unwrap();
    assert_eq!(instances.items().unwrap().len(), SHAPE[0]);
    let segments = object.element(tags::SEGMENT_SEQUENCE).unwrap().items().unwrap();
    let tracked: Vec<_> = segments.iter().map(|s| text(s, tags::TRACKING_UID)).collect();
    assert_eq!(segments.len(), 3);
    assert!(tracked[0] != tracked[1] && tracked[1] != tracked[2]);
    for (tag, code) in [
        (tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, "49755003"),
        (tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, "27925004"),
        (tags::ANATOMIC_REGION_SEQUENCE, "39607008"),
    ] {
        assert_eq!(text(only(&segments[1], tag), tags::CODE_VALUE), code);
    }
}

#[test]
fn the_same_scan_and_labels_give_the_same_bytes_and_others_another_uid() {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), &axial(), |_| {});
    let mut labels = labels(&scan.volume.geometry);
    let read = |labels: &LabelVolume| {
        let path = written(folder.path(), &scan, labels);
        (std::fs::read(&path).unwrap(), text(&open_file(path).unwrap(), tags::SOP_INSTANCE_UID))
    };
    let (first, uid) = read(&labels);
    assert_eq!(read(&labels), (first, uid.clone()));
    labels.voxels[[1, 0, 0]] = 3;
    assert_ne!(read(&labels).1, uid);
}

#[test]
fn what_the_series_does_not_say_is_made_up_or_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), &axial(), |object| {
        for tag in [tags::FRAME_OF_REFERENCE_UID, tags::STUDY_DATE, tags::PATIENT_NAME] {
            object.remove_element(tag);
        }
    });
    let labels = labels(&scan.volume.geometry);
    let object = open_file(written(folder.path(), &scan, &labels)).unwrap();
    assert!(text(&object, tags::FRAME_OF_REFERENCE_UID).starts_with("2.25."));
    assert_eq!(
        (text(&object, tags::STUDY_DATE), text(&object, tags::PATIENT_NAME)),
        Default::default()
    );
    assert_eq!(text(&object, tags::CONTENT_TIME), "000000");
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let scan = series(folder.path(), &axial(), |_| {});
    let source = SourceImages::of(&scan).unwrap();
    let path = folder.path().join("refused.dcm");
    let write = |labels: &LabelVolume, count: usize| {
        write_segmentation(&path, &source, labels, &segments(count), &algorithm()).unwrap_err()
    };
    let nothing = LabelVolume::new(Array3::zeros(SHAPE), axial());
    assert!(matches!(write(&nothing, 0), SegmentationError::Nothing(_)));
    let of_three = labels(&axial());
    assert!(matches!(write(&of_three, 2), SegmentationError::Label { label: 3, .. }));
    assert!(matches!(write(&of_three, 4), SegmentationError::Label { label: 4, .. }));
    let shorter = labels(&Geometry { shape: [7, 7, 5], ..axial() });
    assert!(matches!(write(&shorter, 3), SegmentationError::Slices { slices: 7, images: 6, .. }));
    assert!(!path.exists());
}
