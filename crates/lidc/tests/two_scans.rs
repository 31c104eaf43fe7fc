//! The nodules of two whole scans against those that pylidc finds (nodules.json beside the
//! DICOM files, written with pylidc 0.2.3).

mod shared_data;

use dasl_lidc::{Nodule, Reading, Rule, XmlKind, label_map, nodules, read_xml, same_series};
use dasl_volume::{Geometry, PointMm};
use serde_json::Value;
use std::path::Path;

struct Case {
    reading: Reading,
    geometry: Geometry,
    thickness_mm: f64,
    json: Value,
}

fn case(patient: &str, folder: &str) -> Option<Case> {
    let folder = shared_data::folder(folder)?;
    let text = std::fs::read_to_string(folder.join("nodules.json")).unwrap();
    let json = serde_json::from_str::<Value>(&text).unwrap()[patient].take();
    let to = tempfile::tempdir().unwrap();
    let archive = folder.join(format!("{patient}.dicom.tar.xz"));
    shared_data::unpack(&archive, &["*.xml".to_owned()], to.path());
    let number = |v: &Value| v.as_f64().unwrap();
    let [rows, columns, slices] =
        [0, 1, 2].map(|i| json["shape_row_col_slice"][i].as_u64().unwrap() as usize);
    let pixel = number(&json["pixel_spacing"]);
    let [x, y, z] = [0, 1, 2].map(|i| number(&json["origin_xyz"][i]));
    let geometry = Geometry::axial(
        [slices, rows, columns],
        [number(&json["slice_spacing"]), pixel, pixel],
        PointMm::new(x, y, z),
    );
    let thickness_mm = number(&json["slice_thickness"]);
    Some(Case { reading: reading_in(to.path()), geometry, thickness_mm, json })
}

/// The one XML somewhere below a folder.
fn reading_in(folder: &Path) -> Reading {
    let mut xml = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|e| e.unwrap().into_path())
        .filter(|p| p.extension().is_some_and(|e| e == "xml"));
    match read_xml(&xml.next().expect("an XML")).unwrap() {
        XmlKind::Ct(reading) => reading,
        XmlKind::XRay => panic!("a CT's XML"),
    }
}

fn check(case: &Case, voxels: &[usize]) -> Vec<Nodule> {
    same_series(&case.reading, case.json["series_uid"].as_str().unwrap()).unwrap();
    let found = nodules(&case.reading, &case.geometry, case.thickness_mm, Rule::Pylidc).unwrap();
    let expected = case.json["nodules"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.iter().map(|n| n.mask.count()).collect::<Vec<_>>(), voxels);
    for (nodule, json) in found.iter().zip(expected) {
        assert_eq!(nodule.readers as u64, json["readers"].as_u64().unwrap());
        assert_eq!(nodule.outlines.len(), nodule.readers);
        assert_eq!(nodule.mask.count() as u64, json["consensus50_voxels"].as_u64().unwrap());
        assert_eq!(serde_json::json!(nodule.malignancy), json["malignancy"]);
        assert_eq!(nodule.texture.len(), nodule.outlines.len());
        let near = |value: f64, json: &Value, what: &str| {
            assert!((value - json.as_f64().unwrap()).abs() <= 0.0501, "{what}: {value} != {json}");
        };
        let (c, p) = (nodule.centroid, nodule.center_mm);
        for (i, value) in [c.y, c.x, c.z].into_iter().enumerate() {
            near(value, &json["centroid_ijk_row_col_slice"][i], "centroid");
        }
        for (i, value) in [p.x, p.y, p.z].into_iter().enumerate() {
            near(value, &json["world_xyz_mm"][i], "centre");
        }
        near(nodule.volume_mm3, &json["consensus50_mm3"], "volume");
        near(nodule.diameter_mm, &json["equiv_diameter_mm"], "diameter");
    }
    found
}

#[test]
fn lidc_idri_0001_has_one_nodule_of_5428_voxels() {
    let Some(case) = case("LIDC-IDRI-0001", "lidc-idri-0001") else { return };
    check(&case, &[5428]);
    // Thirteen readers' nodules, four of them outlined.
    let of = |s: &dasl_lidc::Session| (s.nodules.len(), s.non_nodules.len());
    let (all, non) =
        case.reading.sessions.iter().map(of).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert_eq!((all, non), (13, 13));
    assert_eq!(case.reading.study_uid.as_deref(), case.json["study_uid"].as_str());
}

#[test]
fn lidc_idri_0003_has_four_nodules() {
    let Some(case) = case("LIDC-IDRI-0003", "lidc-idri-0003") else { return };
    let found = check(&case, &[2542, 3241, 261, 704]);

    // One reader alone outlined the first: no nodule for the rules that ask for more.
    for rule in [Rule::TwoOfFour, Rule::ThreeReadersUnion] {
        let stricter = nodules(&case.reading, &case.geometry, case.thickness_mm, rule).unwrap();
        assert_eq!(stricter.len(), 3, "{rule}");
        let outlines = |n: &[Nodule]| n.iter().map(|n| n.outlines.clone()).collect::<Vec<_>>();
        assert_eq!(outlines(&stricter), outlines(&found[1..]), "{rule}");
    }
    // With four readers, half of them are two of four; the union is larger.
    let with = |rule| nodules(&case.reading, &case.geometry, case.thickness_mm, rule).unwrap();
    for (half, two) in found[1..].iter().zip(with(Rule::TwoOfFour)) {
        assert_eq!(half.mask, two.mask);
    }
    let union: Vec<usize> = with(Rule::ThreeReadersUnion).iter().map(|n| n.mask.count()).collect();
    // vox_union of lidc-voi-cubes/index.csv.
    assert_eq!(union, [5914, 330, 867]);

    let map = label_map(&found, &case.geometry);
    for (label, nodule) in (1u16..).zip(&found) {
        let count = map.voxels.iter().filter(|&&v| v == label).count();
        let hidden = nodule.mask.indices().filter(|&at| map.voxels[at] < label).count();
        assert_eq!(count + hidden, nodule.mask.count());
    }
}
