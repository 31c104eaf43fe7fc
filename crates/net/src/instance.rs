//! What makes an instance of a map of probabilities.

use dasl_volume::components::components;
use ndarray::Array3;

/// A voxel is nodule from this probability on.
pub const MASK_THRESHOLD: f32 = 0.5;

/// A nodule is one body: what the mask holds beside the largest one is set to 0.
pub fn keep_largest_body(mask: &mut Array3<f32>) {
    let shape = [mask.shape()[0], mask.shape()[1], mask.shape()[2]];
    let inside: Vec<bool> = mask.iter().map(|&p| p >= MASK_THRESHOLD).collect();
    let bodies = components(&inside, shape);
    let Some(&(largest, _)) = bodies.by_size.first() else { return };
    for (p, body) in mask.iter_mut().zip(bodies.labels) {
        if body != 0 && body != largest {
            *p = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
