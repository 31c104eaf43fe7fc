//! How much a sample is like the rest of the pool: the second factor of Eq. (3),
//! `(sum_j cos(P_d, P_j) - 1) / (D - 1)`, without the D x D matrix.
//!
//! `sum_j cos(P_d, P_j) = unit(P_d) . sum_j unit(P_j)`: a first pass over the pool adds up the
//! unit vectors, a second one takes the products; time is linear in D, memory is one vector and one
//! number a sample.

use rayon::prelude::*;

/// Sum of the unit vectors of a pool, in double precision, and how long each vector was.
#[derive(Debug, Clone, Default)]
pub struct UnitSum {
    sum: Vec<f64>,
    norms: Vec<f64>,
}

impl UnitSum {
    /// The sum over no vector.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one vector of the pool (first pass), of at least one number. A zero vector counts as a
    /// sample but has no direction and adds nothing. All vectors of a pool have one length; a
    /// longer one is as if the others ended in zeros.
    pub fn add(&mut self, vector: &[f32]) {
        self.add_all(vector, vector.len());
    }

    /// Adds vectors of one length that lie one after the other. Every number is added up in the
    /// order of the vectors, whatever the number of threads.
    pub(crate) fn add_all(&mut self, vectors: &[f32], length: usize) {
        if self.sum.len() < length {
            self.sum.resize(length, 0.0);
        }
        let before = self.norms.len();
        self.norms.par_extend(vectors.par_chunks(length).map(|v| dot(v, v).sqrt()));
        let norms = &self.norms[before..];
        let parts = self.sum[..length].par_chunks_mut(PART).enumerate();
        parts.for_each(|(part, sum)| {
            for (vector, norm) in vectors.chunks(length).zip(norms) {
                let scale = if *norm == 0.0 { 0.0 } else { 1.0 / norm };
                for (sum, &x) in sum.iter_mut().zip(&vector[part * PART..]) {
                    *sum += f64::from(x) * scale;
                }
            }
        });
    }

    /// Vectors added.
    pub(crate) fn count(&self) -> usize {
        self.norms.len()
    }

    /// Length of a vector, by its place among those added.
    pub(crate) fn norm(&self, place: usize) -> f64 {
        self.norms[place]
    }

    /// Density of one vector of the pool (second pass), which was the one added at `place`: its mean
    /// cosine similarity to all others, in [-1, 1].
    ///
    /// The 1 that Eq. (3) takes off is the similarity of the sample to itself; of a zero vector,
    /// whose cosine with anything is 0 by convention, nothing is taken off, so its density is 0. A
    /// pool of one (D = 1, where Eq. (3) is 0/0) has density 1: it stands for the whole pool.
    pub fn density(&self, place: usize, vector: &[f32]) -> f64 {
        if self.count() <= 1 {
            return 1.0;
        }
        let norm = self.norm(place);
        if norm == 0.0 {
            return 0.0;
        }
        ((dot(&self.sum, vector) / norm - 1.0) / (self.count() - 1) as f64).clamp(-1.0, 1.0)
    }
}

/// Numbers that one task adds up.
const PART: usize = 1 << 12;
/// Partial sums that a processor adds side by side; their number fixes the order of addition.
const LANES: usize = 16;

/// Product of two vectors, in double precision; the longer one is as if it ended with the shorter.
pub(crate) fn dot<T: Copy + Into<f64>>(a: &[T], b: &[f32]) -> f64 {
    let both = a.len().min(b.len());
    let (a, b) = (&a[..both], &b[..both]);
    let mut lanes = [0.0; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    let rest: f64 = rest.map(|(&x, &y)| x.into() * f64::from(y)).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(a).zip(b) {
            *lane += x.into() * f64::from(y);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn densities(pool: &[Vec<f32>]) -> Vec<f64> {
        let mut sum = UnitSum::new();
        for p in pool {
            sum.add(p);
        }
        pool.iter().enumerate().map(|(place, p)| sum.density(place, p)).collect()
    }

    /// Eq. (3) as it is written: all D x D similarities.
    fn by_definition(pool: &[Vec<f32>]) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        let cosine = |a: &[f32], b: &[f32]| {
            let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
            if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
        };
        pool.iter()
            .map(|d| {
                let sum: f64 = pool.iter().map(|j| cosine(d, j)).sum();
                (sum - cosine(d, d)) / (pool.len() - 1) as f64
            })
            .collect()
    }

    #[test]
    fn by_hand() {
        // Cosines: (a, b) = 0, (a, c) = (b, c) = 1/sqrt 2.
        let found = densities(&[vec![2.0, 0.0], vec![0.0, 0.5], vec![3.0, 3.0]]);
        let half = 0.5_f64.sqrt();
        for (found, expected) in found.iter().zip([half / 2.0, half / 2.0, half]) {
            assert!((found - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn one_alone_zero_vectors_and_opposites() {
        assert_eq!(densities(&[vec![1.0, 2.0]]), [1.0]);
        assert_eq!(densities(&[vec![0.0, 0.0]]), [1.0]);
        assert_eq!(densities(&[vec![0.0, 0.0], vec![1.0, 0.0], vec![1.0, 0.0]]), [0.0, 0.5, 0.5]);
        assert_eq!(densities(&[vec![1.0], vec![-1.0]]), [-1.0, -1.0]);
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            pool in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![Just(0.0_f32), -10.0_f32..10.0], 4..=4), 2..20),
        ) {
            for (fast, slow) in densities(&pool).iter().zip(by_definition(&pool)) {
                prop_assert!((fast - slow).abs() < 1e-12, "{} is not {}", fast, slow);
            }
        }

        #[test]
        fn length_of_a_vector_does_not_matter(
            pool in proptest::collection::vec(
                proptest::collection::vec(0.01_f32..1.0, 5..=5), 2..10),
        ) {
            let scaled: Vec<Vec<f32>> =
                pool.iter().map(|v| v.iter().map(|x| x * 4.0).collect()).collect();
            for (a, b) in densities(&pool).iter().zip(densities(&scaled)) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
