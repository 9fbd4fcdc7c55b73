//! Loops: how a nest is computed, with nothing left for an emitter to decide.
//!
//! A kernel is a tree of statements over integer variables. Every value is a vector of `lanes` f32,
//! or a mask of as many; a lane is one image where the batch is in the lanes. Values live in
//! *registers*: small arrays whose indices are constants once unrolled loops are written out, so that
//! an emitter keeps each element in a machine register. Memory is a set of buffers, addressed in
//! elements by affine expressions of the variables.
//!
//! On a GPU a lane is a thread's only one: `lanes` is 1. The blocks of a grid share out the points of a `Grid`
//! loop, the threads of a block those of a `Threads` loop, and both together those of a `Spread` loop; each
//! thread has registers of its own, which it keeps from loop to loop. Several grid-wide loops in a row are parts
//! of one launch: their blocks are numbered on, and nothing orders them. Memory that threads of a block share
//! holds nothing when the block starts; what one thread writes another one sees after a `Barrier`.
//!
//! A `For` with several dimensions runs over their product, the last one fastest, as one loop: the
//! registers that it carries then stay in machine registers. It may not be empty in one dimension only
//! by accident: a dimension whose upper bound is not above the lower one makes the whole loop empty.
//!
//! Does not know operators, machine instructions, or where buffers lie.

use super::affine::Affine;
use super::formula::{Binary, Compare, Unary};
use crate::ir::{DType, Scalar};

/// An integer variable of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);
/// A register array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegId(pub u32);
/// A buffer of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufId(pub u32);
/// An expression of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// An index of memory or of a register array.
pub type At = Affine<Var>;

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory that all blocks see; the memory plan says where.
    Global,
    /// Memory of a block of threads, so many elements from its start. Buffers of different parts may overlap.
    Shared(u32),
}

/// Memory that a kernel reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub name: String,
    pub dtype: DType,
    /// Number of elements that may be accessed.
    pub len: u64,
    pub space: Space,
}

/// An array of vectors in machine registers; no dimensions: one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reg {
    pub name: String,
    pub dims: Vec<u32>,
}

/// How a vector is read from memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// Consecutive elements.
    Vector,
    /// One element in all lanes.
    Splat,
    /// Lane l reads at `at + stride · index[index_at + l]`, `index` being a buffer of i32.
    Lookup {
        index: BufId,
        index_at: At,
        stride: i64,
    },
    Row(Row),
}

/// Elements of one image: lane l reads at `at + step · l`, or 0 where one of the edges is passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// 0: one element in all lanes.
    pub step: i64,
    pub edges: Vec<Edge>,
    /// The image that is read, where the buffer holds a data set.
    pub entry: Option<Entry>,
}

/// What holds in the lanes that are read: `at + by · l ≥ 0`. Its `at` is a constant once unrolled loops are
/// written out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    pub at: At,
    pub by: i64,
}

/// An entry of a data set: `stride · index[at]` elements from its start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub index: BufId,
    pub at: At,
    pub stride: i64,
}

impl Row {
    /// Which of the lanes are read; `value` gives the edges' variables.
    pub fn lanes(&self, lanes: u32, value: impl Fn(&At) -> Option<i64>) -> Option<Vec<bool>> {
        let edges = self.edges.iter().map(|e| Some((value(&e.at)?, e.by)));
        let edges = edges.collect::<Option<Vec<_>>>()?;
        let inside = |l: i64| edges.iter().all(|&(at, by)| at + by * l >= 0);
        Some((0..i64::from(lanes)).map(inside).collect())
    }
}

/// Run-time numbers: those of the graph, and the number of images in this block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Uniform {
    Scalar(Scalar),
    /// Valid images in the block that the kernel is called for, as a number.
    Valid,
}

impl Uniform {
    /// All of them that are numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        let scalars = Scalar::ALL.iter().filter(|s| !s.is_word());
        let scalars = scalars.copied().map(Self::Scalar);
        scalars.chain([Self::Valid])
    }
}

/// Values; operands are earlier entries of the kernel's list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    Const(u32),
    Uniform(Uniform),
    /// An index as a number in all lanes.
    Number(At),
    /// The number of the lane plus this index.
    Lane(At),
    Random(Draw),
    Reg(RegId, Vec<At>),
    /// Integer elements become numbers.
    Load(BufId, At, Read),
    Unary(Unary, ValueId),
    Binary(Binary, ValueId, ValueId),
    /// `a · b + c`, rounded once where the target has that, else twice.
    Fma(ValueId, ValueId, ValueId),
    Select(Compare, [ValueId; 4]),
    /// The sum of all lanes, in all lanes: pairwise, low half with high half.
    ReduceLanes(ValueId),
    /// So many of the first lanes of the one, at most all, and the rest of the other: a constant once unrolled loops are
    /// written out.
    Split(At, ValueId, ValueId),
    /// Element `lane` of each of as many vectors as there are lanes.
    Transposed(Vec<ValueId>, u8),
    /// The value where all are non-negative; elsewhere 0, and what it is computed from is not read.
    Within(Vec<At>, ValueId),
}

/// Which random numbers of a stream are drawn, see [`random`](super::random).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Draw {
    pub stream: u32,
    /// Within the image.
    pub element: Lanes,
    /// From the first image of the block on; on a GPU, of the batch.
    pub image: Lanes,
}

/// An integer in each lane: in lane l `at + step · l`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    pub at: At,
    pub step: i64,
}

impl Lanes {
    /// The same in all lanes.
    pub fn alike(at: At) -> Self {
        Self { at, step: 0 }
    }
}

/// `⌊num / div⌋`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotient {
    pub num: At,
    pub div: i64,
}

/// A dimension of a loop: `lower <= var < upper`; the greatest and the least of the bounds count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    pub var: Var,
    pub lower: Vec<Quotient>,
    pub upper: Vec<Quotient>,
    pub step: i64,
}

/// How a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Serial,
    /// Written out; its bounds are constants.
    Unrolled,
    /// Each block of threads takes one point.
    Grid,
    /// The threads of a block take the points in turn: point p goes to thread p modulo their number.
    Threads,
    /// Each thread of the grid takes one point; bounds are constants, and there is no barrier within.
    Spread,
}

/// How a vector is written to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Vector,
    /// The first lane alone.
    First,
    /// So many of the first lanes, at most all, and so many elements apart: constants once unrolled loops are written
    /// out.
    Row(At, i64),
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stmt {
    For {
        dims: Vec<Dim>,
        kind: Kind,
        body: Vec<Stmt>,
    },
    /// Runs the body where all are non-negative.
    If {
        conditions: Vec<At>,
        body: Vec<Stmt>,
    },
    Set {
        reg: RegId,
        index: Vec<At>,
        value: ValueId,
    },
    Store {
        buf: BufId,
        at: At,
        how: Write,
        value: ValueId,
    },
    /// Sets `width` elements of a register array, along its last axis from `index` on, to consecutive elements
    /// of memory. `at` is a multiple of the width.
    SetRow {
        reg: RegId,
        index: Vec<At>,
        buf: BufId,
        at: At,
        width: u32,
    },
    /// The reverse: stores `width` elements of a register array.
    StoreRow {
        reg: RegId,
        index: Vec<At>,
        buf: BufId,
        at: At,
        width: u32,
    },
    /// All threads of the block wait for each other.
    Barrier,
    /// A line for readers: which formula follows.
    Note(String),
}

/// A scheduled nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    /// f32 lanes of a vector.
    pub lanes: u32,
    pub buffers: Vec<Buffer>,
    pub vars: Vec<String>,
    pub regs: Vec<Reg>,
    pub exprs: Vec<Expr>,
    pub body: Vec<Stmt>,
    /// The number of valid images of the batch, and the greatest that it can be, where indices depend on it.
    pub valid: Option<(Var, u32)>,
    /// Threads of a block; 1 where there are no blocks.
    pub threads: u32,
}

impl Dim {
    /// From 0 to below `n`.
    pub fn count(var: Var, n: i64) -> Self {
        Self::range(var, 0, n, 1)
    }
    /// From `lower` to below `upper` in steps.
    pub fn range(var: Var, lower: i64, upper: i64, step: i64) -> Self {
        let q = |c| {
            vec![Quotient {
                num: Affine::constant(c),
                div: 1,
            }]
        };
        Self {
            var,
            lower: q(lower),
            upper: q(upper),
            step,
        }
    }
}

impl Kernel {
    /// A kernel without statements.
    pub fn new(name: &str, lanes: u32) -> Self {
        Self {
            name: name.into(),
            lanes,
            buffers: vec![],
            vars: vec![],
            regs: vec![],
            exprs: vec![],
            body: vec![],
            valid: None,
            threads: 1,
        }
    }
    /// A new variable.
    pub fn var(&mut self, name: &str) -> Var {
        let name = told_apart(name, self.vars.iter());
        self.vars.push(name);
        Var(self.vars.len() as u32 - 1)
    }
    /// A name like this one that no buffer and no register array has.
    fn memory_name(&self, name: &str) -> String {
        let buffers = self.buffers.iter().map(|b| &b.name);
        told_apart(name, buffers.chain(self.regs.iter().map(|r| &r.name)))
    }
    /// A new register array.
    pub fn reg(&mut self, name: &str, dims: &[u32]) -> RegId {
        let name = self.memory_name(name);
        self.regs.push(Reg {
            name,
            dims: dims.to_vec(),
        });
        RegId(self.regs.len() as u32 - 1)
    }
    /// A new buffer of a block's own memory: `len` f32, `at` elements from its start.
    pub fn shared(&mut self, name: &str, at: u32, len: u64) -> BufId {
        self.buffer(name, DType::F32, len, Space::Shared(at))
    }
    /// A new buffer.
    pub fn buffer(&mut self, name: &str, dtype: DType, len: u64, space: Space) -> BufId {
        let name = self.memory_name(name);
        self.buffers.push(Buffer {
            name,
            dtype,
            len,
            space,
        });
        BufId(self.buffers.len() as u32 - 1)
    }
    /// A new value. Values are not shared between statements: what a register holds changes.
    pub fn value(&mut self, e: Expr) -> ValueId {
        self.exprs.push(e);
        ValueId(self.exprs.len() as u32 - 1)
    }
    /// Whether a value is a constant other than NaN.
    pub fn is_number(&self, v: ValueId) -> bool {
        matches!(self.exprs[v.0 as usize], Expr::Const(bits) if !f32::from_bits(bits).is_nan())
    }
    pub fn constant(&mut self, x: f32) -> ValueId {
        self.value(Expr::Const(x.to_bits()))
    }
    pub fn get(&mut self, reg: RegId, index: &[At]) -> ValueId {
        self.value(Expr::Reg(reg, index.to_vec()))
    }
    pub fn binary(&mut self, f: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.value(Expr::Binary(f, a, b))
    }
}

/// `name`, or `name.1` and so on where names taken start like it.
fn told_apart<'a>(name: &str, taken: impl Iterator<Item = &'a String>) -> String {
    let alike = taken.filter(|t| t.split('.').next() == Some(name)).count();
    match alike {
        0 => name.into(),
        n => format!("{name}.{n}"),
    }
}

mod check;
mod dialect;
mod parse;
mod print;
mod sharing;
pub use check::verify;
pub use dialect::Dialect;
pub use parse::{ParseError, parse};
pub use print::text;
pub use sharing::compact;
