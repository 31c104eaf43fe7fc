//! Places that are neither nodule nor background: FROC counts a mark there neither way.

use std::fmt;

use dasl_volume::{Geometry, PointMm, VoxelPos};

use crate::{
    LidcError, Outline, ReaderNodule, Reading, Rule, SlicePositions, cluster, consensus, outlines,
};

/// Why a place does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredKind {
    /// A nodule below 3 mm, marked by a point or a few.
    SmallNodule,
    /// A lesion of 3 mm or more that a reader holds for no nodule.
    NonNodule,
    /// A nodule that too few readers outlined for the rule.
    FewReaders,
    /// An outlined nodule without ratings, which the consensus leaves out as pylidc does.
    Unrated,
}

impl fmt::Display for IgnoredKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SmallNodule => "small-nodule",
            Self::NonNodule => "non-nodule",
            Self::FewReaders => "few-readers",
            Self::Unrated => "unrated",
        })
    }
}

/// One such place.
#[derive(Debug, Clone, PartialEq)]
pub struct Ignored {
    /// Why.
    pub kind: IgnoredKind,
    /// Where: the mark, or the middle of the outlines.
    pub center_mm: PointMm,
    /// Largest extent in the slice plane, mm, where it is outlined; else 0.
    pub diameter_mm: f64,
}

/// All such places of a reading, by kind and then in the reading's order. Marks on no slice of the
/// scan are left out: nothing can be hit there.
///
/// # Errors
/// As [`crate::nodules()`].
pub fn ignored(
    reading: &Reading,
    geometry: &Geometry,
    slice_thickness_mm: f64,
    rule: Rule,
) -> Result<Vec<Ignored>, LidcError> {
    let Some(slices) = SlicePositions::of(geometry) else { return Ok(Vec::new()) };
    let [_, rows, columns] = geometry.shape;
    let at = |z_mm: f64, [x, y]: [f64; 2]| {
        let slice = slices.slice_at(z_mm)?;
        Some(geometry.to_mm(VoxelPos::new(slice as f64, y, x)))
    };
    let (mut small, mut other, mut unrated) = (Vec::new(), Vec::new(), Vec::new());
    for session in &reading.sessions {
        for nodule in session.nodules.iter().filter(|n| n.is_small()) {
            let points: Vec<[i32; 2]> = nodule.rois.iter().flat_map(|r| r.points.clone()).collect();
            let Some(first) = nodule.rois.first() else { continue };
            let mean = [0, 1]
                .map(|i| points.iter().map(|p| f64::from(p[i])).sum::<f64>() / points.len() as f64);
            small.extend(at(first.z_mm, mean).map(|center_mm| Ignored {
                kind: IgnoredKind::SmallNodule,
                center_mm,
                diameter_mm: 0.0,
            }));
        }
        let outlined = session.nodules.iter().filter(|n| !n.is_small() && !n.is_annotation());
        unrated.extend(outlined.filter_map(|nodule| {
            let (z_mm, middle, diameter_mm) = extent(nodule, geometry.spacing_mm);
            let center_mm = at(z_mm, middle)?;
            Some(Ignored { kind: IgnoredKind::Unrated, center_mm, diameter_mm })
        }));
        for mark in &session.non_nodules {
            other.extend(at(mark.z_mm, mark.point.map(f64::from)).map(|center_mm| Ignored {
                kind: IgnoredKind::NonNodule,
                center_mm,
                diameter_mm: 0.0,
            }));
        }
    }
    let outlines = outlines(reading, &slices, [rows, columns])?;
    let few = cluster(&outlines, slice_thickness_mm).into_iter().filter_map(|ids| {
        let group: Vec<&Outline> = ids.iter().map(|&i| &outlines[i]).collect();
        consensus(&group, rule).is_none().then(|| few_readers(&group, geometry))
    });
    Ok(small.into_iter().chain(other).chain(few).chain(unrated).collect())
}

/// Of a reader's outlines: height of the middle one, the middle of all (x, y) in pixels, and the largest
/// extent in the slice plane, mm.
fn extent(nodule: &ReaderNodule, [_, row_mm, column_mm]: [f64; 3]) -> (f64, [f64; 2], f64) {
    let mut heights: Vec<f64> = nodule.outlined().map(|roi| roi.z_mm).collect();
    heights.sort_by(f64::total_cmp);
    let points = || nodule.outlined().flat_map(|roi| &roi.points);
    let [x, y] = [0, 1].map(|i| {
        let along = points().map(|point| f64::from(point[i]));
        along.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)))
    });
    let middle = [x, y].map(|(low, high)| f64::midpoint(low, high));
    let diameter_mm = ((x.1 - x.0) * column_mm).max((y.1 - y.0) * row_mm);
    (heights[heights.len() / 2], middle, diameter_mm)
}

fn few_readers(group: &[&Outline], geometry: &Geometry) -> Ignored {
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for outline in group {
        let (a, b) = outline.bounds();
        for axis in 0..3 {
            low[axis] = low[axis].min(a[axis]);
            high[axis] = high[axis].max(b[axis]);
        }
    }
    let [z, y, x] = [0, 1, 2].map(|i| (low[i] + high[i]) as f64 / 2.0);
    let extent = |axis: usize| (high[axis] - low[axis]) as f64 * geometry.spacing_mm[axis];
    Ignored {
        kind: IgnoredKind::FewReaders,
        center_mm: geometry.to_mm(VoxelPos::new(z, y, x)),
        diameter_mm: extent(1).max(extent(2)),
    }
}
