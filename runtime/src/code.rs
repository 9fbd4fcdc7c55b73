//! Executable memory: machine code is written first and runs afterwards, never both at a time.
//!
//! Does not know what the code does.

use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::exec::Entry;

/// Finished code. Its memory is freed when this is dropped.
pub struct Executable {
    start: NonNull<c_void>,
    len: usize,
    mapped: usize,
}

// SAFETY: finished code is only read and run.
unsafe impl Send for Executable {}
// SAFETY: as above.
unsafe impl Sync for Executable {}

impl Executable {
    /// Copies the code to pages of its own, which can then be run and not be written.
    pub fn new(code: &[u8]) -> std::io::Result<Self> {
        let mapped = code.len().max(1);
        // SAFETY: a new mapping of no file, wherever there is room.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let start = NonNull::new(start).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let memory = Self {
            start,
            len: code.len(),
            mapped,
        };
        // SAFETY: the mapping is as long as the code, writable, and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start.as_ptr().cast(), code.len()) };
        // SAFETY: the mapping is this value's own, and nothing writes to it any more.
        unsafe {
            mprotect(
                start.as_ptr(),
                mapped,
                MprotectFlags::READ | MprotectFlags::EXEC,
            )?
        };
        Ok(memory)
    }

    /// The function that starts at this byte.
    ///
    /// Panics where the code is shorter.
    ///
    /// # Safety
    /// At this byte starts code of the signature that [`Entry`] has. It is called only while `self` lives.
    pub unsafe fn entry(&self, at: usize) -> Entry {
        assert!(at < self.len, "there is no code at {at}");
        // SAFETY: in bounds, and by the caller's word a function of this signature.
        unsafe { std::mem::transmute::<*mut u8, Entry>(self.start.as_ptr().cast::<u8>().add(at)) }
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and entries are called only while it lives.
        let freed = unsafe { munmap(self.start.as_ptr(), self.mapped) };
        debug_assert!(freed.is_ok());
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::exec::Uniforms;

    /// `mov [rdi], rsi; ret`: writes the second argument where the first one points.
    const CODE: [u8; 4] = [0x48, 0x89, 0x37, 0xc3];

    #[test]
    fn code_runs_where_it_was_copied() {
        let memory = Executable::new(&[&[0xcc; 64][..], &CODE].concat()).expect("there is memory");
        let mut target = [std::ptr::null_mut::<u8>()];
        let u = Uniforms::new(0.0, &[]);
        // SAFETY: a function of this signature starts there; it writes the first pointer of `target`.
        unsafe { memory.entry(64)(target.as_mut_ptr().cast_const(), &u) };
        assert_eq!(target[0].cast_const(), (&raw const u).cast());
    }

    #[test]
    #[should_panic(expected = "there is no code at 4")]
    fn an_entry_lies_within() {
        let memory = Executable::new(&CODE).expect("there is memory");
        // SAFETY: it panics.
        unsafe { memory.entry(4) };
    }
}
