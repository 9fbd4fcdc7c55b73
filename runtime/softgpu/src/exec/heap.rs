//! The device's global memory: allocations at addresses that are never given out twice, with wide gaps between them, so an
//! address tells whether it is inside an allocation, near one, or in one that was freed. Knows nothing of kernels.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};

/// First device address.
pub const DEVICE_BASE: u64 = 0x0a00_0000_0000;
/// Generic addresses of shared, local and parameter memory begin here.
pub const SHARED_WINDOW: u64 = 0x0100_0000_0000;
pub const LOCAL_WINDOW: u64 = 0x0200_0000_0000;
pub const PARAM_WINDOW: u64 = 0x0300_0000_0000;
pub const WINDOW_LEN: u64 = 0x0100_0000_0000;

const GAP: u64 = 1 << 20;
const ALIGN: u64 = 512;
/// Fresh memory holds this byte: NaN as f32 or f64, 255 as u8.
const POISON: u8 = 0xff;
const REMEMBERED: usize = 4096;

/// One allocation and its bytes on the host.
pub struct Span {
    pub start: u64,
    pub len: u64,
    host: *mut u8,
    layout: Layout,
    /// What the allocation is, for reports: `memory` or the name of a variable.
    pub label: String,
    /// One for each byte that was written; absent when the sanitizer was off at the time of the allocation.
    pub written: Option<Box<[AtomicU8]>>,
}

// SAFETY: the bytes belong to the span; kernels and copies reach them under the driver's lock, except that blocks of one
// launch run in parallel and may touch the same bytes, as on a device.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Heap::allocate`.
        unsafe { dealloc(self.host, self.layout) }
    }
}

impl Span {
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// What is added to a device address to get the host's.
    pub fn delta(&self) -> usize {
        (self.host as usize).wrapping_sub(self.start as usize)
    }

    /// The host's address of a device address inside the span.
    pub fn host_at(&self, address: u64) -> *mut u8 {
        self.host.wrapping_add((address - self.start) as usize)
    }

    pub fn mark_written(&self, address: u64, len: u64) {
        if let Some(written) = &self.written {
            let from = (address - self.start) as usize;
            for byte in &written[from..from + len as usize] {
                byte.store(1, Ordering::Relaxed);
            }
        }
    }

    /// The first byte of a range that nobody wrote, as an address.
    pub fn first_unwritten(&self, address: u64, len: u64) -> Option<u64> {
        let written = self.written.as_ref()?;
        let from = (address - self.start) as usize;
        let at = written[from..from + len as usize]
            .iter()
            .position(|byte| byte.load(Ordering::Relaxed) == 0)?;
        Some(address + at as u64)
    }
}

/// All allocations, in the order of their addresses.
pub struct Heap {
    spans: Vec<Span>,
    freed: VecDeque<(u64, u64)>,
    next: u64,
    pub used_bytes: u64,
    pub limit_bytes: u64,
}

impl Heap {
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            spans: Vec::new(),
            freed: VecDeque::new(),
            next: DEVICE_BASE,
            used_bytes: 0,
            limit_bytes,
        }
    }

    /// None when the device's memory is full. `track` keeps a record of which bytes are written.
    pub fn allocate(&mut self, len: u64, label: &str, track: bool) -> Option<u64> {
        if len > self.limit_bytes.saturating_sub(self.used_bytes) {
            return None;
        }
        let layout =
            Layout::from_size_align(usize::try_from(len.max(1)).ok()?, ALIGN as usize).ok()?;
        // SAFETY: the layout's size is not zero.
        let host = unsafe { alloc(layout) };
        if host.is_null() {
            return None;
        }
        // SAFETY: the bytes were just allocated.
        unsafe { host.write_bytes(POISON, layout.size()) };
        let written = track.then(|| (0..len).map(|_| AtomicU8::new(0)).collect());
        let start = self.next;
        self.next = (start + len + GAP).next_multiple_of(ALIGN);
        self.used_bytes += len;
        self.spans.push(Span {
            start,
            len,
            host,
            layout,
            label: label.to_string(),
            written,
        });
        Some(start)
    }

    /// Whether an allocation began at `start`.
    pub fn free(&mut self, start: u64) -> bool {
        let Ok(index) = self.spans.binary_search_by_key(&start, |span| span.start) else {
            return false;
        };
        let span = self.spans.remove(index);
        self.used_bytes -= span.len;
        self.freed.push_back((span.start, span.len));
        if self.freed.len() > REMEMBERED {
            self.freed.pop_front();
        }
        true
    }

    pub fn find(&self, address: u64) -> Option<&Span> {
        let after = self.spans.partition_point(|span| span.start <= address);
        let span = &self.spans[after.checked_sub(1)?];
        (address < span.end()).then_some(span)
    }

    /// The span that holds all bytes of a range; an empty range needs none of its bytes to be there.
    pub fn find_range(&self, address: u64, len: u64) -> Option<&Span> {
        let span = self.find(address)?;
        (len <= span.end() - address).then_some(span)
    }

    /// Where an address that is in no allocation lies, in words.
    pub fn describe(&self, address: u64) -> String {
        if let Some((start, len)) = self
            .freed
            .iter()
            .find(|(start, len)| (*start..start + len).contains(&address))
        {
            return format!(
                "byte {} of an allocation of {len} bytes that was freed",
                address - start
            );
        }
        let after = self.spans.partition_point(|span| span.start <= address);
        let below = after.checked_sub(1).map(|index| &self.spans[index]);
        let above = self.spans.get(after);
        match (below, above) {
            (Some(span), _) if address < span.end() => {
                format!(
                    "byte {} of {} of {} bytes",
                    address - span.start,
                    span.label,
                    span.len
                )
            }
            (Some(span), _) if address - span.end() < GAP / 2 => {
                format!(
                    "{} bytes past the end of {} of {} bytes",
                    address - span.end(),
                    span.label,
                    span.len
                )
            }
            (_, Some(span)) if span.start - address <= GAP / 2 => {
                format!(
                    "{} bytes before {} of {} bytes",
                    span.start - address,
                    span.label,
                    span.len
                )
            }
            _ => "near no allocation".to_string(),
        }
    }
}
