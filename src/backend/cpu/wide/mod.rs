//! The second emitter of Loops: x86-64 machine code at 256 bits (AVX2) and 512 bits (AVX-512).
//!
//! A kernel becomes a vector program (`build`, `flow`, `values`), whose operations get the machine's forms
//! (`legalise`), whose values get registers (`alloc`), and which is written down (`encode`). Does not know
//! operators, nests or the memory plan. What it cannot express it declines, and Cranelift takes the kernel.

mod alloc;
mod build;
mod codes;
mod encode;
mod flow;
mod hoist;
mod ir;
mod legalise;
mod rows;
mod values;

#[cfg(test)]
mod tests;

pub use build::Declined;

use crate::nest::loops::Kernel;

/// Machine code of one kernel, to be placed at a multiple of 64 bytes.
pub struct Code {
    pub bytes: Vec<u8>,
    /// Where the function starts, after its constants.
    pub entry: usize,
    pub instructions: usize,
    /// Moves to and from the stack.
    pub spills: usize,
    /// Moves of any kind in innermost loops. A smaller tile has none.
    pub inner_moves: usize,
}

/// Bytes of spilled values at most: a stack is not probed page by page.
const LARGEST_FRAME: usize = 1 << 16;

/// Compiles a kernel of 8 lanes for AVX2, of 16 for AVX-512.
pub fn compile(k: &Kernel) -> Result<Code, Declined> {
    let avx512 = match k.lanes {
        16 => true,
        8 => false,
        _ => return Err(Declined("vectors of another width")),
    };
    let mut f = build::function(k)?;
    hoist::run(&mut f, if avx512 { 32 } else { 16 });
    legalise::run(&mut f, avx512);
    let a = alloc::run(&mut f, avx512).map_err(|_| Declined("no registers"))?;
    if a.output.num_spillslots * 8 > LARGEST_FRAME {
        return Err(Declined("more spilled values than a stack should hold"));
    }
    let e =
        encode::run(&f, &a, avx512).map_err(|_| Declined("an instruction that has no encoding"))?;
    Ok(Code {
        bytes: e.bytes,
        entry: e.entry,
        instructions: e.instructions,
        spills: a.spills,
        inner_moves: a.inner_edits,
    })
}

/// Machine code as text, behind a line of what it took.
pub fn text(code: &Code) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let mut out = format!(
        "; {} instructions, {} spills, {} moves in innermost loops\n",
        code.instructions, code.spills, code.inner_moves
    );
    let mut formatter = IntelFormatter::new();
    let at = code.entry as u64;
    for i in &mut Decoder::with_ip(64, &code.bytes[code.entry..], at, DecoderOptions::NONE) {
        let mut line = String::new();
        formatter.format(&i, &mut line);
        out.push_str(&format!("{:6x}  {line}\n", i.ip()));
    }
    out
}
