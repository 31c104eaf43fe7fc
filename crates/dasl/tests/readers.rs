//! `dasl evaluate readers` on made-up scans with four readers.

mod made_up;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dasl_volume::VoxelPos;
use dasl_volume::dicom::{find_series, read_grid};
use made_up::run;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The table that `oracle/export_slices.py` makes, of these series.
fn slices(source: &Path) -> String {
    let mut table = "series_uid,slice_thickness,pixel_spacing,z_mm\n".to_owned();
    for files in find_series(source).unwrap().series {
        let grid = read_grid(&files).unwrap();
        let g = grid.geometry;
        let z: Vec<String> = (0..g.shape[0])
            .map(|k| g.to_mm(VoxelPos::new(k as f64, 0.0, 0.0)).z.to_string())
            .collect();
        let thickness = grid.slice_thickness_mm.unwrap();
        let (uid, spacing) = (&files.series_uid, g.spacing_mm[1]);
        writeln!(table, "{uid},{thickness},{spacing},{}", z.join(" ")).unwrap();
    }
    table
}

#[test]
fn from_dicom_and_from_a_table_alike() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    made_up::scans(&source, 5, 2);
    let table = folder.path().join("slices.csv");
    fs::write(&table, slices(&source)).unwrap();

    let out = folder.path().join("out");
    let evaluate = ["--json", "evaluate", "readers", text(&source)];
    let by_dicom = run(evaluate.iter().chain(&["--out", text(&out)])).done().json();
    let by_table = run(evaluate.iter().chain(&["--slices", text(&table)])).done().json();
    assert_eq!((&by_dicom["series"], &by_dicom["consensus"]), (&2.into(), &"pylidc".into()));
    for (a, b) in
        by_dicom["groups"].as_array().unwrap().iter().zip(by_table["groups"].as_array().unwrap())
    {
        assert_eq!(
            (&a["name"], &a["nodules"], &a["pairs"]),
            (&b["name"], &b["nodules"], &b["pairs"])
        );
        assert_eq!(a["pair_dice"], b["pair_dice"]);
        let mm = [a, b].map(|g| g["pair_distance_mm"]["mean"].as_f64());
        assert!(mm[0].zip(mm[1]).is_none_or(|(a, b)| (a - b).abs() < 1e-6));
    }
    let all = &by_dicom["groups"][0];
    let figure = |name: &str| all[name]["mean"].as_f64().unwrap();
    // A consensus that a reader is part of is nearer to him than any other reader.
    assert!(figure("pair_dice") > 0.4 && figure("pair_dice") < figure("consensus_dice"));
    assert!(figure("others_dice") < figure("consensus_dice"));
    let rows = fs::read_to_string(out.join("readers.csv")).unwrap().lines().count() - 1;
    assert_eq!(all["nodules"], rows);
    assert!(out.join("readers.json").exists());

    let table = run(&evaluate[1..]).done().out;
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn what_can_not_be_compared() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    made_up::scans(&source, 5, 1);
    let readers =
        |src: &Path, more: &[&str]| run(["evaluate", "readers", text(src)].iter().chain(more));
    let dataset = folder.path().join("dataset");
    made_up::import(&source, &dataset).done();
    readers(&dataset, &[]).failed(&[text(&dataset), "keeps the consensus only"]);

    let table = folder.path().join("slices.csv");
    fs::write(&table, slices(&source).replace(",3,", ",-3,")).unwrap();
    readers(&source, &["--slices", text(&table)]).failed(&[text(&table), "must be positive"]);
    fs::write(&table, "series_uid,slice_thickness\n1,2\n").unwrap();
    readers(&source, &["--slices", text(&table)]).failed(&[text(&table), "missing field"]);
    assert_eq!(run(["evaluate"]).code, Some(2), "clap names what is missing");
    assert_eq!(run(["evaluate", text(&dataset)]).code, Some(2), "clap names what is missing");
}
