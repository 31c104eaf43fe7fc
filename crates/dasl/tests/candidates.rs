//! From scans that nobody has annotated to a network that learnt from them: what the network in the
//! binary finds is asked about, and the reader's answers are what is trained on.

mod made_up;

use std::fs;
use std::path::Path;

use dasl_volume::dataset::Dataset;
use dasl_volume::nifti;
use made_up::{run_in, scans};
use serde_json::Value;

const CONFIG: &str = "[train]\npatch = 32\nwarm_up = 2\n\
                      [learn]\ninitial_steps = 4\nround_steps = 3\n\
                      [learn.engine]\ninitial = 2\nper_round = 1\nsequence = \"spl:1-al:1\"\n\
                      lambda_0 = 8.0\n";

/// Scans in `scans`, and a dataset of them without annotations.
fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    scans(&root.join("scans"), 7, count);
    fs::write(root.join("config.toml"), CONFIG).unwrap();
    run_in(root, "import scans @scans --out @dataset").done();
    folder
}

fn questions(queue: &Path) -> Vec<Value> {
    let mut questions = Vec::new();
    for entry in fs::read_dir(queue).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            questions.push(serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
        }
    }
    questions
}

#[test]
fn what_was_found_is_asked_about_and_learnt_from() {
    let folder = folder(2);
    let root = folder.path();
    run_in(root, "segment @scans --out @found --threshold 0.3").done();
    let taken = run_in(root, "--json import candidates @found --out @dataset").done().json();
    assert_eq!(taken["added"].as_array().unwrap().len(), 2, "{taken}");
    let again = run_in(root, "--json import candidates @found --out @dataset").done().json();
    assert_eq!(again["skipped"], 2, "{again}");
    let dataset = Dataset::open(&root.join("dataset")).unwrap();
    let count: usize =
        dataset.scan_ids().iter().map(|id| dataset.scan(id).unwrap().candidates.len()).sum();
    assert!(count >= 3, "{count} candidates");
    // Nobody has outlined anything: there is nothing to train on.
    run_in(root, "train @dataset --preset tiny --out @trained").failed(&["no sample to train on"]);

    let learn = "learn @dataset --from built-in --config @config.toml --out @run";
    // A simulated reader has nothing to reveal, and leaves no run.
    run_in(root, learn).failed(&["nobody has annotated", "--oracle queue:DIR"]);
    assert!(!root.join("run").exists());
    let mut told = 0;
    // Two by chance, then a self-paced round, then one.
    for _ in 0..2 {
        let ran = run_in(root, &format!("{learn} --oracle queue:{}", root.join("queue").display()));
        assert_eq!(ran.code, Some(4), "{ran:?}");
        for question in questions(&root.join("queue")) {
            let name = question["image"].as_str().unwrap().strip_suffix(".image.nii.gz").unwrap();
            // The network has something to say from the start: a reader corrects it.
            let current = root.join("queue").join(format!("{name}.current.nii.gz"));
            let answer = root.join("queue").join(format!("{name}.mask.nii.gz"));
            let mask = nifti::read_labels(&current).unwrap();
            if mask.voxels.iter().any(|&label| label != 0) {
                fs::copy(&current, &answer).unwrap();
            } else {
                fs::write(root.join("queue").join(format!("{name}.empty")), "").unwrap();
            }
            told += 1;
        }
    }
    assert_eq!(told, 3);
    // Annotated scans may join the dataset meanwhile.
    let info = root.join("dataset/dataset.json");
    let ruled = fs::read_to_string(&info).unwrap().replace("\"none\"", "\"pylidc\"");
    fs::write(&info, ruled).unwrap();
    let queue = root.join("queue");
    run_in(root, &format!("{learn} --oracle queue:{}", queue.display())).done();
    assert!(root.join("run/weights.safetensors").exists());
    // Without a validation the last round is the result.
    let last = fs::read(root.join("run/learn/rounds/0002/weights/checkpoint.safetensors")).unwrap();
    let (last, _) = dasl_net::weights::parse(&last, "last").unwrap();
    let result = fs::read(root.join("run/weights.safetensors")).unwrap();
    let (result, _) = dasl_net::weights::parse(&result, "result").unwrap();
    assert!(result.iter().all(|(name, values)| last[name] == *values));
}

#[test]
fn candidates_that_do_not_fit_are_set_aside() {
    let folder = folder(1);
    let root = folder.path();
    let dataset = Dataset::open(&root.join("dataset")).unwrap();
    let found = root.join("found").join(&dataset.scan_ids()[0]);
    fs::create_dir_all(&found).unwrap();
    let note = r#"{"name": "", "series_uid": null, "dasl_version": "0", "lung_sure": true}"#;
    fs::write(found.join("scan.json"), note).unwrap();
    run_in(root, "import candidates @scans --out @dataset").failed(&["no folder", "dasl segment"]);
    run_in(root, "import candidates @found --out @nowhere").failed(&["nowhere"]);
    assert!(!root.join("nowhere").exists());
    run_in(root, "import lidc @scans --out @annotated").done();
    run_in(root, "import candidates @found --out @annotated").set_aside(&["it is annotated"]);

    let table = found.join("nodules.csv");
    for (row, why) in [
        ("1,9999,0,0,5,60,0.9", "nodule 1 lies outside the scan"),
        ("1,here,0,0,5,60,0.9", "needs numbers in the columns id, x_mm"),
    ] {
        fs::write(&table, format!("id,x_mm,y_mm,z_mm,diameter_mm,volume_mm3,score\n{row}\n"))
            .unwrap();
        run_in(root, "import candidates @found --out @dataset").set_aside(&[why]);
    }
}
