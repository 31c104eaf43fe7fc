//! `dasl experiment`: every arm runs, on a test that none has seen, and is not repeated.

mod made_up;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use made_up::{Ran, run_in, scans};

const CONFIG: &str = "[train]\npatch = 32\nwarm_up = 2\n[infer]\ntile = 64\nborder = 8\n\
                      [learn]\ninitial_steps = 3\nround_steps = 2\n\
                      [learn.engine]\nper_round = 1\nlambda_0 = 8.0\n";
const EXPERIMENT: &str = "dataset = \"dataset\"\npreset = \"tiny\"\nconfig = \"config.toml\"\n\
                          test = 0.25\nvalidation = 0.25\nseeds = [1]\ninitial = [2]\n\
                          [arms.full]\nfull = true\n\
                          [arms.dasl]\nsequence = \"spl:1-al:1\"\n\
                          [arms.random]\nsequence = \"al:1\"\nstrategy = \"random\"\n";

fn experiment(folder: &Path) -> Ran {
    run_in(folder, "experiment @experiment.toml --out @out")
}

/// The cells of an experiment's results.csv by line, the header first.
fn results(folder: &Path, out: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join(out).join("results.csv")).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn every_arm_runs_on_a_test_that_it_has_not_seen_and_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    scans(&root.join("source"), 2, 4);
    run_in(root, "import lidc --spacing 2 @source --out @dataset").done();
    fs::write(root.join("config.toml"), CONFIG).unwrap();
    fs::write(root.join("experiment.toml"), EXPERIMENT).unwrap();
    experiment(root).done();

    let rows = results(root, "out");
    let column = |name: &str| rows[0].iter().position(|c| c == name).unwrap();
    let cells = |names: &[&str]| -> Vec<String> {
        let row = |row: &Vec<String>| {
            names.iter().map(|name| row[column(name)].as_str()).collect::<Vec<_>>().join(" ")
        };
        rows[1..].iter().map(row).collect()
    };
    assert_eq!(
        cells(&["arm", "initial", "round", "kind", "annotated"]),
        [
            "dasl 2 0 initial 2",
            "dasl 2 1 spl 2",
            "dasl 2 2 al 3",
            "full all 0 initial 6",
            "random 2 0 initial 2",
            "random 2 1 al 3",
        ]
    );
    assert!(rows[1..].iter().all(|row| !row[column("dice")].is_empty()));
    assert!(rows[1..].iter().all(|row| row[column("seconds")].parse::<f64>().unwrap() > 0.0));
    // One reader has outlined more than the other, and full training needs all.
    let voxels: Vec<u64> =
        cells(&["foreground_voxels"]).iter().map(|cell| cell.parse().unwrap()).collect();
    assert!(voxels[0] == voxels[1] && voxels[1] < voxels[2] && voxels[2] < voxels[3]);

    // The test patients are in no run.
    let split = |arm: &str| fs::read_to_string(root.join(format!("out/runs/{arm}/split.json")));
    let split: serde_json::Value = serde_json::from_str(&split("full-all-1").unwrap()).unwrap();
    let seen = ["train", "validation"].into_iter().flat_map(|part| split[part].as_array().unwrap());
    let seen: BTreeSet<&str> = seen.map(|sample| sample["scan"].as_str().unwrap()).collect();
    assert_eq!(seen.len(), 3);

    // Two arms that differ after the initial training share it, in one process and in two, and end
    // where an arm ends that trains by itself.
    let seconds = cells(&["round", "seconds"]);
    assert_eq!(seconds[0], seconds[4]);
    run_in(root, "experiment --shard 1/2 @experiment.toml --out @shards").done();
    assert!(!results(root, "shards").iter().any(|row| row[0] == "full"));
    let ran = run_in(root, "experiment --status @experiment.toml --out @shards").done();
    assert!(ran.out.contains("2 of 3 runs are done"), "{}", ran.out);
    let line = |arm: &str| -> Vec<&str> {
        let line = ran.out.lines().find(|line| line.starts_with(arm)).unwrap();
        line.split_whitespace().collect()
    };
    assert_eq!(line("full"), ["full", "all", "0", "of", "1"]);
    assert_eq!(line("random"), ["random", "2", "1", "of", "1"]);
    run_in(root, "experiment --shard 2/2 @experiment.toml --out @shards").done();
    let ran = run_in(root, "--json experiment --status @experiment.toml --out @shards").done();
    let runs = ran.json()["runs"].as_array().unwrap().clone();
    assert!(runs.iter().all(|run| run["done"] == true));
    let rounds: Vec<_> = runs.iter().map(|run| run["rounds"].as_u64().unwrap()).collect();
    assert_eq!(rounds, [3, 1, 2]);
    let random = EXPERIMENT.find("[arms.random]").unwrap();
    let head = EXPERIMENT.find("[arms.full]").unwrap();
    let alone = format!("{}{}", &EXPERIMENT[..head], &EXPERIMENT[random..]);
    fs::write(root.join("alone.toml"), alone).unwrap();
    run_in(root, "experiment @alone.toml --out @alone").done();
    let timeless = |out: &str| -> Vec<Vec<String>> {
        let mut rows = results(root, out);
        for row in &mut rows {
            row.pop();
        }
        rows
    };
    assert_eq!(rows[0].last().unwrap(), "seconds");
    assert_eq!(timeless("shards"), timeless("out"));
    assert_eq!(timeless("alone")[1..], timeless("out")[5..]);
    let weights = |out: &str| fs::read(root.join(out).join("runs/random-2-1/weights.safetensors"));
    assert_eq!(weights("alone").unwrap(), weights("out").unwrap());

    // A run that is done is read, not run: its weights are not needed again.
    let before = fs::read(root.join("out/results.csv")).unwrap();
    fs::remove_dir_all(root.join("out/runs/full-all-1/learn")).unwrap();
    fs::remove_file(root.join("out/results.csv")).unwrap();
    experiment(root).done();
    assert_eq!(fs::read(root.join("out/results.csv")).unwrap(), before);

    // Other settings, and patients who change between training and test, are not mixed with those
    // of the runs that are there.
    let other = EXPERIMENT.replace("test = 0.25", "test = 0.5");
    fs::write(root.join("experiment.toml"), other).unwrap();
    experiment(root).failed(&["dasl-2-1", "other scans"]);
    fs::write(root.join("experiment.toml"), EXPERIMENT).unwrap();
    let asking = CONFIG.replace("[learn]\n", "[learn]\noracle = \"queue:to-do\"\n");
    fs::write(root.join("config.toml"), asking).unwrap();
    experiment(root).failed(&["learn.oracle is queue:to-do", "no reader"]);
    fs::write(root.join("config.toml"), CONFIG.replace("round_steps = 2", "round_steps = 3"))
        .unwrap();
    experiment(root).failed(&["dasl-2-1", "other settings"]);
}

#[test]
fn a_wrong_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("experiment.toml"), EXPERIMENT.replace("preset", "presets")).unwrap();
    experiment(root).failed(&["experiment.toml", "presets"]);
    fs::write(root.join("experiment.toml"), EXPERIMENT).unwrap();
    experiment(root).failed(&["dataset"]);
}
