//! The real data beside the repository, if they are there.

#![allow(dead_code)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the data, or a message and nothing.
pub fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.is_dir() {
        eprintln!("skipped: no folder shared/data/{name} beside the repository");
        return None;
    }
    Some(path)
}

/// Unpacks an archive into a folder.
pub fn unpack(archive: &Path, to: &Path) {
    let status = Command::new("tar").arg("xJf").arg(archive).arg("-C").arg(to).status().unwrap();
    assert!(status.success(), "tar could not unpack {}", archive.display());
}
