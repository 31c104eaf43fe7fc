//! Arrays of eight floats, for the compiler to make the best of.

use super::{Eight, Lanes, Registers};

pub(crate) struct Portable;

impl Registers for Portable {
    type Wide = F32x8;
    type Eight = F32x8;
    const HELD: usize = 2;
}

#[derive(Clone, Copy)]
pub(crate) struct F32x8([f32; 8]);

impl F32x8 {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self.0;
        for (a, b) in result.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(result)
    }
}

impl Lanes for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for 8 floats by the trait's contract; the type has no alignment of its own.
        unsafe { Self(from.cast::<[f32; 8]>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_shifted(from: *const f32) -> [Self; 3] {
        // SAFETY: valid for 16 floats by the trait's contract.
        unsafe { [Self::load(from), Self::load(from.add(1)), Self::load(from.add(2))] }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // Not `mul_add`: without the instruction it is a slow call.
        let mut result = self.0;
        for i in 0..8 {
            result[i] += a.0[i] * b.0[i];
        }
        Self(result)
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    unsafe fn add_sums(four: [Self; 4], to: *mut f32) {
        for (i, vector) in four.into_iter().enumerate() {
            // SAFETY: valid for 4 floats by the trait's contract.
            unsafe { *to.add(i) += vector.sum() };
        }
    }
}

impl Eight for F32x8 {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut result = [0.0; 8];
        for (i, value) in result.iter_mut().enumerate().take(n) {
            // SAFETY: valid for n floats by the trait's contract.
            *value = unsafe { *from.add(i) };
        }
        Self(result)
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        for (i, value) in self.0.into_iter().enumerate().take(n) {
            // SAFETY: valid for n floats by the trait's contract.
            unsafe { *to.add(i) = value };
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        self.zip(self, |a, _| if a > 0.0 { a } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        self.zip(gate, |a, gate| if gate > 0.0 { a } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        let mut result = rows;
        for (i, column) in result.iter_mut().enumerate() {
            for (value, row) in column.0.iter_mut().zip(&rows) {
                *value = row.0[i];
            }
        }
        result
    }
}
