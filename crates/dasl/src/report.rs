//! `report.html`: one file that shows what was run and how it did, several runs side by side.

mod at_a_glance;
mod calibration;
mod chart;
mod froc;
mod groups;
mod html;
mod learning;
mod ledger;
mod losses;
mod nodules;
mod run;
mod samples;
mod table_one;
mod what_ran;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dasl_volume::write_atomic;
use maud::{Markup, html};

use crate::command::evaluate::Evaluation;
use run::{Found, Run};

/// The report's file.
const FILE: &str = "report.html";

/// A report that was written.
#[derive(serde::Serialize)]
pub struct Written {
    /// The file.
    pub report: PathBuf,
    /// Its length.
    pub bytes: usize,
    /// The runs in it, in their order.
    pub runs: Vec<String>,
}

/// Writes the report of some folders to `out`.
///
/// # Errors
/// If a folder holds no run or can't be read, or the report can't be drawn or written.
pub fn write(folders: &[PathBuf], out: &Path) -> Result<Written> {
    let runs = run::read_all(folders)?;
    let html = page(&runs)?.into_string();
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let report = out.join(FILE);
    write_atomic(&report, |file| file.write_all(html.as_bytes()))
        .with_context(|| report.display().to_string())?;
    Ok(Written { report, bytes: html.len(), runs: runs.into_iter().map(|run| run.name).collect() })
}

/// The sections, each on one thing.
fn page(runs: &[Run]) -> Result<Markup> {
    let sections = [
        Some(what_ran::section(runs)?),
        at_a_glance::section(runs),
        losses::section(runs)?,
        learning::section(runs)?,
        Some(table_one::section(runs)),
        samples::section(runs),
        froc::section(runs)?,
        calibration::section(runs)?,
        groups::section(runs)?,
        nodules::section(runs),
        ledger::section(runs),
    ];
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let about = html! { p { "Of " (names.join(", ")) "." } };
    Ok(html::page("dasl report", &about, &sections.into_iter().flatten().collect::<Vec<_>>()))
}

/// The evaluations, with their names.
fn evaluations(runs: &[Run]) -> Vec<(&str, &Evaluation)> {
    let evaluations = runs.iter().filter_map(|run| match &run.found {
        Found::Evaluation(evaluation) => Some((run.name.as_str(), evaluation.as_ref())),
        _ => None,
    });
    evaluations.collect()
}

/// Says that figures are of patients that the network was trained on.
fn flatters(name: &str, trained_on: usize, scans: usize) -> Markup {
    html! {
        p {
            strong {
                (name) ": " (trained_on) " of " (scans) " scans show patients that the network was "
                "trained on: their figures flatter."
            }
        }
    }
}

/// Says which runs have nothing to show, and why.
fn without(names: &[&str], why: &str) -> Markup {
    html! { @if !names.is_empty() { p.note { (names.join(", ")) ": " (why) "." } } }
}
