//! Hounsfield units to what the network sees.

use ndarray::{Array3, ArrayView3};

/// Window that the network sees, HU.
pub const WINDOW_HU: [f32; 2] = [-1200.0, 600.0];

/// Clips to the window and scales to [-1, 1]; below -1024 is padding and counts as -1024.
///
/// # Shapes
/// [z, y, x] -> [z, y, x]
pub fn normalise(ct: ArrayView3<'_, i16>) -> Array3<f32> {
    let [low, high] = WINDOW_HU;
    ct.mapv(|hu| {
        let hu = f32::from(hu.max(dasl_volume::PADDING_HU)).clamp(low, high);
        2.0 * (hu - low) / (high - low) - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_maps_to_minus_one_to_one() {
        let ct = Array3::from_shape_vec((1, 1, 4), vec![-3000, -300, 600, 3000]).unwrap();
        let got = normalise(ct.view());
        let want = [2.0 * 176.0 / 1800.0 - 1.0, 0.0, 1.0, 1.0];
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-6, "{g} {w}");
        }
    }
}
