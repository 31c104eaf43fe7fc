//! FROC curves with their bands.

use anyhow::Result;
use dasl_metrics::froc::FALSE_POSITIVES_PER_SCAN;
use maud::html;

use super::chart::{Axis, Chart, Key, Layer, Style};
use super::html::{Section, table};
use super::run::Run;
use super::{evaluations, without};
use crate::command::evaluate::FrocCurve;

const RATES: [&str; 7] = ["1/8", "1/4", "1/2", "1", "2", "4", "8"];

/// The section; `None` if nothing was evaluated.
///
/// # Errors
/// If the plot can't be drawn.
pub fn section(runs: &[Run]) -> Result<Option<Section>> {
    let all = evaluations(runs);
    if all.is_empty() {
        return Ok(None);
    }
    let curves: Vec<(Style, &str, &FrocCurve)> = all
        .iter()
        .enumerate()
        .filter_map(|(i, (name, e))| Some((Style::nth(i), *name, e.froc.as_ref()?)))
        .collect();
    let missing = all.iter().filter(|(_, e)| e.froc.is_none()).map(|(name, _)| *name);
    let missing: Vec<&str> = missing.collect();
    let rows = curves.iter().map(|(_, name, curve)| {
        let figures = curve.sensitivities.iter().chain([&curve.cpm]).map(|s| format!("{s:.2}"));
        [(*name).to_string()].into_iter().chain(figures).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header: Vec<&str> =
        ["at false positives/scan"].into_iter().chain(RATES).chain(["CPM"]).collect();
    let lowest = curves
        .iter()
        .filter_map(|(_, name, curve)| Some(format!("{name}: {:.2}", curve.lowest_score?)));
    let lowest: Vec<String> = lowest.collect();
    let body = html! {
        @if !curves.is_empty() {
            (chart(&curves).figure()?)
            (table("Sensitivities", &header, &rows))
            p.note {
                "By LUNA16's rules: a candidate hits the nodule in which its centre lies. "
                @if curves.iter().any(|(_, _, curve)| curve.intervals.is_some()) {
                    "The band is the 95% interval at each place, from draws of scans with "
                    "replacement. "
                }
                "Candidates below the threshold of the segmentation are not in the curve, which stays level "
                "where they end (lowest score: " (lowest.join("; ")) "); "
                code { "dasl segment --threshold" } " sets another."
            }
        }
        (without(&missing, "no FROC curve: a scan lacks its table of scores, or no scan has a nodule"))
    };
    Ok(Some(Section { id: "froc", title: "FROC", body }))
}

fn chart(curves: &[(Style, &str, &FrocCurve)]) -> Chart {
    let mut layers = Vec::new();
    for (style, _, curve) in curves {
        if let Some(intervals) = &curve.intervals {
            let band = curve.false_positives_per_scan.iter().zip(&intervals.band);
            layers
                .push(Layer::Band(*style, band.map(|(x, i)| [x.log2(), i.low, i.high]).collect()));
        }
    }
    for (style, _, curve) in curves {
        let points = curve.false_positives_per_scan.iter().zip(&curve.sensitivity);
        let line = points.map(|(x, y)| (x.log2(), *y)).collect();
        layers.push(Layer::Line(*style, style.dash, line));
        let seven = FALSE_POSITIVES_PER_SCAN.iter().zip(curve.sensitivities);
        layers.push(Layer::Markers(*style, seven.map(|(x, y)| (x.log2(), y)).collect()));
    }
    let [least, .., most] = FALSE_POSITIVES_PER_SCAN;
    let ticks = FALSE_POSITIVES_PER_SCAN.iter().zip(RATES);
    let text = curves.iter().map(|(_, name, curve)| {
        let [eighth, _, _, one, _, _, eight] = curve.sensitivities;
        format!(
            "{name}: sensitivity {eighth:.2} at 1/8, {one:.2} at 1, {eight:.2} at 8 false positives \
             per scan, CPM {:.2}",
            curve.cpm
        )
    });
    Chart {
        title: "Sensitivity over false positives (FROC)".into(),
        text: format!("FROC curve. {}.", text.collect::<Vec<_>>().join("; ")),
        x: Axis {
            label: "false positives per scan (number)".into(),
            range: least.log2() - 0.15..most.log2() + 0.15,
            ticks: ticks.map(|(x, text)| (x.log2(), text.into())).collect(),
        },
        y: Axis::numbers("sensitivity (0 to 1)", 0.0..1.02),
        layers,
        keys: curves
            .iter()
            .map(|(style, name, _)| Key {
                style: *style,
                line: Some(style.dash),
                marked: true,
                name: (*name).into(),
            })
            .collect(),
    }
}
