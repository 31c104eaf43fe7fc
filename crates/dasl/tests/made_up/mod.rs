//! Synthetic scans, and the program run on them.

#![allow(dead_code)] // each test file uses its part

pub mod rods;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use dasl_phantom::{PhantomConfig, cohort};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::open_file;
use serde_json::Value;

/// Slices of a scan.
pub const SLICES: usize = 56;
/// Settings of a network that trains in a second.
pub const CONFIG: &str = "[train]\nsteps = 40\npatch = 32\nwarm_up = 5\ncheckpoint_every = 4\n\
                          [infer]\ntile = 64\nborder = 8\nmost = 4\n";

/// A chest whose lungs are found, in voxels so large that everything is quick.
fn coarse_chest() -> PhantomConfig {
    PhantomConfig {
        shape: [SLICES, 76, 104],
        spacing_mm: [3.0, 2.5, 2.5],
        scale: 0.7,
        nodules: 3,
        diameter_mm: [10.0, 22.0],
        ..PhantomConfig::default()
    }
}

/// Writes scans of 12 small slices, too few for lungs, as [`scans`] does; quick to make and to read.
pub fn tiny_scans(root: &Path, seed: u64, count: usize) -> Vec<PathBuf> {
    let config = PhantomConfig {
        shape: [12, 32, 32],
        spacing_mm: [4.0, 3.0, 3.0],
        scale: 0.25,
        ..coarse_chest()
    };
    patients(&config, root, seed, count)
}

/// A folder for what the tests of a file share: emptied at the start, kept from others that run
/// the same tests while the file lives.
pub fn shared_folder(name: &str) -> (PathBuf, File) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(root.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = root.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    (folder, lock)
}

/// Writes patients PHANTOM-001, PHANTOM-002, ... and returns their series' folders.
pub fn scans(root: &Path, seed: u64, count: usize) -> Vec<PathBuf> {
    patients(&coarse_chest(), root, seed, count)
}

fn patients(config: &PhantomConfig, root: &Path, seed: u64, count: usize) -> Vec<PathBuf> {
    let patients = cohort(config, seed, count, root).unwrap();
    patients.iter().map(|patient| only(&only(&root.join(patient)))).collect()
}

/// Imports LIDC scans on a grid of 2 mm.
pub fn import(source: &Path, out: &Path) -> Ran {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run(["import", "lidc", "--spacing", "2", &text(source), "--out", &text(out)])
}

/// A network trained for a second on a folder of scans, in `folder`.
pub fn model(folder: &Path, source: &Path) -> PathBuf {
    let [dataset, model, config] =
        ["dataset", "model", "config.toml"].map(|name| folder.join(name));
    fs::write(&config, CONFIG).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    import(source, &dataset).done();
    let [dataset, config, out] = [&dataset, &config, &model].map(|path| text(path));
    run(["train", &dataset, "--preset", "tiny", "--config", &config, "--out", &out]).done();
    model
}

/// What lies in a folder, sorted.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries
}

/// The only one of them.
pub fn only(folder: &Path) -> PathBuf {
    let mut entries = entries(folder);
    assert_eq!(entries.len(), 1, "{}", folder.display());
    entries.remove(0)
}

/// The reader XML of a series' folder.
pub fn xml(series: &Path) -> PathBuf {
    let mut entries = fs::read_dir(series).unwrap().map(|e| e.unwrap().path());
    entries.find(|p| p.extension().is_some_and(|e| e == "xml")).unwrap()
}

/// A slice of a series by its number, from 1.
pub fn slice(series: &Path, number: usize) -> PathBuf {
    series.join(format!("{number:06}.dcm"))
}

/// Rewrites an attribute in all slices of a series.
pub fn rewrite(series: &Path, tag: Tag, vr: VR, value: &str) {
    for number in 1..=SLICES {
        rewrite_file(&slice(series, number), tag, vr, value);
    }
}

/// Rewrites an attribute of one file.
pub fn rewrite_file(path: &Path, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    let mut object = open_file(path).unwrap();
    object.put(DataElement::new(tag, vr, value.into()));
    object.write_to_file(path).unwrap();
}

/// Copies a folder tree.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The program.
pub fn dasl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dasl"));
    command.env_remove("DASL_LOG");
    command
}

/// Runs the program with these arguments; it must not panic.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    let Output { status, stdout, stderr } = dasl().args(arguments).output().unwrap();
    let ran = Ran {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    };
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran
}

/// Starts the program and kills it once `reached` holds. Returns whether it was killed, not done.
pub fn kill_when(arguments: &[String], mut reached: impl FnMut() -> bool) -> bool {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dasl"));
    let mut child: Child =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if reached() {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        assert!(start.elapsed() < Duration::from_mins(2), "{arguments:?} does not get on");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(status.success() || status.code().is_none(), "{arguments:?}: {status}");
    !status.success()
}

/// Runs the program with these words as arguments; `@name` stands for that file of `folder`.
pub fn run_in(folder: &Path, arguments: &str) -> Ran {
    run(arguments.split_whitespace().map(|word| match word.strip_prefix('@') {
        Some(name) => folder.join(name).to_str().unwrap().to_owned(),
        None => word.to_owned(),
    }))
}

/// How a run ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// It did all it was asked for.
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It failed with one line that holds each of these words.
    pub fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "one line is wanted: {}", self.err);
        assert!(lines[0].starts_with("error: "), "{}", self.err);
        holds(lines[0], words);
        assert_eq!(self.out, "", "a failure prints no result");
    }

    /// It set one thing aside, in one line that holds each of these words, and did the rest.
    pub fn set_aside(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(3), "{self:?}");
        // Notes on scans that were taken in may stand beside it, and on a slow machine progress.
        let noted = |line: &&str| line.starts_with(" WARN ") || line.contains(" left; ");
        let lines: Vec<&str> = self.err.lines().filter(|line| !noted(line)).collect();
        assert_eq!(lines.len(), 1, "one line is wanted: {}", self.err);
        assert!(lines[0].starts_with("set aside: "), "{}", self.err);
        holds(lines[0], words);
        self
    }

    /// Standard output as the one JSON value that it is.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {:?}", self.out))
    }
}

fn holds(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}
