//! Series that read, and series that must be refused in clear words.

mod dicom_slice;

use dasl_volume::dicom::{
    DicomError, SeriesAttributes, SeriesFiles, find_series, read_folder, read_series,
};
use dasl_volume::{Geometry, PointMm};
use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_slice::{COLUMNS, ROWS, Slice, folder, refusal};

#[test]
fn a_good_series_reads() {
    let folder = folder(|_, _| {});
    let scan = read_folder(folder.path()).unwrap();
    let g = scan.volume.geometry;
    let want =
        Geometry::axial([5, ROWS, COLUMNS], [2.5, 0.7, 0.8], PointMm::new(-20., -30., -100.));
    assert!(g.same_grid(&want, 1e-9), "{g:?}");
    assert_eq!(scan.volume.voxels[[2, 1, 3]], 200 + 7 - 1024);
    assert_eq!(scan.slice_uids[2], "1.2.3.2");
    assert_eq!(scan.source[2], folder.path().join("2.dcm"));
    assert_eq!((scan.series_uid.as_str(), scan.patient_id.as_str()), ("1.2.3", "P1"));
    assert_eq!(scan.frame_of_reference_uid.as_deref(), Some("1.2.9"));
    assert_eq!(scan.slice_thickness_mm, Some(2.5));
}

#[test]
fn names_do_not_matter() {
    let (ordered, shuffled) = (folder(|_, _| {}), tempfile::tempdir().unwrap());
    for (n, name) in [(0, "z"), (1, "m"), (2, "a"), (3, "y"), (4, "b")] {
        let sub = shuffled.path().join(format!("sub{}", n % 2));
        std::fs::create_dir_all(&sub).unwrap();
        Slice::new(n).write(&sub, name); // no .dcm: known by its magic
    }
    let (a, b) = (read_folder(ordered.path()).unwrap(), read_folder(shuffled.path()).unwrap());
    assert_eq!(a.volume, b.volume);
    assert_eq!(a.slice_uids, b.slice_uids);
}

#[test]
fn a_series_written_from_head_to_feet_is_the_same_volume() {
    let up = read_folder(folder(|_, _| {}).path()).unwrap();
    let down = folder(|n, slice| *slice = Slice::new(4 - n));
    let down = read_folder(down.path()).unwrap();
    assert_eq!(up.volume, down.volume);
}

#[test]
fn a_flipped_orientation_keeps_its_own_directions() {
    // Rows run to the right and columns to the front: the normal still points to the head.
    let turned = folder(|_, slice| slice.orientation = r"-1\0\0\0\-1\0");
    let g = read_folder(turned.path()).unwrap().volume.geometry;
    let axes = [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]];
    assert!(g.same_grid(&Geometry { axes, ..g }, 1e-9), "{g:?}");
    // Columns alone turned round: the normal points to the feet, and so does the array's z.
    let mirrored = folder(|_, slice| slice.orientation = r"1\0\0\0\-1\0");
    let scan = read_folder(mirrored.path()).unwrap();
    let g = scan.volume.geometry;
    let axes = [[0., 0., -1.], [0., -1., 0.], [1., 0., 0.]];
    let origin_mm = PointMm::new(-20., -30., -90.);
    assert!(g.same_grid(&Geometry { axes, origin_mm, ..g }, 1e-9), "{g:?}");
    assert_eq!(scan.slice_uids[0], "1.2.3.4");
}

#[test]
fn hounsfield_units_follow_each_slices_own_scale() {
    let folder = folder(|n, slice| {
        slice.signed = true;
        slice.first = -50;
        slice.slope = ["1", "0.5", "2", "1000", "1"][n];
        slice.intercept = ["0", "0", "-10.4", "0", "-32760"][n];
    });
    let voxels = read_folder(folder.path()).unwrap().volume.voxels;
    let firsts: Vec<i16> = (0..5).map(|z| voxels[[z, 0, 0]]).collect();
    assert_eq!(firsts, [-50, -25, -110, i16::MIN, i16::MIN]);
}

#[test]
fn two_series_in_a_folder_are_refused() {
    let folder = folder(|_, _| {});
    for n in 0..3 {
        Slice { series: "1.2.4", uid: format!("1.2.4.{n}"), ..Slice::new(n) }
            .write(folder.path(), &format!("other{n}.dcm"));
    }
    assert_eq!(
        refusal(folder.path()),
        "FOLDER: 2 CT series here (1.2.3 with 5 slices, 1.2.4 with 3 slices); pass the files of one"
    );
    let found = find_series(folder.path()).unwrap();
    assert_eq!(read_series(&found.series[1]).unwrap().volume.geometry.shape[0], 3);
}

#[test]
fn other_modalities_are_passed_over_or_named() {
    let folder = folder(|_, _| {});
    let pet = Slice { modality: "PT", series: "1.2.5", ..Slice::new(9) };
    pet.write(folder.path(), "pet.dcm");
    assert!(read_folder(folder.path()).is_ok());
    let only = tempfile::tempdir().unwrap();
    pet.write(only.path(), "pet.dcm");
    assert_eq!(refusal(only.path()), "FOLDER: no CT series, only modality PT; dasl reads CT");
}

#[test]
fn a_missing_slice_is_refused() {
    let folder = folder(|_, _| {});
    std::fs::remove_file(folder.path().join("2.dcm")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "slices missing between 1.dcm and 3.dcm: a gap of 5.000 mm where 2.500 mm is usual; \
         find the missing files"
    );
}

#[test]
fn a_duplicate_slice_is_refused() {
    let folder = folder(|_, _| {});
    Slice { uid: "1.2.3.99".into(), ..Slice::new(2) }.write(folder.path(), "copy.dcm");
    assert_eq!(
        refusal(folder.path()),
        "2.dcm and copy.dcm lie at the same position, -95.000 mm; keep one of them"
    );
}

#[test]
fn uneven_spacing_is_refused_and_rounding_is_not() {
    let uneven = folder(|n, slice| {
        if n == 3 {
            slice.position = r"-20\-30\-92.3".into();
        }
    });
    assert_eq!(
        refusal(uneven.path()),
        "uneven slice spacing between 2.dcm and 3.dcm: 2.700 mm where 2.500 mm is usual; \
         resample the series first"
    );
    let rounded = folder(|n, slice| {
        if n == 3 {
            slice.position = r"-20\-30\-92.49".into();
        }
    });
    assert!(read_folder(rounded.path()).is_ok());
}

#[test]
fn a_tilted_gantry_is_refused() {
    let folder = folder(|n, slice| {
        slice.position = format!(r"-20\{}\{}", -30.0 + n as f64, -100.0 + 2.5 * n as f64);
    });
    assert_eq!(
        refusal(folder.path()),
        "1.dcm lies 1.00 mm beside the normal through 0.dcm: a tilted gantry or a moved table; \
         straighten the series first"
    );
}

#[test]
fn a_single_slice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Slice::new(0).write(folder.path(), "0.dcm");
    assert_eq!(
        refusal(folder.path()),
        "series 1.2.3 has a single slice (0.dcm); give the whole series"
    );
}

#[test]
fn differing_slices_are_refused() {
    let spacing = folder(|n, slice| {
        if n == 3 {
            slice.spacing = r"0.7\0.9";
        }
    });
    assert_eq!(
        refusal(spacing.path()),
        r"0.dcm and 3.dcm differ in PixelSpacing (0.7\0.8 and 0.7\0.9); split the series"
    );
    let orientation = folder(|n, slice| {
        if n > 2 {
            slice.orientation = r"1\0\0\0\0\-1";
        }
    });
    assert_eq!(
        refusal(orientation.path()),
        r"0.dcm and 3.dcm differ in ImageOrientationPatient (1\0\0\0\1\0 and 1\0\0\0\0\-1); split the series"
    );
}

#[test]
fn other_kinds_of_image_are_refused() {
    let inverted = folder(|_, slice| slice.photometric = "MONOCHROME1");
    assert_eq!(
        refusal(inverted.path()),
        "0.dcm: PhotometricInterpretation is MONOCHROME1, not MONOCHROME2; \
         convert the series to MONOCHROME2 first"
    );
    let frames = folder(|_, slice| slice.frames = Some("2"));
    assert_eq!(
        refusal(frames.path()),
        "0.dcm: a multi-frame file (2 frames); convert it to single-frame CT or to NIfTI first"
    );
}

#[test]
fn truncated_files_are_named() {
    let folder = folder(|_, _| {});
    let path = folder.path().join("3.dcm");
    let bytes = std::fs::read(&path).unwrap();
    // Within the pixels: the header is whole, so the series is found, and reading it fails.
    std::fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    assert!(find_series(folder.path()).unwrap().unreadable.is_empty());
    assert_eq!(
        refusal(folder.path()),
        "3.dcm: cannot be read as DICOM (pixel data: the file is truncated); \
         copy the file again or leave it out"
    );
    // A whole file whose pixel data are too short.
    let mut short = Slice::new(3).object();
    short.put(DataElement::new(tags::PIXEL_DATA, VR::OW, dicom_value!(U16, [1, 2, 3])));
    short.write_to_file(&path).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "3.dcm: truncated pixel data (6 bytes of 24); copy the file again"
    );
    // Within the header, and nothing at all.
    std::fs::write(&path, &bytes[..500]).unwrap();
    std::fs::write(folder.path().join("4.dcm"), b"").unwrap();
    let found = find_series(folder.path()).unwrap();
    let unreadable: Vec<_> = found
        .unreadable
        .iter()
        .map(|(path, reason)| (path.file_name().unwrap().to_str().unwrap(), reason.as_str()))
        .collect();
    assert_eq!(unreadable, [("3.dcm", "the file is truncated"), ("4.dcm", "the file is empty")]);
    assert_eq!(
        refusal(folder.path()),
        "3.dcm: cannot be read as DICOM (the file is truncated); copy the file again or leave it out"
    );
}

#[test]
fn empty_and_missing_folders_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let empty = "FOLDER: no DICOM file in this folder; give the folder that holds the CT slices";
    assert_eq!(refusal(folder.path()), empty);
    std::fs::write(folder.path().join("notes.txt"), "not DICOM").unwrap();
    std::fs::write(folder.path().join("069.xml"), "<a/>").unwrap();
    assert_eq!(refusal(folder.path()), empty);
    let missing = folder.path().join("none");
    assert_eq!(
        refusal(&missing),
        "FOLDER: cannot list this folder (it does not exist); check the path"
    );
}

#[test]
fn a_series_that_is_no_ct_is_refused_by_name() {
    let files = SeriesFiles {
        series_uid: "1.2.5".into(),
        study_uid: String::new(),
        patient_id: String::new(),
        modality: "PT".into(),
        files: Vec::new(),
        attributes: SeriesAttributes::default(),
    };
    let error = read_series(&files).unwrap_err();
    assert!(matches!(error, DicomError::NotCt { .. }));
    assert_eq!(error.to_string(), "series 1.2.5: no CT series, only modality PT; dasl reads CT");
}
