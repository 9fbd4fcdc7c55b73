//! Placeholder.

use super::lanes::{Instr, LANES};
use super::warp::Cx;

pub struct Probe;

impl Cx<'_> {
    pub fn probe_instruction(&mut self, _ins: &Instr) -> bool {
        true
    }
    pub fn probe_access(
        &mut self,
        _ins: &Instr,
        _addresses: &[u64; LANES],
        _space: &str,
        _store: bool,
    ) -> bool {
        true
    }
}
use super::fault::Fault;
use super::warp::Arrival;
impl Cx<'_> {
    pub fn probe_atomic(&mut self, _ins: &Instr, _addresses: &[u64; LANES], _space: &str) -> bool {
        true
    }
    pub fn probe_shuffle(&mut self, _lane: usize, _source: u32, _members: u32) -> bool {
        true
    }
    pub fn probe_block_start(&mut self) {}
    pub fn probe_barrier(
        &mut self,
        _lanes: &[(u32, Arrival)],
        _whole: bool,
        _alive: u32,
    ) -> Result<(), Box<Fault>> {
        Ok(())
    }
}
impl Probe {
    pub fn new(
        _s: crate::config::Sanitize,
        _count: bool,
        _launch: &super::grid::Launch<'_>,
    ) -> Self {
        Self
    }
    pub fn into_counts(self) -> crate::count::Counts {
        Default::default()
    }
}
