//! Evaluates nests and kernels in f64, slowly and obviously: the oracle of every backend.
//!
//! Tensors are flat arrays, row-major, the leading axis first. Knows no layout and no lanes of the
//! nest; a kernel's buffers are given as it addresses them.

use super::affine::Affine;
use super::formula::*;
use super::loops::{self, Kernel, Kind, Read, Stmt, Uniform, Var, Write};
use super::random::{self, Counter};
use crate::ir::{Leading, Scalars, TensorType};

/// What is known when a step runs.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Images in the batch.
    pub batch: usize,
    pub scalars: Scalars,
    /// The position of the first image in the batch: 0, but where a block of images is run by itself.
    pub first: usize,
}

impl Env {
    /// A step on so many images.
    pub fn new(batch: usize, learning_rate: f64) -> Self {
        let scalars = Scalars::new(batch, learning_rate);
        Self {
            batch,
            scalars,
            first: 0,
        }
    }
}

/// Number of elements of a tensor of this type; a data set has as many entries as `tensor` holds.
pub fn len(ty: &TensorType, batch: usize) -> usize {
    let leading = if ty.leading == Leading::Batch {
        batch
    } else {
        1
    };
    ty.elements() as usize * leading
}

/// Evaluates a nest. `inputs[k]` is operand k; the results are returned in their order.
pub fn run(n: &Nest, inputs: &[&[f64]], env: Env) -> Vec<Vec<f64>> {
    let mut data: Vec<Vec<f64>> = n
        .tensors
        .iter()
        .map(|t| match t.role {
            TensorRole::Input(k) => inputs[k as usize].to_vec(),
            _ => vec![0.0; len(&t.ty, env.batch)],
        })
        .collect();
    for s in &n.stages {
        stage(n, s, &mut data, env);
    }
    let outputs = n.tensors.iter().filter_map(|t| match t.role {
        TensorRole::Output(k) => Some(k),
        _ => None,
    });
    (0..outputs.max().map_or(0, |k| k + 1))
        .map(|k| {
            n.with_role(TensorRole::Output(k))
                .map_or(vec![], |t| std::mem::take(&mut data[t.0 as usize]))
        })
        .collect()
}

struct Point<'a> {
    n: &'a Nest,
    s: &'a Stage,
    data: &'a [Vec<f64>],
    at: &'a [i64],
    acc: &'a [f64],
    env: Env,
}

fn stage(n: &Nest, s: &Stage, data: &mut [Vec<f64>], env: Env) {
    let size = |a: AxisId| match n.extent(a) {
        Extent::Static(e) => i64::from(e),
        Extent::Batch => env.batch as i64,
    };
    let own: Vec<AxisId> = n.shared.iter().chain(&s.own).copied().collect();
    let mut at = vec![0i64; n.axes.len()];
    let mut results: Vec<(usize, usize, f64)> = Vec::new();
    for_each(&own, &size, &mut at, &mut |at| {
        let acc = combine(n, s, data, at, env, &size);
        let p = Point {
            n,
            s,
            data,
            at,
            acc: &acc,
            env,
        };
        for (o, v) in s.outs.iter().zip(&s.finish) {
            results.push((o.tensor.0 as usize, p.position(o), p.eval(*v)));
        }
    });
    for (t, k, v) in results {
        data[t][k] = v;
    }
}

fn for_each(
    axes: &[AxisId],
    size: &impl Fn(AxisId) -> i64,
    at: &mut Vec<i64>,
    f: &mut impl FnMut(&mut Vec<i64>),
) {
    match axes {
        [] => f(at),
        [a, rest @ ..] => {
            for k in 0..size(*a) {
                at[a.0 as usize] = k;
                for_each(rest, size, at, f);
            }
        }
    }
}

fn combine(
    n: &Nest,
    s: &Stage,
    data: &[Vec<f64>],
    at: &mut Vec<i64>,
    env: Env,
    size: &impl Fn(AxisId) -> i64,
) -> Vec<f64> {
    let mut acc: Option<Vec<f64>> = None;
    for_each(&s.reduce, size, at, &mut |at| {
        let inside = s.domain.iter().all(|c| match c {
            Constraint::Zero(a) => a.eval(|v| at[v.0 as usize]) == 0,
            Constraint::NonNegative(a) => a.eval(|v| at[v.0 as usize]) >= 0,
        });
        if !inside {
            return;
        }
        let position = s
            .reduce
            .iter()
            .fold(0, |p, a| p * size(*a) + at[a.0 as usize]);
        let x = Point {
            n,
            s,
            data,
            at,
            acc: &[],
            env,
        }
        .eval(s.body);
        acc = Some(match (s.combine, acc.take()) {
            (Combine::ArgMaxFirst, None) => vec![x, position as f64],
            (_, None) => vec![x],
            (Combine::Sum, Some(a)) => vec![a[0] + x],
            (Combine::Max, Some(a)) => vec![if x > a[0] || x.is_nan() { x } else { a[0] }],
            (Combine::ArgMaxFirst, Some(a)) if x > a[0] || (x.is_nan() && !a[0].is_nan()) => {
                vec![x, position as f64]
            }
            (_, Some(a)) => a,
        });
    });
    acc.unwrap_or_else(|| match s.combine {
        Combine::Max => vec![f64::NEG_INFINITY],
        Combine::ArgMaxFirst => vec![f64::NEG_INFINITY, -1.0],
        _ => vec![0.0],
    })
}

impl Point<'_> {
    fn affine(&self, a: &Affine<AxisId>) -> i64 {
        a.eval(|v| self.at[v.0 as usize])
    }

    fn position(&self, a: &Access) -> usize {
        let ty = self.n.ty(a.tensor);
        let skip = a.index.len() - ty.dims.len();
        let mut position = 0;
        for (k, i) in a.index.iter().enumerate() {
            let i = match i {
                Index::Affine(a) => self.affine(a),
                Index::Lookup(t, a) => self.data[t.0 as usize][self.affine(a) as usize] as i64,
            };
            let size = if k < skip {
                i64::MAX
            } else {
                i64::from(ty.dims[k - skip])
            };
            assert!(
                (0..size).contains(&i),
                "{} is read outside at axis {k}: {i}",
                self.n.name
            );
            position = if k < skip { i } else { position * size + i };
        }
        position as usize
    }

    fn eval(&self, e: ExprId) -> f64 {
        match &self.s.exprs[e.0 as usize] {
            Expr::Const(bits) => f64::from(f32::from_bits(*bits)),
            Expr::Scalar(x) => self.env.scalars.get(*x),
            Expr::Axis(a) => self.affine(a) as f64,
            Expr::Load(a) => self.data[a.tensor.0 as usize][self.position(a)],
            Expr::Acc(k) => self.acc[*k as usize],
            Expr::Random { stream, element } => {
                let images = self.n.images(self.s);
                let image = images.map_or(0, |a| self.at[a.0 as usize]);
                let counter = Counter {
                    element: self.affine(element) as u32,
                    image: (image as u32).wrapping_add(self.env.first as u32),
                    stream: *stream,
                };
                random::uniform(counter, &self.env.scalars).into()
            }
            Expr::Unary(f, x) => f.of(self.eval(*x)),
            Expr::Binary(f, a, b) => f.of(self.eval(*a), self.eval(*b)),
            Expr::Select(c, [a, b, yes, no]) => {
                if c.holds(self.eval(*a), self.eval(*b)) {
                    self.eval(*yes)
                } else {
                    self.eval(*no)
                }
            }
        }
    }
}

/// Runs a kernel once on `buffers`, one for each of its own; `valid` images are in its block (on a GPU, in the
/// batch). The threads of a block run one after the other from barrier to barrier.
///
/// Panics where the kernel reads or writes outside of a buffer.
pub fn run_kernel(k: &Kernel, buffers: &mut [Vec<f64>], valid: usize, env: Env) {
    let mut vars = vec![0i64; k.vars.len()];
    if let Some((v, _)) = k.valid {
        vars[v.0 as usize] = valid as i64;
    }
    let slots = |r: &loops::Reg| r.dims.iter().product::<u32>() as usize;
    let regs = k.regs.iter().map(|r| {
        let each = vec![vec![f64::NAN; k.lanes as usize]; slots(r)];
        vec![each; k.threads as usize]
    });
    let regs = regs.collect();
    let mut m = Machine {
        k,
        buffers,
        vars,
        regs,
        thread: 0,
        valid,
        env,
    };
    m.body(&k.body);
}

struct Machine<'a> {
    k: &'a Kernel,
    buffers: &'a mut [Vec<f64>],
    vars: Vec<i64>,
    /// Of each array, of each thread, of each element.
    regs: Vec<Vec<Vec<Vec<f64>>>>,
    thread: usize,
    valid: usize,
    env: Env,
}

impl Machine<'_> {
    fn at(&self, a: &Affine<Var>) -> i64 {
        a.eval(|v| self.vars[v.0 as usize])
    }

    fn body(&mut self, stmts: &[Stmt]) {
        for s in stmts {
            match s {
                Stmt::For { dims, kind, body } => {
                    debug_assert!(*kind != Kind::Unrolled || dims.len() == 1);
                    let mut point = 0;
                    self.dims(dims, &mut |m| {
                        m.enter(*kind, point);
                        point += 1;
                        m.body(body);
                    });
                }
                Stmt::If { conditions, body } => {
                    if conditions.iter().all(|c| self.at(c) >= 0) {
                        self.body(body);
                    }
                }
                Stmt::Set { reg, index, value } => {
                    let v = self.value(*value);
                    let slot = self.slot(*reg, index);
                    self.regs[reg.0 as usize][self.thread][slot] = v;
                }
                Stmt::Store {
                    buf,
                    at,
                    how,
                    value,
                } => {
                    let v = self.value(*value);
                    let at = self.at(at) as usize;
                    let (width, step) = match how {
                        Write::Vector => (v.len(), 1),
                        Write::First => (1, 1),
                        Write::Row(lanes, step) => (self.at(lanes) as usize, *step as usize),
                    };
                    for (l, x) in v.into_iter().take(width).enumerate() {
                        self.buffers[buf.0 as usize][at + l * step] = x;
                    }
                }
                Stmt::SetRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (slot, at) = (self.slot(*reg, index), self.at(at) as usize);
                    for k in 0..*width as usize {
                        let x = vec![self.buffers[buf.0 as usize][at + k]];
                        self.regs[reg.0 as usize][self.thread][slot + k] = x;
                    }
                }
                Stmt::StoreRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (slot, at) = (self.slot(*reg, index), self.at(at) as usize);
                    for k in 0..*width as usize {
                        let x = self.regs[reg.0 as usize][self.thread][slot + k][0];
                        self.buffers[buf.0 as usize][at + k] = x;
                    }
                }
                // Threads run one after the other between barriers.
                Stmt::Barrier | Stmt::Note(_) => {}
            }
        }
    }

    /// Point `point` of a loop starts: another thread, or a block whose memory and registers hold nothing yet.
    fn enter(&mut self, kind: Kind, point: usize) {
        match kind {
            Kind::Serial | Kind::Unrolled => {}
            Kind::Threads => self.thread = point % self.k.threads as usize,
            Kind::Grid | Kind::Spread => {
                for (b, data) in self.k.buffers.iter().zip(self.buffers.iter_mut()) {
                    if matches!(b.space, loops::Space::Shared(_)) {
                        data.fill(f64::NAN);
                    }
                }
                let elements = self.regs.iter_mut().flatten().flatten();
                elements.for_each(|e| e.fill(f64::NAN));
                self.thread = 0;
            }
        }
    }

    fn dims(&mut self, dims: &[loops::Dim], run: &mut dyn FnMut(&mut Self)) {
        let [d, rest @ ..] = dims else {
            return run(self);
        };
        let q = |m: &Self, q: &loops::Quotient| m.at(&q.num).div_euclid(q.div);
        let lower = d.lower.iter().map(|x| q(self, x)).max().unwrap_or(0);
        let upper = d.upper.iter().map(|x| q(self, x)).min().unwrap_or(0);
        let mut i = lower;
        while i < upper {
            self.vars[d.var.0 as usize] = i;
            self.dims(rest, run);
            i += d.step;
        }
    }

    fn slot(&self, reg: loops::RegId, index: &[Affine<Var>]) -> usize {
        let dims = &self.k.regs[reg.0 as usize].dims;
        index
            .iter()
            .zip(dims)
            .fold(0, |s, (i, &d)| s * d as usize + self.at(i) as usize)
    }

    fn value(&self, v: loops::ValueId) -> Vec<f64> {
        use loops::Expr as E;
        let lanes = self.k.lanes as usize;
        let zip = |f: &dyn Fn(f64, f64) -> f64, a, b| -> Vec<f64> {
            self.value(a)
                .iter()
                .zip(self.value(b))
                .map(|(&x, y)| f(x, y))
                .collect()
        };
        match &self.k.exprs[v.0 as usize] {
            E::Const(bits) => vec![f64::from(f32::from_bits(*bits)); lanes],
            E::Uniform(Uniform::Scalar(s)) => vec![self.env.scalars.get(*s); lanes],
            E::Uniform(Uniform::Valid) => vec![self.valid as f64; lanes],
            E::Number(a) => vec![self.at(a) as f64; lanes],
            E::Lane(a) => (0..lanes).map(|l| (self.at(a) + l as i64) as f64).collect(),
            E::Random(draw) => (0..lanes)
                .map(|l| {
                    let [element, image] = [&draw.element, &draw.image]
                        .map(|x| (self.at(&x.at) + x.step * l as i64) as u32);
                    let counter = Counter {
                        element,
                        image: image.wrapping_add(self.env.first as u32),
                        stream: draw.stream,
                    };
                    random::uniform(counter, &self.env.scalars).into()
                })
                .collect(),
            E::Reg(r, index) => self.regs[r.0 as usize][self.thread][self.slot(*r, index)].clone(),
            E::Load(b, at, how) => self.load(*b, self.at(at), how),
            E::Unary(f, x) => self.value(*x).into_iter().map(|x| f.of(x)).collect(),
            E::Binary(f, a, b) => zip(&|x, y| f.of(x, y), *a, *b),
            E::Fma(a, b, c) => zip(&|x, y| x * y, *a, *b)
                .iter()
                .zip(self.value(*c))
                .map(|(x, y)| x + y)
                .collect(),
            E::Select(c, [a, b, yes, no]) => {
                let (yes, no) = (self.value(*yes), self.value(*no));
                let (a, b) = (self.value(*a), self.value(*b));
                (0..lanes)
                    .map(|l| if c.holds(a[l], b[l]) { yes[l] } else { no[l] })
                    .collect()
            }
            E::ReduceLanes(x) => vec![self.value(*x).iter().sum(); lanes],
            E::Split(n, a, b) => {
                let first = self.at(n).clamp(0, lanes as i64) as usize;
                let (a, b) = (self.value(*a), self.value(*b));
                [&a[..first], &b[first..]].concat()
            }
            E::Transposed(xs, lane) => xs.iter().map(|x| self.value(*x)[*lane as usize]).collect(),
            E::Within(conditions, x) => {
                if conditions.iter().all(|c| self.at(c) >= 0) {
                    self.value(*x)
                } else {
                    vec![0.0; lanes]
                }
            }
        }
    }

    fn load(&self, b: loops::BufId, start: i64, how: &Read) -> Vec<f64> {
        let lanes = self.k.lanes as usize;
        let data = &self.buffers[b.0 as usize];
        let at = start as usize;
        match how {
            Read::Vector => data[at..at + lanes].to_vec(),
            Read::Splat => vec![data[at]; lanes],
            Read::Lookup {
                index,
                index_at,
                stride,
            } => {
                let from = self.at(index_at) as usize;
                let rows = &self.buffers[index.0 as usize][from..from + lanes];
                rows.iter()
                    .map(|&r| data[at + *stride as usize * r as usize])
                    .collect()
            }
            Read::Row(row) => {
                let entry = row.entry.as_ref().map_or(0, |e| {
                    let index = &self.buffers[e.index.0 as usize];
                    e.stride * index[self.at(&e.at) as usize] as i64
                });
                let inside = row.lanes(self.k.lanes, |a| Some(self.at(a)));
                let inside = inside.unwrap_or_default().into_iter();
                let numbered = inside.zip(0..);
                numbered
                    .map(|(read, l)| match read {
                        true => data[(start + entry + row.step * l) as usize],
                        false => 0.0,
                    })
                    .collect()
            }
        }
    }
}
