//! What a program gives to be loaded: an address without a length. A text ends with a zero byte; an ELF file says how long
//! it is, and is read with care, since a broken one says anything. Knows no kernels.

use crate::cubin;
use std::ffi::{CStr, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;

pub const ELF: &[u8] = b"\x7fELF";
pub const FAT_BINARY: &[u8] = b"\x50\xed\x55\xba";

/// The bytes at an address, without the zero of a text. An ELF file that is cut off is an error.
///
/// # Safety
/// `image` ends with a zero byte, or is a file whose first four bytes are not zero.
pub unsafe fn image_at(image: *const c_void) -> Result<Vec<u8>, String> {
    // SAFETY: the caller's promise; an ELF file has a zero byte in its header.
    let text = unsafe { CStr::from_ptr(image.cast()) }.to_bytes();
    if !text.starts_with(ELF) {
        return Ok(text.to_vec());
    }
    let memory = File::open("/proc/self/mem").ok();
    let part = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        let address = (image as u64).checked_add(at)?;
        match &memory {
            // Where nothing is, that is an error here and no fault.
            Some(memory) => memory.read_exact_at(&mut bytes, address).ok()?,
            // SAFETY: the caller's promise, as good as it is.
            None => unsafe { bytes.as_mut_ptr().copy_from(address as *const u8, len) },
        }
        Some(bytes)
    };
    let len = cubin::len_bytes(part)?;
    part(0, len as usize).ok_or_else(|| format!("{len} bytes of the ELF file are not there"))
}
