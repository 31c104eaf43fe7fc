//! One seed, one cohort: the same bytes whatever the number of threads.

use dasl_phantom::{PhantomConfig, cohort, make};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn small() -> PhantomConfig {
    PhantomConfig {
        shape: [40, 66, 91],
        spacing_mm: [3.0, 2.0, 2.0],
        nodules: 2,
        ..PhantomConfig::default()
    }
}

/// Hash of all paths and contents under a folder, and the number of files.
fn hash_tree(root: &Path) -> (String, usize) {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        hash.update(file.strip_prefix(root).unwrap().to_str().unwrap());
        hash.update(std::fs::read(file).unwrap());
    }
    (format!("{:x}", hash.finalize()), files.len())
}

fn written(seed: u64, scans: usize, threads: usize) -> (String, usize) {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let names = pool.install(|| cohort(&small(), seed, scans, folder.path())).unwrap();
    let expected: Vec<String> = (1..=scans).map(|n| format!("PHANTOM-{n:03}")).collect();
    assert_eq!(names, expected);
    hash_tree(folder.path())
}

#[test]
fn a_seed_gives_the_same_files_and_another_seed_others() {
    let (one, files) = written(4, 2, 1);
    assert_eq!(files, 2 * (40 + 1));
    assert_eq!(written(4, 2, 3).0, one);
    assert_ne!(written(5, 2, 3).0, one);
}

#[test]
fn patients_of_a_cohort_differ() {
    let (a, b) = (make(&small(), 1), make(&small(), 2));
    assert_ne!(a.nodules, b.nodules);
    let differ =
        a.ct.voxels.iter().zip(&b.ct.voxels).filter(|(a, b)| (*a - *b).abs() > 200).count();
    // Not the noise alone: other bones, other lungs.
    assert!(differ * 50 > a.ct.voxels.len(), "{differ} voxels differ");
}

#[test]
fn settings_that_make_no_scan_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bad = PhantomConfig { scale: -1.0, ..small() };
    let message = cohort(&bad, 1, 1, folder.path()).unwrap_err().to_string();
    assert!(message.contains("scale"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
