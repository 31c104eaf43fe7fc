//! Clusters and 50 % masks of 19 series against pylidc's (tests/golden/clusters.csv), the most
//! crowded series of the collection among them.

mod shared_data;

use dasl_lidc::{Rule, SlicePositions, XmlKind, cluster, consensus, outlines, read_xml};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Row {
    patient: String,
    series_uid: String,
    slice_thickness_mm: f64,
    slice_spacing_mm: f64,
    z0_mm: f64,
    slices: usize,
    outlines: String,
    voxels: usize,
    z: usize,
    y: usize,
    x: usize,
}

#[test]
fn clusters_and_masks_are_pylidcs() {
    let Some(folder) = shared_data::folder("lidc-xml-all") else { return };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clusters.csv");
    let mut expected: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut csv = csv::ReaderBuilder::new().comment(Some(b'#')).from_path(golden).unwrap();
    for row in csv.deserialize() {
        let row: Row = row.unwrap();
        expected.entry(row.series_uid.clone()).or_default().push(row);
    }

    let to = tempfile::tempdir().unwrap();
    shared_data::unpack(&folder.join("tcia-lidc-xml.tar.xz"), &[], to.path());
    let mut checked = 0;
    for file in walkdir::WalkDir::new(to.path()).sort_by_file_name() {
        let file = file.unwrap();
        if !file.file_type().is_file() || !names_one_of(file.path(), &expected) {
            continue;
        }
        let XmlKind::Ct(reading) = read_xml(file.path()).unwrap() else { continue };
        let rows = &expected[&reading.series_uid];
        let z = (0..rows[0].slices).map(|k| rows[0].z0_mm + k as f64 * rows[0].slice_spacing_mm);
        let slices = SlicePositions::new(z.collect()).unwrap();
        let outlines = outlines(&reading, &slices, [512, 512]).unwrap();
        let groups = cluster(&outlines, rows[0].slice_thickness_mm);
        assert_eq!(groups.len(), rows.len(), "{}", rows[0].patient);
        for (group, row) in groups.iter().zip(rows) {
            let members: Vec<String> = group.iter().map(ToString::to_string).collect();
            assert_eq!(members.join(" "), row.outlines, "{}", row.patient);
            let members: Vec<_> = group.iter().map(|&i| &outlines[i]).collect();
            let mask = consensus(&members, Rule::Pylidc).unwrap();
            let found = (mask.count(), mask.start);
            assert_eq!(found, (row.voxels, [row.z, row.y, row.x]), "{}", row.patient);
        }
        checked += 1;
    }
    assert_eq!(checked, expected.len());
}

/// Whether the file's head names one of the series: most of the 1,318 files need no parsing.
fn names_one_of(file: &Path, series: &BTreeMap<String, Vec<Row>>) -> bool {
    let text = std::fs::read_to_string(file).unwrap();
    text.split_once("<SeriesInstanceUid>")
        .and_then(|(_, rest)| rest.split_once('<'))
        .is_some_and(|(uid, _)| series.contains_key(uid.trim()))
}
