//! Addresses, and expressions of a nest as values of a kernel.
//!
//! A tensor of the batch lies as `[dims…][block]`, any other one row-major. Does not know tiles or loops.

use super::{Home, Place, Scheduler};
use crate::ir::Leading;
use crate::nest::loops::{At, Draw, Expr as V, Lanes, Read, Uniform, ValueId};
use crate::nest::{Access, Affine, AxisId, Expr, ExprId, Index};

impl Scheduler<'_> {
    /// The address of an element, in elements of its buffer.
    pub(super) fn address(&self, place: &Place, a: &Access) -> At {
        let ty = self.n.ty(a.tensor);
        let skip = a.index.len() - ty.dims.len();
        if place.axes.is_empty() && ty.leading == Leading::None {
            return if a.index.is_empty() {
                Affine::constant(0)
            } else {
                place.image.clone()
            };
        }
        let flat = a.index[skip..]
            .iter()
            .zip(&ty.dims)
            .fold(Affine::constant(0), |f, (i, &d)| {
                let Index::Affine(i) = i else {
                    panic!("only the leading axis is looked up")
                };
                f * i64::from(d) + i.substitute(|v| place.axes[&v].clone())
            });
        if ty.is_batch() {
            flat * i64::from(self.options.block) + place.image.clone()
        } else {
            flat
        }
    }

    pub(super) fn value(&mut self, place: &Place, e: ExprId) -> ValueId {
        if let Some(&kept) = self.kept.get(&e) {
            return kept;
        }
        let operand = |s: &mut Self, x: &ExprId| s.value(place, *x);
        let v = match &place.stage.exprs[e.0 as usize] {
            Expr::Const(bits) => V::Const(*bits),
            Expr::Scalar(x) => V::Uniform(Uniform::Scalar(*x)),
            Expr::Axis(a) => {
                let at = a.substitute(|v| place.axes[&v].clone());
                match &place.row {
                    Some(row) if row.varies(&at) => V::Lane(row.start(&at)),
                    _ => V::Number(at),
                }
            }
            Expr::Acc(k) => return place.acc[*k as usize],
            Expr::Random { stream, element } => V::Random(draw(place, *stream, element)),
            Expr::Load(a) => self.load(place, a),
            Expr::Unary(f, x) => V::Unary(*f, operand(self, x)),
            Expr::Binary(f, a, b) => {
                let (a, b) = (operand(self, a), operand(self, b));
                V::Binary(*f, a, b)
            }
            Expr::Select(c, xs) => {
                let xs = xs.map(|x| operand(self, &x));
                V::Select(*c, xs)
            }
        };
        self.k.value(v)
    }

    pub(super) fn load(&self, place: &Place, a: &Access) -> V {
        let buf = match self.tensors[a.tensor.0 as usize] {
            Home::Register(reg) => return V::Reg(reg, vec![]),
            Home::Memory(buf) => buf,
        };
        let ty = self.n.ty(a.tensor);
        let at = self.address(place, a);
        if let Some(row) = &place.row {
            return V::Load(buf, row.start(&at), self.in_row(row, a, &at));
        }
        if let Some(Index::Lookup(t, _)) = a.index.first() {
            let Home::Memory(index) = self.tensors[t.0 as usize] else {
                panic!("indices lie in memory")
            };
            let stride = ty.elements() as i64;
            return V::Load(
                buf,
                at,
                Read::Lookup {
                    index,
                    index_at: place.image.clone(),
                    stride,
                },
            );
        }
        let parameters = place.axes.is_empty() && !ty.dims.is_empty();
        V::Load(
            buf,
            at,
            if ty.is_batch() || parameters {
                Read::Vector
            } else {
                Read::Splat
            },
        )
    }
}

/// The numbers of a vector: of neighbouring images, or of neighbours within one.
fn draw(place: &Place, stream: u32, element: &Affine<AxisId>) -> Draw {
    let at = element.substitute(|v| place.axes[&v].clone());
    let (element, image) = match &place.row {
        Some(row) => {
            let element = Lanes {
                at: row.start(&at),
                step: row.step(&at),
            };
            (element, Lanes::alike(Affine::constant(0)))
        }
        None => {
            let image = Lanes {
                at: place.image.clone(),
                step: 1,
            };
            (Lanes::alike(at), image)
        }
    };
    Draw {
        stream,
        element,
        image,
    }
}
