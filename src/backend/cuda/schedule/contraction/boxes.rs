//! Boxes: what a tile needs of a factor, and how the threads of a block bring it into shared memory.
//!
//! Neighbouring dimensions that a box takes whole are one line of memory. Where a line is of whole rows of four that start
//! at multiples of four, a thread reads four elements at once. Does not know what is multiplied.

use super::{Cut, Tiles};
use crate::backend::cuda::schedule::choose::pitch;
use crate::backend::cuda::schedule::product::{Factor, Product};
use crate::backend::cuda::schedule::{Builder, Home, around, when};
use crate::ir::DType;
use crate::nest::loops::{At, BufId, Dim, Expr as V, Kind, Stmt, Uniform, ValueId, Var, Write};
use crate::nest::{Affine, Expr, ExprId, Index};

/// Elements of a row.
const ROW: i64 = 4;
/// Elements of a sector of memory: two rows.
const SECTOR: i64 = 8;

/// A dimension of a factor's box.
#[derive(Clone)]
pub struct Side {
    /// The first index, in terms of tiles' starts.
    pub start: At,
    /// The index within the box, in terms of places within tiles.
    pub local: At,
    pub extent: i64,
    /// The tensor's size; none for the images.
    pub size: Option<i64>,
    /// Elements from one index to the next, in shared memory.
    pub stride: i64,
    /// Places in shared memory: rows of four end with zeros.
    pub padded: i64,
}

/// What a tile needs of a factor, in shared memory.
pub struct Bring {
    pub sides: Vec<Side>,
    pub buf: BufId,
}

impl Bring {
    /// The address of the element that the factor reads.
    pub fn at(&self) -> At {
        let terms = self.sides.iter().map(|s| s.local.clone() * s.stride);
        terms.fold(Affine::constant(0), |sum, t| sum + t)
    }
}

impl Builder<'_> {
    /// The box of a factor; `innermost` is the place whose dimension comes last in shared memory.
    pub(super) fn plan(
        &mut self,
        p: &Product,
        cuts: &[Cut],
        f: &Factor,
        innermost: Option<Var>,
        name: &str,
    ) -> Bring {
        let ty = self.n.ty(f.access.tensor);
        let skip = f.access.index.len() - ty.dims.len();
        let sizes: Vec<Option<i64>> = (0..f.access.index.len())
            .map(|d| d.checked_sub(skip).map(|d| i64::from(ty.dims[d])))
            .collect();
        let mut sides: Vec<Side> = Vec::new();
        for (i, size) in f.access.index.iter().zip(sizes) {
            let (Index::Affine(i) | Index::Lookup(_, i)) = i;
            let at = i.substitute(|x| p.axes[&x].clone());
            sides.push(side(cuts, &at, size));
        }
        let last = innermost.and_then(|v| sides.iter().position(|s| s.local.uses(v)));
        let order = (0..sides.len()).filter(|&d| Some(d) != last).chain(last);
        let mut stride = 1;
        for d in order.collect::<Vec<_>>().into_iter().rev() {
            sides[d].stride = stride;
            stride *= sides[d].extent;
            if Some(d) == last {
                sides[d].padded = (sides[d].extent + 3) & !3;
                stride = pitch(sides[d].extent);
            }
        }
        let buf = self.share(name, stride);
        Bring { sides, buf }
    }

    /// Brings a box into shared memory: the threads take its elements in the order of the tensor.
    pub(super) fn bring(&mut self, t: &Tiles, f: &Factor, to: &Bring) -> Vec<Stmt> {
        let lines = lines(&to.sides);
        let wide = self.has_rows(t, f, &lines);
        let step = if wide { ROW } else { 1 };
        let places: Vec<Var> = lines.iter().map(|_| self.k.var("e")).collect();
        let (mut inside, mut dims, mut index) = (vec![], vec![], vec![]);
        let mut at = Affine::constant(0);
        for (k, (s, &e)) in lines.iter().zip(&places).enumerate() {
            let i = s.start.clone() + Affine::var(e);
            match s.size {
                None => inside.push(self.is_valid(i.clone())),
                Some(size) => inside.extend(t.bounds(s, &i, size)),
            }
            if s.padded > s.extent {
                inside.push(Affine::var(e) * -1 + (s.extent - 1));
            }
            at = at + Affine::var(e) * s.stride;
            let step = if k + 1 == lines.len() { step } else { 1 };
            dims.push(Dim::range(e, 0, s.padded, step));
            index.push(i);
        }
        if wide {
            self.across(&lines, &mut dims, [&mut at], [&mut inside, &mut index]);
        }
        let Home::Memory(buf) = self.homes[f.access.tensor.0 as usize] else {
            panic!("factors lie in memory")
        };
        let flat = self.flat(f, &lines, &index);
        let body = if wide {
            let stride = lines.last().map_or(1, |s| s.stride);
            self.bring_row((buf, flat), (to.buf, at, stride), inside)
        } else {
            let read = self.read(f.access, |_| index[0].clone());
            let element = self.k.value(V::Load(buf, flat, read));
            let mut value = self.factor(t.p, f.expr, element);
            if !inside.is_empty() {
                value = self.k.value(V::Within(inside, value));
            }
            vec![Stmt::Store {
                buf: to.buf,
                at,
                how: Write::First,
                value,
            }]
        };
        around(dims, Kind::Threads, body)
    }

    /// Where rows are written across those of shared memory, neighbouring threads take two rows of memory, a sector,
    /// and then their neighbours across: they write neighbouring banks.
    fn across(
        &mut self,
        lines: &[Side],
        dims: &mut Vec<Dim>,
        one: [&mut At; 1],
        lists: [&mut Vec<At>; 2],
    ) {
        let close = lines.iter().position(|s| s.stride == 1);
        let (Some(close), Some(line)) = (close, lines.last()) else {
            return;
        };
        if close + 1 == lines.len() {
            return;
        }
        let (Some(old), low) = (dims.pop(), self.k.var("e")) else {
            return;
        };
        let neighbours = dims.remove(close);
        dims.push(Dim::range(old.var, 0, line.extent, SECTOR));
        dims.push(neighbours);
        dims.push(Dim::range(low, 0, SECTOR, ROW));
        let both = |a: &At| {
            a.substitute(|v| {
                let low = if v == old.var {
                    Affine::var(low)
                } else {
                    Affine::constant(0)
                };
                Affine::var(v) + low
            })
        };
        let lists = lists.into_iter().flatten();
        one.into_iter().chain(lists).for_each(|a| *a = both(a));
    }

    /// The address in the tensor, or in its looked-up entry.
    fn flat(&self, f: &Factor, lines: &[Side], index: &[At]) -> At {
        let lookup = matches!(f.access.index.first(), Some(Index::Lookup(..)));
        let skip = usize::from(lookup);
        let sized = index.iter().zip(lines).skip(skip);
        sized.fold(Affine::constant(0), |f, (i, s)| {
            f * s.size.unwrap_or(1) + i.clone()
        })
    }

    /// Whether the innermost line can be read by rows.
    fn has_rows(&self, t: &Tiles, f: &Factor, lines: &[Side]) -> bool {
        let plain = matches!(t.p.stage.exprs[f.expr.0 as usize], Expr::Load(_));
        let lookup = matches!(f.access.index.first(), Some(Index::Lookup(..)));
        let Some(line) = lines.last().filter(|_| plain && !lookup) else {
            return false;
        };
        let f32s = self.n.ty(f.access.tensor).dtype == DType::F32;
        let starts = |a: &At| {
            let terms = a.terms.iter().all(|&(v, c)| c * t.step_of(v) % ROW == 0);
            terms && a.constant % ROW == 0
        };
        let whole = if line.stride == 1 { ROW } else { SECTOR };
        f32s && line.size.is_some_and(|s| s % ROW == 0)
            && line.extent % whole == 0
            && line.padded == line.extent
            && starts(&line.start)
    }

    /// Four neighbours from memory to shared memory, where they lie `stride` apart; zeros outside of the tensor.
    fn bring_row(
        &mut self,
        (from, flat): (BufId, At),
        (to, at, stride): (BufId, At, i64),
        inside: Vec<At>,
    ) -> Vec<Stmt> {
        let reg = self.k.reg("row", &[ROW as u32]);
        let index = |q: i64| vec![Affine::constant(q)];
        let mut out = Vec::new();
        if !inside.is_empty() {
            let zero = self.k.constant(0.0);
            out.extend((0..ROW).map(|q| Stmt::Set {
                reg,
                index: index(q),
                value: zero,
            }));
        }
        let width = ROW as u32;
        let load = Stmt::SetRow {
            reg,
            index: index(0),
            buf: from,
            at: flat,
            width,
        };
        out.extend(when(inside, vec![load]));
        let aligned = stride == 1 && at.terms.iter().all(|t| t.1 % ROW == 0 || t.1 == 1);
        if aligned {
            out.push(Stmt::StoreRow {
                reg,
                index: index(0),
                buf: to,
                at,
                width,
            });
            return out;
        }
        out.extend((0..ROW).map(|q| Stmt::Store {
            buf: to,
            at: at.clone() + q * stride,
            how: Write::First,
            value: self.k.get(reg, &index(q)),
        }));
        out
    }

    /// A factor's expression of its element.
    fn factor(&mut self, p: &Product, e: ExprId, element: ValueId) -> ValueId {
        let v = match &p.stage.exprs[e.0 as usize] {
            Expr::Load(_) => return element,
            Expr::Unary(f, x) => V::Unary(*f, self.factor(p, *x, element)),
            Expr::Binary(f, a, b) => {
                let [a, b] = [a, b].map(|x| self.factor(p, *x, element));
                V::Binary(*f, a, b)
            }
            Expr::Const(bits) => V::Const(*bits),
            Expr::Scalar(s) => V::Uniform(Uniform::Scalar(*s)),
            Expr::Axis(_) | Expr::Acc(_) | Expr::Random { .. } | Expr::Select(..) => {
                unreachable!("a factor has none of these")
            }
        };
        self.k.value(v)
    }
}

/// The sides of a box, neighbours in memory as one where the inner one is taken whole.
fn lines(sides: &[Side]) -> Vec<Side> {
    let mut out: Vec<Side> = Vec::new();
    for s in sides.iter().rev() {
        let inner = out.last_mut();
        let whole = inner.filter(|i| {
            let all = i.start == Affine::constant(0) && i.size == Some(i.extent);
            let close = s.stride == i.stride * i.extent && s.size.is_some();
            all && close && i.padded == i.extent && s.padded == s.extent
        });
        let Some(i) = whole else {
            out.push(s.clone());
            continue;
        };
        *i = Side {
            start: s.start.clone() * i.extent,
            local: Affine::constant(0),
            extent: s.extent * i.extent,
            size: s.size.map(|n| n * i.extent),
            stride: i.stride,
            padded: s.extent * i.extent,
        };
    }
    out.reverse();
    out
}

/// A dimension of a box: where it starts, and the places within.
fn side(cuts: &[Cut], at: &At, size: Option<i64>) -> Side {
    let mut start = Affine::constant(at.constant);
    let mut local = Affine::constant(0);
    let mut extent = 1;
    for &(v, c) in &at.terms {
        let Some(cut) = cuts.iter().find(|x| x.var == v) else {
            continue;
        };
        if let Some(s) = cut.start {
            start = start + Affine::var(s) * c;
        }
        local = local + cut.place() * c;
        extent += c.abs() * (cut.size - 1);
        if c < 0 {
            start = start + c * (cut.size - 1);
            local = local - c * (cut.size - 1);
        }
    }
    Side {
        start,
        local,
        extent,
        size,
        stride: 0,
        padded: extent,
    }
}

impl Tiles<'_> {
    /// What must be non-negative for index `i` of a side to lie in the tensor, where tiles may leave it.
    fn bounds(&self, s: &Side, i: &At, size: i64) -> Vec<At> {
        let (mut lo, mut hi) = (s.start.constant, s.start.constant + s.extent - 1);
        for &(v, c) in &s.start.terms {
            let cut = self.cuts.iter().find(|x| x.start == Some(v));
            let last = cut.map_or(0, |x| (x.trips - 1) / x.size * x.size) * c;
            (lo, hi) = (lo + last.min(0), hi + last.max(0));
        }
        let mut out = Vec::new();
        if lo < 0 {
            out.push(i.clone());
        }
        if hi >= size {
            out.push(i.clone() * -1 + (size - 1));
        }
        out
    }
}
