//! `dasl import lidc`: a tree of DICOM series with LIDC XML becomes a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use dasl_lidc::{Reading, Rule, XmlKind, label_map, nodules, read_xml};
use dasl_volume::dataset::{Dataset, ScanRecord};
use dasl_volume::dicom::{CtScan, SeriesFiles, find_series, read_series};

use super::prepare::{NoduleFacts, Source, add, hashed, open};
use crate::Outcome;
use crate::args::ImportLidcArgs;
use crate::progress::bar;
use crate::scan_name;
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
    let mut spoiled = Spoiled::new(found.unreadable);
    let series: BTreeSet<&str> = found.series.iter().map(|s| s.series_uid.as_str()).collect();
    let (readings, mut strange) = readings(&found.xml, &series);
    let mut imported = Imported { added: Vec::new(), skipped: 0, set_aside: Vec::new() };
    let several = patients_with_several(&found.series);
    let progress = bar("import", found.series.len() as u64);
    for files in &found.series {
        progress.set_message(files.patient_id.clone());
        let several = several.contains(files.patient_id.as_str());
        match free_name(&dataset, files, several)? {
            None => imported.skipped += 1,
            Some(name) => {
                let reading = readings.get(&files.series_uid);
                let record = whole_series(files, &mut spoiled)
                    .and_then(|()| read_series(files).map_err(Into::into))
                    .and_then(|ct| match reading {
                        Some(reading) => Ok((ct, reading)),
                        None => Err(no_reading(files, &mut strange)),
                    })
                    .and_then(|(ct, reading)| scan(ct, &name, reading, rule, src, &dataset));
                match record {
                    Ok(record) => imported.added.push(record),
                    Err(error) => {
                        let place = files.files.first().and_then(|f| f.parent()).unwrap_or(src);
                        let what = place.display().to_string();
                        imported.set_aside.push((what, format!("{error:#}")));
                    }
                }
            }
        }
        progress.inc(1);
    }
    // What no series' trouble has named yet.
    for (path, why) in spoiled.files.into_iter().chain(strange) {
        imported.set_aside.push((path.display().to_string(), why));
    }
    progress.finish_and_clear();
    for (what, why) in &imported.set_aside {
        dataset.set_aside(what, why);
    }
    dataset.finish()?;
    Ok(imported)
}

/// Files that can't be read, with the reason.
struct Spoiled {
    files: BTreeMap<PathBuf, String>,
    folders: BTreeMap<PathBuf, (PathBuf, String)>,
}

impl Spoiled {
    fn new(files: Vec<(PathBuf, String)>) -> Self {
        let mut folders = BTreeMap::new();
        for (file, why) in &files {
            let folder = file.parent().unwrap_or(file).to_path_buf();
            folders.entry(folder).or_insert_with(|| (file.clone(), why.clone()));
        }
        Self { files: files.into_iter().collect(), folders }
    }
}

/// A series that lies beside unreadable files may miss a slice at either end, where no gap shows.
/// The files it complains of need not be listed again.
fn whole_series(files: &SeriesFiles, spoiled: &mut Spoiled) -> Result<()> {
    let folders: BTreeSet<&Path> = files.files.iter().filter_map(|f| f.parent()).collect();
    let Some((file, why)) = folders.iter().find_map(|f| spoiled.folders.get(*f)) else {
        return Ok(());
    };
    let error = anyhow!(
        "{}: {why}, so the series may miss slices; copy the file again or remove it",
        file.display()
    );
    spoiled.files.retain(|file, _| file.parent().is_none_or(|f| !folders.contains(f)));
    Err(error)
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

fn patients_with_several(series: &[SeriesFiles]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    let ct = series.iter().filter(|s| s.modality == "CT").map(|s| s.patient_id.as_str());
    ct.filter(|patient| !seen.insert(*patient)).collect()
}

/// The name of a new scan: the patient's, or with the end of the series' UID where the patient has
/// several series or the name is another's. `None` if the series is there already.
fn free_name(dataset: &Dataset, files: &SeriesFiles, several: bool) -> Result<Option<String>> {
    let patient = scan_name::plain(&files.patient_id);
    let series = scan_name::with_series(&files.patient_id, &files.series_uid);
    let alone = !several && !patient.is_empty();
    let mut free = None;
    for (name, wanted) in [(patient, alone), (series, true)] {
        if !dataset.has_scan(&name) {
            free = free.or_else(|| wanted.then_some(name));
        } else if dataset.scan(&name)?.series_uid == files.series_uid {
            return Ok(None);
        }
    }
    free.map(Some).ok_or_else(|| {
        anyhow!("no name is left for series {}; import it into another folder", files.series_uid)
    })
}

fn scan(
    scan: CtScan,
    name: &str,
    (xml, reading): &(PathBuf, Reading),
    rule: Rule,
    src: &Path,
    dataset: &Dataset,
) -> Result<ScanRecord> {
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
