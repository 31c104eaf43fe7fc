//! Whether a detector's scores mean what they say: of the candidates with a score of 0.8, are 80%
//! nodules?

use serde::{Deserialize, Serialize};

use crate::bootstrap::Interval;
use crate::summary::{mean, ratio};

/// 0.975 quantile of the normal law.
const Z: f64 = 1.959_963_984_540_054;

/// The candidates whose scores lie in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lowest score in it.
    pub from: f64,
    /// Scores in it are below this; of the last bin it is 1, which belongs to it.
    pub to: f64,
    /// Candidates in it.
    pub candidates: usize,
    /// Those that hit.
    pub hits: usize,
    /// Mean score; `None` of an empty bin.
    pub mean_score: Option<f64>,
    /// Hits / candidates.
    pub hit_share: Option<f64>,
    /// 95% interval of the share, by Wilson's score.
    pub interval: Option<Interval>,
}

/// A reliability diagram and the figures of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Ranges of equal width from 0 to 1.
    pub bins: Vec<CalibrationBin>,
    /// Candidates.
    pub candidates: usize,
    /// Expected calibration error: the mean over candidates of how far their bin's share of hits
    /// lies from its mean score (Naeini et al., AAAI 2015).
    pub expected_error: Option<f64>,
    /// Brier score: mean squared distance of the score from 1 (a hit) or 0.
    pub brier: Option<f64>,
}

/// Holds scores against hits.
///
/// `candidates` are (score, whether it hit); a score lies between 0 and 1, one beyond counts in the
/// nearest of the `bins` ranges.
pub fn calibration(candidates: &[(f64, bool)], bins: usize) -> Calibration {
    let place = |score: f64| ((score * bins as f64) as usize).min(bins.saturating_sub(1));
    let bin = |i: usize| {
        let inside: Vec<&(f64, bool)> =
            candidates.iter().filter(|(score, _)| place(*score) == i).collect();
        let scores: Vec<f64> = inside.iter().map(|(score, _)| *score).collect();
        let hits = inside.iter().filter(|(_, hit)| *hit).count();
        CalibrationBin {
            from: i as f64 / bins as f64,
            to: (i + 1) as f64 / bins as f64,
            candidates: inside.len(),
            hits,
            mean_score: mean(&scores),
            hit_share: ratio(hits, inside.len()),
            interval: wilson(hits, inside.len()),
        }
    };
    let bins: Vec<CalibrationBin> = (0..bins).map(bin).collect();
    let off = |b: &CalibrationBin| {
        let distance = (b.hit_share? - b.mean_score?).abs();
        Some(distance * b.candidates as f64)
    };
    let squared: Vec<f64> =
        candidates.iter().map(|(score, hit)| (score - f64::from(u8::from(*hit))).powi(2)).collect();
    let all = candidates.len();
    Calibration {
        expected_error: (all > 0).then(|| bins.iter().filter_map(off).sum::<f64>() / all as f64),
        bins,
        candidates: all,
        brier: mean(&squared),
    }
}

/// Wilson's 95% interval of a share; `None` of nothing.
fn wilson(part: usize, whole: usize) -> Option<Interval> {
    let (p, n) = (ratio(part, whole)?, whole as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some(Interval {
        low: ((middle - half) / scale).max(0.0),
        high: ((middle + half) / scale).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-12)
    }

    #[test]
    fn by_hand() {
        let found = calibration(&[(0.1, false), (0.6, true), (0.8, false), (1.0, true)], 2);
        let (low, high) = (&found.bins[0], &found.bins[1]);
        assert_eq!((low.candidates, low.hits, high.candidates, high.hits), (1, 0, 3, 2));
        assert!(close(low.mean_score, 0.1) && close(high.mean_score, 0.8));
        assert!(close(high.hit_share, 2.0 / 3.0));
        // One is off by 0.1, three by 0.8 - 2/3.
        assert!(close(found.expected_error, (0.1 + 2.4 - 2.0) / 4.0));
        assert!(close(found.brier, (0.01 + 0.16 + 0.64) / 4.0));
    }

    #[test]
    fn the_interval_is_wilsons() {
        // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20.
        let of = |part, whole| wilson(part, whole).expect("an interval");
        assert!(
            (of(81, 263).low - 0.2553).abs() < 5e-5 && (of(81, 263).high - 0.3662).abs() < 5e-5
        );
        assert!(of(0, 20).low.abs() < 1e-12 && (of(0, 20).high - 0.1611).abs() < 5e-5);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn of_nothing_there_is_no_figure() {
        let found = calibration(&[], 3);
        assert_eq!((found.candidates, found.expected_error, found.brier), (0, None, None));
        assert!(found.bins.iter().all(|b| b.hit_share.is_none() && b.interval.is_none()));
    }

    proptest! {
        #[test]
        fn every_candidate_is_in_the_bin_of_its_score(
            scores in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 0..60),
            bins in 1..12_usize,
        ) {
            let found = calibration(&scores, bins);
            prop_assert_eq!(found.bins.iter().map(|b| b.candidates).sum::<usize>(), scores.len());
            for bin in &found.bins {
                if let Some(mean) = bin.mean_score {
                    prop_assert!(mean >= bin.from - 1e-12 && mean <= bin.to + 1e-12);
                }
            }
        }
    }
}
