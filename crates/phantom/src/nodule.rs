//! One nodule: texture, site, lumpy surface.

use crate::signed_distance::{Vec3, dot, length, scale, sub};
use dasl_volume::PointMm;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How dense a nodule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Texture {
    /// Soft tissue, about 20 HU.
    Solid,
    /// Ground glass around a solid core.
    PartSolid,
    /// About -600 HU; vessels stay visible.
    GroundGlass,
}

/// Where a nodule sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// Lung all around.
    Isolated,
    /// On the chest wall, which cuts it.
    JuxtaPleural,
    /// On a vessel.
    JuxtaVascular,
}

/// What is known for certain about a nodule of a phantom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PhantomNodule {
    /// Centre of the uncut nodule in the patient.
    pub center_mm: PointMm,
    /// Diameter of the sphere as large as the part inside the lung, without spicules.
    pub diameter_mm: f64,
    /// Density.
    pub kind: Texture,
    /// Neighbourhood.
    pub site: Site,
}

/// A nodule's surface around its centre, in the phantom's millimetres.
#[derive(Debug, Clone)]
pub struct NoduleShape {
    /// Centre.
    pub center: Vec3,
    /// Radius of a sphere of the same volume.
    pub radius: f64,
    /// Part of the radius that is solid (part-solid nodules only).
    pub core: f64,
    /// Attenuation, HU, of the solid part or of the ground glass.
    pub hu: f64,
    /// Lobes and dents.
    lobes: Vec<Bump>,
    /// Thin rays, which readers leave out.
    spicules: Vec<Bump>,
    /// What makes the volume that of the sphere.
    size: f64,
}

/// A swelling of the surface around a direction.
#[derive(Debug, Clone, Copy)]
pub struct Bump {
    direction: Vec3,
    height: f64,
    sharpness: f64,
}

impl Bump {
    /// A bump in a random direction: `height` as part of the radius, narrower with `sharpness`.
    pub fn draw(height: f64, sharpness: f64, rng: &mut ChaCha8Rng) -> Self {
        Self { direction: direction(rng), height, sharpness }
    }

    /// The swelling in direction `u` (a unit vector): height exp(sharpness (cos angle - 1)).
    pub fn at(&self, u: Vec3) -> f64 {
        self.height * (self.sharpness * (dot(self.direction, u) - 1.0)).exp()
    }
}

impl NoduleShape {
    /// Draws a shape of the texture `kind` with the volume of a sphere of `radius` mm.
    pub fn draw(kind: Texture, center: Vec3, radius: f64, rng: &mut ChaCha8Rng) -> Self {
        let lobes = (0..rng.random_range(6..11))
            .map(|_| {
                let height = rng.random_range(-0.2..0.4);
                Bump::draw(height, rng.random_range(2.5..9.0), rng)
            })
            .collect();
        let spiculated = kind != Texture::GroundGlass && radius > 3.5 && rng.random_bool(0.4);
        let rays = if spiculated { rng.random_range(8..16) } else { 0 };
        let spicules = (0..rays)
            .map(|_| {
                let height = rng.random_range(0.35..0.8);
                Bump::draw(height, rng.random_range(60.0..120.0), rng)
            })
            .collect();
        let hu = match kind {
            Texture::Solid => rng.random_range(-10.0..60.0),
            Texture::PartSolid => rng.random_range(-590.0..-510.0),
            Texture::GroundGlass => rng.random_range(-650.0..-550.0),
        };
        let core = if kind == Texture::PartSolid { rng.random_range(0.4..0.65) } else { 0.0 };
        let mut shape = Self { center, radius, core, hu, lobes, spicules, size: 1.0 };
        let cube = sphere_directions().map(|u| shape.surface(u).powi(3));
        let mean_cube = cube.iter().sum::<f64>() / cube.len() as f64;
        shape.size = radius / mean_cube.cbrt();
        shape
    }

    /// Distance from the centre to the surface without spicules in direction `u`, mm.
    pub fn surface(&self, u: Vec3) -> f64 {
        self.size * self.radius * (1.0 + self.lobes.iter().map(|b| b.at(u)).sum::<f64>())
    }

    /// Signed distance to the surface with spicules, mm (along the ray from the centre).
    pub fn distance(&self, p: Vec3) -> f64 {
        let (u, r) = ray(self.center, p);
        let rays = self.spicules.iter().map(|b| b.at(u)).fold(0.0, f64::max);
        r - self.surface(u) - rays * self.radius
    }

    /// No part of it, spicules too, lies farther from the centre, mm.
    pub fn reach(&self) -> f64 {
        let highest = |bumps: &[Bump]| bumps.iter().map(|b| b.height.max(0.0)).sum::<f64>();
        let rays = self.spicules.iter().map(|b| b.height).fold(0.0, f64::max);
        self.size * self.radius * (1.0 + highest(&self.lobes)) + rays * self.radius
    }

    /// Whether it has spicules.
    pub fn is_spiculated(&self) -> bool {
        !self.spicules.is_empty()
    }
}

/// Unit vector from `center` to `p`, and the distance.
pub fn ray(center: Vec3, p: Vec3) -> (Vec3, f64) {
    let d = sub(p, center);
    let r = length(d);
    if r < 1e-9 { ([1.0, 0.0, 0.0], 0.0) } else { (scale(d, 1.0 / r), r) }
}

/// A random unit vector.
pub fn direction(rng: &mut ChaCha8Rng) -> Vec3 {
    loop {
        let v = [0; 3].map(|_| rng.random_range(-1.0..1.0_f64));
        let r = length(v);
        if (0.1..1.0).contains(&r) {
            return scale(v, 1.0 / r);
        }
    }
}

/// Directions spread evenly over the sphere (a Fibonacci lattice).
fn sphere_directions() -> [Vec3; 256] {
    let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    std::array::from_fn(|i| {
        let z = 1.0 - (2.0 * i as f64 + 1.0) / 256.0;
        let (s, c) = (golden * i as f64).sin_cos();
        let r = (1.0 - z * z).sqrt();
        [r * c, r * s, z]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_lumpy_nodule_has_its_spheres_volume() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for kind in [Texture::Solid, Texture::PartSolid, Texture::GroundGlass] {
            let n = NoduleShape::draw(kind, [3.0, -4.0, 5.0], 6.0, &mut rng);
            let step = 0.25;
            let mut inside = 0;
            let count = (2.0 * n.reach() / step) as i64;
            for i in 0..count.pow(3) {
                let at = [i % count, i / count % count, i / count / count]
                    .map(|k| k as f64 * step - n.reach());
                let (u, r) = ray([0.0; 3], at);
                inside += i64::from(r < n.surface(u));
            }
            let volume = inside as f64 * step.powi(3);
            let sphere = 4.0 / 3.0 * std::f64::consts::PI * 6.0_f64.powi(3);
            assert!((volume / sphere - 1.0).abs() < 0.03, "{kind:?} {}", volume / sphere);
        }
    }

    #[test]
    fn nothing_reaches_past_reach() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..50 {
            let n = NoduleShape::draw(Texture::Solid, [0.0; 3], 5.0, &mut rng);
            for u in sphere_directions() {
                assert!(n.distance(scale(u, n.reach() + 1e-9)) >= 0.0);
            }
        }
    }
}
