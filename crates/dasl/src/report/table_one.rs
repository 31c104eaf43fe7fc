//! The paper's Table 1 and ours.

use std::collections::BTreeMap;

use maud::html;

use super::html::{Section, figure, mean_sd, table};
use super::run::{Found, Run};
use crate::command::experiment::Row;

/// Wang et al., MICCAI 2018, Table 1: method, Dice and TP Dice, mean and standard deviation.
const PAPER: [(&str, &str, &str); 5] = [
    ("Method in [3] (Feng et al., 2017)", "0.55 ± 0.33", "0.74 ± 0.14"),
    ("Nodule R-CNN (full training samples)", "0.64 ± 0.44", "0.95 ± 0.12"),
    ("Nodule R-CNN with DASL (50 initial annotated samples)", "0.56 ± 0.45", "0.87 ± 0.09"),
    ("Nodule R-CNN with DASL (100 initial annotated samples)", "0.59 ± 0.45", "0.90 ± 0.05"),
    ("Nodule R-CNN with DASL (150 initial annotated samples)", "0.62 ± 0.43", "0.92 ± 0.03"),
];

/// The section.
pub fn section(runs: &[Run]) -> Section {
    let mut rows: Vec<Vec<String>> = PAPER
        .iter()
        .map(|(method, dice, tp_dice)| {
            let figures = [*dice, *tp_dice, "-", "-"].map(String::from);
            ["paper", method].into_iter().map(String::from).chain(figures).collect()
        })
        .collect();
    for run in runs {
        rows.extend(ours(run));
    }
    let header = ["by", "method", "Dice", "TP Dice", "hit rate", "± over"];
    let body = html! {
        p {
            "The paper's figures are of another split of the data, another protocol (which masks were "
            "the reference, and how a nodule counts as found, is not said) and far longer training: "
            strong { "they are not directly comparable with ours" } "."
        }
        (table("Table 1 of the paper and our results", &header, &rows))
        p.note {
            "Dice counts a miss as 0; TP Dice is over the nodules that were found. ± is the standard "
            "deviation, over what the last column says: nodules in evaluations (and, it seems, in the "
            "paper), seeds in experiments. Experiments and runs of learning are judged on nodules "
            "whose place is given, without false positives; experiments on patients who are in no "
            "run, runs of learning on their validation patients, after their best round."
        }
    };
    Section { id: "table-1", title: "The paper's Table 1 beside ours", body }
}

fn ours(run: &Run) -> Vec<Vec<String>> {
    let line = |method: String, figures: [String; 3], over: &str| {
        let mut row = vec!["dasl".to_string(), method];
        row.extend(figures);
        row.push(over.into());
        row
    };
    match &run.found {
        // Where places are given, nothing had to be found.
        Found::Training(..) | Found::Samples(_) => Vec::new(),
        Found::Evaluation(evaluation) => {
            let s = &evaluation.summary;
            let figures = [
                mean_sd(s.dice_mean, s.dice_sd),
                mean_sd(s.tp_dice_mean, s.tp_dice_sd),
                figure(s.hit_rate, 2),
            ];
            let over = format!("{} nodules of {} scans", s.nodules, s.scans);
            vec![line(format!("{}: evaluation", run.name), figures, &over)]
        }
        Found::Learning(_, state, _) => {
            let Some(best) = state.best() else { return Vec::new() };
            let of = |name: &str| figure(best.score.figures.get(name).copied(), 2);
            let figures = [of("dice"), of("tp_dice"), of("hit_rate")];
            let method = format!(
                "{}: validation, round {}, {} annotated samples",
                run.name, best.round, best.annotated
            );
            vec![line(method, figures, "-")]
        }
        Found::Experiment(rows, _) => {
            let group = |((initial, arm), rows): (&(Option<usize>, &str), &Vec<&Row>)| {
                let most = rows.iter().map(|row| row.annotated).max().unwrap_or(0);
                let method = match initial {
                    None => format!("{}: {arm} (all {most} annotated)", run.name),
                    Some(n) => format!("{}: {arm} ({n} initial, {most} in the end)", run.name),
                };
                let over = |of: fn(&Row) -> Option<f64>| {
                    dasl_metrics::Spread::of(&rows.iter().filter_map(|r| of(r)).collect::<Vec<_>>())
                };
                let (dice, tp_dice) = (over(|r| r.dice), over(|r| r.tp_dice));
                let figures = [
                    mean_sd(dice.mean, dice.sd),
                    mean_sd(tp_dice.mean, tp_dice.sd),
                    figure(over(|r| r.hit_rate).mean, 2),
                ];
                let over =
                    if rows.len() > 1 { format!("{} seeds", rows.len()) } else { "-".into() };
                line(method, figures, &over)
            };
            last_rounds(rows).iter().map(group).collect()
        }
    }
}

/// The last round of every seed, by initial size and arm.
fn last_rounds(rows: &[Row]) -> BTreeMap<(Option<usize>, &str), Vec<&Row>> {
    let mut last = BTreeMap::<(Option<usize>, &str, u64), &Row>::new();
    for row in rows {
        let key = (row.initial.parse().ok(), row.arm.as_str(), row.seed);
        let kept = last.entry(key).or_insert(row);
        if row.round >= kept.round {
            *kept = row;
        }
    }
    let mut groups = BTreeMap::<(Option<usize>, &str), Vec<&Row>>::new();
    for ((initial, arm, _), row) in last {
        groups.entry((initial, arm)).or_default().push(row);
    }
    groups
}
