//! Killed at any moment and resumed, a run ends with the bytes of an undisturbed one.

mod toy;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use dasl_learn::{Event, FinishReason, LearnConfig, Observer, Outcome, Run, RunError, Strategy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toy::{Fuse, Labels, Logistic, World};

/// Every kind of round, audits, pseudo-labels in active rounds, choices by density, and a budget that
/// ends the last active stage.
fn config() -> LearnConfig {
    LearnConfig {
        initial: 2,
        per_round: 2,
        sequence: "spl:1-al:1-spl:1-al:1".parse().expect("a sequence"),
        lambda_0: 0.3,
        alpha: 0.05,
        tau: 3,
        pseudo_in_active: true,
        budget: Some(4),
        // Descriptors of the toy go to the scratch file.
        descriptor_bytes: 64,
        seed: 5,
        ..LearnConfig::default()
    }
}

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    state: String,
    ledger: String,
    files: Vec<(String, Vec<u8>)>,
}

fn left(folder: &Path) -> Left {
    let read = |name| fs::read_to_string(folder.join(name)).expect("a file of the run");
    let mut files = Vec::new();
    let mut folders = vec![folder.join("rounds")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("inside").display().to_string();
                files.push((name, fs::read(&path).expect("a file")));
            }
        }
    }
    files.sort();
    Left { state: read("state.json"), ledger: read("ledger.jsonl"), files }
}

/// Breaks at one event, as a kill at that moment would.
struct KillAt(Fuse);

impl Observer for KillAt {
    fn event(&mut self, _: &Event<'_>) -> ControlFlow<()> {
        if self.0.burn().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[derive(Clone, Copy)]
enum Failing {
    Learner,
    Oracle,
    Observer,
}

/// One process: a fresh learner and oracle that fail at the `fuse`-th call.
fn process(
    world: &World,
    folder: &Path,
    failing: Failing,
    fuse: usize,
) -> Result<Outcome, RunError> {
    process_of(&config(), world, folder, failing, fuse)
}

fn process_of(
    config: &LearnConfig,
    world: &World,
    folder: &Path,
    failing: Failing,
    fuse: usize,
) -> Result<Outcome, RunError> {
    let mut run = if folder.join("state.json").exists() {
        Run::open(folder)?
    } else {
        Run::create(folder, config.clone(), world.ids(), Vec::new())?
    };
    let mut learner = Logistic::new(world);
    let mut oracle = Labels::default();
    let mut observer = KillAt(Fuse(None));
    match failing {
        Failing::Learner => learner.fuse = Fuse(Some(fuse)),
        Failing::Oracle => oracle.fuse = Fuse(Some(fuse)),
        Failing::Observer => observer.0 = Fuse(Some(fuse)),
    }
    run.advance(&mut learner, &mut oracle, &mut observer)
}

fn undisturbed(world: &World) -> Left {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = process(world, folder.path(), Failing::Oracle, usize::MAX).expect("a run");
    assert_eq!(outcome, Outcome::Finished(FinishReason::BudgetSpent));
    let left = left(folder.path());
    // The comparison below means something only if everything happened.
    for word in ["\"initial\"", "\"pseudo\"", "\"annotated\"", "\"audit\":{"] {
        assert!(left.ledger.contains(word), "no {word} in the ledger");
    }
    left
}

#[test]
fn killed_once_at_any_call() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    for (failing, places) in [(Failing::Learner, 30), (Failing::Oracle, 2), (Failing::Observer, 30)]
    {
        let mut kills = 0;
        loop {
            let folder = tempfile::tempdir().expect("a folder");
            if process(&world, folder.path(), failing, kills).is_ok() {
                break;
            }
            process(&world, folder.path(), failing, usize::MAX).expect("the rest of the run");
            assert_eq!(left(folder.path()), undisturbed, "killed at call {kills}");
            kills += 1;
        }
        assert!(kills >= places, "only {kills} places to be killed at");
    }
}

#[test]
fn killed_again_and_again() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    let folder = tempfile::tempdir().expect("a folder");
    // Each process gets a little further than it needs to redo a step.
    let mut fuse = 0;
    while process(&world, folder.path(), Failing::Observer, fuse).is_err() {
        fuse = (fuse + 5) % 23;
    }
    assert_eq!(left(folder.path()), undisturbed);
}

/// One run of every strategy, killed at 20 moments that chance chooses.
#[test]
fn killed_at_twenty_random_moments() {
    let world = World::new(9);
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for strategy in Strategy::ALL {
        let config = LearnConfig { strategy, ..config() };
        let whole = tempfile::tempdir().expect("a folder");
        process_of(&config, &world, whole.path(), Failing::Oracle, usize::MAX).expect("a run");
        let folder = tempfile::tempdir().expect("a folder");
        let mut kills = 0;
        while kills < 20 {
            let failing = [Failing::Learner, Failing::Oracle, Failing::Observer];
            let failing = failing[rng.random_range(0..3)];
            if process_of(&config, &world, folder.path(), failing, rng.random_range(0..12)).is_ok()
            {
                // It came to its end before: the other kills are those of another run.
                assert_eq!(left(folder.path()), left(whole.path()), "{strategy:?}");
                fs::remove_dir_all(folder.path()).expect("removed");
            } else {
                kills += 1;
            }
        }
        process_of(&config, &world, folder.path(), Failing::Oracle, usize::MAX).expect("the rest");
        assert_eq!(left(folder.path()), left(whole.path()), "{strategy:?}");
    }
}

/// A full disk is an error that names the file, and no end of the run.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_the_run_goes_on_later() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    for (file, named) in [
        ("state.partial", "state.json"),
        ("rounds/0001/scores.partial", "rounds/0001/scores.jsonl"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        // Up to the first step, so that the folder is there.
        assert!(process(&world, folder.path(), Failing::Observer, 2).is_err());
        let full = folder.path().join(file);
        fs::create_dir_all(full.parent().expect("a folder")).expect("made");
        std::os::unix::fs::symlink("/dev/full", &full).expect("linked");
        let error = process(&world, folder.path(), Failing::Oracle, usize::MAX)
            .expect_err("nothing can be written");
        let RunError::Io { path, .. } = &error else { panic!("{error:?}") };
        assert!(
            path.starts_with(folder.path()) && path.to_string_lossy().contains(named),
            "{error}"
        );
        fs::remove_file(&full).expect("room again");
        process(&world, folder.path(), Failing::Oracle, usize::MAX).expect("the rest");
        assert_eq!(left(folder.path()), undisturbed, "{file}");
    }
}

#[test]
fn failing_and_going_on_in_one_process() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    for fuse in (0..40).step_by(9) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = Run::create(folder.path(), config(), world.ids(), Vec::new()).expect("a run");
        let mut learner = Logistic::new(&world);
        learner.fuse = Fuse(Some(fuse));
        let first = run.advance(&mut learner, &mut Labels::default(), &mut ());
        assert!(first.is_err(), "call {fuse} did not fail");
        learner.fuse = Fuse(None);
        run.advance(&mut learner, &mut Labels::default(), &mut ()).expect("the rest");
        assert_eq!(left(folder.path()), undisturbed, "failed at call {fuse}");
    }
}

#[test]
fn stopped_and_going_on_in_one_process() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    let mut stops = 0;
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = Run::create(folder.path(), config(), world.ids(), Vec::new()).expect("a run");
        let mut learner = Logistic::new(&world);
        let mut observer = KillAt(Fuse(Some(stops)));
        if run.advance(&mut learner, &mut Labels::default(), &mut observer).is_ok() {
            break;
        }
        run.advance(&mut learner, &mut Labels::default(), &mut ()).expect("the rest");
        assert_eq!(left(folder.path()), undisturbed, "stopped at event {stops}");
        stops += 1;
    }
    assert!(stops >= 30, "only {stops} events");
}

#[test]
fn leftovers_of_a_kill_are_overwritten() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    let folder = tempfile::tempdir().expect("a folder");
    assert!(process(&world, folder.path(), Failing::Observer, 25).is_err());
    let ledger = folder.path().join("ledger.jsonl");
    let torn = [&fs::read(&ledger).expect("a ledger")[..], b"{\"round\":9,\"ki"].concat();
    fs::write(&ledger, torn).expect("torn");
    fs::write(folder.path().join("state.partial"), "{").expect("torn");
    process(&world, folder.path(), Failing::Oracle, usize::MAX).expect("the rest");
    assert_eq!(left(folder.path()), undisturbed);
}

#[test]
fn a_slow_oracle_and_a_backward_learner_change_nothing() {
    let world = World::new(9);
    let undisturbed = undisturbed(&world);
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::create(folder.path(), config(), world.ids(), Vec::new()).expect("a run");
    let mut learner = Logistic::new(&world);
    learner.backwards = true;
    let mut oracle = Labels { at_most: Some(1), ..Labels::default() };
    let mut waits = 0;
    while let Outcome::Waiting { pending } =
        run.advance(&mut learner, &mut oracle, &mut ()).expect("a step")
    {
        assert!(!pending.is_empty());
        waits += 1;
    }
    // Twice two samples, one at a time.
    assert_eq!(waits, 2);
    assert_eq!(left(folder.path()), undisturbed);
}

#[test]
fn a_run_is_held_by_one_process_and_begun_once() {
    let world = World::new(6);
    let folder = tempfile::tempdir().expect("a folder");
    let run = Run::create(folder.path(), config(), world.ids(), Vec::new()).expect("a run");
    assert!(matches!(Run::open(folder.path()), Err(RunError::Locked { .. })));
    assert_eq!(&Run::read(folder.path()).expect("a state"), run.state());
    drop(run);
    let again = Run::create(folder.path(), config(), world.ids(), Vec::new());
    assert!(matches!(again, Err(RunError::Exists { .. })));
    assert!(Run::open(folder.path()).is_ok());
}

#[test]
fn a_damaged_folder_is_named() {
    let world = World::new(6);
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(Run::open(folder.path()), Err(RunError::Io { .. })));
    drop(Run::create(folder.path(), config(), world.ids(), Vec::new()).expect("a run"));
    let path = folder.path().join("state.json");
    let text = fs::read_to_string(&path).expect("a state");
    fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).expect("changed");
    assert!(matches!(Run::open(folder.path()), Err(RunError::Version { found: 2, .. })));
    fs::write(&path, &text[..text.len() / 2]).expect("torn");
    let error = Run::open(folder.path()).err().expect("damaged");
    assert!(error.to_string().contains("state.json: is damaged"), "{error}");
}
