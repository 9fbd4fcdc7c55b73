//! Checks a kernel. A violation is a bug of the compiler, never of its input.
//!
//! What holds:
//! 1. every value reads earlier ones; every register index has as many parts as its array;
//! 2. a variable is used only inside the loop that binds it (or is the tile);
//! 3. an unrolled loop has constant bounds and one dimension;
//! 4. every access of memory that stands under constant bounds only lies within its buffer;
//! 5. rows of a thread are 2 or 4 elements wide, start at a multiple of that, and only kernels of one lane have them;
//! 6. loops over blocks are outermost, loops over threads are not within each other, and no thread alone
//!    meets a barrier;
//! 7. variables have a name each, buffers and register arrays too; a condition says something, and steps go forward.
//!
//! Accesses are proved by interval arithmetic. Where a bound depends on another variable, or a condition
//! guards an access, intervals prove nothing; there the interpreter checks each access as it runs.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Indices are below this: so are sums and differences of a few of them then.
const INDICES: i128 = 1 << 60;

type Ranges = BTreeMap<Var, (i64, i64)>;

/// The variables that are bound here, and whether their ranges are independent of each other.
#[derive(Clone)]
struct Scope {
    ranges: Ranges,
    exact: bool,
    /// A number that every value of the variable is a multiple of.
    steps: BTreeMap<Var, i64>,
}

/// The first violation, if there is one.
pub fn verify(k: &Kernel) -> Result<(), String> {
    let mut ranges = Ranges::new();
    if let Some((v, n)) = k.valid {
        ranges.insert(v, (0, i64::from(n)));
    }
    let mut ranges = Scope {
        ranges,
        exact: true,
        steps: BTreeMap::new(),
    };
    let checked = names(k)
        .and_then(|()| body(k, &k.body, &mut ranges))
        .and_then(|()| parallel(&k.body, Level::Kernel));
    checked.map_err(|e| format!("kernel {}: {e}", k.name))
}

/// A text of the kernel means the kernel.
fn names(k: &Kernel) -> Result<(), String> {
    let memory = k.buffers.iter().map(|b| &b.name);
    let memory = memory.chain(k.regs.iter().map(|r| &r.name));
    let value_words = print::value_words();
    let lists: [(Vec<&String>, &[&str]); 2] = [
        (memory.collect(), &value_words),
        (k.vars.iter().collect(), &print::INDEX_WORDS),
    ];
    for (all, taken) in lists {
        let mut seen = BTreeSet::new();
        for name in all {
            if !print::is_name(name, taken) {
                return Err(format!("`{name}` is a word of the text, or none"));
            }
            if !seen.insert(name) {
                return Err(format!("{name} means two things"));
            }
        }
    }
    Ok(())
}

/// How far the statements are shared out among threads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Kernel,
    Block,
    Thread,
}

fn parallel(stmts: &[Stmt], level: Level) -> Result<(), String> {
    for s in stmts {
        match s {
            Stmt::For { kind, body, .. } => {
                let inner = match (kind, level) {
                    (Kind::Grid, Level::Kernel) => Level::Block,
                    (Kind::Spread, Level::Kernel) | (Kind::Threads, Level::Block) => Level::Thread,
                    (Kind::Serial | Kind::Unrolled, level) => level,
                    _ => return Err("a loop over blocks or threads stands within another".into()),
                };
                parallel(body, inner)?;
            }
            Stmt::If { body, .. } => parallel(body, level)?,
            Stmt::Barrier if level != Level::Block => {
                return Err("a barrier that not all threads of a block meet".into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn body(k: &Kernel, stmts: &[Stmt], scope: &mut Scope) -> Result<(), String> {
    for s in stmts {
        match s {
            Stmt::For {
                dims,
                kind,
                body: inner,
            } => {
                let mut within = scope.clone();
                let mut empty = false;
                for d in dims {
                    empty |= bind(d, *kind, dims.len(), &mut within)?;
                }
                if !empty {
                    body(k, inner, &mut within)?;
                }
            }
            Stmt::If {
                conditions,
                body: inner,
            } => {
                guarded(conditions, scope)?;
                let exact = scope.exact && conditions.is_empty();
                body(
                    k,
                    inner,
                    &mut Scope {
                        exact,
                        ..scope.clone()
                    },
                )?;
            }
            Stmt::Set { reg, index, value } => {
                register(k, *reg, index, scope)?;
                expr(k, *value, scope)?;
            }
            Stmt::Store {
                buf,
                at,
                how,
                value,
            } => {
                match how {
                    Write::Vector => within(k, *buf, at, i64::from(k.lanes), scope)?,
                    Write::First => within(k, *buf, at, 1, scope)?,
                    Write::Row(lanes, step) => stored(k, *buf, at, (lanes, *step), scope)?,
                }
                expr(k, *value, scope)?;
            }
            Stmt::SetRow {
                reg,
                index,
                buf,
                at,
                width,
            }
            | Stmt::StoreRow {
                reg,
                index,
                buf,
                at,
                width,
            } => row(k, (*reg, index), (*buf, at), *width, scope)?,
            Stmt::Barrier | Stmt::Note(_) => {}
        }
    }
    Ok(())
}

/// Binds a loop's variable; true where the loop never runs.
fn bind(d: &Dim, kind: Kind, dims: usize, scope: &mut Scope) -> Result<bool, String> {
    let bounds = |qs: &[Quotient]| {
        qs.iter()
            .map(|q| quotient(q, scope))
            .collect::<Result<Vec<_>, _>>()
    };
    let (lower, upper) = (bounds(&d.lower)?, bounds(&d.upper)?);
    if d.step < 1 || d.lower.is_empty() || d.upper.is_empty() {
        return Err("a loop that goes nowhere".into());
    }
    let fixed = lower.iter().chain(&upper).all(|r| r.0 == r.1);
    if kind == Kind::Unrolled && (!fixed || dims != 1) {
        return Err("an unrolled loop without constant bounds".into());
    }
    let lo = lower.iter().map(|r| r.0).max().unwrap_or(0);
    let hi = upper.iter().map(|r| r.1).min().unwrap_or(0) - 1;
    let last = lo + (hi - lo).max(0) / d.step * d.step;
    scope.exact &= fixed;
    scope.ranges.insert(d.var, (lo, last));
    if fixed && lo % d.step == 0 {
        // A variable that is only ever 0 is a multiple of everything.
        let zero = lo == 0 && last == 0;
        scope.steps.insert(d.var, if zero { 0 } else { d.step });
    }
    Ok(hi < lo)
}

fn quotient(q: &Quotient, scope: &Scope) -> Result<(i64, i64), String> {
    let (lo, hi) = interval(&q.num, scope)?;
    Ok((lo.div_euclid(q.div), hi.div_euclid(q.div)))
}

/// Conditions under which something happens.
fn guarded(conditions: &[At], scope: &Scope) -> Result<(), String> {
    if conditions.is_empty() {
        return Err("a condition that says nothing".into());
    }
    conditions
        .iter()
        .try_for_each(|c| interval(c, scope).map(|_| ()))
}

fn interval(a: &At, scope: &Scope) -> Result<(i64, i64), String> {
    let constant = i128::from(a.constant);
    let (mut lo, mut hi) = (constant, constant);
    for (v, c) in &a.terms {
        let &(l, h) = scope
            .ranges
            .get(v)
            .ok_or_else(|| format!("variable {} is not bound", v.0))?;
        let [low, high] = [l, h].map(|end| i128::from(*c) * i128::from(end));
        lo = lo.saturating_add(low.min(high));
        hi = hi.saturating_add(low.max(high));
    }
    if lo <= -INDICES || hi >= INDICES {
        return Err("an index that is too large".into());
    }
    Ok((lo as i64, hi as i64))
}

fn register(k: &Kernel, reg: RegId, index: &[At], scope: &Scope) -> Result<(), String> {
    let dims = &k.regs[reg.0 as usize].dims;
    if dims.len() != index.len() {
        return Err(format!(
            "register {} has {} dimensions",
            k.regs[reg.0 as usize].name,
            dims.len()
        ));
    }
    for (i, &d) in index.iter().zip(dims) {
        let (lo, hi) = interval(i, scope)?;
        if lo < 0 || hi >= i64::from(d) {
            return Err(format!(
                "register {} is read outside",
                k.regs[reg.0 as usize].name
            ));
        }
    }
    Ok(())
}

fn row(
    k: &Kernel,
    (reg, index): (RegId, &[At]),
    (buf, at): (BufId, &At),
    width: u32,
    scope: &Scope,
) -> Result<(), String> {
    let wide = i64::from(width);
    if k.lanes != 1 || ![2, 4].contains(&width) {
        return Err(format!("a row of {width} elements"));
    }
    let steps = at.terms.iter().all(|&(v, c)| {
        let known = scope.steps.get(&v).copied().unwrap_or(1);
        (c * known) % wide == 0
    });
    if !steps || at.constant % wide != 0 {
        return Err(format!(
            "a row of {} that is not aligned",
            k.buffers[buf.0 as usize].name
        ));
    }
    let mut last = index.to_vec();
    if let Some(l) = last.last_mut() {
        *l = l.clone() + (wide - 1);
    }
    register(k, reg, index, scope)?;
    register(k, reg, &last, scope)?;
    within(k, buf, at, wide, scope)
}

fn within(k: &Kernel, buf: BufId, at: &At, width: i64, scope: &Scope) -> Result<(), String> {
    let b = &k.buffers[buf.0 as usize];
    let (lo, hi) = interval(at, scope)?;
    if scope.exact && (lo < 0 || (hi + width) as u64 > b.len) {
        return Err(format!(
            "{}[{lo}..{}] is outside of {} elements",
            b.name,
            hi + width,
            b.len
        ));
    }
    Ok(())
}

/// The first lanes, at most all, a number of elements apart.
fn stored(
    k: &Kernel,
    buf: BufId,
    at: &At,
    (lanes, step): (&At, i64),
    scope: &Scope,
) -> Result<(), String> {
    if interval(lanes, scope)?.0 < 1 || step < 1 {
        return Err("a row of no lanes".into());
    }
    let factors = lanes.terms.iter().map(|t| t.1).chain([lanes.constant]);
    if step >= 1 << 20 || factors.into_iter().any(|c| c.abs() >= 1 << 40) {
        return Err("a row of elements too far apart".into());
    }
    let width = step * (i64::from(k.lanes) - 1) + 1;
    within(k, buf, at, width, scope).or_else(|_| {
        within(k, buf, at, 1, scope)?;
        let last = at.clone() + (lanes.clone() + -1) * step;
        within(k, buf, &last, 1, scope)
    })
}

/// Elements of one image; where edges leave lanes out, the interpreter checks those that are read.
fn elements(k: &Kernel, b: BufId, at: &At, row: &Row, scope: &Scope) -> Result<(), String> {
    for e in &row.edges {
        interval(&e.at, scope)?;
    }
    if row.step < 0 {
        return Err("a row that runs backwards".into());
    }
    if let Some(e) = &row.entry {
        within(k, e.index, &e.at, 1, scope)?;
    }
    let width = (row.step * i64::from(k.lanes)).max(1);
    if !row.edges.is_empty() {
        interval(at, scope)?;
        return Ok(());
    }
    within(k, b, at, width, scope)
}

fn expr(k: &Kernel, e: ValueId, scope: &Scope) -> Result<(), String> {
    let operands: Vec<ValueId> = match &k.exprs[e.0 as usize] {
        Expr::Const(_) | Expr::Uniform(_) => vec![],
        Expr::Number(a) | Expr::Lane(a) => {
            interval(a, scope)?;
            vec![]
        }
        Expr::Random(draw) => {
            interval(&draw.element.at, scope)?;
            interval(&draw.image.at, scope)?;
            vec![]
        }
        Expr::Reg(r, index) => {
            register(k, *r, index, scope)?;
            vec![]
        }
        Expr::Load(b, at, how) => {
            let lanes = i64::from(k.lanes);
            match how {
                Read::Vector => within(k, *b, at, lanes, scope)?,
                Read::Splat => within(k, *b, at, 1, scope)?,
                Read::Lookup {
                    index,
                    index_at,
                    stride,
                } => {
                    within(k, *index, index_at, lanes, scope)?;
                    let (lo, hi) = interval(at, scope)?;
                    if scope.exact && (lo < 0 || hi >= *stride) {
                        return Err("a lookup reads outside of its entry".into());
                    }
                }
                Read::Row(row) => elements(k, *b, at, row, scope)?,
            }
            vec![]
        }
        Expr::Unary(_, x) | Expr::ReduceLanes(x) => vec![*x],
        Expr::Binary(_, a, b) => vec![*a, *b],
        Expr::Fma(a, b, c) => vec![*a, *b, *c],
        Expr::Select(_, xs) => xs.to_vec(),
        Expr::Split(n, a, b) => {
            interval(n, scope)?;
            vec![*a, *b]
        }
        Expr::Transposed(xs, _) => xs.clone(),
        Expr::Within(conditions, x) => {
            guarded(conditions, scope)?;
            let inner = Scope {
                exact: false,
                ..scope.clone()
            };
            return expr(k, *x, &inner);
        }
    };
    for o in operands {
        if o >= e {
            return Err("a value reads a later one".into());
        }
        expr(k, o, scope)?;
    }
    Ok(())
}
