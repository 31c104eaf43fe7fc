//! The results of evaluations in a table.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;

use dasl_metrics::Interval;
use maud::html;

use super::html::{Section, figure, mean_sd, table};
use super::run::Run;
use super::{evaluations, flatters};
use crate::command::evaluate::{Against, in_words};

/// The folder's name.
fn name_of(against: &Against) -> Cow<'_, str> {
    against.predictions.file_name().map_or(Cow::Borrowed("."), OsStr::to_string_lossy)
}

/// The section; `None` if nothing was evaluated.
pub fn section(runs: &[Run]) -> Option<Section> {
    let all = evaluations(runs);
    if all.is_empty() {
        return None;
    }
    let ends = |value: String, interval: Option<Interval>| match interval {
        Some(i) => format!("{value} ({:.2} to {:.2})", i.low, i.high),
        None => value,
    };
    let other = |against: &Against| {
        let s = &against.summary;
        vec![
            format!("against {}", name_of(against)),
            s.scans.to_string(),
            s.nodules.to_string(),
            figure(s.dice_mean, 2),
            mean_sd(s.tp_dice_mean, s.tp_dice_sd),
            figure(s.hit_rate, 2),
            figure(s.false_positives_per_scan, 2),
            figure(against.cpm, 2),
        ]
    };
    let rows = all.iter().flat_map(|(name, evaluation)| {
        let s = &evaluation.summary;
        let i = evaluation.intervals.as_ref();
        let froc = evaluation.froc.as_ref();
        let own = vec![
            (*name).to_string(),
            s.scans.to_string(),
            s.nodules.to_string(),
            ends(figure(s.dice_mean, 2), i.and_then(|i| i.dice)),
            mean_sd(s.tp_dice_mean, s.tp_dice_sd),
            ends(figure(s.hit_rate, 2), i.and_then(|i| i.hit_rate)),
            ends(figure(s.false_positives_per_scan, 2), i.and_then(|i| i.false_positives_per_scan)),
            ends(
                figure(froc.map(|f| f.cpm), 2),
                froc.and_then(|f| f.intervals.as_ref()).map(|i| i.cpm),
            ),
        ];
        [own].into_iter().chain(evaluation.against.as_ref().map(other))
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header = [
        "evaluated",
        "scans",
        "nodules",
        "Dice (a miss is 0)",
        "TP Dice",
        "hit rate",
        "false positives/scan",
        "CPM",
    ];
    let scans = |i: usize| all[i].1.scans.iter().map(|s| &s.scan).collect::<Vec<_>>();
    let differ = (1..all.len()).any(|i| scans(i) != scans(0));
    let rules: BTreeSet<_> = all.iter().map(|(_, e)| (&e.matching, &e.consensus)).collect();
    let body = html! {
        (table("Results", &header, &rows))
        @if differ { p { strong { "The evaluations are of different scans." } } }
        p.note {
            @if all.iter().any(|(_, evaluation)| evaluation.intervals.is_some()) {
                "In brackets 95% intervals, from draws of scans with replacement. "
            }
            "± is the standard deviation over nodules. CPM: mean sensitivity at 1/8 to 8 false positives "
            "per scan, by LUNA16's rules."
            @if let Some((matching, consensus)) = rules.first().filter(|_| rules.len() == 1) {
                " Matching rule: " (matching) ". Consensus: " (consensus) "."
            }
        }
        @if rules.len() > 1 {
            p { strong { "The evaluations are by different rules." } }
            @for (name, e) in &all {
                p.note { (name) ": matching rule " (e.matching) ", consensus " (e.consensus) "." }
            }
        }
        @for (name, against) in all.iter().filter_map(|(n, e)| Some((n, e.against.as_ref()?))) {
            @for (of, d) in against.differences().into_iter().filter_map(|(of, d)| Some((of, d?))) {
                p.note {
                    (name) " less " (name_of(against)) ", " (of) ": " (in_words(d)) "."
                }
            }
        }
        @for (name, evaluation) in &all {
            @let trained_on = evaluation.scans.iter().filter(|scan| scan.trained_on).count();
            @if trained_on > 0 { (flatters(name, trained_on, evaluation.scans.len())) }
            @if !evaluation.not_predicted.is_empty() {
                p.note {
                    (name) ": " (evaluation.not_predicted.len())
                    " scans of the dataset were not predicted and are not counted."
                }
            }
        }
    };
    Some(Section { id: "results", title: "Results", body })
}
