//! Prints a kernel as the loops that it is: a text that [`super::parse()`] reads back.
//!
//! A loop of one trip reads `at i = 0`, a value that several read is named by a `let`, and long lines go on eight
//! columns further in. `docs/stages.md` has the grammar.

use super::super::functions::Written;
use super::super::text::{affine_text, condition_text, number_text};
use super::sharing::{named, undefined};
use super::*;
use crate::lines;

/// Levels of loops that move a line to the right.
const MOST_DEPTH: usize = 16;

/// The kernel as text, ending in a newline.
pub fn text(k: &Kernel) -> String {
    let mut p = Printer {
        k,
        out: format!("kernel {} lanes {} {{\n", k.name, k.lanes),
        named: named(k),
        defined: vec![false; k.exprs.len()],
        numbers: vec![None; k.exprs.len()],
        next: 0,
    };
    p.head();
    p.body(&k.body, 1);
    p.out.push_str("}\n");
    p.out
}

/// The name of a run-time number.
pub(super) fn uniform_name(u: Uniform) -> &'static str {
    match u {
        Uniform::Valid => "valid",
        Uniform::Scalar(scalar) => scalar.word(),
    }
}

/// Words that stand in indices where a variable may.
pub(super) const INDEX_WORDS: [&str; 3] = ["lane", "max", "min"];
/// Words that stand where values do.
pub(super) fn value_words() -> Vec<&'static str> {
    let uniforms = Uniform::all().map(uniform_name);
    uniforms.chain(["splat", "inf", "nan", "number"]).collect()
}

/// Whether a name is a word of letters, digits and `_`, with points within, that the text does not use itself.
pub(super) fn is_name(name: &str, taken: &[&str]) -> bool {
    let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let first = name.chars().next();
    first.is_some_and(|c| !c.is_ascii_digit())
        && name.split('.').all(part)
        && !taken.contains(&name)
}

/// The words behind a loop's dimensions.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Serial => "",
        Kind::Unrolled => "unrolled",
        Kind::Grid => "by blocks",
        Kind::Threads => "by threads",
        Kind::Spread => "by blocks and threads",
    }
}

/// A variable, or the number of the lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Symbol {
    Var(Var),
    Lane,
}

struct Printer<'a> {
    k: &'a Kernel,
    out: String,
    /// The values that have a name, and whether that has been said.
    named: Vec<bool>,
    defined: Vec<bool>,
    /// The numbers that they are named by.
    numbers: Vec<Option<u32>>,
    next: u32,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let pad = "    ".repeat(depth.min(MOST_DEPTH));
        let line = lines::wrap(&format!("{pad}{text}"), &format!("{pad}        "));
        self.out.push_str(&line);
        self.out.push('\n');
    }

    fn head(&mut self) {
        let k = self.k;
        if k.threads != 1 {
            self.line(1, &format!("threads {}", k.threads));
        }
        if !k.vars.is_empty() {
            self.line(1, &format!("variables {}", k.vars.join(", ")));
        }
        for b in &k.buffers {
            let text = match b.space {
                Space::Global => format!("buffer {}: {}[{}]", b.name, b.dtype, b.len),
                Space::Shared(at) => format!("shared {}: {}[{}] at {at}", b.name, b.dtype, b.len),
            };
            self.line(1, &text);
        }
        for r in &k.regs {
            let dims: String = r.dims.iter().map(|d| format!("[{d}]")).collect();
            self.line(1, &format!("register {}{dims}", r.name));
        }
        if let Some((v, n)) = k.valid {
            self.line(1, &format!("images {} <= {n}", self.var(v)));
        }
    }

    fn body(&mut self, stmts: &[Stmt], depth: usize) {
        for s in stmts {
            match s {
                Stmt::For { dims, kind, body } => {
                    let head = self.loop_head(dims, *kind);
                    self.block(&head, body, depth);
                }
                Stmt::If { conditions, body } => {
                    let head = format!("if {}", self.conditions(conditions));
                    self.block(&head, body, depth);
                }
                Stmt::Barrier => self.line(depth, "barrier"),
                // A note is a line, however long.
                Stmt::Note(text) => {
                    let pad = "    ".repeat(depth.min(MOST_DEPTH));
                    self.out += &format!("{pad}# {text}\n");
                }
                Stmt::Set { value, .. } | Stmt::Store { value, .. } => {
                    self.define(*value, depth);
                    let text = format!("{} = {}", self.target(s), self.reference(*value, false));
                    self.line(depth, &text);
                }
                Stmt::SetRow { .. } | Stmt::StoreRow { .. } => {
                    let text = self.row(s);
                    self.line(depth, &text);
                }
            }
        }
    }

    fn block(&mut self, head: &str, body: &[Stmt], depth: usize) {
        self.line(depth, &format!("{head} {{"));
        self.body(body, depth + 1);
        self.line(depth, "}");
    }

    /// Names the values that a statement reads by their names for the first time.
    fn define(&mut self, value: ValueId, depth: usize) {
        let mut list = Vec::new();
        undefined(self.k, &self.named, &mut self.defined, value, &mut list);
        for v in list {
            let text = format!("let %{} = {}", self.next, self.value(v, false));
            self.numbers[v.0 as usize] = Some(self.next);
            self.next += 1;
            self.line(depth, &text);
        }
    }

    /// What a statement sets or stores to.
    fn target(&self, s: &Stmt) -> String {
        match s {
            Stmt::Set { reg, index, .. } => self.reg(*reg, index),
            Stmt::Store { buf, at, how, .. } => {
                let element = |lane: &str| format!("{}[{}{lane}]", self.buffer(*buf), self.at(at));
                match how {
                    Write::Vector => element(""),
                    Write::First => format!("{} (first lane)", element("")),
                    Write::Row(lanes, step) => {
                        let row = element(&lane_text(*step));
                        format!("{row} (first {} lanes)", self.at(lanes))
                    }
                }
            }
            _ => String::new(),
        }
    }

    /// A statement that moves neighbouring elements.
    fn row(&self, s: &Stmt) -> String {
        match s {
            Stmt::SetRow {
                reg,
                index,
                buf,
                at,
                width,
            } => {
                let row = format!("{}[{}; {width}]", self.buffer(*buf), self.at(at));
                format!("{}.. = {row}", self.reg(*reg, index))
            }
            Stmt::StoreRow {
                reg,
                index,
                buf,
                at,
                width,
            } => {
                let row = format!("{}[{}; {width}]", self.buffer(*buf), self.at(at));
                format!("{row} = {}..", self.reg(*reg, index))
            }
            _ => String::new(),
        }
    }

    fn loop_head(&self, dims: &[Dim], kind: Kind) -> String {
        let word = match dims.iter().all(|d| single(d).is_some()) {
            true => "at",
            false => "for",
        };
        let dims: Vec<String> = dims.iter().map(|d| self.dim(d)).collect();
        let kind = match kind_name(kind) {
            "" => String::new(),
            name => format!(" {name}"),
        };
        format!("{word} {}{kind}", dims.join(", "))
    }

    fn dim(&self, d: &Dim) -> String {
        let name = self.var(d.var);
        if let Some(value) = single(d) {
            let wide = match d.step {
                1 => String::new(),
                n => format!(" wide {n}"),
            };
            return format!("{name} = {value}{wide}");
        }
        let step = match d.step {
            1 => String::new(),
            n => format!(" step {n}"),
        };
        let (lower, upper) = (self.bound(&d.lower, "max"), self.bound(&d.upper, "min"));
        format!("{name} in {lower}..{upper}{step}")
    }

    fn bound(&self, qs: &[Quotient], pick: &str) -> String {
        let quotient = |q: &Quotient| match q.div {
            1 => self.at(&q.num),
            d => format!("({})/{d}", self.at(&q.num)),
        };
        match qs {
            [one] => quotient(one),
            several => {
                let parts: Vec<String> = several.iter().map(quotient).collect();
                format!("{pick}({})", parts.join(", "))
            }
        }
    }

    fn var(&self, v: Var) -> &str {
        &self.k.vars[v.0 as usize]
    }

    fn buffer(&self, b: BufId) -> &str {
        &self.k.buffers[b.0 as usize].name
    }

    fn at(&self, a: &At) -> String {
        affine_text(a, |v| self.var(v).to_string())
    }

    fn conditions(&self, conditions: &[At]) -> String {
        let text = |c: &At| condition_text(&c.non_negative(), |v| self.var(v).to_string());
        let all: Vec<String> = conditions.iter().map(text).collect();
        all.join(" and ")
    }

    /// `at + by · lane ≥ 0`
    fn edge(&self, e: &Edge) -> String {
        if e.by == 0 {
            return format!("{}+0*lane >= 0", self.at(&e.at));
        }
        let at = e.at.substitute(|v| Affine::var(Symbol::Var(v)));
        let whole = at + Affine::var(Symbol::Lane) * e.by;
        condition_text(&whole.non_negative(), |s| match s {
            Symbol::Var(v) => self.var(v).to_string(),
            Symbol::Lane => "lane".into(),
        })
    }

    fn reg(&self, r: RegId, index: &[At]) -> String {
        let index: String = index.iter().map(|i| format!("[{}]", self.at(i))).collect();
        format!("{}{index}", self.k.regs[r.0 as usize].name)
    }

    /// A value by its name, where it has one, else as a formula; `within` another, so that it stands in parentheses
    /// where it must.
    fn reference(&self, v: ValueId, within: bool) -> String {
        match self.numbers[v.0 as usize] {
            Some(n) => format!("%{n}"),
            None => self.value(v, within),
        }
    }

    fn value(&self, v: ValueId, within: bool) -> String {
        let go = |v: &ValueId| self.reference(*v, true);
        let bare = |v: &ValueId| self.reference(*v, false);
        let open = match &self.k.exprs[v.0 as usize] {
            Expr::Const(bits) => return number_text(*bits),
            Expr::Uniform(u) => return uniform_name(*u).into(),
            Expr::Number(a) => return format!("number({})", self.at(a)),
            Expr::Lane(a) => return format!("number({}+lane)", self.at(a)),
            Expr::Random(draw) => {
                let [element, image] = [&draw.element, &draw.image].map(|x| self.lanes(x));
                return format!("random({}: {element}, {image})", draw.stream);
            }
            Expr::Reg(r, index) => return self.reg(*r, index),
            Expr::Unary(f, x) => return format!("{}({})", f.name(), bare(x)),
            Expr::Fma(a, b, c) => return format!("fma({}, {}, {})", bare(a), bare(b), bare(c)),
            Expr::ReduceLanes(x) => return format!("reduce_lanes({})", bare(x)),
            Expr::Split(n, a, b) => {
                return format!("split({}: {}, {})", self.at(n), bare(a), bare(b));
            }
            Expr::Transposed(xs, lane) => {
                let xs: Vec<String> = xs.iter().map(bare).collect();
                return format!("transposed({})[{lane}]", xs.join(", "));
            }
            Expr::Load(b, at, Read::Row(row)) if !row.edges.is_empty() => {
                let edges: Vec<String> = row.edges.iter().map(|e| self.edge(e)).collect();
                let read = self.elements(*b, at, row);
                format!("{read} where {} else 0", edges.join(" and "))
            }
            Expr::Load(b, at, how) => return self.load(*b, at, how),
            Expr::Binary(f, a, b) => match f.written() {
                Written::Sign(_) => f.text(&go(a), &go(b)),
                Written::Name(_) => return f.text(&bare(a), &bare(b)),
            },
            Expr::Select(c, [a, b, yes, no]) => {
                let test = format!("{} {} {}", go(a), c.sign(), go(b));
                format!("{test} ? {} : {}", go(yes), go(no))
            }
            Expr::Within(conditions, x) => {
                format!("{} where {} else 0", go(x), self.conditions(conditions))
            }
        };
        if within { format!("({open})") } else { open }
    }

    fn load(&self, b: BufId, at: &At, how: &Read) -> String {
        let name = self.buffer(b);
        match how {
            Read::Vector => format!("{name}[{}]", self.at(at)),
            Read::Splat => format!("splat {name}[{}]", self.at(at)),
            Read::Lookup {
                index,
                index_at,
                stride,
            } => {
                let (index, index_at) = (self.buffer(*index), self.at(index_at));
                format!("{name}[{stride}*{index}[{index_at}+lane]+{}]", self.at(at))
            }
            Read::Row(row) => self.elements(b, at, row),
        }
    }

    /// An integer of each lane.
    fn lanes(&self, lanes: &Lanes) -> String {
        let step = match lanes.step {
            0 => String::new(),
            step => lane_text(step),
        };
        format!("{}{step}", self.at(&lanes.at))
    }

    /// Elements of one image.
    fn elements(&self, b: BufId, at: &At, row: &Row) -> String {
        let entry = row.entry.as_ref().map_or(String::new(), |e| {
            let (index, at) = (self.buffer(e.index), self.at(&e.at));
            format!("{}*{index}[{at}]+", e.stride)
        });
        let lane = lane_text(row.step);
        format!("{}[{entry}{}{lane}]", self.buffer(b), self.at(at))
    }
}

/// So many elements from lane to lane.
fn lane_text(step: i64) -> String {
    match step {
        1 => "+lane".into(),
        n => format!("{n:+}*lane"),
    }
}

/// The value of a variable that takes one only, from which the loop's end follows.
fn single(d: &Dim) -> Option<i64> {
    let ([lower], [upper]) = (&d.lower[..], &d.upper[..]) else {
        return None;
    };
    let first = lower.num.as_constant().filter(|_| lower.div == 1)?;
    let end = upper.num.as_constant().filter(|_| upper.div == 1)?;
    (d.step > 0 && first.checked_add(d.step) == Some(end)).then_some(first)
}
