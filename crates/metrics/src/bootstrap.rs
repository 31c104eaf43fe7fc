//! Intervals by drawing scans with replacement, as LUNA16 does.
//!
//! What is drawn is the scan, never the nodule or the mark: those of one scan resemble each other,
//! and drawing them singly would make every interval too narrow. Two systems are compared on the
//! same draws (a paired bootstrap), so that what makes a scan hard for both cancels out.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How often LUNA16 draws.
pub const RESAMPLES: usize = 1000;

/// A 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval of resampled figures: of the sorted n the ones with index floor(0.025 n) and
    /// floor(0.975 n), as in LUNA16's script. `None` without figures.
    pub fn of(mut resampled: Vec<f64>) -> Option<Self> {
        resampled.sort_by(f64::total_cmp);
        let n = resampled.len();
        // In whole numbers: 0.975 n is not exact in floating point.
        let at = |thousandths: usize| resampled.get(n * thousandths / 1000).copied();
        Some(Self { low: at(25)?, high: at(975)? })
    }
}

/// How two systems differ on the same scans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Figure of the first system less that of the second.
    pub difference: f64,
    /// 95% interval of the difference.
    pub interval: Interval,
    /// Two-sided p of "no difference": twice the smaller share of resamples at or beyond 0 on one
    /// side, (1 + how many) / (1 + resamples), at most 1; not below 2^(1 - n) of the n scans that the
    /// figures are of, the least that a sign test of so few pairs can give.
    pub p: f64,
}

impl Difference {
    /// From the difference over `scans` scans and that of each resample; `None` without resamples.
    pub fn of(difference: f64, scans: usize, resampled: Vec<f64>) -> Option<Self> {
        let share = |side: fn(&f64) -> bool| {
            let beyond = resampled.iter().filter(|d| side(d)).count();
            (1 + beyond) as f64 / (1 + resampled.len()) as f64
        };
        let p = 2.0 * share(|d| *d <= 0.0).min(share(|d| *d >= 0.0));
        let p = p.max(2.0 * 0.5_f64.powf(scans as f64)).min(1.0);
        Some(Self { difference, p, interval: Interval::of(resampled)? })
    }
}

/// Draws of scans with replacement, the same for the same seed.
#[derive(Debug)]
pub struct Draws {
    generator: ChaCha8Rng,
    times: Vec<u32>,
}

impl Draws {
    /// Draws as many of `scans` scans as there are.
    pub fn new(scans: usize, seed: u64) -> Self {
        Self { generator: ChaCha8Rng::seed_from_u64(seed), times: vec![0; scans] }
    }

    /// How often each scan was drawn this time. Draws that `counts` refuses are repeated, for what
    /// is undefined on them (a sensitivity without nodules). `counts` must accept some draw.
    pub fn next(&mut self, counts: impl Fn(&[u32]) -> bool) -> &[u32] {
        loop {
            self.times.fill(0);
            for _ in 0..self.times.len() {
                let scan = self.generator.random_range(0..self.times.len());
                self.times[scan] += 1;
            }
            if counts(&self.times) {
                return &self.times;
            }
        }
    }
}

/// The 95% interval of the mean over all values of all scans; `None` if fewer than two scans have
/// values: one tells nothing of the spread.
pub fn mean_interval(scans: &[Vec<f64>], resamples: usize, seed: u64) -> Option<Interval> {
    if scans.iter().filter(|values| !values.is_empty()).count() < 2 {
        return None;
    }
    let sums: Vec<(f64, u32)> = scans.iter().map(|v| (v.iter().sum(), v.len() as u32)).collect();
    Interval::of(resampled_means(&sums, resamples, seed)?)
}

/// The paired difference of the mean over all pairs (first system, second system) of all scans;
/// `None` if fewer than two scans have pairs, as one tells nothing of the spread, or without resamples.
pub fn mean_difference(
    scans: &[Vec<(f64, f64)>],
    resamples: usize,
    seed: u64,
) -> Option<Difference> {
    let difference = |pairs: &Vec<(f64, f64)>| pairs.iter().map(|(a, b)| a - b).sum();
    let sums: Vec<(f64, u32)> = scans.iter().map(|s| (difference(s), s.len() as u32)).collect();
    let paired = sums.iter().filter(|(_, pairs)| *pairs > 0).count();
    if paired < 2 {
        return None;
    }
    let resampled = resampled_means(&sums, resamples, seed)?;
    Difference::of(mean_of(&sums, &vec![1; sums.len()]), paired, resampled)
}

/// Resampled means of what the scans (sum, count) hold; `None` if they hold nothing.
fn resampled_means(sums: &[(f64, u32)], resamples: usize, seed: u64) -> Option<Vec<f64>> {
    if sums.iter().all(|(_, count)| *count == 0) {
        return None;
    }
    let mut draws = Draws::new(sums.len(), seed);
    let holds_some = |times: &[u32]| sums.iter().zip(times).any(|((_, n), t)| n * t > 0);
    Some((0..resamples).map(|_| mean_of(sums, draws.next(holds_some))).collect())
}

fn mean_of(sums: &[(f64, u32)], times: &[u32]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for ((of_scan, n), t) in sums.iter().zip(times) {
        sum += of_scan * f64::from(*t);
        count += f64::from(n * t);
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_are_the_sorted_values_that_luna16_takes() {
        let thousand = Interval::of((0..1000).rev().map(f64::from).collect());
        assert_eq!(thousand, Some(Interval { low: 25.0, high: 975.0 }));
        let three = Interval::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(three, Some(Interval { low: 1.0, high: 3.0 }));
        assert_eq!(Interval::of(Vec::new()), None);
    }

    #[test]
    fn p_by_hand() {
        let resampled = [vec![-1.0; 4], vec![0.0; 5], vec![1.0; 90]].concat();
        let found = Difference::of(0.8, 40, resampled.clone()).expect("resamples");
        // At or below 0: 9 of 99.
        assert!((found.p - 2.0 * 10.0 / 100.0).abs() < 1e-15);
        let few = Difference::of(0.8, 2, resampled).expect("resamples");
        assert!((few.p - 0.5).abs() < 1e-15, "of two scans both are better by chance as often");
        let same = Difference::of(0.0, 40, vec![0.0; 50]).expect("resamples");
        assert!((same.p - 1.0).abs() < 1e-15);
        assert_eq!(Difference::of(0.0, 40, Vec::new()), None);
    }

    #[test]
    fn fewer_than_two_scans_with_values_have_no_interval() {
        assert_eq!(mean_interval(&[vec![0.2, 0.4]], 100, 1), None);
        assert_eq!(mean_interval(&[vec![], vec![0.2, 0.4]], 100, 1), None);
        assert_eq!(mean_interval(&[], 100, 1), None);
        assert_eq!(mean_interval(&[vec![], vec![]], 100, 1), None);
        assert_eq!(mean_difference(&[vec![]], 100, 1), None);
        assert_eq!(mean_difference(&[vec![], vec![(0.2, 0.4), (0.3, 0.3)]], 100, 1), None);
        // Draws without a value are repeated.
        let sparse =
            mean_interval(&[vec![], vec![0.5], vec![], vec![0.5]], 200, 1).expect("a mean");
        assert!((sparse.low - 0.5).abs() < 1e-15 && (sparse.high - 0.5).abs() < 1e-15);
    }

    #[test]
    fn the_interval_is_that_of_the_normal_law() {
        // 400 scans of one value, half 0 and half 1: the mean's standard error is 0.025.
        let scans: Vec<Vec<f64>> = (0..400).map(|i| vec![f64::from(i % 2)]).collect();
        let found = mean_interval(&scans, 4000, 3).expect("a mean");
        assert!((found.low - 0.451).abs() < 0.005, "{found:?}");
        assert!((found.high - 0.549).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn pairing_cancels_what_both_share() {
        // Scans differ much, the systems always by 0.1.
        let level = |i: i32| f64::from(i) / 40.0;
        let pairs: Vec<_> = (0..40).map(|i| vec![(level(i) + 0.1, level(i))]).collect();
        let found = mean_difference(&pairs, 500, 1).expect("pairs");
        assert!(
            (found.interval.low - 0.1).abs() < 1e-9 && (found.interval.high - 0.1).abs() < 1e-9
        );
        assert!((found.p - 2.0 / 501.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_within_the_means_of_the_scans(
            scans in proptest::collection::vec(
                proptest::collection::vec(0.0..1.0_f64, 0..4), 1..20),
            seed in any::<u64>(),
        ) {
            prop_assert_eq!(mean_interval(&scans, 200, seed), mean_interval(&scans, 200, seed));
            let mut draws = Draws::new(scans.len(), seed);
            let drawn: u32 = draws.next(|_| true).iter().sum();
            prop_assert_eq!(drawn as usize, scans.len());
            if let Some(found) = mean_interval(&scans, 200, seed) {
                let mean = |scan: &Vec<f64>| scan.iter().sum::<f64>() / scan.len() as f64;
                let means = scans.iter().filter(|scan| !scan.is_empty()).map(mean);
                let (least, most) = (means.clone().reduce(f64::min), means.reduce(f64::max));
                prop_assert!(least.expect("a scan") <= found.low + 1e-12);
                prop_assert!(found.low <= found.high);
                prop_assert!(found.high <= most.expect("a scan") + 1e-12);
            }
        }
    }
}
