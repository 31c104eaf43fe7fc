//! Where nodules go: inside the lungs, inside the scan, never on each other.

use crate::anatomy::Anatomy;
use crate::branching::{Trees, Tube};
use crate::config::PhantomConfig;
use crate::nodule::{NoduleShape, Site, Texture, direction, ray};
use crate::signed_distance::{Vec3, add, length, scale, segment, sub};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A nodule in its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Surface and centre.
    pub shape: NoduleShape,
    /// Density.
    pub kind: Texture,
    /// Neighbourhood.
    pub site: Site,
}

/// The lungs in the phantom's millimetres.
pub struct Lungs<'a> {
    /// The patient.
    pub anatomy: &'a Anatomy,
    /// Size of the chest against an adult's.
    pub size: f64,
    /// Half the field of view [x, y, z], mm.
    pub half_view: Vec3,
}

impl Lungs<'_> {
    /// Signed distance to the lungs, mm.
    pub fn distance(&self, p: Vec3) -> f64 {
        self.anatomy.lung(scale(p, 1.0 / self.size)) * self.size
    }

    /// Whether a ball lies within the field of view, and 3 mm more.
    fn sees(&self, center: Vec3, radius: f64) -> bool {
        (0..3).all(|axis| center[axis].abs() + radius + 3.0 < self.half_view[axis])
    }
}

/// Space left between two nodules, mm.
const GAP_MM: f64 = 3.0;
/// How often a place is looked for before the nodule is made smaller.
const TRIES: usize = 1500;

/// Places `config.nodules` nodules, the largest first; a nodule without room shrinks to the
/// least diameter and is then left out.
pub fn nodules(
    config: &PhantomConfig,
    lungs: &Lungs,
    trees: &Trees,
    rng: &mut ChaCha8Rng,
) -> Vec<Placed> {
    let [least, most] = config.diameter_mm;
    let mut diameters: Vec<f64> = (0..config.nodules)
        .map(|_| least * (most / least).powf(rng.random_range(0.0..1.0_f64).powi(2)))
        .collect();
    diameters.sort_by(|a, b| b.total_cmp(a));
    let mut placed = Vec::new();
    for wanted in diameters {
        let (kind, site) = (draw_kind(wanted, rng), draw_site(rng));
        let mut diameter = wanted;
        while diameter >= least {
            if let Some(shape) = place(kind, site, diameter, lungs, trees, &placed, rng) {
                placed.push(Placed { shape, kind, site });
                break;
            }
            diameter *= 0.88;
        }
    }
    placed
}

/// Places nodules of 2 to 2.8 mm.
pub fn small_nodules(
    count: usize,
    lungs: &Lungs,
    trees: &Trees,
    others: &[Placed],
    rng: &mut ChaCha8Rng,
) -> Vec<Placed> {
    let mut all = others.to_vec();
    for _ in 0..count {
        let diameter = rng.random_range(2.0..2.8);
        let (kind, site) = (Texture::Solid, Site::Isolated);
        if let Some(shape) = place(kind, site, diameter, lungs, trees, &all, rng) {
            all.push(Placed { shape, kind, site });
        }
    }
    all.split_off(others.len())
}

/// Points on vessels that a reader may mark as non-nodules, away from all nodules.
pub fn non_nodules(
    count: usize,
    lungs: &Lungs,
    trees: &Trees,
    nodules: &[Placed],
    rng: &mut ChaCha8Rng,
) -> Vec<Vec3> {
    let free = |p: Vec3| {
        nodules.iter().all(|n| length(sub(p, n.shape.center)) > n.shape.reach() + 2.0 * GAP_MM)
    };
    let mut points: Vec<Vec3> = Vec::new();
    for _ in 0..count * TRIES {
        if points.len() == count {
            break;
        }
        let Some(tube) = draw_vessel(trees, 0.6, 1.8, rng) else { break };
        let p = tube.to;
        if lungs.sees(p, 0.0) && lungs.distance(p) < -2.0 && free(p) {
            points.push(p);
        }
    }
    points
}

fn draw_kind(diameter: f64, rng: &mut ChaCha8Rng) -> Texture {
    match rng.random_range(0.0..1.0) {
        d if d < 0.6 || diameter < 6.0 => Texture::Solid,
        d if d < 0.8 => Texture::PartSolid,
        _ => Texture::GroundGlass,
    }
}

fn draw_site(rng: &mut ChaCha8Rng) -> Site {
    match rng.random_range(0.0..1.0) {
        d if d < 0.4 => Site::Isolated,
        d if d < 0.7 => Site::JuxtaPleural,
        _ => Site::JuxtaVascular,
    }
}

fn place(
    kind: Texture,
    site: Site,
    diameter: f64,
    lungs: &Lungs,
    trees: &Trees,
    others: &[Placed],
    rng: &mut ChaCha8Rng,
) -> Option<NoduleShape> {
    let radius = diameter / 2.0;
    let mut shape = NoduleShape::draw(kind, [0.0; 3], radius, rng);
    let reach = shape.reach();
    for _ in 0..TRIES {
        let center = match site {
            Site::JuxtaVascular => {
                let tube = draw_vessel(trees, 0.7, 2.0, rng)?;
                add(tube.to, scale(direction(rng), 0.8 * radius + 0.5 * tube.radius_to))
            }
            _ => std::array::from_fn(|axis| lungs.half_view[axis] * rng.random_range(-1.0..1.0)),
        };
        let apart = |other: &Placed| {
            let clear = reach + other.shape.reach() + GAP_MM;
            length(sub(center, other.shape.center)) > clear
        };
        if lungs.sees(center, reach)
            && others.iter().all(apart)
            && suits(site, center, radius, lungs, trees)
        {
            shape.center = center;
            return Some(shape);
        }
    }
    None
}

/// Whether the lung around `center` is as the site says.
fn suits(site: Site, center: Vec3, radius: f64, lungs: &Lungs, trees: &Trees) -> bool {
    let parts = lungs.anatomy.parts(scale(center, 1.0 / lungs.size));
    let (lung, cage) = (parts.lung * lungs.size, parts.cage * lungs.size);
    let airways_clear = |gap: f64| trees.airways.iter().all(|t| clear_of(t, center, radius + gap));
    match site {
        Site::JuxtaPleural => {
            // On the chest wall, not on the mediastinum or the diaphragm.
            (-0.75 * radius..-0.15 * radius).contains(&lung)
                && (cage - lung).abs() < 0.5
                && airways_clear(1.0)
        }
        Site::JuxtaVascular => lung < -1.1 * radius - 1.5 && airways_clear(0.0),
        Site::Isolated => {
            let vessels = trees
                .vessels
                .iter()
                .all(|t| t.radius_to < 0.8 || clear_of(t, center, radius + 1.0));
            lung < -1.1 * radius - 2.0 && vessels && airways_clear(1.5)
        }
    }
}

fn clear_of(tube: &Tube, center: Vec3, distance: f64) -> bool {
    segment(center, tube.from, tube.to).1 > tube.radius_from + distance
}

fn draw_vessel<'a>(
    trees: &'a Trees,
    thin: f64,
    thick: f64,
    rng: &mut ChaCha8Rng,
) -> Option<&'a Tube> {
    (0..TRIES)
        .filter(|_| !trees.vessels.is_empty())
        .map(|_| &trees.vessels[rng.random_range(0..trees.vessels.len())])
        .find(|t| (thin..thick).contains(&t.radius_to))
}

/// Diameter of the sphere with the volume of the part of a nodule inside the lungs, mm.
pub fn diameter_in_lung(shape: &NoduleShape, lungs: &Lungs) -> f64 {
    let step = shape.radius / 10.0;
    let count = (2.0 * shape.reach() / step).ceil() as i64;
    let mut inside = 0u32;
    for i in 0..count.pow(3) {
        let offset = [i % count, i / count % count, i / count / count]
            .map(|k| (k as f64 + 0.5) * step - shape.reach());
        let (u, r) = ray([0.0; 3], offset);
        let p = add(shape.center, offset);
        inside += u32::from(r < shape.surface(u) && lungs.distance(p) < 0.0);
    }
    (f64::from(inside) * step.powi(3) * 6.0 / std::f64::consts::PI).cbrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branching;
    use rand::SeedableRng;

    #[test]
    fn nodules_lie_in_the_lungs_and_apart() {
        let config = PhantomConfig { nodules: 7, ..PhantomConfig::default() };
        let mut total = 0;
        for seed in 0..6 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let anatomy = Anatomy::draw(&mut rng);
            let trees = branching::grow(&anatomy, 0.5, &mut rng);
            let lungs = Lungs { anatomy: &anatomy, size: 0.5, half_view: [90.0, 65.0, 60.0] };
            let placed = nodules(&config, &lungs, &trees, &mut rng);
            total += placed.len();
            for (i, a) in placed.iter().enumerate() {
                assert!(lungs.distance(a.shape.center) < 0.0, "centre outside the lungs");
                let diameter = diameter_in_lung(&a.shape, &lungs);
                let whole = 2.0 * a.shape.radius;
                if a.site == Site::JuxtaPleural {
                    assert!(diameter < 0.999 * whole && diameter > 0.6 * whole, "{diameter}");
                } else {
                    assert!((diameter / whole - 1.0).abs() < 0.03, "{diameter} of {whole}");
                }
                for b in &placed[i + 1..] {
                    let distance = length(sub(a.shape.center, b.shape.center));
                    assert!(distance > a.shape.reach() + b.shape.reach(), "nodules overlap");
                }
            }
        }
        assert!(total > 36, "only {total} of 42 nodules found room");
    }
}
