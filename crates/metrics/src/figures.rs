//! The figures of a group of nodules.

use serde::{Deserialize, Serialize};

use crate::measures::Measures;
use crate::summary::{mean, ratio, sample_sd};

/// Mean and sample standard deviation (n - 1); `None` where there are too few values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: Option<f64>,
    /// Sample standard deviation; from two values on.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of some values.
    pub fn of(values: &[f64]) -> Self {
        Self { mean: mean(values), sd: sample_sd(values) }
    }
}

/// One nodule as it was judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Dice; 0 for a miss.
    pub dice: f64,
    /// What was measured; `None` for a miss.
    pub measures: Option<Measures>,
}

/// Figures of a group of nodules: `dice` over all of them with a miss counted as 0, what follows
/// over those that were found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Nodules.
    pub nodules: usize,
    /// Nodules that were found.
    pub hits: usize,
    /// Hits / nodules.
    pub hit_rate: Option<f64>,
    /// Dice, a miss counted as 0.
    pub dice: Spread,
    /// Dice of the found.
    pub tp_dice: Spread,
    /// Intersection over union of the found.
    pub tp_iou: Spread,
    /// Average symmetric surface distance, mm.
    pub mean_distance_mm: Spread,
    /// 95th percentile of the surface distances, mm.
    pub hd95_mm: Spread,
    /// Error of the volume as a part of the reference's: its mean is the bias.
    pub volume_error: Spread,
    /// The same without its sign.
    pub absolute_volume_error: Spread,
    /// Error of the diameter, mm.
    pub diameter_error_mm: Spread,
    /// The same without its sign.
    pub absolute_diameter_error_mm: Spread,
}

impl Figures {
    /// Sums up nodules.
    pub fn of(nodules: &[Judged]) -> Self {
        let found: Vec<(f64, Measures)> =
            nodules.iter().filter_map(|n| Some((n.dice, n.measures?))).collect();
        let all: Vec<f64> = nodules.iter().map(|n| n.dice).collect();
        let tp_dice: Vec<f64> = found.iter().map(|(dice, _)| *dice).collect();
        let over = |pick: fn(&Measures) -> f64| {
            Spread::of(&found.iter().map(|(_, m)| pick(m)).collect::<Vec<_>>())
        };
        Self {
            nodules: all.len(),
            hits: found.len(),
            hit_rate: ratio(found.len(), all.len()),
            dice: Spread::of(&all),
            tp_dice: Spread::of(&tp_dice),
            tp_iou: over(|m| m.iou),
            mean_distance_mm: over(|m| m.surface.mean_mm),
            hd95_mm: over(|m| m.surface.hd95_mm),
            volume_error: over(|m| m.volume_error),
            absolute_volume_error: over(|m| m.volume_error.abs()),
            diameter_error_mm: over(|m| m.diameter_error_mm),
            absolute_diameter_error_mm: over(|m| m.diameter_error_mm.abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::SurfaceDistances;

    fn found(dice: f64, volume_error: f64) -> Judged {
        let measures = Measures {
            iou: dice / (2.0 - dice),
            surface: SurfaceDistances { mean_mm: 1.0 - dice, hd95_mm: 2.0 },
            reference_mm3: 100.0,
            volume_error_mm3: 100.0 * volume_error,
            volume_error,
            diameter_error_mm: volume_error,
        };
        Judged { dice, measures: Some(measures) }
    }

    #[test]
    fn a_miss_counts_in_dice_alone() {
        let miss = Judged { dice: 0.0, measures: None };
        let figures = Figures::of(&[found(0.8, 0.5), miss, found(0.6, -0.1)]);
        let close = |a: Option<f64>, b: f64| a.is_some_and(|a| (a - b).abs() < 1e-12);
        assert_eq!((figures.nodules, figures.hits), (3, 2));
        assert!(close(figures.hit_rate, 2.0 / 3.0) && close(figures.dice.mean, 1.4 / 3.0));
        assert!(close(figures.tp_dice.mean, 0.7) && close(figures.mean_distance_mm.mean, 0.3));
        assert!(close(figures.volume_error.mean, 0.2));
        assert!(close(figures.absolute_volume_error.mean, 0.3));
        assert!(close(figures.volume_error.sd, 0.18_f64.sqrt()));
        assert!(close(figures.hd95_mm.sd, 0.0));
    }

    #[test]
    fn of_nothing_there_is_no_figure() {
        let none = Figures::of(&[]);
        assert_eq!((none.nodules, none.hit_rate), (0, None));
        assert_eq!(none.dice, Spread { mean: None, sd: None });
        let miss = Figures::of(&[Judged { dice: 0.0, measures: None }]);
        assert_eq!((miss.dice.mean, miss.tp_dice.mean, miss.hd95_mm.mean), (Some(0.0), None, None));
    }
}
