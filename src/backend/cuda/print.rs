//! Writes kernels down as CUDA C.
//!
//! Decides nothing: a loop over threads becomes the arithmetic of `threadIdx`, a part of a launch a range of
//! `blockIdx`, a register array an array that unrolled loops index by constants. Multiply-adds are `fmaf`, so that
//! the compiler is told to contract nothing else. Does not know nests, or what a kernel computes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lenetc_runtime::cuda::Place;

use super::program::{Extra, Rounds, Unit};
use crate::lines;
use crate::nest::loops::{BufId, Buffer, Dim, Kernel, Kind, Quotient, Space, Stmt};

mod functions;
mod names;
mod parameters;
mod rounds;
mod used;
mod values;
pub use functions::{functions, is_taken};
use names::Names;
use used::Used;

/// Blocks that a multiprocessor can hold at least. Where none are asked for, ptxas aims at more of them and stores
/// what then has no register to memory.
const BLOCKS: u32 = 2;

/// A kernel as CUDA C; its blocks, and its arguments in order.
pub struct Printed {
    pub text: String,
    pub blocks: u64,
    pub arguments: Vec<Place>,
}

/// Blocks of a launch.
pub fn grid(unit: &Unit) -> u64 {
    let parts = unit.kernel.body.iter().map(|s| blocks(&unit.kernel, s));
    let all = parts.fold(0u64, u64::saturating_add);
    all.saturating_add(u64::from(unit.extra.is_some()))
}

/// Prints a launch's kernel under a name.
pub fn run(unit: &Unit, name: &str) -> Printed {
    let k = &unit.kernel;
    let mut p = Printer {
        k,
        rounds: &unit.rounds,
        written: parameters::written(unit),
        names: Names::new(k),
        out: String::new(),
        order: None,
        // The launch that moves on to the next batch writes the row that the others read.
        scalars: match unit.extra {
            Some(Extra::Advance) => "ending",
            _ => "scalars",
        },
    };
    p.order = unit
        .places
        .iter()
        .position(|p| *p == Place::Order)
        .and_then(|at| globals(k).nth(at))
        .map(|(b, _)| b);
    let arguments = p.head(unit, name);
    let several = k.body.len() + usize::from(unit.extra.is_some()) > 1;
    let total = grid(unit) - u64::from(unit.extra.is_some());
    if unit.stops {
        let _ = writeln!(
            p.out,
            "    if (step->stopped != 0 && blockIdx.x < {total}) return;"
        );
    }
    let mut first = 0;
    for s in &k.body {
        let n = blocks(k, s);
        p.part(s, first, n, several);
        first += n;
    }
    if let Some(extra) = unit.extra {
        p.extra(extra, total);
    }
    p.out.push_str("}\n");
    Printed {
        text: p.out,
        blocks: grid(unit),
        arguments,
    }
}

/// Buffers that the caller passes, in their order.
fn globals(k: &Kernel) -> impl Iterator<Item = (BufId, &Buffer)> {
    let all = (0..).map(BufId).zip(&k.buffers);
    all.filter(|b| b.1.space == Space::Global)
}

/// Blocks that a part takes.
fn blocks(k: &Kernel, s: &Stmt) -> u64 {
    let Stmt::For { dims, kind, .. } = s else {
        return 1;
    };
    let trips = dims.iter().map(|d| u64::try_from(trips(d)).unwrap_or(0));
    let points = trips.fold(1, u64::saturating_mul);
    match kind {
        Kind::Spread => points.div_ceil(u64::from(k.threads)),
        _ => points,
    }
}

/// Values that a variable of a loop over blocks or threads takes: the bounds' difference is a constant.
fn trips(d: &Dim) -> i64 {
    let ([lower], [upper]) = (&d.lower[..], &d.upper[..]) else {
        panic!("blocks and threads share out loops with one bound")
    };
    let span = (upper.num.clone() - lower.num.clone()).as_constant();
    let span = span.expect("blocks and threads share out as many points each time");
    (span + d.step - 1) / d.step
}

/// The value of a loop's variable, if it takes one only.
fn only_value(d: &Dim) -> Option<i64> {
    let ([lower], [upper]) = (&d.lower[..], &d.upper[..]) else {
        return None;
    };
    let ends = [lower, upper].map(|q| q.num.as_constant().map(|c| c.div_euclid(q.div)));
    let [Some(first), Some(end)] = ends else {
        return None;
    };
    (first < end && first + d.step >= end).then_some(first)
}

struct Printer<'a> {
    k: &'a Kernel,
    rounds: &'a [Rounds],
    /// Buffers that it writes, in any round.
    written: BTreeSet<BufId>,
    names: Names,
    out: String,
    /// The buffer of the examples' positions.
    order: Option<BufId>,
    /// Which of the step's two rows of numbers it reads.
    scalars: &'static str,
}

impl Printer<'_> {
    /// The kernel's name and parameters, and what all parts use; the arguments.
    fn head(&mut self, unit: &Unit, name: &str) -> Vec<Place> {
        let parameters = self.parameters(unit);
        let list: Vec<&str> = parameters.list.iter().map(|p| p.text.as_str()).collect();
        let threads = self.k.threads;
        let list = list.join(",\n    ");
        let _ = writeln!(
            self.out,
            "extern \"C\" __global__ void __launch_bounds__({threads}, {BLOCKS}) {name}(\n    {list}\n) {{"
        );
        self.shared();
        for line in &parameters.lines {
            self.line(1, line);
        }
        if !self.k.body.is_empty() {
            self.out.push_str("    const int thread = threadIdx.x;\n");
        }
        let used = Used::of(self.k, &self.k.body);
        if self.k.valid.is_some_and(|v| used.vars.contains(&v.0)) {
            self.out.push_str("    const int valid = step->valid;\n");
        }
        if let Some(order) = self.order {
            let name = self.names.buffer(order);
            let _ = writeln!(self.out, "    {name} += step->position;");
        }
        parameters.list.into_iter().map(|p| p.place).collect()
    }

    fn shared(&mut self) {
        let end = |b: &Buffer| match b.space {
            Space::Shared(at) => u64::from(at) + b.len,
            Space::Global => 0,
        };
        let len = self.k.buffers.iter().map(end).max().unwrap_or(0);
        if len > 0 {
            let _ = writeln!(
                self.out,
                "    __shared__ __align__(16) float shared[{len}];"
            );
        }
    }

    /// A part of the launch: its blocks are numbered from `first` on.
    fn part(&mut self, s: &Stmt, first: u64, blocks: u64, several: bool) {
        let Stmt::For { dims, kind, body } = s else {
            panic!("a part is a loop over blocks")
        };
        let mut depth = 1;
        if several {
            let last = first + blocks;
            let lower = if first == 0 {
                String::new()
            } else {
                format!("{first} <= blockIdx.x && ")
            };
            let _ = writeln!(self.out, "    if ({lower}blockIdx.x < {last}) {{");
            depth = 2;
        }
        let scope = self.names.open();
        self.declare(body, depth);
        let block = match first {
            0 => "blockIdx.x".to_string(),
            _ => format!("(blockIdx.x - {first})"),
        };
        match kind {
            Kind::Spread => {
                let name = self.names.fresh("point");
                let points: i64 = dims.iter().map(trips).product();
                let threads = self.k.threads;
                self.line(
                    depth,
                    &format!("const int {name} = {block} * {threads} + thread;"),
                );
                self.line(depth, &format!("if ({name} < {points}) {{"));
                self.decompose(&name, dims, body, depth + 1);
                self.body(body, depth + 1);
                self.line(depth, "}");
            }
            _ => {
                self.decompose(&block, dims, body, depth);
                self.body(body, depth);
            }
        }
        self.names.close(scope);
        if several {
            self.line(1, "}");
        }
    }

    fn extra(&mut self, extra: Extra, block: u64) {
        let account = "account(step, losses, correct, results);";
        let lines: &[&str] = match extra {
            Extra::Account => &[account],
            Extra::Advance => &["if (threadIdx.x == 0) advance(step);"],
            Extra::Close => &[
                account,
                "__syncthreads();",
                "if (threadIdx.x == 0) advance(step);",
            ],
        };
        self.line(1, &format!("if (blockIdx.x == {block}) {{"));
        for l in lines {
            self.line(2, l);
        }
        self.line(1, "}");
    }

    /// Register arrays and shared tiles that these statements use.
    fn declare(&mut self, body: &[Stmt], depth: usize) {
        let used = Used::of(self.k, body);
        for &b in &used.buffers {
            if let Space::Shared(at) = self.k.buffers[b.0 as usize].space {
                let name = self.names.local_buffer(self.k, b);
                let from = if at == 0 {
                    String::new()
                } else {
                    format!(" + {at}")
                };
                self.line(depth, &format!("float* const {name} = shared{from};"));
            }
        }
        for &r in &used.regs {
            let dims = &self.k.regs[r.0 as usize].dims;
            let dims: String = dims.iter().map(|d| format!("[{d}]")).collect();
            let name = self.names.local_register(self.k, r);
            self.line(depth, &format!("float {name}{dims};"));
        }
    }

    /// Declares the variables of a shared-out loop from the number of a point.
    fn decompose(&mut self, point: &str, dims: &[Dim], body: &[Stmt], depth: usize) {
        let used = Used::of(self.k, body);
        let counts: Vec<i64> = dims.iter().map(trips).collect();
        for (k, d) in dims.iter().enumerate() {
            let inner: i64 = counts[k + 1..].iter().product();
            let mut place = point.to_string();
            if counts[k] == 1 {
                place = "0".into();
            } else {
                if inner > 1 {
                    place = format!("{place} / {inner}");
                }
                if k > 0 {
                    place = format!("{place} % {}", counts[k]);
                }
            }
            if d.step > 1 && place != "0" {
                place = format!("{place} * {}", d.step);
            }
            let lower = self.at(&d.lower[0].num);
            if lower != "0" {
                place = format!("{lower} + {place}");
            }
            let name = self.names.bind(self.k, d.var);
            let rounds = self.rounds_of(d.var);
            if used.vars.contains(&d.var) || rounds.is_some() {
                self.line(depth, &format!("const int {name} = {place};"));
            }
            if let Some(rounds) = rounds {
                self.choose(&name, rounds, depth);
            }
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        let pad = "    ".repeat(depth);
        let rest = format!("{pad}        ");
        self.out += &lines::wrap(&format!("{pad}{text}"), &rest);
        self.out.push('\n');
    }

    fn body(&mut self, stmts: &[Stmt], depth: usize) {
        for s in stmts {
            match s {
                Stmt::For { dims, kind, body } => self.repeat(dims, *kind, body, depth),
                Stmt::If { conditions, body } => {
                    let test = self.conditions(conditions);
                    self.line(depth, &format!("if ({test}) {{"));
                    self.body(body, depth + 1);
                    self.line(depth, "}");
                }
                Stmt::Set { reg, index, value } => {
                    let text = format!("{} = {};", self.reg(*reg, index), self.bare(*value));
                    self.line(depth, &text);
                }
                Stmt::Store { buf, at, value, .. } => {
                    let text = format!("{} = {};", self.element(*buf, at), self.bare(*value));
                    self.line(depth, &text);
                }
                Stmt::SetRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (to, from) = (self.reg(*reg, index), self.element(*buf, at));
                    self.line(depth, &format!("load{width}(&{to}, &{from});"));
                }
                Stmt::StoreRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (from, to) = (self.reg(*reg, index), self.element(*buf, at));
                    self.line(depth, &format!("store{width}(&{to}, &{from});"));
                }
                Stmt::Barrier => self.line(depth, "__syncthreads();"),
                Stmt::Note(text) => {
                    let _ = writeln!(self.out, "{}// {text}", "    ".repeat(depth));
                }
            }
        }
    }

    fn repeat(&mut self, dims: &[Dim], kind: Kind, body: &[Stmt], depth: usize) {
        let scope = self.names.open();
        if kind == Kind::Threads {
            self.threads(dims, body, depth);
        } else {
            let mut inner = depth;
            for d in dims {
                if let Some(only) = only_value(d) {
                    let name = self.names.bind(self.k, d.var);
                    if Used::of(self.k, body).vars.contains(&d.var) {
                        self.line(inner, "{");
                        inner += 1;
                        self.line(inner, &format!("const int {name} = {only};"));
                    }
                    continue;
                }
                let rounds = self.rounds_of(d.var);
                match kind {
                    Kind::Unrolled => self.line(inner, "#pragma unroll"),
                    // One text for all rounds is the point of them.
                    _ if rounds.is_some() => self.line(inner, "#pragma unroll 1"),
                    _ => {}
                }
                // Bounds are those of the loops around: they do not know the new name.
                let (lower, upper) = (self.bound(&d.lower, "max"), self.bound(&d.upper, "min"));
                let name = self.names.bind(self.k, d.var);
                let step = match d.step {
                    1 => format!("++{name}"),
                    n => format!("{name} += {n}"),
                };
                let head = format!("for (int {name} = {lower}; {name} < {upper}; {step}) {{");
                self.line(inner, &head);
                inner += 1;
                if let Some(rounds) = rounds {
                    self.choose(&name, rounds, inner);
                }
            }
            self.body(body, inner);
            while inner > depth {
                inner -= 1;
                self.line(inner, "}");
            }
        }
        self.names.close(scope);
    }

    /// The threads of a block take points in turn.
    fn threads(&mut self, dims: &[Dim], body: &[Stmt], depth: usize) {
        let points: i64 = dims.iter().map(trips).product();
        let width = i64::from(self.k.threads);
        if points <= width {
            let test = if points < width {
                format!("if (thread < {points}) ")
            } else {
                String::new()
            };
            self.line(depth, &format!("{test}{{"));
            self.decompose("thread", dims, body, depth + 1);
        } else {
            let p = self.names.fresh("point");
            let head = format!("for (int {p} = thread; {p} < {points}; {p} += {width}) {{");
            self.line(depth, &head);
            self.decompose(&p, dims, body, depth + 1);
        }
        self.body(body, depth + 1);
        self.line(depth, "}");
    }

    fn bound(&self, qs: &[Quotient], pick: &str) -> String {
        let mut parts = qs.iter().map(|q| match (q.div, q.num.as_constant()) {
            (_, Some(c)) => c.div_euclid(q.div).to_string(),
            (1, _) => self.at(&q.num),
            (d, _) => format!("floor_div({}, {d})", self.at(&q.num)),
        });
        let first = parts.next().unwrap_or_else(|| "0".into());
        parts.fold(first, |a, b| format!("{pick}({a}, {b})"))
    }
}
