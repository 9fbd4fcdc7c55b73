//! Zeroed memory, aligned to cache lines, that compiled code reads and writes through raw pointers.
//!
//! Does not know what lies in it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Bytes of a cache line; every tensor starts at a multiple.
pub const LINE_BYTES: usize = 64;

/// An owned region of memory; fresh pages are zero and cost nothing until they are touched.
pub struct Region {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: a region owns its memory; who shares pointers into it between threads keeps them apart.
unsafe impl Send for Region {}
// SAFETY: as above; shared references give out pointers only, never reads or writes.
unsafe impl Sync for Region {}

impl Region {
    /// A region of at least `len_bytes` zero bytes. Aborts where the system has no memory, so callers
    /// refuse absurd sizes first.
    pub fn zeroed(len_bytes: usize) -> Self {
        let layout = Layout::from_size_align(len_bytes.max(LINE_BYTES), LINE_BYTES)
            .expect("the memory plan is below the address space");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, layout }
    }

    /// Size in bytes.
    pub fn len_bytes(&self) -> usize {
        self.layout.size()
    }

    /// The first byte.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// `len` f32 from a byte offset on. Panics beyond the end or where the offset is no multiple of four.
    pub fn floats(&self, offset_bytes: usize, len: usize) -> &[f32] {
        self.check(offset_bytes, len);
        // SAFETY: in bounds and aligned, and every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts(self.start.add(offset_bytes).cast(), len) }
    }

    /// The same to write.
    pub fn floats_mut(&mut self, offset_bytes: usize, len: usize) -> &mut [f32] {
        self.check(offset_bytes, len);
        // SAFETY: in bounds, aligned, and exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset_bytes).cast(), len) }
    }

    fn check(&self, offset_bytes: usize, len: usize) {
        let end = len.checked_mul(4).and_then(|n| n.checked_add(offset_bytes));
        let inside = end.is_some_and(|e| e <= self.len_bytes());
        assert!(
            inside && offset_bytes.is_multiple_of(4),
            "{len} f32 at {offset_bytes} lie outside of {} bytes",
            self.len_bytes()
        );
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { dealloc(self.start, self.layout) }
    }
}
