//! What watches a launch instruction by instruction: it feeds the counters and the sanitizers. A probed launch runs its
//! blocks one after the other on one thread, so that what is seen needs no locks and does not depend on chance.

use super::access::READ_ONLY;
use super::fault::{self, Fault, ILLEGAL_ADDRESS, LAUNCH_FAILED};
use super::grid::Launch;
use super::heap::{DEVICE_BASE, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_LEN};
use super::lanes::{Instr, Kind, LANES};
use super::misc::FENCE;
use super::traffic::Lanes;
use super::warp::{Arrival, Cx};
use crate::config::Sanitize;
use crate::count::Counts;
use crate::sanitize::constant::ConstantReads;
use crate::sanitize::global::GlobalRaces;
use crate::sanitize::recent::Now;
use crate::sanitize::registers::Registers;
use crate::sanitize::shared::{Local, Shared, name_line};
use crate::sanitize::warp::WarpOrder;
use crate::sanitize::{Access, Finding, How, Party};
use crate::time::model::{Model, Outcome, Surroundings};

/// Copies of the lanes of one `cp.async`.
#[derive(Default)]
struct Copies {
    to: [u64; LANES],
    from: [u64; LANES],
    /// Lanes that write, and those of them that read.
    mask: u32,
    read: u32,
    len: u64,
}

impl Copies {
    fn add(&mut self, lane: usize, to: u64, from: u64, len: u64, copied: u64) {
        self.to[lane] = to;
        self.from[lane] = from;
        self.mask |= 1 << lane;
        self.read |= u32::from(copied > 0) << lane;
        self.len = len;
    }
}

pub struct Probe {
    sanitize: Sanitize,
    counts: Counts,
    /// Where the launch is counted.
    model: Option<Box<Model>>,
    /// What the lanes of a `cp.async` copied so far.
    copies: Copies,
    registers: Registers,
    local: Local,
    shared: Shared,
    global: GlobalRaces,
    constants: ConstantReads,
    order: WarpOrder,
}

impl Probe {
    /// `counted`: what the counters must know, where they are on.
    pub fn new(sanitize: Sanitize, counted: Option<Surroundings>, launch: &Launch<'_>) -> Self {
        let warps = launch.threads().div_ceil(32) as usize;
        let program = launch.program;
        let tracked = |len: u32, on: bool| if on { len as usize } else { 0 };
        Self {
            sanitize,
            counts: Counts::default(),
            model: counted.map(|surroundings| Box::new(Model::new(surroundings, launch))),
            copies: Copies::default(),
            registers: Registers::new(warps, tracked(program.file_bytes, sanitize.init)),
            local: Local::new(warps, tracked(program.local_len, sanitize.init)),
            shared: Shared::new(launch.shared_len as usize),
            global: GlobalRaces::default(),
            constants: ConstantReads::default(),
            order: WarpOrder::new(warps, launch.has_independent_lanes),
        }
    }

    pub fn counts(&self) -> bool {
        self.model.is_some()
    }

    /// The counts, and what the model says where it was asked.
    pub fn finish(self) -> (Counts, Option<Outcome>) {
        let mut counts = self.counts;
        let outcome = self.model.map(|model| model.finish());
        if let Some(outcome) = &outcome {
            counts.l2_sectors = outcome.l2_sectors;
            counts.memory_bytes_read = outcome.memory.read;
            counts.memory_bytes_written = outcome.memory.written;
        }
        (counts, outcome)
    }

    /// Counts an access of the instruction at `pc`.
    fn count_access(&mut self, pc: u32, mut lanes: Lanes<'_>, space: &str, how: How) {
        let Some(model) = self.model.as_mut().filter(|_| lanes.mask != 0) else {
            return;
        };
        match space {
            "global" | "generic" => {
                let sectors = lanes.count_global(&mut self.counts, how);
                model.access_global(&sectors, how);
            }
            "shared" => {
                let words = model.words(pc, |bytes| lanes.are_aligned(bytes));
                if words > 0 {
                    lanes.len *= words;
                    model.access_shared(lanes.count_shared(&mut self.counts));
                }
            }
            _ => {}
        }
    }

    /// Counts what the lanes of a `cp.async` did as one access of each kind.
    fn count_copies(&mut self, pc: u32) {
        let copies = std::mem::take(&mut self.copies);
        for (addresses, mask, len, space, how) in [
            (&copies.to, copies.mask, copies.len, "shared", How::Write),
            (&copies.from, copies.read, copies.len, "global", How::Read),
        ] {
            let lanes = Lanes {
                addresses,
                mask,
                len,
            };
            self.count_access(pc, lanes, space, how);
        }
    }

    fn count(&mut self, ins: &Instr, mask: u32, is_first: bool) {
        // Conversions that the decoder adds belong to the instruction that they serve; of an instruction that is decoded
        // into several, that with its own kind comes first or is alone.
        if is_first {
            self.counts.warp_instructions[ins.kind as usize] += 1;
            self.counts.lane_instructions[ins.kind as usize] += u64::from(mask.count_ones());
        }
    }

    /// Fails with the lane that should not have done this.
    fn check_access(&mut self, cx: &Cx<'_>, access: Access) -> Result<(), (usize, Finding)> {
        let generic = access.space == "generic";
        let inside = |window: u64| access.address.wrapping_sub(window) < WINDOW_LEN;
        if access.space == "global" || generic && access.address >= DEVICE_BASE {
            self.check_global(cx, access)
        } else if access.space == "shared" || generic && inside(SHARED_WINDOW) {
            let address = if generic {
                access.address - SHARED_WINDOW
            } else {
                access.address
            };
            let access = Access { address, ..access };
            self.shared.access(
                access,
                self.sanitize,
                Party::of(cx, access.lane),
                &self.order,
            )
        } else if access.space == "local" || generic && inside(LOCAL_WINDOW) {
            let address = if generic {
                access.address - LOCAL_WINDOW
            } else {
                access.address
            };
            if self.sanitize.init {
                let access = Access { address, ..access };
                let result = self.local.access(cx.warp, access);
                result.map_err(|finding| (access.lane, finding))
            } else {
                Ok(())
            }
        } else {
            Ok(())
        }
    }

    fn check_global(&mut self, cx: &Cx<'_>, access: Access) -> Result<(), (usize, Finding)> {
        // Accesses out of bounds are the handler's to report.
        let Some(span) = cx.launch.heap.find_range(access.address, access.len) else {
            return Ok(());
        };
        if self.sanitize.init {
            if access.how != How::Write
                && let Some(address) = span.first_unwritten(access.address, access.len)
            {
                let place = cx.launch.heap.describe(address);
                let finding = Finding {
                    kind: "uninitialised",
                    address,
                    detail: format!("a read of {place}, never written"),
                };
                return Err((access.lane, finding));
            }
            if access.how != How::Read {
                span.mark_written(access.address, access.len);
            }
        }
        if self.sanitize.read_only {
            let Access { address, len, .. } = access;
            let constants = &mut self.constants;
            let result = constants.access(address, len, access.how, access.is_constant, cx);
            result.map_err(|finding| (access.lane, finding))?;
        }
        if self.sanitize.race_global {
            let now = Now {
                access,
                party: Party::of(cx, access.lane),
                epoch: self.shared.epoch(),
                order: &self.order,
            };
            self.global.access(&now, cx)
        } else {
            Ok(())
        }
    }
}

fn code_of(kind: &str) -> u32 {
    match kind {
        "uninitialised" => ILLEGAL_ADDRESS,
        _ => LAUNCH_FAILED,
    }
}

impl Cx<'_> {
    /// Runs a part of the probe; its finding becomes the launch's fault. Whether all is well.
    fn with_probe(
        &mut self,
        run: impl FnOnce(&mut Probe, &Self) -> Result<(), (usize, Finding)>,
    ) -> bool {
        let Some(mut probe) = self.probe.take() else {
            return true;
        };
        let result = run(&mut probe, self);
        self.probe = Some(probe);
        let Err((lane, finding)) = result else {
            return true;
        };
        let Finding {
            kind,
            address,
            detail,
        } = finding;
        let detail = name_line(self, &detail);
        self.fail(fault::at(self, lane, code_of(kind), kind, address, detail));
        false
    }

    /// Before every instruction; `active` are the lanes that reached it.
    pub fn probe_instruction(&mut self, ins: &Instr, active: u32) -> bool {
        self.with_probe(|probe, cx| {
            let info = &cx.launch.program.infos[cx.pc as usize];
            if ins.kind == Kind::Special && ins.imm == FENCE {
                probe.global.fence(cx.block);
            }
            if probe.sanitize.init {
                probe.registers.instruction(cx, ins, info, active)
            } else {
                Ok(())
            }
        })
    }

    /// After every instruction that did not have to wait.
    pub fn probe_executed(&mut self, ins: &Instr, active: u32) {
        let is_first = self.launch.program.infos[self.pc as usize].is_first;
        let lanes = if ins.kind == Kind::Branch {
            active
        } else {
            self.mask
        };
        if let Some(probe) = &mut self.probe
            && probe.counts()
        {
            if probe.copies.mask != 0 {
                probe.count_copies(self.pc);
            }
            probe.count(ins, lanes, is_first);
            if let Some(model) = &mut probe.model {
                probe.counts.issues += u64::from(model.executed(ins, self.warp, self.pc));
            }
        }
    }

    pub fn probe_access(
        &mut self,
        ins: &Instr,
        addresses: &[u64; LANES],
        space: &'static str,
        store: bool,
    ) -> bool {
        self.probe_memory(
            ins,
            addresses,
            space,
            if store { How::Write } else { How::Read },
        )
    }

    pub fn probe_atomic(
        &mut self,
        ins: &Instr,
        addresses: &[u64; LANES],
        space: &'static str,
    ) -> bool {
        self.probe_memory(ins, addresses, space, How::Atomic)
    }

    fn probe_memory(
        &mut self,
        ins: &Instr,
        addresses: &[u64; LANES],
        space: &'static str,
        how: How,
    ) -> bool {
        let len = u64::from(ins.width) * u64::from(ins.count);
        self.with_probe(|probe, cx| {
            let lanes = Lanes {
                addresses,
                mask: cx.mask,
                len,
            };
            probe.count_access(cx.pc, lanes, space, how);
            if probe.sanitize.in_accesses() {
                let mut left = cx.mask;
                while left != 0 {
                    let lane = left.trailing_zeros() as usize;
                    let address = addresses[lane];
                    // Neighbours that read one address do it at once.
                    let same = |other: &usize| how == How::Read && addresses[*other] == address;
                    let others = cx.lanes().skip_while(|&other| other <= lane);
                    let lanes = others
                        .take_while(same)
                        .fold(1 << lane, |all, k| all | 1 << k);
                    left &= !lanes;
                    let access = Access {
                        lane,
                        lanes,
                        address,
                        len,
                        space,
                        how,
                        is_constant: how == How::Read && ins.extra == READ_ONLY,
                    };
                    probe.check_access(cx, access)?;
                }
            }
            Ok(())
        })
    }

    /// `cp.async`: a read of global memory and a write of shared memory.
    pub fn probe_copy(&mut self, lane: usize, to: u64, from: u64, len: u64, copied: u64) -> bool {
        self.with_probe(|probe, cx| {
            if probe.counts() {
                probe.copies.add(lane, to, from, len, copied);
            }
            let mut step = |space, address, len, how| {
                let access = Access {
                    lane,
                    lanes: 1 << lane,
                    address,
                    len,
                    space,
                    how,
                    is_constant: false,
                };
                if probe.sanitize.in_accesses() {
                    probe.check_access(cx, access)
                } else {
                    Ok(())
                }
            };
            if copied > 0 {
                step("global", from, copied, How::Read)?;
            }
            step("shared", to, len, How::Write)
        })
    }

    /// `shfl.sync` in `lane` reads from `source`.
    pub fn probe_shuffle(&mut self, lane: usize, source: u32, members: u32) -> bool {
        self.with_probe(|probe, cx| {
            let is_right = cx.mask >> source & 1 != 0
                && members >> source & 1 != 0
                && members >> lane & 1 != 0;
            if !probe.sanitize.barrier || is_right {
                return Ok(());
            }
            let detail = format!("lane {lane} reads lane {source}, which does not take part");
            Err((
                lane,
                Finding {
                    kind: "divergent_shuffle",
                    address: 0,
                    detail,
                },
            ))
        })
    }

    /// `bar.warp.sync`: these lanes are there.
    pub fn probe_warp_sync(&mut self, lanes: u32) {
        let warp = self.warp;
        if let Some(probe) = &mut self.probe {
            probe.order.meet(warp, lanes);
        }
    }

    pub fn probe_block_start(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.counts.blocks += 1;
            if let Some(model) = &mut probe.model {
                model.start_block();
            }
            probe.registers.block_start();
            probe.local.block_start();
            probe.shared.block_start();
        }
    }

    /// A barrier lets go: which lanes of which warps arrived, whether it is one of the whole block, and how many threads
    /// have not exited.
    pub fn probe_barrier(
        &mut self,
        arrivals: &[(u32, Arrival)],
        whole_block: bool,
        alive: u32,
    ) -> Result<(), Box<Fault>> {
        let Some(probe) = &mut self.probe else {
            return Ok(());
        };
        if let Some(model) = &mut probe.model {
            model.release(arrivals.iter().map(|(warp, _)| *warp), whole_block);
        }
        if whole_block {
            probe.shared.barrier();
        }
        for of_warp in arrivals.chunk_by(|(warp, _), (next, _)| warp == next) {
            let lanes = of_warp
                .iter()
                .fold(0, |all, (_, arrival)| all | arrival.mask);
            probe.order.meet(of_warp[0].0, lanes);
        }
        let sanitize = probe.sanitize;
        let (warp, first) = arrivals[0];
        let line = |cx: &Self, pc: u32| cx.launch.program.source_line(pc);
        if let Some((other_warp, other)) =
            arrivals.iter().find(|(_, arrival)| arrival.pc != first.pc)
            && sanitize.barrier
        {
            let (number, text) = line(self, other.pc);
            let thread = self
                .launch
                .thread_index(other_warp * 32 + other.mask.trailing_zeros());
            let detail = format!("thread {thread:?} waits at line {number} instead: {text}");
            return Err(self.barrier_fault(warp, first, "divergent_barrier", detail));
        }
        if sanitize.barrier_exit && whole_block && alive < self.launch.threads() {
            let detail = format!(
                "{} threads of the block exited before",
                self.launch.threads() - alive
            );
            return Err(self.barrier_fault(warp, first, "divergent_barrier", detail));
        }
        Ok(())
    }

    fn barrier_fault(
        &mut self,
        warp: u32,
        arrival: Arrival,
        kind: &'static str,
        detail: String,
    ) -> Box<Fault> {
        self.pc = arrival.pc;
        self.warp = warp;
        let lane = arrival.mask.trailing_zeros() as usize;
        fault::at(self, lane, LAUNCH_FAILED, kind, 0, detail)
    }
}
