//! `dasl import lidc`: a tree of DICOM series with LIDC XML becomes a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use dasl_lidc::{IgnoredKind, Reading, Rule, XmlKind, ignored, label_map, nodules, read_xml};
use dasl_volume::dataset::{DatasetWriter, IgnoredRecord, ScanRecord};
use dasl_volume::dicom::{CtScan, SeriesFiles, find_series, read_series};

use super::import_series::{Known, free_name, patient, patients_with_several};
use super::imported::{Imported, Item};
use super::prepare::{NoduleFacts, Source, add, hashed, open};
use crate::Outcome;
use crate::args::ImportLidcArgs;
use crate::progress::bar;
use crate::spoiled::{Spoiled, whole_series};

/// Runs the command.
///
/// # Errors
/// If the source can't be listed or the dataset not be written.
pub fn run(args: &ImportLidcArgs, json: bool) -> Result<Outcome> {
    import(&args.src, &args.out, args.rule, args.spacing)?.finish(json)
}

/// Imports a tree; a scan that makes trouble is set aside.
///
/// # Errors
/// As [`run`].
pub fn import(src: &Path, out: &Path, rule: Rule, spacing_mm: f64) -> Result<Imported> {
    let found = find_series(src)?;
    let mut imported = Imported::into(open(out, spacing_mm, &rule.to_string())?);
    let mut known = Known::of(imported.dataset())?;
    let mut spoiled = Spoiled::new(found.unreadable, found.unlisted);
    let series: BTreeSet<&str> = found.series.iter().map(|s| s.series_uid.as_str()).collect();
    let (readings, mut strange) = readings(&found.xml, &series);
    let several = patients_with_several(&found.series);
    let progress = bar("import", found.series.len() as u64);
    for files in &found.series {
        progress.set_message(files.patient_id.clone());
        let several = several.contains(files.patient_id.as_str());
        let (dataset, reading) = (imported.dataset(), readings.get(&files.series_uid));
        let record = free_name(dataset, &known, files, several, true).and_then(|name| {
            let Some(name) = name else { return Ok(None) };
            whole_series(files, &mut spoiled)?;
            let ct = read_series(files)?;
            let reading = reading.ok_or_else(|| no_reading(files, &mut strange))?;
            scan(files, ct, &name, reading, rule, src, dataset).map(Some)
        });
        record.iter().flatten().for_each(|record| known.add(record));
        let xml = reading.map(|(xml, _)| xml.as_path());
        imported.note(&Item::series(files, xml)?, record)?;
        progress.inc(1);
    }
    // What no series' trouble has named yet.
    for (path, why) in spoiled.files.into_iter().chain(strange) {
        imported.set_aside(&Item::file(&path)?, why)?;
    }
    progress.finish_and_clear();
    Ok(imported)
}

/// A series without a reading: the XML beside it that is of no use, if there is one, is why, and
/// need not be listed again.
fn no_reading(files: &SeriesFiles, strange: &mut BTreeMap<PathBuf, String>) -> anyhow::Error {
    let folders: BTreeSet<&Path> = files.files.iter().filter_map(|f| f.parent()).collect();
    let beside = strange.keys().find(|xml| xml.parent().is_some_and(|f| folders.contains(f)));
    match beside.cloned().and_then(|xml| strange.remove_entry(&xml)) {
        Some((xml, why)) => anyhow!("{}: {why}", xml.display()),
        None => anyhow!(
            "no LIDC XML names series {}; put its reader XML beside the slices",
            files.series_uid
        ),
    }
}

type Readings = BTreeMap<String, (PathBuf, Reading)>;

/// Readings by series, and the XML that fit no series, with the reason.
fn readings(xml: &[PathBuf], series: &BTreeSet<&str>) -> (Readings, BTreeMap<PathBuf, String>) {
    let (mut readings, mut strange) = (Readings::new(), BTreeMap::new());
    for path in xml {
        match read_xml(path) {
            Ok(XmlKind::XRay) => tracing::info!("{}: a chest X-ray's reading", path.display()),
            Ok(XmlKind::Ct(reading)) if !series.contains(reading.series_uid.as_str()) => {
                let why = format!(
                    "this reading belongs to series {}, which is not among the scans",
                    reading.series_uid
                );
                strange.insert(path.clone(), why);
            }
            Ok(XmlKind::Ct(reading)) => {
                // Of several readings of a series the one with most outlines counts.
                match readings.get(&reading.series_uid) {
                    Some((_, other)) if other.annotations() >= reading.annotations() => {}
                    _ => {
                        readings.insert(reading.series_uid.clone(), (path.clone(), reading));
                    }
                }
            }
            Err(error) => {
                // The message begins with the path, which is said anyway.
                let said = error.to_string();
                let why = said.strip_prefix(&path.display().to_string()).unwrap_or(&said);
                strange.insert(path.clone(), why.trim_start_matches([':', ' ']).to_string());
            }
        }
    }
    (readings, strange)
}

fn scan(
    files: &SeriesFiles,
    scan: CtScan,
    name: &str,
    (xml, reading): &(PathBuf, Reading),
    rule: Rule,
    src: &Path,
    dataset: &DatasetWriter,
) -> Result<ScanRecord> {
    // Some headers say 0.
    let thickness = scan.slice_thickness_mm.filter(|mm| *mm > 0.0);
    let thickness = thickness.unwrap_or(scan.volume.geometry.spacing_mm[0]);
    let found = nodules(reading, &scan.volume.geometry, thickness, rule)
        .with_context(|| xml.display().to_string())?;
    let labels = label_map(&found, &scan.volume.geometry);
    let facts = (1u16..).zip(&found).map(|(label, nodule)| NoduleFacts {
        label,
        readers: nodule.readers as u32,
        center_mm: nodule.center_mm,
        malignancy: nodule.malignancy.clone(),
        texture: nodule.texture.clone(),
    });
    let places = ignored(reading, &scan.volume.geometry, thickness, rule)
        .with_context(|| xml.display().to_string())?;
    let unrated = places.iter().filter(|place| place.kind == IgnoredKind::Unrated).count();
    let unrated = (unrated > 0).then(|| {
        format!(
            "{unrated} outlined nodules have no ratings: they count neither as nodule nor as background"
        )
    });
    let ignored = places.into_iter().map(|place| IgnoredRecord {
        kind: place.kind.to_string(),
        center_mm: place.center_mm,
        diameter_mm: place.diameter_mm,
    });
    let mut sources = scan.source.clone();
    sources.push(xml.clone());
    let (patient_id, note) = patient(files);
    let source = Source {
        scan_id: name.into(),
        patient_id,
        series_uid: scan.series_uid,
        ct: scan.volume,
        labels,
        annotated: true,
        nodules: facts.collect(),
        ignored: ignored.collect(),
        notes: scan.notes.into_iter().chain(note).chain(unrated).collect(),
        whole: true,
        files: hashed(src, &sources)?,
        series_files: files.files.len(),
    };
    add(dataset, &source)
}
