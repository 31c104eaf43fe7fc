//! Results by size and by texture.

use anyhow::Result;
use dasl_metrics::{RESAMPLES, SizeGroup, TextureGroup, mean_interval};
use maud::html;
use std::collections::BTreeSet;

use super::chart::{Axis, Chart, Key, Layer, Style};
use super::evaluations;
use super::html::{Section, figure, mean_sd, table};
use super::run::Run;
use crate::command::evaluate::{Evaluation, Group, NoduleFacts};

/// Determines the draws of the intervals.
const SEED: u64 = 1;

/// The section; `None` if nothing was evaluated.
///
/// # Errors
/// If a plot can't be drawn.
pub fn section(runs: &[Run]) -> Result<Option<Section>> {
    let all = evaluations(runs);
    let facts = || all.iter().flat_map(|(_, e)| &e.scans).flat_map(|s| &s.facts);
    if facts().next().is_none() {
        return Ok(None);
    }
    let sizes: BTreeSet<SizeGroup> = facts().map(|f| f.size).collect();
    let textures: BTreeSet<TextureGroup> = facts().map(|f| f.texture).collect();
    let sizes: Vec<(String, Belongs)> = sizes
        .into_iter()
        .map(|s| {
            (s.to_string().replace(" mm", ""), Box::new(move |f: &NoduleFacts| f.size == s) as _)
        })
        .collect();
    let textures: Vec<(String, Belongs)> = textures
        .into_iter()
        .map(|t| (t.to_string(), Box::new(move |f: &NoduleFacts| f.texture == t) as _))
        .collect();
    let rows: Vec<Vec<String>> =
        all.iter().flat_map(|(name, e)| e.groups.iter().map(|group| row(name, group))).collect();
    let header = [
        "evaluated",
        "nodules",
        "number",
        "found",
        "Dice",
        "TP Dice",
        "surface, mm",
        "HD95, mm",
        "volume",
        "diameter, mm",
    ];
    let body = html! {
        div.grid {
            (chart("Dice by size", "diameter of the reference (mm)", &all, &sizes).figure()?)
            (chart("Dice by texture", "texture (readers' median rating)", &all, &textures)
                .figure()?)
        }
        p.note {
            "Mean Dice with a miss counted as 0; bars are 95% intervals from " (RESAMPLES)
            " draws of scans with replacement, where more than one scan has nodules of a group."
        }
        (table("Results by size and texture", &header, &rows))
        p.note {
            "± is the standard deviation over nodules. What stands right of Dice is over the found "
            "nodules: mean distance of the surfaces, 95th percentile of their distances, error of the "
            "volume and of the diameter (prediction less reference)."
        }
    };
    Ok(Some(Section { id: "groups", title: "By size and texture", body }))
}

type Belongs = Box<dyn Fn(&NoduleFacts) -> bool>;

fn row(name: &str, group: &Group) -> Vec<String> {
    let f = &group.figures;
    vec![
        name.into(),
        group.name.clone(),
        f.nodules.to_string(),
        f.hits.to_string(),
        mean_sd(f.dice.mean, f.dice.sd),
        mean_sd(f.tp_dice.mean, f.tp_dice.sd),
        figure(f.mean_distance_mm.mean, 2),
        figure(f.hd95_mm.mean, 2),
        f.volume_error.mean.map_or("-".into(), |v| format!("{:+.0}%", 100.0 * v)),
        f.diameter_error_mm.mean.map_or("-".into(), |v| format!("{v:+.1}")),
    ]
}

fn chart(
    title: &str,
    label: &str,
    all: &[(&str, &Evaluation)],
    groups: &[(String, Belongs)],
) -> Chart {
    let names: Vec<String> = groups.iter().map(|(name, _)| name.clone()).collect();
    let (mut layers, mut keys, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (name, evaluation)) in all.iter().enumerate() {
        let style = Style::nth(i);
        let aside = 0.6 * ((i as f64 + 0.5) / all.len() as f64 - 0.5);
        let (mut points, mut bars) = (Vec::new(), Vec::new());
        for (place, (group, belongs)) in groups.iter().enumerate() {
            let dice = dice(evaluation, belongs);
            let values: Vec<f64> = dice.iter().flatten().copied().collect();
            if values.is_empty() {
                continue;
            }
            let (x, mean) =
                (place as f64 + aside, values.iter().sum::<f64>() / values.len() as f64);
            points.push((x, mean));
            let interval = mean_interval(&dice, RESAMPLES, SEED);
            bars.extend(interval.map(|i| [x, i.low, i.high]));
            text.push(format!("{name}, {group}: {mean:.2} of {} nodules", values.len()));
        }
        layers.push(Layer::Bars(style, bars));
        layers.push(Layer::Markers(style, points));
        keys.push(Key { style, line: None, marked: true, name: (*name).into() });
    }
    Chart {
        title: title.into(),
        text: format!("{title}. {}.", text.join("; ")),
        x: Axis::names(label, &names),
        y: Axis::numbers("Dice (0 to 1)", 0.0..1.02),
        layers,
        keys,
    }
}

/// Dice of the nodules of a group, by scan.
fn dice(evaluation: &Evaluation, belongs: &Belongs) -> Vec<Vec<f64>> {
    let of_scan = |scan: &crate::command::evaluate::Evaluated| {
        let nodules = scan.facts.iter().zip(&scan.result.nodules);
        nodules.filter(|(facts, _)| belongs(facts)).map(|(_, n)| n.dice).collect()
    };
    evaluation.scans.iter().map(of_scan).filter(|dice: &Vec<f64>| !dice.is_empty()).collect()
}
