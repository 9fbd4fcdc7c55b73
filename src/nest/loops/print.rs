//! Prints a kernel as the loops that it is.

use std::fmt::Write as _;

use super::super::text::{affine_text, binary_name, compare_name, unary_name};
use super::*;

/// The kernel as text, ending in a newline.
pub fn text(k: &Kernel) -> String {
    let mut out = format!("kernel {} lanes {} {{\n", k.name, k.lanes);
    if k.threads > 1 {
        let _ = writeln!(out, "    threads {}", k.threads);
    }
    for b in &k.buffers {
        let place = match b.space {
            Space::Global => "buffer".into(),
            Space::Shared(at) => format!("shared +{at}"),
        };
        let _ = writeln!(out, "    {place} {}: {}[{}]", b.name, b.dtype, b.len);
    }
    for r in &k.regs {
        let dims: String = r.dims.iter().map(|d| format!("[{d}]")).collect();
        let _ = writeln!(out, "    register {}{dims}", r.name);
    }
    if let Some((v, n)) = k.tile {
        let _ = writeln!(out, "    tile {} < {n}", k.vars[v.0 as usize]);
    }
    let p = Printer { k };
    p.body(&mut out, &k.body, 1);
    out.push_str("}\n");
    out
}

struct Printer<'a> {
    k: &'a Kernel,
}

impl Printer<'_> {
    fn body(&self, out: &mut String, stmts: &[Stmt], depth: usize) {
        let pad = "    ".repeat(depth);
        for s in stmts {
            match s {
                Stmt::For { dims, kind, body } => {
                    let dims: Vec<String> = dims.iter().map(|d| self.dim(d)).collect();
                    let kind = match kind {
                        Kind::Serial => "",
                        Kind::Unrolled => " unrolled",
                        Kind::Grid => " by blocks",
                        Kind::Threads => " by threads",
                        Kind::Spread => " by blocks and threads",
                    };
                    let _ = writeln!(out, "{pad}for {}{kind} {{", dims.join(", "));
                    self.body(out, body, depth + 1);
                    let _ = writeln!(out, "{pad}}}");
                }
                Stmt::If { conditions, body } => {
                    let c: Vec<String> = conditions
                        .iter()
                        .map(|c| format!("{} >= 0", self.at(c)))
                        .collect();
                    let _ = writeln!(out, "{pad}if {} {{", c.join(" and "));
                    self.body(out, body, depth + 1);
                    let _ = writeln!(out, "{pad}}}");
                }
                Stmt::Set { reg, index, value } => {
                    let _ = writeln!(
                        out,
                        "{pad}{} = {}",
                        self.reg(*reg, index),
                        self.value(*value)
                    );
                }
                Stmt::Store {
                    buf,
                    at,
                    how,
                    value,
                } => {
                    let how = match how {
                        Write::Vector => String::new(),
                        Write::First => " (first lane)".into(),
                        Write::Row(lanes, 1) => format!(" (first {} lanes)", self.at(lanes)),
                        Write::Row(lanes, step) => {
                            format!("+{step}*lane (first {} lanes)", self.at(lanes))
                        }
                    };
                    let name = &self.k.buffers[buf.0 as usize].name;
                    let _ = writeln!(
                        out,
                        "{pad}{name}[{}]{how} = {}",
                        self.at(at),
                        self.value(*value)
                    );
                }
                Stmt::SetRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (reg, row) = (self.reg(*reg, index), self.row(*buf, at, *width));
                    let _ = writeln!(out, "{pad}{reg}.. = {row}");
                }
                Stmt::StoreRow {
                    reg,
                    index,
                    buf,
                    at,
                    width,
                } => {
                    let (reg, row) = (self.reg(*reg, index), self.row(*buf, at, *width));
                    let _ = writeln!(out, "{pad}{row} = {reg}..");
                }
                Stmt::Barrier => {
                    let _ = writeln!(out, "{pad}barrier");
                }
                Stmt::Note(text) => {
                    let _ = writeln!(out, "{pad}# {text}");
                }
            }
        }
    }

    fn dim(&self, d: &Dim) -> String {
        let bound = |qs: &[Quotient], f: &str| {
            let parts: Vec<String> = qs
                .iter()
                .map(|q| match q.div {
                    1 => self.at(&q.num),
                    _ => format!("({})/{}", self.at(&q.num), q.div),
                })
                .collect();
            if parts.len() == 1 {
                parts[0].clone()
            } else {
                format!("{f}({})", parts.join(", "))
            }
        };
        let step = if d.step == 1 {
            String::new()
        } else {
            format!(" step {}", d.step)
        };
        let name = &self.k.vars[d.var.0 as usize];
        format!(
            "{name} in {}..{}{step}",
            bound(&d.lower, "max"),
            bound(&d.upper, "min")
        )
    }

    fn at(&self, a: &At) -> String {
        affine_text(a, |v| self.k.vars[v.0 as usize].clone())
    }

    fn row(&self, buf: BufId, at: &At, width: u32) -> String {
        let name = &self.k.buffers[buf.0 as usize].name;
        format!("{name}[{}; {width}]", self.at(at))
    }

    /// Elements of one image.
    fn elements(&self, name: &str, at: &At, row: &Row) -> String {
        let entry = row.entry.as_ref().map_or(String::new(), |e| {
            let index = &self.k.buffers[e.index.0 as usize].name;
            format!("{}*{index}[{}]+", e.stride, self.at(&e.at))
        });
        let read = format!("{name}[{entry}{}+{}*lane]", self.at(at), row.step);
        if row.edges.is_empty() {
            return read;
        }
        let edge = |e: &Edge| format!("{}+{}*lane >= 0", self.at(&e.at), e.by);
        let edges: Vec<String> = row.edges.iter().map(edge).collect();
        format!("({} ? {read} : 0)", edges.join(" and "))
    }

    fn reg(&self, r: RegId, index: &[At]) -> String {
        let index: String = index.iter().map(|i| format!("[{}]", self.at(i))).collect();
        format!("{}{index}", self.k.regs[r.0 as usize].name)
    }

    fn value(&self, v: ValueId) -> String {
        let go = |v: &ValueId| self.value(*v);
        match &self.k.exprs[v.0 as usize] {
            Expr::Const(bits) => format!("{}", f32::from_bits(*bits)),
            Expr::Uniform(Uniform::Valid) => "valid".into(),
            Expr::Uniform(Uniform::Scalar(s)) => s.name().into(),
            Expr::Number(a) => format!("number({})", self.at(a)),
            Expr::Lane(a) => format!("lane+({})", self.at(a)),
            Expr::Reg(r, index) => self.reg(*r, index),
            Expr::Load(b, at, how) => {
                let name = &self.k.buffers[b.0 as usize].name;
                match how {
                    Read::Vector => format!("{name}[{}]", self.at(at)),
                    Read::Splat => format!("splat {name}[{}]", self.at(at)),
                    Read::Lookup {
                        index,
                        index_at,
                        stride,
                    } => format!(
                        "{name}[{stride}*{}[{}+lane]+{}]",
                        self.k.buffers[index.0 as usize].name,
                        self.at(index_at),
                        self.at(at)
                    ),
                    Read::Row(row) => self.elements(name, at, row),
                }
            }
            Expr::Unary(f, x) => format!("{}({})", unary_name(*f), go(x)),
            Expr::Binary(f, a, b) => format!("({} {} {})", go(a), binary_name(*f), go(b)),
            Expr::Fma(a, b, c) => format!("fma({}, {}, {})", go(a), go(b), go(c)),
            Expr::Select(c, [a, b, yes, no]) => {
                format!(
                    "({} {} {} ? {} : {})",
                    go(a),
                    compare_name(*c),
                    go(b),
                    go(yes),
                    go(no)
                )
            }
            Expr::ReduceLanes(x) => format!("reduce_lanes({})", go(x)),
            Expr::Split(n, a, b) => format!("split({}: {}, {})", self.at(n), go(a), go(b)),
            Expr::Transposed(xs, lane) => {
                let xs: Vec<String> = xs.iter().map(go).collect();
                format!("transposed({})[{lane}]", xs.join(", "))
            }
            Expr::Within(conditions, x) => {
                let c: Vec<String> = conditions
                    .iter()
                    .map(|c| format!("{} >= 0", self.at(c)))
                    .collect();
                format!("({} ? {} : 0)", c.join(" and "), go(x))
            }
        }
    }
}
