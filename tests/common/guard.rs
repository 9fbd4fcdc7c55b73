//! Memory that notices accesses beyond it: after its last byte stands a page that nothing may touch, before its
//! first one a pattern.

use std::ffi::c_void;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// A multiple of every page size.
const PAGE: usize = 1 << 16;
const PATTERN: u8 = 0xa5;

/// A copy of some bytes.
pub struct Guarded {
    mapping: *mut c_void,
    mapped: usize,
    len: usize,
}

impl Guarded {
    pub fn new(bytes: &[u8]) -> Self {
        let mapped = bytes.len().next_multiple_of(PAGE) + PAGE;
        // SAFETY: a new mapping of no file, wherever there is room.
        let mapping = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let g = Self {
            mapping: mapping.expect("there is memory"),
            mapped,
            len: bytes.len(),
        };
        // SAFETY: the bytes before the last page belong to this mapping, and nobody else knows it.
        unsafe {
            std::ptr::write_bytes(g.mapping.cast::<u8>(), PATTERN, g.lead());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), g.start(), g.len);
            let last = g.mapping.cast::<u8>().add(mapped - PAGE).cast();
            mprotect(last, PAGE, MprotectFlags::empty()).expect("pages can be protected");
        }
        g
    }

    fn lead(&self) -> usize {
        self.mapped - PAGE - self.len
    }

    pub fn start(&self) -> *mut u8 {
        self.mapping.cast::<u8>().wrapping_add(self.lead())
    }

    /// The bytes as they are now. Panics where something was written before them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: both ranges lie in the mapping and were written by `new`.
        let (before, own) = unsafe {
            (
                std::slice::from_raw_parts(self.mapping.cast::<u8>(), self.lead()),
                std::slice::from_raw_parts(self.start(), self.len),
            )
        };
        assert!(
            before.iter().all(|&b| b == PATTERN),
            "written before a buffer"
        );
        own
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        let freed = unsafe { munmap(self.mapping, self.mapped) };
        debug_assert!(freed.is_ok());
    }
}
