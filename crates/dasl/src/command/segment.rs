//! `dasl segment`: from scans to instance masks, tables, DICOM segmentations and pictures.

mod batch;
mod output;
mod scan;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dasl_net::infer::Segmenter;
use dasl_volume::lung::lung_mask;
use dasl_volume::resample::resample_ct;
use dasl_volume::{LabelVolume, write_atomic};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::Outcome;
use crate::args::SegmentArgs;
use crate::model::Model;
use crate::out_folder::{self, Kind};
use crate::paste::{Nodule, paste};
use crate::progress::bar;
use crate::segmented_folder::folders;
use crate::series_choice::SeriesChoice;
use crate::{found, table};
use batch::{Batch, Entry};
use output::TABLE_COLUMNS;
pub use output::{MadeWith, ScanNote, write};
pub use scan::{Identity, Scan};

/// Colour of what the network outlines.
pub const PREDICTION: [u8; 3] = [255, 196, 0];
/// Of more scans no table is printed.
const MOST_IN_TABLE: usize = 20;

/// What was found in a scan.
pub struct Segmented {
    /// Instances on the scan's own grid.
    pub labels: LabelVolume,
    /// The instances.
    pub nodules: Vec<Nodule>,
    /// Whether the lungs were found.
    pub lung_sure: bool,
}

/// What became of a batch.
#[derive(Default)]
struct Results {
    done: Vec<Done>,
    there_already: Vec<String>,
    set_aside: Vec<(String, String)>,
}

/// What is said of a scan that was segmented.
#[derive(Serialize)]
struct Done {
    scan: String,
    nodules: Vec<Nodule>,
    lung_sure: bool,
}

/// Runs the command.
///
/// # Errors
/// If the run's network can't be read or the output not be written. A scan that can't be read is
/// set aside.
pub fn run(args: &SegmentArgs, json: bool) -> Result<Outcome> {
    out_folder::check(&args.out, Kind::Segmented)?;
    let mut model = Model::of(args.model.as_deref(), &args.device.open()?)?;
    model.segmenter = model.segmenter.with_threshold(args.threshold);
    let made_with = MadeWith::of(&model, args.min_diameter);
    let choice = SeriesChoice::read(args.pick.series.as_deref())?;
    let entries = Batch::of(&args.scans, &args.out, &choice).share(args.shard);
    let mut results = Results::default();
    let progress = bar("segment", entries.len() as u64);
    for entry in entries {
        progress.set_message(entry.label());
        match one(&args.out, &entry, &model, &made_with, &progress)? {
            One::Done(done) => results.done.push(done),
            One::ThereAlready(name) => {
                // It says nothing of how long the others take.
                progress.dec_length(1);
                results.there_already.push(name);
                continue;
            }
            One::SetAside(why) => {
                let source = entry.source();
                progress.suspend(|| eprintln!("set aside: {source}: {why}"));
                results.set_aside.push((source, why));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    list_set_aside(&results.set_aside, args)?;
    join_tables(&args.out)?;
    report(&results, &args.out, json)
}

/// Writes `set_aside.csv`, of a share with its number in the name: what was not segmented, and why. There
/// is none where all was.
fn list_set_aside(set_aside: &[(String, String)], args: &SegmentArgs) -> Result<()> {
    let share = args.shard.map_or(String::new(), |shard| format!("-{}", shard.in_words()));
    let path = args.out.join(format!("set_aside{share}.csv"));
    let shown = || path.display().to_string();
    if set_aside.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(shown),
            _ => Ok(()),
        };
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["source", "reason"])?;
    for (source, why) in set_aside {
        csv.write_record([source, why])?;
    }
    let table = csv.into_inner()?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    write_atomic(&path, |file| file.write_all(&table)).with_context(shown)
}

/// Writes `all-nodules.csv`: the tables of all scans in the folder, these and earlier ones, as one.
fn join_tables(out: &Path) -> Result<()> {
    let tables = || -> Result<Vec<PathBuf>> {
        let mut folders = if out.is_dir() { folders(out)? } else { Vec::new() };
        folders.retain(|folder| found::table(folder).is_file());
        Ok(folders)
    };
    let (mut now, path) = (tables()?, out.join("all-nodules.csv"));
    while !now.is_empty() {
        let table = joined(&now)?;
        write_atomic(&path, |file| file.write_all(&table))
            .with_context(|| path.display().to_string())?;
        // Another share may have written before this one did, and had more.
        let before = std::mem::replace(&mut now, tables()?);
        if before == now {
            break;
        }
    }
    Ok(())
}

/// The tables of scans as one; what others have added to them is left out.
fn joined(folders: &[PathBuf]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["scan"].iter().chain(&TABLE_COLUMNS))?;
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let path = found::table(folder);
        let shown = || path.display().to_string();
        let mut table = csv::Reader::from_path(&path).with_context(shown)?;
        for row in table.deserialize() {
            let row: BTreeMap<String, String> = row.with_context(shown)?;
            let cells = TABLE_COLUMNS.map(|column| row.get(column).map_or("", String::as_str));
            csv.write_record([&*name].into_iter().chain(cells))?;
        }
    }
    Ok(csv.into_inner()?)
}

/// What became of one scan.
enum One {
    Done(Done),
    ThereAlready(String),
    SetAside(String),
}

/// Segments one scan, if that was not done with the same model and settings before.
///
/// # Errors
/// If the output can't be written.
fn one(
    out: &Path,
    entry: &Entry,
    model: &Model,
    made_with: &MadeWith,
    progress: &ProgressBar,
) -> Result<One> {
    let set_aside = |error: anyhow::Error| {
        // The source is named anyway.
        let said = format!("{error:#}");
        let why = said.strip_prefix(&format!("{}: ", entry.source())).unwrap_or(&said);
        One::SetAside(why.to_string())
    };
    let identity = match entry.identity() {
        Ok(identity) => identity,
        Err(error) => return Ok(set_aside(error)),
    };
    let (name, note) = entry.place(out, &identity);
    let is_new = note.is_none();
    if note.is_some_and(|note| note.is_of(&identity, made_with)) {
        return Ok(One::ThereAlready(name));
    }
    let plain = entry.label();
    if is_new && name != plain && ScanNote::read(&out.join(&plain)).is_ok() {
        let source = entry.source();
        progress.suspend(|| {
            eprintln!(
                "{source}: {plain} is another scan's, or an earlier file's: results go to {name}"
            );
        });
    }
    let found = entry.read(name, identity).and_then(|scan| {
        let found = segment(&model.segmenter, &scan, made_with.min_diameter_mm, progress)?;
        Ok((scan, found))
    });
    match found {
        Ok((scan, found)) => {
            write(out, &scan, &found, made_with, &model.trained_on)?;
            let Segmented { nodules, lung_sure, .. } = found;
            Ok(One::Done(Done { scan: scan.name, nodules, lung_sure }))
        }
        Err(error) => Ok(set_aside(error)),
    }
}

/// Finds and outlines the nodules of a scan.
///
/// The scan is looked at in axial order, feet to head, whatever order its file has: the same scan
/// gives the same nodules from every format.
///
/// # Errors
/// If it can't be a CT scan: nothing but one value, or larger than any patient.
pub fn segment(
    segmenter: &Segmenter,
    scan: &Scan,
    min_diameter_mm: f64,
    progress: &ProgressBar,
) -> Result<Segmented> {
    let native = scan.ct.geometry;
    let grid = native.axial_order().with_spacing([segmenter.config().net.spacing_mm; 3]);
    scan.check(&grid)?;
    let (found, lung_sure) = {
        let ct = resample_ct(&scan.ct, &grid);
        let lung = lung_mask(&ct);
        if let Some(reason) = &lung.reason {
            let name = &scan.name;
            progress.suspend(|| {
                eprintln!("{name}: lungs not found ({reason}); the whole body is searched");
            });
        }
        let mut tell = |done: usize, of: usize| {
            progress.set_message(format!("{}, tile {done} of {of}", scan.name));
        };
        // Nothing but air has nothing to be searched.
        let found = if lung.mask.voxels.iter().any(|inside| *inside != 0) {
            segmenter.segment(ct.voxels.view(), Some(lung.mask.voxels.view()), &mut tell)
        } else {
            Vec::new()
        };
        (found, lung.sure)
    };
    let (labels, nodules) = paste(&found, &grid, &native, min_diameter_mm);
    Ok(Segmented { labels, nodules, lung_sure })
}

/// Prints what became of the batch.
///
/// # Errors
/// If standard output is closed.
fn report(results: &Results, out: &Path, json: bool) -> Result<Outcome> {
    let Results { done, there_already, set_aside } = results;
    if json {
        let aside = set_aside
            .iter()
            .map(|(source, why)| serde_json::json!({ "source": source, "reason": why }));
        let result = serde_json::json!({
            "scans": done,
            "there_already": there_already,
            "set_aside": aside.collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        if !done.is_empty() && done.len() <= MOST_IN_TABLE {
            println!("{}", render(done));
        }
        let nodules: usize = done.iter().map(|done| done.nodules.len()).sum();
        println!(
            "{}: {} scans with {nodules} nodules segmented, {} there already, {} set aside",
            out.display(),
            done.len(),
            there_already.len(),
            set_aside.len()
        );
    }
    Ok(if set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}

fn render(scans: &[Done]) -> String {
    let header = ["scan", "id", "x mm", "y mm", "z mm", "diameter mm", "volume mm3", "score"];
    let row = |scan: &String, n: &Nodule| {
        let mut row = vec![scan.clone(), n.id.to_string()];
        row.extend([n.x_mm, n.y_mm, n.z_mm, n.diameter_mm].map(|v| format!("{v:.1}")));
        row.extend([format!("{:.0}", n.volume_mm3), format!("{:.3}", n.score)]);
        row
    };
    let mut rows = Vec::new();
    for Done { scan, nodules, .. } in scans {
        if nodules.is_empty() {
            let mut none = vec![scan.clone(), "none".into()];
            none.resize(header.len(), "-".into());
            rows.push(none);
        }
        rows.extend(nodules.iter().map(|n| row(scan, n)));
    }
    table::render(&header, &rows)
}
