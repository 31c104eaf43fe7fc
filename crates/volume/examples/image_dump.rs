//! Prints the geometry and the checksum of an image file, as `oracle/check_formats.py` wants them.
//!
//!     image_dump FILE [labels] [OUT.mhd|OUT.mha|OUT.nii.gz [zlib]]
//!
//! The checksum is the CRC-32 of the voxels as 16-bit integers, low byte first, x fastest. With
//! OUT the volume is written there too.

use dasl_volume::image_file::{self, Format};
use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{Geometry, nifti};
use ndarray::Array3;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut take = |word: &str| {
        let at = arguments.iter().position(|a| a == word);
        at.map(|at| arguments.remove(at)).is_some()
    };
    let labels = take("labels");
    let compression = if take("zlib") { Compression::Zlib } else { Compression::None };
    let mut paths = arguments.iter().map(PathBuf::from);
    let from = paths.next().ok_or("image_dump FILE [labels] [OUT [zlib]]")?;
    let to = paths.next();
    let is_nifti = to.as_deref().is_some_and(|to| Format::of(to) == Some(Format::Nifti));
    if labels {
        let volume = image_file::read_labels(&from)?;
        print(&volume.geometry, &volume.voxels, u16::to_le_bytes);
        match to {
            Some(to) if is_nifti => nifti::write_labels(&to, &volume)?,
            Some(to) => metaimage::write_labels(&to, &volume, compression)?,
            None => {}
        }
    } else {
        let volume = image_file::read_ct(&from)?;
        print(&volume.geometry, &volume.voxels, i16::to_le_bytes);
        match to {
            Some(to) if is_nifti => nifti::write_ct(&to, &volume)?,
            Some(to) => metaimage::write_ct(&to, &volume, compression)?,
            None => {}
        }
    }
    Ok(())
}

/// One line of JSON, in `SimpleITK`'s order: x, y, z.
fn print<T: Copy>(geometry: &Geometry, voxels: &Array3<T>, to_bytes: fn(T) -> [u8; 2]) {
    let bytes: Vec<u8> = voxels.iter().copied().flat_map(to_bytes).collect();
    let mut checksum = flate2::Crc::new();
    checksum.update(&bytes);
    let [along_z, along_y, along_x] = geometry.axes;
    let direction: Vec<f64> = (0..3).flat_map(|i| [along_x[i], along_y[i], along_z[i]]).collect();
    let [z, y, x] = geometry.shape;
    let [spacing_z, spacing_y, spacing_x] = geometry.spacing_mm;
    let origin = geometry.origin_mm;
    println!(
        "{}",
        serde_json::json!({
            "size": [x, y, z],
            "spacing": [spacing_x, spacing_y, spacing_z],
            "origin": [origin.x, origin.y, origin.z],
            "direction": direction,
            "crc32": checksum.sum(),
        })
    );
}
