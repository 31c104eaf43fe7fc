//! CT volumes, their geometry, formats and the chunked dataset store.
//!
//! Arrays are [z, y, x]; points are (x, y, z) in patient millimetres (LPS); only
//! [`geometry`] converts between them.

pub mod atomic_file;
pub mod blocks;
pub mod components;
pub mod dataset;
pub mod dicom;
pub mod geometry;
pub mod image_file;
pub mod lung;
pub mod metaimage;
pub mod nifti;
pub mod nrrd;
pub mod resample;
pub mod volume;
pub mod voxel_file;

pub use atomic_file::write_atomic;
pub use geometry::{Geometry, PointMm, VoxelPos};
pub use volume::{CtVolume, LabelVolume, PADDING_HU, Volume, crop_padded};
