//! How the loss fell in runs of `dasl train`.

use anyhow::Result;
use maud::html;

use super::chart::{Axis, Chart, Key, Layer, Style};
use super::html::Section;
use super::run::{Found, Run};

/// Points of a line at most: a run has thousands of steps.
const POINTS: usize = 200;

/// The section; `None` if there is no such run.
///
/// # Errors
/// If the plot can't be drawn.
pub fn section(runs: &[Run]) -> Result<Option<Section>> {
    let mut lines = Vec::new();
    for run in runs {
        if let Found::Training(_, losses) = &run.found
            && !losses.is_empty()
        {
            lines.push((&run.name, averaged(losses)));
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let all = || lines.iter().flat_map(|(_, points)| points);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(1e-3, f64::max);
    let text = lines.iter().map(|(name, points)| {
        let (first, last) = (points[0], points[points.len() - 1]);
        format!(
            "{name}: {:.2} at step {:.0}, {:.2} at step {:.0}",
            first.1, first.0, last.1, last.0
        )
    });
    let styled = || lines.iter().enumerate().map(|(i, line)| (Style::nth(i), line));
    let chart = Chart {
        title: "Loss in training".into(),
        text: format!("Loss over steps. {}.", text.collect::<Vec<_>>().join("; ")),
        x: Axis::numbers("training step (number)", 0.0..most(|p| p.0)),
        y: Axis::numbers("loss (sum of three terms)", 0.0..1.05 * most(|p| p.1)),
        layers: styled().map(|(s, (_, points))| Layer::Line(s, s.dash, points.clone())).collect(),
        keys: styled()
            .map(|(style, (name, _))| Key {
                style,
                line: Some(style.dash),
                marked: false,
                name: (*name).clone(),
            })
            .collect(),
    };
    let body = html! {
        (chart.figure()?)
        p.note {
            "Classification, box and mask loss together; each point is the mean of the steps since "
            "the last."
        }
    };
    Ok(Some(Section { id: "losses", title: "Training", body }))
}

/// Means over stretches of equal length, at their last steps.
fn averaged(losses: &[(usize, f64)]) -> Vec<(f64, f64)> {
    let mean = |part: &[(usize, f64)]| {
        let sum: f64 = part.iter().map(|(_, loss)| loss).sum();
        (part[part.len() - 1].0 as f64, sum / part.len() as f64)
    };
    losses.chunks(losses.len().div_ceil(POINTS)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_averaged_and_short_ones_are_not() {
        let losses = |n: usize| (1..=n).map(|i| (i, i as f64)).collect::<Vec<_>>();
        assert_eq!(averaged(&losses(3)), [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]);
        let long = averaged(&losses(400));
        assert_eq!((long.len(), long[0]), (200, (2.0, 1.5)));
    }
}
