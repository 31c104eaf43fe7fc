//! The soft parts of one patient's chest as signed distances: body, rib cage, mediastinum,
//! diaphragm, lungs.
//!
//! All lengths are an adult's millimetres in the body's frame (x to the left, y to the back,
//! z to the head, 0 in the middle of the chest); [`crate::render`] scales them.

use crate::signed_distance::{Vec3, capsule, ellipsoid, smooth_max, smooth_min, superellipse};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The measures in which patients differ.
#[derive(Debug, Clone)]
pub struct Anatomy {
    /// Seed of the grain of tissue.
    pub grain_seed: u64,
    /// Attenuation of blood, HU: 45, more with contrast medium.
    pub blood_hu: f64,
    /// Attenuation of the lung in its middle, HU.
    pub lung_hu: f64,
    /// Thickness of the fat under the skin.
    pub fat: f64,
    /// Height of the first rib's middle at y = 0.
    pub rib_phase: f64,
    /// Half width, half depth and height of the dome of the rib cage.
    cage: Vec3,
    /// Heart size, 1 on average.
    heart: f64,
    /// How far the diaphragm stands above its average.
    breath: f64,
    /// How far the mediastinum lies to the left of its average.
    shift: f64,
}

/// Signed distances of one point to the parts of the chest.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Skin surface.
    pub body: f64,
    /// Inner face of the rib cage.
    pub cage: f64,
    /// Both lungs.
    pub lung: f64,
    /// Heart muscle and chambers.
    pub heart: f64,
    /// Aorta, caval veins and pulmonary trunk.
    pub great_vessels: f64,
    /// Right dome of the diaphragm: the liver.
    pub right_dome: f64,
    /// Left dome of the diaphragm: spleen and stomach.
    pub left_dome: f64,
    /// Under the lungs' lower edge.
    pub abdomen: f64,
}

impl Anatomy {
    /// Draws a patient.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut about = |mean: f64, part: f64| mean * (1.0 + rng.random_range(-part..part));
        let cage = [about(126.0, 0.05), about(88.0, 0.06), about(112.0, 0.05)];
        let heart = about(1.0, 0.1);
        let fat = about(13.0, 0.4);
        let lung_hu = about(-860.0, 0.025);
        let contrast = rng.random_bool(0.5);
        Self {
            grain_seed: rng.random(),
            blood_hu: if contrast { rng.random_range(130.0..260.0) } else { 45.0 },
            lung_hu,
            fat,
            rib_phase: rng.random_range(0.0..28.0),
            cage,
            heart,
            breath: rng.random_range(-10.0..12.0),
            shift: rng.random_range(-4.0..4.0),
        }
    }

    /// The distances of a point.
    pub fn parts(&self, p: Vec3) -> Parts {
        let body = body(p);
        if body > FAR {
            // In the air it matters only that everything is far away.
            let [cage, lung, heart, great_vessels] = [body; 4];
            let [right_dome, left_dome, abdomen] = [body; 3];
            return Parts {
                body,
                cage,
                lung,
                heart,
                great_vessels,
                right_dome,
                left_dome,
                abdomen,
            };
        }
        let cage = self.cage(p);
        let m = [p[0] - self.shift, p[1], p[2]];
        let heart = self.heart(m);
        let great_vessels = great_vessels(m);
        let right_dome = ellipsoid(p, [-66.0, 4.0, -148.0 + self.breath], [82.0, 92.0, 92.0]);
        let left_dome = ellipsoid(p, [68.0, 6.0, -156.0 + self.breath], [80.0, 90.0, 88.0]);
        // The lungs' lower edge hangs down at the back: the sulcus behind the diaphragm.
        let abdomen = p[2] + 92.0 + 0.22 * p[1] - 0.5 * self.breath;
        let mut lung = cage;
        for (solid, rounding) in [
            (mediastinum(m), 6.0),
            (smooth_min(heart - 2.5, great_vessels - 1.5, 8.0), 8.0),
            (right_dome.min(left_dome) - 1.5, 5.0),
            (abdomen, 8.0),
        ] {
            lung = smooth_max(lung, -solid, rounding);
        }
        Parts { body, cage, lung, heart, great_vessels, right_dome, left_dome, abdomen }
    }

    /// Distance to the lungs alone.
    pub fn lung(&self, p: Vec3) -> f64 {
        self.parts(p).lung
    }

    /// Distance to the inner face of the rib cage: a stretched ellipsoid, whose ridge at
    /// the top leaves an apex on either side of the mediastinum.
    fn cage(&self, p: Vec3) -> f64 {
        let [a, b, h] = self.cage;
        let straight = 46.0;
        let x = (p[0].abs() - straight).max(0.0);
        let z = (p[2] + 12.0).max(0.0);
        // The chest narrows a little from the diaphragm up.
        let b = b * (1.0 - 0.0006 * p[2]);
        ellipsoid([x, p[1] + 1.0, z], [0.0; 3], [a - straight, b, h])
    }

    /// Right heart and left ventricle; the apex points to the left, front and feet.
    fn heart(&self, p: Vec3) -> f64 {
        let s = self.heart;
        let right = ellipsoid(p, [-4.0, -34.0, -44.0], [42.0 * s, 40.0 * s, 46.0 * s]);
        let ventricle = ellipsoid(p, [36.0, -34.0, -60.0], [46.0 * s, 38.0 * s, 38.0 * s]);
        let atrium = ellipsoid(p, [4.0, 10.0, -30.0], [34.0 * s, 20.0, 22.0]);
        smooth_min(smooth_min(right, ventricle, 12.0), atrium, 8.0)
    }
}

/// Skin surface: a flattened cylinder, its back flatter than its front.
fn body(p: Vec3) -> f64 {
    let half_width = 163.0 - 0.0009 * (p[2] - 20.0) * (p[2] - 20.0);
    let half_depth = if p[1] > 0.0 { 110.0 } else { 114.0 };
    superellipse(p[0], p[1] - 2.0, half_width, half_depth)
}

/// What parts the lungs besides heart and vessels: the fatty core, the septum behind the breast
/// bone, the spine's soft coat.
fn mediastinum(p: Vec3) -> f64 {
    let core = ellipsoid([p[0], p[1], 0.0], [1.0, 14.0, 0.0], [21.0, 62.0, 1.0]);
    let septum = (p[0] - 3.0).abs() - 3.5;
    let spine = ellipsoid([p[0], p[1], 0.0], [0.0, 72.0, 0.0], [27.0, 27.0, 1.0]);
    smooth_min(smooth_min(core, septum, 10.0), spine, 10.0)
}

/// Solids farther away than this blend into nothing.
const FAR: f64 = 25.0;

/// Aorta with its arch, caval vein, neck vessels, pulmonary trunk and arteries to the hila.
fn great_vessels(p: Vec3) -> f64 {
    const TUBES: [(Vec3, Vec3, f64); 10] = [
        ([21.0, 54.0, -140.0], [19.0, 48.0, 38.0], 12.0),
        ([19.0, 48.0, 38.0], [8.0, 8.0, 54.0], 12.5),
        ([8.0, 8.0, 54.0], [-10.0, -24.0, 42.0], 13.0),
        ([-10.0, -24.0, 42.0], [-2.0, -30.0, -15.0], 15.0),
        ([-25.0, -16.0, -30.0], [-22.0, -14.0, 60.0], 9.0),
        ([-22.0, -14.0, 60.0], [-26.0, -10.0, 130.0], 8.0),
        ([14.0, 4.0, 56.0], [25.0, 6.0, 130.0], 6.0),
        ([-6.0, -8.0, 54.0], [-14.0, 2.0, 130.0], 6.5),
        ([18.0, -34.0, -14.0], [20.0, -14.0, 16.0], 13.0),
        ([20.0, -14.0, 16.0], [44.0, 12.0, 10.0], 10.0),
    ];
    if p[0].abs() > 54.0 + FAR {
        return p[0].abs() - 54.0;
    }
    let right_artery = capsule(p, [20.0, -14.0, 10.0], [-42.0, 6.0, 0.0], 10.0);
    TUBES.iter().fold(right_artery, |d, &(a, b, r)| d.min(capsule(p, a, b, r)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn parts_lie_where_they_belong() {
        for seed in 0..20 {
            let a = Anatomy::draw(&mut ChaCha8Rng::seed_from_u64(seed));
            for side in [-80.0, 80.0] {
                assert!(a.lung([side, 10.0, 0.0]) < -8.0, "no lung at {side}");
                assert!(a.lung([side, 10.0, -119.0]) > 0.0, "lung below the diaphragm");
                assert!(a.lung([side, 10.0, 115.0]) > 0.0, "lung above the apex");
                assert!(a.lung([side * 2.0, 10.0, 0.0]) > 0.0, "lung outside the ribs");
            }
            assert!(a.lung([0.0, 10.0, 0.0]) > 5.0, "lung in the mediastinum");
            assert!(a.lung([40.0, -35.0, -55.0]) > 5.0, "lung in the heart");
            let outside = a.parts([0.0, 125.0, 0.0]);
            assert!(outside.body > 5.0 && outside.cage > outside.body);
            let far = a.parts([0.0, 150.0, 0.0]);
            assert!(far.body > FAR && far.lung > 0.0 && far.abdomen > 0.0);
        }
    }
}
