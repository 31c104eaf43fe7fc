//! Every case of `tests/odd_dicom` (see its README): transfer syntaxes, what lies beside a series,
//! stacks that are none. The answer or the refusal must be the right one.

mod shared_data;

use dasl_volume::dicom::read_folder;
use dasl_volume::{Geometry, PointMm};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// A case's answer in expected.json.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Refused {
        refusal: String,
    },
    Read {
        shape: [usize; 3],
        spacing_mm: [f64; 3],
        origin_mm: [f64; 3],
        axes: [[f64; 3]; 3],
        sum: i64,
        sha256: String,
        notes: Vec<String>,
    },
}

/// The difference between a case and its answer, if there is one.
fn difference(folder: &Path, expected: &Expected) -> Option<String> {
    let without_folder = |text: String| text.replace(&format!("{}/", folder.display()), "");
    match (read_folder(folder), expected) {
        (Err(error), Expected::Refused { refusal }) => {
            let text = without_folder(error.to_string());
            let is_right = text.contains(refusal) && !text.contains('\n');
            (!is_right || text.contains("Secret")).then(|| format!("says {text:?}"))
        }
        (Err(error), Expected::Read { .. }) => Some(format!("is refused: {error}")),
        (Ok(_), Expected::Refused { .. }) => Some("is read".into()),
        (Ok(scan), Expected::Read { shape, spacing_mm, origin_mm, axes, sum, sha256, notes }) => {
            let [x, y, z] = *origin_mm;
            let want = Geometry {
                shape: *shape,
                spacing_mm: *spacing_mm,
                origin_mm: PointMm::new(x, y, z),
                axes: *axes,
            };
            let got = scan.volume.geometry;
            if !got.same_grid(&want, 1e-4) {
                return Some(format!("has the grid {got:?}, not {want:?}"));
            }
            let got_notes: Vec<String> = scan.notes.into_iter().map(without_folder).collect();
            if got_notes != *notes {
                return Some(format!("has the notes {got_notes:?}, not {notes:?}"));
            }
            let voxels = scan.volume.voxels;
            let got_sum: i64 = voxels.iter().map(|v| i64::from(*v)).sum();
            let bytes: Vec<u8> = voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut hash = String::new();
            for byte in Sha256::digest(&bytes) {
                let _ = write!(hash, "{byte:02x}");
            }
            (hash != *sha256).then(|| format!("has other voxels: sum {got_sum}, not {sum}"))
        }
    }
}

#[test]
fn every_case_has_its_answer() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd_dicom");
    let expected = std::fs::read_to_string(here.join("expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&expected).unwrap();
    let files = shared_data::unpack(&here.join("odd_dicom.tar.xz"));
    let mut wrong = Vec::new();
    for (name, answer) in &expected {
        if name.contains("jpeg_2000") && !cfg!(feature = "jpeg2000") {
            continue;
        }
        if let Some(difference) = difference(&files.path().join(name), answer) {
            wrong.push(format!("{name} {difference}"));
        }
    }
    assert!(expected.len() > 90, "{}", expected.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expected.len(), wrong.join("\n"));
}

#[test]
#[cfg(not(feature = "jpeg2000"))]
fn without_its_feature_jpeg_2000_is_refused_with_the_way_out() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd_dicom");
    let files = shared_data::unpack(&here.join("odd_dicom.tar.xz"));
    let error = read_folder(&files.path().join("jpeg_2000_90")).unwrap_err().to_string();
    assert!(error.contains("build with the feature jpeg2000, or decompress"), "{error}");
}
