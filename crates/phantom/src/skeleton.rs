//! Bones: ribs as tilted rings, vertebrae, breast bone, shoulder blades; adult millimetres.

use crate::anatomy::{Anatomy, Parts};
use crate::signed_distance::{Vec3, capsule, coverage, ellipsoid, mix};

/// Distance between ribs, and between vertebrae.
const LEVEL: f64 = 28.0;
/// How much a rib climbs towards the back, mm per mm.
const RIB_TILT: f64 = 0.45;
const CORTEX_HU: f64 = 750.0;
const MARROW_HU: f64 = 190.0;
const CARTILAGE_HU: f64 = 110.0;
const DISC_HU: f64 = 90.0;
const CORD_HU: f64 = 30.0;

/// Lays the bones at `p` over the tissue `hu`; voxels are `edge` wide.
pub fn over(hu: f64, anatomy: &Anatomy, parts: &Parts, p: Vec3, edge: f64) -> f64 {
    let mut hu = hu;
    if parts.body > -3.0 {
        return hu;
    }
    if parts.cage > -4.0 && parts.cage < 26.0 {
        hu = rib(hu, anatomy, parts, p, edge);
        let blade = shoulder_blade(parts, p);
        hu = bone(hu, blade, 1.2, edge);
    }
    if p[0].abs() < 45.0 && p[1] > 40.0 {
        hu = vertebra(hu, anatomy, p, edge);
    }
    if p[0].abs() < 40.0 && p[1] < -70.0 {
        let plate = ellipsoid([p[0], p[1], p[2]], [0.0, -97.0, 25.0], [19.0, 6.5, 85.0]);
        hu = bone(hu, plate, 1.5, edge);
    }
    hu
}

/// Cortex around marrow.
fn bone(hu: f64, distance: f64, cortex: f64, edge: f64) -> f64 {
    let hu = mix(hu, CORTEX_HU, coverage(distance, edge));
    mix(hu, MARROW_HU, coverage(distance + cortex, edge))
}

fn rib(hu: f64, anatomy: &Anatomy, parts: &Parts, p: Vec3, edge: f64) -> f64 {
    // Over the lungs' tops the rings would close to caps; there is none above the first rib.
    if p[2] - RIB_TILT * p[1] > 82.0 || (p[1] > 0.0 && p[0].abs() < 24.0) {
        return hu;
    }
    let along = (p[2] - RIB_TILT * p[1] - anatomy.rib_phase).rem_euclid(LEVEL) - LEVEL / 2.0;
    let distance = ellipsoid([parts.cage, along, 0.0], [6.5, 0.0, 0.0], [4.0, 7.0, 1.0]);
    if p[1] < -62.0 && p[0].abs() < 75.0 {
        return mix(hu, CARTILAGE_HU, coverage(distance, edge));
    }
    bone(hu, distance, 1.4, edge)
}

fn vertebra(hu: f64, anatomy: &Anatomy, p: Vec3, edge: f64) -> f64 {
    let along = (p[2] - anatomy.rib_phase).rem_euclid(LEVEL) - LEVEL / 2.0;
    let disc = LEVEL / 2.0 - 2.5 - along.abs();
    let body = ellipsoid([p[0], p[1], 0.0], [0.0, 64.0, 0.0], [19.0, 15.5, 1.0]);
    let mut hu = mix(hu, DISC_HU, coverage(body, edge));
    hu = bone(hu, body.max(-disc), 1.6, edge);
    let at = [p[0].abs(), p[1], along];
    let ring = ellipsoid([p[0], p[1], 0.0], [0.0, 86.0, 0.0], [13.0, 11.0, 1.0]);
    let process = capsule(at, [9.0, 84.0, 2.0], [36.0, 92.0, 4.0], 4.5);
    let spine = capsule(at, [0.0, 94.0, 0.0], [0.0, 106.0, -8.0], 3.2);
    let arch = ring.max(along.abs() - 10.0).min(process).min(spine);
    hu = bone(hu, arch, 1.5, edge);
    let canal = ellipsoid([p[0], p[1], 0.0], [0.0, 86.0, 0.0], [9.0, 7.0, 1.0]);
    mix(hu, CORD_HU, coverage(canal, edge))
}

/// A plate behind the upper ribs.
fn shoulder_blade(parts: &Parts, p: Vec3) -> f64 {
    let plate = (parts.cage - 17.5).abs() - 2.6;
    let outline = ellipsoid([p[0].abs(), p[1], p[2]], [100.0, 62.0, 45.0], [40.0, 34.0, 62.0]);
    plate.max(outline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn there_is_bone_around_the_lungs_and_none_in_them() {
        let a = Anatomy::draw(&mut ChaCha8Rng::seed_from_u64(5));
        let at = |p: Vec3| over(0.0, &a, &a.parts(p), p, 1.0);
        assert!((0..28).any(|z| at([0.0, 64.0, f64::from(z)]) > 150.0), "no vertebra");
        assert!((0..28).any(|z| at([0.0, 64.0, f64::from(z)]) < 100.0), "no disc");
        let flank = |z: i32| (100..160).any(|x| at([f64::from(x), 0.0, f64::from(z)]) > 400.0);
        assert!((0..28).any(flank), "no rib");
        assert!(!(0..28).all(flank), "no gap between ribs");
        assert!((0..28).all(|z| at([75.0, 0.0, f64::from(z)]).abs() < 1e-9), "bone in the lung");
    }
}
