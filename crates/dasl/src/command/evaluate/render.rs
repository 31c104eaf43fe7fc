//! The figures as tables of at most 100 columns.

use dasl_metrics::{Interval, Measures};

use super::against::in_words;
use super::{Against, Evaluation, FrocCurve, Group};
use crate::table;

/// Longest name of a scan that leaves room for the figures.
const LONGEST_NAME: usize = 24;

/// Nodule by nodule, then the groups, then what is counted by scan and how it was counted.
pub fn render(evaluation: &Evaluation) -> String {
    let mut parts = Vec::new();
    let nodules = nodules(evaluation);
    if !nodules.is_empty() {
        let header = [
            "scan", "no.", "mm", "texture", "found", "Dice", "IoU", "surf.", "HD95", "vol.",
            "diam.",
        ];
        parts.push(table::render(&header, &nodules));
    }
    let header =
        ["nodules", "n", "hits", "Dice", "TP Dice", "TP IoU", "surf.", "HD95", "vol.", "diam."];
    let rows: Vec<Vec<String>> = evaluation.groups.iter().map(group).collect();
    parts.push(table::render(&header, &rows));
    parts.push(scans(evaluation));
    parts.extend(evaluation.froc.as_ref().map(froc));
    parts.extend(evaluation.against.as_ref().map(against));
    parts.push(rules(evaluation));
    parts.join("\n\n")
}

fn nodules(evaluation: &Evaluation) -> Vec<Vec<String>> {
    let of_scan = |s: &super::Evaluated| {
        let name = table::shortened(&s.scan, LONGEST_NAME);
        let each = s.result.nodules.iter().zip(&s.facts);
        each.map(|(nodule, facts)| {
            let figure = |digits: usize, pick: fn(&Measures) -> f64| {
                facts.measures.as_ref().map_or("-".into(), |m| format!("{:.digits$}", pick(m)))
            };
            let signed = |digits: usize, unit: &str, pick: fn(&Measures) -> f64| {
                facts
                    .measures
                    .as_ref()
                    .map_or("-".into(), |m| format!("{:+.digits$}{unit}", pick(m)))
            };
            vec![
                name.clone(),
                nodule.reference.to_string(),
                format!("{:.1}", facts.diameter_mm),
                facts.texture.to_string(),
                nodule.prediction.map_or("missed".into(), |p| format!("as {p}")),
                format!("{:.3}", nodule.dice),
                figure(3, |m| m.iou),
                figure(2, |m| m.surface.mean_mm),
                figure(2, |m| m.surface.hd95_mm),
                signed(0, "%", |m| 100.0 * m.volume_error),
                signed(1, "", |m| m.diameter_error_mm),
            ]
        })
        .collect::<Vec<_>>()
    };
    evaluation.scans.iter().flat_map(of_scan).collect()
}

fn group(group: &Group) -> Vec<String> {
    let f = &group.figures;
    let figure =
        |mean: Option<f64>, digits: usize| mean.map_or("-".into(), |v| format!("{v:.digits$}"));
    vec![
        group.name.clone(),
        f.nodules.to_string(),
        f.hits.to_string(),
        table::mean_sd(f.dice.mean, f.dice.sd),
        table::mean_sd(f.tp_dice.mean, f.tp_dice.sd),
        figure(f.tp_iou.mean, 3),
        figure(f.mean_distance_mm.mean, 2),
        figure(f.hd95_mm.mean, 2),
        f.volume_error.mean.map_or("-".into(), |v| format!("{:+.0}%", 100.0 * v)),
        f.diameter_error_mm.mean.map_or("-".into(), |v| format!("{v:+.1}")),
    ]
}

fn scans(evaluation: &Evaluation) -> String {
    let s = &evaluation.summary;
    let header = ["scans", "hit rate", "false positives/scan", "duplicates/scan", "ignored/scan"];
    let row = vec![
        s.scans.to_string(),
        table::figure(s.hit_rate),
        table::figure(s.false_positives_per_scan),
        table::figure(s.duplicates_per_scan),
        table::figure(s.ignored_per_scan),
    ];
    let table = table::render(&header, &[row]);
    let Some(i) = &evaluation.intervals else {
        return if s.scans == 1 { table + "\n(one scan has no intervals)" } else { table };
    };
    let ends = |interval: Option<Interval>| {
        interval.map_or("-".into(), |i| format!("{:.3} to {:.3}", i.low, i.high))
    };
    format!(
        "{table}\n95%: Dice {}, hit rate {}, false positives/scan {}\n({} resamples of the scans, seed \
         {})",
        ends(i.dice),
        ends(i.hit_rate),
        ends(i.false_positives_per_scan),
        i.resamples,
        i.seed
    )
}

fn froc(curve: &FrocCurve) -> String {
    let interval = curve
        .intervals
        .as_ref()
        .map_or(String::new(), |i| format!(" (95% {:.3} to {:.3})", i.cpm.low, i.cpm.high));
    let lowest = curve
        .lowest_score
        .map_or(String::new(), |score| format!("; candidates of a score of {score:.2} and more"));
    format!("CPM {:.3}{interval} by {}'s rules{lowest}", curve.cpm, curve.rules)
}

fn against(other: &Against) -> String {
    let s = &other.summary;
    let differences = other.differences().into_iter().filter_map(|(of, d)| Some((of, d?)));
    let lines = differences.map(|(of, d)| format!("\n  difference of {of}: {}", in_words(d)));
    format!(
        "against {}:\n  Dice {}, TP Dice {}, hit rate {}, false positives/scan {}{}",
        other.predictions.display(),
        table::mean_sd(s.dice_mean, s.dice_sd),
        table::mean_sd(s.tp_dice_mean, s.tp_dice_sd),
        table::figure(s.hit_rate),
        table::figure(s.false_positives_per_scan),
        lines.collect::<String>()
    )
}

fn rules(evaluation: &Evaluation) -> String {
    let missing = match evaluation.not_predicted.len() {
        0 => String::new(),
        n => format!("\n{n} scans without a prediction are not counted"),
    };
    format!(
        "matching: {}; consensus: {}; surf., HD95 in mm: {}\nvol., diam. (mm): prediction less \
         reference; diameter: {}\nDice counts a miss as 0, what stands right of it leaves misses \
         out{missing}",
        evaluation.matching, evaluation.consensus, evaluation.surfaces, evaluation.diameters
    )
}
