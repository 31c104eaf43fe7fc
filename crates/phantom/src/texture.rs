//! Grain: smooth random fields for tissue, and the noise of the scanner.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Smooth noise in [-1, 1] that depends on nothing but the point and the seed: random values on
/// a grid of pitch 1, joined by smoothed trilinear interpolation.
pub fn value_noise(p: [f64; 3], seed: u64) -> f64 {
    let cell = p.map(f64::floor);
    let f = [p[0] - cell[0], p[1] - cell[1], p[2] - cell[2]].map(|t| t * t * (3.0 - 2.0 * t));
    let i = cell.map(|c| c as i64);
    let at = |dx: i64, dy: i64, dz: i64| lattice(i[0] + dx, i[1] + dy, i[2] + dz, seed);
    let row = |dy, dz| at(0, dy, dz) + (at(1, dy, dz) - at(0, dy, dz)) * f[0];
    let plane = |dz| row(0, dz) + (row(1, dz) - row(0, dz)) * f[1];
    plane(0) + (plane(1) - plane(0)) * f[2]
}

/// The random value of a grid point, in [-1, 1]: a finaliser in the manner of splitmix64.
fn lattice(x: i64, y: i64, z: i64, seed: u64) -> f64 {
    let mut h = seed
        ^ (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ (z as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Scanner noise of one slice, [rows, columns] row by row: near Gaussian, standard deviation
/// `sigma`, neighbours correlated as a soft reconstruction kernel leaves them.
pub fn slice_noise(rows: usize, columns: usize, sigma: f64, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (wide, high) = (columns + 2, rows + 2);
    let white: Vec<f32> = (0..wide * high).map(|_| bell(&mut rng)).collect();
    // Weights [1 2 1]/4 leave 6/16 of the variance along each axis.
    let gain = sigma as f32 * 16.0 / 6.0;
    let across = |i: usize| 0.25 * (white[i] + 2.0 * white[i + 1] + white[i + 2]);
    let smooth: Vec<f32> =
        (0..high * columns).map(|i| across(i / columns * wide + i % columns)).collect();
    (0..rows * columns)
        .map(|i| gain * 0.25 * (smooth[i] + 2.0 * smooth[i + columns] + smooth[i + 2 * columns]))
        .collect()
}

/// A near Gaussian number of variance 1: eight 16-bit uniforms added up. Sums instead of
/// logarithms: the bytes do not depend on the system's mathematics library.
fn bell(rng: &mut ChaCha8Rng) -> f32 {
    let mut sum = 0u64;
    for _ in 0..2 {
        let word = rng.next_u64();
        for shift in [0, 16, 32, 48] {
            sum += (word >> shift) & 0xFFFF;
        }
    }
    // Mean 8 * 65535 / 2, variance 8 * 65536^2 / 12.
    (sum as f32 - 262_140.0) / (65_536.0 * 0.816_496_6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanner_noise_has_the_asked_spread_and_no_offset() {
        let noise = slice_noise(200, 300, 20.0, 7);
        let n = noise.len() as f64;
        let mean = noise.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let sd =
            (noise.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n - mean * mean).sqrt();
        assert!(mean.abs() < 0.6, "mean {mean}");
        assert!((sd - 20.0).abs() < 0.5, "sd {sd}");
        assert_ne!(noise, slice_noise(200, 300, 20.0, 8));
    }

    #[test]
    fn tissue_grain_is_smooth_and_bounded() {
        let mut last = value_noise([0.0, 0.3, 0.6], 3);
        let (mut low, mut high) = (last, last);
        for step in 1..4000 {
            let next = value_noise([f64::from(step) * 0.01, 0.3, 0.6], 3);
            assert!((next - last).abs() < 0.05, "jump at {step}");
            (low, high, last) = (low.min(next), high.max(next), next);
        }
        assert!(low >= -1.0 && high <= 1.0 && high - low > 0.5);
    }
}
