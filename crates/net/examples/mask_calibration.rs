//! Whether mask probabilities mean what they say, and what another threshold than 0.5 would make of
//! the pseudo-labels of a self-paced round:
//!
//! ```text
//! cargo run --release --example mask_calibration -- DATASET CONFIG.toml \
//!     WEIGHTS.safetensors SCORES.jsonl LAMBDA FLIPS
//! ```
//!
//! CONFIG is a run's `config.toml`, SCORES the `learn/rounds/N/scores.jsonl` of its round N, WEIGHTS
//! those that the round began with. Looks at the samples that a pace of LAMBDA takes.

use std::error::Error;
use std::path::Path;

use dasl_net::Device;
use dasl_net::config::Config;
use dasl_net::infer::Segmenter;
use dasl_net::instance::keep_largest_body;
use dasl_net::sample::predict_sample;
use dasl_volume::crop_padded;
use dasl_volume::dataset::Dataset;
use ndarray::Array3;
use serde::Deserialize;

/// Thresholds that are tried.
const THRESHOLDS: [f32; 8] = [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999];
/// Bins of probability, the last of which holds 1 too.
const BINS: usize = 10;

/// What is read of a line of scores.
#[derive(Deserialize)]
struct Scored {
    sample: String,
    loss: f64,
}

/// What is read of a run's configuration.
fn config(path: &str) -> Result<Config, Box<dyn Error>> {
    let mut table: toml::Table = toml::from_str(&std::fs::read_to_string(path)?)?;
    table.remove("learn");
    Ok(table.try_into()?)
}

/// The output for one sample and where its nodule is in it, both [z, y, x].
fn outcome(
    segmenter: &Segmenter,
    dataset: &Dataset,
    sample: &str,
) -> Result<(Array3<f32>, Array3<bool>), Box<dyn Error>> {
    let (scan, label) = sample.rsplit_once('#').ok_or("a sample is SCAN#LABEL")?;
    let label: u16 = label.parse()?;
    let mut found = predict_sample(segmenter, dataset, scan, label)?;
    keep_largest_body(&mut found.probability);
    let record = dataset.scan(scan)?;
    let nodule = record.nodules.iter().find(|n| n.label == label).ok_or("no such nodule")?;
    let start = nodule.box_start.map(|s| s as i64);
    let labels = dataset.read_labels(scan, start, nodule.box_shape)?;
    let (z, y, x) = found.probability.dim();
    let offset = [0, 1, 2].map(|a| found.start[a] - start[a]);
    let inside = crop_padded(labels.view(), offset, [z, y, x], 0).mapv(|l| l == label);
    Ok((found.probability, inside))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dataset, config_file, weights, scores, lambda, flips] = arguments.as_slice() else {
        return Err("give DATASET CONFIG WEIGHTS SCORES LAMBDA FLIPS".into());
    };
    let dataset = Dataset::open(Path::new(dataset))?;
    let segmenter = Segmenter::load(Path::new(weights), config(config_file)?, &Device::flex())?
        .with_flips(flips.parse()?);
    let lambda: f64 = lambda.parse()?;

    let mut bins = [(0_u64, 0_u64, 0.0_f64); BINS];
    let mut sums = [[0.0; 3]; THRESHOLDS.len()];
    let mut samples = 0_u32;
    for line in std::fs::read_to_string(scores)?.lines() {
        let Scored { sample, loss } = serde_json::from_str(line)?;
        if loss >= lambda {
            continue;
        }
        samples += 1;
        let (probability, inside) = outcome(&segmenter, &dataset, &sample)?;
        for (&p, &inside) in probability.iter().zip(&inside) {
            let (voxels, nodule, sum) = &mut bins[((p * BINS as f32) as usize).min(BINS - 1)];
            *voxels += 1;
            *nodule += u64::from(inside);
            *sum += f64::from(p);
        }
        let reference = inside.iter().filter(|&&inside| inside).count() as u64;
        for (threshold, [overlap, precision, recall]) in THRESHOLDS.iter().zip(&mut sums) {
            let own = probability.iter().zip(&inside).filter(|(p, _)| *p >= threshold);
            let (predicted, shared) =
                own.fold((0, 0), |(n, shared), (_, &inside)| (n + 1, shared + u64::from(inside)));
            *overlap += 2.0 * shared as f64 / (predicted + reference).max(1) as f64;
            *precision += shared as f64 / predicted.max(1) as f64;
            *recall += shared as f64 / reference.max(1) as f64;
        }
    }

    println!("{samples} samples; by probability: voxels, their mean probability, share of nodule");
    for (voxels, nodule, sum) in bins.iter().filter(|bin| bin.0 > 0) {
        let n = *voxels as f64;
        println!("{voxels:>9} {:.3} {:.3}", sum / n, *nodule as f64 / n);
    }
    println!("by threshold: Dice, precision, recall, mean of the samples");
    for (threshold, sums) in THRESHOLDS.iter().zip(&sums) {
        let [dice, precision, recall] = sums.map(|sum| sum / f64::from(samples));
        println!("{threshold:<5} {dice:.3} {precision:.3} {recall:.3}");
    }
    Ok(())
}
