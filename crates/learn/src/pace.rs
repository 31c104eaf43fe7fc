//! The pace lambda of self-paced learning, Eq. (9).

use serde::{Deserialize, Serialize};

/// Pace lambda^t at iteration t.
///
/// The paper leaves open what t counts. Here it counts the self-paced rounds of the whole run:
/// the first works with lambda^0, and the accuracy after each gives the pace of the next. Active
/// rounds leave the pace alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// lambda^t.
    pub lambda: f64,
    /// t.
    pub iteration: usize,
}

impl Pace {
    /// lambda^0 at t = 0.
    pub fn new(lambda_0: f64) -> Self {
        Self { lambda: lambda_0, iteration: 0 }
    }

    /// Eq. (9): lambda^t = lambda^(t-1) + alpha eta^t if 1 <= t < tau, lambda^(t-1) if t >= tau.
    /// `eta` is the average accuracy in the iteration that has just ended.
    #[must_use]
    pub fn next(self, alpha: f64, eta: f64, tau: usize) -> Self {
        let iteration = self.iteration + 1;
        let step = if iteration < tau { alpha * eta } else { 0.0 };
        Self { lambda: self.lambda + step, iteration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let accuracies = [0.5, 1.0, 0.75, 0.9, 0.9];
        let mut pace = Pace::new(0.005);
        let mut lambdas = vec![pace.lambda];
        for eta in accuracies {
            pace = pace.next(0.002, eta, 4);
            lambdas.push(pace.lambda);
        }
        // t = 1, 2, 3 are below tau = 4; t = 4, 5 are not.
        let expected = [0.005, 0.006, 0.008, 0.0095, 0.0095, 0.0095];
        assert!(lambdas.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{lambdas:?}");
    }

    proptest! {
        #[test]
        fn never_falls_and_stands_still_from_tau_on(
            etas in proptest::collection::vec(0.0..=1.0_f64, 1..20), tau in 0_usize..10,
        ) {
            let mut pace = Pace::new(0.005);
            for eta in etas {
                let next = pace.next(0.002, eta, tau);
                prop_assert!(next.lambda >= pace.lambda);
                let stands = next.lambda.to_bits() == pace.lambda.to_bits();
                prop_assert!(next.iteration < tau || stands);
                pace = next;
            }
        }
    }
}
