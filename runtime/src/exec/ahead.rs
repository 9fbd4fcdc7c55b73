//! Fetches the examples of a block into the cache while the block before it is computed: they lie anywhere in the data
//! set, so that the processor cannot guess them.
//!
//! Does not know what examples are used for.

use super::Examples;

/// More than this many bytes of a block would push out what the block before it still needs.
const MOST_BYTES: usize = 64 << 10;
/// A cache line.
const LINE_BYTES: usize = 64;

/// Asks for the inputs of the examples at `indices`, which are below their number.
pub fn fetch(examples: &Examples, indices: &[u32]) {
    let size = examples.inputs.size_bytes() / examples.len.max(1);
    if indices.len() * size > MOST_BYTES {
        return;
    }
    for &i in indices {
        let start = examples.inputs.start().wrapping_add(i as usize * size);
        for at in (0..size).step_by(LINE_BYTES) {
            touch(start.wrapping_add(at));
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn touch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every x86-64 processor has the instruction, and it does not trap whatever the address is.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn touch(_: *const u8) {}
