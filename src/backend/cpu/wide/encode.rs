//! From a vector program with its registers to machine code.
//!
//! The constants lie before the code, which reads them relative to itself, so that it runs wherever it is
//! copied to. Does not know Loops; which registers values have is settled.

use std::collections::BTreeSet;

use iced_x86::{Code as C, Encoder, IcedError, Instruction as I, MemoryOperand, Register as R};
use regalloc2::{Allocation, RegClass};

use super::alloc::{Allocated, Step};
use super::ir::{Block, End, Function, Right};

mod inst;

/// Registers that a function leaves as they were.
const KEPT: [u32; 5] = [3, 12, 13, 14, 15];
/// The mask of gathers.
const GATHERED: R = R::K1;
/// Loops start at a multiple of so many bytes.
const LOOPS: usize = 32;

/// Machine code of one kernel.
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// Where the code starts.
    pub entry: usize,
    pub instructions: usize,
}

struct Writer<'a> {
    f: &'a Function,
    a: &'a Allocated,
    avx512: bool,
    encoder: Encoder,
    at: usize,
    /// Where each literal lies.
    literals: Vec<usize>,
    /// Where each block starts, and the ends of branches to it.
    starts: Vec<usize>,
    branches: Vec<(usize, usize)>,
    instructions: usize,
    kept: Vec<R>,
}

/// Encodes a kernel whose first byte will lie at a multiple of 64.
pub fn run(f: &Function, a: &Allocated, avx512: bool) -> Result<Encoded, IcedError> {
    let mut w = Writer {
        f,
        a,
        avx512,
        encoder: Encoder::try_new(64)?,
        at: 0,
        literals: vec![],
        starts: vec![0; f.blocks.len()],
        branches: vec![],
        instructions: 0,
        kept: kept(a),
    };
    for l in &f.literals {
        w.literals.push(w.at);
        l.iter()
            .flat_map(|x| x.to_le_bytes())
            .for_each(|b| w.byte(b));
    }
    w.align(64);
    let entry = w.at;
    w.prologue()?;
    for b in 0..f.blocks.len() {
        w.block(b)?;
    }
    let mut bytes = w.encoder.take_buffer();
    for (end, target) in w.branches {
        let way = (w.starts[target] as i64 - end as i64) as i32;
        bytes[end - 4..end].copy_from_slice(&way.to_le_bytes());
    }
    Ok(Encoded {
        bytes,
        entry,
        instructions: w.instructions,
    })
}

fn kept(a: &Allocated) -> Vec<R> {
    let edits = a.output.edits.iter().flat_map(|e| {
        let regalloc2::Edit::Move { from, to } = e.1;
        [from, to]
    });
    let used: BTreeSet<u32> = a
        .output
        .allocs
        .iter()
        .copied()
        .chain(edits)
        .filter_map(integer)
        .collect();
    KEPT.iter()
        .filter(|r| used.contains(r))
        .map(|&r| R::RAX + r)
        .collect()
}

fn integer(a: Allocation) -> Option<u32> {
    a.as_reg()
        .filter(|r| r.class() == RegClass::Int)
        .map(|r| r.hw_enc() as u32)
}

/// The number of the register that an operand got.
fn number(a: Allocation) -> u32 {
    a.as_reg().map_or(0, |r| r.hw_enc() as u32)
}

fn int(a: Allocation) -> R {
    R::RAX + number(a)
}

impl Writer<'_> {
    fn byte(&mut self, b: u8) {
        self.encoder.write_u8(b);
        self.at += 1;
    }

    fn align(&mut self, to: usize) {
        while !self.at.is_multiple_of(to) {
            // The longest no-operations that decoders take at full speed.
            let left = (to - self.at % to).min(9);
            nop(left).iter().for_each(|&b| self.byte(b));
        }
    }

    fn put(&mut self, i: Result<I, IcedError>) -> Result<(), IcedError> {
        self.at += self.encoder.encode(&i?, self.at as u64)?;
        self.instructions += 1;
        Ok(())
    }

    fn vector(&self, a: Allocation) -> R {
        match a.as_reg().map(|r| r.class()) {
            Some(RegClass::Vector) => R::K0 + number(a),
            _ if self.avx512 => R::ZMM0 + number(a),
            _ => R::YMM0 + number(a),
        }
    }

    /// Half as wide.
    fn half(&self, a: Allocation) -> R {
        if self.avx512 {
            R::YMM0 + number(a)
        } else {
            R::XMM0 + number(a)
        }
    }

    fn frame(&self) -> u32 {
        (8 * self.a.output.num_spillslots as u32).next_multiple_of(64)
    }

    fn stack(&self, at: i64) -> MemoryOperand {
        MemoryOperand::new(R::RSP, R::None, 1, at, 1, false, R::None)
    }

    /// Where a spilled value lies.
    fn slot(&self, a: Allocation) -> MemoryOperand {
        let slot = a.as_stack().map_or(0, |s| s.index());
        self.stack(8 * slot as i64)
    }

    fn prologue(&mut self) -> Result<(), IcedError> {
        self.put(I::with1(C::Push_r64, R::RBP))?;
        self.put(I::with2(C::Mov_r64_rm64, R::RBP, R::RSP))?;
        for r in self.kept.clone() {
            self.put(I::with1(C::Push_r64, r))?;
        }
        if self.frame() > 0 {
            self.put(I::with2(C::Sub_rm64_imm32, R::RSP, self.frame() as i32))?;
            self.put(I::with2(C::And_rm64_imm8, R::RSP, -64))?;
        }
        Ok(())
    }

    fn epilogue(&mut self) -> Result<(), IcedError> {
        let kept = self.kept.clone();
        let from = MemoryOperand::new(
            R::RBP,
            R::None,
            1,
            -8 * kept.len() as i64,
            1,
            false,
            R::None,
        );
        self.put(I::with2(C::Lea_r64_m, R::RSP, from))?;
        for &r in kept.iter().rev() {
            self.put(I::with1(C::Pop_r64, r))?;
        }
        self.put(I::with1(C::Pop_r64, R::RBP))?;
        self.put(Ok(I::with(C::VEX_Vzeroupper)))?;
        self.put(Ok(I::with(C::Retnq)))
    }

    /// Whether nothing but a jump is in the block.
    fn empty(&self, b: usize) -> Option<usize> {
        let only = self.a.block(b).count() == 1;
        match &self.f.blocks[b].end {
            End::Jump(to, _) if only => Some(to.0 as usize),
            _ => None,
        }
    }

    /// Where a jump to the block ends up.
    fn target(&self, mut b: usize) -> usize {
        while let Some(next) = self.empty(b) {
            b = next;
        }
        b
    }

    /// Whether the code of `to` follows that of `b`.
    fn follows(&self, b: usize, to: usize) -> bool {
        to > b && (b + 1..to).all(|k| self.empty(k).is_some())
    }

    fn block(&mut self, b: usize) -> Result<(), IcedError> {
        if self.empty(b).is_some() {
            return Ok(());
        }
        let block = &self.f.blocks[b];
        let again = |k: &Block| matches!(&k.end, End::Jump(to, _) if to.0 as usize == b);
        if block.innermost && self.f.blocks[b..].iter().any(again) {
            self.align(LOOPS);
        }
        self.starts[b] = self.at;
        for step in self.a.block(b) {
            match step {
                Step::Move(from, to) => self.move_value(from, to)?,
                Step::Inst(i) => match block.insts.get(i) {
                    Some(inst) => self.inst(inst, self.a.registers(b, i))?,
                    None => self.end(b, &block.end, self.a.registers(b, i))?,
                },
            }
        }
        Ok(())
    }

    fn jump(&mut self, code: C, target: usize) -> Result<(), IcedError> {
        self.put(I::with_branch(code, self.at as u64))?;
        self.branches.push((self.at, target));
        Ok(())
    }

    fn end(&mut self, b: usize, end: &End, regs: &[Allocation]) -> Result<(), IcedError> {
        match end {
            End::Return => self.epilogue(),
            End::Jump(to, _) => {
                let to = self.target(to.0 as usize);
                if self.follows(b, to) {
                    return Ok(());
                }
                self.jump(C::Jmp_rel32_64, to)
            }
            End::Less(_, right, yes, no) => {
                self.put(match right {
                    Right::Integer(k) => I::with2(C::Cmp_rm64_imm32, int(regs[0]), *k),
                    Right::Value(_) => I::with2(C::Cmp_r64_rm64, int(regs[0]), int(regs[1])),
                })?;
                let [yes, no] = [yes, no].map(|t| self.target(t.0 as usize));
                if self.follows(b, yes) {
                    return self.jump(C::Jge_rel32_64, no);
                }
                self.jump(C::Jl_rel32_64, yes)?;
                if self.follows(b, no) {
                    return Ok(());
                }
                self.jump(C::Jmp_rel32_64, no)
            }
        }
    }

    /// A move that the allocator put between instructions.
    fn move_value(&mut self, from: Allocation, to: Allocation) -> Result<(), IcedError> {
        let class = from
            .as_reg()
            .or(to.as_reg())
            .map_or(RegClass::Int, |r| r.class());
        let (load, store) = match class {
            RegClass::Int => (C::Mov_r64_rm64, C::Mov_rm64_r64),
            RegClass::Vector => (C::VEX_Kmovw_kr_km16, C::VEX_Kmovw_m16_kr),
            RegClass::Float if self.avx512 => (
                C::EVEX_Vmovaps_zmm_k1z_zmmm512,
                C::EVEX_Vmovaps_zmmm512_k1z_zmm,
            ),
            RegClass::Float => (C::VEX_Vmovaps_ymm_ymmm256, C::VEX_Vmovaps_ymmm256_ymm),
        };
        let reg = |a| {
            if class == RegClass::Int {
                int(a)
            } else {
                self.vector(a)
            }
        };
        let i = if from.is_stack() {
            I::with2(load, reg(to), self.slot(from))
        } else if to.is_stack() {
            I::with2(store, self.slot(to), reg(from))
        } else {
            I::with2(load, reg(to), reg(from))
        };
        self.put(i)
    }
}

/// A no-operation of so many bytes, 1 to 9.
fn nop(bytes: usize) -> &'static [u8] {
    const LONGEST: [&[u8]; 9] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ];
    LONGEST[bytes - 1]
}
