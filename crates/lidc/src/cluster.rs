//! Which outlines mean the same nodule: pylidc's `Scan.cluster_annotations` with its defaults.

use crate::Outline;

/// How much the tolerance shrinks while a group has more outlines than there are readers.
const FACTOR: f64 = 0.9;
/// Below this tolerance large groups are left as they are.
const MIN_TOLERANCE: f64 = 0.1;
/// Readers of a scan: no nodule has more outlines.
const READERS: usize = 4;

/// Groups outlines into nodules; each group lists indices into `outlines`, ascending, and the
/// groups follow each other by the mean slice of their outlines' centroids.
///
/// Two outlines are neighbours if their nearest contour points are at most a tolerance apart,
/// and a nodule is a connected component. The tolerance starts at the slice thickness and
/// shrinks by 0.9 while a group has more than four outlines, but not below 0.1.
///
/// As in pylidc 0.2.3, and unlike its documentation, the distance is measured in *voxel
/// indices* (row, column, slice), while the tolerance is the slice thickness in mm: a scan of
/// 2.5 mm slices joins outlines at most 2.5 pixels or two slices apart. Kept because published
/// nodule lists rest on it.
///
/// `slice_thickness_mm` is DICOM's `SliceThickness` (0018,0050), which need not be the distance
/// of the slices.
pub fn cluster(outlines: &[Outline], slice_thickness_mm: f64) -> Vec<Vec<usize>> {
    let distance = distances(outlines, slice_thickness_mm);
    let mut tolerance = slice_thickness_mm;
    let mut groups = components(&distance, tolerance);
    while groups.iter().any(|g| g.len() > READERS) {
        tolerance *= FACTOR;
        if tolerance < MIN_TOLERANCE || !tolerance.is_finite() {
            break;
        }
        groups = components(&distance, tolerance);
    }
    let mean_slice = |group: &Vec<usize>| {
        let sum: f64 = group.iter().map(|&i| centroid_slice(&outlines[i])).sum();
        sum / group.len() as f64
    };
    // Stable, so that groups at the same height keep the order of their first outline.
    groups.sort_by(|a, b| mean_slice(a).total_cmp(&mean_slice(b)));
    groups
}

/// Slice of pylidc's `Annotation.centroid`: the mean over all contour points.
fn centroid_slice(outline: &Outline) -> f64 {
    let (sum, n) = outline.points().fold((0, 0), |(sum, n), [z, _, _]| (sum + z, n + 1));
    f64::from(sum as u32) / f64::from(n)
}

/// Connected components of the graph "at most `tolerance` apart", by their first member.
fn components(distance: &[Vec<f64>], tolerance: f64) -> Vec<Vec<usize>> {
    let n = distance.len();
    let mut seen = vec![false; n];
    let mut groups = Vec::new();
    for first in 0..n {
        if seen[first] {
            continue;
        }
        seen[first] = true;
        let mut group = vec![first];
        let mut next = 0;
        while next < group.len() {
            for other in 0..n {
                if !seen[other] && distance[group[next]][other] <= tolerance {
                    seen[other] = true;
                    group.push(other);
                }
            }
            next += 1;
        }
        group.sort_unstable();
        groups.push(group);
    }
    groups
}

/// The matrix of nearest distances in voxels; beyond `reach` it is infinite.
fn distances(outlines: &[Outline], reach: f64) -> Vec<Vec<f64>> {
    let boxed: Vec<Vec<Boxed>> = outlines.iter().map(Boxed::all).collect();
    let mut matrix = vec![vec![0.0; outlines.len()]; outlines.len()];
    for i in 0..outlines.len() {
        for j in i + 1..outlines.len() {
            let d = nearest(&boxed[i], &boxed[j], reach);
            matrix[i][j] = d;
            matrix[j][i] = d;
        }
    }
    matrix
}

/// A contour's points with the box about them.
struct Boxed {
    points: Vec<[i64; 3]>,
    low: [i64; 3],
    high: [i64; 3],
}

impl Boxed {
    fn all(outline: &Outline) -> Vec<Self> {
        outline
            .contours
            .iter()
            .map(|c| {
                let point = |&[y, x]: &[usize; 2]| [c.slice as i64, y as i64, x as i64];
                let points: Vec<[i64; 3]> = c.points.iter().map(point).collect();
                let fold = |start: i64, pick: fn(i64, i64) -> i64| {
                    points.iter().fold([start; 3], |acc, p| {
                        std::array::from_fn(|axis| pick(acc[axis], p[axis]))
                    })
                };
                Self { low: fold(i64::MAX, i64::min), high: fold(i64::MIN, i64::max), points }
            })
            .collect()
    }

    /// Squared distance of two boxes: a lower bound for that of their points.
    fn gap2(&self, other: &Self) -> i64 {
        (0..3)
            .map(|axis| {
                let gap = (self.low[axis] - other.high[axis])
                    .max(other.low[axis] - self.high[axis])
                    .max(0);
                gap * gap
            })
            .sum()
    }
}

/// Nearest distance of two outlines' points, infinite if more than `reach`. Exact: the squared
/// distance is a whole number, as in scipy's `cdist` on whole coordinates.
fn nearest(a: &[Boxed], b: &[Boxed], reach: f64) -> f64 {
    let mut best = i64::MAX;
    for ca in a {
        for cb in b {
            let gap2 = ca.gap2(cb);
            if gap2 >= best || (gap2 as f64).sqrt() > reach {
                continue;
            }
            for p in &ca.points {
                for q in &cb.points {
                    let d2: i64 = (0..3).map(|axis| (p[axis] - q[axis]).pow(2)).sum();
                    best = best.min(d2);
                }
            }
        }
    }
    if best == i64::MAX { f64::INFINITY } else { (best as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Characteristics, Contour};
    use proptest::prelude::*;

    fn at(points: &[[usize; 3]]) -> Outline {
        let contours = points
            .iter()
            .map(|&[slice, y, x]| Contour { slice, inclusion: true, points: vec![[y, x]; 2] })
            .collect();
        Outline {
            reader: 0,
            id: String::new(),
            characteristics: Characteristics::default(),
            contours,
        }
    }

    #[test]
    fn neighbours_join_at_the_tolerance_and_chains_are_one_group() {
        let o = [at(&[[9, 0, 0]]), at(&[[5, 9, 0]]), at(&[[9, 0, 3]]), at(&[[9, 0, 5]])];
        assert_eq!(cluster(&o, 3.0), vec![vec![1], vec![0, 2, 3]]);
        assert_eq!(cluster(&o, 2.9), vec![vec![1], vec![0], vec![2, 3]]);
        assert_eq!(cluster(&[], 2.5), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn a_group_of_five_falls_apart_under_a_smaller_tolerance() {
        let o: Vec<_> = [0, 1, 2, 3, 5].iter().map(|&x| at(&[[0, 0, x]])).collect();
        // 2.0 joins all; 1.8 does not reach from 3 to 5.
        assert_eq!(cluster(&o, 2.0), vec![vec![0, 1, 2, 3], vec![4]]);
        // Five at one place can't be told apart.
        let same: Vec<_> = (0..5).map(|_| at(&[[0, 0, 0]])).collect();
        assert_eq!(cluster(&same, 2.0), vec![vec![0, 1, 2, 3, 4]]);
    }

    proptest! {
        #[test]
        fn pruned_distances_are_the_plain_ones_within_reach(
            points in prop::collection::vec(
                prop::collection::vec([0usize..6, 0usize..30, 0usize..30], 1..6), 2..6),
            reach in 0.0..12.0f64,
        ) {
            let o: Vec<_> = points.iter().map(|p| at(p)).collect();
            let fast = distances(&o, reach);
            for i in 0..o.len() {
                for j in 0..o.len() {
                    let plain = o[i].points().flat_map(|p| o[j].points().map(move |q| {
                        (0..3).map(|a| (p[a] as f64 - q[a] as f64).powi(2)).sum::<f64>().sqrt()
                    })).fold(f64::INFINITY, f64::min);
                    prop_assert_eq!(fast[i][j] <= reach, i == j || plain <= reach);
                    if fast[i][j] <= reach {
                        prop_assert_eq!(fast[i][j].to_bits(), plain.to_bits());
                    }
                }
            }
        }
    }
}
