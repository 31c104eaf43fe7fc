//! All kernels, on every instruction set of the machine, against plain loops in double precision.

mod conv;
mod dense;
mod norm;
mod pool;

use proptest::prelude::*;

use crate::{View, ViewMut};

/// Numbers in (-1, 1) that depend on the seed alone (splitmix64).
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// `[voxels, stride]` numbers of which `channels` from `offset` on are seen.
#[derive(Clone, Debug)]
struct Array {
    data: Vec<f32>,
    stride: usize,
    offset: usize,
    channels: usize,
}

impl Array {
    /// With channels around those that are seen, if `margins` are not 0.
    fn new(seed: u64, voxels: usize, channels: usize, margins: (usize, usize)) -> Self {
        let stride = margins.0 + channels + margins.1;
        Self { data: numbers(seed, voxels * stride), stride, offset: margins.0, channels }
    }

    fn view(&self) -> View<'_> {
        View::part(&self.data, self.stride, self.offset, self.channels)
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut::part(&mut self.data, self.stride, self.offset, self.channels)
    }

    fn at(&self, voxel: usize, channel: usize) -> f64 {
        f64::from(self.data[voxel * self.stride + self.offset + channel])
    }

    fn set(&mut self, voxel: usize, channel: usize, value: f32) {
        self.data[voxel * self.stride + self.offset + channel] = value;
    }

    /// What is seen, without gaps.
    fn dense(&self) -> Vec<f32> {
        let part = self.offset..self.offset + self.channels;
        self.data.chunks(self.stride).flat_map(|voxel| voxel[part.clone()].to_vec()).collect()
    }

    /// What is not seen.
    fn hidden(&self) -> Vec<f32> {
        let part = self.offset..self.offset + self.channels;
        let voxels = self.data.chunks(self.stride);
        voxels.flat_map(|v| [&v[..part.start], &v[part.end..]].concat()).collect()
    }
}

/// To 1e-5 of the largest value.
fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(got) - want).abs();
        assert!(difference <= 1e-5 * largest, "{what}: [{i}] is {got}, not {want}");
    }
}

fn margins() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![Just((0, 0)), (0..5_usize, 0..5_usize)]
}

/// `[n, z, y, x]`, past a tile's end in every direction now and then.
fn dims() -> impl Strategy<Value = [usize; 4]> {
    let x = prop_oneof![1..24_usize, 60..70_usize];
    (1..3_usize, 1..7_usize, 1..11_usize, x).prop_map(|(n, z, y, x)| [n, z, y, x])
}

/// All voxels of an array.
fn voxels([n, dz, dy, dx]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n * dz * dy * dx).map(move |i| [i / dx / dy / dz, i / dx / dy % dz, i / dx % dy, i % dx])
}

/// A voxel's index.
fn index(dims: [usize; 4], [n, z, y, x]: [usize; 4]) -> usize {
    ((n * dims[1] + z) * dims[2] + y) * dims[3] + x
}
