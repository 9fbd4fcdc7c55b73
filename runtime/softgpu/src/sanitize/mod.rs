//! The sanitizers' view of memory and registers: who touched what, and who may not. They know accesses, not instructions;
//! `exec::probe` tells them.

pub mod constant;
pub mod global;
pub mod recent;
pub mod registers;
pub mod shared;
pub mod warp;

use crate::exec::warp::Cx;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Read,
    Write,
    Atomic,
}

/// What one lane does with memory, or several that read the same.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// The first lane.
    pub lane: usize,
    /// All of them.
    pub lanes: u32,
    pub address: u64,
    pub len: u64,
    pub space: &'static str,
    pub how: How,
    /// Whether it takes the memory for one that nobody writes, as `ld.global.nc` does.
    pub is_constant: bool,
}

#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: &'static str,
    pub address: u64,
    pub detail: String,
}

/// Who did it: enough to be named in a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Party {
    pub pc: u32,
    /// Index in the block.
    pub thread: u32,
}

impl Party {
    pub fn of(cx: &Cx<'_>, lane: usize) -> Self {
        Self {
            pc: cx.pc,
            thread: cx.warp * 32 + lane as u32,
        }
    }
}
