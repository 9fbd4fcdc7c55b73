//! Checks a kernel. A violation is a bug of the compiler, never of its input.
//!
//! What holds:
//! 1. every value reads earlier ones; every register index has as many parts as its array;
//! 2. a variable is used only inside the loop that binds it (or is the tile);
//! 3. an unrolled loop has constant bounds and one dimension;
//! 4. with the bounds of all loops put in, every access of memory lies within its buffer.
//!
//! The last is proved by interval arithmetic over the loops' constant bounds, widened where a bound
//! depends on other variables; what it cannot prove is rejected.

use std::collections::BTreeMap;

use super::*;

type Ranges = BTreeMap<Var, (i64, i64)>;

/// The first violation, if there is one.
pub fn verify(k: &Kernel) -> Result<(), String> {
    let mut ranges = Ranges::new();
    if let Some((v, n)) = k.tile {
        ranges.insert(v, (0, i64::from(n) - 1));
    }
    body(k, &k.body, &mut ranges).map_err(|e| format!("kernel {}: {e}", k.name))
}

fn body(k: &Kernel, stmts: &[Stmt], ranges: &mut Ranges) -> Result<(), String> {
    for s in stmts {
        match s {
            Stmt::For {
                dims,
                kind,
                body: inner,
            } => {
                let mut empty = false;
                for d in dims {
                    let lower = d
                        .lower
                        .iter()
                        .map(|q| quotient(q, ranges))
                        .collect::<Result<Vec<_>, _>>()?;
                    let upper = d
                        .upper
                        .iter()
                        .map(|q| quotient(q, ranges))
                        .collect::<Result<Vec<_>, _>>()?;
                    let fixed = lower.iter().chain(&upper).all(|r| r.0 == r.1);
                    if *kind == Kind::Unrolled && (!fixed || dims.len() != 1) {
                        return Err("an unrolled loop without constant bounds".into());
                    }
                    let lo = lower.iter().map(|r| r.0).max().unwrap_or(0);
                    let hi = upper.iter().map(|r| r.1).min().unwrap_or(0) - 1;
                    empty |= hi < lo;
                    ranges.insert(d.var, (lo, hi.max(lo)));
                }
                if !empty {
                    body(k, inner, ranges)?;
                }
                for d in dims {
                    ranges.remove(&d.var);
                }
            }
            Stmt::If {
                conditions,
                body: inner,
            } => {
                for c in conditions {
                    interval(c, ranges)?;
                }
                guarded(k, conditions, inner, ranges)?;
            }
            Stmt::Set { reg, index, value } => {
                register(k, *reg, index, ranges)?;
                expr(k, *value, ranges)?;
            }
            Stmt::Store {
                buf,
                at,
                how,
                value,
            } => {
                let width = if *how == Write::Vector {
                    i64::from(k.lanes)
                } else {
                    1
                };
                within(k, *buf, at, width, ranges)?;
                expr(k, *value, ranges)?;
            }
        }
    }
    Ok(())
}

/// Narrows the range of a variable that a condition bounds alone; a body that cannot run is not checked.
fn guarded(k: &Kernel, conditions: &[At], inner: &[Stmt], ranges: &Ranges) -> Result<(), String> {
    let mut narrow = ranges.clone();
    for c in conditions {
        if interval(c, &narrow)?.1 < 0 {
            return Ok(());
        }
        for &(v, f) in &c.terms {
            let rest = interval(&(c.clone() - Affine::var(v) * f), &narrow)?;
            let Some(r) = narrow.get_mut(&v) else {
                continue;
            };
            if f > 0 {
                r.0 = r.0.max((-rest.1 + f - 1).div_euclid(f));
            } else {
                r.1 = r.1.min(rest.1.div_euclid(-f));
            }
            if r.1 < r.0 {
                return Ok(());
            }
        }
    }
    body(k, inner, &mut narrow)
}

fn quotient(q: &Quotient, ranges: &Ranges) -> Result<(i64, i64), String> {
    let (lo, hi) = interval(&q.num, ranges)?;
    Ok((lo.div_euclid(q.div), hi.div_euclid(q.div)))
}

fn interval(a: &At, ranges: &Ranges) -> Result<(i64, i64), String> {
    let (mut lo, mut hi) = (a.constant, a.constant);
    for (v, c) in &a.terms {
        let &(l, h) = ranges
            .get(v)
            .ok_or_else(|| format!("variable {} is not bound", v.0))?;
        lo += if *c > 0 { c * l } else { c * h };
        hi += if *c > 0 { c * h } else { c * l };
    }
    Ok((lo, hi))
}

fn register(k: &Kernel, reg: RegId, index: &[At], ranges: &Ranges) -> Result<(), String> {
    let dims = &k.regs[reg.0 as usize].dims;
    if dims.len() != index.len() {
        return Err(format!(
            "register {} has {} dimensions",
            k.regs[reg.0 as usize].name,
            dims.len()
        ));
    }
    for (i, &d) in index.iter().zip(dims) {
        let (lo, hi) = interval(i, ranges)?;
        if lo < 0 || hi >= i64::from(d) {
            return Err(format!(
                "register {} is read outside",
                k.regs[reg.0 as usize].name
            ));
        }
    }
    Ok(())
}

fn within(k: &Kernel, buf: BufId, at: &At, width: i64, ranges: &Ranges) -> Result<(), String> {
    let b = &k.buffers[buf.0 as usize];
    let (lo, hi) = interval(at, ranges)?;
    if lo < 0 || (hi + width) as u64 > b.len {
        return Err(format!(
            "{}[{lo}..{}] is outside of {} elements",
            b.name,
            hi + width,
            b.len
        ));
    }
    Ok(())
}

fn expr(k: &Kernel, e: ValueId, ranges: &Ranges) -> Result<(), String> {
    let operands: Vec<ValueId> = match &k.exprs[e.0 as usize] {
        Expr::Const(_) | Expr::Uniform(_) => vec![],
        Expr::Number(a) | Expr::Lane(a) => {
            interval(a, ranges)?;
            vec![]
        }
        Expr::Reg(r, index) => {
            register(k, *r, index, ranges)?;
            vec![]
        }
        Expr::Load(b, at, how) => {
            let lanes = i64::from(k.lanes);
            match how {
                Read::Vector => within(k, *b, at, lanes, ranges)?,
                Read::Splat => within(k, *b, at, 1, ranges)?,
                Read::Lookup {
                    index,
                    index_at,
                    stride,
                } => {
                    within(k, *index, index_at, lanes, ranges)?;
                    let (lo, hi) = interval(at, ranges)?;
                    if lo < 0 || hi >= *stride {
                        return Err("a lookup reads outside of its entry".into());
                    }
                }
            }
            vec![]
        }
        Expr::Unary(_, x) | Expr::ReduceLanes(x) => vec![*x],
        Expr::Binary(_, a, b) => vec![*a, *b],
        Expr::Fma(a, b, c) => vec![*a, *b, *c],
        Expr::Select(_, xs) => xs.to_vec(),
        Expr::Transposed(xs, _) => xs.clone(),
    };
    for o in operands {
        if o >= e {
            return Err("a value reads a later one".into());
        }
        expr(k, o, ranges)?;
    }
    Ok(())
}
