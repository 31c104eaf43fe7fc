//! What makes an instance of a map of probabilities.

use dasl_volume::components::keep_largest;
use ndarray::{Array3, Axis};

/// A voxel is nodule from this probability on.
pub const MASK_THRESHOLD: f32 = 0.5;

/// A nodule is one body: what the mask holds beside the largest one is set to 0.
pub fn keep_largest_body(mask: &mut Array3<f32>) {
    let shape = [mask.shape()[0], mask.shape()[1], mask.shape()[2]];
    let mut inside: Vec<bool> = mask.iter().map(|&p| p >= MASK_THRESHOLD).collect();
    keep_largest(&mut inside, shape);
    for (p, inside) in mask.iter_mut().zip(inside) {
        if *p >= MASK_THRESHOLD && !inside {
            *p = 0.0;
        }
    }
}

/// The voxels within `reach` voxels along each axis of an instance's border, on either side of it:
/// their number grows with its surface, not with its volume.
///
/// # Shapes
/// [z, y, x] -> [z, y, x]
pub fn border(mask: &Array3<bool>, reach: usize) -> Array3<bool> {
    let outside = mask.mapv(|inside| !inside);
    let (grown, shrunk) = (grown(mask, reach), grown(&outside, reach));
    ndarray::Zip::from(&grown).and(&shrunk).map_collect(|&a, &b| a && b)
}

/// A mask and all within `reach` voxels of it along each axis.
fn grown(mask: &Array3<bool>, reach: usize) -> Array3<bool> {
    let mut grown = mask.clone();
    for axis in 0..3 {
        for mut lane in grown.lanes_mut(Axis(axis)) {
            let before = lane.to_vec();
            for (i, voxel) in lane.iter_mut().enumerate() {
                let last = (i + reach).min(before.len() - 1);
                *voxel = before[i.saturating_sub(reach)..=last].contains(&true);
            }
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_has_both_sides_and_grows_with_the_surface() {
        let mut line = Array3::from_elem((1, 1, 8), false);
        (2..7).for_each(|x| line[[0, 0, x]] = true);
        let got = border(&line, 1).into_raw_vec_and_offset().0;
        assert_eq!(got, [0, 1, 1, 0, 0, 0, 1, 1].map(|b| b == 1));
        let cube = |edge: usize| {
            let first = (24 - edge) / 2;
            let inside = |at: usize| (first..first + edge).contains(&at);
            let cube = Array3::from_shape_fn((24, 24, 24), |(z, y, x)| {
                inside(z) && inside(y) && inside(x)
            });
            border(&cube, 1).iter().filter(|b| **b).count()
        };
        // (n + 2)^3 - (n - 2)^3
        assert_eq!((cube(4), cube(10)), (216 - 8, 1728 - 512));
        assert!(!border(&Array3::from_elem((3, 3, 3), false), 2).iter().any(|b| *b));
    }

    #[test]
    fn only_the_largest_body_of_a_mask_stays() {
        let mut mask = Array3::from_elem((1, 1, 6), 0.2);
        for (x, p) in [(0, 0.9), (2, 0.6), (3, 0.7), (5, 1.0)] {
            mask[[0, 0, x]] = p;
        }
        keep_largest_body(&mut mask);
        assert_eq!(mask.into_raw_vec_and_offset().0, vec![0.0, 0.2, 0.6, 0.7, 0.2, 0.0]);
    }
}
