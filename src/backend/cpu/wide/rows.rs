//! Elements of one image as a vector: masked where not all lanes take part, and every second one taken out where
//! they lie apart.
//!
//! Does not know which axis of an image the lanes run along.

use super::build::{Builder, Declined, small};
use super::ir::{Base, Class, Inst, Mem, Op, Value};
use crate::ir::DType;
use crate::nest::loops::{At, BufId, Entry, Row};

/// Masks that are kept in registers; others are read where they are used.
const MOST_KEPT: usize = 5;

impl Builder<'_> {
    pub(super) fn row(&mut self, buf: BufId, at: &At, row: &Row) -> Result<Value, Declined> {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        let mut mem = self.address(buf, at)?;
        if let Some(e) = &row.entry {
            mem.base = Base::Value(self.entry(mem.base, e, dtype.size_bytes() as i64)?);
        }
        if row.step == 0 {
            return Ok(self.in_all_lanes(dtype, mem));
        }
        let read = row.lanes(self.k.lanes, |a| self.known(a));
        let read = read.ok_or(CHANGING)?;
        self.side_by_side(dtype, mem, row.step, &read)
    }

    /// Elements `step` apart as numbers, in the lanes that are read.
    pub(super) fn side_by_side(
        &mut self,
        dtype: DType,
        mem: Mem,
        step: i64,
        read: &[bool],
    ) -> Result<Value, Declined> {
        if dtype != DType::F32 && step != 1 {
            return Err(Declined("numbers of another type that lie apart"));
        }
        let x = self.elements(dtype, mem, step, read)?;
        Ok(match dtype {
            DType::F32 => x,
            _ => self.vector(Op::Number, &[x], None),
        })
    }

    /// One element in all lanes.
    pub(super) fn in_all_lanes(&mut self, dtype: DType, mem: Mem) -> Value {
        match dtype {
            DType::F32 => self.vector(Op::Splat, &[], Some(mem)),
            DType::I32 => {
                let x = self.vector(Op::Splat, &[], Some(mem));
                self.vector(Op::Number, &[x], None)
            }
            DType::U8 => {
                let x = self.made(Class::Int, Op::LoadByte, &[], Some(mem));
                let x = self.vector(Op::SplatInt, &[x], None);
                self.vector(Op::Number, &[x], None)
            }
        }
    }

    /// The pointer moved to an entry of its data set.
    fn entry(&mut self, base: Base, e: &Entry, size: i64) -> Result<Value, Declined> {
        let Base::Value(base) = base else {
            return Err(Declined("a data set among the constants"));
        };
        let at = self.address(e.index, &e.at)?;
        let index = self.made(Class::Int, Op::LoadIndex, &[], Some(at));
        let skip = Op::Times(small(e.stride * size)?);
        let skip = self.made(Class::Int, skip, &[index], None);
        Ok(self.made(Class::Int, Op::Sum(0), &[base, skip], None))
    }

    /// Elements `step` apart, in the lanes that are read. Of elements that lie apart by an even number two vectors are
    /// read, half as far apart.
    fn elements(
        &mut self,
        dtype: DType,
        mem: Mem,
        step: i64,
        read: &[bool],
    ) -> Result<Value, Declined> {
        let Some(last) = read.iter().rposition(|r| *r) else {
            return Ok(self.vector(Op::Zero, &[], None));
        };
        match step {
            1 => self.masked(dtype, mem, read),
            step if step % 2 == 0 => {
                let first = read.iter().position(|r| *r).unwrap_or(0);
                let lanes = read.len();
                let half = step / 2;
                let all = read.iter().all(|r| *r);
                let parts = [0, lanes].map(|from| {
                    let inside = |l: usize| (2 * first..=2 * last).contains(&(from + l));
                    let part: Vec<bool> = (0..lanes).map(|l| all || inside(l)).collect();
                    let skip = i32::try_from(4 * half * from as i64).map_err(|_| FAR)?;
                    let disp = mem.disp.checked_add(skip).ok_or(FAR)?;
                    self.elements(dtype, Mem { disp, ..mem }, half, &part)
                });
                let [low, high] = parts;
                let x = self.evens(low?, high?);
                Ok(match (first..=last).all(|l| read[l]) && step == 2 {
                    true => x,
                    false => self.only(x, read),
                })
            }
            _ => Err(Declined("elements that lie an odd number apart")),
        }
    }

    /// The vector where lanes are read, 0 elsewhere.
    fn only(&mut self, x: Value, read: &[bool]) -> Value {
        let lanes = self.lanes(bits(read));
        self.vector(Op::And, &[x, lanes], None)
    }

    fn masked(&mut self, dtype: DType, mem: Mem, read: &[bool]) -> Result<Value, Declined> {
        let all = read.iter().all(|r| *r);
        let bytes = dtype == DType::U8;
        if all {
            let op = if bytes { Op::LoadBytes } else { Op::Load };
            return Ok(self.vector(op, &[], Some(mem)));
        }
        if bytes && self.k.lanes == 8 {
            return Err(Declined("a part of a vector of bytes"));
        }
        let op = if bytes {
            Op::LoadBytesMasked
        } else {
            Op::LoadMasked
        };
        let mask = self.mask(read);
        Ok(self.vector(op, &[mask], Some(mem)))
    }

    /// Elements 0, 2, 4… of two vectors in a row: pairs within fours, then the halves of fours apart.
    fn evens(&mut self, low: Value, high: Value) -> Value {
        let x = self.vector(Op::Shuffle(0x88), &[low, high], None);
        let x = self.vector(Op::Pairs(0xd8), &[x], None);
        match self.k.lanes {
            16 => self.vector(Op::Quarters(0xd8), &[x, x], None),
            _ => x,
        }
    }

    /// The lanes that take part: a mask at 512 bits, a vector of ones and zeros at 256.
    fn mask(&mut self, read: &[bool]) -> Value {
        if self.k.lanes == 8 {
            return self.lanes(bits(read));
        }
        let bits = read
            .iter()
            .zip(0..)
            .fold(0, |sum, (r, l)| sum | u32::from(*r) << l);
        if let Some(known) = self.masks.iter().find(|m| m.0 == bits) {
            return known.1;
        }
        let mut literal = vec![0; self.k.lanes as usize];
        literal[0] = bits;
        let mem = Mem {
            base: Base::Literal(self.f.literal(literal)),
            disp: 0,
            broadcast: false,
        };
        if self.masks.len() == MOST_KEPT {
            return self.made(Class::Mask, Op::Mask, &[], Some(mem));
        }
        let v = self.f.value(Class::Mask);
        let entry = self.entry;
        self.f.at(entry).insts.push(Inst {
            op: Op::Mask,
            defs: vec![v],
            args: vec![],
            mem: Some(mem),
        });
        self.masks.push((bits, v));
        v
    }

    /// The mask of so many of the first lanes.
    fn first(&mut self, count: i64) -> Value {
        let taken: Vec<bool> = (0..i64::from(self.k.lanes)).map(|l| l < count).collect();
        self.mask(&taken)
    }

    /// The first lanes of the one and the rest of the other.
    pub(super) fn parted(&mut self, first: &At, x: Value, y: Value) -> Result<Value, Declined> {
        let first = self.known(first).ok_or(CHANGING)?;
        let mask = self.first(first);
        Ok(self.vector(Op::Blend, &[mask, y, x], None))
    }

    /// Writes the first lanes, so many elements apart.
    pub(super) fn store_row(
        &mut self,
        value: Value,
        mem: Mem,
        lanes: &At,
        step: i64,
    ) -> Result<(), Declined> {
        let lanes = self.known(lanes).ok_or(CHANGING)?;
        let lanes = lanes.min(i64::from(self.k.lanes));
        if step > 1 {
            return self.store_apart(value, mem, lanes, step);
        }
        if lanes == i64::from(self.k.lanes) {
            self.store(Op::Store, &[value], mem);
        } else {
            let mask = self.first(lanes);
            self.store(Op::StoreMasked, &[value, mask], mem);
        }
        Ok(())
    }

    /// Writes lanes one by one.
    fn store_apart(
        &mut self,
        value: Value,
        mem: Mem,
        lanes: i64,
        step: i64,
    ) -> Result<(), Declined> {
        for four in 0..(lanes + 3) / 4 {
            let x = match four {
                0 => value,
                n => self.vector(Op::Four(n as u8), &[value], None),
            };
            for l in 0..(lanes - 4 * four).min(4) {
                let skip = small(4 * step * (4 * four + l))?;
                let disp = mem.disp.checked_add(skip).ok_or(FAR)?;
                self.store(Op::StoreLane(l as u8), &[x], Mem { disp, ..mem });
            }
        }
        Ok(())
    }
}

/// All bits of the lanes that are read, none of the others.
fn bits(read: &[bool]) -> Vec<u32> {
    let lanes = read.iter().map(|r| if *r { u32::MAX } else { 0 });
    lanes.collect()
}

const CHANGING: Declined = Declined("lanes that change from round to round");
const FAR: Declined = Declined("an address is further than a displacement reaches");
