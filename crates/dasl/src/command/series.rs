//! `dasl series`: which series an archive holds, to choose from.

use anyhow::Result;
use dasl_volume::dicom::{SeriesFiles, find_series};
use serde::Serialize;

use crate::Outcome;
use crate::args::SeriesArgs;

/// A line of the table.
#[derive(Serialize)]
struct Row<'a> {
    series_uid: &'a str,
    patient_id: &'a str,
    modality: &'a str,
    files: usize,
    description: &'a str,
    kernel: &'a str,
    slice_thickness_mm: &'a str,
    image_type: &'a str,
    folder: String,
}

impl<'a> Row<'a> {
    fn of(series: &'a SeriesFiles) -> Self {
        let SeriesFiles { series_uid, patient_id, modality, files, attributes, .. } = series;
        let folder = files.first().and_then(|file| file.parent());
        Self {
            series_uid,
            patient_id,
            modality,
            files: files.len(),
            description: &attributes.description,
            kernel: &attributes.kernel,
            slice_thickness_mm: &attributes.slice_thickness,
            image_type: &attributes.image_type,
            folder: folder.map(|folder| folder.display().to_string()).unwrap_or_default(),
        }
    }
}

/// Prints the table, as CSV or JSON.
///
/// # Errors
/// If the archive can't be listed or standard output is closed.
pub fn run(args: &SeriesArgs, json: bool) -> Result<Outcome> {
    let found = find_series(&args.archive)?;
    let rows: Vec<Row<'_>> = found.series.iter().map(Row::of).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let mut table = csv::Writer::from_writer(std::io::stdout());
        rows.iter().try_for_each(|row| table.serialize(row))?;
        table.flush()?;
    }
    let bad: Vec<_> = found.unreadable.iter().chain(&found.unlisted).collect();
    for (path, why) in &bad {
        eprintln!("set aside: {}: {why}", path.display());
    }
    Ok(if bad.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}
