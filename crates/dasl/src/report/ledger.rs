//! Which samples were used in a run of `dasl learn`, and why.

use std::collections::BTreeMap;

use dasl_learn::strategy::Strategy;
use dasl_learn::{Entry, Phase, RunState, Usage};
use maud::{Markup, html};

use super::html::{Section, figure, folded, table};
use super::run::{Found, Run};

/// Lines of a table at most: the ledger itself has all.
const ROWS: usize = 300;

/// The section; `None` without runs of `dasl learn`.
pub fn section(runs: &[Run]) -> Option<Section> {
    let ledgers: Vec<(&str, &RunState, &[Entry])> = runs
        .iter()
        .filter_map(|run| match &run.found {
            Found::Learning(_, state, ledger) => {
                Some((run.name.as_str(), state.as_ref(), ledger.as_slice()))
            }
            _ => None,
        })
        .collect();
    let experiments: Vec<&str> = runs
        .iter()
        .filter(|run| matches!(run.found, Found::Experiment(..)))
        .map(|run| run.name.as_str())
        .collect();
    if ledgers.is_empty() && experiments.is_empty() {
        return None;
    }
    let body = html! {
        @for (name, state, ledger) in &ledgers {
            h3 { (name) }
            (one(state.config.strategy, ledger))
            @if !matches!(state.phase, Phase::Finished { .. }) {
                p.note {
                    "Round " (state.round) " is not done, and not in this: " (state.spent)
                    " samples are annotated in all."
                }
            }
        }
        @for name in &experiments {
            p.note {
                "Each run of " (name) " has its own ledger: name its folder in " code { "runs/" }
                " to see it here."
            }
        }
    };
    Some(Section { id: "ledger", title: "Which samples, and why", body })
}

fn one(strategy: Strategy, ledger: &[Entry]) -> Markup {
    let asked: Vec<Vec<String>> = ledger.iter().filter_map(|e| asked(strategy, e)).collect();
    let pseudo: Vec<Vec<String>> = ledger.iter().filter_map(pseudo).collect();
    let drawn: Vec<&str> = ledger
        .iter()
        .filter(|e| matches!(e.usage, Usage::Initial { .. } | Usage::Given { .. }))
        .map(|e| e.sample.as_str())
        .collect();
    let header_of_asked = [
        "round",
        "sample",
        "why",
        "score",
        "uncertainty",
        "density",
        "Dice of its earlier pseudo-label",
    ];
    let header_of_pseudo = ["round", "sample", "weight v", "loss", "lambda", "uncertainty"];
    html! {
        p {
            (drawn.len()) " samples were annotated before the first round, " (asked.len())
            " were asked for later, " (pseudo.len()) " times a sample was trained on with a "
            "pseudo-label (" (by_round(ledger)) ")."
        }
        @if !asked.is_empty() {
            (table("Annotated samples", &header_of_asked, &asked[..asked.len().min(ROWS)]))
            (rest(asked.len()))
        }
        @if !pseudo.is_empty() {
            (folded("Pseudo-labelled samples: the network was sure of them", &html! {
                (table("Pseudo-labelled samples", &header_of_pseudo, &pseudo[..pseudo.len().min(ROWS)]))
                (rest(pseudo.len()))
            }))
        }
        @if !drawn.is_empty() {
            (folded("Annotated before the first round", &html! {
                p.note { (drawn[..drawn.len().min(ROWS)].join(", ")) }
                (rest(drawn.len()))
            }))
        }
    }
}

fn rest(rows: usize) -> Markup {
    html! {
        @if rows > ROWS {
            p.note { (rows - ROWS) " more are in the run's " code { "learn/ledger.jsonl" } "." }
        }
    }
}

/// Pseudo-labels of each round.
fn by_round(ledger: &[Entry]) -> String {
    let mut counts = BTreeMap::<usize, usize>::new();
    for entry in ledger.iter().filter(|e| matches!(e.usage, Usage::Pseudo { .. })) {
        *counts.entry(entry.round).or_default() += 1;
    }
    if counts.is_empty() {
        return "in no round".into();
    }
    let rounds = counts.iter().map(|(round, n)| format!("round {round}: {n}"));
    rounds.collect::<Vec<_>>().join(", ")
}

fn asked(strategy: Strategy, entry: &Entry) -> Option<Vec<String>> {
    let start = |why: String| vec![entry.round.to_string(), entry.sample.to_string(), why];
    match &entry.usage {
        Usage::Annotated { score, uncertainty, density, audit, .. } => {
            let name = serde_json::to_value(strategy).ok();
            let name = name.as_ref().and_then(|n| n.as_str()).unwrap_or_default();
            let mut row = start(match score {
                Some(_) => format!("among the highest scores of {name}"),
                None => format!("drawn by chance, as {name} says"),
            });
            let figures = [*score, Some(*uncertainty), *density];
            row.extend(figures.map(|value| figure(value, 4)));
            row.push(figure(audit.as_ref().map(|a| a.audit.dice), 2));
            Some(row)
        }
        Usage::Declined { by } => {
            let mut row = start(format!("asked, but {by} could not annotate it"));
            row.extend(["-"; 4].map(String::from));
            Some(row)
        }
        _ => None,
    }
}

fn pseudo(entry: &Entry) -> Option<Vec<String>> {
    let Usage::Pseudo { weight, loss, lambda, uncertainty, .. } = &entry.usage else {
        return None;
    };
    let mut row = vec![entry.round.to_string(), entry.sample.to_string()];
    row.push(format!("{weight:.2}"));
    row.extend([loss, lambda, uncertainty].map(|value| format!("{value:.4}")));
    Some(row)
}
