//! `--json`: standard output is one JSON value, whatever else is said on standard error.

mod made_up;

use std::fs;
use std::path::Path;

use made_up::{run, run_in};
use serde_json::Value;

const CONFIG: &str = "[train]\nsteps = 6\npatch = 32\n[infer]\ntile = 64\nborder = 8\nmost = 3\n\
                      [learn]\ninitial_steps = 4\nround_steps = 2\n\
                      [learn.engine]\nspl_rounds = 1\nal_rounds = 1\nper_round = 1\n";

/// Runs a command in `folder`.
fn json(folder: &Path, arguments: &str) -> Value {
    run_in(folder, arguments).done().json()
}

#[test]
fn every_command_prints_one_value() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    made_up::scans(&root.join("source"), 3, 2);
    fs::write(root.join("config.toml"), CONFIG).unwrap();

    let imported = json(root, "--json import lidc @source --out @dataset --spacing 2");
    assert_eq!(imported["dataset"], root.join("dataset").to_str().unwrap());
    assert_eq!(imported["skipped"], 0);
    assert_eq!(imported["set_aside"], Value::Array(Vec::new()));
    let scans = imported["added"].as_array().unwrap();
    let ids: Vec<&str> = scans.iter().map(|s| s["scan_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["PHANTOM-001", "PHANTOM-002"]);
    let nodules: usize = scans.iter().map(|s| s["nodules"].as_array().unwrap().len()).sum();

    // The option may stand after the command as well.
    let trained =
        json(root, "train @dataset --out @run --preset tiny --config @config.toml --json");
    assert_eq!((&trained["steps"], &trained["last"]["step"]), (&6.into(), &6.into()));
    assert!(trained["last"]["total"].as_f64().unwrap().is_finite());
    assert!(trained["validation"]["samples"].as_u64().unwrap() > 0);

    let learn =
        "--json learn @dataset --out @learn --preset tiny --config @config.toml --initial 1";
    let rounds = json(root, learn);
    let does = |r: &Value| r["kind"].as_str().unwrap().to_owned();
    let does: Vec<String> = rounds.as_array().unwrap().iter().map(does).collect();
    assert_eq!(does, ["initial", "spl", "al", "spl"]);
    assert_eq!(rounds[0]["annotated"], 1);

    for model in ["run", "learn"] {
        let segment = format!("--json segment @source/PHANTOM-001 --model @{model} --out @found");
        let segmented = json(root, &segment);
        assert_eq!(segmented["scans"][0]["scan"], "PHANTOM-001");
        assert!(segmented["scans"][0]["nodules"].is_array());
        assert_eq!(segmented["set_aside"], Value::Array(Vec::new()));
    }

    let evaluated = json(root, "--json evaluate @found @dataset");
    assert_eq!(evaluated["summary"]["scans"], 1);
    assert_eq!(evaluated["not_predicted"], serde_json::json!(["PHANTOM-002"]));
    assert_eq!(evaluated["scans"][0]["scan"], "PHANTOM-001");
    let of_first = evaluated["summary"]["nodules"].as_u64().unwrap() as usize;
    assert!(of_first > 0 && of_first < nodules);

    set_aside(root);

    let timed = json(root, "bench --network --preset tiny --patch 32 --threads 1 --json");
    assert_eq!((&timed["network"]["edge"], &timed["network"]["threads"]), (&32.into(), &1.into()));
    assert!(timed["network"]["training"].as_f64() > timed["network"]["forward"].as_f64());
}

/// What was set aside is in the value too, with the reason, and the exit code says so.
fn set_aside(root: &Path) {
    let empty = root.join("empty");
    fs::create_dir(&empty).unwrap();
    let (empty, model, out) = (empty.to_str().unwrap(), root.join("run"), root.join("nothing"));
    let paths = [empty, "--model", model.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let ran = run(["--json", "segment"].iter().chain(&paths)).set_aside(&["no DICOM file"]);
    let value = ran.json();
    assert_eq!(value["scans"], Value::Array(Vec::new()));
    assert_eq!(value["set_aside"][0]["source"], empty);
    assert!(value["set_aside"][0]["reason"].as_str().unwrap().contains("no DICOM file"));

    let series = made_up::only(&made_up::only(&root.join("source/PHANTOM-002")));
    fs::remove_file(made_up::xml(&series)).unwrap();
    let (source, out) = (root.join("source"), root.join("again"));
    let paths = [source.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let options = ["import", "lidc", "--json", "--spacing", "2"];
    let value = run(options.iter().chain(&paths)).set_aside(&["no LIDC XML"]).json();
    assert_eq!(value["added"].as_array().unwrap().len(), 1);
    assert_eq!(value["set_aside"][0]["source"], series.to_str().unwrap());
    assert!(value["set_aside"][0]["reason"].as_str().unwrap().contains("no LIDC XML"));
}
