//! Bytes as a file of this process, in memory where the system has such a place.

use std::fs;
use std::path::{Path, PathBuf};

/// The file's path.
pub fn with(name: &str, bytes: &[u8]) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let folder = base.join(format!("dasl-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}
