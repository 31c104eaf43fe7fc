//! Work memory that a thread keeps between tasks: a fresh one is paid for in page faults.

use std::cell::Cell;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// This thread's work memory, which goes back on drop. Not handed to a closure: a kernel's closures
/// would not be compiled for its instruction set.
#[derive(Debug)]
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// At least `len` floats of arbitrary content.
    pub(crate) fn take(len: usize) -> Self {
        let mut memory = KEPT.take();
        if memory.len() < len {
            memory.resize(len, 0.0);
        }
        Self(memory)
    }

    pub(crate) fn memory(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(std::mem::take(&mut self.0));
    }
}
