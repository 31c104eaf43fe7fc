//! Plots as SVG.

use anyhow::{Result, anyhow};
use dasl_learn::state::{RoundKind, RoundRecord};
use plotters::element::DottedPathElement;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 380);
const SELF_PACED: RGBColor = RGBColor(0, 98, 155);
const ACTIVE: RGBColor = RGBColor(200, 80, 0);

/// Dice over rounds, as in Fig. 3 of the paper: what led to a round is drawn solid where it was
/// self-paced and dotted where a reader annotated.
///
/// # Errors
/// If the plot can't be drawn.
pub fn learning_curve(history: &[RoundRecord]) -> Result<String> {
    let mut svg = String::new();
    let draw = |svg: &mut String| -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let last = history.len().max(2) as f64 - 1.0;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.2..last + 0.2, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("round (annotated + pseudo-labelled samples)")
            .y_desc("validation Dice")
            .x_labels(history.len().max(2))
            .x_label_formatter(&|x| label(history, *x))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (i, pair) in history.windows(2).enumerate() {
            let ends = [i, i + 1].map(|k| (k as f64, history[k].score.value));
            match pair[1].kind {
                RoundKind::Al => {
                    let dots =
                        DottedPathElement::new(ends, 2, 7, |p| Circle::new(p, 2, ACTIVE.filled()));
                    chart.draw_series([dots])?;
                }
                RoundKind::Spl | RoundKind::Initial => {
                    chart.draw_series([PathElement::new(ends, SELF_PACED.stroke_width(3))])?;
                }
            }
        }
        chart.draw_series(history.iter().enumerate().map(|(i, r)| {
            let color = if r.kind == RoundKind::Al { ACTIVE } else { SELF_PACED };
            Circle::new((i as f64, r.score.value), 5, color.filled())
        }))?;
        area.present()?;
        Ok(())
    };
    draw(&mut svg).map_err(|e| anyhow!("learning curve: {e}"))?;
    Ok(svg)
}

fn label(history: &[RoundRecord], x: f64) -> String {
    if (x - x.round()).abs() > 1e-6 || x < 0.0 {
        return String::new();
    }
    history
        .get(x.round() as usize)
        .map_or(String::new(), |r| format!("{} {} ({}+{})", r.round, r.kind, r.annotated, r.pseudo))
}
