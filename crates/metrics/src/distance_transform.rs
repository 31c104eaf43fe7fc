//! Exact Euclidean distances to a set of voxels, in time linear in the voxels.

use ndarray::{Array3, ArrayView3, ArrayViewMut1, Axis, Zip};

/// Squared distance in mm2 from every voxel's centre to the centre of the nearest voxel of `set`;
/// infinite everywhere if `set` is empty.
///
/// Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing
/// 8, 2012: axis by axis the lower envelope of parabolas, here with the spacing of each axis.
///
/// # Shapes
/// `set` and the result [z, y, x]; `spacing_mm` along the same axes.
pub fn squared_distances_mm2(set: ArrayView3<'_, bool>, spacing_mm: [f64; 3]) -> Array3<f64> {
    let mut squared = set.map(|&inside| if inside { 0.0 } else { f64::INFINITY });
    let mut envelope = Envelope::default();
    for (axis, spacing_mm) in spacing_mm.into_iter().enumerate().rev() {
        Zip::from(squared.lanes_mut(Axis(axis))).for_each(|line| envelope.lower(line, spacing_mm));
    }
    squared
}

/// Room for the parabolas of one line, kept from line to line.
#[derive(Default)]
struct Envelope {
    /// The line as it was.
    before: Vec<f64>,
    /// Parabolas of the lower envelope: index of the vertex, and from where on it is lowest, mm.
    parabolas: Vec<(usize, f64)>,
}

impl Envelope {
    /// Replaces f(p) by the minimum over q of f(q) + (spacing (p - q))^2.
    fn lower(&mut self, mut line: ArrayViewMut1<'_, f64>, spacing_mm: f64) {
        self.before.clear();
        self.before.extend(line.iter());
        self.parabolas.clear();
        let at_mm = |i: usize| i as f64 * spacing_mm;
        for (q, &height) in self.before.iter().enumerate() {
            // What is nowhere near is under no parabola.
            if height.is_infinite() {
                continue;
            }
            let mut from_mm = f64::NEG_INFINITY;
            while let Some(&(v, v_from_mm)) = self.parabolas.last() {
                // Where the parabolas of q and v meet: Eq. (1) of the paper.
                let rise = height + at_mm(q).powi(2) - self.before[v] - at_mm(v).powi(2);
                from_mm = rise / (2.0 * (at_mm(q) - at_mm(v)));
                if from_mm > v_from_mm {
                    break;
                }
                self.parabolas.pop();
                from_mm = f64::NEG_INFINITY;
            }
            self.parabolas.push((q, from_mm));
        }
        let mut lowest = 0;
        for (p, out) in line.iter_mut().enumerate() {
            while self.parabolas.get(lowest + 1).is_some_and(|&(_, from)| from < at_mm(p)) {
                lowest += 1;
            }
            if let Some(&(q, _)) = self.parabolas.get(lowest) {
                *out = self.before[q] + (at_mm(p) - at_mm(q)).powi(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_voxel_by_hand() {
        let mut set = Array3::from_elem((2, 3, 4), false);
        set[[0, 1, 1]] = true;
        let found = squared_distances_mm2(set.view(), [2.5, 0.5, 0.7]);
        for ((z, y, x), &squared) in found.indexed_iter() {
            let d = [z as f64 * 2.5, (y as f64 - 1.0) * 0.5, (x as f64 - 1.0) * 0.7];
            assert!((squared - d.iter().map(|d| d * d).sum::<f64>()).abs() < 1e-12);
        }
        let nothing = squared_distances_mm2(Array3::from_elem((1, 2, 3), false).view(), [1.0; 3]);
        assert!(nothing.iter().all(|d| d.is_infinite()));
    }

    proptest! {
        #[test]
        fn it_is_the_nearest_of_all(
            set in (1_usize..7, 1_usize..7, 1_usize..7).prop_flat_map(|shape| {
                let voxels = shape.0 * shape.1 * shape.2;
                proptest::collection::vec(proptest::bool::weighted(0.15), voxels)
                    .prop_map(move |v| Array3::from_shape_vec(shape, v).expect("as many voxels"))
            }),
            spacing_mm in proptest::array::uniform3(0.3..4.0_f64),
        ) {
            let found = squared_distances_mm2(set.view(), spacing_mm);
            for ((z, y, x), &squared) in found.indexed_iter() {
                let nearest = set.indexed_iter().filter(|(_, inside)| **inside).map(|((a, b, c), _)| {
                    let steps = [z as f64 - a as f64, y as f64 - b as f64, x as f64 - c as f64];
                    (0..3).map(|axis| (steps[axis] * spacing_mm[axis]).powi(2)).sum::<f64>()
                });
                let nearest = nearest.fold(f64::INFINITY, f64::min);
                let same = squared.is_infinite() && nearest.is_infinite();
                prop_assert!(same || (squared - nearest).abs() < 1e-9);
            }
        }
    }
}
