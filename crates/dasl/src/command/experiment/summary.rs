//! What an experiment says in sum: where its runs end, how much their annotations were worth on
//! the way, and which of two arms was better on the same budget and seed.

use std::collections::BTreeMap;

use dasl_metrics::Spread;

use super::Row;
use crate::experiment::ALL;
use crate::table;

/// A run's rows: arm, initial size, seed.
type Run<'a> = (&'a str, &'a str, u64);

/// The tables.
pub fn render(rows: &[Row]) -> String {
    let runs = by_run(rows);
    let mut out = ends(&runs);
    let pairs = pairs(&runs);
    if !pairs.is_empty() {
        out.push_str("\n\n");
        out.push_str(&render_pairs(&pairs));
    }
    out
}

fn by_run(rows: &[Row]) -> BTreeMap<Run<'_>, Vec<&Row>> {
    let mut runs = BTreeMap::<Run<'_>, Vec<&Row>>::new();
    for row in rows {
        runs.entry((&row.arm, &row.initial, row.seed)).or_default().push(row);
    }
    runs
}

/// Sorts sizes of the initial set by number, `all` last.
pub fn size_key(initial: &str) -> usize {
    initial.parse().unwrap_or(usize::MAX)
}

/// The last round of every arm and size, over the seeds.
fn ends(runs: &BTreeMap<Run<'_>, Vec<&Row>>) -> String {
    let mut groups = BTreeMap::<(&str, usize, &str), Vec<&Vec<&Row>>>::new();
    for ((arm, initial, _), rows) in runs {
        groups.entry((arm, size_key(initial), initial)).or_default().push(rows);
    }
    let line = |((arm, _, initial), runs): (&(&str, usize, &str), &Vec<&Vec<&Row>>)| {
        let last = || runs.iter().filter_map(|rows| rows.last());
        let dice: Vec<f64> = last().filter_map(|row| row.dice).collect();
        let spread = Spread::of(&dice);
        let areas: Vec<f64> = runs.iter().filter_map(|rows| area(&curve(rows))).collect();
        let pseudo: Vec<f64> = runs
            .iter()
            .flat_map(|rows| rows.iter().filter_map(|row| row.pseudo_precision))
            .collect();
        let annotated = last().map(|row| row.annotated).max().unwrap_or(0);
        vec![
            (*arm).to_string(),
            (*initial).to_string(),
            runs.len().to_string(),
            annotated.to_string(),
            table::mean_sd(spread.mean, spread.sd),
            figure(least(&dice)),
            figure(most(&dice)),
            figure(mean(&areas)),
            figure(mean(&pseudo)),
        ]
    };
    let header = [
        "arm",
        "initial",
        "seeds",
        "annotated",
        "Dice",
        "least",
        "most",
        "area",
        "pseudo precision",
    ];
    table::render(&header, &groups.iter().map(line).collect::<Vec<_>>())
}

/// A run's learning curve: annotated samples, and the Dice of the last round with as many.
fn curve(rows: &[&Row]) -> Vec<(usize, f64)> {
    let mut curve = BTreeMap::new();
    for row in rows {
        if let Some(dice) = row.dice {
            curve.insert(row.annotated, dice);
        }
    }
    curve.into_iter().collect()
}

/// Area under a learning curve by trapezoids, as a share of the budget between its ends: the mean
/// Dice while the annotations were spent. `None` for a run that spends none.
fn area(curve: &[(usize, f64)]) -> Option<f64> {
    let (first, last) = (curve.first()?.0, curve.last()?.0);
    let span = (last - first) as f64;
    let trapezoid = |w: &[(usize, f64)]| (w[1].0 - w[0].0) as f64 * f64::midpoint(w[0].1, w[1].1);
    (last > first).then(|| curve.windows(2).map(trapezoid).sum::<f64>() / span)
}

/// Two arms that end with as many annotations, by seed.
struct Pair {
    annotated: usize,
    /// Arm and size of its initial set.
    one: String,
    other: String,
    /// Dice at the end of the one less that of the other, a seed each.
    differences: Vec<f64>,
}

/// Every pair of arms with the same number of annotations at the end and a seed in common.
fn pairs(runs: &BTreeMap<Run<'_>, Vec<&Row>>) -> Vec<Pair> {
    let mut ends = BTreeMap::<usize, BTreeMap<(&str, usize), BTreeMap<u64, f64>>>::new();
    for ((arm, initial, seed), rows) in runs {
        if let Some((row, dice)) = rows.last().and_then(|row| Some((row, row.dice?)))
            && *initial != ALL
        {
            let arms = ends.entry(row.annotated).or_default();
            arms.entry((arm, size_key(initial))).or_default().insert(*seed, dice);
        }
    }
    let name = |(arm, initial): &(&str, usize)| format!("{arm} {initial}");
    let mut pairs = Vec::new();
    for (annotated, arms) in ends {
        let arms: Vec<_> = arms.into_iter().collect();
        for (i, (one, own)) in arms.iter().enumerate() {
            for (other, theirs) in &arms[i + 1..] {
                let differences: Vec<f64> =
                    own.iter().filter_map(|(seed, dice)| Some(dice - theirs.get(seed)?)).collect();
                if !differences.is_empty() {
                    let (one, other) = (name(one), name(other));
                    pairs.push(Pair { annotated, one, other, differences });
                }
            }
        }
    }
    pairs
}

fn render_pairs(pairs: &[Pair]) -> String {
    let line = |pair: &Pair| {
        let better = pair.differences.iter().filter(|d| **d > 0.0).count();
        vec![
            pair.annotated.to_string(),
            pair.one.clone(),
            pair.other.clone(),
            mean_and_error(&pair.differences),
            signed(least(&pair.differences)),
            signed(most(&pair.differences)),
            format!("{better} of {}", pair.differences.len()),
        ]
    };
    let header =
        ["annotated", "arm, initial", "less", "Dice +- SE", "least", "most", "better on seeds"];
    table::render(&header, &pairs.iter().map(line).collect::<Vec<_>>())
}

fn signed(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:+.3}"))
}

/// The mean of differences and its standard error, which takes two.
fn mean_and_error(differences: &[f64]) -> String {
    let spread = Spread::of(differences);
    let error = spread.sd.map(|sd| format!(" +- {:.3}", sd / (differences.len() as f64).sqrt()));
    signed(spread.mean) + &error.unwrap_or_default()
}

fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    Spread::of(values).mean
}

fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_error_by_hand() {
        // SD of 0.01, 0.02, 0.03 is 0.01; over the root of 3.
        assert_eq!(mean_and_error(&[0.01, 0.02, 0.03]), "+0.020 +- 0.006");
        assert_eq!(mean_and_error(&[-0.01]), "-0.010");
    }

    #[test]
    fn one_arm_of_two_sizes_is_two_arms() {
        let row = |arm: &str, initial: &str, dice| {
            let text = format!(
                "arm,initial,seed,round,kind,annotated,foreground_voxels,dice,tp_dice,hit_rate,\
                 mask_dice,validation_dice,lambda,pseudo,weight_sum,pseudo_right,pseudo_precision,\
                 pseudo_dice,seconds\n{arm},{initial},1,0,initial,150,0,{dice},,,,0,0,0,0,,,,\n"
            );
            csv::Reader::from_reader(text.as_bytes()).deserialize().next().unwrap().unwrap()
        };
        let rows: Vec<Row> =
            vec![row("spl", "50", 0.5), row("spl", "150", 0.75), row("al", "50", 0.5)];
        let found = pairs(&by_run(&rows));
        let named: Vec<(&str, &str)> =
            found.iter().map(|pair| (pair.one.as_str(), pair.other.as_str())).collect();
        assert_eq!(named, [("al 50", "spl 50"), ("al 50", "spl 150"), ("spl 50", "spl 150")]);
        assert_eq!(found[2].differences, [-0.25]);
    }

    #[test]
    fn area_by_hand() {
        // 20 of 0.55, 40 of 0.7: (11 + 28) / 60.
        let curve = [(50, 0.5), (70, 0.6), (110, 0.8)];
        assert!((area(&curve).unwrap() - 0.65).abs() < 1e-12);
        assert_eq!(area(&curve[..1]), None);
        assert_eq!(area(&[]), None);
    }
}
