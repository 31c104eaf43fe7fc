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
        let step = step_of(line).map(|(step, _)| step);
        // A line that a full disk cut off is left out.
        if let Some(step) = step.filter(|step| (last + 1..=steps).contains(step)) {
            last = step;
            writeln!(text, "{line}")?;
        }
    }
    dasl_volume::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

/// The steps of a log and their total losses; none where nothing was logged yet. A last line that is
/// being written, or was cut off, is left out.
///
/// # Errors
/// If the log is damaged.
pub fn read(path: &Path) -> Result<Vec<(usize, f64)>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let whole = match lines.split_last() {
        Some((last, before)) if step_of(last).is_none() => before,
        _ => &lines[..],
    };
    let losses = whole.iter().enumerate().map(|(i, line)| {
        step_of(line).with_context(|| format!("{}, line {}: no step", path.display(), i + 2))
    });
    losses.collect()
}

/// The step and its total loss; `None` of a line that is none, or not a whole one.
fn step_of(line: &str) -> Option<(usize, f64)> {
    let cells: Vec<&str> = line.split(',').collect();
    if cells.len() != HEADER.split(',').count() {
        return None;
    }
    cells[0].parse().ok().zip(cells[1].parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let whole = format!("{HEADER}\n1,2.5,1,1,0.5\n2,2,1,1,\n");
        for end in ["", "3", "3,1.", "3,1.5,0.5"] {
            fs::write(&path, format!("{whole}{end}")).unwrap();
            assert_eq!(read(&path).unwrap(), [(1, 2.5), (2, 2.0)], "{end}");
            begin(&path, 9).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        }
        fs::write(&path, format!("{HEADER}\n1,2.5\n2,2,1,1,\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("line 2: no step"));
    }
}
