//! A voxel array together with its geometry.

use crate::geometry::Geometry;
use ndarray::{Array3, ArrayView3};

/// Air below the clip of every window: what lies outside a scan is filled with it.
pub const PADDING_HU: i16 = -1024;

/// Voxels [z, y, x] in a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    /// Values [z, y, x].
    pub voxels: Array3<T>,
    /// The grid; its shape equals the array's.
    pub geometry: Geometry,
}

/// A CT volume in Hounsfield units.
pub type CtVolume = Volume<i16>;

/// An instance label map: 0 is background, n is nodule n.
pub type LabelVolume = Volume<u16>;

impl<T> Volume<T> {
    /// Pairs voxels with their grid.
    ///
    /// # Panics
    /// If the array's shape is not the grid's: a bug of the caller.
    pub fn new(voxels: Array3<T>, geometry: Geometry) -> Self {
        assert_eq!(voxels.shape(), geometry.shape, "array and grid differ in shape");
        Self { voxels, geometry }
    }
}

/// Copies the box that starts at `start` [z, y, x] out of `from`; what lies outside is `fill`.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference")]
pub fn crop_padded<T: Copy>(
    from: ArrayView3<'_, T>,
    start: [i64; 3],
    shape: [usize; 3],
    fill: T,
) -> Array3<T> {
    let mut out = Array3::from_elem(shape, fill);
    let mut source = [(0usize, 0usize); 3];
    let mut target = [0usize; 3];
    for axis in 0..3 {
        let end = (start[axis] + shape[axis] as i64).min(from.shape()[axis] as i64);
        let begin = start[axis].max(0);
        if begin >= end {
            return out;
        }
        source[axis] = (begin as usize, end as usize);
        target[axis] = (begin - start[axis]) as usize;
    }
    let [(z0, z1), (y0, y1), (x0, x1)] = source;
    let [z, y, x] = target;
    let inner = from.slice(ndarray::s![z0..z1, y0..y1, x0..x1]);
    out.slice_mut(ndarray::s![z..z + z1 - z0, y..y + y1 - y0, x..x + x1 - x0]).assign(&inner);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_pad_outside_the_array() {
        let a = Array3::from_shape_fn((2, 2, 2), |(z, y, x)| (4 * z + 2 * y + x) as i16);
        let c = crop_padded(a.view(), [-1, 0, 1], [2, 2, 2], -9);
        assert_eq!(c.iter().copied().collect::<Vec<_>>(), vec![-9, -9, -9, -9, 1, -9, 3, -9]);
        let far = crop_padded(a.view(), [5, 0, 0], [1, 1, 1], -9);
        assert_eq!(far[[0, 0, 0]], -9);
    }
}
