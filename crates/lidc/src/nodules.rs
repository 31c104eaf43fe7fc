//! The nodules of a scan: outlines placed, grouped and made into masks.

use crate::{
    LidcError, Mask, Outline, Reading, Rule, SlicePositions, cluster, consensus, outlines,
};
use dasl_volume::{Geometry, LabelVolume, PointMm, VoxelPos};
use ndarray::Array3;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::f64::consts::PI;

/// Which reader's which nodule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlineId {
    /// Reader, from 0 in the file's order.
    pub reader: usize,
    /// The reader's name for the nodule.
    pub id: String,
}

/// One nodule: the outlines that mean it and the mask made of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodule {
    /// The outlines, reader by reader.
    pub outlines: Vec<OutlineId>,
    /// How many different readers outlined it; fewer than `outlines` where one reader outlined
    /// it in pieces.
    pub readers: usize,
    /// Which voxels of the scan belong to it; at least one.
    pub mask: Mask,
    /// Mean of the mask's voxels.
    pub centroid: VoxelPos,
    /// The same place in the patient.
    pub center_mm: PointMm,
    /// Volume of the mask, mm3.
    pub volume_mm3: f64,
    /// Diameter of the sphere of that volume, mm.
    pub diameter_mm: f64,
    /// Malignancy as rated, one per outline, in the order of `outlines`.
    pub malignancy: Vec<u8>,
    /// Texture as rated, one per outline, in the order of `outlines`.
    pub texture: Vec<u8>,
}

/// The nodules of a scan by a rule, from feet to head as [`cluster()`] sorts them. Nodules of
/// which the rule leaves no voxel are not among them.
///
/// `geometry` is the scan's own grid, as read from DICOM; `slice_thickness_mm` is DICOM's
/// `SliceThickness`, the tolerance of grouping. Check with [`crate::same_series`] that the
/// reading is the scan's.
///
/// # Errors
/// If the grid's slices do not differ in z, the slice thickness is not a positive number, or an
/// outline does not lie on the grid: see [`outlines`].
pub fn nodules(
    reading: &Reading,
    geometry: &Geometry,
    slice_thickness_mm: f64,
    rule: Rule,
) -> Result<Vec<Nodule>, LidcError> {
    let grid = |what: String| LidcError::Grid { series: reading.series_uid.clone(), what };
    let slices = SlicePositions::of(geometry).ok_or_else(|| {
        grid("the grid's first axis must run along the patient's z, as in an axial CT".to_owned())
    })?;
    if !(slice_thickness_mm.is_finite() && slice_thickness_mm > 0.0) {
        let what = format!("slice thickness is {slice_thickness_mm} mm, must be above 0");
        return Err(grid(what));
    }
    let [_, rows, columns] = geometry.shape;
    let outlines = outlines(reading, &slices, [rows, columns])?;
    let groups = cluster(&outlines, slice_thickness_mm);
    let group = |ids: &Vec<usize>| {
        let group: Vec<&Outline> = ids.iter().map(|&i| &outlines[i]).collect();
        Some(Nodule::new(&group, consensus(&group, rule)?, geometry))
    };
    Ok(groups.iter().filter_map(group).collect())
}

impl Nodule {
    fn new(group: &[&Outline], mask: Mask, geometry: &Geometry) -> Self {
        let mut sum = [0.0; 3];
        let mut voxels = 0.0;
        for at in mask.indices() {
            voxels += 1.0;
            for axis in 0..3 {
                sum[axis] += at[axis] as f64;
            }
        }
        let centroid = VoxelPos::new(sum[0] / voxels, sum[1] / voxels, sum[2] / voxels);
        let volume_mm3 = voxels * geometry.voxel_mm3();
        let id = |o: &&Outline| OutlineId { reader: o.reader, id: o.id.clone() };
        Self {
            outlines: group.iter().map(id).collect(),
            readers: group.iter().map(|o| o.reader).collect::<BTreeSet<_>>().len(),
            mask,
            centroid,
            center_mm: geometry.to_mm(centroid),
            volume_mm3,
            diameter_mm: (6.0 * volume_mm3 / PI).cbrt(),
            malignancy: group.iter().map(|o| o.characteristics.malignancy).collect(),
            texture: group.iter().map(|o| o.characteristics.texture).collect(),
        }
    }
}

/// All nodules in one map on the scan's grid: voxels of `nodules[i]` get label i + 1; where two
/// overlap the lower label keeps the voxel.
pub fn label_map(nodules: &[Nodule], geometry: &Geometry) -> LabelVolume {
    let mut voxels = Array3::<u16>::zeros(geometry.shape);
    for (label, nodule) in (1u16..).zip(nodules) {
        for at in nodule.mask.indices() {
            if let Some(voxel) = voxels.get_mut(at)
                && *voxel == 0
            {
                *voxel = label;
            }
        }
    }
    LabelVolume::new(voxels, *geometry)
}
