//! What is measured of a nodule that was found, beside Dice: overlap, surfaces, volume, diameter.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use ndarray::{ArrayView3, Zip, s};
use serde::{Deserialize, Serialize};

use crate::matching::ScanResult;
use crate::overlap::Overlap;
use crate::surface::{SurfaceDistances, surface_distances};

/// Name of the rule for diameters: that of the sphere of the mask's volume, as datasets record it.
pub const DIAMETER_RULE: &str = "sphere of equal volume";

/// Measures of a found nodule. Errors are the prediction's figure less the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Intersection over union.
    pub iou: f64,
    /// How far the surfaces lie apart.
    pub surface: SurfaceDistances,
    /// Volume of the reference, mm3.
    pub reference_mm3: f64,
    /// Error of the volume, mm3.
    pub volume_error_mm3: f64,
    /// Error of the volume as a part of the reference's.
    pub volume_error: f64,
    /// Error of the diameter, mm, by [`DIAMETER_RULE`].
    pub diameter_error_mm: f64,
}

/// Diameter of the sphere of a volume, mm.
pub fn sphere_diameter_mm(volume_mm3: f64) -> f64 {
    (6.0 * volume_mm3 / PI).cbrt()
}

impl Measures {
    /// From voxel counts, the surfaces' distances and the volume of a voxel.
    fn of(overlap: Overlap, surface: SurfaceDistances, voxel_mm3: f64) -> Self {
        let reference_mm3 = overlap.reference_voxels as f64 * voxel_mm3;
        let predicted_mm3 = overlap.predicted_voxels as f64 * voxel_mm3;
        Self {
            iou: overlap.iou(),
            surface,
            reference_mm3,
            volume_error_mm3: predicted_mm3 - reference_mm3,
            volume_error: predicted_mm3 / reference_mm3 - 1.0,
            diameter_error_mm: sphere_diameter_mm(predicted_mm3)
                - sphere_diameter_mm(reference_mm3),
        }
    }
}

/// Measures the nodules that were found; `None` stands for a miss.
///
/// # Shapes
/// `reference` and `predicted` are those of `result`, [z, y, x]; `spacing_mm` is the distance of
/// voxel centres along these axes; one result per nodule of `result`, in its order.
pub fn measure(
    reference: ArrayView3<'_, u16>,
    predicted: ArrayView3<'_, u16>,
    result: &ScanResult,
    spacing_mm: [f64; 3],
) -> Vec<Option<Measures>> {
    let (in_reference, in_predicted) = (boxes(reference), boxes(predicted));
    let of = |label: u16, prediction: u16, overlap: Overlap| {
        let (a, b) = (in_reference.get(&label)?, in_predicted.get(&prediction)?);
        let within = a.joined(b).slice();
        let mask = |labels: ArrayView3<'_, u16>, label| labels.slice(within).mapv(|l| l == label);
        let (a, b) = (mask(reference, label), mask(predicted, prediction));
        let surface = surface_distances(a.view(), b.view(), spacing_mm)?;
        Some(Measures::of(overlap, surface, spacing_mm.iter().product()))
    };
    result.nodules.iter().map(|n| of(n.reference, n.prediction?, n.overlap)).collect()
}

/// The box about an instance: first and past-the-last voxel.
#[derive(Clone, Copy)]
struct Box3 {
    low: [usize; 3],
    high: [usize; 3],
}

impl Box3 {
    fn joined(&self, other: &Self) -> Self {
        Self {
            low: std::array::from_fn(|axis| self.low[axis].min(other.low[axis])),
            high: std::array::from_fn(|axis| self.high[axis].max(other.high[axis])),
        }
    }

    fn slice(self) -> ndarray::SliceInfo<[ndarray::SliceInfoElem; 3], ndarray::Ix3, ndarray::Ix3> {
        let Self { low, high } = self;
        s![low[0]..high[0], low[1]..high[1], low[2]..high[2]]
    }
}

fn boxes(labels: ArrayView3<'_, u16>) -> BTreeMap<u16, Box3> {
    let mut boxes = BTreeMap::<u16, Box3>::new();
    Zip::indexed(labels).for_each(|(z, y, x), &label| {
        if label != 0 {
            let here = Box3 { low: [z, y, x], high: [z + 1, y + 1, x + 1] };
            let all = boxes.entry(label).or_insert(here);
            *all = all.joined(&here);
        }
    });
    boxes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::match_instances;
    use ndarray::Array3;

    fn row(labels: &[u16]) -> Array3<u16> {
        Array3::from_shape_vec((1, 1, labels.len()), labels.to_vec()).expect("one row")
    }

    #[test]
    fn by_hand() {
        let reference = row(&[0, 1, 1, 1, 1, 0, 0, 2, 0]);
        let predicted = row(&[0, 0, 0, 3, 3, 3, 3, 0, 0]);
        let result = match_instances(reference.view(), predicted.view()).expect("same shape");
        let found = measure(reference.view(), predicted.view(), &result, [2.0, 1.0, 0.5]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], None, "a miss has no measures");
        let first = found[0].expect("found");
        assert!((first.iou - 2.0 / 6.0).abs() < 1e-15);
        assert!((first.reference_mm3 - 4.0).abs() < 1e-15);
        assert_eq!(
            (first.volume_error_mm3, first.volume_error, first.diameter_error_mm),
            (0., 0., 0.)
        );
        // Two voxels of 0.5 mm off at each end: 0, 0, 0.5, 1 both ways.
        assert!((first.surface.mean_mm - 0.375).abs() < 1e-12);
    }

    #[test]
    fn errors_are_prediction_less_reference() {
        let reference = row(&[1, 1, 1, 1, 1, 1, 1, 1]);
        let predicted = row(&[0, 0, 0, 1, 0, 0, 0, 0]);
        let result = match_instances(reference.view(), predicted.view()).expect("same shape");
        let found =
            measure(reference.view(), predicted.view(), &result, [1.0; 3])[0].expect("found");
        assert!((found.volume_error + 7.0 / 8.0).abs() < 1e-15);
        assert!((found.volume_error_mm3 + 7.0).abs() < 1e-15);
        // An eighth of the volume is half of the diameter.
        assert!((found.diameter_error_mm + sphere_diameter_mm(8.0) / 2.0).abs() < 1e-12);
        assert!((sphere_diameter_mm(4.0 / 3.0 * PI * 27.0) - 6.0).abs() < 1e-12);
    }
}
