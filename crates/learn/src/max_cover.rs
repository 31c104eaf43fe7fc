//! The second step of suggestive annotation (Yang et al., MICCAI 2017): of candidates, those that
//! together are most like the whole pool.

/// Chooses `n` candidates one after the other, each the one that adds most to
/// `F(S) = sum_j max_{i in S} sim(i, j)`, the similarity of every sample j of the pool to the one
/// most like it in S; F of nothing is 0, so what is unlike (a negative similarity) covers nothing.
/// Greedy choices reach at least 1 - 1/e of the best F. Of equal gains the first candidate.
///
/// Returns each choice's place among the candidates and what it added.
///
/// # Shapes
/// - `similarity`: `[candidate][sample of the pool]`
pub fn greedy(similarity: &[Vec<f64>], n: usize) -> Vec<(usize, f64)> {
    let mut covered = vec![0.0_f64; similarity.first().map_or(0, Vec::len)];
    let mut left: Vec<usize> = (0..similarity.len()).collect();
    let mut chosen = Vec::with_capacity(n.min(left.len()));
    while chosen.len() < n {
        let gain = |i: usize| -> f64 {
            similarity[i].iter().zip(&covered).map(|(s, c)| (s - c).max(0.0)).sum()
        };
        let gains = left.iter().map(|&i| gain(i)).enumerate();
        let Some((at, most)) = gains.reduce(|best, next| if next.1 > best.1 { next } else { best })
        else {
            break;
        };
        let candidate = left.remove(at);
        covered.iter_mut().zip(&similarity[candidate]).for_each(|(c, s)| *c = c.max(*s));
        chosen.push((candidate, most));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        // Candidate 0 covers samples 0 and 1, candidate 1 nearly the same, candidate 2 sample 2.
        let similarity = [vec![1.0, 0.9, 0.1], vec![0.9, 0.95, 0.1], vec![0.0, -0.5, 0.7]];
        let chosen = greedy(&similarity, 2);
        assert_eq!(chosen.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 2]);
        assert!((chosen[0].1 - 2.0).abs() < 1e-12);
        assert!((chosen[1].1 - 0.6).abs() < 1e-12);
        assert_eq!(greedy(&similarity, 9).len(), 3);
        assert!(greedy(&[], 2).is_empty());
    }

    fn cover(similarity: &[Vec<f64>], chosen: &[usize]) -> f64 {
        let best = |j: usize| chosen.iter().map(|&i| similarity[i][j]).fold(0.0, f64::max);
        (0..similarity[0].len()).map(best).sum()
    }

    proptest! {
        #[test]
        fn gains_add_up_fall_and_come_near_the_best(
            similarity in proptest::collection::vec(
                proptest::collection::vec(-1.0..=1.0_f64, 6..=6), 2..7),
        ) {
            let chosen = greedy(&similarity, 2);
            let places: Vec<usize> = chosen.iter().map(|c| c.0).collect();
            let sum: f64 = chosen.iter().map(|c| c.1).sum();
            prop_assert!((sum - cover(&similarity, &places)).abs() < 1e-12);
            prop_assert!(chosen[0].1 >= chosen[1].1 - 1e-12);
            for i in 0..similarity.len() {
                for j in 0..similarity.len() {
                    let best = cover(&similarity, &[i, j]);
                    prop_assert!(sum >= (1.0 - (-1.0_f64).exp()) * best - 1e-12);
                }
            }
        }
    }
}
