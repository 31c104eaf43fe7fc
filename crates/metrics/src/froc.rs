//! Free-response ROC under the rules of the LUNA16 challenge (Setio et al., Med. Image Anal. 42,
//! 2017, and its `noduleCADEvaluationLUNA16.py`), rule by rule:
//!
//! - a mark hits a finding if the squared distance of the centres is strictly below the squared
//!   radius; a diameter below 0 stands for 10 mm;
//! - of a scan with more marks than the cap (100), those strictly above the probability of the
//!   first mark past it are kept;
//! - of several hits on one nodule the best counts, the others are dropped, not false positives;
//!   a mark inside two nodules counts for both;
//! - a mark on an excluded finding that hits no nodule is dropped;
//! - a missed nodule stays in the denominator of the sensitivity;
//! - false positives per scan are divided by all listed scans, with or without marks; marks and
//!   findings on other scans are ignored;
//! - marks of equal probability are one operating point, between points runs a straight line,
//!   beyond the last the sensitivity stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// False positives per scan at which the sensitivity is read.
pub const FALSE_POSITIVES_PER_SCAN: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Points of a drawn curve per doubling of the false positives.
const POINTS_PER_DOUBLING: usize = 8;

/// Numbers of false positives per scan at which a curve is drawn: from the least to the most of
/// [`FALSE_POSITIVES_PER_SCAN`], evenly on a logarithmic axis.
pub fn curve_rates() -> Vec<f64> {
    let [least, .., most] = FALSE_POSITIVES_PER_SCAN;
    let doublings = (most / least).log2().round() as usize;
    let rate = |i| least * (i as f64 / POINTS_PER_DOUBLING as f64).exp2();
    (0..=doublings * POINTS_PER_DOUBLING).map(rate).collect()
}

/// LUNA16's cap on the marks of one scan.
pub const MAX_MARKS_PER_SCAN: usize = 100;

/// Diameter that stands for an unknown one (below 0), mm.
pub(crate) const UNKNOWN_DIAMETER_MM: f64 = 10.0;

/// A detector's mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The scan it is on (series instance UID or any other id).
    pub scan: String,
    /// Centre (x, y, z) in patient millimetres.
    pub centre_mm: [f64; 3],
    /// The larger, the surer. Must not be NaN.
    pub probability: f64,
}

/// A finding of the reference: a nodule, or one that is excluded from the count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// The scan it is on.
    pub scan: String,
    /// Centre (x, y, z) in patient millimetres.
    pub centre_mm: [f64; 3],
    /// Diameter in mm; below 0 means unknown and counts as 10 mm.
    pub diameter_mm: f64,
}

impl Annotation {
    fn is_hit_by(&self, mark: &Mark) -> bool {
        let diameter_mm =
            if self.diameter_mm < 0.0 { UNKNOWN_DIAMETER_MM } else { self.diameter_mm };
        let squared: f64 =
            self.centre_mm.iter().zip(&mark.centre_mm).map(|(a, b)| (a - b).powi(2)).sum();
        squared < (diameter_mm / 2.0).powi(2)
    }
}

/// Why there is no curve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrocError {
    /// Nothing to divide false positives by.
    #[error("no scan is listed; give the ids of all evaluated scans, also those without nodules")]
    NoScans,
    /// Nothing to divide hits by.
    #[error("none of the listed scans has a nodule; check that both lists write ids alike")]
    NoNodules,
    /// A probability that can't be ranked.
    #[error("a mark on scan {scan} has no number as its probability; correct the detector's list")]
    NanProbability {
        /// The scan.
        scan: String,
    },
}

/// What was counted on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrocCounts {
    /// Listed scans, each id once.
    pub scans: usize,
    /// Nodules on them.
    pub nodules: usize,
    /// Excluded findings on them.
    pub exclusions: usize,
    /// Marks on them.
    pub marks: usize,
    /// Marks left by the cap.
    pub marks_after_cap: usize,
    /// Nodules hit.
    pub true_positives: usize,
    /// Nodules missed.
    pub false_negatives: usize,
    /// Marks that hit nothing.
    pub false_positives: usize,
    /// Further marks on a nodule beside its best.
    pub duplicates: usize,
    /// Marks dropped because they lie on an excluded finding.
    pub marks_on_exclusions: usize,
    /// Marks on scans that are not listed, ignored.
    pub marks_on_other_scans: usize,
    /// Nodules on such scans, ignored.
    #[serde(default)]
    pub nodules_on_other_scans: usize,
    /// Excluded findings on such scans, ignored.
    #[serde(default)]
    pub exclusions_on_other_scans: usize,
}

/// One point of the curve: all marks at or above a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Lowest probability that counts.
    pub probability: f64,
    /// False positives per scan.
    pub false_positives_per_scan: f64,
    /// Part of all nodules that is hit.
    pub sensitivity: f64,
}

/// The curve and the figures read from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Froc {
    /// Operating points by falling probability; the origin is not among them.
    pub points: Vec<OperatingPoint>,
    /// Sensitivities at [`FALSE_POSITIVES_PER_SCAN`].
    pub sensitivities: [f64; 7],
    /// Competition performance metric: their mean.
    pub cpm: f64,
    /// What was counted.
    pub counts: FrocCounts,
}

impl Froc {
    /// Sensitivity at any number of false positives per scan, by straight lines between points.
    pub fn sensitivity_at(&self, false_positives_per_scan: f64) -> f64 {
        interpolate(&self.points, false_positives_per_scan)
    }
}

/// The marks and findings of one scan.
#[derive(Default)]
struct Scan<'a> {
    marks: Vec<&'a Mark>,
    nodules: Vec<&'a Annotation>,
    exclusions: Vec<&'a Annotation>,
}

/// A mark that counts, as a hit or as a false positive.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RankedMark {
    probability: f64,
    is_hit: bool,
    /// Index of its scan.
    scan: usize,
}

/// A detector's marks after all of LUNA16's rules but the sum: what each counts as, in which scan.
/// The curve follows from it, and so does that of any resample of the scans.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The scans' ids, sorted.
    scans: Vec<String>,
    /// Nodules of each scan.
    nodules: Vec<u32>,
    /// By falling probability.
    marks: Vec<RankedMark>,
    counts: FrocCounts,
}

impl Ranking {
    /// Decides what each mark counts as under LUNA16's rules (see the module).
    ///
    /// `scans` lists every evaluated scan; `max_marks_per_scan` is [`MAX_MARKS_PER_SCAN`] in
    /// LUNA16.
    ///
    /// # Errors
    /// If no scan is listed, no listed scan has a nodule, or a probability is NaN.
    pub fn new(
        scans: &[String],
        marks: &[Mark],
        nodules: &[Annotation],
        exclusions: &[Annotation],
        max_marks_per_scan: usize,
    ) -> Result<Self, FrocError> {
        let mut by_scan: BTreeMap<&str, Scan<'_>> =
            scans.iter().map(|id| (id.as_str(), Scan::default())).collect();
        if by_scan.is_empty() {
            return Err(FrocError::NoScans);
        }
        let mut counts = FrocCounts { scans: by_scan.len(), ..Default::default() };
        for mark in marks {
            if mark.probability.is_nan() {
                return Err(FrocError::NanProbability { scan: mark.scan.clone() });
            }
            match by_scan.get_mut(mark.scan.as_str()) {
                Some(scan) => scan.marks.push(mark),
                None => counts.marks_on_other_scans += 1,
            }
        }
        for nodule in nodules {
            match by_scan.get_mut(nodule.scan.as_str()) {
                Some(scan) => scan.nodules.push(nodule),
                None => counts.nodules_on_other_scans += 1,
            }
        }
        for exclusion in exclusions {
            match by_scan.get_mut(exclusion.scan.as_str()) {
                Some(scan) => scan.exclusions.push(exclusion),
                None => counts.exclusions_on_other_scans += 1,
            }
        }

        let mut ranked = Vec::new();
        for (index, scan) in by_scan.values_mut().enumerate() {
            counts.marks += scan.marks.len();
            cap(&mut scan.marks, max_marks_per_scan);
            counts.marks_after_cap += scan.marks.len();
            counts.nodules += scan.nodules.len();
            counts.exclusions += scan.exclusions.len();
            rank(scan, index, &mut ranked, &mut counts);
        }
        if counts.nodules == 0 {
            return Err(FrocError::NoNodules);
        }
        ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        Ok(Self {
            nodules: by_scan.values().map(|s| s.nodules.len() as u32).collect(),
            scans: by_scan.into_keys().map(str::to_owned).collect(),
            marks: ranked,
            counts,
        })
    }

    /// The curve.
    pub fn froc(&self) -> Froc {
        let points = self.points(&vec![1; self.scans.len()], f64::INFINITY);
        let sensitivities = FALSE_POSITIVES_PER_SCAN.map(|fp| interpolate(&points, fp));
        Froc { points, cpm: cpm(sensitivities), sensitivities, counts: self.counts }
    }

    /// The scans' ids, sorted.
    pub fn scans(&self) -> &[String] {
        &self.scans
    }

    /// Nodules of each scan, in the order of [`Self::scans`].
    pub fn nodules(&self) -> &[u32] {
        &self.nodules
    }

    /// The curve's height at several numbers of false positives per scan if scan i were there
    /// `times[i]` times; all 0 where that leaves no nodule.
    pub(crate) fn sensitivities(&self, times: &[u32], at: &[f64]) -> Vec<f64> {
        let points = self.points(times, at.iter().copied().fold(0.0, f64::max));
        at.iter().map(|&fp| interpolate(&points, fp)).collect()
    }

    /// One point per distinct probability, from the highest down to the first beyond `most` false
    /// positives per scan, if scan i were there `times[i]` times.
    fn points(&self, times: &[u32], most: f64) -> Vec<OperatingPoint> {
        let scans: u32 = times.iter().sum();
        let nodules: u32 = self.nodules.iter().zip(times).map(|(n, t)| n * t).sum();
        if nodules == 0 {
            return Vec::new();
        }
        let (mut hits, mut false_positives) = (0_u32, 0_u32);
        let mut points = Vec::new();
        // Sorted downwards, so what is not larger than the next is equal to it.
        for tied in self.marks.chunk_by(|a, b| a.probability <= b.probability) {
            let before = (hits, false_positives);
            for mark in tied {
                *(if mark.is_hit { &mut hits } else { &mut false_positives }) += times[mark.scan];
            }
            if before == (hits, false_positives) {
                continue;
            }
            let point = OperatingPoint {
                probability: tied[0].probability,
                false_positives_per_scan: f64::from(false_positives) / f64::from(scans),
                sensitivity: f64::from(hits) / f64::from(nodules),
            };
            points.push(point);
            if point.false_positives_per_scan > most {
                break;
            }
        }
        points
    }
}

/// The FROC curve of a detector under LUNA16's rules (see the module and [`Ranking::new`]).
///
/// # Errors
/// As [`Ranking::new`].
pub fn froc(
    scans: &[String],
    marks: &[Mark],
    nodules: &[Annotation],
    exclusions: &[Annotation],
    max_marks_per_scan: usize,
) -> Result<Froc, FrocError> {
    Ranking::new(scans, marks, nodules, exclusions, max_marks_per_scan).map(|r| r.froc())
}

/// Competition performance metric: the mean of the sensitivities at [`FALSE_POSITIVES_PER_SCAN`].
pub(crate) fn cpm(sensitivities: [f64; 7]) -> f64 {
    sensitivities.iter().sum::<f64>() / sensitivities.len() as f64
}

/// Keeps the marks strictly above the first one past the cap.
fn cap(marks: &mut Vec<&Mark>, max: usize) {
    if marks.len() > max {
        let mut probabilities: Vec<f64> = marks.iter().map(|m| m.probability).collect();
        probabilities.sort_by(|a, b| b.total_cmp(a));
        let threshold = probabilities[max];
        marks.retain(|m| m.probability > threshold);
    }
}

/// Decides what each mark of one scan counts as.
fn rank(scan: &Scan<'_>, index: usize, ranked: &mut Vec<RankedMark>, counts: &mut FrocCounts) {
    let ranks = |probability, is_hit| RankedMark { probability, is_hit, scan: index };
    let mut settled = BTreeSet::new();
    for nodule in &scan.nodules {
        let mut best: Option<f64> = None;
        for (i, mark) in scan.marks.iter().enumerate().filter(|(_, m)| nodule.is_hit_by(m)) {
            settled.insert(i);
            if let Some(before) = best {
                counts.duplicates += 1;
                best = Some(before.max(mark.probability));
            } else {
                best = Some(mark.probability);
            }
        }
        match best {
            Some(probability) => {
                counts.true_positives += 1;
                ranked.push(ranks(probability, true));
            }
            None => counts.false_negatives += 1,
        }
    }
    for (i, mark) in scan.marks.iter().enumerate() {
        if settled.contains(&i) {
            continue;
        }
        if scan.exclusions.iter().any(|e| e.is_hit_by(mark)) {
            counts.marks_on_exclusions += 1;
        } else {
            counts.false_positives += 1;
            ranked.push(ranks(mark.probability, false));
        }
    }
}

/// The curve's height at `x`: the last point at or left of `x` (the origin before all), and the
/// straight line from it to the next.
fn interpolate(points: &[OperatingPoint], x: f64) -> f64 {
    let next = points.partition_point(|p| p.false_positives_per_scan <= x);
    let (x0, y0) = match next {
        0 => (0.0, 0.0),
        n => (points[n - 1].false_positives_per_scan, points[n - 1].sensitivity),
    };
    points
        .get(next)
        .map_or(y0, |p| y0 + (p.sensitivity - y0) * (x - x0) / (p.false_positives_per_scan - x0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(scan: &str, x: f64, probability: f64) -> Mark {
        Mark { scan: scan.into(), centre_mm: [x, 0.0, 0.0], probability }
    }

    fn finding(scan: &str, x: f64, diameter_mm: f64) -> Annotation {
        Annotation { scan: scan.into(), centre_mm: [x, 0.0, 0.0], diameter_mm }
    }

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn by_hand() {
        // Two scans, three nodules. Falling probability: hit, FP, hit and FP tied, duplicate.
        let nodules = [finding("0", 0.0, 6.0), finding("0", 50.0, 6.0), finding("1", 0.0, 6.0)];
        let marks = [
            mark("0", 1.0, 0.9),
            mark("0", 20.0, 0.8),
            mark("0", 51.0, 0.5),
            mark("1", 30.0, 0.5),
            mark("0", 2.0, 0.3),
        ];
        let froc = froc(&ids(2), &marks, &nodules, &[], 100).expect("a curve");
        let expected = [(0.9, 0.0, 1.0), (0.8, 0.5, 1.0), (0.5, 1.0, 2.0)];
        assert_eq!(froc.points.len(), expected.len());
        for (point, (probability, fp, hits)) in froc.points.iter().zip(expected) {
            assert!((point.probability - probability).abs() < 1e-15);
            assert!((point.false_positives_per_scan - fp).abs() < 1e-15);
            assert!((point.sensitivity - hits / 3.0).abs() < 1e-15);
        }
        let third = 1.0 / 3.0;
        let expected = [third, third, third, 2.0 * third, 2.0 * third, 2.0 * third, 2.0 * third];
        assert!(froc.sensitivities.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((froc.sensitivity_at(0.75) - 0.5).abs() < 1e-12);
        assert!((froc.cpm - 11.0 / 21.0).abs() < 1e-12);
        let c = froc.counts;
        assert_eq!((c.true_positives, c.false_negatives, c.false_positives), (2, 1, 2));
        assert_eq!((c.duplicates, c.marks_on_exclusions), (1, 0));
    }

    #[test]
    fn the_radius_is_strict_and_unknown_is_ten() {
        let nodules = [finding("0", 0.0, 6.0), finding("0", 100.0, -1.0)];
        let marks = [mark("0", 3.0, 0.9), mark("0", 104.9, 0.9)];
        let counts = froc(&ids(1), &marks, &nodules, &[], 100).expect("a curve").counts;
        assert_eq!((counts.true_positives, counts.false_positives), (1, 1));
    }

    #[test]
    fn exclusions_drop_but_nodules_come_first() {
        let nodules = [finding("0", 0.0, 6.0), finding("0", 4.0, 6.0)];
        let exclusions = [finding("0", 2.0, 8.0), finding("0", 60.0, -1.0)];
        let marks = [mark("0", 2.0, 0.9), mark("0", 61.0, 0.8)];
        let counts = froc(&ids(1), &marks, &nodules, &exclusions, 100).expect("a curve").counts;
        // One mark inside two nodules counts for both.
        assert_eq!((counts.true_positives, counts.false_positives), (2, 0));
        assert_eq!(counts.marks_on_exclusions, 1);
    }

    #[test]
    fn the_cap_is_strictly_above_the_first_mark_past_it() {
        let nodules = [finding("0", 500.0, 6.0)];
        let probabilities = [0.9, 0.8, 0.7, 0.7, 0.6];
        let marks: Vec<_> = probabilities.iter().map(|&p| mark("0", 0.0, p)).collect();
        let kept = |max| froc(&ids(1), &marks, &nodules, &[], max).expect("a curve").counts;
        assert_eq!(kept(5).marks_after_cap, 5);
        assert_eq!(kept(4).marks_after_cap, 4);
        assert_eq!(kept(3).marks_after_cap, 2);
        assert_eq!(kept(3).marks, 5);
    }

    #[test]
    fn no_marks_no_nodules_no_scans() {
        let nodules = [finding("0", 0.0, 6.0)];
        let nothing = froc(&ids(1), &[], &nodules, &[], 100).expect("a curve");
        assert_eq!((nothing.cpm, nothing.counts.false_negatives), (0.0, 1));
        assert_eq!(froc(&[], &[], &nodules, &[], 100), Err(FrocError::NoScans));
        let elsewhere = [finding("7", 0.0, 6.0)];
        assert_eq!(froc(&ids(1), &[], &elsewhere, &[], 100), Err(FrocError::NoNodules));
        let nan = [mark("0", 0.0, f64::NAN)];
        assert!(froc(&ids(1), &nan, &nodules, &[], 100).is_err());
    }

    #[test]
    fn no_false_positive_is_a_flat_curve() {
        let nodules = [finding("0", 0.0, 6.0), finding("0", 50.0, 6.0)];
        let froc = froc(&ids(1), &[mark("0", 0.0, 0.9)], &nodules, &[], 100).expect("a curve");
        assert!(froc.sensitivities.iter().all(|s| (s - 0.5).abs() < 1e-15));
    }
}
