//! Signed distances to simple solids: below 0 inside, above 0 outside, in the unit of the
//! coordinates. Points are [x, y, z].

/// A point or vector [x, y, z].
pub type Vec3 = [f64; 3];

/// `a + b`.
pub fn add(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// `a - b`.
pub fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a * s`.
pub fn scale(a: Vec3, s: f64) -> Vec3 {
    [a[0] * s, a[1] * s, a[2] * s]
}

/// The dot product.
pub fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The Euclidean length.
pub fn length(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

/// Distance to an ellipsoid with semi-axes `radii`, first order: exact on the surface,
/// k (k - 1) / |p / r^2| with k = |p / r| elsewhere.
pub fn ellipsoid(p: Vec3, center: Vec3, radii: Vec3) -> f64 {
    let d = sub(p, center);
    let k = length([d[0] / radii[0], d[1] / radii[1], d[2] / radii[2]]);
    let slope = length([
        d[0] / (radii[0] * radii[0]),
        d[1] / (radii[1] * radii[1]),
        d[2] / (radii[2] * radii[2]),
    ]);
    if slope < 1e-9 { -radii[0].min(radii[1]).min(radii[2]) } else { k * (k - 1.0) / slope }
}

/// Distance to the closed curve |x / a|^2.5 + |y / b|^2.5 = 1, between an ellipse and a rectangle,
/// first order.
pub fn superellipse(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let (tx, ty) = ((x / a).abs(), (y / b).abs());
    let (tx15, ty15) = (tx * tx.sqrt(), ty * ty.sqrt());
    let sum = tx15 * tx + ty15 * ty;
    let k = sum.powf(0.4);
    // The gradient of k.
    let slope = (tx15 / a).hypot(ty15 / b) * k / sum.max(1e-12);
    if slope < 1e-9 { -a.min(b) } else { (k - 1.0) / slope }
}

/// Where the point of the segment `a`-`b` nearest to `p` lies (0 at `a`, 1 at `b`), and how far.
pub fn segment(p: Vec3, a: Vec3, b: Vec3) -> (f64, f64) {
    let (ap, ab) = (sub(p, a), sub(b, a));
    let t = (dot(ap, ab) / dot(ab, ab).max(1e-12)).clamp(0.0, 1.0);
    (t, length(sub(ap, scale(ab, t))))
}

/// Distance to a capsule: a segment with a radius.
pub fn capsule(p: Vec3, a: Vec3, b: Vec3, radius: f64) -> f64 {
    segment(p, a, b).1 - radius
}

/// The larger of two distances (the intersection of their solids), its edge rounded over `k`.
pub fn smooth_max(a: f64, b: f64, k: f64) -> f64 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.max(b) + h * h * k * 0.25
}

/// The smaller of two distances (the union of their solids), its groove filled over `k`.
pub fn smooth_min(a: f64, b: f64, k: f64) -> f64 {
    -smooth_max(-a, -b, k)
}

/// The part of a voxel that a solid at this distance fills, for voxels `edge` wide.
pub fn coverage(distance: f64, edge: f64) -> f64 {
    (0.5 - distance / edge).clamp(0.0, 1.0)
}

/// `from` where `part` is 0, `to` where it is 1.
pub fn mix(from: f64, to: f64, part: f64) -> f64 {
    from + (to - from) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_right_along_the_axes() {
        assert!((ellipsoid([13.0, 2.0, 3.0], [3.0, 2.0, 3.0], [8.0, 5.0, 4.0]) - 2.0).abs() < 1e-9);
        assert!(ellipsoid([3.0, 7.0, 3.0], [3.0, 2.0, 3.0], [8.0, 5.0, 4.0]).abs() < 1e-9);
        assert!((superellipse(0.0, 12.0, 20.0, 10.0) - 2.0).abs() < 1e-9);
        assert!((superellipse(-18.0, 0.0, 20.0, 10.0) + 2.0).abs() < 1e-9);
        assert!(superellipse(0.0, 0.0, 20.0, 10.0) < 0.0);
        let end = capsule([0.0, 0.0, 9.0], [0.0; 3], [0.0, 0.0, 4.0], 2.0);
        assert!((end - 3.0).abs() < 1e-9);
    }

    #[test]
    fn rounding_stays_near_the_sharp_edge() {
        assert!((smooth_max(3.0, -9.0, 2.0) - 3.0).abs() < 1e-12);
        assert!((smooth_max(1.0, 1.0, 2.0) - 1.5).abs() < 1e-12);
        assert!((smooth_min(1.0, 1.0, 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_voxel_on_the_edge_is_half_full() {
        assert!((coverage(0.0, 0.8) - 0.5).abs() < 1e-12);
        assert!((coverage(-1.0, 0.8) - 1.0).abs() < 1e-12);
        assert!(coverage(1.0, 0.8).abs() < 1e-12);
    }
}
