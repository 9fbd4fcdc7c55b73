//! Expressions of a kernel as vector instructions.
//!
//! Within a statement equal instructions are made once. Does not know statements, machine registers or encodings.

use super::build::{Builder, Declined};
use super::ir::{Base, Class, Inst, Mem, Op, Value};
use crate::backend::cpu::code::uniform_offset;
use crate::backend::cpu::math::{self, Bits, Vectors};
use crate::ir::DType;
use crate::nest::loops::{At, BufId, Draw, Expr as V, Lanes, Read, ValueId};
use crate::nest::{Binary, Compare};

impl Builder<'_> {
    /// A vector instruction's result.
    pub(super) fn vector(&mut self, op: Op, args: &[Value], mem: Option<Mem>) -> Value {
        self.made(Class::Vector, op, args, mem)
    }

    pub(super) fn made(&mut self, class: Class, op: Op, args: &[Value], mem: Option<Mem>) -> Value {
        let mut i = Inst {
            op,
            defs: vec![],
            args: args.to_vec(),
            mem,
        };
        if let Some(&v) = self.known.get(&i) {
            return v;
        }
        let v = self.f.value(class);
        self.known.insert(i.clone(), v);
        i.defs = vec![v];
        self.push(i);
        v
    }

    /// The same bits in all lanes.
    fn constant(&mut self, bits: u32) -> Value {
        if bits == 0 {
            return self.vector(Op::Zero, &[], None);
        }
        self.lanes(vec![bits; self.k.lanes as usize])
    }

    pub(super) fn lanes(&mut self, lanes: Vec<u32>) -> Value {
        let mem = Mem {
            base: Base::Literal(self.f.literal(lanes)),
            disp: 0,
            broadcast: false,
        };
        self.vector(Op::Load, &[], Some(mem))
    }

    pub(super) fn value(&mut self, v: ValueId) -> Result<Value, Declined> {
        Ok(match &self.k.exprs[v.0 as usize] {
            V::Const(bits) => self.constant(*bits),
            V::Uniform(u) => self.uniform(uniform_offset(*u)),
            V::Number(at) => self.position(at)?,
            V::Lane(at) => {
                let first = self.position(at)?;
                let lanes = (0..self.k.lanes).map(|l| (l as f32).to_bits()).collect();
                let lanes = self.lanes(lanes);
                self.vector(Op::Add, &[first, lanes], None)
            }
            V::Random(draw) => self.random(draw)?,
            V::Reg(reg, index) => self.register(*reg, index)?,
            V::Load(buf, at, how) => self.load(*buf, at, how)?,
            V::Unary(f, x) => {
                let x = self.value(*x)?;
                math::unary(self, *f, x)
            }
            V::Binary(f, x, y) => {
                let number = self.k.is_number(*x);
                let (x, y) = (self.value(*x)?, self.value(*y)?);
                math::binary(self, *f, x, y, number)
            }
            V::Fma(x, y, z) => {
                let (x, y, z) = (self.value(*x)?, self.value(*y)?, self.value(*z)?);
                self.fma(x, y, z)
            }
            V::Select(c, [x, y, yes, no]) => {
                let (x, y) = (self.value(*x)?, self.value(*y)?);
                let (yes, no) = (self.value(*yes)?, self.value(*no)?);
                self.select(*c, x, y, yes, no)
            }
            V::ReduceLanes(x) => {
                let x = self.value(*x)?;
                self.sum_of_lanes(x)
            }
            V::Transposed(xs, lane) => self.transpose(xs, *lane)?,
            V::Split(n, x, y) => {
                let (x, y) = (self.value(*x)?, self.value(*y)?);
                self.parted(n, x, y)?
            }
            V::Within(..) => return Err(Declined("borders that are not peeled")),
        })
    }

    fn random(&mut self, draw: &Draw) -> Result<Value, Declined> {
        let (element, image) = (self.integers(&draw.element)?, self.integers(&draw.image)?);
        Ok(math::draw(self, draw.stream, element, image))
    }

    /// Integers in the lanes.
    fn integers(&mut self, lanes: &Lanes) -> Result<Value, Declined> {
        let first = match self.index(&lanes.at)? {
            Ok(known) => self.constant(known as u32),
            Err(v) => self.vector(Op::SplatInt, &[v], None),
        };
        if lanes.step == 0 {
            return Ok(first);
        }
        let apart = (0..i64::from(self.k.lanes)).map(|l| (lanes.step * l) as u32);
        let apart = self.lanes(apart.collect());
        Ok(self.bits(Bits::Add, first, apart))
    }

    /// An index as a number.
    fn position(&mut self, at: &At) -> Result<Value, Declined> {
        Ok(match self.index(at)? {
            Ok(known) => self.constant((known as f32).to_bits()),
            Err(v) => {
                let x = self.vector(Op::SplatInt, &[v], None);
                self.vector(Op::Number, &[x], None)
            }
        })
    }

    fn load(&mut self, buf: BufId, at: &At, how: &Read) -> Result<Value, Declined> {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        match how {
            Read::Lookup {
                index,
                index_at,
                stride,
            } => self.lookup(buf, at, (*index, index_at), *stride),
            Read::Row(row) => self.row(buf, at, row),
            Read::Splat => {
                let mem = self.address(buf, at)?;
                Ok(self.in_all_lanes(dtype, mem))
            }
            Read::Vector => {
                let mem = self.address(buf, at)?;
                let all = vec![true; self.k.lanes as usize];
                self.side_by_side(dtype, mem, 1, &all)
            }
        }
    }

    /// Elements of rows: 32 bits are gathered, which hold the byte where elements are bytes.
    fn lookup(
        &mut self,
        buf: BufId,
        at: &At,
        index: (BufId, &At),
        stride: i64,
    ) -> Result<Value, Declined> {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        let size = dtype.size_bytes() as i64;
        // Aligned words are never beyond the end: rows are whole words.
        let byte = self
            .residue(at, 4 / size)
            .filter(|_| stride * size % 4 == 0);
        let byte = byte.ok_or(Declined("bytes that do not lie in words"))?;
        let mem = self.address(buf, &(at.clone() - byte))?;
        let first = self.address(index.0, index.1)?;
        let half = self.k.lanes as i32 / 2;
        let factor = u32::try_from(stride * size).map_err(|_| Declined("a row is too long"))?;
        let factor = self.lanes(
            (0..self.k.lanes)
                .map(|l| if l % 2 == 0 { factor } else { 0 })
                .collect(),
        );
        let place = (self.here, mem, first);
        let words = match self.gathered {
            Some((known, words)) if known == place => words,
            _ => {
                let [low, high] = [0, half].map(|from| {
                    let disp = first.disp + 4 * from;
                    let rows = self.vector(Op::Rows, &[], Some(Mem { disp, ..first }));
                    let offsets = self.vector(Op::RowTimes, &[rows, factor], None);
                    self.vector(Op::Gather, &[offsets], Some(mem))
                });
                self.vector(Op::Join, &[low, high], None)
            }
        };
        self.gathered = Some((place, words));
        Ok(match dtype {
            DType::F32 => words,
            DType::I32 => self.number(words),
            DType::U8 => {
                let x = match byte {
                    0 => words,
                    b => self.vector(Op::Right(8 * b as u8), &[words], None),
                };
                let mask = self.constant(0xff);
                let x = self.vector(Op::And, &[x, mask], None);
                self.number(x)
            }
        })
    }

    /// Low half with high half, until one lane is left, in all lanes.
    fn sum_of_lanes(&mut self, x: Value) -> Value {
        let swaps: &[Op] = if self.k.lanes == 16 {
            &[Op::Quarters(0x4e), Op::Quarters(0xb1)]
        } else {
            &[Op::Quarters(0x01)]
        };
        let mut sum = x;
        for &op in swaps.iter().chain(&[Op::Permute(0x4e), Op::Permute(0xb1)]) {
            let args = [sum, sum];
            let args = if matches!(op, Op::Permute(_)) {
                &args[..1]
            } else {
                &args
            };
            let other = self.vector(op, args, None);
            sum = self.vector(Op::Add, &[sum, other], None);
        }
        sum
    }

    /// A column of the rows. All columns are made at once, for the statements that follow.
    fn transpose(&mut self, rows: &[ValueId], lane: u8) -> Result<Value, Declined> {
        if let Some((known, columns)) = &self.transposed
            && known == rows
        {
            return Ok(columns[lane as usize]);
        }
        let mut v = rows
            .iter()
            .map(|&r| self.value(r))
            .collect::<Result<Vec<_>, _>>()?;
        // Pairs, then fours: column c of each group of four lanes.
        v = self.interleave(&v, 1, false);
        v = self.interleave(&v, 2, true);
        v.chunks_mut(4).for_each(|four| four.swap(1, 2));
        let quarters = |s: &mut Self, a: usize, b: usize, v: &[Value], low: u8, high: u8| {
            [low, high].map(|q| s.vector(Op::Quarters(q), &[v[a], v[b]], None))
        };
        if self.k.lanes == 8 {
            let mut out = v.clone();
            for c in 0..4 {
                [out[c], out[c + 4]] = quarters(self, c, c + 4, &v, 0x20, 0x31);
            }
            v = out;
        } else {
            // v[4·g + c]: quarter q holds rows 4·g.. of column 4·q + c.
            let mut out = v.clone();
            for c in 0..4 {
                let [a, b] = quarters(self, c, 4 + c, &v, 0x44, 0xee);
                let [d, e] = quarters(self, 8 + c, 12 + c, &v, 0x44, 0xee);
                [out[c], out[4 + c]] = quarters(self, 0, 1, &[a, d], 0x88, 0xdd);
                [out[8 + c], out[12 + c]] = quarters(self, 0, 1, &[b, e], 0x88, 0xdd);
            }
            v = out;
        }
        let column = v[lane as usize];
        self.transposed = Some((rows.to_vec(), v));
        Ok(column)
    }

    /// Vectors `distance` apart interleaved, within fours.
    fn interleave(&mut self, v: &[Value], distance: usize, pairs: bool) -> Vec<Value> {
        let mut out = v.to_vec();
        for at in (0..v.len()).filter(|at| at & distance == 0) {
            let [low, high] = [false, true].map(|high| {
                let args = [v[at], v[at + distance]];
                self.vector(Op::Unpack { pairs, high }, &args, None)
            });
            (out[at], out[at + distance]) = (low, high);
        }
        out
    }
}

impl Vectors for Builder<'_> {
    type V = Value;

    fn splat(&mut self, x: f32) -> Value {
        self.constant(x.to_bits())
    }

    fn uniform(&mut self, offset: i32) -> Value {
        let mem = Mem {
            base: Base::Value(self.uniforms),
            disp: offset,
            broadcast: false,
        };
        self.vector(Op::Splat, &[], Some(mem))
    }

    fn negative(&mut self, x: Value) -> Value {
        let sign = self.constant(0x8000_0000);
        self.vector(Op::Xor, &[x, sign], None)
    }

    fn sqrt(&mut self, x: Value) -> Value {
        self.vector(Op::Sqrt, &[x], None)
    }

    fn binary(&mut self, f: Binary, x: Value, y: Value) -> Value {
        let op = match f {
            Binary::Add => Op::Add,
            Binary::Sub => Op::Sub,
            Binary::Mul => Op::Mul,
            Binary::Div => Op::Div,
            Binary::Max | Binary::Min => return math::binary(self, f, x, y, false),
        };
        self.vector(op, &[x, y], None)
    }

    fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        self.vector(Op::Fma, &[x, y, z], None)
    }

    /// Where a comparison picks one of its own operands, the machine has one instruction, which takes the second
    /// where the comparison does not hold, as here.
    fn select(&mut self, c: Compare, x: Value, y: Value, yes: Value, no: Value) -> Value {
        match (c, (yes, no) == (x, y), (yes, no) == (y, x)) {
            (Compare::Lt, true, _) => return self.vector(Op::Min, &[x, y], None),
            (Compare::Lt, _, true) => return self.vector(Op::Max, &[y, x], None),
            (Compare::Gt, true, _) => return self.vector(Op::Max, &[x, y], None),
            (Compare::Gt, _, true) => return self.vector(Op::Min, &[y, x], None),
            _ => {}
        }
        let predicate = match c {
            Compare::Lt => 0x11,
            Compare::Gt => 0x1e,
            Compare::Eq => 0x00,
            Compare::Ne => 0x04,
        };
        let class = if self.k.lanes == 16 {
            Class::Mask
        } else {
            Class::Vector
        };
        let mask = self.made(class, Op::Compare(predicate), &[x, y], None);
        self.vector(Op::Blend, &[mask, no, yes], None)
    }

    fn bits(&mut self, f: Bits, x: Value, y: Value) -> Value {
        match f {
            Bits::And => self.vector(Op::And, &[x, y], None),
            Bits::Or => self.vector(Op::Or, &[x, y], None),
            Bits::Xor => self.vector(Op::Xor, &[x, y], None),
            Bits::Add => self.vector(Op::IntegerAdd, &[x, y], None),
            Bits::Sub => self.vector(Op::IntegerSub, &[x, y], None),
            Bits::Left(n) => self.vector(Op::Left(n), &[x], None),
            Bits::Right(n) => self.vector(Op::RightSigned(n), &[x], None),
            Bits::RightZeros(n) => self.vector(Op::Right(n), &[x], None),
        }
    }

    fn number(&mut self, x: Value) -> Value {
        self.vector(Op::Number, &[x], None)
    }

    /// The machine multiplies every second lane, to a lower and an upper word: these lanes, and the others in their
    /// place, interleaved.
    fn products(&mut self, x: Value, factor: u32) -> [Value; 2] {
        let factor = self.constant(factor);
        let others = self.vector(Op::Permute(0xf5), &[x], None);
        let both = [x, others].map(|x| self.vector(Op::RowTimes, &[x, factor], None));
        let unpacked = |b: &mut Self, pairs, args: [Value; 2]| {
            [false, true].map(|high| b.vector(Op::Unpack { pairs, high }, &args, None))
        };
        let halves = unpacked(self, false, both);
        unpacked(self, true, halves)
    }
}
