//! Trilinear interpolation between two grids.

use crate::geometry::{Geometry, VoxelPos};
use ndarray::{Array3, Axis};
use rayon::prelude::*;

/// Positions this close outside the border count as inside: two grids that end at the same face
/// must not lose a voxel to rounding.
const BORDER: f64 = 1e-6;

/// Where the voxels of one grid lie in another: an affine map of indices.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexMap {
    /// Source position of target voxel [0, 0, 0].
    origin: [f64; 3],
    /// Change of the source position per step along each target axis.
    step: [[f64; 3]; 3],
}

impl IndexMap {
    pub fn new(target: &Geometry, source: &Geometry) -> Self {
        let at = |z, y, x| {
            let p = source.to_voxel(target.to_mm(VoxelPos::new(z, y, x)));
            [p.z, p.y, p.x]
        };
        let origin = at(0.0, 0.0, 0.0);
        let minus = |p: [f64; 3]| [0, 1, 2].map(|i| p[i] - origin[i]);
        let step = [minus(at(1.0, 0.0, 0.0)), minus(at(0.0, 1.0, 0.0)), minus(at(0.0, 0.0, 1.0))];
        Self { origin, step }
    }

    /// The source position of a target voxel.
    pub fn at(&self, index: [usize; 3]) -> [f64; 3] {
        let mut p = self.origin;
        for (axis, step) in self.step.iter().enumerate() {
            for (p, step) in p.iter_mut().zip(step) {
                *p += index[axis] as f64 * step;
            }
        }
        p
    }

    /// Whether each source axis depends on its own target axis alone, over grids of this size.
    fn is_separable(&self, target_shape: [usize; 3]) -> bool {
        (0..3).all(|target| {
            (0..3).all(|source| {
                let drift = self.step[target][source] * target_shape[target] as f64;
                target == source || drift.abs() < 1e-5
            })
        })
    }
}

/// The two neighbours of a position along one axis: lower index, upper index, the upper one's
/// weight. `None` more than half a voxel outside; within it the border's value holds.
pub(super) fn tap(position: f64, length: usize) -> Option<(usize, usize, f32)> {
    let last = length as f64 - 1.0;
    if position < -0.5 - BORDER || position > last + 0.5 + BORDER {
        return None;
    }
    let inside = position.clamp(0.0, last);
    let lower = inside.floor() as usize;
    Some((lower, (lower + 1).min(length - 1), (inside - lower as f64) as f32))
}

/// `source` interpolated at every voxel of `to`; `outside` beyond its border.
pub(super) fn resample<T: Copy + Sync, U: Copy + Send + Sync>(
    source: &Array3<T>,
    from: &Geometry,
    to: &Geometry,
    load: impl Fn(T) -> f32 + Sync,
    outside: U,
    store: impl Fn(f32) -> U + Sync,
) -> Array3<U> {
    let map = IndexMap::new(to, from);
    let source = source.as_standard_layout();
    let Some(values) = source.as_slice() else { unreachable!("standard layout is contiguous") };
    let mut out = Array3::from_elem(to.shape, outside);
    let separable = map.is_separable(to.shape);
    let taps = |axis: usize| -> Vec<_> {
        let at = |i| map.origin[axis] + i as f64 * map.step[axis][axis];
        (0..to.shape[axis]).map(|i| tap(at(i), from.shape[axis])).collect()
    };
    let (rows, columns) = (taps(1), taps(2));
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(z, mut plane)| {
        let Some(plane) = plane.as_slice_mut() else { return };
        if separable {
            let at = map.origin[0] + z as f64 * map.step[0][0];
            if let Some(slice) = tap(at, from.shape[0]) {
                separable_plane(values, from.shape, slice, &rows, &columns, &load, |i, v| {
                    plane[i] = store(v);
                });
            }
            return;
        }
        for (i, out) in plane.iter_mut().enumerate() {
            let at = map.at([z, i / to.shape[2], i % to.shape[2]]);
            if let Some(v) = at_position(values, from.shape, at, &load) {
                *out = store(v);
            }
        }
    });
    out
}

type Tap = (usize, usize, f32);

/// One plane between grids that share their axes: blend four source rows into one, then
/// interpolate along it.
fn separable_plane<T: Copy>(
    values: &[T],
    shape: [usize; 3],
    (z0, z1, wz): Tap,
    rows: &[Option<Tap>],
    columns: &[Option<Tap>],
    load: &impl Fn(T) -> f32,
    mut put: impl FnMut(usize, f32),
) {
    let row = |z: usize, y: usize| {
        let start = (z * shape[1] + y) * shape[2];
        &values[start..start + shape[2]]
    };
    let mut blended = vec![0.0_f32; shape[2]];
    for (y, tap) in rows.iter().enumerate() {
        let Some((y0, y1, wy)) = *tap else { continue };
        let (a, b, c, d) = (row(z0, y0), row(z0, y1), row(z1, y0), row(z1, y1));
        for (x, out) in blended.iter_mut().enumerate() {
            let low = lerp(load(a[x]), load(b[x]), wy);
            *out = lerp(low, lerp(load(c[x]), load(d[x]), wy), wz);
        }
        for (x, tap) in columns.iter().enumerate() {
            if let Some((x0, x1, wx)) = *tap {
                put(y * columns.len() + x, lerp(blended[x0], blended[x1], wx));
            }
        }
    }
}

fn at_position<T: Copy>(
    values: &[T],
    shape: [usize; 3],
    [z, y, x]: [f64; 3],
    load: &impl Fn(T) -> f32,
) -> Option<f32> {
    let (z0, z1, wz) = tap(z, shape[0])?;
    let (y0, y1, wy) = tap(y, shape[1])?;
    let (x0, x1, wx) = tap(x, shape[2])?;
    let value = |z: usize, y: usize, x: usize| load(values[(z * shape[1] + y) * shape[2] + x]);
    let along = |z, y| lerp(value(z, y, x0), value(z, y, x1), wx);
    let plane = |z| lerp(along(z, y0), along(z, y1), wy);
    Some(lerp(plane(z0), plane(z1), wz))
}

fn lerp(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{AXIAL, PointMm};
    use crate::resample::{resample_ct, resample_probability};
    use crate::volume::{CtVolume, PADDING_HU, Volume};
    use proptest::prelude::*;

    fn grid(shape: [usize; 3], spacing_mm: [f64; 3]) -> Geometry {
        Geometry::axial(shape, spacing_mm, PointMm::new(-10.0, 4.0, 2.0))
    }

    /// A value that is linear in patient space, which linear interpolation must reproduce.
    fn ramp(g: Geometry) -> Volume<f32> {
        let voxels = Array3::from_shape_fn(g.shape, |(z, y, x)| {
            let p = g.to_mm(VoxelPos::new(z as f64, y as f64, x as f64));
            (2.0 * p.x - 3.0 * p.y + 5.0 * p.z) as f32
        });
        Volume::new(voxels, g)
    }

    fn turned(g: &Geometry, angle: f64) -> Geometry {
        let (s, c) = angle.sin_cos();
        Geometry { axes: [AXIAL[0], [-s, c, 0.0], [c, s, 0.0]], ..*g }
    }

    proptest! {
        #[test]
        fn a_linear_field_is_reproduced_on_any_grid(
            angle in -3.0..3.0_f64,
            spacing in 0.5..2.0_f64,
            shared in any::<bool>(),
        ) {
            let from = grid([9, 11, 12], [2.0, 0.8, 0.8]);
            let fine = from.with_spacing([spacing; 3]);
            let to = if shared { fine } else { turned(&fine, angle) };
            let source = ramp(from);
            let got = resample_probability(&source, &to);
            let want = ramp(to);
            for ((z, y, x), v) in got.voxels.indexed_iter() {
                let p = from.to_voxel(to.to_mm(VoxelPos::new(z as f64, y as f64, x as f64)));
                let inner = |p: f64, n: usize| p >= 0.0 && p <= n as f64 - 1.0;
                if inner(p.z, 9) && inner(p.y, 11) && inner(p.x, 12) {
                    prop_assert!((v - want.voxels[[z, y, x]]).abs() < 1e-3);
                }
            }
        }
    }

    #[test]
    fn both_paths_agree() {
        let from = grid([7, 9, 10], [2.0, 0.8, 0.7]);
        let source = ramp(from);
        let to = from.with_spacing([1.0; 3]);
        // Half a micrometre of skew over the grid sends it down the general path.
        let fast = resample_probability(&source, &to);
        let general = resample_probability(&source, &turned(&to, 3e-6));
        for (a, b) in fast.voxels.iter().zip(&general.voxels) {
            assert!((a - b).abs() < 1e-2);
        }
    }

    #[test]
    fn the_outer_half_voxel_holds_the_border_and_beyond_is_padding() {
        let from = Geometry::axial([1, 1, 2], [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
        let ct = CtVolume::new(Array3::from_shape_vec((1, 1, 2), vec![10, 20]).unwrap(), from);
        let to = Geometry::axial([1, 1, 5], [1.0, 1.0, 0.4], PointMm::new(-0.8, 0.0, 0.0));
        // At -0.8, -0.4, 0.0, 0.4, 0.8
        let got = resample_ct(&ct, &to).voxels;
        assert_eq!(got.as_slice().unwrap(), &[PADDING_HU, 10, 10, 14, 18]);
    }
}
