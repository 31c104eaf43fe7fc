//! Some of the channels of a channels-last array.

/// Channels `offset .. offset + channels` of every voxel of an array of `stride` channels.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
    pub(crate) channels: usize,
}

impl<'a> View<'a> {
    /// All channels of `data`: `[voxels, channels]`.
    ///
    /// # Panics
    /// If `data` is not a whole number of voxels.
    pub fn new(data: &'a [f32], channels: usize) -> Self {
        Self::part(data, channels, 0, channels)
    }

    /// Channels `offset .. offset + channels` of `data`: `[voxels, stride]`.
    ///
    /// # Panics
    /// If `data` is not a whole number of voxels, or the channels are not within the stride.
    pub fn part(data: &'a [f32], stride: usize, offset: usize, channels: usize) -> Self {
        check(data.len(), stride, offset, channels);
        Self { data, stride, offset, channels }
    }

    /// Number of voxels in the array.
    pub fn voxels(&self) -> usize {
        self.data.len() / self.stride
    }

    /// Number of channels seen.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The `index`-th run of `voxels` voxels, shorter at the end.
    pub(crate) fn part_of(&self, index: usize, voxels: usize) -> Self {
        let end = (index + 1) * voxels * self.stride;
        let data = &self.data[index * voxels * self.stride..end.min(self.data.len())];
        Self { data, ..*self }
    }
}

/// As [`View`], to be written: the other channels of the array are left as they are.
#[derive(Debug)]
pub struct ViewMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
    pub(crate) channels: usize,
}

impl<'a> ViewMut<'a> {
    /// All channels of `data`: `[voxels, channels]`.
    ///
    /// # Panics
    /// If `data` is not a whole number of voxels.
    pub fn new(data: &'a mut [f32], channels: usize) -> Self {
        Self::part(data, channels, 0, channels)
    }

    /// Channels `offset .. offset + channels` of `data`: `[voxels, stride]`.
    ///
    /// # Panics
    /// If `data` is not a whole number of voxels, or the channels are not within the stride.
    pub fn part(data: &'a mut [f32], stride: usize, offset: usize, channels: usize) -> Self {
        check(data.len(), stride, offset, channels);
        Self { data, stride, offset, channels }
    }

    /// Number of voxels in the array.
    pub fn voxels(&self) -> usize {
        self.data.len() / self.stride
    }

    /// Number of channels seen.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The same to be read.
    pub(crate) fn view(&self) -> View<'_> {
        View { data: self.data, stride: self.stride, offset: self.offset, channels: self.channels }
    }
}

fn check(len: usize, stride: usize, offset: usize, channels: usize) {
    assert!(channels > 0, "a view needs a channel");
    assert!(offset + channels <= stride, "channels {offset}+{channels} exceed the stride {stride}");
    assert!(len.is_multiple_of(stride), "length {len} is not a multiple of the stride {stride}");
}

/// Normalisation and `ReLU` of an input as it is read: `max(0, x * scale[c] + shift[c])`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleShift<'a> {
    /// One factor per channel of the view.
    pub scale: &'a [f32],
    /// One summand per channel of the view.
    pub shift: &'a [f32],
}

impl ScaleShift<'_> {
    pub(crate) fn check(&self, channels: usize) {
        assert_eq!(self.scale.len(), channels, "one scale per channel");
        assert_eq!(self.shift.len(), channels, "one shift per channel");
    }
}

/// What happens to the values that are there before: an input's gradient is the sum over its uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// They are overwritten.
    Set,
    /// The result is added to them.
    Add,
}
