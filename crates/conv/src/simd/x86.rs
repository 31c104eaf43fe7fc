//! AVX2 with FMA, and AVX-512. All SAFETY arguments are the contract of [`Lanes`]: the processor has
//! the instruction set, and pointers are valid; loads and stores are unaligned ones.

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_ps,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_and_ps, _mm256_castpd_ps,
    _mm256_castps_si256, _mm256_castps256_ps128, _mm256_cmp_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_max_ps,
    _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
    _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{Eight, Kernel, Lanes, Registers};

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: by this function's own contract.
    unsafe { kernel.run::<Avx2, 2>() }
}

/// # Safety
/// The processor has AVX2, FMA, AVX-512F and AVX-512VL (without which half of the registers cannot be
/// read as 256 bits, and the compiler keeps away from them).
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: by this function's own contract.
    unsafe { kernel.run::<Avx512, 4>() }
}

/// 16 registers: 6 output channels x 2 vectors of x, or 3 taps x 4 channels, are 12.
pub(crate) struct Avx2;

impl Registers for Avx2 {
    type Wide = F32x8;
    type Eight = F32x8;
    const HELD: usize = 4;
}

/// 32 registers: 6 output channels x 4 vectors of x, or 3 taps x 8 channels, are 24.
pub(crate) struct Avx512;

impl Registers for Avx512 {
    type Wide = F32x16;
    type Eight = F32x8;
    const HELD: usize = 8;
}

#[derive(Clone, Copy)]
pub(crate) struct F32x16(__m512);

impl Lanes for F32x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { self.halves().sum() }
    }

    #[inline(always)]
    unsafe fn add_sums([a, b, c, d]: [Self; 4], to: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { F32x8::add_sums([a.halves(), b.halves(), c.halves(), d.halves()], to) }
    }
}

impl F32x16 {
    /// The sum of both halves.
    #[inline(always)]
    unsafe fn halves(self) -> F32x8 {
        // SAFETY: as for `Lanes`.
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
            F32x8(_mm256_add_ps(_mm512_castps512_ps256(self.0), _mm256_castpd_ps(high)))
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct F32x8(__m256);

/// Eight lanes of set bits, then eight of none: the mask for n lanes starts at 8 - n.
static MASKS: [f32; 16] = {
    let mut masks = [0.0; 16];
    let mut i = 0;
    while i < 8 {
        masks[i] = f32::from_bits(u32::MAX);
        i += 1;
    }
    masks
};

impl Lanes for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe {
            let four =
                _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn add_sums([a, b, c, d]: [Self; 4], to: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            let (ab, cd) = (_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let abcd = _mm256_hadd_ps(ab, cd);
            let four = _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd));
            _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), four));
        }
    }
}

impl Eight for F32x8 {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        debug_assert!(n <= 8);
        // SAFETY: the trait's contract; lanes that are masked out are not touched.
        unsafe {
            let mask = _mm256_castps_si256(_mm256_loadu_ps(MASKS.as_ptr().add(8 - n)));
            Self(_mm256_maskload_ps(from, mask))
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: the trait's contract. Not `maskstore`, which takes a dozen cycles on AMD.
        unsafe {
            if n == 8 {
                return _mm256_storeu_ps(to, self.0);
            }
            let mut four = _mm256_castps256_ps128(self.0);
            let mut done = 0;
            if n >= 4 {
                _mm_storeu_ps(to, four);
                four = _mm256_extractf128_ps::<1>(self.0);
                done = 4;
            }
            let mut rest = [0.0; 4];
            if n > done {
                _mm_storeu_ps(rest.as_mut_ptr(), four);
                for i in done..n {
                    *to.add(i) = rest[i - done];
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_max_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        // SAFETY: the trait's contract.
        unsafe {
            let mask = _mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, _mm256_setzero_ps());
            Self(_mm256_and_ps(self.0, mask))
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        // SAFETY: the trait's contract.
        unsafe {
            let [a, b, c, d, e, f, g, h] = rows;
            let (ab, ab_) = (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpackhi_ps(a.0, b.0));
            let (cd, cd_) = (_mm256_unpacklo_ps(c.0, d.0), _mm256_unpackhi_ps(c.0, d.0));
            let (ef, ef_) = (_mm256_unpacklo_ps(e.0, f.0), _mm256_unpackhi_ps(e.0, f.0));
            let (gh, gh_) = (_mm256_unpacklo_ps(g.0, h.0), _mm256_unpackhi_ps(g.0, h.0));
            let p0 = _mm256_shuffle_ps::<0x44>(ab, cd);
            let p1 = _mm256_shuffle_ps::<0xEE>(ab, cd);
            let p2 = _mm256_shuffle_ps::<0x44>(ab_, cd_);
            let p3 = _mm256_shuffle_ps::<0xEE>(ab_, cd_);
            let q0 = _mm256_shuffle_ps::<0x44>(ef, gh);
            let q1 = _mm256_shuffle_ps::<0xEE>(ef, gh);
            let q2 = _mm256_shuffle_ps::<0x44>(ef_, gh_);
            let q3 = _mm256_shuffle_ps::<0xEE>(ef_, gh_);
            [
                Self(_mm256_permute2f128_ps::<0x20>(p0, q0)),
                Self(_mm256_permute2f128_ps::<0x20>(p1, q1)),
                Self(_mm256_permute2f128_ps::<0x20>(p2, q2)),
                Self(_mm256_permute2f128_ps::<0x20>(p3, q3)),
                Self(_mm256_permute2f128_ps::<0x31>(p0, q0)),
                Self(_mm256_permute2f128_ps::<0x31>(p1, q1)),
                Self(_mm256_permute2f128_ps::<0x31>(p2, q2)),
                Self(_mm256_permute2f128_ps::<0x31>(p3, q3)),
            ]
        }
    }
}
