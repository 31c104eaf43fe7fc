//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells apart the temporary names of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name beside `path` that no other writer uses: same folder, so that a rename is atomic.
/// `ending` is for writers that choose the format by it.
pub(crate) fn temporary_beside(path: &Path, ending: &str) -> PathBuf {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".tmp-{}-{count}{ending}", std::process::id()))
}

/// Whether a file of this name is, or was when its process died, being written.
pub fn is_temporary(name: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = name.strip_prefix(".tmp-").and_then(|rest| rest.split_once('-'));
    // An ending may follow the second number.
    parts.is_some_and(|(process, rest)| {
        number(process) && number(rest.split('.').next().unwrap_or_default())
    })
}

/// Flushes a finished temporary file to the disk and gives it its name; it is removed if that
/// fails.
///
/// # Errors
/// Whatever the file system answers.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    let result = File::open(temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(temporary);
    }
    result
}

/// Writes `path` through a temporary file in the same folder: whoever opens `path` sees the old
/// content or the new, never a part. An existing file is replaced.
///
/// # Errors
/// Whatever `write` or the file system answers; `path` is then as it was.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_beside(path, "");
    let written = File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    publish(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, |out| out.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(error.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn temporary_names_are_known_again() {
        for ending in ["", ".nii.gz"] {
            let path = temporary_beside(Path::new("folder/a.json"), ending);
            assert!(is_temporary(path.file_name().unwrap().to_str().unwrap()));
        }
        for name in ["a.json", ".tmp-", ".tmp-1", ".tmp-x-1", ".tmp-1-", ".tmp-1-x", ".tmp-A"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn an_existing_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, |out| out.write_all(b"a longer text")).unwrap();
        write_atomic(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
