//! An import that is killed at any moment and started again ends as an undisturbed one, byte for
//! byte, and leaves nothing else behind.

mod made_up;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dasl_volume::dataset::{DatasetInfo, DatasetWriter};
use made_up::{kill_when, run, slice, xml};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SCANS: usize = 60;
const KILLS: usize = 10;

/// A tree of small scans, one of them with lungs, of which three are no good.
fn source(root: &Path) {
    let tiny = made_up::tiny_scans(root, 3, SCANS);
    fs::remove_file(slice(&tiny[4], 6)).unwrap();
    fs::remove_file(xml(&tiny[20])).unwrap();
    fs::write(slice(&tiny[40], 1), "no slice").unwrap();
    made_up::scans(&root.join("chest"), 4, 1);
}

fn import(source: &Path, out: &Path) -> Vec<String> {
    let paths = [source.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let words = ["import", "lidc", "--spacing", "2", "--threads", "1"];
    words.iter().chain(&paths).map(ToString::to_string).collect()
}

/// Every file below a folder, hidden ones too.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|file| {
            let name = file.path().strip_prefix(root).unwrap().to_path_buf();
            (name, fs::read(file.path()).unwrap())
        })
        .collect()
}

#[test]
fn an_import_that_is_killed_ten_times_ends_as_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    source(&at("source"));
    let whole = run(import(&at("source"), &at("whole")));
    assert_eq!(whole.code, Some(3), "{whole:?}");
    let whole = files(&at("whole"));
    let aside = std::str::from_utf8(&whole[Path::new("set_aside.csv")]).unwrap();
    assert_eq!(aside.lines().count(), 4, "{aside}");

    // Each start may get some scans further, and a random while beyond that.
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let scans = at("pieces").join("scans");
    let there = || {
        let entries = fs::read_dir(&scans).into_iter().flatten().map(Result::unwrap);
        entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
    };
    for kill in 0..KILLS {
        let (before, more) = (there(), random.random_range(0..6));
        let while_more = Duration::from_micros(random.random_range(0..15_000));
        let killed = kill_when(&import(&at("source"), &at("pieces")), || {
            let reached = there() >= before + more;
            if reached {
                std::thread::sleep(while_more);
            }
            reached
        });
        assert!(killed, "the import was done before kill {kill}");
    }
    assert!((15..SCANS).contains(&there()), "{} scans: killed at no moment of interest", there());

    // What a kill leaves that the next start of the same import would not write over.
    fs::create_dir_all(scans.join(".tmp-GONE/ct")).unwrap();
    fs::write(at("pieces/.tmp-1234-5"), "scan_id,").unwrap();

    let last = run(import(&at("source"), &at("pieces")));
    assert_eq!(last.code, Some(3), "{last:?}");
    let pieces = files(&at("pieces"));
    assert!(!scans.join(".tmp-GONE").exists());
    assert_eq!(whole.keys().collect::<Vec<_>>(), pieces.keys().collect::<Vec<_>>());
    let differ: Vec<_> = whole.keys().filter(|name| whole[*name] != pieces[*name]).collect();
    assert!(differ.is_empty(), "these differ: {differ:?}");
}

/// What an import set aside stays listed, whatever is imported after it, until it is taken in.
#[test]
fn what_was_set_aside_is_listed_until_it_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let spoiled = made_up::tiny_scans(&at("first"), 1, 3);
    let lost = fs::read(slice(&spoiled[1], 6)).unwrap();
    fs::remove_file(slice(&spoiled[1], 6)).unwrap();
    fs::remove_file(xml(&spoiled[2])).unwrap();
    fs::create_dir(at("first/notes")).unwrap();
    fs::write(at("first/notes/a.dcm"), "no slice").unwrap();
    made_up::tiny_scans(&at("second"), 2, 1);
    let import = |source: &str| run(import(&at(source), &at("dataset")));
    let listed = || -> Vec<PathBuf> {
        let mut table = csv::Reader::from_path(at("dataset/set_aside.csv")).unwrap();
        let rows = table.records().map(|row| row.unwrap()[0].to_string());
        rows.map(|row| Path::new(&row).strip_prefix(at("first")).unwrap().to_owned()).collect()
    };
    let names = |series: &[&PathBuf]| -> Vec<PathBuf> {
        let below = |path: &&PathBuf| path.strip_prefix(at("first")).unwrap().to_owned();
        series.iter().map(below).collect()
    };
    let notes = at("first/notes/a.dcm");

    let expected = names(&[&spoiled[1], &spoiled[2], &notes]);
    assert_eq!(import("first").code, Some(3));
    assert_eq!(listed(), expected);
    import("second").done();
    assert_eq!(listed(), expected);
    // Mended, and imported from elsewhere: the series is the same.
    fs::write(slice(&spoiled[1], 6), lost).unwrap();
    made_up::copy(&spoiled[1], &at("mended"));
    import("mended").done();
    assert_eq!(listed(), names(&[&spoiled[2], &notes]));
    // By another kind of import.
    let paths = [at("first"), at("dataset")].map(|path| path.to_str().unwrap().to_string());
    let scans = ["import", "scans", "--spacing", "2", &paths[0], "--out", &paths[1]];
    run(scans).set_aside(&["a.dcm"]);
    assert_eq!(listed(), names(&[&notes]));
}

#[test]
fn one_import_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    made_up::tiny_scans(&at("source"), 1, 1);
    let info = DatasetInfo {
        format: 1,
        dasl_version: "0.1.0".into(),
        spacing_mm: 2.0,
        rule: "pylidc".into(),
    };
    let other = DatasetWriter::create_or_open(&at("dataset"), &info).unwrap();
    let path = at("dataset").to_str().unwrap().to_string();
    run(import(&at("source"), &at("dataset"))).failed(&[&path, "another import", "wait"]);
    drop(other);
    run(import(&at("source"), &at("dataset"))).done();
}
