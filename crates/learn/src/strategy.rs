//! Which samples of the pool to have annotated.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::sample::{SampleId, SampleScore};
use crate::uncertainty::combine;

/// How the samples of an active round are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The top N by Eq. (3), uncertainty times density^beta.
    Dasl,
    /// The top N by Eq. (2), uncertainty alone.
    LeastConfidence,
    /// The top N by the mean entropy of the voxels.
    Entropy,
    /// The top N by `l_i`, the loss under the learner's own best pseudo-label (Eq. 7): a reader is
    /// asked for what self-paced learning takes last.
    LargestLoss,
    /// Suggestive annotation (Yang et al., MICCAI 2017): of the K samples on which a committee of
    /// models differs most, the N that together are most like the whole pool (see
    /// [`crate::max_cover`]).
    Suggestive,
    /// N at random.
    Random,
    /// A part of the N at random from the samples in which the learner sees foreground, the rest
    /// at random from all that remain; after nnActive's foreground-aware random sampling (Lüth et
    /// al. 2025), a strong baseline where foreground is rare.
    ForegroundAwareRandom,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Dasl,
        Self::LeastConfidence,
        Self::Entropy,
        Self::LargestLoss,
        Self::Suggestive,
        Self::Random,
        Self::ForegroundAwareRandom,
    ];

    /// Whether it asks for the density of Eq. (3).
    pub fn needs_density(self) -> bool {
        self == Self::Dasl
    }
}

/// A strategy and its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// How samples are chosen.
    pub strategy: Strategy,
    /// beta of Eq. (3).
    pub beta: f64,
    /// Part of the choice that [`Strategy::ForegroundAwareRandom`] takes from samples with
    /// foreground, in [0, 1].
    pub foreground_fraction: f64,
}

/// A sample of the pool that is like another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The sample.
    pub sample: SampleId,
    /// Cosine similarity of the two descriptors.
    pub cosine: f64,
}

/// A chosen sample and the score by which it was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The sample and what the learner thought of it.
    #[serde(flatten)]
    pub sample: SampleScore,
    /// What was ranked; `None` where chance chose.
    pub score: Option<f64>,
    /// The samples of the pool that are most like it, nearest first; none in rounds without
    /// descriptors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Neighbour>,
}

impl Choice {
    fn new(sample: &SampleScore, score: Option<f64>) -> Self {
        Self { sample: sample.clone(), score, nearest: Vec::new() }
    }
}

impl Selection {
    /// Chooses `n` samples, or all if there are fewer. Best first; of equal scores the smaller id
    /// first. The choice does not depend on the order of `pool`, only on its samples and `rng`.
    pub fn select(&self, pool: &[SampleScore], n: usize, rng: &mut ChaCha8Rng) -> Vec<Choice> {
        let mut sorted: Vec<&SampleScore> = pool.iter().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        match self.strategy {
            Strategy::Dasl => {
                top(sorted, n, |s| combine(s.uncertainty, s.density.unwrap_or(1.0), self.beta))
            }
            Strategy::LeastConfidence => top(sorted, n, |s| s.uncertainty),
            Strategy::Entropy => top(sorted, n, |s| s.entropy),
            Strategy::LargestLoss => top(sorted, n, |s| s.loss),
            // The first of its two steps: what the committee differs most on.
            Strategy::Suggestive => top(sorted, n, |s| s.variance.unwrap_or(0.0)),
            Strategy::Random => chance(draw(sorted, n, rng).0),
            Strategy::ForegroundAwareRandom => {
                let wanted = (n as f64 * self.foreground_fraction).round() as usize;
                let (with, without): (Vec<_>, Vec<_>) =
                    sorted.into_iter().partition(|s| s.foreground);
                let (mut chosen, mut rest) = draw(with, wanted.min(n), rng);
                rest.extend(without);
                rest.sort_by(|a, b| a.id.cmp(&b.id));
                chosen.extend(draw(rest, n - chosen.len(), rng).0);
                chance(chosen)
            }
        }
    }
}

fn top(sorted: Vec<&SampleScore>, n: usize, score: impl Fn(&SampleScore) -> f64) -> Vec<Choice> {
    let mut choices: Vec<Choice> =
        sorted.into_iter().map(|s| Choice::new(s, Some(score(s)))).collect();
    let by_score = |c: &Choice| c.score.unwrap_or_default();
    choices.sort_by(|a, b| {
        by_score(b).total_cmp(&by_score(a)).then_with(|| a.sample.id.cmp(&b.sample.id))
    });
    choices.truncate(n);
    choices
}

fn chance(chosen: Vec<&SampleScore>) -> Vec<Choice> {
    chosen.into_iter().map(|s| Choice::new(s, None)).collect()
}

/// Draws `n` without replacement: what is drawn, and the rest.
fn draw<'a>(
    mut from: Vec<&'a SampleScore>,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<&'a SampleScore>, Vec<&'a SampleScore>) {
    from.shuffle(rng);
    let rest = from.split_off(n.min(from.len()));
    (from, rest)
}

/// Draws the `n` samples that are annotated before any learner exists, or all if there are fewer;
/// sorted by id. Does not depend on the order of `samples`.
pub fn initial_choice(samples: &[SampleId], n: usize, rng: &mut ChaCha8Rng) -> Vec<SampleId> {
    let mut drawn = samples.to_vec();
    drawn.sort();
    drawn.shuffle(rng);
    drawn.truncate(n);
    drawn.sort();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::Strategy as _;
    use rand::SeedableRng;

    use super::Strategy;

    fn sample(id: &str, uncertainty: f64, density: f64, foreground: bool) -> SampleScore {
        SampleScore {
            id: id.into(),
            uncertainty,
            entropy: 1.0 - uncertainty,
            density: Some(density),
            variance: Some(density / 2.0),
            loss: 1.0 - density,
            foreground,
        }
    }

    fn select(strategy: Strategy, beta: f64, pool: &[SampleScore], n: usize) -> Vec<String> {
        let selection = Selection { strategy, beta, foreground_fraction: 0.66 };
        let choices = selection.select(pool, n, &mut ChaCha8Rng::seed_from_u64(3));
        choices.into_iter().map(|c| c.sample.id.to_string()).collect()
    }

    #[test]
    fn by_hand() {
        let pool = [
            sample("d", 0.2, 0.9, false),
            sample("c", 0.4, 0.25, false),
            sample("b", 0.3, 0.5, true),
            sample("a", 0.3, 0.1, true),
        ];
        // (3): 0.18, 0.1, 0.15, 0.03.
        assert_eq!(select(Strategy::Dasl, 1.0, &pool, 3), ["d", "b", "c"]);
        assert_eq!(select(Strategy::LeastConfidence, 1.0, &pool, 3), ["c", "a", "b"]);
        assert_eq!(select(Strategy::Dasl, 0.0, &pool, 3), ["c", "a", "b"]);
        assert_eq!(select(Strategy::Entropy, 1.0, &pool, 3), ["d", "a", "b"]);
        assert_eq!(select(Strategy::LargestLoss, 1.0, &pool, 3), ["a", "c", "b"]);
        assert_eq!(select(Strategy::Suggestive, 1.0, &pool, 3), ["d", "b", "c"]);
        assert_eq!(select(Strategy::Dasl, 1.0, &pool, 9).len(), 4);
        assert!(select(Strategy::Random, 1.0, &[], 2).is_empty());
    }

    #[test]
    fn foreground_aware_takes_its_part_first() {
        let pool: Vec<_> =
            (0..300).map(|i| sample(&format!("{i:03}"), 0.1, 0.5, i % 50 == 0)).collect();
        let chosen = select(Strategy::ForegroundAwareRandom, 1.0, &pool, 6);
        let foreground = |id: &String| id.parse::<usize>().is_ok_and(|i| i % 50 == 0);
        assert_eq!(chosen.len(), 6);
        assert!(chosen[..4].iter().all(foreground), "{chosen:?}");
        // Six have foreground; where more are wanted the rest is drawn from the others.
        assert_eq!(select(Strategy::ForegroundAwareRandom, 1.0, &pool, 100).len(), 100);
    }

    #[test]
    fn chance_depends_on_the_seed() {
        let ids: Vec<SampleId> = (0..100).map(|i| format!("{i:02}").into()).collect();
        let drawn = |seed| initial_choice(&ids, 10, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(drawn(1).len(), 10);
    }

    fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
        proptest::sample::select(Strategy::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn the_order_of_the_pool_does_not_matter(
            (pool, shuffled) in proptest::collection::vec((0_u8..4, 0_u8..4, any::<bool>()), 0..25)
                .prop_map(|values| values.into_iter().enumerate().map(|(i, (u, d, foreground))| {
                    sample(&format!("{i}"), f64::from(u) / 8.0, f64::from(d) / 3.0, foreground)
                }).collect::<Vec<_>>())
                .prop_flat_map(|pool| (Just(pool.clone()), Just(pool).prop_shuffle())),
            strategy in strategies(), n in 0_usize..30,
        ) {
            let chosen = select(strategy, 1.0, &pool, n);
            prop_assert_eq!(&chosen, &select(strategy, 1.0, &shuffled, n));
            prop_assert_eq!(chosen.len(), n.min(pool.len()));
            let mut distinct = chosen;
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), n.min(pool.len()));
        }
    }
}
