//! Trees of bronchi and vessels that fill the lungs.
//!
//! The volume-filling construction of Tawhai et al., "Generation of an anatomically based
//! three-dimensional model of the conducting airways", Ann Biomed Eng 28 (2000): the points a
//! branch has to supply are halved by a plane again and again, and each branch goes part of the
//! way to the centre of its points. Radii obey Murray's law, r^3 = r1^3 + r2^3. Millimetres of
//! the phantom.

use crate::anatomy::Anatomy;
use crate::signed_distance::{Vec3, add, length, scale, sub};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A tapered piece of tube.
#[derive(Debug, Clone, Copy)]
pub struct Tube {
    /// Axis from here.
    pub from: Vec3,
    /// Axis to here.
    pub to: Vec3,
    /// Radius at `from`, mm.
    pub radius_from: f64,
    /// Radius at `to`, mm.
    pub radius_to: f64,
}

/// Everything tubular in the lungs.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    /// Arteries and veins.
    pub vessels: Vec<Tube>,
    /// Trachea and bronchi: the radius is that of the lumen.
    pub airways: Vec<Tube>,
}

/// Radius of a vessel that supplies one point, mm.
const LEAF_RADIUS_MM: f64 = 0.34;
/// Distance of the points to be supplied, mm.
const LEAF_SPACING_MM: f64 = 6.5;
/// Lumen of a bronchus against the artery beside it.
const LUMEN: f64 = 0.8;
/// Bronchi with a smaller lumen are not seen in CT, mm.
const LEAST_LUMEN_MM: f64 = 0.85;

/// Grows the trees of both lungs of an anatomy `size` times an adult's.
pub fn grow(anatomy: &Anatomy, size: f64, rng: &mut ChaCha8Rng) -> Trees {
    let mut trees = Trees::default();
    let place = |p: Vec3| scale(p, size);
    let carina = place([0.0, 24.0, 10.0]);
    let tube = |from, to, radius: f64| Tube {
        from,
        to,
        radius_from: radius * size,
        radius_to: radius * size,
    };
    trees.airways.push(tube(place([0.0, 12.0, 140.0]), carina, 8.0));
    for (side, bronchus) in [(-1.0, 6.5), (1.0, 5.6)] {
        let hilum = place([side * 42.0, 20.0, -8.0]);
        trees.airways.push(tube(carina, hilum, bronchus));
        let mut points = supply_points(anatomy, size, side, rng);
        let mut bronchial = Vec::new();
        branch(&mut points, hilum, rng, &mut bronchial);
        // Arteries run beside the bronchi, above and to the side of them.
        for t in &bronchial {
            let beside = |p: Vec3, r: f64| {
                add(p, scale([side * 0.45, -0.35, 0.82], r * (1.0 + LUMEN) + 0.5))
            };
            trees.vessels.push(Tube {
                from: beside(t.from, t.radius_from),
                to: beside(t.to, t.radius_to),
                ..*t
            });
        }
        let lumina = bronchial.iter().filter(|t| t.radius_to * LUMEN >= LEAST_LUMEN_MM);
        trees.airways.extend(lumina.map(|t| Tube {
            radius_from: t.radius_from * LUMEN,
            radius_to: t.radius_to * LUMEN,
            ..*t
        }));
        // Veins take their own way, between the bronchi, to the left atrium.
        let mut points = supply_points(anatomy, size, side, rng);
        branch(&mut points, place([side * 34.0, 8.0, -28.0]), rng, &mut trees.vessels);
    }
    trees
}

/// Points spread over one lung, about one per cube of [`LEAF_SPACING_MM`].
fn supply_points(anatomy: &Anatomy, size: f64, side: f64, rng: &mut ChaCha8Rng) -> Vec<Vec3> {
    let half = [70.0 * size, 95.0 * size, 120.0 * size];
    let tries = (8.0 * half[0] * half[1] * half[2] / LEAF_SPACING_MM.powi(3)) as usize;
    let mut points = Vec::new();
    for _ in 0..tries {
        let p = [
            side * half[0] * rng.random_range(0.0..2.0),
            half[1] * rng.random_range(-1.0..1.0),
            half[2] * rng.random_range(-1.0..1.0),
        ];
        if anatomy.lung(scale(p, 1.0 / size)) * size < -2.0 {
            points.push(p);
        }
    }
    points
}

/// Adds the branch that supplies `points` from `from`, and all branches behind it.
fn branch(points: &mut [Vec3], from: Vec3, rng: &mut ChaCha8Rng, out: &mut Vec<Tube>) {
    if points.is_empty() {
        return;
    }
    let n = points.len() as f64;
    let center = scale(points.iter().fold([0.0; 3], |sum, &p| add(sum, p)), 1.0 / n);
    let way = sub(center, from);
    let to = add(from, scale(way, if points.len() == 1 { 0.85 } else { 0.42 }));
    let radius = LEAF_RADIUS_MM * n.cbrt();
    // A bend in the middle: no vessel is straight.
    let bend = length(way) * 0.05;
    let mut middle = scale(add(from, to), 0.5);
    for v in &mut middle {
        *v += rng.random_range(-bend..=bend);
    }
    let (half, thin) = (radius * 0.95, radius * 0.9);
    out.push(Tube { from, to: middle, radius_from: radius, radius_to: half });
    out.push(Tube { from: middle, to, radius_from: half, radius_to: thin });
    if points.len() == 1 {
        return;
    }
    let normal = split_normal(points, rng);
    points.sort_unstable_by(|a, b| {
        let along = |p: &Vec3| p[0] * normal[0] + p[1] * normal[1] + p[2] * normal[2];
        along(a).total_cmp(&along(b))
    });
    let part = (n * rng.random_range(0.35..0.65)).round() as usize;
    let (low, high) = points.split_at_mut(part.clamp(1, points.len() - 1));
    branch(low, to, rng, out);
    branch(high, to, rng, out);
}

/// The direction in which the points reach farthest, somewhat tilted.
fn split_normal(points: &[Vec3], rng: &mut ChaCha8Rng) -> Vec3 {
    let mut extent = [0.0; 3];
    for (axis, e) in extent.iter_mut().enumerate() {
        let (low, high) = points
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p[axis]), high.max(p[axis])));
        *e = high - low;
    }
    let mut normal = [0.0; 3];
    let longest = (0..3).fold(0, |best, i| if extent[i] > extent[best] { i } else { best });
    for (axis, n) in normal.iter_mut().enumerate() {
        *n = f64::from(u8::from(axis == longest)) + rng.random_range(-0.35..0.35);
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn trees_fill_both_lungs_and_taper() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let anatomy = Anatomy::draw(&mut rng);
        let trees = grow(&anatomy, 0.5, &mut rng);
        let sides = [-1.0, 1.0].map(|s| trees.vessels.iter().filter(|t| t.to[0] * s > 0.0).count());
        assert!(sides.iter().all(|&n| n > 500), "{sides:?}");
        assert!(trees.vessels.iter().all(|t| t.radius_to <= t.radius_from));
        let thick = trees.vessels.iter().map(|t| t.radius_from).fold(0.0, f64::max);
        assert!((1.5..5.0).contains(&thick), "root of {thick} mm");
        assert!(trees.airways.len() > 20);
        let ends = trees.vessels.iter().filter(|t| t.radius_from < 0.35);
        let inside = ends.clone().filter(|t| anatomy.lung(scale(t.to, 2.0)) < 2.0).count();
        assert!(inside * 20 > ends.count() * 19, "vessels end outside the lungs");
    }
}
