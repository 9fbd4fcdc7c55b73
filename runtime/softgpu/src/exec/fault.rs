//! What went wrong in a kernel, who did it and where: made here for all parts of the executor. Codes are the driver's.

use super::warp::Cx;

pub const ILLEGAL_ADDRESS: u32 = 700;
pub const LAUNCH_TIMEOUT: u32 = 702;
pub const ILLEGAL_INSTRUCTION: u32 = 715;
pub const MISALIGNED_ADDRESS: u32 = 716;
pub const LAUNCH_FAILED: u32 = 719;

/// A finding: of the executor itself or of a sanitizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The CUresult that the next synchronisation returns.
    pub code: u32,
    /// One of the kinds that the library's documentation lists.
    pub kind: &'static str,
    pub kernel: String,
    /// Line of the PTX, counting from one, and its text; zero for findings outside kernels.
    pub line: u32,
    pub text: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    pub address: u64,
    /// The rest in words: where the address lies, and the other party of a race.
    pub detail: String,
}

/// A fault of `lane` at the instruction that runs now.
pub fn at(
    cx: &Cx<'_>,
    lane: usize,
    code: u32,
    kind: &'static str,
    address: u64,
    detail: String,
) -> Box<Fault> {
    let launch = cx.launch;
    let (line, text) = launch.program.source_line(cx.pc);
    Box::new(Fault {
        code,
        kind,
        kernel: launch.program.name.clone(),
        line,
        text,
        block: launch.block_index(cx.block),
        thread: launch.thread_index(cx.warp * 32 + lane as u32),
        address,
        detail,
    })
}

pub fn misaligned(cx: &Cx<'_>, lane: usize, space: &str, address: u64, len: u64) -> Box<Fault> {
    let detail = format!("an access of {len} bytes in {space} memory at {address:#x}");
    at(cx, lane, MISALIGNED_ADDRESS, "misaligned", address, detail)
}

pub fn out_of_bounds(cx: &Cx<'_>, lane: usize, space: &str, address: u64, len: u64) -> Box<Fault> {
    let place = match space {
        "global" => cx.launch.heap.describe(address),
        "shared" => format!("the block has {} bytes", cx.shared_len),
        "local" => format!("the thread has {} bytes", cx.local_len),
        _ => format!("the kernel has {} bytes", cx.launch.params.len()),
    };
    let detail = format!("an access of {len} bytes in {space} memory at {address:#x}: {place}");
    at(cx, lane, ILLEGAL_ADDRESS, "out_of_bounds", address, detail)
}
