//! Intervals of the FROC curve, and of the difference of two, by LUNA16's bootstrap of scans.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Difference, Draws, Interval};
use crate::froc::{FALSE_POSITIVES_PER_SCAN, Ranking, cpm};

/// 95% intervals of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrocIntervals {
    /// Of the sensitivities at [`FALSE_POSITIVES_PER_SCAN`].
    pub sensitivities: [Interval; 7],
    /// Of the CPM.
    pub cpm: Interval,
    /// Of the curve at each of the numbers of false positives per scan that were asked for.
    pub band: Vec<Interval>,
}

/// Why two systems can't be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the two systems were not ranked on the same scans and nodules; give both the same lists")]
pub struct OtherScans;

/// Draws scans with replacement and reads each draw's curve, as LUNA16's script does
/// (`computeFROC_bootstrap`): pointwise 95% intervals at the seven numbers of false positives per
/// scan, of the CPM, and at the numbers `band`. Draws without a nodule are repeated. `None` if fewer than two
/// scans have nodules, as one tells nothing of the spread, or without resamples.
pub fn froc_intervals(
    ranking: &Ranking,
    band: &[f64],
    resamples: usize,
    seed: u64,
) -> Option<FrocIntervals> {
    if scans_with_nodules(ranking) < 2 {
        return None;
    }
    let at: Vec<f64> = FALSE_POSITIVES_PER_SCAN.iter().chain(band).copied().collect();
    let mut sensitivities = vec![Vec::with_capacity(resamples); at.len()];
    let mut cpms = Vec::with_capacity(resamples);
    let mut draws = Draws::new(ranking.scans().len(), seed);
    for _ in 0..resamples {
        let drawn = ranking.sensitivities(draws.next(|times| has_nodules(ranking, times)), &at);
        cpms.push(cpm(first_seven(&drawn)));
        for (all, one) in sensitivities.iter_mut().zip(drawn) {
            all.push(one);
        }
    }
    let intervals = sensitivities.into_iter().map(Interval::of);
    let mut intervals = intervals.collect::<Option<Vec<_>>>()?;
    let band = intervals.split_off(FALSE_POSITIVES_PER_SCAN.len());
    Some(FrocIntervals {
        sensitivities: std::array::from_fn(|i| intervals[i]),
        cpm: Interval::of(cpms)?,
        band,
    })
}

/// CPM of `a` less that of `b`, on the same draws of scans; `None` where [`froc_intervals`] has none.
///
/// # Errors
/// [`OtherScans`] if the two were ranked on different scans or nodules.
pub fn cpm_difference(
    a: &Ranking,
    b: &Ranking,
    resamples: usize,
    seed: u64,
) -> Result<Option<Difference>, OtherScans> {
    if a.scans() != b.scans() || a.nodules() != b.nodules() {
        return Err(OtherScans);
    }
    let scans = scans_with_nodules(a);
    if scans < 2 {
        return Ok(None);
    }
    let cpm_of = |system: &Ranking, times: &[u32]| {
        cpm(first_seven(&system.sensitivities(times, &FALSE_POSITIVES_PER_SCAN)))
    };
    let mut draws = Draws::new(a.scans().len(), seed);
    let resampled = (0..resamples)
        .map(|_| {
            let times = draws.next(|times| has_nodules(a, times));
            cpm_of(a, times) - cpm_of(b, times)
        })
        .collect();
    Ok(Difference::of(a.froc().cpm - b.froc().cpm, scans, resampled))
}

fn scans_with_nodules(ranking: &Ranking) -> usize {
    ranking.nodules().iter().filter(|nodules| **nodules > 0).count()
}

fn has_nodules(ranking: &Ranking, times: &[u32]) -> bool {
    ranking.nodules().iter().zip(times).any(|(n, t)| n * t > 0)
}

fn first_seven(values: &[f64]) -> [f64; 7] {
    std::array::from_fn(|i| values[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::froc::{Annotation, Mark};
    use proptest::prelude::*;

    /// `scans` scans of one nodule; the first `hit` of them are found, at falling probability.
    fn system(scans: usize, hit: usize) -> Ranking {
        let ids: Vec<String> = (0..scans).map(|i| format!("{i:03}")).collect();
        let centre_mm = [0.0; 3];
        let nodules: Vec<_> = ids
            .iter()
            .map(|id| Annotation { scan: id.clone(), centre_mm, diameter_mm: 6.0 })
            .collect();
        let mark = |(i, id): (usize, &String)| Mark {
            scan: id.clone(),
            centre_mm,
            probability: 1.0 - i as f64 / scans as f64,
        };
        let marks: Vec<_> = ids.iter().take(hit).enumerate().map(mark).collect();
        Ranking::new(&ids, &marks, &nodules, &[], 100).expect("a ranking")
    }

    #[test]
    fn the_interval_of_a_share_is_that_of_the_binomial_law() {
        // 60 of 100 found: standard error 0.049, so about 0.504 to 0.696.
        let found = froc_intervals(&system(100, 60), &[0.3], 2000, 1).expect("intervals");
        for interval in found.sensitivities.iter().chain([&found.cpm]).chain(&found.band) {
            assert!((interval.low - 0.504).abs() < 0.025, "{interval:?}");
            assert!((interval.high - 0.696).abs() < 0.025, "{interval:?}");
        }
        assert_eq!(found, froc_intervals(&system(100, 60), &[0.3], 2000, 1).expect("the same"));
    }

    #[test]
    fn without_resamples_there_is_no_interval() {
        assert_eq!(froc_intervals(&system(3, 1), &[], 0, 1), None);
        assert_eq!(cpm_difference(&system(3, 1), &system(3, 2), 0, 1), Ok(None));
    }

    #[test]
    fn a_difference_and_none() {
        let (good, same, poor) = (system(100, 70), system(100, 70), system(100, 40));
        let found = cpm_difference(&good, &poor, 1000, 1).expect("the same scans").expect("drawn");
        assert!((found.difference - 0.3).abs() < 1e-12);
        assert!(found.p < 0.01 && found.interval.low > 0.2 && found.interval.high < 0.4);
        let none = cpm_difference(&good, &same, 1000, 1).expect("the same scans").expect("drawn");
        assert!((none.p - 1.0).abs() < 1e-15 && none.difference.abs() < 1e-15);
        assert_eq!(cpm_difference(&good, &system(99, 40), 10, 1), Err(OtherScans));
    }

    /// 8 scans, of which the first so many have a nodule; one system finds all, the other none.
    fn all_and_nothing(with_nodule: usize) -> (Ranking, Ranking) {
        let ids: Vec<String> = (0..8).map(|i| i.to_string()).collect();
        let (centre_mm, diameter_mm, probability) = ([0.0; 3], 6.0, 0.5);
        let on = ids.iter().take(with_nodule).cloned();
        let nodules: Vec<_> =
            on.clone().map(|scan| Annotation { scan, centre_mm, diameter_mm }).collect();
        let marks: Vec<_> = on.map(|scan| Mark { scan, centre_mm, probability }).collect();
        let rank = |marks| Ranking::new(&ids, marks, &nodules, &[], 100).expect("a ranking");
        (rank(&marks), rank(&[]))
    }

    #[test]
    fn draws_without_a_nodule_are_repeated() {
        let (found, silent) = all_and_nothing(2);
        let intervals = froc_intervals(&found, &[], 300, 1).expect("intervals");
        assert_eq!(intervals.cpm, Interval { low: 1.0, high: 1.0 });
        let difference = cpm_difference(&found, &silent, 300, 1).expect("the same scans");
        let difference = difference.expect("drawn");
        assert_eq!(difference.interval, Interval { low: 1.0, high: 1.0 });
        assert!((difference.p - 0.5).abs() < 1e-15, "two scans have nodules, not eight");
    }

    #[test]
    fn one_scan_with_nodules_tells_nothing_of_the_spread() {
        let (found, silent) = all_and_nothing(1);
        assert_eq!(froc_intervals(&found, &[], 300, 1), None);
        assert_eq!(cpm_difference(&found, &silent, 300, 1), Ok(None));
    }

    proptest! {
        #[test]
        fn each_scan_once_is_the_curve_itself(
            marks in proptest::collection::vec((0_usize..3, any::<bool>(), 0_u8..6), 0..60),
        ) {
            let ids = ["0", "1", "2"].map(String::from);
            let nodules = ids.clone().map(|scan| Annotation {
                scan,
                centre_mm: [0.0; 3],
                diameter_mm: 6.0,
            });
            let mark = |&(scan, hits, rank): &(usize, bool, u8)| Mark {
                scan: ids[scan].clone(),
                centre_mm: [if hits { 0.0 } else { 50.0 }, 0.0, 0.0],
                probability: f64::from(rank) / 6.0,
            };
            let marks: Vec<Mark> = marks.iter().map(mark).collect();
            let ranking = Ranking::new(&ids, &marks, &nodules, &[], 100).expect("a ranking");
            let read = ranking.sensitivities(&[1; 3], &FALSE_POSITIVES_PER_SCAN);
            prop_assert_eq!(read, ranking.froc().sensitivities.to_vec());
            // The points beyond the last that is asked for are not needed.
            let read = ranking.sensitivities(&[1; 3], &[0.5]);
            prop_assert_eq!(read[0].to_bits(), ranking.froc().sensitivity_at(0.5).to_bits());
        }
    }
}
