//! Computes an elementwise producer where its result is read: no memory, no kernel of its own.
//!
//! Right for what costs less than reading it back, such as gathering bytes by an index. Does not know when that
//! pays; a backend decides.

use super::affine::Affine;
use super::formula::*;

/// Replaces every read of operand `operand` of `consumer` by the formula of `producer`, whose first result the
/// operand is. The producer's operands become operands of the whole, numbered as `inputs` says.
///
/// `None` where the formulas do not allow it: the producer has one stage without a reduction that stores its
/// result element by element, and the operand is read at affine indices of the same rank.
pub fn substitute(consumer: &Nest, operand: u32, producer: &Nest, inputs: &[u32]) -> Option<Nest> {
    let [stage] = &producer.stages[..] else {
        return None;
    };
    let ([out], [value]) = (&stage.outs[..], &stage.finish[..]) else {
        return None;
    };
    if stage.combine != Combine::None || !producer.shared.is_empty() {
        return None;
    }
    let mut whole = consumer.clone();
    let read = whole.with_role(TensorRole::Input(operand))?;
    let tensors: Vec<TensorId> = producer
        .tensors
        .iter()
        .map(|t| import(&mut whole, t, inputs))
        .collect();
    for s in &mut whole.stages {
        let old = std::mem::take(&mut s.exprs);
        let mut map: Vec<ExprId> = Vec::new();
        for e in &old {
            let new = match e {
                Expr::Load(a) if a.tensor == read => {
                    let axes = Axes::new(out, a)?;
                    let parts: Vec<ExprId> = stage.exprs.iter().try_fold(vec![], |mut p, e| {
                        let e = axes.expr(e, &tensors, &p)?;
                        p.push(s.push(e));
                        Some(p)
                    })?;
                    parts[value.0 as usize]
                }
                e => s.push(renumbered(e, |x| map[x.0 as usize])),
            };
            map.push(new);
        }
        s.body = map[s.body.0 as usize];
        s.finish.iter_mut().for_each(|f| *f = map[f.0 as usize]);
    }
    super::prune(&mut whole);
    Some(whole)
}

/// The tensor of the whole that this one of the producer is; its result is left out, as nothing stores it.
fn import(whole: &mut Nest, t: &Tensor, inputs: &[u32]) -> TensorId {
    let role = match t.role {
        TensorRole::Input(k) => TensorRole::Input(inputs[k as usize]),
        role => role,
    };
    let known = whole
        .with_role(role)
        .filter(|_| matches!(role, TensorRole::Input(_)));
    known.unwrap_or_else(|| {
        whole.tensors.push(Tensor { role, ..t.clone() });
        TensorId(whole.tensors.len() as u32 - 1)
    })
}

/// Which of the consumer's indices each axis of the producer is.
struct Axes(Vec<(AxisId, Affine<AxisId>)>);

impl Axes {
    fn new(written: &Access, read: &Access) -> Option<Self> {
        if written.index.len() != read.index.len() {
            return None;
        }
        let pairs = written.index.iter().zip(&read.index);
        let pairs = pairs.map(|(w, r)| match (w, r) {
            (Index::Affine(w), Index::Affine(r)) => Some((w.as_var()?, r.clone())),
            _ => None,
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }

    fn affine(&self, a: &Affine<AxisId>) -> Option<Affine<AxisId>> {
        let of = |v: AxisId| self.0.iter().find(|p| p.0 == v).map(|p| p.1.clone());
        let known = a.terms.iter().all(|t| of(t.0).is_some());
        known.then(|| a.substitute(|v| of(v).unwrap_or_else(|| Affine::constant(0))))
    }

    fn expr(&self, e: &Expr, tensors: &[TensorId], parts: &[ExprId]) -> Option<Expr> {
        Some(match e {
            Expr::Load(a) => {
                let index = a.index.iter().map(|i| match i {
                    Index::Affine(a) => self.affine(a).map(Index::Affine),
                    Index::Lookup(t, a) => self
                        .affine(a)
                        .map(|a| Index::Lookup(tensors[t.0 as usize], a)),
                });
                Expr::Load(Access {
                    tensor: tensors[a.tensor.0 as usize],
                    index: index.collect::<Option<Vec<_>>>()?,
                })
            }
            Expr::Axis(a) => Expr::Axis(self.affine(a)?),
            Expr::Random { stream, element } => Expr::Random {
                stream: *stream,
                element: self.affine(element)?,
            },
            e => renumbered(e, |x| parts[x.0 as usize]),
        })
    }
}

/// The expression with other operands.
pub(super) fn renumbered(e: &Expr, map: impl Fn(ExprId) -> ExprId) -> Expr {
    match e {
        Expr::Unary(f, x) => Expr::Unary(*f, map(*x)),
        Expr::Binary(f, a, b) => Expr::Binary(*f, map(*a), map(*b)),
        Expr::Select(c, xs) => Expr::Select(*c, xs.map(map)),
        e => e.clone(),
    }
}
