//! The few vector operations that the kernels need, and the choice of instruction set.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// A register of floats.
///
/// # Safety
/// Of all methods: the processor has the instruction set, and the pointers are valid for the lanes
/// that are read or written.
pub(crate) trait Lanes: Copy {
    /// Number of floats.
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// `self + a * b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// Adds the four sums of lanes to four floats.
    unsafe fn add_sums(four: [Self; 4], to: *mut f32);
}

/// Eight floats, for all that is bound by memory rather than by arithmetic.
///
/// # Safety
/// As for [`Lanes`].
pub(crate) trait Eight: Lanes {
    /// The first `n` lanes, the others zero.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// Writes the first `n` lanes.
    unsafe fn store_first(self, to: *mut f32, n: usize);
    /// `self` where it is greater than `other`, else `other`.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where `gate > 0`, else 0.
    unsafe fn where_positive(self, gate: Self) -> Self;
    /// Rows become columns.
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8];
}

/// What an instruction set offers.
pub(crate) trait Registers {
    type Wide: Lanes;
    type Eight: Eight;
    /// Output channels that the weight gradient holds at a time, three vectors each.
    const HELD: usize;
}

/// Work that is compiled once per instruction set.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, and all below it, to be compiled for the instruction set.
    /// `V` is the number of x vectors that a convolution holds for each of 6 output channels.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn run<R: Registers, const V: usize>(self) -> Self::Output;
}

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust.
    Portable,
    /// Plain Rust in the shape of AVX-512.
    #[cfg(test)]
    PortableWide,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F and VL.
    Avx512,
}

impl Isa {
    /// All that this machine has, the best last.
    pub fn available() -> Vec<Self> {
        let all = [
            Self::Portable,
            #[cfg(test)]
            Self::PortableWide,
            Self::Avx2,
            Self::Avx512,
        ];
        all.into_iter().filter(|isa| isa.exists()).collect()
    }

    /// The best that this machine has.
    pub fn best() -> Self {
        if Self::Avx512.exists() {
            Self::Avx512
        } else if Self::Avx2.exists() {
            Self::Avx2
        } else {
            Self::Portable
        }
    }

    fn exists(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(test)]
            Self::PortableWide => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.exists()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Runs `kernel` as compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.exists(), "{self:?} is not available on this machine");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the instruction set, asserted above.
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the instruction set, asserted above.
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
            #[cfg(test)]
            // SAFETY: plain Rust.
            Self::PortableWide => unsafe { kernel.run::<portable::PortableWide, 4>() },
            // SAFETY: plain Rust.
            _ => unsafe { kernel.run::<portable::Portable, 1>() },
        }
    }
}
