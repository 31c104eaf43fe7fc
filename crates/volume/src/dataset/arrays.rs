//! One array of a scan: Zarr v3, chunks of 32^3, zstd.
//!
//! All chunks of an array are in one shard, so that a scan is five files and not a thousand. Within
//! the shard only the chunks that a box touches are read.

use super::error::DatasetError;
use crate::volume::crop_padded;
use ndarray::{Array3, ArrayD, s};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zarrs::array::codec::ZstdCodec;
use zarrs::array::{
    Array, ArrayBuilder, ArrayMetadataOptions, ArrayShardedReadableExt,
    ArrayShardedReadableExtCache, ArraySubset, CodecOptions, DataType, Element, ElementOwned,
    FillValue, data_type,
};
use zarrs::filesystem::FilesystemStore;

/// Side of a chunk. A random patch of 64^3 reads twice as fast as from chunks of 64^3, because fewer
/// voxels around it are decoded; the size on disk is the same.
const CHUNK: usize = 32;
/// The one shard of an array, by Zarr's default names.
const SHARD: &str = "c/0/0/0";
/// Level 3 halves a CT; higher ones gain little and cost much.
const ZSTD_LEVEL: i32 = 3;

/// A voxel type that is stored.
pub(super) trait Voxel: Element + ElementOwned + Copy {
    /// Its Zarr data type.
    fn data_type() -> DataType;
}

impl Voxel for i16 {
    fn data_type() -> DataType {
        data_type::int16()
    }
}

impl Voxel for u16 {
    fn data_type() -> DataType {
        data_type::uint16()
    }
}

impl Voxel for u8 {
    fn data_type() -> DataType {
        data_type::uint8()
    }
}

/// An array that is open for reading.
pub(super) struct StoredArray {
    scan_id: String,
    name: &'static str,
    shape: [usize; 3],
    array: Array<FilesystemStore>,
    /// Keeps the shard's index.
    cache: ArrayShardedReadableExtCache,
}

impl fmt::Debug for StoredArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredArray({}/{}, {:?})", self.scan_id, self.name, self.shape)
    }
}

/// Writes an array below `folder`. One thread, because with several the chunks' order in the
/// shard would depend on their pace; scans are written side by side instead.
pub(super) fn write<T: Voxel>(
    folder: &Path,
    scan_id: &str,
    name: &'static str,
    voxels: &Array3<T>,
    fill: T,
) -> Result<(), DatasetError>
where
    FillValue: From<T>,
{
    let failed = |error: &dyn fmt::Display| failure(scan_id, name, error);
    let store = FilesystemStore::new(folder).map_err(|error| failed(&error))?;
    let shape = [voxels.shape()[0], voxels.shape()[1], voxels.shape()[2]];
    let shard = shape.map(|n| n.max(1).next_multiple_of(CHUNK));
    let array = ArrayBuilder::new(
        shape.map(|n| n as u64).to_vec(),
        shard.map(|n| n as u64).to_vec(),
        T::data_type(),
        FillValue::from(fill),
    )
    .subchunk_shape(vec![CHUNK as u64; 3])
    .bytes_to_bytes_codecs(vec![Arc::new(ZstdCodec::new(ZSTD_LEVEL, false))])
    .dimension_names(["z", "y", "x"].into())
    .build(Arc::new(store), &format!("/{name}"))
    .map_err(|error| failed(&error))?;
    let plain = ArrayMetadataOptions::default().with_include_zarrs_metadata(false);
    array.store_metadata_opt(&plain).map_err(|error| failed(&error))?;
    let padded = crop_padded(voxels.view(), [0; 3], shard, fill);
    array.store_chunk_opt(&[0, 0, 0], &padded, &one_thread()).map_err(|error| failed(&error))
}

impl StoredArray {
    /// Opens an array below `folder` and checks its shape. One that holds `something` has a shard; of
    /// what is all fill none is written.
    pub fn open(
        folder: &Path,
        scan_id: &str,
        name: &'static str,
        shape: [usize; 3],
        something: bool,
    ) -> Result<Self, DatasetError> {
        let failed = |error: &dyn fmt::Display| failure(scan_id, name, error);
        let shard = folder.join(name).join(SHARD);
        if something && !shard.is_file() {
            return Err(failed(&format!("{} is missing", shard.display())));
        }
        let store = FilesystemStore::new(folder).map_err(|error| failed(&error))?;
        let array =
            Array::open(Arc::new(store), &format!("/{name}")).map_err(|error| failed(&error))?;
        if array.shape() != shape.map(|n| n as u64) {
            let stored = array.shape();
            return Err(failed(&format!("{stored:?} is not the {shape:?} of scan.json")));
        }
        let cache = ArrayShardedReadableExtCache::new(&array);
        Ok(Self { scan_id: scan_id.to_string(), name, shape, array, cache })
    }

    /// The box from `start` [z, y, x]; `fill` outside the array.
    pub fn read<T: Voxel>(
        &self,
        start: [i64; 3],
        shape: [usize; 3],
        fill: T,
    ) -> Result<Array3<T>, DatasetError> {
        let mut first = [0_u64; 3];
        let mut size = [0_u64; 3];
        let mut target = [0_usize; 3];
        for axis in 0..3 {
            let begin = start[axis].max(0);
            let end = (start[axis] + shape[axis] as i64).min(self.shape[axis] as i64);
            if begin >= end {
                return Ok(Array3::from_elem(shape, fill));
            }
            first[axis] = begin as u64;
            size[axis] = (end - begin) as u64;
            target[axis] = (begin - start[axis]) as usize;
        }
        let failed = |error: &dyn fmt::Display| failure(&self.scan_id, self.name, error);
        let subset = ArraySubset::new_with_start_shape(first.to_vec(), size.to_vec())
            .map_err(|error| failed(&error))?;
        let read: ArrayD<T> = self
            .array
            .retrieve_array_subset_sharded_opt(&self.cache, &subset, &one_thread())
            .map_err(|error| failed(&error))?;
        let read = read.into_dimensionality::<ndarray::Ix3>().map_err(|error| failed(&error))?;
        if read.shape() == shape {
            return Ok(read);
        }
        let mut out = Array3::from_elem(shape, fill);
        let [z, y, x] = target;
        let (d, h, w) = read.dim();
        out.slice_mut(s![z..z + d, y..y + h, x..x + w]).assign(&read);
        Ok(out)
    }
}

/// Callers read patches and write scans in parallel already.
fn one_thread() -> CodecOptions {
    CodecOptions::default().with_concurrent_target(1)
}

fn failure(scan_id: &str, array: &'static str, error: &dyn fmt::Display) -> DatasetError {
    DatasetError::Array { scan_id: scan_id.to_string(), array, reason: error.to_string() }
}
