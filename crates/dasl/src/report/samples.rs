//! Nodules whose places are given: how well they are outlined, whatever would have been found.

use maud::html;

use super::html::{Section, figure, mean_sd, table};
use super::run::{Found, Run};
use crate::command::evaluate::samples::SamplesGroup;

/// The section; `None` if nothing was evaluated that way.
pub fn section(runs: &[Run]) -> Option<Section> {
    let mut rows = Vec::new();
    let mut flattering = Vec::new();
    for run in runs {
        let Found::Samples(evaluation) = &run.found else { continue };
        rows.extend(evaluation.groups.iter().map(|group| row(&run.name, group)));
        if evaluation.trained_on > 0 {
            flattering.push((&run.name, evaluation.trained_on, evaluation.scans));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let header = [
        "evaluated",
        "nodules",
        "number",
        "detected",
        "Dice",
        "median",
        "Dice in the box",
        "median",
    ];
    let body = html! {
        (table("Outlines of nodules whose places are given", &header, &rows))
        @for (name, trained_on, scans) in flattering { (super::flatters(name, trained_on, scans)) }
        p.note {
            "Dice: of the mask of the best proposal near the place, whatever its score. Dice in the box: "
            "the reference's box is given, and the mask ends with it. Detected: the share whose best "
            "proposal there reaches the threshold. ± is the standard deviation over nodules."
        }
    };
    Some(Section { id: "samples", title: "Where places are given", body })
}

fn row(name: &str, group: &SamplesGroup) -> Vec<String> {
    vec![
        name.into(),
        group.name.clone(),
        group.nodules.to_string(),
        figure(Some(group.detected), 2),
        mean_sd(group.dice.mean, group.dice.sd),
        figure(group.dice_median, 2),
        mean_sd(group.box_dice.mean, group.box_dice.sd),
        figure(group.box_dice_median, 2),
    ]
}
