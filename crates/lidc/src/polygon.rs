//! Which pixels a closed polygon contains, as matplotlib decides it.

/// Calls `mark(p)` an odd number of times exactly for each whole-numbered point `p` that
/// matplotlib's `Path.contains_points(points, radius=0)` calls inside of the polygon, among the
/// points of the box `low..=high`; the box must enclose the polygon. So a caller that flips a
/// flag per call ends with the inside.
///
/// The test is the crossing test of matplotlib's `point_in_path_impl` (src/_path.h, from
/// Haines' `CrossingsMultiplyTest`): a point's ray along +p0 crosses an edge (v0, v1) if
/// `v0[1] >= p[1]` and `v1[1] >= p[1]` differ, and
/// `((v1[1] - p[1]) (v0[0] - v1[0]) >= (v1[0] - p[0]) (v0[1] - v1[1])) == (v1[1] >= p[1])`.
/// Coordinates are whole, so i64 arithmetic equals matplotlib's in f64. A polygon of fewer than
/// three vertices, the closing one counted, contains nothing.
pub fn flip_inside(
    polygon: &[[i64; 2]],
    low: [i64; 2],
    high: [i64; 2],
    mut flip: impl FnMut([i64; 2]),
) {
    let closed = polygon.first() == polygon.last();
    let vertices = polygon.len() + usize::from(!closed);
    if polygon.is_empty() || vertices < 3 {
        return;
    }
    for (i, &v0) in polygon.iter().enumerate() {
        let v1 = polygon[(i + 1) % polygon.len()];
        // The flags differ exactly for min < p1 <= max.
        let from = (v0[1].min(v1[1]) + 1).max(low[1]);
        let to = v0[1].max(v1[1]).min(high[1]);
        for p1 in from..=to {
            let flag = v1[1] >= p1;
            let left = (v1[1] - p1) * (v0[0] - v1[0]);
            for p0 in low[0]..=high[0] {
                if (left >= (v1[0] - p0) * (v0[1] - v1[1])) == flag {
                    flip([p0, p1]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn inside(polygon: &[[i64; 2]]) -> Vec<[i64; 2]> {
        let mut set = BTreeSet::new();
        flip_inside(polygon, [0, 0], [9, 9], |p| {
            if !set.remove(&p) {
                set.insert(p);
            }
        });
        set.into_iter().collect()
    }

    /// Golden: matplotlib 3.7.5, `Path(v, closed=True).contains_points` over the 10 x 10 points;
    /// which sides count depends on the direction in which the outline runs.
    #[test]
    fn squares_hold_the_sides_that_matplotlib_gives_them() {
        let square = |p0: std::ops::RangeInclusive<i64>| {
            p0.flat_map(|p0| (2..=4).map(move |p1| [p0, p1])).collect::<Vec<_>>()
        };
        assert_eq!(inside(&[[1, 1], [1, 4], [4, 4], [4, 1], [1, 1]]), square(2..=3));
        assert_eq!(inside(&[[1, 1], [4, 1], [4, 4], [1, 4], [1, 1]]), square(1..=4));
        assert_eq!(inside(&[[1, 1], [4, 1], [4, 4], [1, 4]]), square(1..=4));
    }

    /// Golden: the same, for an outline that crosses itself and one of two points.
    #[test]
    fn odd_outlines_hold_what_matplotlib_says() {
        let bow = [[1, 1], [7, 7], [7, 1], [1, 7], [1, 1]];
        let rows = [(1, 2, 7), (2, 2, 6), (3, 3, 5), (4, 4, 4), (5, 4, 4), (6, 3, 5), (7, 7, 7)];
        let expected: Vec<[i64; 2]> = rows
            .into_iter()
            .flat_map(|(p0, from, to)| (from..=to).map(move |p1| [p0, p1]))
            .collect();
        assert_eq!(inside(&bow), expected);
        assert_eq!(inside(&[[2, 2], [5, 7]]), vec![[5, 7]]);
        assert_eq!(inside(&[[2, 2], [2, 2]]), Vec::<[i64; 2]>::new());
        assert_eq!(inside(&[]), Vec::<[i64; 2]>::new());
    }
}
