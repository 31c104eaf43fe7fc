//! `dasl evaluate`: outlines against a dataset's reference, nodule by nodule.

mod against;
mod agreement;
mod candidates;
mod froc_curve;
mod place;
mod readers;
mod render;
mod rows;
pub mod samples;
mod series;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_metrics::{
    Annotation, DIAMETER_RULE, Figures, IgnoredPlace, Interval, Judged, MATCHING_RULE, Measures,
    SURFACE_RULE, ScanResult, SizeGroup, Summary, TextureGroup, match_instances, mean_interval,
    measure,
};
use dasl_volume::dataset::{Dataset, ScanRecord};
use dasl_volume::{Geometry, PointMm, nifti};
use serde::{Deserialize, Serialize};

use super::segment::{MadeWith, ScanNote};
use crate::Outcome;
use crate::args::{BootstrapArgs, EvaluateArgs, EvaluateWhat};
use crate::progress::bar;
use crate::segmented_folder::{LABELS, folders};
use crate::trained_on;

use against::compared;
pub use against::{Against, in_words};
pub use candidates::{Candidate, Fate};
pub use froc_curve::{FrocCurve, centre};
pub use render::render;
pub use tables::{JSON, write};

/// Farthest that two grids' corners may lie apart, mm.
const SAME_GRID_MM: f64 = 0.01;

/// A scan's result with its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluated {
    /// The scan.
    pub scan: String,
    /// Its folder among the predictions.
    pub folder: String,
    /// Its nodules, hits and false positives.
    #[serde(flatten)]
    pub result: ScanResult,
    /// What else is known of each nodule, in the order of the result.
    pub facts: Vec<NoduleFacts>,
    /// What was outlined, with scores; `None` where the predictions give none.
    pub candidates: Option<Vec<Candidate>>,
    /// Whether it shows a patient that the network was trained on, as far as that is known.
    #[serde(default)]
    pub trained_on: bool,
    /// Places that don't count.
    #[serde(skip)]
    excluded: Vec<Annotation>,
}

impl Evaluated {
    /// 1 for each nodule that was hit, else 0.
    fn hits(&self) -> Vec<f64> {
        let hit = self.result.nodules.iter().map(|n| n.prediction.is_some());
        hit.map(|hit| f64::from(u8::from(hit))).collect()
    }
}

/// What a nodule is, and how well it was outlined.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoduleFacts {
    /// Label of the nodule in the reference.
    pub reference: u16,
    /// Readers who outlined it.
    pub readers: u32,
    /// Centre of the reference.
    pub center_mm: PointMm,
    /// Diameter of the reference, mm.
    pub diameter_mm: f64,
    /// Its size group.
    pub size: SizeGroup,
    /// Its texture group.
    pub texture: TextureGroup,
    /// Volume of the reference.
    #[serde(default)]
    pub reference_mm3: f64,
    /// How well it was outlined; `None` for a miss.
    pub measures: Option<Measures>,
}

/// Figures of the nodules of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Which nodules.
    pub name: String,
    /// Their figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// 95% intervals, by drawing scans with replacement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Intervals {
    /// Of mean Dice over all nodules.
    pub dice: Option<Interval>,
    /// Of the hit rate.
    pub hit_rate: Option<Interval>,
    /// Of the false positives per scan.
    pub false_positives_per_scan: Option<Interval>,
    /// Draws.
    pub resamples: usize,
    /// What determines them.
    pub seed: u64,
}

/// Results of all scans that were predicted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of dasl.
    pub dasl_version: String,
    /// Where the outlines lie; in a file as seen from the file's folder.
    pub predictions: PathBuf,
    /// Where the dataset lies, likewise.
    pub dataset: PathBuf,
    /// How predictions and nodules are matched.
    pub matching: String,
    /// Which voxels are nodule.
    pub consensus: String,
    /// How surfaces are compared.
    pub surfaces: String,
    /// What a diameter is.
    pub diameters: String,
    /// All figures together.
    pub summary: Summary,
    /// Figures of all nodules, then by size, then by texture.
    pub groups: Vec<Group>,
    /// How sure the figures are, where that was asked for.
    pub intervals: Option<Intervals>,
    /// FROC by the candidates' scores; `None` without scores or nodules.
    pub froc: Option<FrocCurve>,
    /// Comparison with another system, where that was asked for.
    pub against: Option<Against>,
    /// Scan by scan.
    pub scans: Vec<Evaluated>,
    /// Scans of the dataset without a prediction: not counted.
    pub not_predicted: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// If nothing can be compared, a prediction lies on another grid than its reference, or the tables
/// can't be written.
pub fn run(args: &EvaluateArgs, json: bool) -> Result<Outcome> {
    let (predictions, dataset) = match (&args.what, &args.predictions, &args.dataset) {
        (Some(EvaluateWhat::Readers(args)), ..) => return readers::run(args, json),
        (Some(EvaluateWhat::Samples(args)), ..) => return samples::run(args, json),
        (None, Some(predictions), Some(dataset)) => (predictions, Dataset::open(dataset)?),
        _ => bail!("name the predictions and the dataset: see dasl evaluate --help"),
    };
    let out = args.out.as_ref().unwrap_or(predictions);
    tables::check(out)?;
    let mut evaluation = evaluate(predictions, &dataset, args.bootstrap)?;
    if let Some(other) = &args.against {
        evaluation.against = Some(compared(&evaluation, other, &dataset, args.bootstrap)?);
    }
    write(out, &evaluation)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        println!("{}", render(&evaluation));
    }
    Ok(Outcome::Done)
}

/// Compares all predictions in a folder with a dataset.
///
/// # Errors
/// As [`run`].
pub fn evaluate(
    predictions: &Path,
    dataset: &Dataset,
    bootstrap: BootstrapArgs,
) -> Result<Evaluation> {
    let predicted = predicted(predictions)?;
    let (mut scans, mut not_predicted, mut made_with) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = BTreeSet::new();
    let ids = dataset.scan_ids();
    let progress = bar("evaluate", ids.len() as u64);
    for id in ids {
        let record = dataset.scan(&id)?;
        // A nodule volume has the series' UID too, but is not the scan that was segmented.
        let by_series = predicted.by_series.get(&record.series_uid).filter(|_| record.whole);
        // The folder of that name may be about another series of the patient.
        let is_other = |output: &&Output| {
            let series = output.series_uid.as_ref().filter(|_| !record.series_uid.is_empty());
            series.is_some_and(|series| *series != record.series_uid)
        };
        let by_name = predicted.by_name.get(&id).filter(|output| !is_other(output));
        let output = by_series.or(by_name);
        used.extend(output.map(|output| &output.folder));
        if !record.annotated {
            continue;
        }
        match output {
            Some(output) => {
                scans.push(compare(&output.folder, dataset, &record)?);
                made_with.push((id, output.made_with.as_ref()));
            }
            None => not_predicted.push(id),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    warn_of_mixture(&made_with, predictions);
    let every = predicted.by_series.values().chain(predicted.by_name.values());
    let folders: BTreeSet<&PathBuf> = every.map(|output| &output.folder).collect();
    let unused = folders.difference(&used);
    if let Some(first) = unused.clone().next() {
        tracing::warn!(
            "{} results are of no scan of {} and don't count, as {}",
            unused.count(),
            dataset.root().display(),
            first.display()
        );
    }
    if scans.is_empty() && not_predicted.is_empty() {
        bail!("{}: no scan is annotated: there is no reference", dataset.root().display());
    }
    if scans.is_empty() {
        bail!(
            "none of the {} scans of {} has a prediction in {}, where each has a folder with \
             scan.json and {LABELS}",
            not_predicted.len(),
            dataset.root().display(),
            predictions.display()
        );
    }
    let trained = scans.iter().filter(|s| s.trained_on).map(|s| s.scan.as_str());
    let shown = predictions.display().to_string();
    trained_on::warn(&shown, &trained.collect::<Vec<_>>(), scans.len());
    let results: Vec<ScanResult> = scans.iter().map(|s| s.result.clone()).collect();
    Ok(Evaluation {
        dasl_version: env!("CARGO_PKG_VERSION").into(),
        predictions: predictions.to_path_buf(),
        dataset: dataset.root().to_path_buf(),
        matching: MATCHING_RULE.into(),
        consensus: dataset.info().rule.clone(),
        surfaces: SURFACE_RULE.into(),
        diameters: DIAMETER_RULE.into(),
        summary: Summary::of(&results),
        groups: groups(&scans),
        intervals: intervals(&scans, bootstrap),
        froc: FrocCurve::of(&scans, bootstrap)?,
        against: None,
        scans,
        not_predicted,
    })
}

/// Figures of all nodules, then of each size and texture that there is.
fn groups(scans: &[Evaluated]) -> Vec<Group> {
    let nodules: Vec<(&NoduleFacts, Judged)> = scans
        .iter()
        .flat_map(|s| s.facts.iter().zip(&s.result.nodules))
        .map(|(facts, n)| (facts, Judged { dice: n.dice, measures: facts.measures }))
        .collect();
    let of = |name: String, belongs: &dyn Fn(&NoduleFacts) -> bool| {
        let members = nodules.iter().filter(|(facts, _)| belongs(facts));
        Group { name, figures: Figures::of(&members.map(|(_, n)| *n).collect::<Vec<_>>()) }
    };
    let sizes: BTreeSet<SizeGroup> = nodules.iter().map(|(facts, _)| facts.size).collect();
    let textures: BTreeSet<TextureGroup> = nodules.iter().map(|(facts, _)| facts.texture).collect();
    let mut groups = vec![of("all".into(), &|_| true)];
    groups.extend(sizes.iter().map(|size| of(size.to_string(), &|n| n.size == *size)));
    groups.extend(textures.iter().map(|t| of(t.to_string(), &|n| n.texture == *t)));
    groups
}

fn intervals(scans: &[Evaluated], bootstrap: BootstrapArgs) -> Option<Intervals> {
    let (resamples, seed) = (bootstrap.bootstrap, bootstrap.seed);
    let interval = |of: &dyn Fn(&Evaluated) -> Vec<f64>| {
        mean_interval(&scans.iter().map(of).collect::<Vec<_>>(), resamples, seed)
    };
    (resamples > 0 && scans.len() > 1).then(|| Intervals {
        dice: interval(&|s| s.result.nodules.iter().map(|n| n.dice).collect()),
        hit_rate: interval(&Evaluated::hits),
        false_positives_per_scan: interval(&|s| vec![s.result.false_positives.len() as f64]),
        resamples,
        seed,
    })
}

/// Says if not all scans were segmented with the same network and settings: figures of a mixture are
/// nobody's.
fn warn_of_mixture(made_with: &[(String, Option<&MadeWith>)], predictions: &Path) {
    let Some((first, how)) = made_with.first() else { return };
    if let Some((other, _)) = made_with.iter().find(|(_, other)| other != how) {
        tracing::warn!(
            "{}: scans {first} and {other} were segmented with other networks or settings: the \
             figures are of a mixture; segment all with the same",
            predictions.display()
        );
    }
}

/// The output of a scan.
#[derive(Clone)]
struct Output {
    folder: PathBuf,
    series_uid: Option<String>,
    made_with: Option<MadeWith>,
}

/// Outputs, by the series and by the name of their scans.
struct Predicted {
    by_series: BTreeMap<String, Output>,
    by_name: BTreeMap<String, Output>,
}

fn predicted(root: &Path) -> Result<Predicted> {
    let mut found = Predicted { by_series: BTreeMap::new(), by_name: BTreeMap::new() };
    for folder in folders(root)? {
        let ScanNote { name, series_uid, made_with, .. } = ScanNote::read(&folder)?;
        let output = Output { folder, series_uid, made_with };
        if let Some(series) = output.series_uid.clone()
            && let Some(before) = found.by_series.insert(series, output.clone())
        {
            tracing::warn!(
                "{} and {} are of the same series: the latter counts",
                before.folder.display(),
                output.folder.display()
            );
        }
        found.by_name.insert(name, output);
    }
    Ok(found)
}

fn compare(folder: &Path, dataset: &Dataset, record: &ScanRecord) -> Result<Evaluated> {
    let path = &folder.join(LABELS);
    let prediction = nifti::read_labels(path)?;
    let reference = dataset.read_native_labels(&record.scan_id)?;
    if !prediction.geometry.same_grid(&reference.geometry, SAME_GRID_MM) {
        bail!(
            "{} lies on another grid than scan {}: {} against {}; segment the scan itself",
            path.display(),
            record.scan_id,
            described(&prediction.geometry),
            described(&reference.geometry)
        );
    }
    let grid = reference.geometry;
    let places = record.ignored.iter().map(|place| {
        let at = grid.to_voxel(place.center_mm);
        IgnoredPlace { centre: [at.z, at.y, at.x], diameter_mm: place.diameter_mm }
    });
    let (reference, predicted) = (reference.voxels.view(), prediction.voxels.view());
    let mut result =
        match_instances(reference, predicted).with_context(|| path.display().to_string())?;
    result.ignore(predicted, &places.collect::<Vec<_>>(), grid.spacing_mm);
    let measures = measure(reference, predicted, &result, grid.spacing_mm);
    let voxel_mm3: f64 = grid.spacing_mm.iter().product();
    let facts = result.nodules.iter().zip(measures).map(|(nodule, measures)| {
        let of_nodule = record.nodules.iter().find(|n| n.label == nodule.reference);
        let known = of_nodule.with_context(|| {
            let (scan, label) = (&record.scan_id, nodule.reference);
            format!("scan {scan}: its record has no nodule {label}, its labels do; import it again")
        })?;
        Ok(NoduleFacts {
            reference: nodule.reference,
            readers: known.readers,
            center_mm: known.center_mm,
            diameter_mm: known.diameter_mm,
            reference_mm3: nodule.overlap.reference_voxels as f64 * voxel_mm3,
            size: SizeGroup::of(known.diameter_mm),
            texture: TextureGroup::of(&known.texture),
            measures,
        })
    });
    let facts = facts.collect::<Result<_>>()?;
    let excluded = record.ignored.iter().map(|place| Annotation {
        scan: record.scan_id.clone(),
        centre_mm: centre(place.center_mm),
        // Below 0 is unknown, as in LUNA16's lists.
        diameter_mm: if place.diameter_mm > 0.0 { place.diameter_mm } else { -1.0 },
    });
    Ok(Evaluated {
        trained_on: trained_on::shows_any(record, &trained_on::read(folder)?),
        scan: record.scan_id.clone(),
        folder: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        candidates: candidates::read(folder, &result)?,
        excluded: excluded.collect(),
        facts,
        result,
    })
}

fn described(g: &Geometry) -> String {
    let o = g.origin_mm;
    format!(
        "{:?} voxels [z, y, x] of {:.3?} mm from ({:.2}, {:.2}, {:.2}) mm",
        g.shape, g.spacing_mm, o.x, o.y, o.z
    )
}
