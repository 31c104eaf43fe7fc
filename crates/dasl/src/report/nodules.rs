//! The best, typical and worst nodules of evaluations as pictures.

use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dasl_volume::dataset::Dataset;
use dasl_volume::{CtVolume, PointMm, nifti};
use maud::{Markup, html};

use super::html::Section;
use super::run::{Found, Run};
use crate::command::evaluate::{Evaluated, Evaluation, NoduleFacts};
use crate::command::segment::PREDICTION;
use crate::outline_picture::{Outline, Picture, extent_mm, picture};
use crate::segmented_folder::LABELS;

/// Colour of the readers' consensus.
const REFERENCE: [u8; 3] = [0, 220, 235];
/// Nodules of each kind at most.
const EACH: usize = 3;
/// Bytes of pictures in a report at most; in base64 they take a third more.
const BYTES: usize = 5_000_000;
/// Length of the scale bar, mm.
const BAR_MM: f64 = 10.0;

/// A nodule of an evaluation.
struct Nodule<'a> {
    scan: &'a Evaluated,
    facts: &'a NoduleFacts,
    label: u16,
    dice: f64,
    found: bool,
}

/// The section; `None` if no nodule was evaluated.
pub fn section(runs: &[Run]) -> Option<Section> {
    let mut left = BYTES;
    let mut parts = Vec::new();
    for run in runs {
        let Found::Evaluation(evaluation) = &run.found else { continue };
        let nodules = ranked(evaluation);
        if nodules.is_empty() {
            continue;
        }
        // What the pictures need may have been moved since: the rest of the report stands.
        let part = match Sources::open(&run.path, evaluation) {
            Ok(sources) => pictures(&nodules, &sources, &mut left),
            Err(error) => html! { p.note { "No pictures: " (format!("{error:#}")) } },
        };
        parts.push((&run.name, part));
    }
    if parts.is_empty() {
        return None;
    }
    let body = html! {
        p {
            "Axial, coronal and sagittal through the middle of the nodule. "
            span.ref { "Whole line: the readers' consensus" } "; "
            span.pred { "dashed: the network" } ". R, A, H: the patient's right, front, head."
        }
        @for (name, part) in &parts {
            h3 { (name) }
            (part)
        }
    };
    Some(Section { id: "nodules", title: "Nodules", body })
}

/// All nodules, the best first; of misses the smallest first.
fn ranked(evaluation: &Evaluation) -> Vec<Nodule<'_>> {
    let mut nodules = Vec::new();
    for scan in &evaluation.scans {
        for (facts, result) in scan.facts.iter().zip(&scan.result.nodules) {
            nodules.push(Nodule {
                scan,
                facts,
                label: result.reference,
                dice: result.dice,
                found: result.prediction.is_some(),
            });
        }
    }
    nodules.sort_by(|a, b| {
        b.dice.total_cmp(&a.dice).then(a.facts.diameter_mm.total_cmp(&b.facts.diameter_mm))
    });
    nodules
}

/// Which of `n` ranked ones are shown: the first, those around the middle, the last; none twice.
fn shown(n: usize) -> Vec<(&'static str, Vec<usize>)> {
    if n < 3 {
        return vec![("All", (0..n).collect())];
    }
    if n <= 3 * EACH {
        let third = |k: usize| ((k * n).div_ceil(3)..((k + 1) * n).div_ceil(3)).collect();
        return vec![("Best", third(0)), ("Typical", third(1)), ("Worst", third(2))];
    }
    let middle = (n - EACH) / 2;
    vec![
        ("Best", (0..EACH).collect()),
        ("Typical", (middle..middle + EACH).collect()),
        // The worst first.
        ("Worst", (n - EACH..n).rev().collect()),
    ]
}

fn pictures(nodules: &[Nodule<'_>], sources: &Sources, left: &mut usize) -> Markup {
    html! {
        @for (kind, places) in shown(nodules.len()) {
            @if !places.is_empty() {
                h4 { (kind) }
                div.grid {
                    @for place in places { (figure(kind, &nodules[place], sources, left)) }
                }
            }
        }
    }
}

fn figure(kind: &str, nodule: &Nodule<'_>, sources: &Sources, left: &mut usize) -> Markup {
    let verdict =
        if nodule.found { format!("Dice {:.2}", nodule.dice) } else { "missed".to_string() };
    let title = format!(
        "{}, nodule {}, {:.1} mm, {}: {verdict}",
        nodule.scan.scan, nodule.label, nodule.facts.diameter_mm, nodule.facts.texture
    );
    let drawn = sources.picture(nodule).and_then(|picture| picture.png());
    let extent = extent_mm(nodule.facts.diameter_mm);
    let bar = 100.0 * BAR_MM / extent / 3.0;
    let png = match drawn {
        Ok(png) if png.len() <= *left => png,
        Ok(_) => return html! { p.note { (title) ": left out, to keep the file small" } },
        Err(error) => return html! { p.note { (title) ": no picture: " (format!("{error:#}")) } },
    };
    *left -= png.len();
    let alt = format!(
        "{kind} nodule: {title}. Three views of the CT, each {extent:.0} mm wide: axial, coronal and \
         sagittal, with the outlines of the readers' consensus and of the network."
    );
    html! {
        figure.ct {
            div.views {
                img alt=(alt) src={ "data:image/png;base64," (STANDARD.encode(png)) };
                span.bar style={ "left:1.5%;width:" (format!("{bar:.2}")) "%" } {
                    (format!("{BAR_MM:.0} mm"))
                }
                @for (view, [name, left, top]) in VIEWS.iter().enumerate() {
                    @let at = |percent: f64| {
                        format!("left:{:.2}%", (view as f64 * 100.0 + percent) / 3.0)
                    };
                    span style={ (at(4.0)) ";top:4%" } { (name) }
                    span style={ (at(2.0)) ";top:47%" } { (left) }
                    span style={ (at(48.0)) ";top:4%" } { (top) }
                }
            }
            figcaption { (title) }
        }
    }
}

/// The views' names, what lies at their left edge and at their upper one.
const VIEWS: [[&str; 3]; 3] = [["axial", "R", "A"], ["coronal", "R", "H"], ["sagittal", "A", "H"]];

/// Where pictures come from.
struct Sources {
    dataset: Dataset,
    predictions: std::path::PathBuf,
}

impl Sources {
    fn open(folder: &Path, evaluation: &Evaluation) -> Result<Self> {
        let dataset = Dataset::open(&folder.join(&evaluation.dataset))?;
        Ok(Self { dataset, predictions: folder.join(&evaluation.predictions) })
    }

    fn picture(&self, nodule: &Nodule<'_>) -> Result<Picture> {
        let (scan, center) = (&nodule.scan.scan, nodule.facts.center_mm);
        let extent = extent_mm(nodule.facts.diameter_mm);
        let ct = self.around(scan, center, extent)?;
        let reference = self.dataset.read_native_labels(scan)?;
        let found = self.predictions.join(&nodule.scan.folder).join(LABELS);
        let found = nifti::read_labels(&found)?;
        let outlines = [
            Outline {
                labels: &reference,
                label: Some(nodule.label),
                color: REFERENCE,
                dashed: false,
            },
            Outline { labels: &found, label: None, color: PREDICTION, dashed: true },
        ];
        Ok(picture(&ct, &outlines, center, extent))
    }

    /// The CT of the dataset around a point.
    fn around(&self, scan: &str, center: PointMm, extent_mm: f64) -> Result<CtVolume> {
        let grid = self.dataset.scan(scan)?.geometry;
        let at = grid.to_voxel(center);
        let half = grid.spacing_mm.map(|mm| (extent_mm / 2.0 / mm).ceil() as usize + 2);
        let middle = [at.z, at.y, at.x].map(|v| v.round() as i64);
        let start: [i64; 3] = std::array::from_fn(|axis| middle[axis] - half[axis] as i64);
        let shape = half.map(|h| 2 * h + 1);
        let voxels = self.dataset.read_ct(scan, start, shape)?;
        Ok(CtVolume::new(voxels, grid.crop(start, shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_typical_and_worst_are_different_nodules() {
        for n in 0..40 {
            let mut all: Vec<usize> = shown(n).into_iter().flat_map(|(_, places)| places).collect();
            all.sort_unstable();
            let count = all.len();
            all.dedup();
            assert_eq!(all.len(), count, "{n}");
            assert_eq!(count, n.min(9));
            assert!(all.iter().all(|place| *place < n));
        }
        assert_eq!(shown(100)[1].1, [48, 49, 50]);
        assert_eq!(shown(100)[2].1, [99, 98, 97]);
        assert_eq!(shown(2), [("All", vec![0, 1])]);
    }
}
