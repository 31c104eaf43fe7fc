//! References must survive the way to the 1 mm working grid and back.

mod shared_data;

use dasl_volume::resample::{resample_labels, resample_labels_linear, resample_probability};
use dasl_volume::{Geometry, LabelVolume, PointMm, Volume, crop_padded};
use ndarray::Array3;
use rayon::prelude::*;
use shared_data::Voi;

/// Empty voxels around a mask, as in a whole scan.
const AROUND: usize = 8;

fn native(voi: &Voi) -> LabelVolume {
    let shape = [0, 1, 2].map(|i| voi.mask.shape()[i] + 2 * AROUND);
    let start = [-(AROUND as i64); 3];
    let mask = crop_padded(voi.mask.view(), start, shape, 0).mapv(u16::from);
    Volume::new(mask, Geometry::axial(shape, voi.spacing_mm, PointMm::new(-20.0, -30.0, -400.0)))
}

/// A label as the network's probability map would hold it, back on the scan's grid.
fn back(one_mm: &LabelVolume, native: &Geometry) -> Array3<bool> {
    let probability = Volume::new(one_mm.voxels.mapv(f32::from), one_mm.geometry);
    resample_probability(&probability, native).voxels.mapv(|p| p >= 0.5)
}

/// Crop to a patch and paste into an empty grid: what inference does with each nodule.
fn crop_and_paste(labels: &LabelVolume) -> LabelVolume {
    let shape = labels.geometry.shape;
    let patch = labels.geometry.crop([3, 2, 4], [0, 1, 2].map(|i| shape[i] - 6));
    let cut = crop_padded(labels.voxels.view(), [3, 2, 4], patch.shape, 0);
    let pasted = crop_padded(cut.view(), [-3, -2, -4], shape, 0);
    Volume::new(pasted, labels.geometry)
}

fn dice(mask: &LabelVolume, back: &Array3<bool>) -> f64 {
    let (mut both, mut sum) = (0_usize, 0_usize);
    for (a, b) in mask.voxels.iter().zip(back) {
        both += usize::from(*a == 1 && *b);
        sum += usize::from(*a == 1) + usize::from(*b);
    }
    2.0 * both as f64 / sum as f64
}

fn diameter_mm(mask: &LabelVolume) -> f64 {
    let voxels = mask.voxels.iter().filter(|v| **v == 1).count() as f64;
    (6.0 * voxels * mask.geometry.voxel_mm3() / std::f64::consts::PI).cbrt()
}

struct Class {
    name: &'static str,
    from_mm: f64,
    to_mm: f64,
    bound: f64,
}

fn report(what: &str, class: &Class, all: &[(f64, f64)]) -> (f64, f64, f64) {
    let inside = |d: f64| d >= class.from_mm && d < class.to_mm;
    let dices: Vec<f64> = all.iter().filter(|(d, _)| inside(*d)).map(|(_, dice)| *dice).collect();
    let n = dices.len() as f64;
    let worst = dices.iter().copied().fold(1.0, f64::min);
    let mean = dices.iter().sum::<f64>() / n;
    let below = dices.iter().filter(|d| **d < class.bound).count() as f64 / n;
    println!(
        "{what:8} {:8} n {n:3}: worst {worst:.4}, mean {mean:.4}, below {}: {below:.4}",
        class.name, class.bound
    );
    (worst, mean, below)
}

#[test]
fn lidc_nodules_come_back_from_one_millimetre() {
    let Some(vois) = shared_data::vois() else { return };
    let trip = |carry: fn(&LabelVolume, &Geometry) -> LabelVolume| -> Vec<(f64, f64)> {
        vois.par_iter()
            .map(|voi| {
                let mask = native(voi);
                let one_mm = carry(&mask, &mask.geometry.with_spacing([1.0; 3]));
                let back = back(&crop_and_paste(&one_mm), &mask.geometry);
                (diameter_mm(&mask), dice(&mask, &back))
            })
            .collect()
    };
    let (refined, linear) = (trip(resample_labels), trip(resample_labels_linear));
    // The way back of a label map rather than a probability map.
    let labels: Vec<(f64, f64)> = vois
        .par_iter()
        .map(|voi| {
            let mask = native(voi);
            let one_mm = resample_labels(&mask, &mask.geometry.with_spacing([1.0; 3]));
            let back = resample_labels_linear(&one_mm, &mask.geometry).voxels.mapv(|v| v == 1);
            (diameter_mm(&mask), dice(&mask, &back))
        })
        .collect();
    assert!(refined.len() >= 840);
    // Below the bounds stay outlines on slices thinner than 1 mm that jump from slice to slice:
    // a 1 mm grid cannot hold them, whatever its values.
    let small = Class { name: "< 6 mm", from_mm: 0.0, to_mm: 6.0, bound: 0.93 };
    let middle = Class { name: "6-10 mm", from_mm: 6.0, to_mm: 10.0, bound: 0.93 };
    let large = Class { name: ">= 10 mm", from_mm: 10.0, to_mm: 99.0, bound: 0.96 };
    for (class, least, least_mean, most_below) in
        [(&small, 0.82, 0.94, 0.3), (&middle, 0.88, 0.965, 0.06), (&large, 0.91, 0.98, 0.09)]
    {
        let (_, linear_mean, linear_below) = report("linear", class, &linear);
        report("labels", class, &labels);
        let (worst, mean, below) = report("refined", class, &refined);
        assert!(worst > least && mean > least_mean && below < most_below);
        assert!(mean > linear_mean && below < linear_below);
    }
}
