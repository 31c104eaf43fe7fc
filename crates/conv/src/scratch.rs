//! Work memory that a thread keeps between tasks: a fresh one is paid for in page faults.

use std::cell::Cell;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Floats of a cache line: no vector that starts at a multiple of its length lies across two lines.
pub(crate) const LINE: usize = 16;

/// This thread's work memory, which goes back on drop. Not handed to a closure: a kernel's closures
/// would not be compiled for its instruction set.
#[derive(Debug)]
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// At least `len` floats of arbitrary content.
    pub(crate) fn take(len: usize) -> Self {
        let mut memory = KEPT.take();
        if memory.len() < len + LINE {
            memory.resize(len + LINE, 0.0);
        }
        Self(memory)
    }

    /// The memory, from the start of a cache line on.
    pub(crate) fn memory(&mut self) -> &mut [f32] {
        let start = self.0.as_ptr().align_offset(LINE * size_of::<f32>());
        // The offset may be refused (under Miri); then any start is as good.
        &mut self.0[start.min(LINE)..]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(std::mem::take(&mut self.0));
    }
}
