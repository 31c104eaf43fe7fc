//! Learning curves, as in Fig. 3 of the paper: one panel per size of the initial set, solid where
//! rounds were self-paced, dotted where a reader annotated, the full training as a level.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use dasl_learn::{RoundKind, RunState};
use maud::{Markup, html};

use super::chart::{Axis, Chart, Dash, Key, Layer, Style};
use super::html::{Section, figure, folded, table};
use super::run::{Found, Run};
use crate::command::experiment::Row;

/// Share of the least step between annotations that a stretch of self-paced rounds takes up.
const STRETCH: f64 = 0.6;

/// A curve: one way to learn, over its seeds.
struct Curve {
    name: String,
    /// Samples annotated before the first round; `None` of full training.
    initial: Option<usize>,
    points: Vec<Point>,
}

/// A round, over the seeds.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    round: usize,
    kind: String,
    annotated: f64,
    pseudo: f64,
    /// Share of the pseudo-labels that are on their nodule.
    right: Option<f64>,
    precision: Option<f64>,
    seeds: usize,
    /// Dice.
    mean: f64,
    low: f64,
    high: f64,
}

/// The section; `None` if nothing was learnt in rounds.
///
/// # Errors
/// If a plot can't be drawn.
pub fn section(runs: &[Run]) -> Result<Option<Section>> {
    let (mut tested, mut masks, mut validated) = (Vec::new(), Vec::new(), Vec::new());
    let experiments = runs.iter().filter(|r| matches!(r.found, Found::Experiment(..))).count();
    for run in runs {
        match &run.found {
            Found::Experiment(rows, _) => {
                let prefix = if experiments > 1 { &format!("{}: ", run.name) } else { "" };
                tested.extend(of_rows(prefix, rows, |row| row.dice));
                masks.extend(of_rows(prefix, rows, |row| row.mask_dice));
            }
            Found::Learning(_, state, _) => validated.extend(of_state(&run.name, state)),
            Found::Training(..) | Found::Evaluation(_) | Found::Samples(_) => {}
        }
    }
    if tested.is_empty() && masks.is_empty() && validated.is_empty() {
        return Ok(None);
    }
    let body = html! {
        (group(
            &tested,
            "Dice on the test patients",
            "Dice on patients who are in no run (the nodule's place is given, a miss counts as 0): \
             mean over the seeds; the band goes from the worst seed to the best.",
        )?)
        (group(
            &masks,
            "Dice of the masks on the test patients",
            "The same with no nodule counted as missed: how well the mask branch outlines what it \
             is shown.",
        )?)
        (group(
            &validated,
            "Dice in validation",
            "Dice on each run's own validation patients, by which it chooses its weights (the \
             nodule's place is given, a miss counts as 0): no result, but a look at the learning.",
        )?)
    };
    Ok(Some(Section { id: "learning", title: "Learning curves", body }))
}

fn group(curves: &[Curve], of: &str, about: &str) -> Result<Markup> {
    if curves.is_empty() {
        return Ok(html! {});
    }
    let sizes: BTreeSet<usize> = curves.iter().filter_map(|c| c.initial).collect();
    let named = |level: bool| {
        let of = curves.iter().filter(move |c| c.initial.is_none() == level);
        of.map(|c| c.name.as_str()).collect::<BTreeSet<_>>()
    };
    let names: Vec<&str> = named(false).into_iter().chain(named(true)).collect();
    let style = |name: &str| Style::nth(names.iter().position(|n| *n == name).unwrap_or(0));
    let heights = heights(curves);
    let panels = sizes.iter().map(|size| {
        let inside = |c: &&Curve| c.initial.is_none_or(|initial| initial == *size);
        let curves: Vec<&Curve> = curves.iter().filter(inside).collect();
        let title = format!("{size} initial samples: {of}");
        panel(title, &curves, &style, heights.clone()).figure()
    });
    let panels = panels.collect::<Result<Vec<_>>>()?;
    Ok(html! {
        div.grid { @for panel in &panels { (panel) } }
        @if panels.is_empty() { p { "Full training only: no curve." } }
        p.note {
            (about)
            " As in the paper's Fig. 3, a solid line leads through self-paced rounds, a dotted one "
            "through active ones; the dashed level is training on all annotations. Self-paced rounds "
            "cost no annotation: they are set apart by small steps to the right."
        }
        (folded(&format!("All rounds: {of}"), &rounds(curves)))
    })
}

/// The same for all panels: from the hundredth below the lowest to the hundredth above the highest,
/// at least 0.05.
fn heights(curves: &[Curve]) -> std::ops::Range<f64> {
    let points = || curves.iter().flat_map(|c| &c.points);
    let low = points().map(|p| p.low).fold(1.0, f64::min);
    let high = points().map(|p| p.high).fold(0.0, f64::max);
    let down = (low * 100.0 + 1e-9).floor().clamp(0.0, 95.0) / 100.0;
    let up = ((high * 100.0 - 1e-9).ceil() / 100.0).min(1.0).max(down + 0.05);
    down..up
}

fn panel(
    title: String,
    curves: &[&Curve],
    style: &dyn Fn(&str) -> Style,
    heights: std::ops::Range<f64>,
) -> Chart {
    let rounds: Vec<&Curve> = curves.iter().copied().filter(|c| c.initial.is_some()).collect();
    let step = dodge(&rounds);
    let placed: Vec<(Style, &Curve, Vec<f64>)> =
        rounds.iter().map(|c| (style(&c.name), *c, places(&c.points, step))).collect();
    let all = || placed.iter().flat_map(|(_, _, places)| places.iter().copied());
    let (from, to) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    let margin = (0.05 * (to - from)).max(0.5);
    let (from, to) = (from - margin, to + margin);

    let (mut layers, mut keys, mut text) = (Vec::new(), Vec::new(), Vec::new());
    let levels: Vec<&&Curve> = curves.iter().filter(|c| c.initial.is_none()).collect();
    for full in &levels {
        let Some(last) = full.points.last() else { continue };
        let style = if levels.len() > 1 { style(&full.name) } else { Style::level() };
        layers
            .push(Layer::Band(style, vec![[from, last.low, last.high], [to, last.low, last.high]]));
        layers.push(Layer::Line(style, Dash::Dashed, vec![(from, last.mean), (to, last.mean)]));
        let name = format!("{}: all {:.0} annotated", full.name, last.annotated);
        text.push(format!("{name}, Dice {:.2}", last.mean));
        keys.push(Key { style, line: Some(Dash::Dashed), marked: false, name });
    }
    for (style, curve, places) in &placed {
        let at = || curve.points.iter().zip(places);
        if curve.points.iter().any(|p| p.seeds > 1) {
            layers.push(Layer::Band(*style, at().map(|(p, x)| [*x, p.low, p.high]).collect()));
        }
        for (ends, x) in curve.points.windows(2).zip(places.windows(2)) {
            let dash =
                if ends[1].kind == RoundKind::Al.to_string() { Dash::Dotted } else { Dash::Solid };
            let line = vec![(x[0], ends[0].mean), (x[1], ends[1].mean)];
            layers.push(Layer::Line(*style, dash, line));
        }
    }
    for (style, curve, places) in &placed {
        let points = curve.points.iter().zip(places).map(|(p, x)| (*x, p.mean));
        layers.push(Layer::Markers(*style, points.collect()));
        let seeds = curve.points.iter().map(|p| p.seeds).max().unwrap_or(0);
        let seeds = if seeds > 1 { format!(" ({seeds} seeds)") } else { String::new() };
        keys.push(Key {
            style: *style,
            line: Some(Dash::Solid),
            marked: true,
            name: format!("{}{seeds}", curve.name),
        });
        if let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) {
            text.push(format!(
                "{}: Dice {:.2} with {:.0} annotated samples, {:.2} with {:.0}",
                curve.name, first.mean, first.annotated, last.mean, last.annotated
            ));
        }
    }
    Chart {
        text: format!("{title}. {}.", text.join("; ")),
        title,
        x: Axis::numbers("annotated samples (number)", from..to),
        y: Axis::numbers("Dice (0 to 1)", heights),
        layers,
        keys,
    }
}

/// How far apart self-paced rounds are set: a small part of the least step between annotations.
fn dodge(curves: &[&Curve]) -> f64 {
    let counts: BTreeSet<u64> =
        curves.iter().flat_map(|c| &c.points).map(|p| p.annotated.round() as u64).collect();
    let counts: Vec<u64> = counts.into_iter().collect();
    let least = counts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(4);
    let longest = curves.iter().map(|c| longest_stretch(&c.points)).max().unwrap_or(1);
    STRETCH * least as f64 / longest.max(1) as f64
}

fn longest_stretch(points: &[Point]) -> usize {
    let mut counts = BTreeMap::<u64, usize>::new();
    for point in points {
        *counts.entry(point.annotated.round() as u64).or_default() += 1;
    }
    counts.values().max().map_or(0, |n| n - 1)
}

/// Where the rounds stand: at what is annotated, and a step further for each round without.
fn places(points: &[Point], step: f64) -> Vec<f64> {
    let mut since = 0;
    let mut places = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let same = i > 0 && (point.annotated - points[i - 1].annotated).abs() < 0.5;
        since = if same { since + 1 } else { 0 };
        places.push(point.annotated + step * f64::from(since));
    }
    places
}

/// The curves of an experiment by one of its figures.
fn of_rows(prefix: &str, rows: &[Row], of: fn(&Row) -> Option<f64>) -> Vec<Curve> {
    let mut curves = BTreeMap::<(Option<usize>, &str), BTreeMap<usize, Vec<&Row>>>::new();
    for row in rows.iter().filter(|row| of(row).is_some()) {
        let key = (row.initial.parse().ok(), row.arm.as_str());
        curves.entry(key).or_default().entry(row.round).or_default().push(row);
    }
    let point = |(round, rows): (usize, Vec<&Row>)| {
        let mean = |of: fn(&Row) -> Option<f64>| {
            let values: Vec<f64> = rows.iter().filter_map(|row| of(row)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let dice = || rows.iter().filter_map(|row| of(row));
        Point {
            round,
            kind: rows[0].kind.clone(),
            annotated: mean(|row| Some(row.annotated as f64)).unwrap_or(0.0),
            pseudo: mean(|row| Some(row.pseudo as f64)).unwrap_or(0.0),
            right: mean(|row| row.pseudo_right),
            precision: mean(|row| row.pseudo_precision),
            seeds: rows.len(),
            mean: mean(of).unwrap_or(0.0),
            low: dice().fold(1.0, f64::min),
            high: dice().fold(0.0, f64::max),
        }
    };
    let curve = |((initial, arm), rounds): ((Option<usize>, &str), BTreeMap<_, _>)| Curve {
        name: format!("{prefix}{arm}"),
        initial,
        points: rounds.into_iter().map(point).collect(),
    };
    curves.into_iter().map(curve).collect()
}

fn of_state(name: &str, state: &RunState) -> Option<Curve> {
    // Without a validation there is no Dice.
    let points = state.history.iter().filter_map(|r| {
        let &dice = r.score.figures.get("dice")?;
        Some(Point {
            round: r.round,
            kind: r.kind.to_string(),
            annotated: r.annotated as f64,
            pseudo: r.pseudo as f64,
            right: None,
            precision: None,
            seeds: 1,
            mean: dice,
            low: dice,
            high: dice,
        })
    });
    let points: Vec<Point> = points.collect();
    let initial = Some(state.history.first()?.annotated);
    (!points.is_empty()).then(|| Curve { name: name.into(), initial, points })
}

fn rounds(curves: &[Curve]) -> Markup {
    let rows = curves.iter().flat_map(|curve| {
        curve.points.iter().map(|p| {
            vec![
                curve.name.clone(),
                curve.initial.map_or("all".into(), |n| n.to_string()),
                p.round.to_string(),
                p.kind.clone(),
                format!("{:.0}", p.annotated),
                format!("{:.0}", p.pseudo),
                figure(p.right, 2),
                figure(p.precision, 2),
                p.seeds.to_string(),
                format!("{:.3}", p.mean),
                if p.seeds > 1 { format!("{:.3} to {:.3}", p.low, p.high) } else { "-".into() },
            ]
        })
    });
    let header = [
        "learner",
        "initial",
        "round",
        "does",
        "annotated",
        "pseudo-labelled",
        "of them right",
        "their precision",
        "seeds",
        "Dice",
        "seeds from-to",
    ];
    table("Rounds", &header, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: &str, initial: &str, seed: u64, round: usize, annotated: usize, dice: f64) -> Row {
        Row {
            arm: arm.into(),
            initial: initial.into(),
            seed,
            round,
            kind: if annotated > 50 { "al" } else { "spl" }.into(),
            annotated,
            foreground_voxels: 0,
            dice: Some(dice),
            tp_dice: None,
            hit_rate: None,
            mask_dice: None,
            validation_dice: 0.0,
            lambda: 0.0,
            pseudo: 3,
            weight_sum: 0.0,
            pseudo_right: None,
            pseudo_precision: None,
            pseudo_dice: None,
            seconds: None,
        }
    }

    #[test]
    fn seeds_become_a_mean_and_a_band() {
        let rows = [
            row("dasl", "50", 1, 0, 50, 0.2),
            row("dasl", "50", 2, 0, 50, 0.4),
            row("dasl", "100", 1, 0, 100, 0.5),
            row("full", "all", 1, 0, 600, 0.604),
        ];
        let curves = of_rows("", &rows, |row| row.dice);
        let found: Vec<_> = curves.iter().map(|c| (c.name.as_str(), c.initial)).collect();
        assert_eq!(found, [("full", None), ("dasl", Some(50)), ("dasl", Some(100))]);
        let point = &curves[1].points[0];
        assert!((point.mean - 0.3).abs() < 1e-12);
        assert_eq!((point.low, point.high, point.seeds), (0.2, 0.4, 2));
        assert_eq!(heights(&curves), 0.2..0.61);
    }

    #[test]
    fn self_paced_rounds_stay_before_the_next_annotation() {
        let rows: Vec<Row> = [50, 50, 50, 70, 90]
            .iter()
            .enumerate()
            .map(|(round, n)| row("dasl", "50", 1, round, *n, 0.1))
            .collect();
        let curves = of_rows("", &rows, |row| row.dice);
        let step = dodge(&[&curves[0]]);
        assert!((step - 6.0).abs() < 1e-12, "two steps take 0.6 of 20");
        assert_eq!(places(&curves[0].points, step), [50.0, 56.0, 62.0, 70.0, 90.0]);
    }
}
