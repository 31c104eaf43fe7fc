//! `dasl evaluate samples`: how well a network outlines nodules whose places are given.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use dasl_metrics::{SizeGroup, Spread, dice, median};
use dasl_net::infer::Segmenter;
use dasl_net::sample::{compare, predict_box, predict_sample};
use dasl_volume::dataset::{Dataset, NoduleRecord, ScanRecord};
use serde::{Deserialize, Serialize};

use super::rows;
use crate::Outcome;
use crate::args::EvaluateSamplesArgs;
use crate::model::Model;
use crate::progress::bar;
use crate::{table, trained_on};

/// A nodule and how it was outlined.
#[derive(Serialize)]
struct Sample {
    scan: String,
    label: u16,
    diameter_mm: f64,
    size: SizeGroup,
    /// Of the best proposal near the place.
    score: f64,
    /// Dice of that proposal's mask.
    dice: f64,
    /// Dice of the mask in the reference's box.
    box_dice: f64,
}

/// Figures of the nodules of one size, or of all.
#[derive(Debug, Serialize, Deserialize)]
pub struct SamplesGroup {
    /// Which nodules.
    pub name: String,
    /// How many.
    pub nodules: usize,
    /// Share whose best proposal reaches the network's threshold.
    pub detected: f64,
    /// Of the mask of the best proposal near the place.
    pub dice: Spread,
    /// Its median.
    pub dice_median: Option<f64>,
    /// Of the mask in the reference's box.
    pub box_dice: Spread,
    /// Its median.
    pub box_dice_median: Option<f64>,
}

/// How a network outlines nodules whose places are given.
#[derive(Debug, Serialize, Deserialize)]
pub struct SamplesEvaluation {
    /// SHA-256 of the network's weights.
    pub weights_sha256: String,
    /// Scans with a nodule.
    #[serde(default)]
    pub scans: usize,
    /// Those of them that show patients that the network was trained on, as far as that is known.
    #[serde(default)]
    pub trained_on: usize,
    /// Figures of all nodules, then by size.
    pub groups: Vec<SamplesGroup>,
}

/// NAME of [`rows::write`].
const NAME: &str = "samples";
/// The evaluation as JSON.
pub const JSON: &str = "samples.json";

/// Runs the command.
///
/// # Errors
/// If the dataset or the network can't be read, or the tables not be written.
pub fn run(args: &EvaluateSamplesArgs, json: bool) -> Result<Outcome> {
    let dataset = Dataset::open(&args.dataset)?;
    let Model { segmenter, weights_sha256, trained_on: patients } =
        Model::of(args.model.as_deref(), &args.device.open()?)?;
    let (wanted, got) = (segmenter.config().net.spacing_mm, dataset.info().spacing_mm);
    if (wanted - got).abs() > 1e-9 {
        bail!(
            "{}: its voxels are {got} mm, the network sees {wanted} mm; import it with \
             --spacing {wanted}",
            args.dataset.display()
        );
    }
    let scans = with_nodules(&dataset)?;
    let trained = scans.iter().filter(|scan| trained_on::shows_any(scan, &patients));
    let trained: Vec<&str> = trained.map(|scan| scan.scan_id.as_str()).collect();
    let network = args.model.as_ref().map_or("built-in".into(), |path| path.display().to_string());
    trained_on::warn(&network, &trained, scans.len());
    let samples = samples(&segmenter, &dataset, &scans)?;
    if samples.is_empty() {
        bail!("{} holds no nodule", args.dataset.display());
    }
    let threshold = segmenter.config().infer.threshold;
    let evaluated = SamplesEvaluation {
        weights_sha256,
        scans: scans.len(),
        trained_on: trained.len(),
        groups: groups(&samples, threshold),
    };
    if let Some(out) = &args.out {
        rows::write(out, NAME, &samples, &evaluated)?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluated)?);
    } else {
        println!("{}", render(&evaluated.groups));
    }
    Ok(Outcome::Done)
}

fn with_nodules(dataset: &Dataset) -> Result<Vec<ScanRecord>> {
    let scans = dataset.scan_ids().iter().map(|id| dataset.scan(id)).collect::<Result<Vec<_>, _>>();
    Ok(scans?.into_iter().filter(|scan| !scan.nodules.is_empty()).collect())
}

fn samples(segmenter: &Segmenter, dataset: &Dataset, scans: &[ScanRecord]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let progress = bar("evaluate", scans.len() as u64);
    for scan in scans {
        for nodule in &scan.nodules {
            samples.push(sample(segmenter, dataset, &scan.scan_id, nodule)?);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(samples)
}

fn sample(
    segmenter: &Segmenter,
    dataset: &Dataset,
    scan: &str,
    nodule: &NoduleRecord,
) -> Result<Sample> {
    let label = nodule.label;
    let own = predict_sample(segmenter, dataset, scan, label)?;
    let boxed = predict_box(segmenter, dataset, scan, nodule)?;
    let dice_of = |prediction| -> Result<f64> {
        let (shared, predicted, reference) = compare(prediction, dataset, scan, label)?;
        Ok(dice(shared, predicted, reference))
    };
    Ok(Sample {
        scan: scan.into(),
        label,
        diameter_mm: nodule.diameter_mm,
        size: SizeGroup::of(nodule.diameter_mm),
        score: own.proposal.score,
        dice: dice_of(&own)?,
        box_dice: dice_of(&boxed)?,
    })
}

/// All, then by size.
fn groups(samples: &[Sample], threshold: f64) -> Vec<SamplesGroup> {
    let sizes: BTreeSet<SizeGroup> = samples.iter().map(|s| s.size).collect();
    let of_size = |size: SizeGroup| {
        let own: Vec<&Sample> = samples.iter().filter(|s| s.size == size).collect();
        group(size.to_string(), &own, threshold)
    };
    let all = group("all".into(), &samples.iter().collect::<Vec<_>>(), threshold);
    [all].into_iter().chain(sizes.into_iter().map(of_size)).collect()
}

fn group(name: String, samples: &[&Sample], threshold: f64) -> SamplesGroup {
    let sorted = |pick: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(|s| pick(s)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (own, boxed) = (sorted(|s| s.dice), sorted(|s| s.box_dice));
    let detected = samples.iter().filter(|s| s.score >= threshold).count();
    SamplesGroup {
        name,
        nodules: samples.len(),
        detected: detected as f64 / samples.len() as f64,
        dice: Spread::of(&own),
        dice_median: median(&own),
        box_dice: Spread::of(&boxed),
        box_dice_median: median(&boxed),
    }
}

fn render(groups: &[SamplesGroup]) -> String {
    let header = ["nodules", "n", "detected", "Dice", "median", "Dice in the box", "median "];
    let row = |g: &SamplesGroup| {
        vec![
            g.name.clone(),
            g.nodules.to_string(),
            table::figure(Some(g.detected)),
            table::mean_sd(g.dice.mean, g.dice.sd),
            table::mean_sd(g.dice_median, None),
            table::mean_sd(g.box_dice.mean, g.box_dice.sd),
            table::mean_sd(g.box_dice_median, None),
        ]
    };
    table::render(&header, &groups.iter().map(row).collect::<Vec<_>>())
}
