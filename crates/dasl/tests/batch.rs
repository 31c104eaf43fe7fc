//! A batch of 200 scans of which 20 are broken, each in a way of its own: 180 are imported, the 20
//! named with the reason.

mod made_up;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, Geometry, PointMm, Volume, nifti};
use dicom_core::VR;
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::tags;
use made_up::{Ran, rewrite_file, run, slice};
use ndarray::Array3;

const DICOM: usize = 130;
const NIFTI: usize = 40;
const METAIMAGE: usize = 20;
const NRRD: usize = 10;

/// What is broken: a series' folder or a file, and words that its reason holds.
type Broken = (PathBuf, &'static [&'static str]);

#[test]
fn of_200_scans_20_are_broken_in_20_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (source, dataset) = (folder.path().join("source"), folder.path().join("dataset"));
    let mut broken = dicom(&source.join("dicom"));
    assert_eq!(broken.len(), 13);
    for (name, spoilt) in [("nifti", nifti_files as fn(&Path) -> _), ("others", other_files)] {
        fs::create_dir(source.join(name)).unwrap();
        broken.extend(spoilt(&source.join(name)));
    }
    assert_eq!(broken.len(), 20);
    broken.sort();

    let ran = import("scans", &source, &dataset);
    let said = "180 scans with 0 nodules added, 0 there already, 20 set aside";
    assert!(ran.out.contains(said), "{}", ran.out);
    names_each(&ran, &dataset, &broken);
    assert_eq!(fs::read_dir(dataset.join("scans")).unwrap().count(), 180);

    // Once more: nothing is done again, and the same is said.
    let again = import("scans", &source, &dataset);
    let said = "0 scans with 0 nodules added, 180 there already, 20 set aside";
    assert!(again.out.contains(said), "{}", again.out);
    names_each(&again, &dataset, &broken);

    // Series with their readings: the broken ones, and as many good ones.
    broken.retain(|(path, _)| path.starts_with(source.join("dicom")));
    let (source, dataset) = (source.join("dicom"), folder.path().join("annotated"));
    for patient in (1..=DICOM).filter(|number| ![1, 5].contains(&(number % 10))) {
        fs::remove_dir_all(source.join(format!("PHANTOM-{patient:03}"))).unwrap();
    }
    let ran = import("lidc", &source, &dataset);
    assert!(ran.out.contains("13 scans with"), "{}", ran.out);
    assert!(ran.out.contains("0 there already, 13 set aside"), "{}", ran.out);
    names_each(&ran, &dataset, &broken);
}

fn import(what: &str, source: &Path, dataset: &Path) -> Ran {
    let paths = [source.to_str().unwrap(), "--out", dataset.to_str().unwrap()];
    run(["import", what, "--spacing", "3"].iter().chain(&paths))
}

/// One line for each that is broken, on standard error as in `set_aside.csv`, and exit code 3.
fn names_each(ran: &Ran, dataset: &Path, broken: &[Broken]) {
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let mut lines: Vec<&str> = ran.err.lines().filter(|l| !l.starts_with(" WARN ")).collect();
    lines.sort_unstable();
    let mut table = csv::Reader::from_path(dataset.join("set_aside.csv")).unwrap();
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    assert_eq!((lines.len(), rows.len()), (broken.len(), broken.len()), "{}", ran.err);
    for (((path, words), line), row) in broken.iter().zip(lines).zip(rows) {
        let path = path.to_str().unwrap();
        let reason = line.strip_prefix(&format!("set aside: {path}: "));
        let reason = reason.unwrap_or_else(|| panic!("{line} should be of {path}"));
        assert_eq!((&row[0], &row[2]), (path, reason));
        for word in *words {
            assert!(reason.contains(word), "{word:?} is not in: {line}");
        }
    }
}

/// What breaks a series: it gets the series' folder and its sixth slice.
type Spoil<'a> = &'a dyn Fn(&Path, &Path);

/// Writes the series; every tenth is broken.
fn dicom(root: &Path) -> Vec<Broken> {
    let series = made_up::tiny_scans(root, 11, DICOM);
    let each = |series: &Path, tag, vr, value: PrimitiveValue| {
        (1..=12).for_each(|n| rewrite_file(&slice(series, n), tag, vr, value.clone()));
    };
    let ways: [(Spoil, &'static [&'static str]); 13] = [
        (&|_, sixth| fs::remove_file(sixth).unwrap(), &["slices missing", "000005.dcm"]),
        (
            &|series, sixth| {
                let again = series.join("again.dcm");
                fs::copy(sixth, &again).unwrap();
                rewrite_file(&again, tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
            },
            &["000006.dcm", "again.dcm", "same position"],
        ),
        (&|_, sixth| cut(sixth), &["000006.dcm", "truncated"]),
        (&|_, sixth| fs::write(sixth, "").unwrap(), &["000006.dcm", "empty"]),
        (
            &|_, sixth| fs::write(sixth, [7; 4000]).unwrap(),
            &["000006.dcm", "does not begin like a DICOM file"],
        ),
        (
            &|_, sixth| rewrite_file(sixth, tags::PIXEL_SPACING, VR::DS, "3\\3.5"),
            &["000006.dcm", "differ in PixelSpacing"],
        ),
        (
            &|series, _| {
                each(series, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1".into());
            },
            &["MONOCHROME1", "convert"],
        ),
        (
            &|series, _| each(series, tags::BITS_ALLOCATED, VR::US, 32_u16.into()),
            &["32 bits per pixel"],
        ),
        (
            &|series, _| {
                each(series, tags::SAMPLES_PER_PIXEL, VR::US, 3_u16.into());
                each(series, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB".into());
            },
            &["RGB"],
        ),
        (
            &|series, _| (2..=12).for_each(|n| fs::remove_file(slice(series, n)).unwrap()),
            &["single slice"],
        ),
        (&|_, sixth| shift(sixth, [0.0, 0.0, 1.0]), &["uneven slice spacing"]),
        (&|_, sixth| shift(sixth, [0.0, 5.0, 0.0]), &["5.00 mm beside the normal"]),
        (
            &|series, _| each(series, tags::RESCALE_SLOPE, VR::DS, "".into()),
            &["RescaleSlope is missing"],
        ),
    ];
    let spoilt = series.into_iter().skip(4).step_by(10);
    spoilt
        .zip(ways)
        .map(|(series, (spoil, words))| {
            spoil(&series, &slice(&series, 6));
            (series, words)
        })
        .collect()
}

/// Takes the last 100 bytes away.
fn cut(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
}

/// Moves a slice by [x, y, z] mm.
fn shift(path: &Path, by: [f64; 3]) {
    let object = dicom_object::open_file(path).unwrap();
    let position = object.element(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64();
    let moved = position.unwrap().iter().zip(by).map(|(at, by)| (at + by).to_string()).collect();
    let value = PrimitiveValue::Strs(moved);
    rewrite_file(path, tags::IMAGE_POSITION_PATIENT, VR::DS, value);
}

/// A small volume that is no other's.
fn volume(number: usize) -> CtVolume {
    let origin = PointMm::new(-40.0, 3.0, number as f64);
    let geometry = Geometry::axial([12, 14, 16], [3.0, 2.5, 2.5], origin);
    let voxels = Array3::from_shape_fn(geometry.shape, |(z, y, x)| {
        if (4..8).contains(&z) && y > 9 { number as i16 } else { -900 + x as i16 }
    });
    Volume::new(voxels, geometry)
}

fn nifti_files(folder: &Path) -> Vec<Broken> {
    let path = |number: usize, ending: &str| folder.join(format!("n{number:03}.{ending}"));
    for number in 0..NIFTI - 4 {
        let ending = if number % 2 == 0 { "nii" } else { "nii.gz" };
        nifti::write_ct(&path(number, ending), &volume(number)).unwrap();
    }
    let [nan, cut_off, empty, four] = ["nan.nii", "cut.nii.gz", "empty.nii", "four.nii"];
    let spoilt = |name: &str, spoil: &dyn Fn(&mut Vec<u8>)| {
        let path = folder.join(name);
        nifti::write_ct(&path, &volume(NIFTI)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        spoil(&mut bytes);
        fs::write(&path, bytes).unwrap();
        path
    };
    // Fields of the header by their offset: sizes 40, type 70, bits per voxel 72; voxels at 352.
    let as_nan = |bytes: &mut Vec<u8>| {
        bytes[70..74].copy_from_slice(&[16, 0, 32, 0]);
        bytes.truncate(352);
        bytes.extend(f32::NAN.to_le_bytes().repeat(12 * 14 * 16));
    };
    let as_two = |bytes: &mut Vec<u8>| {
        (bytes[40], bytes[48]) = (4, 2);
        let voxels = bytes[352..].to_vec();
        bytes.extend(voxels);
    };
    vec![
        (spoilt(nan, &as_nan), &["is NaN; a CT holds Hounsfield units"]),
        (spoilt(cut_off, &|bytes| bytes.truncate(bytes.len() / 2)), &["copy the file again"]),
        (spoilt(empty, &Vec::clear), &["cannot be read as NIfTI"]),
        (spoilt(four, &as_two), &["one three-dimensional image"]),
    ]
}

fn other_files(folder: &Path) -> Vec<Broken> {
    for number in 0..METAIMAGE {
        let ending = if number % 2 == 0 { "mha" } else { "mhd" };
        let path = folder.join(format!("m{number:03}.{ending}"));
        metaimage::write_ct(&path, &volume(number), Compression::None).unwrap();
    }
    fs::remove_file(folder.join("m007.raw")).unwrap();
    cut(&folder.join("m012.mha"));
    for number in 0..NRRD {
        let bytes = nrrd(number, if number == 3 { "sizes: 16 14" } else { "sizes: 16 14 12" });
        fs::write(folder.join(format!("r{number:03}.nrrd")), bytes).unwrap();
    }
    vec![
        (folder.join("m007.mhd"), &["m007.raw", "does not exist"]),
        (folder.join("m012.mha"), &["that the header promises"]),
        (folder.join("r003.nrrd"), &["sizes"]),
    ]
}

/// A NRRD file with this line for the sizes.
fn nrrd(number: usize, sizes: &str) -> Vec<u8> {
    let head = format!(
        "NRRD0004\ntype: short\ndimension: 3\n{sizes}\nspace: LPS\nspace origin: (-40,3,{number})\n\
         space directions: (2.5,0,0) (0,2.5,0) (0,0,3)\nencoding: raw\nendian: little\n\n"
    );
    let voxels = volume(number).voxels.into_iter().flat_map(i16::to_le_bytes);
    head.into_bytes().into_iter().chain(voxels).collect()
}
