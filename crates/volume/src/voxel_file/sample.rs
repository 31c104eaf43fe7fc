//! From a file's numbers to Hounsfield units and labels.

use super::VoxelFileError;
use std::path::Path;

/// The type of one number in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Sample {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Appends the voxels in `bytes`, whole numbers of them, of which the first is most significant if
    /// `big`: `scale[0]` times the number, and `scale[1]`.
    ///
    /// # Errors
    /// The first value that is no voxel of this kind.
    pub fn append<T: Voxel>(
        self,
        big: bool,
        scale: [f64; 2],
        bytes: &[u8],
        to: &mut Vec<T>,
    ) -> Result<(), f64> {
        let mut add = |number: f64| {
            let value = scale[0] * number + scale[1];
            to.push(T::from_value(value).ok_or(value)?);
            Ok(())
        };
        match self {
            Self::I8 => each(big, bytes, |b| add(f64::from(i8::from_le_bytes(b)))),
            Self::U8 => each(big, bytes, |b| add(f64::from(u8::from_le_bytes(b)))),
            Self::I16 => each(big, bytes, |b| add(f64::from(i16::from_le_bytes(b)))),
            Self::U16 => each(big, bytes, |b| add(f64::from(u16::from_le_bytes(b)))),
            Self::I32 => each(big, bytes, |b| add(f64::from(i32::from_le_bytes(b)))),
            Self::U32 => each(big, bytes, |b| add(f64::from(u32::from_le_bytes(b)))),
            // Rounded beyond 2^53, which is far beyond any voxel.
            Self::I64 => each(big, bytes, |b| add(i64::from_le_bytes(b) as f64)),
            Self::U64 => each(big, bytes, |b| add(u64::from_le_bytes(b) as f64)),
            Self::F32 => each(big, bytes, |b| add(f64::from(f32::from_le_bytes(b)))),
            Self::F64 => each(big, bytes, |b| add(f64::from_le_bytes(b))),
        }
    }
}

fn each<const N: usize>(
    big: bool,
    bytes: &[u8],
    mut take: impl FnMut([u8; N]) -> Result<(), f64>,
) -> Result<(), f64> {
    bytes.as_chunks::<N>().0.iter().try_for_each(|sample| {
        let mut sample = *sample;
        if big {
            sample.reverse();
        }
        take(sample)
    })
}

/// What a voxel of a volume is made from.
pub(crate) trait Voxel: Copy {
    /// The voxel of this value, if there is one.
    fn from_value(value: f64) -> Option<Self>;
    /// What to say of a value that is none.
    fn refused(file: &Path, value: f64, at: [usize; 3]) -> VoxelFileError;
}

/// Hounsfield units, rounded.
impl Voxel for i16 {
    fn from_value(value: f64) -> Option<Self> {
        let value = value.round();
        (-32768.0..=32767.0).contains(&value).then_some(value as Self)
    }

    fn refused(file: &Path, value: f64, at: [usize; 3]) -> VoxelFileError {
        VoxelFileError::Hounsfield { file: file.to_path_buf(), value, at }
    }
}

/// A label.
impl Voxel for u16 {
    fn from_value(value: f64) -> Option<Self> {
        (value.fract() == 0.0 && (0.0..=65535.0).contains(&value)).then_some(value as Self)
    }

    fn refused(file: &Path, value: f64, at: [usize; 3]) -> VoxelFileError {
        VoxelFileError::Label { file: file.to_path_buf(), value, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voxel_file::UNSCALED;

    #[test]
    fn hounsfield_units_are_rounded_and_bounded() {
        assert_eq!(i16::from_value(-1000.5), Some(-1001));
        assert_eq!(i16::from_value(32767.4), Some(32767));
        assert_eq!(i16::from_value(-32768.4), Some(-32768));
        for wrong in [32767.5, -32769.0, f64::NAN, f64::INFINITY] {
            assert_eq!(i16::from_value(wrong), None);
        }
    }

    #[test]
    fn labels_are_whole_and_bounded() {
        assert_eq!(u16::from_value(65535.0), Some(65535));
        assert_eq!(u16::from_value(-0.0), Some(0));
        for wrong in [65536.0, -1.0, 0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(u16::from_value(wrong), None);
        }
    }

    #[test]
    fn every_type_is_read_in_both_orders() {
        let check = |sample: Sample, mut bytes: Vec<u8>| {
            assert_eq!(bytes.len(), sample.bytes(), "{sample:?}");
            let mut out: Vec<i16> = Vec::new();
            sample.append(false, UNSCALED, &bytes, &mut out).unwrap();
            bytes.reverse();
            sample.append(true, UNSCALED, &bytes, &mut out).unwrap();
            out
        };
        assert_eq!(check(Sample::I8, (-5_i8).to_le_bytes().into()), [-5, -5]);
        assert_eq!(check(Sample::U8, 251_u8.to_le_bytes().into()), [251, 251]);
        assert_eq!(check(Sample::I16, (-1000_i16).to_le_bytes().into()), [-1000; 2]);
        assert_eq!(check(Sample::U16, 30000_u16.to_le_bytes().into()), [30000; 2]);
        assert_eq!(check(Sample::I32, (-1000_i32).to_le_bytes().into()), [-1000; 2]);
        assert_eq!(check(Sample::U32, 1000_u32.to_le_bytes().into()), [1000; 2]);
        assert_eq!(check(Sample::I64, (-1000_i64).to_le_bytes().into()), [-1000; 2]);
        assert_eq!(check(Sample::U64, 1000_u64.to_le_bytes().into()), [1000; 2]);
        assert_eq!(check(Sample::F32, (-999.75_f32).to_le_bytes().into()), [-1000; 2]);
        assert_eq!(check(Sample::F64, (-999.75_f64).to_le_bytes().into()), [-1000; 2]);
    }

    #[test]
    fn a_scale_is_applied_before_a_voxel_is_rounded() {
        let mut out: Vec<i16> = Vec::new();
        Sample::U8.append(false, [0.25, -1000.0], &[10, 16], &mut out).unwrap();
        assert_eq!(out, [-998, -996]);
    }

    #[test]
    fn the_first_value_that_is_refused_is_told() {
        let mut out: Vec<i16> = Vec::new();
        let bytes: Vec<u8> = [7_u16, 40000, 50000].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(Sample::U16.append(false, UNSCALED, &bytes, &mut out), Err(40000.0));
        assert_eq!(out, [7]);
    }
}
