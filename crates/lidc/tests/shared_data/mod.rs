//! The real data beside the repository, where there is any.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of `shared/data`, or `None` (with a message) where it is absent.
pub fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no shared/data/{name} beside the repository");
    None
}

/// Unpacks the members of an archive that match `patterns` into `to`.
pub fn unpack(archive: &Path, patterns: &[String], to: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("xJf").arg(archive).arg("-C").arg(to);
    if !patterns.is_empty() {
        tar.arg("--wildcards").args(patterns);
    }
    assert!(tar.status().expect("tar is installed").success(), "tar failed");
}
