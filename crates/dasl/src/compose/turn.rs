//! Ways to turn a nodule that keep its slices slices.

use ndarray::{Array3, Axis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// One of the 16 symmetries of the grid that map slices on slices. The other 32 would lay the
/// blur of thick slices across the slices of the background, where no scanner leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Rows become columns.
    pub transposed: bool,
    /// Mirrored along [z, y, x].
    pub mirrored: [bool; 3],
}

impl Turn {
    /// Draws one, all alike.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self { transposed: rng.random(), mirrored: [rng.random(), rng.random(), rng.random()] }
    }

    /// Turns an array [z, y, x].
    pub fn apply<T: Clone>(self, array: &Array3<T>) -> Array3<T> {
        let mut view = array.view();
        if self.transposed {
            view.swap_axes(1, 2);
        }
        for axis in (0..3).filter(|axis| self.mirrored[*axis]) {
            view.invert_axis(Axis(axis));
        }
        view.as_standard_layout().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_16_and_slices_stay_slices() {
        let array = Array3::from_shape_fn((2, 3, 3), |(z, y, x)| 9 * z + 3 * y + x);
        let mut seen = BTreeSet::new();
        for bits in 0..16 {
            let bit = |i: usize| bits >> i & 1 == 1;
            let turn = Turn { transposed: bit(0), mirrored: [bit(1), bit(2), bit(3)] };
            let turned = turn.apply(&array);
            let slices: Vec<_> = turned.outer_iter().map(|s| s[[0, 0]] / 9).collect();
            assert!(turned.outer_iter().zip(slices).all(|(s, z)| s.iter().all(|v| v / 9 == z)));
            seen.insert(turned.into_raw_vec_and_offset().0);
        }
        assert_eq!(seen.len(), 16);
    }
}
