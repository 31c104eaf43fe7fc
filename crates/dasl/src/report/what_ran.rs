//! What was run: on which data, from which seed, by which version, with which settings.

use anyhow::Result;
use maud::{Markup, html};

use super::html::{Section, folded, table};
use super::run::{Found, Made, Run};
use crate::command::experiment::Row;

/// The section.
///
/// # Errors
/// If settings can't be written.
pub fn section(runs: &[Run]) -> Result<Section> {
    let mut rows = Vec::new();
    let mut settings = Vec::new();
    let mut add = |name: String, what: String, made: &Made| -> Result<()> {
        let Made { origin, split, settings: set } = made;
        rows.push(vec![
            name.clone(),
            what,
            origin.dasl_version.clone(),
            origin.seed.to_string(),
            format!(
                "{} scans, {} mm, consensus {}",
                origin.scans, origin.dataset.spacing_mm, origin.dataset.rule
            ),
            split.train.len().to_string(),
            format!("{} of {} patients", split.validation.len(), split.validation_patients.len()),
        ]);
        settings.push((name, toml::to_string_pretty(set)?));
        Ok(())
    };
    let (mut evaluated, mut compared) = (Vec::new(), Vec::new());
    for run in runs {
        match &run.found {
            Found::Training(made, losses) => {
                let steps = losses.last().map_or(0, |(step, _)| *step);
                let what = format!("train, {steps} of {} steps", made.settings.train.steps);
                add(run.name.clone(), what, made)?;
            }
            Found::Learning(made, state, _) => {
                let engine = &made.settings.learn.engine;
                let done = state.history.len();
                let what = if takes_all(made) {
                    format!("learn, all initial, {done} rounds done")
                } else {
                    format!(
                        "learn, {} initial, {}, {done} rounds done",
                        engine.initial, engine.sequence
                    )
                };
                add(run.name.clone(), what, made)?;
            }
            Found::Experiment(rows, arms) => {
                compared.push((run.name.clone(), described(rows)));
                for (arm, made) in arms {
                    let sequence = &made.settings.learn.engine.sequence;
                    let what = if takes_all(made) {
                        "experiment, all initial; its first run".to_string()
                    } else {
                        format!("experiment, {sequence}; its first run")
                    };
                    add(format!("{}: {arm}", run.name), what, made)?;
                }
            }
            Found::Evaluation(evaluation) => evaluated.push(vec![
                run.name.clone(),
                evaluation.dasl_version.clone(),
                evaluation.summary.scans.to_string(),
                evaluation.summary.nodules.to_string(),
                evaluation.consensus.clone(),
                evaluation.matching.clone(),
            ]),
            // Its own section says it all.
            Found::Samples(_) => {}
        }
    }
    let header = ["run", "what", "dasl", "seed", "dataset", "samples to train on", "to validate"];
    let header_of_evaluated = ["evaluated", "dasl", "scans", "nodules", "consensus", "matching"];
    let body = html! {
        @if !rows.is_empty() { (table("Runs", &header, &rows)) }
        @for (name, text) in &compared { p { strong { (name) } ": " (text) } }
        @if !evaluated.is_empty() { (table("Evaluations", &header_of_evaluated, &evaluated)) }
        @for (name, text) in &settings { (toml_of(name, text)) }
    };
    Ok(Section { id: "what", title: "What was run", body })
}

/// Whether its initial set leaves no sample for a round.
fn takes_all(made: &Made) -> bool {
    made.settings.learn.engine.initial >= made.split.train.len()
}

/// Arms, sizes and seeds of an experiment, as far as it got.
fn described(rows: &[Row]) -> String {
    let all = |of: fn(&Row) -> String| {
        let mut values: Vec<String> = Vec::new();
        for value in rows.iter().map(of) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    };
    format!(
        "experiment, {} rounds so far: arms {}; {} initial samples; seeds {}.",
        rows.len(),
        all(|row| row.arm.clone()),
        all(|row| row.initial.clone()),
        all(|row| row.seed.to_string())
    )
}

fn toml_of(name: &str, text: &str) -> Markup {
    folded(&format!("Everything that was set: {name}"), &html! { pre { (text) } })
}
