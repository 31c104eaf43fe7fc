//! One phantom scan: the image, the truth, the readers.

use crate::anatomy::Anatomy;
use crate::branching;
use crate::config::PhantomConfig;
use crate::nodule::PhantomNodule;
use crate::placement::{self, Lungs};
use crate::reader::{self, Findings, READERS, Reading};
use crate::render::{Scene, render};
use dasl_volume::{CtVolume, Geometry, PointMm};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A synthetic scan and all that is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Phantom {
    /// The image, HU.
    pub ct: CtVolume,
    /// Nodules of 3 mm and more.
    pub nodules: Vec<PhantomNodule>,
    /// What the four readers marked.
    pub readings: [Reading; READERS],
}

/// Makes the phantom of a seed. The same settings and seed give the same voxels, whatever the
/// number of threads. Settings that [`PhantomConfig::check`] refuses give no sensible image.
pub fn make(config: &PhantomConfig, seed: u64) -> Phantom {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let anatomy = Anatomy::draw(&mut rng);
    let geometry = grid(config, &mut rng);
    let trees = branching::grow(&anatomy, config.scale, &mut rng);
    let half = |axis: usize| config.shape[axis] as f64 * config.spacing_mm[axis] / 2.0;
    let half_view = [half(2), half(1), half(0)];
    let lungs = Lungs { anatomy: &anatomy, size: config.scale, half_view };

    let nodules = placement::nodules(config, &lungs, &trees, &mut rng);
    let small = placement::small_nodules(config.small_nodules, &lungs, &trees, &nodules, &mut rng);
    let every: Vec<_> = nodules.iter().chain(&small).cloned().collect();
    let other = placement::non_nodules(config.non_nodules, &lungs, &trees, &every, &mut rng);

    let findings = Findings { nodules: &nodules, small_nodules: &small, non_nodules: &other };
    let readings = reader::read(&findings, &lungs, &geometry, &mut rng);
    let scene = Scene { anatomy: &anatomy, trees: &trees, nodules: &every };
    let voxels = render(config, &scene, rng.random());
    let known = |n: &placement::Placed| PhantomNodule {
        center_mm: reader::in_patient(&geometry, n.shape.center),
        diameter_mm: placement::diameter_in_lung(&n.shape, &lungs),
        kind: n.kind,
        site: n.site,
    };
    Phantom {
        nodules: nodules.iter().map(known).collect(),
        ct: CtVolume::new(voxels, geometry),
        readings,
    }
}

/// The scan's grid, about the middle of the scanner in x and y and anywhere on the table in z.
fn grid(config: &PhantomConfig, rng: &mut ChaCha8Rng) -> Geometry {
    let mut first = |axis: usize, spread: f64| {
        let half = (config.shape[axis] as f64 - 1.0) / 2.0 * config.spacing_mm[axis];
        // Whole micrometres, which DICOM's decimal strings hold exactly.
        ((rng.random_range(-spread..spread) - half) * 1000.0).round() / 1000.0
    };
    let origin = PointMm::new(first(2, 8.0), first(1, 8.0), first(0, 200.0));
    Geometry::axial(config.shape, config.spacing_mm, origin)
}
