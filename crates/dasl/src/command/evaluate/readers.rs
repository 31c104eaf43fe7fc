//! `dasl evaluate readers`: LIDC-IDRI's readers against each other and against their consensus.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use dasl_lidc::{Outline, Reading, Rule, cluster, reader_masks};
use dasl_metrics::{SizeGroup, Spread, median};
use rayon::prelude::*;
use serde::Serialize;

use super::agreement::Agreement;
use super::rows;
use super::series::{Slices, find};
use crate::Outcome;
use crate::args::EvaluateReadersArgs;
use crate::table;

/// Dice of a group of nodules, each counted once by its own mean.
#[derive(Serialize)]
struct Group {
    name: String,
    nodules: usize,
    pairs: usize,
    /// Two readers, over nodules.
    pair_dice: Spread,
    /// The median of the same.
    pair_dice_median: Option<f64>,
    /// Two readers, every pair counted once.
    single_pair_dice: Spread,
    /// Two readers, mm.
    pair_distance_mm: Spread,
    /// A reader and the consensus of all, over nodules.
    consensus_dice: Spread,
    /// The same, every reader counted once.
    single_consensus_dice: Spread,
    /// A reader and the consensus of the others, over nodules.
    others_dice: Spread,
}

#[derive(Serialize)]
struct Evaluated {
    consensus: String,
    series: usize,
    groups: Vec<Group>,
    set_aside: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// If the readings or slices can't be read, or the tables not be written.
pub fn run(args: &EvaluateReadersArgs, json: bool) -> Result<Outcome> {
    let found = find(&args.src, args.slices.as_deref())?;
    let mut set_aside = found.set_aside;
    let each: Vec<_> = found
        .series
        .par_iter()
        .map(|(reading, slices)| agreements(reading, slices, args.rule))
        .collect();
    let mut nodules = Vec::new();
    for ((reading, _), of_series) in found.series.iter().zip(each) {
        match of_series {
            Ok(of_series) => nodules.extend(of_series),
            Err(error) => set_aside.push((reading.series_uid.clone(), error.to_string())),
        }
    }
    for (what, why) in &set_aside {
        eprintln!("set aside: {what}: {why}");
    }
    if nodules.is_empty() {
        bail!(
            "no nodule of two readers in {}; it must hold LIDC-IDRI's XML and DICOM, or name the \
             slices with --slices",
            args.src.display()
        );
    }
    let evaluated = Evaluated {
        consensus: args.rule.to_string(),
        series: found.series.len(),
        groups: groups(&nodules),
        set_aside,
    };
    if let Some(out) = &args.out {
        rows::write(out, "readers", &nodules, &evaluated)?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluated)?);
    } else {
        println!("{}", render(&evaluated));
    }
    Ok(if evaluated.set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}

/// The nodules of one series that two readers outlined.
fn agreements(reading: &Reading, slices: &Slices, rule: Rule) -> Result<Vec<Agreement>> {
    let outlines = slices.outlines(reading)?;
    let of_group = |(i, ids): (usize, &Vec<usize>)| {
        let group: Vec<&Outline> = ids.iter().map(|&id| &outlines[id]).collect();
        let read = reader_masks(&group, rule)?;
        Agreement::of(&reading.series_uid, i + 1, &read, slices.spacing_mm)
    };
    Ok(cluster(&outlines, slices.thickness_mm).iter().enumerate().filter_map(of_group).collect())
}

/// All, then by the number of readers, then by size.
fn groups(nodules: &[Agreement]) -> Vec<Group> {
    let of = |name: String, belongs: &dyn Fn(&Agreement) -> bool| {
        group(name, &nodules.iter().filter(|n| belongs(n)).collect::<Vec<_>>())
    };
    let readers: BTreeSet<usize> = nodules.iter().map(|n| n.readers).collect();
    let sizes: BTreeSet<SizeGroup> = nodules.iter().map(|n| n.size).collect();
    let mut groups = vec![of("all".into(), &|_| true)];
    groups.push(of("3 or 4 readers".into(), &|n| n.readers >= 3));
    groups.extend(readers.iter().map(|r| of(format!("{r} readers"), &|n| n.readers == *r)));
    groups.extend(sizes.iter().map(|size| of(size.to_string(), &|n| n.size == *size)));
    groups
}

fn group(name: String, nodules: &[&Agreement]) -> Group {
    let over =
        |pick: fn(&Agreement) -> f64| -> Vec<f64> { nodules.iter().map(|n| pick(n)).collect() };
    let singly = |pick: fn(&Agreement) -> &Vec<f64>| -> Vec<f64> {
        nodules.iter().flat_map(|n| pick(n)).copied().collect()
    };
    let mut sorted = over(|n| n.pair_dice);
    sorted.sort_by(f64::total_cmp);
    let pairs = singly(|n| &n.pairs);
    Group {
        name,
        nodules: nodules.len(),
        pairs: pairs.len(),
        pair_dice: Spread::of(&sorted),
        pair_dice_median: median(&sorted),
        single_pair_dice: Spread::of(&pairs),
        pair_distance_mm: Spread::of(&over(|n| n.pair_distance_mm)),
        consensus_dice: Spread::of(&over(|n| n.consensus_dice)),
        single_consensus_dice: Spread::of(&singly(|n| &n.with_consensus)),
        others_dice: Spread::of(&over(|n| n.others_dice)),
    }
}

fn render(evaluated: &Evaluated) -> String {
    let header = ["nodules", "n", "two readers", "median", "surf.", "and consensus", "and others'"];
    let spread = |s: Spread| table::mean_sd(s.mean, s.sd);
    let row = |g: &Group| {
        vec![
            g.name.clone(),
            g.nodules.to_string(),
            spread(g.pair_dice),
            g.pair_dice_median.map_or("-".into(), |m| format!("{m:.3}")),
            table::figure(g.pair_distance_mm.mean),
            spread(g.consensus_dice),
            spread(g.others_dice),
        ]
    };
    let rows: Vec<Vec<String>> = evaluated.groups.iter().map(row).collect();
    format!(
        "{}\n{} series; Dice of two readers, of a reader and the consensus of all, and of a reader and \
         the\nothers' consensus, mean +- SD over nodules; surf.: two readers, mm; consensus: {}",
        table::render(&header, &rows),
        evaluated.series,
        evaluated.consensus
    )
}
