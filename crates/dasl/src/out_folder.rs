//! What a folder to write to may hold already: what one command wrote is not mixed with what another
//! writes.

use std::path::Path;

use anyhow::{Result, bail};

/// What a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dasl import`, `dasl compose`.
    Dataset,
    /// `dasl train`, `dasl learn`.
    Run,
    /// `dasl segment`.
    Segmented,
}

/// The file by which a folder is known, and what it then is.
const MARKS: [(Kind, &str, &str); 2] =
    [(Kind::Dataset, "dataset.json", "a dataset"), (Kind::Run, "config.toml", "a run")];

/// Refuses a file, and a folder of another kind.
///
/// # Errors
/// If the folder is one.
pub fn check(out: &Path, own: Kind) -> Result<()> {
    let shown = out.display();
    if out.is_file() {
        bail!("{shown} is a file; name a folder as --out");
    }
    for (kind, mark, what) in MARKS {
        if kind != own && out.join(mark).is_file() {
            bail!("{shown} holds {what} (its {mark}); name another --out");
        }
    }
    Ok(())
}
