//! `MetaImage` as ITK writes it.

use crate::atomic_file::write_atomic;
use crate::geometry::Geometry;
use crate::volume::{CtVolume, LabelVolume};
use crate::voxel_file::VoxelFileError;
use flate2::write::ZlibEncoder;
use ndarray::Array3;
use std::io::{self, Write};
use std::path::Path;

/// Whether voxels are written compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are: `.mhd` has its voxels in a `.raw`.
    None,
    /// By zlib: `.mhd` has its voxels in a `.zraw`.
    Zlib,
}

/// Writes a CT as `MET_SHORT`: one file whole or not at all for `.mha`; for `.mhd` the voxels
/// first, and never a header beside voxels that are not its own. The same volume gives the same
/// bytes.
///
/// # Errors
/// [`VoxelFileError::Name`] or [`VoxelFileError::Write`].
pub fn write_ct(
    path: &Path,
    ct: &CtVolume,
    compression: Compression,
) -> Result<(), VoxelFileError> {
    write(path, &ct.geometry, "MET_SHORT", &ct.voxels, i16::to_le_bytes, compression)
}

/// Writes a label map as `MET_USHORT`, otherwise as [`write_ct`].
///
/// # Errors
/// As [`write_ct`].
pub fn write_labels(
    path: &Path,
    labels: &LabelVolume,
    compression: Compression,
) -> Result<(), VoxelFileError> {
    write(path, &labels.geometry, "MET_USHORT", &labels.voxels, u16::to_le_bytes, compression)
}

fn write<T: Copy>(
    path: &Path,
    geometry: &Geometry,
    element_type: &str,
    voxels: &Array3<T>,
    to_bytes: fn(T) -> [u8; 2],
    compression: Compression,
) -> Result<(), VoxelFileError> {
    let unnamed = || VoxelFileError::Name(path.to_path_buf());
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
    // The header holds the name of the voxels' file; MetaIO takes % for a pattern.
    if name.contains('%') || name.contains(char::is_control) || name.trim() != name {
        return Err(unnamed());
    }
    let mut bytes = Vec::with_capacity(2 * voxels.len());
    bytes.extend(voxels.iter().copied().flat_map(to_bytes));
    let failed = |error: io::Error| VoxelFileError::write(path, &error);
    let mut packed = String::from("CompressedData = False\n");
    if compression == Compression::Zlib {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&bytes).map_err(failed)?;
        bytes = encoder.finish().map_err(failed)?;
        packed = format!("CompressedData = True\nCompressedDataSize = {}\n", bytes.len());
    }
    let header = |data: &str| header(geometry, element_type, &packed, data);
    match name.rsplit_once('.') {
        Some((_, "mha")) => write_atomic(path, |out| {
            out.write_all(header("LOCAL").as_bytes())?;
            out.write_all(&bytes)
        }),
        Some((stem, "mhd")) => {
            let ending = if compression == Compression::None { "raw" } else { "zraw" };
            let data = format!("{stem}.{ending}");
            write_atomic(&path.with_file_name(&data), |out| {
                out.write_all(&bytes)?;
                // An older header would say of the new voxels what is true of the old.
                remove(path)
            })
            .and_then(|()| write_atomic(path, |out| out.write_all(header(&data).as_bytes())))
        }
        _ => return Err(unnamed()),
    }
    .map_err(failed)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Numbers are written so that they read back exactly.
fn header(geometry: &Geometry, element_type: &str, packed: &str, data: &str) -> String {
    let join = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let [z, y, x] = geometry.shape;
    let [spacing_z, spacing_y, spacing_x] = geometry.spacing_mm;
    let [along_z, along_y, along_x] = geometry.axes;
    let origin = geometry.origin_mm;
    format!(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
         {packed}TransformMatrix = {}\nOffset = {}\nCenterOfRotation = 0 0 0\n\
         AnatomicalOrientation = {}\nElementSpacing = {}\nDimSize = {x} {y} {z}\n\
         ElementType = {element_type}\nElementDataFile = {data}\n",
        join(&[along_x, along_y, along_z].concat()),
        join(&[origin.x, origin.y, origin.z]),
        orientation([along_x, along_y, along_z]),
        join(&[spacing_x, spacing_y, spacing_z]),
    )
}

/// Where each axis comes from, in the format's letters: RAI for axes along the patient's (LPS).
fn orientation(axes: [[f64; 3]; 3]) -> String {
    let letter = |axis: [f64; 3]| {
        let main = (0..3).max_by(|a, b| axis[*a].abs().total_cmp(&axis[*b].abs())).unwrap_or(0);
        let [from_below, from_above] = [['R', 'L'], ['A', 'P'], ['I', 'S']][main];
        if axis[main] < 0.0 { from_above } else { from_below }
    };
    axes.map(letter).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientation_names_where_an_axis_comes_from() {
        let axial = [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]];
        assert_eq!(orientation(axial), "RAI");
        assert_eq!(orientation([[-1., 0., 0.], [0.1, -0.9, 0.], [0., 0., 1.]]), "LPI");
        assert_eq!(orientation([[0., 1., 0.], [0., 0., -1.], [1., 0., 0.]]), "ASR");
    }
}
