//! `dasl experiment --status`: which runs are done and begun, also while other processes run them.

use std::collections::BTreeMap;

use anyhow::Result;
use dasl_learn::Run;
use serde::Serialize;

use super::summary::{self, size_key};
use super::{Out, Row};
use crate::experiment::Cell;
use crate::table;

/// Where a run stands.
#[derive(Serialize)]
struct Standing<'a> {
    arm: &'a str,
    initial: String,
    seed: u64,
    begun: bool,
    /// Rounds that are finished, the initial training among them.
    rounds: usize,
    /// Whether all are, and tested.
    done: bool,
}

impl<'a> Standing<'a> {
    /// Of a run, given the rounds of all that are done.
    fn of(cell: &'a Cell<'a>, out: &Out<'_>, rows: &[Row]) -> Result<Self> {
        let tested = rows.iter().filter(|row| row.run() == cell.name()).count();
        let (folder, done) = (out.folder(cell), tested > 0);
        let begun = done || folder.is_learning();
        let rounds =
            if begun && !done { Run::read(&folder.rounds())?.history.len() } else { tested };
        Ok(Self { arm: cell.arm, initial: cell.size(), seed: cell.seed, begun, rounds, done })
    }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Status<'a> {
    runs: Vec<Standing<'a>>,
    rounds: Vec<Row>,
}

/// Prints where all runs stand, and the rounds of those that are done.
///
/// # Errors
/// If a run can't be read.
pub fn print(out: &Out<'_>, json: bool) -> Result<()> {
    let rounds = out.rows()?;
    let runs = out.cells.iter().map(|cell| Standing::of(cell, out, &rounds));
    let status = Status { runs: runs.collect::<Result<_>>()?, rounds };
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    println!("{}", standings(&status.runs));
    let done = status.runs.iter().filter(|run| run.done).count();
    println!("{done} of {} runs are done\n", status.runs.len());
    if done > 0 {
        println!("{}", summary::render(&status.rounds));
    }
    Ok(())
}

/// A line for every arm and size of the initial set.
fn standings(runs: &[Standing<'_>]) -> String {
    let mut groups = BTreeMap::<(&str, usize), Vec<&Standing<'_>>>::new();
    for run in runs {
        groups.entry((run.arm, size_key(&run.initial))).or_default().push(run);
    }
    let line = |runs: &Vec<&Standing<'_>>| {
        let done = runs.iter().filter(|run| run.done).count();
        let begun = runs.iter().filter(|run| run.begun && !run.done);
        let begun: Vec<_> =
            begun.map(|run| format!("seed {}: {} rounds", run.seed, run.rounds)).collect();
        let of = format!("{done} of {}", runs.len());
        vec![runs[0].arm.into(), runs[0].initial.clone(), of, begun.join(", ")]
    };
    let lines: Vec<_> = groups.values().map(line).collect();
    table::render(&["arm", "initial", "done", "begun"], &lines)
}
