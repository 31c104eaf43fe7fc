//! A label map as the frames of a binary segmentation.

use ndarray::{ArrayView3, Axis};
use std::collections::{BTreeMap, BTreeSet};

/// Frames in their order: by segment, then along the slices. Those without a voxel are left out.
pub(super) struct Frames {
    /// Label and slice of each.
    pub places: Vec<(u16, usize)>,
    /// One bit per voxel, frame after frame without a gap, the first voxel in the lowest bit
    /// (PS3.5, 8.1.1); an even number of bytes.
    pub bits: Vec<u8>,
}

impl Frames {
    /// # Shapes
    /// - `labels`: [z, y, x]
    pub fn of(labels: ArrayView3<'_, u16>) -> Self {
        let mut there = BTreeSet::new();
        for (z, plane) in labels.axis_iter(Axis(0)).enumerate() {
            there.extend(plane.iter().filter(|label| **label != 0).map(|label| (*label, z)));
        }
        let places: Vec<_> = there.into_iter().collect();
        let number: BTreeMap<_, _> = places.iter().zip(0_usize..).map(|(at, n)| (*at, n)).collect();
        let pixels = labels.len_of(Axis(1)) * labels.len_of(Axis(2));
        let mut bits = vec![0_u8; (places.len() * pixels).div_ceil(16) * 2];
        for (z, plane) in labels.axis_iter(Axis(0)).enumerate() {
            for (pixel, label) in plane.iter().enumerate().filter(|(_, label)| **label != 0) {
                let bit = number[&(*label, z)] * pixels + pixel;
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self { places, bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn bits_follow_each_other_from_the_lowest_on() {
        // 5 voxels a frame: frames do not begin at bytes.
        let labels = array![[[1, 0, 0, 2, 2]], [[0, 0, 0, 0, 0]], [[0, 1, 1, 0, 0]]];
        let frames = Frames::of(labels.view());
        assert_eq!(frames.places, [(1, 0), (1, 2), (2, 0)]);
        // 10000 01100 00011 and one bit to fill.
        assert_eq!(frames.bits, [0b1100_0001, 0b0110_0000]);
    }
}
