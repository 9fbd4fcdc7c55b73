//! Joins nests: an elementwise consumer is computed where its producer finishes.
//!
//! Does not know when that pays; [`crate::passes::fuse`] decides.

use super::affine::Affine;
use super::formula::*;
use super::substitute::renumbered;
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
    // A result that several stages write is complete only after the last of them.
    let writers = producer
        .stages
        .iter()
        .filter(|s| s.outs.iter().any(|o| o.tensor == shared));
    if writers.count() > 1 {
        return None;
    }
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
            Expr::Random { stream, element } => Expr::Random {
                stream: *stream,
                element: import_affine(element, &axes)?,
            },
            e => renumbered(e, |x| map[x.0 as usize]),
        };
        map.push(target.push(e));
    }
    for (out, value) in stage.outs.iter().zip(&stage.finish) {
        target.outs.push(import_access(out, &tensors, &axes)?);
        target.finish.push(map[value.0 as usize]);
    }
    whole.name = joined(&producer.name, &consumer.name);
    Some(whole)
}

/// What a nest's results are computed from: numbers, elements and functions, each counted as often as it is read. A
/// formula is computed and printed as it is written out, so this bounds what a kernel becomes.
pub fn written_out(nest: &Nest) -> u64 {
    let stages = nest.stages.iter().map(stage_written_out);
    stages.fold(0, u64::saturating_add)
}

/// As many operations a random number takes that it counts as so many functions.
const RANDOM: u64 = 16;

fn stage_written_out(s: &Stage) -> u64 {
    let mut sizes: Vec<u64> = Vec::with_capacity(s.exprs.len());
    for e in &s.exprs {
        let read = operands(e).map(|x| sizes[x.0 as usize]);
        let own = match e {
            Expr::Random { .. } => RANDOM,
            _ => 1,
        };
        sizes.push(read.fold(own, u64::saturating_add));
    }
    let combined = (s.combine != Combine::None).then_some(&s.body);
    let roots = s.finish.iter().chain(combined);
    let roots = roots.map(|x| sizes[x.0 as usize]);
    roots.fold(0, u64::saturating_add)
}

/// The name of both together. That of a long chain says that more is in it.
fn joined(first: &str, second: &str) -> String {
    const MOST: usize = 64;
    const MORE: &str = "_and_more";
    match first.len() + 1 + second.len() <= MOST {
        true if !first.ends_with(MORE) => format!("{first}_{second}"),
        _ => format!("{}{MORE}", first.trim_end_matches(MORE)),
    }
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
        let dims = &consumer.ty(read.tensor).dims;
        let skip = read.index.len() - dims.len();
        for (k, (r, w)) in read.index.iter().zip(&written.index).enumerate() {
            let (Index::Affine(r), Index::Affine(w)) = (r, w) else {
                return None;
            };
            let variable = r.as_var()?;
            // A consumer of a part runs over fewer elements than the producer.
            if k >= skip && consumer.extent(variable) != Extent::Static(dims[k - skip]) {
                return None;
            }
            let axis = &mut axes[variable.0 as usize];
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

/// Writes `number` wherever operand `k`, a tensor of rank zero, is read.
pub fn inline(nest: &mut Nest, k: u32, number: Expr) {
    let Some(tensor) = nest.with_role(TensorRole::Input(k)) else {
        return;
    };
    for e in nest.stages.iter_mut().flat_map(|s| &mut s.exprs) {
        if matches!(e, Expr::Load(a) if a.tensor == tensor) {
            *e = number.clone();
        }
    }
}

/// Drops expressions that no result depends on, and tensors that no formula touches.
pub fn prune(nest: &mut Nest) {
    for s in &mut nest.stages {
        drop_expressions(s);
    }
    let mut used = vec![false; nest.tensors.len()];
    for_each_access(nest, |a| {
        used[a.tensor.0 as usize] = true;
        for i in &a.index {
            if let Index::Lookup(t, _) = i {
                used[t.0 as usize] = true;
            }
        }
    });
    let mut next = 0;
    let number: Vec<TensorId> = used
        .iter()
        .map(|&u| {
            next += u32::from(u);
            TensorId(next.saturating_sub(1))
        })
        .collect();
    for_each_access(nest, |a| {
        a.tensor = number[a.tensor.0 as usize];
        for i in &mut a.index {
            if let Index::Lookup(t, _) = i {
                *t = number[t.0 as usize];
            }
        }
    });
    let mut used = used.into_iter();
    nest.tensors.retain(|_| used.next() == Some(true));
}

fn for_each_access(nest: &mut Nest, mut f: impl FnMut(&mut Access)) {
    for s in &mut nest.stages {
        s.outs.iter_mut().for_each(&mut f);
        for e in &mut s.exprs {
            if let Expr::Load(a) = e {
                f(a);
            }
        }
    }
}

/// Operands are earlier entries, so one pass from the end finds all that is needed.
fn drop_expressions(s: &mut Stage) {
    let mut needed = vec![false; s.exprs.len()];
    for e in s.finish.iter().chain([&s.body]) {
        needed[e.0 as usize] = true;
    }
    for k in (0..s.exprs.len()).rev() {
        if needed[k] {
            operands(&s.exprs[k]).for_each(|x| needed[x.0 as usize] = true);
        }
    }
    let mut kept = 0;
    let number: Vec<ExprId> = needed
        .iter()
        .map(|&n| {
            kept += u32::from(n);
            ExprId(kept.saturating_sub(1))
        })
        .collect();
    let moved = |e: &mut ExprId| *e = number[e.0 as usize];
    for e in &mut s.exprs {
        match e {
            Expr::Unary(_, x) => moved(x),
            Expr::Binary(_, a, b) => {
                moved(a);
                moved(b);
            }
            Expr::Select(_, xs) => xs.iter_mut().for_each(moved),
            Expr::Const(_)
            | Expr::Scalar(_)
            | Expr::Axis(_)
            | Expr::Load(_)
            | Expr::Acc(_)
            | Expr::Random { .. } => {}
        }
    }
    s.finish.iter_mut().for_each(moved);
    moved(&mut s.body);
    let mut needed = needed.into_iter();
    s.exprs.retain(|_| needed.next() == Some(true));
}

/// The expressions that this one reads.
pub fn operands(e: &Expr) -> impl Iterator<Item = ExprId> {
    let [a, b, c, d] = match e {
        Expr::Unary(_, x) => [Some(*x), None, None, None],
        Expr::Binary(_, a, b) => [Some(*a), Some(*b), None, None],
        Expr::Select(_, xs) => xs.map(Some),
        Expr::Const(_)
        | Expr::Scalar(_)
        | Expr::Axis(_)
        | Expr::Load(_)
        | Expr::Acc(_)
        | Expr::Random { .. } => [None; 4],
    };
    [a, b, c, d].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn the_name_of_a_long_chain_says_that_more_is_in_it() {
        assert_eq!(joined("linear", "relu"), "linear_relu");
        let mut name = String::from("conv2d");
        for _ in 0..100 {
            name = joined(&name, "sigmoid");
        }
        assert!(
            name.starts_with("conv2d_sigmoid_") && name.len() < 80,
            "{name}"
        );
        assert_eq!(name.matches("_and_more").count(), 1);
    }
}
