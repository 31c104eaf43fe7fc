//! From solids to voxels: partial volume, the scanner's blur, noise.

use crate::anatomy::Anatomy;
use crate::branching::{Trees, Tube};
use crate::config::PhantomConfig;
use crate::nodule::Texture;
use crate::placement::Placed;
use crate::signed_distance::{Vec3, coverage, mix, scale, segment};
use crate::texture::{slice_noise, value_noise};
use crate::tissue;
use dasl_volume::PADDING_HU;
use ndarray::parallel::prelude::*;
use ndarray::{Array3, Axis};

/// What is in the scan.
pub struct Scene<'a> {
    /// The patient.
    pub anatomy: &'a Anatomy,
    /// Bronchi and vessels.
    pub trees: &'a Trees,
    /// Nodules of every size.
    pub nodules: &'a [Placed],
}

/// Each slice is the mean of this many thin ones.
const LAYERS: usize = 2;
const BRONCHUS_HU: f64 = 10.0;
const AIR_HU: f64 = -990.0;
const CORE_HU: f64 = 10.0;
const LEAST_HU: f32 = PADDING_HU as f32;

/// Renders the scene to HU [z, y, x]; the middle of the grid is 0 of the phantom's millimetres.
pub fn render(config: &PhantomConfig, scene: &Scene, seed: u64) -> Array3<i16> {
    let mut voxels = Array3::zeros(config.shape);
    let columns = config.shape[2];
    voxels.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(z, mut slice)| {
        let mut sum = vec![0.0_f32; config.shape[1] * columns];
        for layer in 0..LAYERS {
            let offset = (layer as f64 + 0.5) / LAYERS as f64 - 0.5;
            let z_mm = centred(z as f64 + offset, config.shape[0], config.spacing_mm[0]);
            Layer::new(config, z_mm).draw(scene, &mut sum);
        }
        let sharp: Vec<f32> = sum.iter().map(|v| v / LAYERS as f32).collect();
        let soft = blur(&sharp, columns);
        let noise_seed = seed ^ (z as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let noise = slice_noise(config.shape[1], columns, config.noise_hu, noise_seed);
        for ((out, hu), noise) in slice.iter_mut().zip(soft).zip(noise) {
            *out = (hu + noise).round().clamp(LEAST_HU, 3071.0) as i16;
        }
    });
    voxels
}

/// Position of index `i` of `n`, mm from the middle.
fn centred(i: f64, n: usize, spacing: f64) -> f64 {
    (i - (n as f64 - 1.0) / 2.0) * spacing
}

/// A thin slice while it is drawn, row by row.
struct Layer<'a> {
    config: &'a PhantomConfig,
    z: f64,
    /// Width of a soft edge, mm.
    edge: f64,
    /// The part of each voxel that is lung.
    lung: Vec<f32>,
    /// HU of that part.
    content: Vec<f32>,
    /// HU of the rest.
    outside: Vec<f32>,
}

impl<'a> Layer<'a> {
    fn new(config: &'a PhantomConfig, z: f64) -> Self {
        let n = config.shape[1] * config.shape[2];
        let edge = config.spacing_mm[1].max(config.spacing_mm[2]).max(0.6);
        let (lung, content, outside) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        Self { config, z, edge, lung, content, outside }
    }

    fn draw(mut self, scene: &Scene, sum: &mut [f32]) {
        self.draw_tissue(scene.anatomy);
        let blood = scene.anatomy.blood_hu;
        for tube in &scene.trees.vessels {
            let limit = tube.radius_from + self.edge;
            self.paint(tube, limit, |layer, i, distance, radius| {
                // A thread thinner than a voxel fills only a part of it.
                let thin = (radius / (0.7 * layer.edge)).min(1.0);
                let part = coverage(distance - radius, layer.edge) * thin;
                let hu = f64::from(layer.content[i]);
                layer.content[i] = hu.max(mix(hu, blood, part)) as f32;
            });
        }
        for nodule in scene.nodules {
            self.draw_nodule(nodule, scene.anatomy);
        }
        let mut hu: Vec<f32> = (self.outside.iter().zip(&self.content).zip(&self.lung))
            .map(|((out, content), part)| out + (content - out) * part)
            .collect();
        for airway in &scene.trees.airways {
            let wall = 0.25 + 0.15 * airway.radius_from;
            self.paint(airway, airway.radius_from + wall + self.edge, |layer, i, distance, r| {
                let thin = (wall / (0.9 * layer.edge)).min(1.0);
                let part = coverage(distance - r - wall, layer.edge) * thin;
                let hu = &mut hu[i];
                *hu = f64::from(*hu).max(mix(f64::from(*hu), BRONCHUS_HU, part)) as f32;
            });
        }
        // Lumina last, so that no wall closes a fork.
        for airway in &scene.trees.airways {
            self.paint(airway, airway.radius_from + self.edge, |layer, i, distance, radius| {
                let part = coverage(distance - radius, layer.edge);
                hu[i] = mix(f64::from(hu[i]), AIR_HU, part) as f32;
            });
        }
        for (sum, hu) in sum.iter_mut().zip(hu) {
            *sum += hu;
        }
    }

    fn point(&self, i: usize) -> Vec3 {
        let [_, rows, columns] = self.config.shape;
        let [_, sy, sx] = self.config.spacing_mm;
        let (row, column) = ((i / columns) as f64, (i % columns) as f64);
        [centred(column, columns, sx), centred(row, rows, sy), self.z]
    }

    fn draw_tissue(&mut self, anatomy: &Anatomy) {
        let size = self.config.scale;
        let edge = self.edge / size;
        for i in 0..self.lung.len() {
            let mm = self.point(i);
            let p = scale(mm, 1.0 / size);
            let parts = anatomy.parts(p);
            let lung = coverage(parts.lung, edge);
            self.lung[i] = lung as f32;
            if lung < 1.0 {
                self.outside[i] = tissue::outside_lung(anatomy, &parts, p, edge) as f32;
            }
            if lung > 0.0 {
                self.content[i] = parenchyma(anatomy, p, mm) as f32;
            }
        }
    }

    fn draw_nodule(&mut self, nodule: &Placed, anatomy: &Anatomy) {
        let shape = &nodule.shape;
        let limit = shape.reach() + self.edge;
        let ball = Tube {
            from: shape.center,
            to: shape.center,
            radius_from: shape.radius,
            radius_to: shape.radius,
        };
        self.paint(&ball, limit, |layer, i, distance, _| {
            let p = layer.point(i);
            let hu = f64::from(layer.content[i]);
            let grain = value_noise(p.map(|v| v / 1.8), anatomy.grain_seed ^ 7);
            // Ground glass has a hazier edge, and vessels shine through it.
            let (edge, grain) = match nodule.kind {
                Texture::Solid => (layer.edge, 12.0 * grain),
                _ => (1.8 * layer.edge, 45.0 * grain),
            };
            let inside = (shape.hu + grain).max(if nodule.kind == Texture::Solid {
                f64::MIN
            } else {
                hu.min(anatomy.blood_hu)
            });
            let mut new = mix(hu, inside, coverage(shape.distance(p), edge));
            if nodule.kind == Texture::PartSolid {
                let wobble = 1.0 + 0.25 * value_noise(p.map(|v| v / 2.5), anatomy.grain_seed ^ 9);
                let core = distance - shape.core * shape.radius * wobble;
                new = mix(new, CORE_HU, coverage(core, 1.4 * layer.edge));
            }
            layer.content[i] = new as f32;
        });
    }

    /// Calls `brush` with index, distance to the axis and radius there for each voxel within
    /// `limit` of the tube's axis.
    fn paint(
        &mut self,
        tube: &Tube,
        limit: f64,
        mut brush: impl FnMut(&mut Self, usize, f64, f64),
    ) {
        let low: Vec3 = std::array::from_fn(|k| tube.from[k].min(tube.to[k]) - limit);
        let high: Vec3 = std::array::from_fn(|k| tube.from[k].max(tube.to[k]) + limit);
        if self.z < low[2] || self.z > high[2] {
            return;
        }
        let range = |axis: usize, n: usize, spacing: f64| {
            let index = |mm: f64| mm / spacing + (n as f64 - 1.0) / 2.0;
            let first = index(low[axis]).ceil().max(0.0) as usize;
            let last = (index(high[axis]).floor() + 1.0).clamp(0.0, n as f64) as usize;
            first..last
        };
        let [_, rows, columns] = self.config.shape;
        let [_, sy, sx] = self.config.spacing_mm;
        for row in range(1, rows, sy) {
            for column in range(0, columns, sx) {
                let i = row * columns + column;
                let (t, distance) = segment(self.point(i), tube.from, tube.to);
                if distance <= limit {
                    brush(self, i, distance, mix(tube.radius_from, tube.radius_to, t));
                }
            }
        }
    }
}

/// The lung between the vessels one sees: denser at the back, with grain of two sizes and a
/// faint oblique fissure.
fn parenchyma(anatomy: &Anatomy, p: Vec3, mm: Vec3) -> f64 {
    let grain = 16.0 * value_noise(mm.map(|v| v / 7.0), anatomy.grain_seed ^ 3)
        + 22.0 * value_noise(mm.map(|v| v / 2.2), anatomy.grain_seed ^ 4);
    let sheet = 8.0 * value_noise(p.map(|v| v / 40.0), anatomy.grain_seed ^ 5);
    let fissure = (p[2] + 12.0 - 0.95 * p[1] + sheet).abs() * 0.72;
    let hu = anatomy.lung_hu + 0.28 * p[1] + grain;
    mix(hu, -680.0, 0.6 * coverage(fissure - 0.6, 1.6))
}

/// In-plane blur by [1 4 1] / 6 along rows and columns; the border is repeated.
fn blur(image: &[f32], columns: usize) -> Vec<f32> {
    let rows = image.len() / columns;
    let soft = |a: f32, b: f32, c: f32| (a + 4.0 * b + c) / 6.0;
    let across: Vec<f32> = (0..image.len())
        .map(|i| {
            let (start, x) = (i - i % columns, i % columns);
            let right = image[start + (x + 1).min(columns - 1)];
            soft(image[start + x.saturating_sub(1)], image[i], right)
        })
        .collect();
    (0..image.len())
        .map(|i| {
            let (x, y) = (i % columns, i / columns);
            let below = across[(y + 1).min(rows - 1) * columns + x];
            soft(across[y.saturating_sub(1) * columns + x], across[i], below)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_the_mean_and_softens_a_point() {
        let mut image = vec![0.0; 7 * 9];
        image[3 * 9 + 4] = 36.0;
        let soft = blur(&image, 9);
        assert!((soft[3 * 9 + 4] - 16.0).abs() < 1e-4);
        assert!((soft[2 * 9 + 5] - 1.0).abs() < 1e-4);
        assert!((soft.iter().sum::<f32>() - 36.0).abs() < 1e-3);
    }
}
