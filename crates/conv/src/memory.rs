//! Memory of new arrays.

use crate::view::ViewMut;

/// Tells the C library (glibc) to keep what is freed for the next array, up to 2 GiB: without it a
/// training step gives its arrays back to the system and pays for every page of the next one's again.
/// To be called once, before other threads are there; elsewhere it does nothing.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets numbers of the allocator. An older glibc keeps no arrays as large; where the first
    // number is refused, the others would stop it from adapting by itself.
    unsafe {
        let keeps = |bytes| libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 1;
        if keeps(1 << 30) || keeps(1 << 25) {
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 1 << 28);
        }
    }
}

/// Arrays from this length on, in bytes, are worth a call to the system.
#[cfg(target_os = "linux")]
const LARGE: usize = 1 << 23;

/// `[voxels, channels]` as `write` leaves it: zeros that nobody reads would cost a pass over the data.
///
/// # Safety
/// `write` writes every float, and reads none that it has not written.
pub(crate) unsafe fn array(
    voxels: usize,
    channels: usize,
    write: impl FnOnce(ViewMut<'_>),
) -> Vec<f32> {
    let mut data: Vec<f32> = Vec::with_capacity(voxels * channels);
    in_huge_pages(data.as_mut_ptr(), voxels * channels);
    // SAFETY: the capacity is there; no float is read before it is written, by the contract.
    unsafe { data.set_len(voxels * channels) };
    write(ViewMut::new(&mut data, channels));
    data
}

/// `len` zeros.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    let mut data = vec![0.0; len];
    in_huge_pages(data.as_mut_ptr(), len);
    data
}

/// Asks Linux to back an array that is still untouched by pages of 2 MiB. Feature maps of hundreds
/// of megabytes come and go at every step; in pages of 4 KiB the first touch of each costs as much
/// as its arithmetic.
fn in_huge_pages(data: *mut f32, len: usize) {
    #[cfg(target_os = "linux")]
    if len * size_of::<f32>() >= LARGE {
        const PAGE: usize = 1 << 12;
        let skipped = data.align_offset(PAGE);
        // SAFETY: the range is within the array's memory, and the advice changes no content. It may
        // be refused; then nothing is different.
        unsafe {
            let start = data.add(skipped);
            let bytes = (len - skipped) * size_of::<f32>() / PAGE * PAGE;
            libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (data, len);
}
