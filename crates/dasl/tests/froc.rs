//! `dasl froc` on LUNA16's lists, real and made up.

mod made_up;
mod shared_data;

use std::fs;
use std::path::Path;
use std::process::Command;

use made_up::{Ran, run, run_in};

/// Two scans: two nodules that lie under one mark, one nodule hit twice, equal scores.
const ANNOTATIONS: &str = "seriesuid,coordX,coordY,coordZ,diameter_mm\n\
                           a,0,0,0,8\na,3,0,0,8\nb,0,0,0,6\n";
const MARKS: &str = "seriesuid\tcoordX\tcoordY\tcoordZ\tprobability\tnote\n\
                     a\t1.5\t0\t0\t0.9\tboth\nb\t0\t0\t0\t0.5\thit\nb\t1\t0\t0\t0.7\thit again\n\
                     b\t50\t0\t0\t0.7\tfalse\nb\t90\t0\t0\t0.8\texcluded\n";
const EXCLUDED: &str = "seriesuid,coordX,coordY,coordZ,diameter_mm\nb,90,0,0,-1\n";

fn lists(root: &Path) {
    fs::write(root.join("annotations.csv"), ANNOTATIONS).unwrap();
    fs::write(root.join("marks.csv"), MARKS).unwrap();
    fs::write(root.join("excluded.csv"), EXCLUDED).unwrap();
    fs::write(root.join("series.csv"), "a\nb\nc\nd\n").unwrap();
}

fn froc(root: &Path, more: &str) -> Ran {
    let words = "froc --marks @marks.csv --annotations @annotations.csv --excluded @excluded.csv \
                 --series @series.csv";
    run_in(root, &format!("{words} {more}"))
}

/// As in `dasl froc ... | head`.
#[cfg(unix)]
#[test]
fn nobody_who_reads_on_is_no_failure() {
    use std::os::unix::process::ExitStatusExt;
    const SIGPIPE: i32 = 13;

    let folder = tempfile::tempdir().unwrap();
    lists(folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_dasl"));
    command.current_dir(folder.path()).args(["froc", "--marks", "marks.csv"]);
    command.args(["--annotations", "annotations.csv", "--series", "series.csv"]);
    let ended = command.stdout(writer).output().unwrap();
    assert_eq!(ended.status.signal(), Some(SIGPIPE));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[test]
fn made_up_lists_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    lists(root);
    let ran = froc(root, "--json --out @out").done();
    assert!(!ran.err.contains("does not list"), "{}", ran.err);
    let value = ran.json();
    let counts = &value["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!((count("scans"), count("nodules"), count("marks")), (4, 3, 5));
    assert_eq!((count("true_positives"), count("false_negatives")), (3, 0));
    assert_eq!((count("false_positives"), count("duplicates")), (1, 1));
    assert_eq!(count("marks_on_exclusions"), 1);
    // The false mark is as sure as the last hit: one point (1/4, 1), reached on a line from
    // (0, 2/3).
    let sensitivities: Vec<f64> =
        value["sensitivities"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!((sensitivities[0] - 5.0 / 6.0).abs() < 1e-12);
    assert!(sensitivities[1..].iter().all(|s| (s - 1.0).abs() < 1e-12));
    let cpm = value["cpm"].as_f64().unwrap();
    assert!((cpm - (5.0 / 6.0 + 6.0) / 7.0).abs() < 1e-12);
    assert!(value["intervals"]["cpm"]["low"].as_f64().unwrap() <= cpm);

    let points = fs::read_to_string(root.join("out/operating_points.csv")).unwrap();
    assert_eq!(points.lines().count(), 3, "{points}");
    let curve = fs::read_to_string(root.join("out/froc.csv")).unwrap();
    assert!(curve.starts_with("false_positives_per_scan,sensitivity,low,high\n0.125,0.8333"));
    froc(root, "--out @out").done();
    assert_eq!(curve, fs::read_to_string(root.join("out/froc.csv")).unwrap(), "the same bytes");
}

#[test]
fn another_system_and_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    lists(root);
    let header = MARKS.lines().next().unwrap();
    fs::write(root.join("silent.csv"), format!("{header}\n")).unwrap();
    let value = froc(root, "--json --against @silent.csv --bootstrap 200").done().json();
    assert_eq!(value["against"]["cpm"], 0.0);
    assert_eq!(value["cpm_difference"]["difference"], value["cpm"]);
    // As good as chance can be against the two scans with nodules.
    assert_eq!(value["cpm_difference"]["p"], 0.5);
    let same = froc(root, "--json --against @marks.csv --bootstrap 50").done().json();
    assert_eq!(same["cpm_difference"]["p"], 1.0);
    let text = froc(root, "--against @silent.csv").done().out;
    assert!(text.contains("rules: LUNA16"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn lists_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    lists(root);
    fs::write(root.join("series.csv"), "7\n").unwrap();
    froc(root, "").failed(&["marks.csv", "none of the listed scans has a nodule"]);
    fs::write(root.join("series.csv"), "\n").unwrap();
    froc(root, "").failed(&["no scan is listed"]);
    fs::write(root.join("marks.csv"), "seriesuid,coordX\na,1\n").unwrap();
    froc(root, "").failed(&["marks.csv", "no column coordY"]);
    fs::remove_file(root.join("marks.csv")).unwrap();
    froc(root, "").failed(&["marks.csv", "No such file"]);
}

#[test]
fn a_published_detector_gets_its_published_figures() {
    let Some(golden) = shared_data::folder("froc-golden") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unpacked = |name: &str| {
        let packed = golden.join(format!("{name}.csv.xz"));
        let output = Command::new("xz").arg("-dc").arg(packed).output().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, output.stdout).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (marks, series) = (unpacked("dpn26bs32"), unpacked("newseriesuids"));
    let (nodules, excluded) = (unpacked("newannotations"), unpacked("newannotations_excluded"));
    let lists = ["--marks", &marks, "--annotations", &nodules, "--excluded", &excluded];
    let rest = ["--series", &series, "--ids", "integers"];
    let text = run(["froc"].iter().chain(&lists).chain(&rest)).done().out;
    let figures = "0.6922  0.7690  0.8238  0.8651  0.8929  0.9174  0.9334  0.8420";
    assert!(text.contains(figures), "{text}");
    assert!(text.contains("46078 false positives"), "{text}");
}

/// The same marks, as `dasl segment` leaves them: of one scan as a series, of the other as a file.
#[test]
fn marks_of_a_folder_that_was_segmented() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    lists(root);
    let by_table = froc(root, "--json").done().json();
    let segmented = root.join("segmented");
    for (name, series, rows) in [
        ("first", "\"a\"", "1,1.5,0,0,5,1,0.9\n"),
        ("b", "null", "1,0,0,0,5,1,0.5\n2,1,0,0,5,1,0.7\n3,50,0,0,5,1,0.7\n4,90,0,0,5,1,0.8\n"),
    ] {
        let scan = segmented.join(name);
        fs::create_dir_all(&scan).unwrap();
        let header = "id,x_mm,y_mm,z_mm,diameter_mm,volume_mm3,score\n";
        fs::write(scan.join("nodules.csv"), format!("{header}{rows}")).unwrap();
        let note = format!(
            "{{\"name\":\"{name}\",\"series_uid\":{series},\"dasl_version\":\"0\",\"lung_sure\":true}}"
        );
        fs::write(scan.join("scan.json"), note).unwrap();
    }
    // Whatever else lies there.
    fs::write(segmented.join("notes.txt"), "c\n").unwrap();
    let lists = "--annotations @annotations.csv --excluded @excluded.csv --series @series.csv";
    let ran = run_in(root, &format!("--json froc --marks @segmented {lists}")).done();
    assert_eq!(ran.json(), by_table);
    run_in(root, &format!("froc --marks @segmented/b {lists}"))
        .failed(&["segmented/b", "dasl segment"]);
}

#[test]
fn what_lies_on_scans_that_are_not_listed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    lists(root);
    fs::write(root.join("annotations.csv"), format!("{ANNOTATIONS}z,0,0,0,6\n")).unwrap();
    fs::write(root.join("excluded.csv"), format!("{EXCLUDED}y,0,0,0,6\n")).unwrap();
    let ran = froc(root, "").done();
    for words in ["annotations.csv: 1 nodules", "excluded.csv: 1 findings"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    // A folder says which scans were looked at: b and d were not.
    made_up::rods::predict(&root.join("found"), "a", &[]);
    made_up::rods::predict(&root.join("found"), "c", &[]);
    for id in ["a", "c"] {
        let note = format!(r#"{{"name": "{id}"}}"#);
        fs::write(root.join(format!("found/{id}/scan.json")), note).unwrap();
    }
    let words = "froc --marks @found --annotations @annotations.csv --series @series.csv";
    let ran = run_in(root, words).done();
    assert!(ran.err.contains("2 of the 4 scans of") && ran.err.contains("missed"), "{}", ran.err);
}
