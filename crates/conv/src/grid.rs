//! Where a voxel's channels lie in an array, and 2^3 blocks of voxels seen as channels.

/// An array `[n, z * fold, y * fold, x * fold, stride]` seen as `[n, z, y, x]` of `fold`^3 times as
/// many channels: group `(a * fold + b) * fold + c` is voxel `(a, b, c)` of each block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) dims: [usize; 4],
    pub(crate) fold: usize,
    pub(crate) stride: usize,
    pub(crate) offset: usize,
    /// Channels of one voxel of the array.
    pub(crate) channels: usize,
}

/// Number of voxels of an array.
///
/// # Panics
/// If they can't be counted: pointers are checked by this number.
pub(crate) fn voxels(dims: [usize; 4]) -> usize {
    let product = dims.into_iter().try_fold(1, |n: usize, d| n.checked_mul(d));
    // A fold makes eight of each.
    let few = product.filter(|voxels| *voxels < isize::MAX as usize / 8);
    few.unwrap_or_else(|| panic!("dims {dims:?} have too many voxels"))
}

impl Grid {
    /// Number of groups.
    pub(crate) fn groups(&self) -> usize {
        self.fold.pow(3)
    }

    /// Number of voxels of the array.
    pub(crate) fn voxels(&self) -> usize {
        voxels(self.dims) * self.groups()
    }

    /// Index of the first channel of `group` at voxel `[n, z, y, x]`.
    pub(crate) fn at(&self, [n, z, y, x]: [usize; 4], group: usize) -> usize {
        let (f, [_, dz, dy, dx]) = (self.fold, self.dims);
        let (a, b, c) = (group / (f * f), group / f % f, group % f);
        let voxel = ((n * dz * f + z * f + a) * dy * f + y * f + b) * dx * f + x * f + c;
        voxel * self.stride + self.offset
    }

    /// From one x to the next.
    pub(crate) fn step(&self) -> usize {
        self.fold * self.stride
    }
}
