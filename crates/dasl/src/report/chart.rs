//! A plot as SVG: axes with units, bands, lines and markers, and its text alternative.
//!
//! Whatever a colour says, a dash or the shape of a marker says too.

use std::ops::Range;

use anyhow::{Result, anyhow};
use maud::{Markup, PreEscaped, html};
use plotters::chart::ChartContext;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;

/// Twice the pixels that a plot takes on a phone: plotters draws on whole pixels.
const SIZE: (u32, u32) = (760, 580);
/// Size of a line's sample in a legend, likewise.
const SAMPLE: (u32, u32) = (96, 36);
/// Half the width of a marker, likewise.
const MARKER: i32 = 9;
const TEXT: RGBColor = RGBColor(28, 36, 48);
const GRID: RGBColor = RGBColor(226, 230, 236);
const TICK: f64 = 30.0;
const LABEL: f64 = 32.0;

/// Okabe and Ito's colours (2008), apart also for the colour-blind; their yellow is left out, which
/// is hard to see on white.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// An axis.
#[derive(Clone)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// From where to where.
    pub range: Range<f64>,
    /// Where something is written, and what.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis of numbers with about five ticks at round ones.
    pub fn numbers(label: &str, range: Range<f64>) -> Self {
        let width = (range.end - range.start).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf((width / 5.0).log10().floor());
        let factors = [1.0, 2.0, 5.0, 10.0];
        let step = factors.map(|f| f * power).into_iter().find(|s| width / s <= 6.0);
        let step = step.unwrap_or(width);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let (from, to) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
        let tick = |i| (i as f64 * step, format!("{:.digits$}", i as f64 * step));
        Self { label: label.into(), range, ticks: (from..=to).map(tick).collect() }
    }

    /// An axis of names, at 0, 1, 2 and so on.
    pub fn names(label: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, name)| (i as f64, name.clone()));
        let range = -0.5..names.len() as f64 - 0.5;
        Self { label: label.into(), range, ticks: ticks.collect() }
    }

    /// From 0 to 1, with nothing written.
    fn bare() -> Self {
        Self { label: String::new(), range: 0.0..1.0, ticks: Vec::new() }
    }
}

impl Ranged for Axis {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light lines between the ticks: none.
        let all = if hint.weight().allow_light_points() { &[] } else { &self.ticks[..] };
        all.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        let found = self.ticks.iter().find(|(tick, _)| (tick - at).abs() < 1e-9);
        found.map_or(String::new(), |(_, text)| text.clone())
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// Without gaps.
    Solid,
    /// Long strokes.
    Dashed,
    /// Short strokes.
    Dotted,
}

/// How one thing is told from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    color: RGBColor,
    shape: usize,
    /// Its lines' dash, where the dash has no other meaning.
    pub dash: Dash,
}

impl Style {
    /// The style of the thing of this number; after some they repeat, never colour and shape at
    /// once.
    pub fn nth(number: usize) -> Self {
        let dash = [Dash::Solid, Dash::Dashed, Dash::Dotted][number % 3];
        Self { color: COLORS[number % COLORS.len()], shape: number % 5, dash }
    }

    /// What all is held against.
    pub fn level() -> Self {
        Self { color: RGBColor(90, 98, 110), shape: 0, dash: Dash::Dashed }
    }
}

/// Something that is drawn; later ones over earlier ones.
pub enum Layer {
    /// Between the second and third of (x, low, high).
    Band(Style, Vec<[f64; 3]>),
    /// Through points.
    Line(Style, Dash, Vec<(f64, f64)>),
    /// A marker at each point.
    Markers(Style, Vec<(f64, f64)>),
    /// A bar from the second to the third of (x, low, high).
    Bars(Style, Vec<[f64; 3]>),
}

/// What a legend explains: a style, whether it has a line and of which dash, whether markers.
pub struct Key {
    /// How it is drawn.
    pub style: Style,
    /// Its line.
    pub line: Option<Dash>,
    /// Whether it has markers.
    pub marked: bool,
    /// What it is.
    pub name: String,
}

/// A plot.
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What there is to see in it, for those who can't.
    pub text: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub layers: Vec<Layer>,
    /// What the layers are.
    pub keys: Vec<Key>,
}

impl Chart {
    /// The plot as a figure.
    ///
    /// # Errors
    /// If it can't be drawn.
    pub fn figure(&self) -> Result<Markup> {
        let svg = self.svg().map_err(|error| anyhow!("{}: {error}", self.title))?;
        let keys = self.keys.iter().map(|key| Ok((key.sample()?, &key.name)));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        Ok(html! {
            figure.chart {
                h4 { (self.title) }
                (named(&svg, &self.text))
                @if !keys.is_empty() {
                    ul.key { @for (sample, name) in keys { li { (sample) " " (name) } } }
                }
            }
        })
    }

    fn svg(&self) -> Result<String, Box<dyn std::error::Error>> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .margin(14)
                .margin_right(28)
                .x_label_area_size(96)
                .y_label_area_size(112)
                .build_cartesian_2d(self.x.clone(), self.y.clone())?;
            chart
                .configure_mesh()
                .x_desc(&self.x.label)
                .y_desc(&self.y.label)
                .label_style(("sans-serif", TICK).into_font().color(&TEXT))
                .axis_desc_style(("sans-serif", LABEL).into_font().color(&TEXT))
                .bold_line_style(GRID.stroke_width(2))
                .axis_style(TEXT.stroke_width(2))
                .draw()?;
            for layer in &self.layers {
                draw(&mut chart, layer)?;
            }
            area.present()?;
        }
        Ok(svg)
    }
}

impl Key {
    fn sample(&self) -> Result<Markup> {
        let line =
            self.line.map(|dash| Layer::Line(self.style, dash, vec![(0.0, 0.5), (1.0, 0.5)]));
        let marker = self.marked.then(|| Layer::Markers(self.style, vec![(0.5, 0.5)]));
        let mut svg = String::new();
        let sample = |svg: &mut String| -> Drawn {
            let area = SVGBackend::with_string(svg, SAMPLE).into_drawing_area();
            let mut chart =
                ChartBuilder::on(&area).build_cartesian_2d(Axis::bare(), Axis::bare())?;
            for layer in line.iter().chain(&marker) {
                draw(&mut chart, layer)?;
            }
            area.present()?;
            Ok(())
        };
        sample(&mut svg).map_err(|error| anyhow!("{}: {error}", self.name))?;
        Ok(PreEscaped(svg.replacen("<svg ", "<svg class=\"sample\" aria-hidden=\"true\" ", 1)))
    }
}

/// An SVG with its text alternative.
fn named(svg: &str, text: &str) -> Markup {
    let text = html! { (text) }.into_string();
    PreEscaped(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{text}\" "), 1))
}

fn draw(chart: &mut Context<'_, '_>, layer: &Layer) -> Drawn {
    match layer {
        Layer::Band(style, points) => {
            let low = points.iter().map(|[x, low, _]| (*x, *low));
            let high = points.iter().rev().map(|[x, _, high]| (*x, *high));
            let edge: Vec<(f64, f64)> = low.chain(high).collect();
            chart.draw_series([Polygon::new(edge, style.color.mix(0.16))])?;
        }
        Layer::Line(style, dash, points) => {
            let mut points = points.clone();
            // A dash of a line without length never ends.
            points.dedup();
            let stroke = style.color.stroke_width(5);
            let (long, gap) = match dash {
                Dash::Solid => {
                    chart.draw_series([PathElement::new(points, stroke)])?;
                    return Ok(());
                }
                Dash::Dashed => (22, 12),
                Dash::Dotted => (6, 8),
            };
            if points.len() > 1 {
                chart.draw_series([DashedPathElement::new(points, long, gap, stroke)])?;
            }
        }
        Layer::Markers(style, points) => {
            for point in points {
                let at = EmptyElement::at(*point);
                let color = style.color.filled();
                let m = MARKER;
                let polygon = |corners: Vec<(i32, i32)>| Polygon::new(corners, color);
                match style.shape {
                    0 => chart.draw_series([at + Circle::new((0, 0), m, color)])?,
                    1 => {
                        let square = vec![(-m, -m), (m, -m), (m, m), (-m, m)];
                        chart.draw_series([at + polygon(square)])?
                    }
                    2 => {
                        let triangle = vec![(0, -m - 2), (m + 2, m), (-m - 2, m)];
                        chart.draw_series([at + polygon(triangle)])?
                    }
                    3 => {
                        let diamond = vec![(0, -m - 4), (m + 4, 0), (0, m + 4), (-m - 4, 0)];
                        chart.draw_series([at + polygon(diamond)])?
                    }
                    _ => {
                        let cross = Cross::new((0, 0), m, style.color.stroke_width(5));
                        chart.draw_series([at + cross])?
                    }
                };
            }
        }
        Layer::Bars(style, bars) => {
            let bar = |[x, low, high]: &[f64; 3]| {
                PathElement::new(vec![(*x, *low), (*x, *high)], style.color.stroke_width(4))
            };
            chart.draw_series(bars.iter().map(bar))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let ticks = |range| -> Vec<String> {
            Axis::numbers("", range).ticks.into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(ticks(0.0..1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(47.0..113.0), ["60", "80", "100"]);
        assert_eq!(ticks(0.31..0.52), ["0.35", "0.40", "0.45", "0.50"]);
        assert_eq!(ticks(0.0..8000.0), ["0", "2000", "4000", "6000", "8000"]);
    }

    #[test]
    fn no_two_of_the_first_look_the_same() {
        let styles: Vec<Style> = (0..20).map(Style::nth).collect();
        for (i, a) in styles.iter().enumerate() {
            assert!(styles[..i].iter().all(|b| (a.color, a.shape) != (b.color, b.shape)));
        }
    }

    #[test]
    fn a_line_without_length_ends() {
        let style = Style::nth(0);
        let point = vec![(0.5, 0.5), (0.5, 0.5)];
        let chart = Chart {
            title: "t".into(),
            text: "a < b & \"c\"".into(),
            x: Axis::numbers("x (mm)", 0.0..1.0),
            y: Axis::numbers("y (mm)", 0.0..1.0),
            layers: vec![Layer::Line(style, Dash::Dotted, point)],
            keys: Vec::new(),
        };
        let html = chart.figure().unwrap().into_string();
        assert!(html.contains("aria-label=\"a &lt; b &amp; &quot;c&quot;\""), "{html}");
        assert!(html.contains("x (mm)") && html.contains("y (mm)"));
    }
}
