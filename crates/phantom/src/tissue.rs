//! Attenuation of everything but the lungs' contents, in HU; adult millimetres.

use crate::anatomy::{Anatomy, Parts};
use crate::signed_distance::{Vec3, coverage, ellipsoid, mix};
use crate::skeleton;
use crate::texture::value_noise;

const AIR_HU: f64 = -1000.0;
const SKIN_HU: f64 = 0.0;
const FAT_HU: f64 = -100.0;
const MUSCLE_HU: f64 = 52.0;

/// HU at `p` if there were no lungs; voxels are `edge` wide.
pub fn outside_lung(anatomy: &Anatomy, parts: &Parts, p: Vec3, edge: f64) -> f64 {
    let mut hu = table(p, edge);
    if parts.body > edge {
        return hu;
    }
    let grain = value_noise(p.map(|v| v / 9.0), anatomy.grain_seed);
    hu = mix(hu, SKIN_HU, coverage(parts.body, edge));
    hu = mix(hu, FAT_HU + 12.0 * grain, coverage(parts.body + 2.5, edge));
    let depth = parts.body + 2.5 + anatomy.fat * (1.0 + 0.35 * grain);
    // Layers of muscle with fat between them.
    let sheet = value_noise([p[0] / 30.0, p[1] / 30.0, parts.cage / 7.0], anatomy.grain_seed ^ 1);
    let flesh = mix(MUSCLE_HU + 10.0 * grain, FAT_HU, ((sheet - 0.35) * 5.0).clamp(0.0, 0.9));
    hu = mix(hu, flesh, coverage(depth, edge));
    // A thin coat of muscle and pleura lines the cage.
    hu = mix(hu, MUSCLE_HU, coverage(parts.cage - 2.5, edge));
    if parts.cage < edge {
        let inner = mix(chest(anatomy, parts, edge), belly(parts, p, grain, edge), {
            coverage(parts.right_dome.min(parts.left_dome).min(parts.abdomen), edge)
        });
        hu = mix(hu, inner, coverage(parts.cage, edge));
    }
    skeleton::over(hu, anatomy, parts, p, edge)
}

/// Mediastinum: organs in fat.
fn chest(anatomy: &Anatomy, parts: &Parts, edge: f64) -> f64 {
    // The lungs' own coat, so that pleura and diaphragm are no fat.
    let fat = mix(FAT_HU + 10.0, 30.0, coverage(parts.lung - 2.5, edge));
    let hu = mix(fat, 42.0, coverage(parts.heart, edge));
    let hu = mix(hu, anatomy.blood_hu * 0.9, coverage(parts.heart + 9.0, 4.0 + edge));
    mix(hu, anatomy.blood_hu, coverage(parts.great_vessels, edge))
}

/// Under the diaphragm: liver on the right, spleen and a gas bubble in the stomach on the left.
fn belly(parts: &Parts, p: Vec3, grain: f64, edge: f64) -> f64 {
    let mut hu = FAT_HU + 20.0 * grain;
    hu = mix(hu, 45.0, coverage(parts.left_dome + 2.0, edge));
    hu = mix(hu, 60.0 + 4.0 * grain, coverage(parts.right_dome + 1.0, edge));
    let bubble = ellipsoid(p, [58.0, -22.0, -104.0], [24.0, 20.0, 16.0]);
    let hu = mix(hu, 35.0, coverage(bubble - 4.0, edge));
    mix(hu, AIR_HU + 20.0, coverage(bubble, edge))
}

/// The scanner's table under the back: a shell around foam.
fn table(p: Vec3, edge: f64) -> f64 {
    let top = 117.0 + 6.0 - p[0] * p[0] / 3000.0;
    let slab = (top - p[1]).max(p[1] - top - 30.0);
    let hu = mix(AIR_HU, -250.0, coverage(slab, edge));
    mix(hu, -930.0, coverage(slab + 2.0, edge))
}
