//! One instruction of a vector program as one or a few of the machine.
//!
//! Does not know blocks or what lies between instructions.

use iced_x86::{Code as C, IcedError, Instruction as I, MemoryOperand, Register as R};
use regalloc2::Allocation;

use super::{GATHERED, Writer, int, number};
use crate::backend::cpu::wide::codes;
use crate::backend::cpu::wide::ir::{Base, Inst, Mem, Op};

impl Writer<'_> {
    /// The memory operand of an instruction; `base` is where its register is.
    fn memory(&self, m: Mem, base: Option<&Allocation>, index: R) -> MemoryOperand {
        let (base, disp) = match (m.base, base) {
            (Base::Value(_), Some(&b)) => (int(b), i64::from(m.disp)),
            (Base::Literal(k), _) => (R::RIP, self.literals[k as usize] as i64),
            (Base::Value(_), None) => unreachable!("an address has a base"),
        };
        let size = if base == R::RIP {
            8
        } else {
            u32::from(disp != 0)
        };
        MemoryOperand::new(base, index, 1, disp, size, m.broadcast, R::None)
    }

    pub(super) fn inst(&mut self, i: &Inst, regs: &[Allocation]) -> Result<(), IcedError> {
        let args = i.args.len();
        let base = matches!(i.mem.map(|m| m.base), Some(Base::Value(_)));
        let def = regs
            .get(args + usize::from(base))
            .copied()
            .unwrap_or(Allocation::none());
        let mem = i.mem.map(|m| self.memory(m, regs.get(args), R::None));
        match i.op {
            Op::Entry => Ok(()),
            Op::Store | Op::StoreFirst => {
                let mem = mem.unwrap_or(self.stack(0));
                self.put(match (i.op, self.avx512) {
                    (Op::Store, true) => {
                        I::with2(C::EVEX_Vmovups_zmmm512_k1z_zmm, mem, self.vector(regs[0]))
                    }
                    (Op::Store, false) => {
                        I::with2(C::VEX_Vmovups_ymmm256_ymm, mem, self.vector(regs[0]))
                    }
                    (_, true) => {
                        I::with2(C::EVEX_Vmovss_m32_k1_xmm, mem, R::XMM0 + number(regs[0]))
                    }
                    (_, false) => I::with2(C::VEX_Vmovss_m32_xmm, mem, R::XMM0 + number(regs[0])),
                })
            }
            Op::StoreMasked | Op::LoadMasked | Op::LoadBytesMasked => {
                self.masked(i.op, def, regs, mem.unwrap_or(self.stack(0)))
            }
            Op::StoreLane(l) => {
                let (mem, x) = (mem.unwrap_or(self.stack(0)), R::XMM0 + number(regs[0]));
                let code = match self.avx512 {
                    true => C::EVEX_Vextractps_rm32_xmm_imm8,
                    false => C::VEX_Vextractps_rm32_xmm_imm8,
                };
                self.put(I::with3(code, mem, x, u32::from(l)))
            }
            Op::Four(n) => {
                let (d, x) = (R::XMM0 + number(def), self.vector(regs[0]));
                let code = match self.avx512 {
                    true => C::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8,
                    false => C::VEX_Vextractf128_xmmm128_ymm_imm8,
                };
                self.put(I::with3(code, d, x, u32::from(n)))
            }
            Op::Zero => {
                let d = self.vector(def);
                self.put(if self.avx512 {
                    I::with3(C::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, d, d, d)
                } else {
                    I::with3(C::VEX_Vxorps_ymm_ymm_ymmm256, d, d, d)
                })
            }
            Op::SplatInt => self.splat_int(def, regs[0]),
            Op::Blend => self.blend(def, regs, mem),
            Op::Join => {
                let (d, low, high) = (self.vector(def), self.vector(regs[0]), self.half(regs[1]));
                let code = if self.avx512 {
                    C::EVEX_Vinserti64x4_zmm_k1z_zmm_ymmm256_imm8
                } else {
                    C::VEX_Vinserti128_ymm_ymm_xmmm128_imm8
                };
                self.put(I::with4(code, d, low, high, 1u32))
            }
            Op::Gather => self.gather(i, def, regs),
            op => match codes::plain(op, self.avx512) {
                Some((code, immediate)) => self.plain(code, immediate, op, def, &regs[..args], mem),
                None => self.scalar(op, def, regs, mem),
            },
        }
    }

    /// Result, vectors, memory, constant. A multiply-add names its first operand by its result.
    fn plain(
        &mut self,
        code: C,
        immediate: Option<u8>,
        op: Op,
        def: Allocation,
        args: &[Allocation],
        mem: Option<MemoryOperand>,
    ) -> Result<(), IcedError> {
        let d = self.vector(def);
        let skip = usize::from(matches!(op, Op::FmaForm(_)));
        let v: Vec<R> = args[skip..].iter().map(|&a| self.vector(a)).collect();
        self.put(match (&v[..], mem, immediate.map(u32::from)) {
            (&[x], None, None) => I::with2(code, d, x),
            (&[x], None, Some(n)) => I::with3(code, d, x, n),
            (&[x, y], None, None) => I::with3(code, d, x, y),
            (&[x, y], None, Some(n)) => I::with4(code, d, x, y, n),
            (&[x], Some(m), None) => I::with3(code, d, x, m),
            (&[x], Some(m), Some(n)) => I::with4(code, d, x, m, n),
            (_, Some(m), _) => I::with2(code, d, m),
            _ => unreachable!("the table has no operation of other operands"),
        })
    }

    fn masked(
        &mut self,
        op: Op,
        def: Allocation,
        regs: &[Allocation],
        mem: MemoryOperand,
    ) -> Result<(), IcedError> {
        let store = op == Op::StoreMasked;
        let x = self.vector(if store { regs[0] } else { def });
        let mask = self.vector(regs[usize::from(store)]);
        if !self.avx512 {
            return self.put(if store {
                I::with3(C::VEX_Vmaskmovps_m256_ymm_ymm, mem, mask, x)
            } else {
                I::with3(C::VEX_Vmaskmovps_ymm_ymm_m256, x, mask, mem)
            });
        }
        let mut i = match op {
            Op::StoreMasked => I::with2(C::EVEX_Vmovups_zmmm512_k1z_zmm, mem, x)?,
            Op::LoadMasked => I::with2(C::EVEX_Vmovups_zmm_k1z_zmmm512, x, mem)?,
            _ => I::with2(C::EVEX_Vpmovzxbd_zmm_k1z_xmmm128, x, mem)?,
        };
        i.set_op_mask(mask);
        i.set_zeroing_masking(!store);
        self.put(Ok(i))
    }

    fn splat_int(&mut self, def: Allocation, from: Allocation) -> Result<(), IcedError> {
        let from = R::EAX + number(from);
        if self.avx512 {
            return self.put(I::with2(
                C::EVEX_Vpbroadcastd_zmm_k1z_r32,
                self.vector(def),
                from,
            ));
        }
        let low = R::XMM0 + number(def);
        self.put(I::with2(C::VEX_Vmovd_xmm_rm32, low, from))?;
        self.put(I::with2(
            C::VEX_Vpbroadcastd_ymm_xmmm32,
            self.vector(def),
            low,
        ))
    }

    fn blend(
        &mut self,
        def: Allocation,
        regs: &[Allocation],
        yes: Option<MemoryOperand>,
    ) -> Result<(), IcedError> {
        let (d, mask, no) = (self.vector(def), self.vector(regs[0]), self.vector(regs[1]));
        if self.avx512 {
            let code = C::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
            let mut i = match yes {
                Some(m) => I::with3(code, d, no, m)?,
                None => I::with3(code, d, no, self.vector(regs[2]))?,
            };
            i.set_op_mask(mask);
            return self.put(Ok(i));
        }
        let code = C::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
        self.put(match yes {
            Some(m) => I::with4(code, d, no, m, mask),
            None => I::with4(code, d, no, self.vector(regs[2]), mask),
        })
    }

    /// The mask is full before and empty after.
    fn gather(&mut self, i: &Inst, def: Allocation, regs: &[Allocation]) -> Result<(), IcedError> {
        let Some(m) = i.mem else { return Ok(()) };
        let mem = self.memory(m, regs.get(1), self.vector(regs[0]));
        let d = self.half(def);
        if self.avx512 {
            self.put(I::with3(
                C::VEX_Kxnorw_kr_kr_kr,
                GATHERED,
                GATHERED,
                GATHERED,
            ))?;
            let mut i = I::with2(C::EVEX_Vpgatherqd_ymm_k1_vm64z, d, mem)?;
            i.set_op_mask(GATHERED);
            return self.put(Ok(i));
        }
        let mask = regs.last().map_or(R::XMM0, |&r| R::XMM0 + number(r));
        self.put(I::with3(C::VEX_Vpcmpeqd_xmm_xmm_xmmm128, mask, mask, mask))?;
        self.put(I::with3(C::VEX_Vpgatherqd_xmm_vm64y_xmm, d, mem, mask))
    }

    fn scalar(
        &mut self,
        op: Op,
        def: Allocation,
        regs: &[Allocation],
        mem: Option<MemoryOperand>,
    ) -> Result<(), IcedError> {
        let d = int(def);
        match op {
            Op::LoadPointer => self.put(I::with2(C::Mov_r64_rm64, d, mem.unwrap_or(self.stack(0)))),
            Op::LoadIndex => self.put(I::with2(
                C::Movsxd_r64_rm32,
                d,
                mem.unwrap_or(self.stack(0)),
            )),
            Op::LoadByte => {
                let d = R::EAX + number(def);
                self.put(I::with2(C::Movzx_r32_rm8, d, mem.unwrap_or(self.stack(0))))
            }
            Op::Mask => {
                let d = self.vector(def);
                self.put(I::with2(
                    C::VEX_Kmovw_kr_km16,
                    d,
                    mem.unwrap_or(self.stack(0)),
                ))
            }
            Op::Integer(k) => match i32::try_from(k) {
                Ok(k) => self.put(I::with2(C::Mov_rm64_imm32, d, k)),
                Err(_) => self.put(I::with2(C::Mov_r64_imm64, d, k)),
            },
            Op::Sum(k) => {
                let index = if regs.len() > 2 {
                    int(regs[1])
                } else {
                    R::None
                };
                let size = u32::from(k != 0);
                let sum =
                    MemoryOperand::new(int(regs[0]), index, 1, i64::from(k), size, false, R::None);
                self.put(I::with2(C::Lea_r64_m, d, sum))
            }
            Op::Times(k) => self.put(I::with3(C::Imul_r64_rm64_imm32, d, int(regs[0]), k)),
            Op::Least | Op::Greatest => {
                let other = int(regs[1]);
                self.put(I::with2(C::Cmp_r64_rm64, d, other))?;
                let code = if op == Op::Least {
                    C::Cmovg_r64_rm64
                } else {
                    C::Cmovl_r64_rm64
                };
                self.put(I::with2(code, d, other))
            }
            Op::ShiftRight(n) => self.put(I::with2(C::Sar_rm64_imm8, d, u32::from(n))),
            _ => unreachable!("vector operations are in the table or handled before"),
        }
    }
}
