//! A run that is killed at any moment and started again ends as an undisturbed one, byte for byte.

mod made_up;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use made_up::{kill_when, run};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The initial training is shorter than a round's, so that a schedule carried over from one to
/// the other would show.
const CONFIG: &str = "[train]\nsteps = 24\npatch = 32\nwarm_up = 6\ncheckpoint_every = 4\n\
                      [infer]\ntile = 64\nborder = 8\n\
                      [learn]\ninitial_steps = 6\nround_steps = 20\n\
                      [learn.engine]\ninitial = 3\nper_round = 2\nspl_rounds = 1\nal_rounds = 1\n\
                      lambda_0 = 8.0\n";

struct Bench {
    dataset: PathBuf,
    config: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("resume");
        let (source, dataset) = (folder.join("source"), folder.join("dataset"));
        made_up::scans(&source, 2, 4);
        let config = folder.join("config.toml");
        fs::write(&config, CONFIG).unwrap();
        run(import(&source, &dataset)).done();
        Bench { dataset, config, _lock: lock }
    })
}

fn import(source: &Path, out: &Path) -> Vec<String> {
    words(&["import", "lidc", "--spacing", "2", text(source), "--out", text(out)])
}

fn train(out: &Path, more: &[&str]) -> Vec<String> {
    command("train", out, more)
}

fn learn(out: &Path) -> Vec<String> {
    command("learn", out, &["--seed", "5"])
}

fn command(name: &str, out: &Path, more: &[&str]) -> Vec<String> {
    let Bench { dataset, config, .. } = bench();
    let fixed = [name, text(dataset), "--preset", "tiny", "--validation", "0.25"];
    let paths = ["--config", text(config), "--out", text(out)];
    words(&[&fixed[..], &paths, more].concat())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file below a folder. Left out are what a killed process did not finish writing, and the
/// lock.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(".tmp-") || name.ends_with(".partial") || name == "run.lock" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap().to_path_buf();
                files.insert(relative, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Two folders hold the same files with the same bytes.
fn same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let differ: Vec<&PathBuf> = one.keys().filter(|name| one[*name] != other[*name]).collect();
    assert!(differ.is_empty(), "these differ: {differ:?}");
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_killed_training_goes_on_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    run(train(&whole, &["--seed", "7"])).done();
    assert_eq!(lines(&whole.join("log.csv")), 25);

    // Before the first checkpoint (of step 4), right after one, and in between. Neither the seed
    // nor anything else is told again: the run knows.
    let log = pieces.join("log.csv");
    assert!(kill_when(&train(&pieces, &["--seed", "7"]), || lines(&log) > 3));
    let resume = words(&["train", text(&bench().dataset), "--out", text(&pieces), "--resume"]);
    for steps in [6, 9, 15, 22] {
        assert!(kill_when(&resume, || lines(&log) > steps), "killed before its end");
        assert!(!pieces.join("weights.safetensors").exists());
    }
    run(&resume).done();
    same(&whole, &pieces);

    // Once more on a finished run: it stays what it is.
    run(&resume).done();
    same(&whole, &pieces);

    // Nor while another process trains there.
    let lock = File::create(whole.join("run.lock")).unwrap();
    lock.lock().unwrap();
    let twice = words(&["train", text(&bench().dataset), "--out", text(&whole), "--resume"]);
    run(twice).failed(&["another process trains"]);
    drop(lock);

    // It takes no other settings: those that are written hold, or it says so.
    let config = folder.path().join("longer.toml");
    fs::write(&config, "[train]\nsteps = 99\n").unwrap();
    let longer = [&resume[..], &words(&["--config", text(&config)])].concat();
    run(&longer).failed(&["other settings", "--from"]);
    fs::write(&config, "[train]\nstep = 99\n").unwrap();
    run(&longer).failed(&["longer.toml", "step"]);
    for other in [["--seed", "8"], ["--preset", "small"]] {
        run([&resume[..], &words(&other)].concat()).failed(&["other settings", "--seed"]);
    }
    run([&resume[..], &words(&["--seed", "7"])].concat()).done();
    same(&whole, &pieces);

    let other = folder.path().join("other");
    run(train(&other, &["--seed", "8"])).done();
    assert_ne!(files(&other)[Path::new("log.csv")], files(&whole)[Path::new("log.csv")]);
}

#[test]
fn a_run_that_was_killed_before_it_began_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, early) = (folder.path().join("whole"), folder.path().join("early"));
    run(train(&whole, &[])).done();
    kill_when(&train(&early, &[]), || early.exists());
    run(train(&early, &["--resume"])).done();
    same(&whole, &early);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let [one, four] = ["1", "4"].map(|threads| {
        let out = folder.path().join(threads);
        let mut command = made_up::dasl();
        command.env("RAYON_NUM_THREADS", threads).args(train(&out, &[])).assert().success();
        out
    });
    same(&one, &four);
}

#[test]
fn learning_that_is_killed_at_every_step_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    run(learn(&whole)).done();
    let ledger = fs::read_to_string(whole.join("learn/ledger.jsonl")).unwrap();
    for event in ["initial", "annotated", "pseudo"] {
        assert!(ledger.contains(&format!("\"event\":\"{event}\"")), "nothing to test: {ledger}");
    }

    // Each start is killed when it has saved its state once more; every other one a little later,
    // in the middle of the next step. The first ones are killed before there is a state.
    let state = pieces.join("learn/state.json");
    let begun = [pieces.clone(), pieces.join("config.toml"), pieces.join("learn")];
    for path in &begun {
        assert!(kill_when(&learn(&pieces), || path.exists()));
    }
    let mut kills = 0;
    loop {
        let before = fs::read(&state).ok();
        let later = Duration::from_millis(if kills % 2 == 0 { 0 } else { 40 });
        let killed = kill_when(&learn(&pieces), || {
            let changed = fs::read(&state).ok() != before;
            if changed {
                std::thread::sleep(later);
            }
            changed
        });
        if !killed {
            break;
        }
        kills += 1;
        assert!(kills < 60, "it does not get on");
    }
    assert!(kills >= 8, "only {kills} kills");
    same(&whole, &pieces);

    // The same command on a finished run changes nothing.
    run(learn(&pieces)).done();
    same(&whole, &pieces);
}

#[test]
fn a_rounds_training_goes_on_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    run(learn(&whole)).done();
    // In the initial training and in a round with pseudo-labels, both after step 4 and more.
    let checkpoint = pieces.join("learn/training.safetensors");
    let trains = |round: u64| {
        let state = fs::read(pieces.join("learn/state.json")).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
        let (now, step) = (&state["round"], &state["phase"]["step"]);
        *now == round && *step == "fine_tune" && checkpoint.exists()
    };
    let went_on = |round: u64| {
        let ran = run(learn(&pieces)).done();
        ran.err.contains(&format!("round {round}: its training goes on after step"))
    };
    for round in [0, 1] {
        // A kill that came too late hit another step: once more.
        let hit = (0..20).any(|_| {
            let _ = fs::remove_dir_all(&pieces);
            kill_when(&learn(&pieces), || trains(round)) && trains(round)
        });
        assert!(hit && went_on(round), "round {round}");
        assert!(!checkpoint.exists());
        same(&whole, &pieces);
    }
}

/// With a committee, which is trained anew where it was killed.
#[test]
fn learning_that_is_killed_at_twenty_random_moments_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    // Four members make a round's fine-tuning five of them: short ones.
    let config = folder.path().join("short.toml");
    let short = CONFIG.replace("round_steps = 20", "round_steps = 2");
    fs::write(&config, short.replace("initial_steps = 6", "initial_steps = 3")).unwrap();
    let suggestive = |out: &Path| {
        let own = |word: String| {
            if word == text(&bench().config) { text(&config).to_owned() } else { word }
        };
        let words = command("learn", out, &["--strategy", "suggestive", "--sequence", "spl-al"]);
        words.into_iter().map(own).collect::<Vec<_>>()
    };
    let start = Instant::now();
    run(suggestive(&whole)).done();
    let longest_ms = (start.elapsed().as_millis() as u64).max(40) / 5;
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut kills = 0;
    while kills < 20 {
        let (start, after) =
            (Instant::now(), Duration::from_millis(rng.random_range(0..longest_ms)));
        if kill_when(&suggestive(&pieces), || start.elapsed() >= after) {
            kills += 1;
        } else {
            // It came to its end before: the other kills are those of another run.
            same(&whole, &pieces);
            fs::remove_dir_all(&pieces).unwrap();
        }
    }
    run(suggestive(&pieces)).done();
    same(&whole, &pieces);
}
