//! What a reader is given of a sample.

use dasl_learn::Request;
use dasl_learn::oracle::Question;
use dasl_learn::strategy::{Neighbour, Strategy};
use dasl_learn::{RoundKind, SampleId};
use dasl_volume::Geometry;
use serde::Serialize;

/// `ID.json`.
#[derive(Debug, Serialize)]
pub struct QuestionFile<'a> {
    sample: &'a SampleId,
    to_do: String,
    image: String,
    /// The image's grid.
    grid: Geometry,
    /// The network's present mask; none before it is trained.
    current: Option<String>,
    round: usize,
    kind: RoundKind,
    why: &'static str,
    strategy: Option<Strategy>,
    score: Option<f64>,
    uncertainty: Option<f64>,
    entropy: Option<f64>,
    density: Option<f64>,
    variance: Option<f64>,
    loss: Option<f64>,
    nearest: &'a [Neighbour],
}

impl<'a> QuestionFile<'a> {
    /// The file of a question; `file` is the sample's name as that of a file.
    pub fn new(
        request: &Request,
        question: &'a Question,
        file: &str,
        grid: Geometry,
        trained: bool,
    ) -> Self {
        let choice = question.choice.as_ref();
        let seen = choice.map(|c| &c.sample);
        Self {
            sample: &question.sample,
            to_do: format!(
                "Outline every nodule in {file}.image.nii.gz. Save the mask on the image's grid \
                 as {file}.mask.nii.gz: 0 outside, 1 in the first nodule, 2 in the second and so \
                 on. If there is none, make an empty file {file}.empty in its place; if it can't be \
                 judged, {file}.declined: then it is not asked again and not trained on."
            ),
            image: format!("{file}.image.nii.gz"),
            grid,
            current: trained.then(|| format!("{file}.current.nii.gz")),
            round: request.round,
            kind: request.kind,
            why: match choice {
                None => "drawn by chance for the initial training",
                Some(c) if c.score.is_none() => "drawn by chance, as the strategy says",
                Some(_) => "among the highest scores of the strategy",
            },
            strategy: choice.map(|_| request.strategy),
            score: choice.and_then(|c| c.score),
            uncertainty: seen.map(|s| s.uncertainty),
            entropy: seen.map(|s| s.entropy),
            density: seen.and_then(|s| s.density),
            variance: seen.and_then(|s| s.variance),
            loss: seen.map(|s| s.loss),
            nearest: choice.map_or(&[], |c| &c.nearest),
        }
    }
}
