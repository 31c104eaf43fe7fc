//! `dasl froc`: a detector's marks against a list of nodules, by LUNA16's rules.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_metrics::froc::{FALSE_POSITIVES_PER_SCAN, MAX_MARKS_PER_SCAN, curve_rates};
use dasl_metrics::luna_csv::{read_annotations, read_marks, read_scan_ids};
use dasl_metrics::{
    Annotation, Difference, Froc, FrocCounts, FrocIntervals, Interval, LunaCsvError, Mark, Ranking,
    ScanIds, cpm_difference, froc_intervals,
};
use dasl_volume::write_atomic;
use serde::Serialize;

use super::evaluate::centre;
use super::segment::ScanNote;
use crate::Outcome;
use crate::args::{BootstrapArgs, FrocArgs};
use crate::segmented_folder::folders;
use crate::{found, table};

/// What is printed with --json.
#[derive(Serialize)]
struct Evaluated {
    rules: &'static str,
    false_positives_per_scan: [f64; 7],
    #[serde(flatten)]
    system: System,
    against: Option<System>,
    /// CPM of `system` less that of `against`.
    cpm_difference: Option<Difference>,
    resamples: usize,
    seed: u64,
}

/// One detector. The curve's points are in the tables, not here.
#[derive(Serialize)]
struct System {
    #[serde(skip)]
    ranking: Ranking,
    #[serde(skip)]
    curve: Froc,
    sensitivities: [f64; 7],
    cpm: f64,
    counts: FrocCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<FrocIntervals>,
}

/// Runs the command.
///
/// # Errors
/// If a list can't be read, there is nothing to count, or a table can't be written.
pub fn run(args: &FrocArgs, json: bool) -> Result<Outcome> {
    let ids = args.ids.into();
    let lists = Lists {
        scans: list(&args.series, ids, read_scan_ids)?,
        nodules: list(&args.annotations, ids, read_annotations)?,
        excluded: match &args.excluded {
            Some(path) => list(path, ids, read_annotations)?,
            None => Vec::new(),
        },
    };
    let band = curve_rates();
    let BootstrapArgs { bootstrap: resamples, seed } = args.bootstrap;
    let system = |path: &Path, band: &[f64]| -> Result<System> {
        let Marks { marks, segmented } = marks(path, ids)?;
        let Lists { scans, nodules, excluded } = &lists;
        let without =
            segmented.map_or(0, |all| scans.iter().filter(|scan| !all.contains(*scan)).count());
        if without > 0 {
            tracing::warn!(
                "{}: {without} of the {} scans of {} were not segmented: all their nodules count as \
                 missed",
                path.display(),
                scans.len(),
                args.series.display()
            );
        }
        let ranking = Ranking::new(scans, &marks, nodules, excluded, MAX_MARKS_PER_SCAN)
            .with_context(|| path.display().to_string())?;
        let curve = ranking.froc();
        let intervals = froc_intervals(&ranking, band, resamples, seed);
        let others = curve.counts.marks_on_other_scans;
        if others > 0 {
            tracing::warn!(
                "{}: {others} marks are on scans that {} does not list, and don't count",
                path.display(),
                args.series.display()
            );
        }
        let (sensitivities, cpm, counts) = (curve.sensitivities, curve.cpm, curve.counts);
        Ok(System { ranking, curve, sensitivities, cpm, counts, intervals })
    };
    let first = system(&args.marks, &band)?;
    let FrocCounts { nodules_on_other_scans, exclusions_on_other_scans, .. } = first.counts;
    for (list, count, what) in [
        (Some(&args.annotations), nodules_on_other_scans, "nodules"),
        (args.excluded.as_ref(), exclusions_on_other_scans, "findings"),
    ] {
        if let Some(list) = list.filter(|_| count > 0) {
            tracing::warn!(
                "{}: {count} {what} are on scans that {} does not list, and don't count",
                list.display(),
                args.series.display()
            );
        }
    }
    let against = args.against.as_deref().map(|path| system(path, &[])).transpose()?;
    let cpm_difference = match &against {
        Some(other) => cpm_difference(&first.ranking, &other.ranking, resamples, seed)?,
        None => None,
    };
    let evaluated = Evaluated {
        rules: "LUNA16",
        false_positives_per_scan: FALSE_POSITIVES_PER_SCAN,
        system: first,
        against,
        cpm_difference,
        resamples,
        seed,
    };
    if let Some(out) = &args.out {
        write(out, &evaluated.system, &band)?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluated)?);
    } else {
        println!("{}", render(&evaluated));
    }
    Ok(Outcome::Done)
}

/// What both detectors are held against.
struct Lists {
    scans: Vec<String>,
    nodules: Vec<Annotation>,
    excluded: Vec<Annotation>,
}

/// A detector's marks.
struct Marks {
    marks: Vec<Mark>,
    /// The scans that were looked at; `None` of a table, which does not say.
    segmented: Option<BTreeSet<String>>,
}

/// Those of a table, or of all that `dasl segment` outlined in a folder.
fn marks(path: &Path, ids: ScanIds) -> Result<Marks> {
    if !path.is_dir() {
        return Ok(Marks { marks: list(path, ids, read_marks)?, segmented: None });
    }
    let folders = folders(path)?;
    if folders.is_empty() {
        bail!("{}: no scan in it; name what `dasl segment` wrote to, or a table", path.display());
    }
    let (mut marks, mut segmented) = (Vec::new(), BTreeSet::new());
    for folder in folders {
        let ScanNote { name, series_uid, .. } = ScanNote::read(&folder)?;
        let scan = ids.read(&series_uid.unwrap_or(name));
        segmented.insert(scan.clone());
        marks.extend(found::read(&folder)?.unwrap_or_default().into_iter().map(|found| Mark {
            scan: scan.clone(),
            centre_mm: centre(found.center_mm),
            probability: found.score,
        }));
    }
    Ok(Marks { marks, segmented: Some(segmented) })
}

fn list<T>(
    path: &Path,
    ids: ScanIds,
    read: impl Fn(&str, Box<dyn Read>, ScanIds) -> Result<Vec<T>, LunaCsvError>,
) -> Result<Vec<T>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(read(&path.display().to_string(), Box::new(file), ids)?)
}

/// Writes froc.csv and `operating_points.csv`.
fn write(out: &Path, system: &System, band: &[f64]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let intervals = system.intervals.as_ref();
    let curve = band.iter().enumerate().map(|(i, &rate)| {
        let mut row = vec![rate, system.curve.sensitivity_at(rate)];
        row.extend(intervals.iter().flat_map(|all| [all.band[i].low, all.band[i].high]));
        row
    });
    let header = ["false_positives_per_scan", "sensitivity", "low", "high"];
    let header = if intervals.is_some() { &header[..] } else { &header[..2] };
    write_table(&out.join("froc.csv"), header, curve)?;
    let points = system.curve.points.iter();
    let points = points.map(|p| vec![p.probability, p.false_positives_per_scan, p.sensitivity]);
    let header = ["probability", "false_positives_per_scan", "sensitivity"];
    write_table(&out.join("operating_points.csv"), &header, points)
}

fn write_table(path: &Path, header: &[&str], rows: impl Iterator<Item = Vec<f64>>) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header)?;
    for row in rows {
        csv.write_record(row.iter().map(f64::to_string))?;
    }
    let table = csv.into_inner()?;
    write_atomic(path, |file| file.write_all(&table)).with_context(|| path.display().to_string())
}

fn render(evaluated: &Evaluated) -> String {
    let rates = ["1/8", "1/4", "1/2", "1", "2", "4", "8"];
    let header: Vec<&str> =
        ["at false positives/scan"].into_iter().chain(rates).chain(["CPM"]).collect();
    let row = |name: &str, seven: [f64; 7], cpm: f64| -> Vec<String> {
        let figures = seven.iter().map(|s| format!("{s:.4}"));
        [name.to_string()].into_iter().chain(figures).chain([format!("{cpm:.4}")]).collect()
    };
    let mut rows = Vec::new();
    let mut add = |name: &str, system: &System| {
        rows.push(row(name, system.sensitivities, system.cpm));
        if let Some(intervals) = &system.intervals {
            let end =
                |of: fn(Interval) -> f64| (intervals.sensitivities.map(of), of(intervals.cpm));
            let (low, high) = (end(|i| i.low), end(|i| i.high));
            rows.push(row("  95% from", low.0, low.1));
            rows.push(row("  95% to", high.0, high.1));
        }
    };
    add("sensitivity", &evaluated.system);
    if let Some(against) = &evaluated.against {
        add("against: sensitivity", against);
    }
    let mut lines = vec![table::render(&header, &rows)];
    if let Some(d) = &evaluated.cpm_difference {
        lines.push(format!(
            "difference of CPM: {:+.4} (95% {:+.4} to {:+.4}), p = {:.3}, paired",
            d.difference, d.interval.low, d.interval.high, d.p
        ));
    }
    lines.push(counted("", &evaluated.system));
    lines.extend(evaluated.against.as_ref().map(|other| counted("against: ", other)));
    let Evaluated { rules, resamples, seed, .. } = evaluated;
    let drawn = match &evaluated.system.intervals {
        Some(_) => format!("; intervals: {resamples} resamples of the scans, seed {seed}"),
        None => String::new(),
    };
    lines.push(format!("rules: {rules}{drawn}"));
    lines.join("\n")
}

fn counted(of: &str, system: &System) -> String {
    let c = &system.counts;
    format!(
        "{of}{} scans, {} nodules: {} hit, {} missed\n  {} marks, {} after the cap of {} a scan: {} \
         false positives,\n  {} further marks on a nodule, {} on {} excluded findings",
        c.scans,
        c.nodules,
        c.true_positives,
        c.false_negatives,
        c.marks,
        c.marks_after_cap,
        MAX_MARKS_PER_SCAN,
        c.false_positives,
        c.duplicates,
        c.marks_on_exclusions,
        c.exclusions
    )
}
