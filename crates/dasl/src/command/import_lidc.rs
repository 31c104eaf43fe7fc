//! `dasl import lidc`: a tree of DICOM series with LIDC XML becomes a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use dasl_lidc::{Reading, Rule, XmlKind, label_map, nodules, read_xml};
use dasl_volume::dataset::{Dataset, ScanRecord};
use dasl_volume::dicom::{SeriesFiles, find_series, read_series};

use super::prepare::{NoduleFacts, Source, add, hashed, open};
use crate::Outcome;
use crate::args::ImportLidcArgs;
use crate::progress::bar;
use crate::table;

/// What became of an import.
pub struct Imported {
    /// New scans.
    pub added: Vec<ScanRecord>,
    /// Scans that were there already.
    pub skipped: usize,
    /// What was set aside: what, why.
    pub set_aside: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// If the source can't be listed or the dataset not be written.
pub fn run(args: &ImportLidcArgs, json: bool) -> Result<Outcome> {
    let imported = import(&args.src, &args.out, args.rule, args.spacing)?;
    report(&imported, &args.out, json)
}

/// Imports a tree; a scan that makes trouble is set aside.
///
/// # Errors
/// As [`run`].
pub fn import(src: &Path, out: &Path, rule: Rule, spacing_mm: f64) -> Result<Imported> {
    let found = find_series(src)?;
    let dataset = open(out, spacing_mm, &rule.to_string())?;
    let mut set_aside: Vec<(String, String)> = found
        .unreadable
        .iter()
        .map(|(file, reason)| (file.display().to_string(), reason.clone()))
        .collect();
    let spoiled: BTreeSet<&Path> =
        found.unreadable.iter().filter_map(|(file, _)| file.parent()).collect();
    let series: BTreeSet<&str> = found.series.iter().map(|s| s.series_uid.as_str()).collect();
    let readings = readings(&found.xml, &series, &mut set_aside);
    let names = names(&found.series);
    let mut imported = Imported { added: Vec::new(), skipped: 0, set_aside };
    let progress = bar("import", found.series.len() as u64);
    for (files, name) in found.series.iter().zip(&names) {
        progress.set_message(name.clone());
        if dataset.has_scan(name) {
            imported.skipped += 1;
        } else {
            let whole = whole_series(files, &spoiled);
            let record = whole.and_then(|()| {
                scan(files, name, readings.get(&files.series_uid), rule, src, &dataset)
            });
            match record {
                Ok(record) => imported.added.push(record),
                Err(error) => {
                    let place = files.files.first().and_then(|f| f.parent()).unwrap_or(src);
                    imported.set_aside.push((place.display().to_string(), format!("{error:#}")));
                }
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    for (what, why) in &imported.set_aside {
        dataset.set_aside(what, why);
    }
    dataset.finish()?;
    Ok(imported)
}

/// A series that lies beside unreadable files may miss a slice at either end, where no gap shows.
fn whole_series(files: &SeriesFiles, spoiled: &BTreeSet<&Path>) -> Result<()> {
    let folders: BTreeSet<&Path> = files.files.iter().filter_map(|f| f.parent()).collect();
    match folders.intersection(spoiled).next() {
        Some(folder) => Err(anyhow!(
            "{} holds unreadable files, so the series may miss slices; restore or remove them",
            folder.display()
        )),
        None => Ok(()),
    }
}

/// Readings by series; XML that fit no series are set aside.
fn readings(
    xml: &[PathBuf],
    series: &BTreeSet<&str>,
    set_aside: &mut Vec<(String, String)>,
) -> BTreeMap<String, (PathBuf, Reading)> {
    let mut readings: BTreeMap<String, (PathBuf, Reading)> = BTreeMap::new();
    for path in xml {
        match read_xml(path) {
            Ok(XmlKind::XRay) => tracing::info!("{}: a chest X-ray's reading", path.display()),
            Ok(XmlKind::Ct(reading)) if !series.contains(reading.series_uid.as_str()) => {
                let why = format!(
                    "this reading belongs to series {}, which is not among the scans",
                    reading.series_uid
                );
                set_aside.push((path.display().to_string(), why));
            }
            Ok(XmlKind::Ct(reading)) => {
                // Of several readings of a series the one with most outlines counts.
                let outlined = |r: &Reading| {
                    let nodules = r.sessions.iter().flat_map(|s| &s.nodules);
                    nodules.filter(|n| n.is_annotation()).count()
                };
                match readings.get(&reading.series_uid) {
                    Some((_, other)) if outlined(other) >= outlined(&reading) => {}
                    _ => {
                        readings.insert(reading.series_uid.clone(), (path.clone(), reading));
                    }
                }
            }
            Err(error) => set_aside.push((path.display().to_string(), error.to_string())),
        }
    }
    readings
}

/// Patient ids, with the end of the series' UID where a patient has several.
fn names(series: &[SeriesFiles]) -> Vec<String> {
    let mut per_patient: BTreeMap<&str, usize> = BTreeMap::new();
    for s in series.iter().filter(|s| s.modality == "CT") {
        *per_patient.entry(s.patient_id.as_str()).or_default() += 1;
    }
    let name = |s: &SeriesFiles| {
        let end = &s.series_uid[s.series_uid.len().saturating_sub(8)..];
        let name = match per_patient.get(s.patient_id.as_str()) {
            Some(1) if !s.patient_id.is_empty() => s.patient_id.clone(),
            _ => format!("{}_{end}", s.patient_id),
        };
        // The name becomes a folder's.
        name.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "_")
    };
    series.iter().map(name).collect()
}

fn scan(
    files: &SeriesFiles,
    name: &str,
    reading: Option<&(PathBuf, Reading)>,
    rule: Rule,
    src: &Path,
    dataset: &Dataset,
) -> Result<ScanRecord> {
    let scan = read_series(files)?;
    let Some((xml, reading)) = reading else {
        return Err(anyhow!(
            "no LIDC XML names series {}; put its reader XML beside the slices",
            files.series_uid
        ));
    };
    let thickness = scan.slice_thickness_mm.unwrap_or(scan.volume.geometry.spacing_mm[0]);
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
    let mut sources = scan.source.clone();
    sources.push(xml.clone());
    let source = Source {
        scan_id: name.into(),
        patient_id: scan.patient_id,
        series_uid: scan.series_uid,
        ct: scan.volume,
        labels,
        nodules: facts.collect(),
        whole: true,
        files: hashed(src, &sources)?,
    };
    add(dataset, &source)
}

/// Prints what became of an import.
///
/// # Errors
/// If standard output is closed.
pub fn report(imported: &Imported, out: &Path, json: bool) -> Result<Outcome> {
    for (what, why) in &imported.set_aside {
        eprintln!("set aside: {what}: {why}");
    }
    if json {
        let set_aside = imported.set_aside.iter();
        let set_aside: Vec<_> = set_aside
            .map(|(what, why)| serde_json::json!({ "source": what, "reason": why }))
            .collect();
        let result = serde_json::json!({
            "dataset": out,
            "added": imported.added,
            "skipped": imported.skipped,
            "set_aside": set_aside,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        let nodules: usize = imported.added.iter().map(|s| s.nodules.len()).sum();
        if imported.added.len() <= 20 {
            println!("{}", table::render(&HEADER, &rows(&imported.added)));
        }
        println!(
            "{}: {} scans with {nodules} nodules added, {} there already, {} set aside",
            out.display(),
            imported.added.len(),
            imported.skipped,
            imported.set_aside.len()
        );
    }
    Ok(if imported.set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}

const HEADER: [&str; 6] = ["scan", "nodule", "readers", "voxels", "diameter mm", "centre x y z mm"];

fn rows(scans: &[ScanRecord]) -> Vec<Vec<String>> {
    let row = |scan: &ScanRecord, n: &dasl_volume::dataset::NoduleRecord| {
        let c = n.center_mm;
        vec![
            scan.scan_id.clone(),
            n.label.to_string(),
            n.readers.to_string(),
            n.native_voxels.to_string(),
            format!("{:.1}", n.diameter_mm),
            format!("{:.1} {:.1} {:.1}", c.x, c.y, c.z),
        ]
    };
    scans.iter().flat_map(|s| s.nodules.iter().map(move |n| row(s, n))).collect()
}
