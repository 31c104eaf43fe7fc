//! `dasl evaluate` on a made-up dataset of small scans, counted by hand.

mod made_up;

use std::fs;
use std::path::Path;

use dasl_volume::dataset::{Dataset, DatasetWriter};
use dasl_volume::nifti;
use made_up::rods::{dataset, first_system, first_system_with_scores, labels, predict, scan};
use made_up::{Ran, run_in};
use tempfile::TempDir;

fn evaluate(root: &Path, more: &str) -> Ran {
    run_in(root, &format!("--json evaluate @found @dataset {more}"))
}

/// A folder with the dataset and the first system's outlines.
fn set_up() -> (TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder.path().join("dataset"));
    first_system(&folder.path().join("found"));
    (folder, dataset)
}

#[test]
fn by_hand() {
    let (folder, _) = set_up();
    let root = folder.path();
    let value = evaluate(root, "").done().json();
    let close = |value: &serde_json::Value, expected: f64| {
        let found = value.as_f64().unwrap_or(f64::NAN);
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    };
    let summary = &value["summary"];
    assert_eq!(
        (&summary["scans"], &summary["nodules"], &summary["hits"]),
        (&3.into(), &3.into(), &2.into())
    );
    // Nodule 1 by 6 of its 8 voxels, nodule 2 whole, the third missed.
    close(&summary["dice_mean"], (12.0 / 14.0 + 1.0) / 3.0);
    close(&summary["tp_dice_mean"], f64::midpoint(12.0 / 14.0, 1.0));
    for (figure, expected) in [
        ("hit_rate", 2.0 / 3.0),
        ("false_positives_per_scan", 2.0 / 3.0),
        ("duplicates_per_scan", 1.0 / 3.0),
        ("ignored_per_scan", 1.0 / 3.0),
    ] {
        close(&summary[figure], expected);
    }
    assert_eq!(value["not_predicted"], serde_json::json!(["d"]));
    assert_eq!(value["scans"][0]["ignored"], serde_json::json!([4]));
    let measures = &value["scans"][0]["facts"][0]["measures"];
    close(&measures["iou"], 0.75);
    close(&measures["volume_error"], -0.25);
    // Two voxels stick out, 1 and 2 mm; the other 12 are on each other.
    close(&measures["surface"]["mean_mm"], 3.0 / 14.0);
    assert!(value["scans"][1]["facts"][0]["measures"].is_null());
    let names: Vec<&str> =
        value["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all", "3-6 mm", "6-10 mm", "non-solid", "solid"]);
    close(&value["groups"][1]["hit_rate"], 0.5);
    close(&value["groups"][4]["dice"]["mean"], 12.0 / 14.0);

    let table = fs::read_to_string(root.join("found/nodules.csv")).unwrap();
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().nth(1).unwrap().starts_with("a,1,3,8.000,6-10 mm,solid,1,0.857143,0.75"));
    // What a miss has figures for: its readers, place and volume.
    let missed: Vec<&str> = table.lines().nth(3).unwrap().split(',').collect();
    assert_eq!((missed[0], missed[6], missed[11], missed[12]), ("b", "", "8.000000", ""));
    // In the file paths are as seen from there, in what is printed as they were given.
    let json = fs::read_to_string(root.join("found/evaluation.json")).unwrap();
    let mut written: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (name, from_there) in [("predictions", "."), ("dataset", "../dataset")] {
        let given = std::mem::replace(&mut written[name], value[name].clone());
        assert_eq!(given, from_there);
    }
    assert_eq!(written, value);
    assert_eq!(value["predictions"], root.join("found").display().to_string());
    evaluate(root, "--out @found/a").failed(&["found/a", "the outlines of one scan"]);
}

#[test]
fn outlines_of_another_series_or_another_network_are_told_apart() {
    let (folder, _) = set_up();
    let root = folder.path();
    let note = |id: &str, note: &str| fs::write(root.join(format!("found/{id}/scan.json")), note);
    // The patient's other series is not this one, though its folder has the name.
    note("b", r#"{"name": "b", "series_uid": "9.9"}"#).unwrap();
    let value = evaluate(root, "").done().json();
    assert_eq!(value["not_predicted"], serde_json::json!(["b", "d"]));
    // Something else outlined it, and says no more than its name.
    note("b", r#"{"name": "b"}"#).unwrap();
    let ran = evaluate(root, "").done();
    assert_eq!(ran.json()["not_predicted"], serde_json::json!(["d"]));
    assert!(!ran.err.contains("mixture"), "{}", ran.err);
    // Two folders of one series: the last counts, and that is said.
    predict(&root.join("found"), "zz", &[]);
    note("zz", r#"{"name": "zz", "series_uid": "1.2.a"}"#).unwrap();
    let ran = evaluate(root, "").done();
    assert!(ran.err.contains("found/zz are of the same series"), "{}", ran.err);
    fs::remove_dir_all(root.join("found/zz")).unwrap();
    // Two thresholds in one folder.
    let mut config = dasl_net::config::Config::preset(dasl_net::config::Preset::Tiny);
    for (id, threshold) in [("a", 0.5), ("b", 0.5), ("c", 0.9)] {
        config.infer.threshold = threshold;
        let (net, infer) = (&config.net, &config.infer);
        let made_with = serde_json::json!({
            "dasl_version": "0", "weights_sha256": "0", "net": net, "infer": infer,
            "min_diameter_mm": 3.0,
        });
        let text = serde_json::json!({ "name": id, "made_with": made_with });
        note(id, &text.to_string()).unwrap();
    }
    let ran = evaluate(root, "").done();
    assert!(ran.err.contains("scans a and c were segmented with other"), "{}", ran.err);
    assert!(!ran.err.contains("don't count"), "{}", ran.err);
    predict(&root.join("found"), "elsewhere", &[]);
    let ran = evaluate(root, "").done();
    assert!(ran.err.contains("1 results are of no scan"), "{}", ran.err);
}

#[test]
fn scores_make_a_froc_curve() {
    let (folder, _) = set_up();
    let root = folder.path();
    // Without scores there is none.
    let value = evaluate(root, "--bootstrap 100").done().json();
    assert!(value["froc"].is_null() && value["scans"][0]["candidates"].is_null());

    first_system_with_scores(&root.join("found"));
    let value = evaluate(root, "--bootstrap 100 --out @out/of/it").done().json();
    let fates = |scan: usize| -> Vec<(u64, &str)> {
        let candidates = value["scans"][scan]["candidates"].as_array().unwrap();
        let fate = |c: &serde_json::Value| {
            (c["id"].as_u64().unwrap(), c["fate"].as_str().unwrap().to_owned().leak() as &str)
        };
        candidates.iter().map(fate).collect()
    };
    let in_a = [(1, "hit"), (2, "duplicate"), (3, "hit"), (4, "ignored"), (5, "false-positive")];
    assert_eq!(fates(0), in_a);
    assert_eq!((fates(1), fates(2)), (vec![], vec![(1, "false-positive")]));
    // Two of three nodules are found before the first false positive.
    let froc = &value["froc"];
    for sensitivity in froc["sensitivities"].as_array().unwrap() {
        assert!((sensitivity.as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }
    assert!((froc["cpm"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(froc["lowest_score"], 0.5);
    let counts = &froc["counts"];
    assert_eq!((&counts["false_positives"], &counts["duplicates"]), (&2.into(), &1.into()));
    assert_eq!(counts["marks_on_exclusions"], 1);
    let (band, rates) = (&froc["intervals"]["band"], &froc["false_positives_per_scan"]);
    assert_eq!(band.as_array().unwrap().len(), rates.as_array().unwrap().len());

    let text = run_in(root, "evaluate @found @dataset").done().out;
    assert!(text.contains("CPM 0.667 (95% ") && text.contains("score of 0.50 and more"), "{text}");
}

#[test]
fn a_wrong_table_of_scores_is_named() {
    let (folder, _) = set_up();
    let root = folder.path();
    first_system_with_scores(&root.join("found"));
    let path = root.join("found/c/nodules.csv");
    let right = fs::read_to_string(&path).unwrap();
    let wrong = |table: String, words: &[&str]| {
        fs::write(&path, table).unwrap();
        evaluate(root, "").failed(&[&["c/nodules.csv"], words].concat());
    };
    wrong(right.replace("score", "objectness"), &["score", "columns id, x_mm"]);
    wrong(right.replace("0.6500", "1.6500"), &["nodule 1", "from 0 to 1"]);
    wrong(right.replace("0.6500", "NaN"), &["nodule 1", "from 0 to 1"]);
    wrong(right.replace("\n1,", "\n7,"), &["nodule 7", "segment again"]);
    wrong(right.lines().next().unwrap().to_owned() + "\n", &["nodule 1", "missing"]);
    fs::write(&path, right).unwrap();
    evaluate(root, "").done();
}

#[test]
fn tables_fit_and_name_their_rules() {
    let (folder, dataset) = set_up();
    let root = folder.path();
    let writer = DatasetWriter::create_or_open(dataset.root(), dataset.info()).unwrap();
    let long = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192";
    scan(&writer, long, &[(1, [0, 0, 0], 35)], &[]);
    writer.finish().unwrap();
    predict(&root.join("found"), long, &[(1, [0, 0, 0], 17)]);
    let text = run_in(root, "evaluate @found @dataset --out @out").done().out;
    let out = root.join("out");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for rule in ["matching: overlap", "consensus: pylidc", "MedPy", "sphere of equal volume"] {
        assert!(text.contains(rule), "{rule}: {text}");
    }
    assert!(text.contains("1 scans without a prediction"), "{text}");
    assert!(out.join("nodules.csv").exists() && out.join("evaluation.json").exists());
    assert!(!root.join("found/nodules.csv").exists());
}

#[test]
fn two_systems() {
    let (folder, _) = set_up();
    let root = folder.path();
    let other = root.join("other");
    predict(&other, "a", &[]);
    predict(&other, "b", &[(1, [1, 1, 1], 4)]);
    let out = "--out @out --bootstrap 100 --against @other";
    evaluate(root, out).failed(&["scan c", "only one of the two systems"]);
    predict(&other, "c", &[]);
    let against = &evaluate(root, out).done().json()["against"];
    assert_eq!(against["summary"]["hits"], 1);
    for (figure, by_hand) in [
        ("dice_difference", (12.0 / 14.0 + 1.0 - 1.0) / 3.0),
        ("hit_rate_difference", 1.0 / 3.0),
        ("false_positives_difference", 2.0 / 3.0),
    ] {
        let found = against[figure]["difference"].as_f64().unwrap();
        assert!((found - by_hand).abs() < 1e-12, "{figure}: {found}");
    }
    assert!(against["cpm_difference"].is_null(), "there are no scores");
    run_in(root, "report @out --out @page").done();
    let page = fs::read_to_string(root.join("page/report.html")).unwrap();
    assert!(page.contains("false positives/scan: +0.6667"), "the comparison is not in the report");
}

#[test]
fn no_reference_nodule_and_no_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    dataset(&root.join("dataset"));
    predict(&root.join("found"), "c", &[]);
    let value = evaluate(root, "").done().json();
    assert_eq!((&value["summary"]["scans"], &value["summary"]["nodules"]), (&1.into(), &0.into()));
    // Of one scan there are no intervals.
    assert!(value["summary"]["dice_mean"].is_null() && value["intervals"].is_null());
    assert_eq!(value["summary"]["false_positives_per_scan"], 0.0);
    assert_eq!(value["groups"].as_array().unwrap().len(), 1);
}

#[test]
fn another_grid_is_refused_with_both_named() {
    let (folder, _) = set_up();
    let root = folder.path();
    let path = root.join("found/b/nodules.nii.gz");
    let mut moved = labels(&[]);
    moved.geometry.spacing_mm = [2.0, 1.0, 1.1];
    nifti::write_labels(&path, &moved).unwrap();
    evaluate(root, "").failed(&[
        "another grid than scan b",
        "[2.000, 1.000, 1.100] mm from (-10.00, 5.00, 100.00) mm",
        "[2.000, 1.000, 1.000] mm from (-10.00, 5.00, 100.00) mm",
    ]);
}
