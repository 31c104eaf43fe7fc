//! Where voxels lie in the patient: the only place that converts between the two.

use serde::{Deserialize, Serialize};

/// A point in patient millimetres, LPS: x to the patient's left, y to the back, z to the head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PointMm {
    /// Towards the patient's left, mm.
    pub x: f64,
    /// Towards the patient's back, mm.
    pub y: f64,
    /// Towards the patient's head, mm.
    pub z: f64,
}

impl PointMm {
    /// A point from its three coordinates in mm.
    pub fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// Euclidean distance in mm.
    pub fn distance_mm(self, other: Self) -> f64 {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z);
        (dx * dx + dy * dy + dz * dz).sqrt()
    }
}

/// A continuous position in a voxel grid, in array order; whole numbers are voxel centres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VoxelPos {
    /// Slice.
    pub z: f64,
    /// Row.
    pub y: f64,
    /// Column.
    pub x: f64,
}

impl VoxelPos {
    /// A position from its three indices, array order.
    pub fn new(z: f64, y: f64, x: f64) -> Self {
        Self { z, y, x }
    }
}

/// The grid of a volume: how many voxels, how large, where and how turned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Geometry {
    /// Voxels along [z, y, x].
    pub shape: [usize; 3],
    /// Distance of neighbouring voxel centres along [z, y, x], mm.
    pub spacing_mm: [f64; 3],
    /// Centre of voxel [0, 0, 0].
    pub origin_mm: PointMm,
    /// Unit vectors (x, y, z in LPS) along which the array axes [z, y, x] run.
    pub axes: [[f64; 3]; 3],
}

/// Cosine between two axes up to which they count as a right angle that was rounded.
const SHEAR: f64 = 1e-3;

/// Voxels by which an extent may fall short of a half one by rounding: a file keeps its spacing in
/// 32 bits or in decimals, and that must not decide how many voxels another grid has.
const ROUNDED: f64 = 1e-4;

/// Array axes z, y, x along patient axes z, y, x: an axial scan read from feet to head.
pub const AXIAL: [[f64; 3]; 3] = [[0., 0., 1.], [0., 1., 0.], [1., 0., 0.]];

impl Geometry {
    /// An axial grid: array axes along the patient's axes.
    pub fn axial(shape: [usize; 3], spacing_mm: [f64; 3], origin_mm: PointMm) -> Self {
        Self { shape, spacing_mm, origin_mm, axes: AXIAL }
    }

    /// The grid of a file's header: voxel size and direction (LPS, of any length, which counts as
    /// part of the voxel size) along [z, y, x].
    ///
    /// # Errors
    /// What keeps the header from being a grid.
    pub(crate) fn from_directions(
        shape: [usize; 3],
        size_mm: [f64; 3],
        directions: [[f64; 3]; 3],
        origin_mm: PointMm,
    ) -> Result<Self, &'static str> {
        let dot = |a: usize, b: usize| -> f64 {
            directions[a].iter().zip(directions[b]).map(|(a, b)| a * b).sum()
        };
        let length: [f64; 3] = std::array::from_fn(|axis| dot(axis, axis).sqrt());
        let spacing_mm: [f64; 3] = std::array::from_fn(|axis| size_mm[axis] * length[axis]);
        if !spacing_mm.iter().all(|s| s.is_finite() && *s > 1e-6)
            || ![origin_mm.x, origin_mm.y, origin_mm.z].iter().all(|v| v.is_finite())
        {
            return Err("the header has no valid voxel size or origin");
        }
        let sheared = |a: usize, b: usize| dot(a, b).abs() > SHEAR * length[a] * length[b];
        if sheared(0, 1) || sheared(0, 2) || sheared(1, 2) {
            return Err("the header's axes are sheared");
        }
        let axes = std::array::from_fn(|axis| directions[axis].map(|v| v / length[axis]));
        Ok(Self { shape, spacing_mm, origin_mm, axes })
    }

    /// The point at a voxel position.
    pub fn to_mm(&self, at: VoxelPos) -> PointMm {
        let step = [at.z, at.y, at.x];
        let mut p = [self.origin_mm.x, self.origin_mm.y, self.origin_mm.z];
        for ((step, spacing_mm), axis) in step.into_iter().zip(self.spacing_mm).zip(self.axes) {
            let mm = step * spacing_mm;
            for (out, unit) in p.iter_mut().zip(axis) {
                *out += mm * unit;
            }
        }
        PointMm::new(p[0], p[1], p[2])
    }

    /// The voxel position of a point; it may lie outside the grid.
    pub fn to_voxel(&self, p: PointMm) -> VoxelPos {
        let d = [p.x - self.origin_mm.x, p.y - self.origin_mm.y, p.z - self.origin_mm.z];
        let inverse = self.inverse_axes();
        let along = |axis: usize| {
            (0..3).map(|i| inverse[axis][i] * d[i]).sum::<f64>() / self.spacing_mm[axis]
        };
        VoxelPos::new(along(0), along(1), along(2))
    }

    /// Rows that turn a patient vector into lengths along the array axes (the axes may be
    /// oblique to each other by rounding, so this is the true inverse).
    fn inverse_axes(&self) -> [[f64; 3]; 3] {
        let [a, b, c] = self.axes;
        let cross = |u: [f64; 3], v: [f64; 3]| {
            [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
        };
        let (bc, ca, ab) = (cross(b, c), cross(c, a), cross(a, b));
        let det: f64 = (0..3).map(|i| a[i] * bc[i]).sum();
        [bc, ca, ab].map(|row| row.map(|v| v / det))
    }

    /// Volume of one voxel in mm3.
    pub fn voxel_mm3(&self) -> f64 {
        self.spacing_mm.iter().product()
    }

    /// The grid with another spacing over the same field of view: the outer faces of the first
    /// voxels coincide, the far faces lie within half a new voxel.
    #[must_use]
    pub fn with_spacing(&self, spacing_mm: [f64; 3]) -> Self {
        let mut shape = [0; 3];
        let mut first = [0.0; 3];
        for axis in 0..3 {
            let extent = self.shape[axis] as f64 * self.spacing_mm[axis];
            shape[axis] = ((extent / spacing_mm[axis] + ROUNDED).round() as usize).max(1);
            first[axis] = (spacing_mm[axis] / self.spacing_mm[axis] - 1.0) / 2.0;
        }
        let origin_mm = self.to_mm(VoxelPos::new(first[0], first[1], first[2]));
        Self { shape, spacing_mm, origin_mm, axes: self.axes }
    }

    /// The same voxel positions in the order of an axial scan: the array axes [z, y, x] are those
    /// that run closest to the patient's head, back and left, and run there. An axial scan read
    /// from feet to head is left as it is.
    #[must_use]
    pub fn axial_order(&self) -> Self {
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        // Array axis z is meant to run along the third coordinate, y along the second, x the first.
        let along = |axis: usize, to: usize| self.axes[axis][2 - to];
        let fit = |order: &[usize; 3]| (0..3).map(|to| along(order[to], to).abs()).sum::<f64>();
        // Of equal ones the first, whatever rounding says.
        let better = |best: [usize; 3], order: [usize; 3]| {
            if fit(&order) > fit(&best) + 1e-6 { order } else { best }
        };
        let order = ORDERS.into_iter().reduce(better).unwrap_or([0, 1, 2]);
        let turned = [0, 1, 2].map(|to| along(order[to], to) < 0.0);
        let mut first = [0.0; 3];
        for to in (0..3).filter(|to| turned[*to]) {
            first[order[to]] = self.shape[order[to]] as f64 - 1.0;
        }
        Self {
            shape: order.map(|axis| self.shape[axis]),
            spacing_mm: order.map(|axis| self.spacing_mm[axis]),
            origin_mm: self.to_mm(VoxelPos::new(first[0], first[1], first[2])),
            axes: [0, 1, 2].map(|to| {
                let axis = self.axes[order[to]];
                if turned[to] { axis.map(|v| -v) } else { axis }
            }),
        }
    }

    /// The sub-grid that starts at voxel `start` [z, y, x]; it may reach outside.
    #[must_use]
    pub fn crop(&self, start: [i64; 3], shape: [usize; 3]) -> Self {
        let at = VoxelPos::new(start[0] as f64, start[1] as f64, start[2] as f64);
        Self { shape, origin_mm: self.to_mm(at), ..*self }
    }

    /// Whether two grids are the same to `tolerance_mm` at every corner.
    pub fn same_grid(&self, other: &Self, tolerance_mm: f64) -> bool {
        self.shape == other.shape
            && (0..8).all(|corner| {
                let at = |axis: usize| {
                    if corner >> axis & 1 == 1 { (self.shape[axis] - 1) as f64 } else { 0.0 }
                };
                let at = VoxelPos::new(at(0), at(1), at(2));
                self.to_mm(at).distance_mm(other.to_mm(at)) <= tolerance_mm
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oblique() -> Geometry {
        let (s, c) = 0.3_f64.sin_cos();
        Geometry {
            shape: [10, 20, 30],
            spacing_mm: [2.5, 0.7, 0.8],
            origin_mm: PointMm::new(-100.0, 20.0, -300.0),
            axes: [[0., -s, c], [0., c, s], [1., 0., 0.]],
        }
    }

    proptest! {
        #[test]
        fn to_voxel_undoes_to_mm(z in -50.0..50.0, y in -50.0..50.0, x in -50.0..50.0) {
            let g = oblique();
            let back = g.to_voxel(g.to_mm(VoxelPos::new(z, y, x)));
            prop_assert!((back.z - z).abs() < 1e-9);
            prop_assert!((back.y - y).abs() < 1e-9);
            prop_assert!((back.x - x).abs() < 1e-9);
        }
    }

    #[test]
    fn a_new_spacing_keeps_the_field_of_view() {
        let g = Geometry::axial([100, 512, 512], [2.5, 0.7, 0.7], PointMm::new(0., 0., 0.));
        let r = g.with_spacing([1.0; 3]);
        assert_eq!(r.shape, [250, 358, 358]);
        // Lower face of the first voxel: -1.25 mm and -0.35 mm from the old first centre.
        assert!((r.origin_mm.z - 0.5 + 1.25).abs() < 1e-12);
        assert!((r.origin_mm.x - 0.5 + 0.35).abs() < 1e-12);
    }

    #[test]
    fn a_files_rounding_does_not_decide_on_a_voxel() {
        // 125 voxels of 0.7 mm are 87.5 mm.
        let exact = Geometry::axial([125; 3], [0.7; 3], PointMm::new(0., 0., 0.));
        let rounded = Geometry { spacing_mm: [f64::from(0.7_f32); 3], ..exact };
        assert_eq!(exact.with_spacing([1.0; 3]).shape, [88; 3]);
        assert_eq!(rounded.with_spacing([1.0; 3]).shape, [88; 3]);
    }

    proptest! {
        /// However the axes of a scan are ordered and turned, its axial order is one and the same.
        #[test]
        fn axial_order_undoes_every_order_and_turn(
            order in Just([0_usize, 1, 2]).prop_shuffle(),
            turned in prop::array::uniform3(any::<bool>()),
        ) {
            let g = oblique();
            prop_assert_eq!(g.axial_order(), g);
            let last = |axis: usize| if turned[axis] { g.shape[axis] as f64 - 1.0 } else { 0.0 };
            let other = Geometry {
                shape: order.map(|a| g.shape[a]),
                spacing_mm: order.map(|a| g.spacing_mm[a]),
                origin_mm: g.to_mm(VoxelPos::new(last(0), last(1), last(2))),
                axes: order.map(|a| g.axes[a].map(|v| if turned[a] { -v } else { v })),
            };
            let back = other.axial_order();
            prop_assert_eq!((back.shape, back.spacing_mm, back.axes), (g.shape, g.spacing_mm, g.axes));
            prop_assert!(back.same_grid(&g, 1e-9));
        }
    }

    #[test]
    fn a_shifted_grid_is_another_grid() {
        let g = oblique();
        let mut other = g;
        other.origin_mm.x += 0.2;
        assert!(g.same_grid(&g, 1e-9));
        assert!(!g.same_grid(&other, 0.1));
    }
}
