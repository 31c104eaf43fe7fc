//! `dasl report`: what was run and how it did, in one HTML file.

use anyhow::Result;

use crate::Outcome;
use crate::args::ReportArgs;
use crate::report::write;

/// Runs the command.
///
/// # Errors
/// If a folder holds no run or the report can't be written.
pub fn run(args: &ReportArgs, json: bool) -> Result<Outcome> {
    let written = write(&args.runs, &args.out)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&written)?);
    } else {
        println!("report: {} ({:.1} MB)", written.report.display(), written.bytes as f64 / 1e6);
    }
    Ok(Outcome::Done)
}
