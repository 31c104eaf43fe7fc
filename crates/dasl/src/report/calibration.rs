//! Reliability diagrams of the candidates' scores.

use anyhow::Result;
use dasl_metrics::{Calibration, CalibrationBin, calibration};
use maud::{Markup, html};

use super::chart::{Axis, Chart, Dash, Key, Layer, Style};
use super::html::{Section, figure, folded, table};
use super::run::Run;
use super::{evaluations, without};
use crate::command::evaluate::{Evaluation, Fate};

/// Ranges of scores.
const BINS: usize = 10;

/// The section; `None` if nothing was evaluated.
///
/// # Errors
/// If a plot can't be drawn.
pub fn section(runs: &[Run]) -> Result<Option<Section>> {
    let all = evaluations(runs);
    if all.is_empty() {
        return Ok(None);
    }
    let (mut figures, mut missing, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (name, evaluation)) in all.iter().enumerate() {
        match judged(evaluation) {
            Some(scores) if !scores.is_empty() => {
                let found = calibration(&scores, BINS);
                figures.push(chart(Style::nth(i), name, &found).figure()?);
                rows.extend(found.bins.iter().map(|bin| row(name, bin)));
            }
            _ => missing.push(*name),
        }
    }
    let header =
        ["evaluated", "scores", "candidates", "hits", "mean score", "share of hits", "95%"];
    let body: Markup = html! {
        @if !figures.is_empty() {
            div.grid { @for figure in &figures { (figure) } }
            p.note {
                "Of the candidates with a score in each tenth, which share is a nodule? On the dashed "
                "line a score means what it says. The bars are 95% intervals (Wilson); wide ones "
                "stand for few candidates, whose number the table gives. A hit is a candidate that "
                "found a nodule by the evaluation's matching rule; second candidates on a nodule, "
                "and those on places that do not count, are left out."
            }
            (folded("Numbers", &table("Calibration", &header, &rows)))
        }
        (without(&missing, "no calibration: a scan lacks its table of scores, or nothing was outlined"))
    };
    Ok(Some(Section { id: "calibration", title: "Calibration", body }))
}

/// Scores and whether they hit; `None` without scores.
fn judged(evaluation: &Evaluation) -> Option<Vec<(f64, bool)>> {
    let mut judged = Vec::new();
    for scan in &evaluation.scans {
        for candidate in scan.candidates.as_ref()? {
            match candidate.fate {
                Fate::Hit => judged.push((candidate.score, true)),
                Fate::FalsePositive => judged.push((candidate.score, false)),
                Fate::Duplicate | Fate::Ignored => {}
            }
        }
    }
    Some(judged)
}

fn row(name: &str, bin: &CalibrationBin) -> Vec<String> {
    vec![
        name.into(),
        format!("{:.1} to {:.1}", bin.from, bin.to),
        bin.candidates.to_string(),
        bin.hits.to_string(),
        figure(bin.mean_score, 2),
        figure(bin.hit_share, 2),
        bin.interval.map_or("-".into(), |i| format!("{:.2} to {:.2}", i.low, i.high)),
    ]
}

fn chart(style: Style, name: &str, found: &Calibration) -> Chart {
    let full = || found.bins.iter().filter_map(|b| Some((b.mean_score?, b.hit_share?, b)));
    let bars = full().filter_map(|(x, _, b)| b.interval.map(|i| [x, i.low, i.high]));
    let points: Vec<(f64, f64)> = full().map(|(x, y, _)| (x, y)).collect();
    let text = full().map(|(x, y, b)| format!("score {x:.2}: {y:.2} of {}", b.candidates));
    let text: Vec<String> = text.collect();
    let error = figure(found.expected_error, 2);
    Chart {
        title: format!("Calibration: {name}"),
        text: format!(
            "Reliability diagram of {name}, {} candidates, expected calibration error {error}. Share \
             of hits at {}.",
            found.candidates,
            text.join("; ")
        ),
        x: Axis::numbers("score of the candidate (0 to 1)", -0.02..1.02),
        y: Axis::numbers("share of hits (0 to 1)", -0.02..1.02),
        layers: vec![
            Layer::Line(Style::level(), Dash::Dashed, vec![(0.0, 0.0), (1.0, 1.0)]),
            Layer::Bars(style, bars.collect()),
            Layer::Line(style, Dash::Solid, points.clone()),
            Layer::Markers(style, points),
        ],
        keys: vec![
            Key {
                style,
                line: Some(Dash::Solid),
                marked: true,
                name: format!(
                    "{} candidates, expected error {error}, Brier score {}",
                    found.candidates,
                    figure(found.brier, 2)
                ),
            },
            Key {
                style: Style::level(),
                line: Some(Dash::Dashed),
                marked: false,
                name: "a score that means what it says".into(),
            },
        ],
    }
}
