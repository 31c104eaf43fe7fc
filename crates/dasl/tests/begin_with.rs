//! Training that begins with a finished network, rounds that begin anew, and the network's export.

mod made_up;

use std::fs;
use std::path::Path;

use made_up::{kill_when, run_in, scans};

const CONFIG: &str = "[train]\nsteps = 6\npatch = 32\nwarm_up = 2\ncheckpoint_every = 3\n\
                      [learn]\ninitial_steps = 4\nround_steps = 3\n\
                      [learn.engine]\ninitial = 2\nper_round = 2\nsequence = \"al:2:anew\"\n";

/// A folder with `dataset` (1 mm) and `config.toml`.
fn folder(spacing: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    scans(&root.join("source"), 5, 4);
    run_in(root, &format!("import lidc --spacing {spacing} @source --out @dataset")).done();
    fs::write(root.join("config.toml"), CONFIG).unwrap();
    folder
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn training_begins_with_the_given_network_also_when_it_was_killed_before_its_first_checkpoint() {
    let folder = folder("1");
    let root = folder.path();
    let settings = "--preset small --validation 0.25 --config @config.toml";
    run_in(root, "export --out @exported").done();
    run_in(root, &format!("train @dataset {settings} --from built-in --out @whole")).done();
    // The shape is the network's, not the preset's.
    let config = fs::read_to_string(root.join("whole/config.toml")).unwrap();
    assert!(config.contains("stem = 8"), "{config}");
    assert!(fs::read_to_string(root.join("whole/origin.json")).unwrap().contains("began_with"));
    // What a begin that was killed left behind is not begun with.
    fs::create_dir_all(root.join("fresh")).unwrap();
    fs::copy(root.join("whole/initial.safetensors"), root.join("fresh/initial.safetensors"))
        .unwrap();
    run_in(root, &format!("train @dataset {settings} --out @fresh")).done();
    let loss = |run: &str| {
        let log = fs::read_to_string(root.join(run).join("log.csv")).unwrap();
        let first = log.lines().nth(1).unwrap().split(',').next_back().unwrap().to_string();
        (first.parse::<f64>().unwrap_or(f64::NAN), log)
    };
    let ((begun, _), (fresh, log)) = (loss("whole"), loss("fresh"));
    assert!(begun < 0.5 * fresh, "mask loss of the first step: {begun} and {fresh}; {log}");

    let dataset = root.join("dataset");
    let words = |more: &[&str]| -> Vec<String> {
        let out = root.join("pieces");
        let fixed = ["train", dataset.to_str().unwrap(), "--out", out.to_str().unwrap()];
        fixed.iter().chain(more).map(ToString::to_string).collect()
    };
    let config = root.join("config.toml");
    let exported = root.join("exported");
    let first = words(&[
        "--preset",
        "tiny",
        "--validation",
        "0.25",
        "--config",
        config.to_str().unwrap(),
        "--from",
        exported.to_str().unwrap(),
    ]);
    let log = root.join("pieces/log.csv");
    let lines = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    assert!(kill_when(&first, || lines() > 1), "killed before its end");
    made_up::run(words(&["--resume"])).done();
    let weights = |run: &str| read(&root.join(run).join("weights.safetensors"));
    assert_eq!(weights("pieces"), weights("whole"));

    // It goes on from what it began with, and has the shape of that.
    made_up::run(words(&[
        "--resume",
        "--preset",
        "tiny",
        "--config",
        config.to_str().unwrap(),
        "--from",
        root.join("fresh").to_str().unwrap(),
    ]))
    .failed(&["other settings"]);
    let shape = format!("{CONFIG}[net]\nanchors_mm = [4.0, 8.0]\n");
    fs::write(root.join("shape.toml"), shape).unwrap();
    let from = "train @dataset --preset small --config @shape.toml --from built-in --out @shape";
    run_in(root, from).failed(&["sets [net]", "leave it out"]);
    assert!(!root.join("shape").exists());
}

#[test]
fn learning_begins_with_the_given_network_also_where_nothing_is_annotated_first() {
    let folder = folder("1");
    let root = folder.path();
    let settings = "--preset tiny --validation 0.25 --config @config.toml --initial 0 --budget 0";
    run_in(root, &format!("learn @dataset {settings} --from built-in --out @run")).done();
    let parsed = |name: &str| {
        let path = root.join("run").join(name);
        dasl_net::weights::parse(&read(&path), name).unwrap().0
    };
    let (given, result) = (parsed("initial.safetensors"), parsed("weights.safetensors"));
    assert!(!given.is_empty() && given == result);

    // A network that something else made is not written over, and a run goes on with its own data.
    run_in(root, "export --out @exported").done();
    run_in(root, &format!("learn @dataset {settings} --out @exported")).failed(&["exported"]);
    run_in(root, "import lidc --spacing 2 @source --out @coarse").done();
    run_in(root, "learn @coarse --out @run").failed(&["1 mm", "2 mm", "another --out"]);
}

#[test]
fn rounds_that_train_anew_do_not_depend_on_the_rounds_before() {
    let folder = folder("1");
    let root = folder.path();
    let settings = "--preset tiny --validation 0.25 --config @config.toml --seed 3";
    run_in(root, &format!("learn @dataset {settings} --out @whole")).done();
    let round = |run: &str, n: usize| {
        read(&root.join(run).join(format!("learn/rounds/000{n}/weights/checkpoint.safetensors")))
    };
    // Going on from the start in another process: the weights of round 1 are those of a network
    // that is fresh by the run's seed.
    let learn = format!("learn @dataset {settings} --out @pieces");
    let words: Vec<String> = learn
        .split_whitespace()
        .map(|word| match word.strip_prefix('@') {
            Some(name) => root.join(name).display().to_string(),
            None => word.to_string(),
        })
        .collect();
    let done = root.join("pieces/learn/rounds/0000/weights/checkpoint.safetensors");
    assert!(kill_when(&words, || done.exists()), "killed before its end");
    run_in(root, &learn).done();
    for n in 0..3 {
        assert_eq!(round("whole", n), round("pieces", n), "round {n}");
    }
    assert_ne!(round("whole", 1), round("whole", 2));
}

#[test]
fn an_exported_network_is_the_one_it_was_exported_from() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let first = run_in(root, "--json export --out @one").done().json();
    assert_eq!(first["files"].as_array().unwrap().len(), 5);
    run_in(root, "export --model @one --out @two").done();
    let list = root.join("two/trained-on.txt");
    assert!(!list.exists(), "patients are listed where nobody asked for it");
    for name in ["network.onnx", "mask.onnx", "example.safetensors", "config.toml"] {
        assert_eq!(
            read(&root.join("one").join(name)),
            read(&root.join("two").join(name)),
            "{name}"
        );
    }
    run_in(root, "export --patients --out @two").done();
    run_in(root, "export --model @two --patients --out @three").done();
    let built_in = read(Path::new("model/trained-on.txt"));
    assert!(read(&list) == built_in && read(&root.join("three/trained-on.txt")) == built_in);
    run_in(root, "export --out @two").done();
    assert!(!list.exists(), "the list of an earlier export stays");
    fs::write(root.join("two/split.json"), "{}").unwrap();
    run_in(root, "export --out @two").failed(&["holds a run"]);
    run_in(root, "export --model @nowhere --out @four").failed(&["nowhere", "is no run of dasl"]);
    run_in(root, "export --model @one --out @one").failed(&["one is what is exported"]);
    fs::create_dir(root.join("mine")).unwrap();
    fs::write(root.join("mine/config.toml"), CONFIG).unwrap();
    run_in(root, "export --out @mine").failed(&["mine/config.toml would be replaced"]);
    assert_eq!(fs::read_dir(root.join("mine")).unwrap().count(), 1);
    fs::create_dir(root.join("dataset")).unwrap();
    fs::write(root.join("dataset/dataset.json"), "{}").unwrap();
    run_in(root, "export --out @dataset").failed(&["holds a dataset"]);
}

#[test]
fn a_network_for_another_grid_is_refused() {
    let folder = folder("2");
    let root = folder.path();
    run_in(root, "train @dataset --from built-in --out @run").failed(&[
        "1 mm",
        "2 mm",
        "--spacing 1",
    ]);
    run_in(root, "learn @dataset --from @nowhere --out @run").failed(&["nowhere", "is no run"]);
    assert!(!root.join("run").exists());
}
