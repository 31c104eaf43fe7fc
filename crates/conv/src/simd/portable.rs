//! Arrays of floats, for the compiler to make the best of.

use super::{Eight, Lanes, Registers};

pub(crate) struct Portable;

impl Registers for Portable {
    type Wide = Floats<8>;
    type Eight = Floats<8>;
    const HELD: usize = 2;
}

/// As [`Portable`] with the shape of AVX-512, for tests of that shape on any machine.
#[cfg(test)]
pub(crate) struct PortableWide;

#[cfg(test)]
impl Registers for PortableWide {
    type Wide = Floats<16>;
    type Eight = Floats<8>;
    const HELD: usize = 8;
}

#[derive(Clone, Copy)]
pub(crate) struct Floats<const N: usize>([f32; N]);

impl<const N: usize> Floats<N> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self.0;
        for (a, b) in result.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(result)
    }
}

impl<const N: usize> Lanes for Floats<N> {
    const LANES: usize = N;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; N])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for N floats by the trait's contract; the type has no alignment of its own.
        unsafe { Self(from.cast::<[f32; N]>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; N]>().write_unaligned(self.0) }
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
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // Not `mul_add`: without the instruction it is a slow call.
        let mut result = self.0;
        for i in 0..N {
            result[i] += a.0[i] * b.0[i];
        }
        Self(result)
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.into_iter().sum()
    }

    #[inline(always)]
    unsafe fn add_sums(four: [Self; 4], to: *mut f32) {
        for (i, vector) in four.into_iter().enumerate() {
            // SAFETY: valid for 4 floats by the trait's contract.
            unsafe { *to.add(i) += vector.sum() };
        }
    }
}

impl Eight for Floats<8> {
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
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
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
