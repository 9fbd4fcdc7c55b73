//! From nests to loops over blocks of threads.
//!
//! A stage becomes one or more *parts*, each a loop over blocks (or over blocks and threads at once) that has no
//! order with any other part. Four kinds of stages, told apart by their formula:
//! - a sum of products ([`contraction`]): a block computes a tile of results from operands that it brings into
//!   shared memory, each thread a tile of that in registers;
//! - another sum over the images of the batch ([`sums`]): a tree over the threads of a block, unless a sum of products
//!   beside it reads the same ([`row_sums`]); a sum over all elements of a parameter ([`totals`]) likewise;
//! - stages over common axes, such as softmax's: a thread takes a row, or an image, through all of them;
//! - everything else ([`elements`]): a thread takes an element.
//!
//! Sums over images are cut into *shards*, ranges of images that different blocks add up; a shard's sum is a
//! result of its own, and who reads the whole adds the shards in their order. So no sum depends on when blocks run.
//!
//! Tensors lie row-major, the batch first. Does not know operators, launches, or where buffers lie.

use std::collections::BTreeMap;

use crate::backend::pieces;
use crate::ir::Leading;
use crate::nest::loops::{
    At, BufId, Dim, Draw, Expr as V, Kernel, Kind, Lanes, Quotient, Read, RegId, Stmt, Uniform,
    ValueId, Var, Write,
};
use crate::nest::{
    Access, Affine, AxisId, Binary, Expr, ExprId, Extent, Index, Nest, Stage, TensorId,
};

mod choose;
mod contraction;
mod elements;
mod product;
mod row_sums;
mod sums;
mod totals;

/// Threads of a block. One number for all: parts of one launch share it, and trees over a block depend on it.
pub const THREADS: u32 = 256;

/// What the schedule is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Images in a full batch.
    pub batch: u32,
    /// Multiprocessors of the device.
    pub multiprocessors: u32,
}

/// Where a tensor of the nest lives.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    Memory(BufId),
    /// So many shards one after the other, to be added.
    Shards(BufId, u32),
    Register(RegId),
}

/// The images that a block has to itself: from a variable on, so many.
#[derive(Clone, Copy, Debug)]
pub struct Images {
    pub first: Var,
    pub count: i64,
}

/// Work that blocks share out among themselves.
#[derive(Debug)]
pub struct Part {
    pub dims: Vec<Dim>,
    /// `Grid` or `Spread`.
    pub kind: Kind,
    pub body: Vec<Stmt>,
}

/// What became of a nest.
#[derive(Debug, Default)]
pub struct Scheduled {
    pub parts: Vec<Part>,
    /// For each result that is summed over images, in how many shards.
    pub shards: Vec<(TensorId, u32)>,
    /// In how many shards the rows of the first factor were summed, where that was asked for and could be done.
    pub rows: Option<u32>,
}

/// Adds a nest's parts to a kernel, whose `valid` is set. `homes` has an entry for each tensor of the nest. Where
/// `images` is given, parts have no loop over images: the block that runs them has those images to itself. Where
/// `rows_to` is given and the nest is a sum of products over images, its first factor is summed too, into shards there.
pub fn run(
    n: &Nest,
    k: &mut Kernel,
    homes: &[Home],
    o: Options,
    images: Option<Images>,
    rows_to: Option<BufId>,
) -> Scheduled {
    let (valid, _) = k.valid.expect("a GPU's kernel knows the valid images");
    let mut b = Builder {
        n,
        k,
        homes,
        o,
        images,
        rows_to,
        valid,
        shared: 0,
        kept: BTreeMap::new(),
        out: Scheduled::default(),
    };
    if n.shared.is_empty() {
        n.stages.iter().for_each(|s| b.stage(s));
    } else {
        b.rows();
    }
    b.out
}

struct Builder<'a> {
    n: &'a Nest,
    k: &'a mut Kernel,
    homes: &'a [Home],
    o: Options,
    images: Option<Images>,
    rows_to: Option<BufId>,
    valid: Var,
    /// Shared memory of the part at hand that is taken, in elements.
    shared: u32,
    /// Formulas of the stage at hand whose values are in registers.
    kept: BTreeMap<ExprId, ValueId>,
    out: Scheduled,
}

/// A stage under an assignment of its axes.
struct Place<'a> {
    stage: &'a Stage,
    axes: BTreeMap<AxisId, At>,
    /// What the stage combined.
    acc: Vec<ValueId>,
    /// Whole sums of tensors that lie in shards.
    sums: BTreeMap<TensorId, RegId>,
}

/// A variable and how many values it takes.
type Trips = (Var, i64);

fn around(dims: Vec<Dim>, kind: Kind, body: Vec<Stmt>) -> Vec<Stmt> {
    if dims.is_empty() {
        return body;
    }
    vec![Stmt::For { dims, kind, body }]
}

fn unrolled(v: Var, n: i64, body: Vec<Stmt>) -> Stmt {
    Stmt::For {
        dims: vec![Dim::count(v, n)],
        kind: Kind::Unrolled,
        body,
    }
}

fn when(conditions: Vec<At>, body: Vec<Stmt>) -> Vec<Stmt> {
    if conditions.is_empty() {
        return body;
    }
    vec![Stmt::If { conditions, body }]
}

/// From `lower` to below `upper`, both expressions.
fn between(var: Var, lower: At, upper: Vec<At>, step: i64) -> Dim {
    let q = |num: At| Quotient { num, div: 1 };
    Dim {
        var,
        lower: vec![q(lower)],
        upper: upper.into_iter().map(q).collect(),
        step,
    }
}

impl<'a> Builder<'a> {
    fn stage(&mut self, s: &'a Stage) {
        self.shared = 0;
        let summed = s.reduce.iter().any(|&a| self.is_batch(a));
        let mut singly: Vec<pieces::Piece> = Vec::new();
        for mut p in pieces::split(self.k, self.n, s, &[]) {
            pieces::drop_idle(&mut p);
            let product = self.product(s, &p);
            let tile = product.as_ref().and_then(|p| self.choose(p));
            if let Some((product, tile)) = product.zip(tile) {
                self.contraction(&product, tile);
            } else if summed {
                self.sum_of_images(s, &p);
            } else if self.is_total(s) {
                self.total(s, &p);
            } else {
                singly.push(p);
            }
        }
        // Residue classes of one size are neighbours of each other: a thread takes one of each.
        while let Some(first) = singly.first() {
            let size = |p: &pieces::Piece| p.own.iter().map(|o| o.1).collect::<Vec<_>>();
            let own = first.own.clone();
            let (same, others) = singly.iter().cloned().partition(|p| size(p) == size(first));
            let same: Vec<_> = same;
            let same: Vec<_> = same.iter().map(|p| pieces::renamed(p, &own)).collect();
            self.elements(s, &same);
            singly = others;
        }
    }

    fn is_batch(&self, a: AxisId) -> bool {
        self.n.extent(a) == Extent::Batch
    }

    fn batch_axis(&self) -> Option<AxisId> {
        let mut axes = (0..self.n.axes.len() as u32).map(AxisId);
        axes.find(|&a| self.is_batch(a))
    }

    /// A loop over the images: all of the batch, or those of the block.
    fn over_images(&self, v: Var) -> Dim {
        match self.images {
            None => Dim::count(v, i64::from(self.o.batch)),
            Some(i) => {
                let first = Affine::var(i.first);
                between(v, first.clone(), vec![first + i.count], 1)
            }
        }
    }

    /// Non-negative where image `n` is valid.
    fn is_valid(&self, n: At) -> At {
        Affine::var(self.valid) - n - 1
    }

    /// Reserves shared memory: so many f32, from a multiple of 16 bytes on.
    fn share(&mut self, name: &str, len: i64) -> BufId {
        let at = self.shared.next_multiple_of(4);
        self.shared = at + len as u32;
        self.k.shared(name, at, len as u64)
    }

    /// The element that an access names, in elements from the start of its tensor or of its looked-up entry.
    fn address(&self, axes: &BTreeMap<AxisId, At>, a: &Access) -> At {
        let ty = self.n.ty(a.tensor);
        let skip = a.index.len() - ty.dims.len();
        let at = |i: &Index| match i {
            Index::Affine(i) => i.substitute(|v| axes[&v].clone()),
            Index::Lookup(..) => Affine::constant(0),
        };
        let first = a.index[..skip].first().map_or(Affine::constant(0), at);
        a.index[skip..]
            .iter()
            .zip(&ty.dims)
            .fold(first, |f, (i, &d)| f * i64::from(d) + at(i))
    }

    fn load(&self, p: &Place, a: &Access) -> V {
        let buf = match self.homes[a.tensor.0 as usize] {
            Home::Register(reg) => return V::Reg(reg, vec![]),
            Home::Shards(..) => return V::Reg(p.sums[&a.tensor], vec![]),
            Home::Memory(buf) => buf,
        };
        let at = self.address(&p.axes, a);
        V::Load(
            buf,
            at,
            self.read(a, |i| i.substitute(|v| p.axes[&v].clone())),
        )
    }

    /// How an access reads: by an index where the data set is read, else an element.
    fn read(&self, a: &Access, at: impl Fn(&Affine<AxisId>) -> At) -> Read {
        let Some(Index::Lookup(t, i)) = a.index.first() else {
            return Read::Splat;
        };
        let Home::Memory(index) = self.homes[t.0 as usize] else {
            panic!("indices lie in memory")
        };
        let ty = self.n.ty(a.tensor);
        assert!(
            ty.leading == Leading::Dataset,
            "only data sets are looked up"
        );
        Read::Lookup {
            index,
            index_at: at(i),
            stride: ty.elements() as i64,
        }
    }

    fn value(&mut self, p: &Place, e: ExprId) -> ValueId {
        if let Some(&kept) = self.kept.get(&e) {
            return kept;
        }
        let v = match &p.stage.exprs[e.0 as usize] {
            Expr::Const(bits) => V::Const(*bits),
            Expr::Scalar(x) => V::Uniform(Uniform::Scalar(*x)),
            Expr::Axis(a) => V::Number(a.substitute(|v| p.axes[&v].clone())),
            Expr::Acc(k) => return p.acc[*k as usize],
            Expr::Random { stream, element } => {
                let images = self.n.images(p.stage);
                let images = images.expect("a random number is one of an image");
                V::Random(Draw {
                    stream: *stream,
                    element: Lanes::alike(element.substitute(|v| p.axes[&v].clone())),
                    image: Lanes::alike(p.axes[&images].clone()),
                })
            }
            Expr::Load(a) => self.load(p, a),
            Expr::Unary(f, x) => V::Unary(*f, self.value(p, *x)),
            Expr::Binary(f, a, b) => {
                let (a, b) = (self.value(p, *a), self.value(p, *b));
                V::Binary(*f, a, b)
            }
            Expr::Select(c, xs) => V::Select(*c, xs.map(|x| self.value(p, x))),
        };
        self.k.value(v)
    }

    /// Stores what the stage finishes; `shard` is where a sum over images goes.
    fn finish(&mut self, p: &Place, shard: Option<&At>) -> Vec<Stmt> {
        let mut out = Vec::new();
        let mut stores = Vec::new();
        // Several results of parameters may lie where the operands do: none is stored before all are computed.
        let axes = self.n.shared.iter().chain(&p.stage.own);
        let images = axes.copied().any(|a| self.is_batch(a));
        let in_place = p.stage.outs.len() > 1 && !images;
        for (access, &formula) in p.stage.outs.iter().zip(&p.stage.finish) {
            let mut value = self.value(p, formula);
            let in_memory = !matches!(self.homes[access.tensor.0 as usize], Home::Register(_));
            if in_place && in_memory {
                let name = &self.n.tensors[access.tensor.0 as usize].name;
                let reg = self.k.reg(name, &[]);
                out.push(Stmt::Set {
                    reg,
                    index: vec![],
                    value,
                });
                value = self.k.get(reg, &[]);
                self.kept.insert(formula, value);
            }
            let (buf, at) = match self.homes[access.tensor.0 as usize] {
                Home::Register(reg) => {
                    out.push(Stmt::Set {
                        reg,
                        index: vec![],
                        value,
                    });
                    continue;
                }
                Home::Memory(buf) | Home::Shards(buf, _) => (buf, self.address(&p.axes, access)),
            };
            let len = self.n.ty(access.tensor).elements() as i64;
            let at = shard.map_or(at.clone(), |s| s.clone() * len + at);
            stores.push(Stmt::Store {
                buf,
                at,
                how: Write::First,
                value,
            });
        }
        out.extend(stores);
        self.kept.clear();
        out
    }

    /// Says that results of this stage are summed in so many shards.
    fn summed_in(&mut self, s: &Stage, shards: i64) {
        for o in &s.outs {
            let Home::Memory(buf) = self.homes[o.tensor.0 as usize] else {
                panic!("sums over images lie in memory")
            };
            let len = self.n.ty(o.tensor).elements();
            self.k.buffers[buf.0 as usize].len = len * shards as u64;
            if self.out.shards.iter().all(|x| x.0 != o.tensor) {
                self.out.shards.push((o.tensor, shards as u32));
            }
        }
    }

    /// Adds up the shards of all tensors that the stage reads at its own element.
    fn whole_sums(&mut self, p: &mut Place) -> Vec<Stmt> {
        let mut out = Vec::new();
        for e in &p.stage.exprs {
            let Expr::Load(a) = e else { continue };
            let Home::Shards(buf, shards) = self.homes[a.tensor.0 as usize] else {
                continue;
            };
            let (reg, v) = (self.k.reg("g", &[]), self.k.var("shard"));
            let len = self.n.ty(a.tensor).elements() as i64;
            let at = self.address(&p.axes, a) + Affine::var(v) * len;
            let (zero, old) = (self.k.constant(0.0), self.k.get(reg, &[]));
            let part = self.k.value(V::Load(buf, at, Read::Splat));
            let set = |value| Stmt::Set {
                reg,
                index: vec![],
                value,
            };
            out.push(set(zero));
            let sum = set(self.k.binary(Binary::Add, old, part));
            out.extend(around(
                vec![Dim::count(v, i64::from(shards))],
                Kind::Serial,
                vec![sum],
            ));
            p.sums.insert(a.tensor, reg);
        }
        out
    }

    fn push(&mut self, dims: Vec<Dim>, kind: Kind, mut body: Vec<Stmt>) {
        body.insert(0, Stmt::Note(self.n.name.clone()));
        self.out.parts.push(Part { dims, kind, body });
    }
}
