//! `dasl import scans`: scans that nobody has annotated become a pool to learn from and to segment.

use std::path::Path;

use anyhow::{Result, anyhow};
use dasl_volume::LabelVolume;
use dasl_volume::dataset::{DatasetWriter, NO_RULE, ScanRecord};
use dasl_volume::dicom::{SeriesFiles, read_series};
use dasl_volume::image_file;

use super::import_series::{Known, free_name, patient, patients_with_several};
use super::imported::{Imported, Item};
use super::prepare::{Source, add, hashed, open};
use crate::Outcome;
use crate::args::ImportScansArgs;
use crate::progress::bar;
use crate::scan_list::ScanList;
use crate::scan_name;
use crate::series_choice::SeriesChoice;
use crate::spoiled::whole_series;

/// Runs the command.
///
/// # Errors
/// If the source can't be listed or the dataset not be written. A scan that can't be read is set
/// aside.
pub fn run(args: &ImportScansArgs, json: bool) -> Result<Outcome> {
    let choice = SeriesChoice::read(args.pick.series.as_deref())?;
    let ScanList { mut series, images, mut spoiled } = ScanList::of(&args.src)?;
    choice.warn_of_missing(&series.iter().map(|files| files.series_uid.clone()).collect());
    series.retain(|files| choice.takes(files));
    let mut imported = Imported::into(open(&args.out, args.spacing, NO_RULE)?);
    let mut known = Known::of(imported.dataset())?;
    let several = patients_with_several(&series);
    let progress = bar("import", (series.len() + images.len()) as u64);
    for files in &series {
        progress.set_message(files.patient_id.clone());
        let several = several.contains(files.patient_id.as_str());
        let dataset = imported.dataset();
        let record = free_name(dataset, &known, files, several, false).and_then(|name| {
            let Some(name) = name else { return Ok(None) };
            whole_series(files, &mut spoiled)?;
            series_scan(&args.src, files, name, dataset).map(Some)
        });
        record.iter().flatten().for_each(|record| known.add(record));
        imported.note(&Item::series(files, [])?, record)?;
        progress.inc(1);
    }
    for path in &images {
        progress.set_message(image_file::stem(path));
        let record = image_scan(&args.src, path, imported.dataset());
        imported.note(&Item::file(path)?, record)?;
        progress.inc(1);
    }
    for (path, why) in spoiled.files {
        imported.set_aside(&Item::file(&path)?, why)?;
    }
    progress.finish_and_clear();
    imported.finish(json)
}

fn series_scan(
    src: &Path,
    files: &SeriesFiles,
    name: String,
    dataset: &DatasetWriter,
) -> Result<ScanRecord> {
    let scan = read_series(files)?;
    let (patient_id, note) = patient(files);
    let source = Source {
        scan_id: name,
        patient_id,
        series_uid: scan.series_uid,
        files: hashed(src, &scan.source)?,
        series_files: files.files.len(),
        notes: scan.notes.into_iter().chain(note).collect(),
        ..Source::unannotated(scan.volume)
    };
    add(dataset, &source)
}

/// `None` if the file is in the dataset already.
fn image_scan(src: &Path, path: &Path, dataset: &DatasetWriter) -> Result<Option<ScanRecord>> {
    let files = hashed(src, &image_file::files(path)?)?;
    let name = scan_name::plain(&image_file::stem(path));
    // Another file of the same name gets the beginning of its voxels' hash to it.
    let voxels = &files[files.len() - 1].sha256;
    let with_hash = format!("{name}_{}", &voxels[..8]);
    let mut free = None;
    for name in [name, with_hash] {
        if !dataset.has_scan(&name) {
            free = free.or(Some(name));
            continue;
        }
        let there = dataset.scan(&name)?.source;
        if there.iter().map(|file| &file.sha256).eq(files.iter().map(|file| &file.sha256)) {
            return Ok(None);
        }
    }
    let name = free.ok_or_else(|| anyhow!("a scan of this name is there with another content"))?;
    let ct = image_file::read_ct(path)?;
    let source =
        Source { scan_id: name.clone(), patient_id: name, files, ..Source::unannotated(ct) };
    add(dataset, &source).map(Some)
}

impl Source {
    /// A whole chest that nobody has annotated, without names.
    fn unannotated(ct: dasl_volume::CtVolume) -> Self {
        let labels = LabelVolume::new(ndarray::Array3::zeros(ct.geometry.shape), ct.geometry);
        Self {
            scan_id: String::new(),
            patient_id: String::new(),
            series_uid: String::new(),
            ct,
            labels,
            annotated: false,
            nodules: Vec::new(),
            ignored: Vec::new(),
            notes: Vec::new(),
            whole: true,
            files: Vec::new(),
            series_files: 0,
        }
    }
}
