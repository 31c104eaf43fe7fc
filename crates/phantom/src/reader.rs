//! Four simulated readers, who see the same nodules and draw them differently.

use crate::nodule::{Bump, NoduleShape, Texture, ray};
use crate::outline::tidy;
use crate::placement::{Lungs, Placed};
use crate::signed_distance::Vec3;
use dasl_volume::{Geometry, PointMm};
use ndarray::{Array3, Axis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How many readers LIDC has for each scan.
pub const READERS: usize = 4;

/// All that one reader marked in a scan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Nodules of 3 mm and more, outlined and rated.
    pub nodules: Vec<Annotation>,
    /// Voxels [z, y, x] of nodules below 3 mm.
    pub small_nodules: Vec<[usize; 3]>,
    /// Voxels [z, y, x] of marks on what is no nodule.
    pub non_nodules: Vec<[usize; 3]>,
}

/// One reader's view of one nodule.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Index into the phantom's nodules.
    pub nodule: usize,
    /// Voxel [z, y, x] of the scan at which `mask` starts.
    pub start: [usize; 3],
    /// The outlined voxels [z, y, x]: in each slice one piece without holes.
    pub mask: Array3<bool>,
    /// Ratings.
    pub ratings: Ratings,
}

/// LIDC's nine ratings of a nodule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratings {
    /// 1 hard to see to 5 obvious.
    pub subtlety: u8,
    /// 1 soft tissue.
    pub internal_structure: u8,
    /// 6 absent.
    pub calcification: u8,
    /// 1 linear to 5 round.
    pub sphericity: u8,
    /// 1 poorly defined to 5 sharp.
    pub margin: u8,
    /// 1 none to 5 marked.
    pub lobulation: u8,
    /// 1 none to 5 marked.
    pub spiculation: u8,
    /// 1 ground glass, 3 part-solid, 5 solid.
    pub texture: u8,
    /// 1 unlikely to 5 suspicious.
    pub malignancy: u8,
}

/// What there is to be marked, in the phantom's millimetres.
pub struct Findings<'a> {
    /// Nodules of 3 mm and more.
    pub nodules: &'a [Placed],
    /// Smaller ones.
    pub small_nodules: &'a [Placed],
    /// Vessels that look like nodules.
    pub non_nodules: &'a [Vec3],
}

/// Lets the readers mark the scan. Nodules below 6 mm are missed by one reader in two scans of
/// five, the others by none.
pub fn read(
    findings: &Findings,
    lungs: &Lungs,
    grid: &Geometry,
    rng: &mut ChaCha8Rng,
) -> [Reading; READERS] {
    let mut readings: [Reading; READERS] = std::array::from_fn(|_| Reading::default());
    for (index, nodule) in findings.nodules.iter().enumerate() {
        let missed_by = if nodule.shape.radius < 3.0 && rng.random_bool(0.4) {
            rng.random_range(0..READERS)
        } else {
            READERS
        };
        for (reader, reading) in readings.iter_mut().enumerate() {
            if reader == missed_by {
                continue;
            }
            let hand = Hand::draw(nodule, rng);
            let ratings = rate(nodule, rng);
            if let Some((start, mask)) = draw_mask(&nodule.shape, &hand, lungs, grid) {
                reading.nodules.push(Annotation { nodule: index, start, mask, ratings });
            }
        }
    }
    for reading in &mut readings {
        for small in findings.small_nodules {
            if rng.random_bool(0.7) {
                reading.small_nodules.extend(voxel(grid, small.shape.center));
            }
        }
        for &p in findings.non_nodules {
            if rng.random_bool(0.5) {
                reading.non_nodules.extend(voxel(grid, p));
            }
        }
    }
    readings
}

/// How a reader's outline of a nodule differs from its surface.
struct Hand {
    /// Drawn too far out by this, mm.
    offset_mm: f64,
    /// Smooth swellings, as part of the radius.
    bumps: [Bump; 4],
    /// Where the reader sees the pleura, mm outside the lung.
    pleura_mm: f64,
}

impl Hand {
    fn draw(nodule: &Placed, rng: &mut ChaCha8Rng) -> Self {
        // Hazy edges are drawn less alike.
        let haze = if nodule.kind == Texture::Solid { 1.0 } else { 1.5 };
        let bumps = [0; 4].map(|_| {
            let height = haze * rng.random_range(-0.07..0.07);
            Bump::draw(height, rng.random_range(1.5..5.0), rng)
        });
        // Small nodules are drawn with a finer hand.
        let care = (nodule.shape.radius / 4.0).min(1.0);
        let offset_mm = haze * care * rng.random_range(-0.3..0.35);
        Self { offset_mm, bumps, pleura_mm: care * rng.random_range(-0.5..0.3) }
    }

    fn contains(&self, shape: &NoduleShape, lungs: &Lungs, p: Vec3) -> bool {
        let (u, r) = ray(shape.center, p);
        let swell = 1.0 + self.bumps.iter().map(|b| b.at(u)).sum::<f64>();
        r < shape.surface(u) * swell + self.offset_mm && lungs.distance(p) < self.pleura_mm
    }
}

/// The voxels that a reader outlines, in a box cut to them; nothing if there are none.
fn draw_mask(
    shape: &NoduleShape,
    hand: &Hand,
    lungs: &Lungs,
    grid: &Geometry,
) -> Option<([usize; 3], Array3<bool>)> {
    let reach = shape.reach() * 1.5 + 1.0;
    let mut start = [0; 3];
    let mut size = [0; 3];
    for axis in 0..3 {
        // Array axis 0 is z, which is the last of a point's coordinates.
        let center = index(grid, shape.center, axis);
        let half = reach / grid.spacing_mm[axis];
        let last = grid.shape[axis].saturating_sub(2) as f64;
        let low = (center - half).floor().clamp(1.0, last.max(1.0));
        let high = (center + half).ceil().clamp(low, last.max(low));
        (start[axis], size[axis]) = (low as usize, (high - low) as usize + 1);
    }
    let mut mask = Array3::from_shape_fn(size, |(z, y, x)| {
        hand.contains(shape, lungs, point(grid, [start[0] + z, start[1] + y, start[2] + x]))
    });
    for mut slice in mask.axis_iter_mut(Axis(0)) {
        let clean = tidy(&slice.to_owned());
        slice.assign(&clean);
    }
    for (axis, start) in start.iter_mut().enumerate() {
        let filled = |i: &usize| mask.index_axis(Axis(axis), *i).iter().any(|v| *v);
        let low = (0..mask.len_of(Axis(axis))).find(filled)?;
        let high = (0..mask.len_of(Axis(axis))).rfind(filled)?;
        mask.slice_axis_inplace(Axis(axis), (low..=high).into());
        *start += low;
    }
    Some((start, mask.as_standard_layout().to_owned()))
}

/// Position of a point (phantom millimetres, 0 in the grid's middle) along an array axis.
fn index(grid: &Geometry, p: Vec3, axis: usize) -> f64 {
    p[2 - axis] / grid.spacing_mm[axis] + (grid.shape[axis] as f64 - 1.0) / 2.0
}

/// A voxel's centre in the phantom's millimetres.
fn point(grid: &Geometry, at: [usize; 3]) -> Vec3 {
    let along = |axis: usize| {
        (at[axis] as f64 - (grid.shape[axis] as f64 - 1.0) / 2.0) * grid.spacing_mm[axis]
    };
    [along(2), along(1), along(0)]
}

fn voxel(grid: &Geometry, p: Vec3) -> Option<[usize; 3]> {
    let at = [0, 1, 2].map(|axis| index(grid, p, axis).round());
    let inside = (0..3).all(|axis| at[axis] >= 0.0 && at[axis] < grid.shape[axis] as f64);
    inside.then(|| at.map(|v| v as usize))
}

/// The point in the patient of a point in the phantom, whose 0 is the grid's middle.
pub fn in_patient(grid: &Geometry, p: Vec3) -> PointMm {
    let half = |axis: usize| (grid.shape[axis] as f64 - 1.0) / 2.0 * grid.spacing_mm[axis];
    let o = grid.origin_mm;
    PointMm::new(o.x + half(2) + p[0], o.y + half(1) + p[1], o.z + half(0) + p[2])
}

fn rate(nodule: &Placed, rng: &mut ChaCha8Rng) -> Ratings {
    let mut about =
        |rating: i32| (rating + rng.random_range(-1..=1) * rng.random_range(0..=1)).clamp(1, 5);
    let diameter = 2.0 * nodule.shape.radius;
    let (solid, spiculated) = (nodule.kind == Texture::Solid, nodule.shape.is_spiculated());
    let size = if diameter > 14.0 { 2 } else { i32::from(diameter > 8.0) };
    let texture = match nodule.kind {
        Texture::Solid => 5,
        Texture::PartSolid => 3,
        Texture::GroundGlass => 1,
    };
    Ratings {
        subtlety: about(3 + size - i32::from(nodule.kind == Texture::GroundGlass)) as u8,
        internal_structure: 1,
        calcification: 6,
        sphericity: about(4) as u8,
        margin: about(if solid && !spiculated { 5 } else { 3 }) as u8,
        lobulation: about(2) as u8,
        spiculation: about(if spiculated { 4 } else { 1 }) as u8,
        texture: (texture + if solid { 0 } else { about(2) - 2 }).clamp(1, 5) as u8,
        malignancy: about(2 + size + i32::from(spiculated)) as u8,
    }
}
