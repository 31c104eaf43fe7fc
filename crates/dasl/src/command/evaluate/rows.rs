//! A table of rows and what they sum up to, as NAME.csv and NAME.json.

use std::path::Path;

use anyhow::{Context, Result};
use dasl_volume::write_atomic;
use serde::Serialize;

/// Writes both into a folder.
///
/// # Errors
/// If the folder can't be made or a file not be written.
pub fn write(
    folder: &Path,
    name: &str,
    rows: &[impl Serialize],
    summary: &impl Serialize,
) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.serialize(row)?;
    }
    let table = csv.into_inner()?;
    let json = serde_json::to_string_pretty(summary)?;
    for (extension, bytes) in [("csv", &table[..]), ("json", json.as_bytes())] {
        let path = folder.join(name).with_extension(extension);
        write_atomic(&path, |file| file.write_all(bytes))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
