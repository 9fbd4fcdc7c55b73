//! Joins nests: an elementwise consumer is computed where its producer finishes.
//!
//! Does not know when that pays; [`crate::passes::fuse`] decides.

use super::affine::Affine;
use super::formula::*;
use crate::ir::DType;

/// Appends an elementwise `consumer` to the last stage of `producer`, whose result `shared` it reads
/// as its operand `operand`. The consumer's other operands become operands of the whole, numbered as
/// `inputs` says; its results are numbered from `first_output` on.
///
/// `None` where the shapes of the two formulas do not allow it: the consumer has one stage without a
/// reduction, reads `shared` only at the element that it writes, and the producer's last stage writes
/// it over the same axes.
pub fn append(
    producer: &Nest,
    shared: TensorId,
    consumer: &Nest,
    operand: u32,
    inputs: &[u32],
    first_output: u32,
) -> Option<Nest> {
    let [stage] = &consumer.stages[..] else {
        return None;
    };
    let last = producer.stages.last()?;
    if stage.combine != Combine::None || !producer.shared.is_empty() || !consumer.shared.is_empty()
    {
        return None;
    }
    let at = last.outs.iter().position(|o| o.tensor == shared)?;
    if producer.ty(shared).dtype != DType::F32 {
        return None;
    }
    let axes = match_axes(&last.outs[at], consumer, stage, operand)?;
    let mut whole = producer.clone();
    let tensors = import_tensors(&mut whole, consumer, shared, operand, inputs, first_output);
    let value = last.finish[at];
    let target = whole.stages.last_mut()?;
    let mut map: Vec<ExprId> = Vec::new();
    for e in &stage.exprs {
        let e = match e {
            Expr::Load(a)
                if consumer.tensors[a.tensor.0 as usize].role == TensorRole::Input(operand) =>
            {
                map.push(value);
                continue;
            }
            Expr::Load(a) => Expr::Load(import_access(a, &tensors, &axes)?),
            Expr::Axis(a) => Expr::Axis(import_affine(a, &axes)?),
            Expr::Unary(f, x) => Expr::Unary(*f, map[x.0 as usize]),
            Expr::Binary(f, a, b) => Expr::Binary(*f, map[a.0 as usize], map[b.0 as usize]),
            Expr::Select(c, xs) => Expr::Select(*c, xs.map(|x| map[x.0 as usize])),
            Expr::Const(_) | Expr::Scalar(_) | Expr::Acc(_) => e.clone(),
        };
        map.push(target.push(e));
    }
    for (out, value) in stage.outs.iter().zip(&stage.finish) {
        target.outs.push(import_access(out, &tensors, &axes)?);
        target.finish.push(map[value.0 as usize]);
    }
    whole.name = format!("{}_{}", producer.name, consumer.name);
    Some(whole)
}

/// For each axis of the consumer the producer's expression; `None` where the operand is read elsewhere.
fn match_axes(
    written: &Access,
    consumer: &Nest,
    stage: &Stage,
    operand: u32,
) -> Option<Vec<Option<Affine<AxisId>>>> {
    let mut axes = vec![None; consumer.axes.len()];
    let reads = stage.exprs.iter().filter_map(|e| match e {
        Expr::Load(a)
            if consumer.tensors[a.tensor.0 as usize].role == TensorRole::Input(operand) =>
        {
            Some(a)
        }
        _ => None,
    });
    for read in reads {
        if read.index.len() != written.index.len() {
            return None;
        }
        for (r, w) in read.index.iter().zip(&written.index) {
            let (Index::Affine(r), Index::Affine(w)) = (r, w) else {
                return None;
            };
            let axis = &mut axes[r.as_var()?.0 as usize];
            if axis.as_ref().is_some_and(|known| known != w) {
                return None;
            }
            *axis = Some(w.clone());
        }
    }
    let covered = stage.own.iter().all(|a| axes[a.0 as usize].is_some());
    covered.then_some(axes)
}

fn import_tensors(
    whole: &mut Nest,
    consumer: &Nest,
    shared: TensorId,
    operand: u32,
    inputs: &[u32],
    first_output: u32,
) -> Vec<TensorId> {
    let mut map = Vec::new();
    for t in &consumer.tensors {
        let role = match t.role {
            TensorRole::Input(k) if k == operand => {
                map.push(shared);
                continue;
            }
            TensorRole::Input(k) => TensorRole::Input(inputs[k as usize]),
            TensorRole::Output(k) => TensorRole::Output(first_output + k),
            TensorRole::Temp => TensorRole::Temp,
        };
        let known = if role == TensorRole::Temp {
            None
        } else {
            whole.with_role(role)
        };
        map.push(known.unwrap_or_else(|| {
            whole.tensors.push(Tensor { role, ..t.clone() });
            TensorId(whole.tensors.len() as u32 - 1)
        }));
    }
    map
}

fn import_affine(a: &Affine<AxisId>, axes: &[Option<Affine<AxisId>>]) -> Option<Affine<AxisId>> {
    a.terms
        .iter()
        .all(|t| axes[t.0.0 as usize].is_some())
        .then(|| {
            a.substitute(|v| {
                axes[v.0 as usize]
                    .clone()
                    .unwrap_or_else(|| Affine::constant(0))
            })
        })
}

fn import_access(
    a: &Access,
    tensors: &[TensorId],
    axes: &[Option<Affine<AxisId>>],
) -> Option<Access> {
    let index = a
        .index
        .iter()
        .map(|i| match i {
            Index::Affine(a) => import_affine(a, axes).map(Index::Affine),
            Index::Lookup(t, a) => {
                import_affine(a, axes).map(|a| Index::Lookup(tensors[t.0 as usize], a))
            }
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Access {
        tensor: tensors[a.tensor.0 as usize],
        index,
    })
}

/// Drops the stores to results that nobody reads. A nest keeps at least one store.
pub fn drop_unused(nest: &mut Nest, used: impl Fn(u32) -> bool) {
    for stage in &mut nest.stages {
        let keep: Vec<bool> = stage
            .outs
            .iter()
            .map(|o| match nest.tensors[o.tensor.0 as usize].role {
                TensorRole::Output(k) => used(k),
                _ => true,
            })
            .collect();
        let mut k = keep.iter();
        stage.outs.retain(|_| *k.next().unwrap_or(&true));
        let mut k = keep.iter();
        stage.finish.retain(|_| *k.next().unwrap_or(&true));
    }
    nest.stages.retain(|s| !s.outs.is_empty());
}
