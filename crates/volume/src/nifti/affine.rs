//! The geometry in a NIfTI-1 header (nifti1.h, "3D image orientation and location in space").

use crate::geometry::{Geometry, PointMm};
use ::nifti::NiftiHeader;

/// `NIFTI_XFORM_SCANNER_ANAT`: coordinates of the scanner.
const SCANNER: i16 = 1;
/// `NIFTI_UNITS_MM`.
const UNITS_MM: u8 = 2;

/// Voxel index (i, j, k) to RAS mm: `columns[axis]` is the step along i, j, k.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    columns: [[f64; 3]; 3],
    origin: [f64; 3],
}

impl Affine {
    /// From sform if it is set, else qform, else the voxel size alone.
    pub fn from_header(header: &NiftiHeader) -> Self {
        let affine = if header.sform_code > 0 {
            Self::from_sform(header)
        } else if header.qform_code > 0 {
            Self::from_qform(header)
        } else {
            let size = voxel_size(header);
            let along =
                |i: usize| std::array::from_fn(|axis| if axis == i { size[i] } else { 0.0 });
            Self { columns: [along(0), along(1), along(2)], origin: [0.0; 3] }
        };
        // NIFTI_UNITS_METER, NIFTI_UNITS_MICRON; unknown units are taken as mm.
        affine.scaled(match header.xyzt_units & 7 {
            1 => 1000.0,
            3 => 0.001,
            _ => 1.0,
        })
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            columns: self.columns.map(|c| c.map(|v| v * factor)),
            origin: self.origin.map(|v| v * factor),
        }
    }

    fn from_sform(header: &NiftiHeader) -> Self {
        let rows = [header.srow_x, header.srow_y, header.srow_z];
        let column = |j: usize| rows.map(|row| f64::from(row[j]));
        Self { columns: [column(0), column(1), column(2)], origin: column(3) }
    }

    fn from_qform(header: &NiftiHeader) -> Self {
        let bcd = [header.quatern_b, header.quatern_c, header.quatern_d];
        let rotation = rotation(bcd);
        let size = voxel_size(header);
        let handed = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let column = |j: usize| {
            let length = size[j] * if j == 2 { handed } else { 1.0 };
            rotation[j].map(|v| v * length)
        };
        let origin = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
        Self { columns: [column(0), column(1), column(2)], origin }
    }

    /// From a grid: i, j, k run along the array axes x, y, z; LPS to RAS turns the first two
    /// coordinates round.
    pub fn from_geometry(geometry: &Geometry) -> Self {
        let column = |axis: usize| {
            let mm = geometry.spacing_mm[axis];
            flip(geometry.axes[axis].map(|v| v * mm))
        };
        let o = geometry.origin_mm;
        Self { columns: [column(2), column(1), column(0)], origin: flip([o.x, o.y, o.z]) }
    }

    /// The grid of `shape` [z, y, x], or what keeps this from being one.
    pub fn geometry(&self, shape: [usize; 3]) -> Result<Geometry, &'static str> {
        let [x, y, z] = flip(self.origin);
        let [i, j, k] = self.columns.map(flip);
        Geometry::from_directions(shape, [1.0; 3], [k, j, i], PointMm::new(x, y, z))
    }

    /// Writes sform and qform, which agree.
    pub fn into_header(self, header: &mut NiftiHeader) {
        let size = self.columns.map(|c| dot(c, c).sqrt());
        let unit: [[f64; 3]; 3] =
            std::array::from_fn(|axis| self.columns[axis].map(|v| v / size[axis]));
        let handed = if determinant(unit) < 0.0 { -1.0 } else { 1.0 };
        let turned = [unit[0], unit[1], unit[2].map(|v| v * handed)];
        let [b, c, d] = quaternion(turned);
        header.pixdim =
            [handed as f32, size[0] as f32, size[1] as f32, size[2] as f32, 1., 1., 1., 1.];
        header.xyzt_units = UNITS_MM;
        header.qform_code = SCANNER;
        header.sform_code = SCANNER;
        [header.quatern_b, header.quatern_c, header.quatern_d] = [b, c, d];
        let origin = self.origin.map(|v| v as f32);
        [header.quatern_x, header.quatern_y, header.quatern_z] = origin;
        let row = |i: usize| {
            let [x, y, z] = self.columns;
            [x[i] as f32, y[i] as f32, z[i] as f32, origin[i]]
        };
        (header.srow_x, header.srow_y, header.srow_z) = (row(0), row(1), row(2));
    }
}

fn voxel_size(header: &NiftiHeader) -> [f64; 3] {
    [1, 2, 3].map(|i| f64::from(header.pixdim[i]).abs())
}

fn flip([x, y, z]: [f64; 3]) -> [f64; 3] {
    [-x, -y, z]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn determinant([a, b, c]: [[f64; 3]; 3]) -> f64 {
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
}

/// Columns of the rotation of a stored quaternion, as nifti1.h gives it: the real part follows
/// from the other three, and is 0 where their length is nearly 1.
fn rotation(bcd: [f32; 3]) -> [[f64; 3]; 3] {
    let [mut b, mut c, mut d] = bcd.map(f64::from);
    let rest = 1.0 - (b * b + c * c + d * d);
    let a = if rest < 1e-7 {
        let length = (b * b + c * c + d * d).sqrt();
        (b, c, d) = (b / length, c / length, d / length);
        0.0
    } else {
        rest.sqrt()
    };
    [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - c * c - b * b],
    ]
}

/// The stored part of a rotation's quaternion (nifti1.h: the real part is not negative).
///
/// An axial scan is half a turn about z in RAS, so its real part is near 0 and is what rounding to
/// f32 leaves of 1 - b2 - c2 - d2: a scan that is tilted by less than a degree can lose up to 1e-3
/// of its direction in a qform. The sform has it in full, and readers prefer that.
fn quaternion(columns: [[f64; 3]; 3]) -> [f32; 3] {
    let r = |row: usize, column: usize| columns[column][row];
    // Largest of the four components first, so that no root is taken of a small difference.
    let squares = [
        1.0 + r(0, 0) + r(1, 1) + r(2, 2),
        1.0 + r(0, 0) - r(1, 1) - r(2, 2),
        1.0 + r(1, 1) - r(0, 0) - r(2, 2),
        1.0 + r(2, 2) - r(0, 0) - r(1, 1),
    ];
    let largest = (0..4).max_by(|a, b| squares[*a].total_cmp(&squares[*b])).unwrap_or(0);
    let p = squares[largest].max(0.0).sqrt() / 2.0;
    let (yz, zx, xy) = (r(2, 1) - r(1, 2), r(0, 2) - r(2, 0), r(1, 0) - r(0, 1));
    let (sxy, sxz, syz) = (r(0, 1) + r(1, 0), r(0, 2) + r(2, 0), r(1, 2) + r(2, 1));
    let q = 0.25 / p;
    let [a, b, c, d] = match largest {
        0 => [p, yz * q, zx * q, xy * q],
        1 => [yz * q, p, sxy * q, sxz * q],
        2 => [zx * q, sxy * q, p, syz * q],
        _ => [xy * q, sxz * q, syz * q, p],
    };
    let sign = if a < 0.0 { -1.0 } else { 1.0 };
    [b, c, d].map(|v| (v * sign) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A rotation of LPS axes by three angles.
    fn turned(angles: [f64; 3], handed: f64) -> Geometry {
        let [u, v, w] = angles.map(f64::sin_cos);
        let z = |p: [f64; 3]| [w.1 * p[0] - w.0 * p[1], w.0 * p[0] + w.1 * p[1], p[2]];
        let y = |p: [f64; 3]| [v.1 * p[0] + v.0 * p[2], p[1], v.1 * p[2] - v.0 * p[0]];
        let x = |p: [f64; 3]| [p[0], u.1 * p[1] - u.0 * p[2], u.0 * p[1] + u.1 * p[2]];
        let unit = |i: usize| std::array::from_fn(|j| f64::from(u8::from(i == j)));
        let axis = |i: usize| z(y(x(unit(i))));
        Geometry {
            shape: [133, 512, 512],
            spacing_mm: [2.5, 0.703_125, 0.703_125],
            origin_mm: PointMm::new(-166.0, -171.699_997, -340.0),
            axes: [axis(2).map(|c| c * handed), axis(1), axis(0)],
        }
    }

    fn largest_difference(a: &Geometry, b: &Geometry) -> f64 {
        let axes = a.axes.iter().flatten().zip(b.axes.iter().flatten());
        axes.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn sform_and_qform_both_give_the_geometry_back(
            u in -0.4..0.4_f64, v in -0.4..0.4_f64, w in -3.2..3.2_f64, left in any::<bool>(),
        ) {
            let g = turned([u, v, w], if left { -1.0 } else { 1.0 });
            let mut header = NiftiHeader::default();
            Affine::from_geometry(&g).into_header(&mut header);
            let s = Affine::from_sform(&header).geometry(g.shape).unwrap();
            let q = Affine::from_qform(&header).geometry(g.shape).unwrap();
            prop_assert!(largest_difference(&g, &s) < 1e-6);
            prop_assert!(largest_difference(&g, &q) < 1e-3);
            prop_assert!(s.origin_mm.distance_mm(g.origin_mm) < 5e-5);
            prop_assert!(q.origin_mm.distance_mm(g.origin_mm) < 5e-5);
            prop_assert!(g.same_grid(&s, 1e-3));
        }
    }

    #[test]
    fn a_small_tilt_is_exact_in_the_sform_and_near_in_the_qform() {
        for i in 0..200 {
            let tilt = f64::from(i) * 1e-4;
            let g = turned([tilt, tilt / 3.0, tilt / 7.0], 1.0);
            let mut header = NiftiHeader::default();
            Affine::from_geometry(&g).into_header(&mut header);
            let q = Affine::from_qform(&header).geometry(g.shape).unwrap();
            assert!(largest_difference(&g, &q) < 1e-3, "tilt {tilt}");
            let s = Affine::from_sform(&header).geometry(g.shape).unwrap();
            assert!(largest_difference(&g, &s) < 1e-6);
        }
    }

    #[test]
    fn a_sheared_affine_is_refused() {
        let mut header = NiftiHeader { sform_code: 1, ..NiftiHeader::default() };
        header.srow_x = [1.0, 0.2, 0.0, 0.0];
        header.srow_y = [0.0, 1.0, 0.0, 0.0];
        header.srow_z = [0.0, 0.0, 1.0, 0.0];
        let affine = Affine::from_header(&header);
        assert_eq!(affine.geometry([2, 2, 2]), Err("the header's axes are sheared"));
    }

    #[test]
    fn without_forms_the_voxel_size_counts() {
        let header = NiftiHeader {
            pixdim: [1.0, 0.7, 0.8, 2.5, 0., 0., 0., 0.],
            sform_code: 0,
            qform_code: 0,
            ..NiftiHeader::default()
        };
        let g = Affine::from_header(&header).geometry([4, 3, 2]).unwrap();
        assert!((g.spacing_mm[0] - 2.5).abs() < 1e-6 && (g.spacing_mm[2] - 0.7).abs() < 1e-6);
        assert_eq!(g.axes, [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]]);
    }
}
