//! Losses per step, as a CSV that a continued run goes on with.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use dasl_net::trainer::StepLosses;

const HEADER: &str = "step,total,class,box,mask";

/// Begins a log, or cuts one back to the steps that the checkpoint knows.
///
/// # Errors
/// If the file can't be written.
pub fn begin(path: &Path, steps: usize) -> Result<()> {
    let old = if steps == 0 { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
    let mut text = format!("{HEADER}\n");
    let mut last = 0;
    for line in old.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let step = cells[0].parse::<usize>().ok().filter(|step| (last + 1..=steps).contains(step));
        // A line that a full disk cut off is left out.
        if let Some(step) = step.filter(|_| cells.len() == HEADER.split(',').count()) {
            last = step;
            writeln!(text, "{line}")?;
        }
    }
    dasl_volume::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

/// The steps of a log and their total losses; none where nothing was logged yet.
///
/// # Errors
/// If the log is damaged.
pub fn read(path: &Path) -> Result<Vec<(usize, f64)>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let losses = text.lines().enumerate().skip(1).map(|(i, line)| {
        let mut cells = line.split(',');
        let mut next = || cells.next().unwrap_or_default();
        let (step, total) = (next().parse().ok(), next().parse().ok());
        step.zip(total)
            .with_context(|| format!("{}, line {}: no step and loss", path.display(), i + 1))
    });
    losses.collect()
}

/// Appends a step.
///
/// # Errors
/// If the file can't be written.
pub fn append(path: &Path, losses: &StepLosses) -> Result<()> {
    let cell = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.6}"));
    let line = format!(
        "{},{:.6},{:.6},{},{}\n",
        losses.step,
        losses.total,
        losses.class,
        cell(losses.boxes),
        cell(losses.mask)
    );
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    file.write_all(line.as_bytes()).with_context(|| path.display().to_string())
}
