//! Compares pairs of masks and prints one JSON line per pair, for `oracle/check_metrics.py`.
//!
//! `compare_masks PAIRS.npz NAMES`: NAMES lists names, one a line; the archive holds for each the
//! arrays `NAME.reference` and `NAME.predicted` (u8 [z, y, x]) and `NAME.spacing` (f64 [z, y, x], mm).

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use dasl_metrics::{Overlap, surface_distances};
use ndarray::{Array1, Array3};
use ndarray_npy::NpzReader;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pairs, names] = args.as_slice() else {
        return Err("usage: compare_masks PAIRS.npz NAMES".into());
    };
    let mut npz = NpzReader::new(File::open(pairs)?)?;
    for name in std::fs::read_to_string(names)?.lines() {
        let mut mask = |which: &str| -> Result<Array3<bool>, Box<dyn Error>> {
            let read: Array3<u8> = npz.by_name(&format!("{name}.{which}"))?;
            Ok(read.mapv(|v| v != 0))
        };
        let (reference, predicted) = (mask("reference")?, mask("predicted")?);
        let spacing: Array1<f64> = npz.by_name(&format!("{name}.spacing"))?;
        let spacing_mm = [spacing[0], spacing[1], spacing[2]];
        let start = Instant::now();
        let overlap = Overlap::count(reference.iter().copied().zip(predicted.iter().copied()));
        let surface = surface_distances(reference.view(), predicted.view(), spacing_mm);
        let seconds = start.elapsed().as_secs_f64();
        let voxel_mm3: f64 = spacing_mm.iter().product();
        let volume = |voxels: u64| voxels as f64 * voxel_mm3;
        println!(
            "{}",
            json!({
                "name": name, "dice": overlap.dice(), "iou": overlap.iou(), "surface": surface,
                "reference_mm3": volume(overlap.reference_voxels),
                "predicted_mm3": volume(overlap.predicted_voxels), "seconds": seconds,
            })
        );
    }
    Ok(())
}
