//! Which groups of operators share a launch, and in which order launches run.
//!
//! A launch costs a few microseconds, as much as a small layer's work, so few launches matter more than most things:
//! - what gathers the batch, or fills it with one number, is computed where it is read;
//! - groups that do not wait for each other share a launch: all gradients of parameters stand together behind
//!   the last activation's gradient, then all updates;
//! - neighbouring layers of little work form a *chain*: a block of threads takes a few images through all of them.
//!
//! Does not know schedules or memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{Leading, Value};
use crate::nest::{self, Binary, Combine, Expr, ExprId, Index, Stage, TensorRole};
use crate::ops::Graph;
use crate::passes::fuse::{Group, MOST_WRITTEN_OUT, number, storage};

use super::chains;
use super::segments::{Classes, Launch, MOST_BUFFERS, Work, pack};
use crate::backend::values::touches_batch;

/// Multiply-adds and elements of an image up to which a group is small.
const SMALL_MACS: u64 = 16 << 10;
const SMALL_ELEMENTS: u64 = 2 << 10;

/// Computes what only fetches or fills the batch where it is read.
pub fn inline_sources(g: &Graph, mut groups: Vec<Group>) -> Vec<Group> {
    let mut at = 0;
    while at < groups.len() {
        if !is_source(g, &groups[at]) || !inline(&mut groups, at) {
            at += 1;
        }
    }
    groups
}

/// True for an elementwise group that reads the data set or numbers only.
fn is_source(g: &Graph, group: &Group) -> bool {
    let cheap = |v: &Value| {
        let ty = g.ty(*v);
        ty.leading == Leading::Dataset || ty.dims.is_empty()
    };
    let [output] = group.outputs[..] else {
        return false;
    };
    // A random number is dearer than reading it back.
    let mut exprs = group.nest.stages.iter().flat_map(|s| &s.exprs);
    if exprs.any(|e| matches!(e, Expr::Random { .. })) {
        return false;
    }
    let named = || g.outputs.iter().any(|o| storage(g, o.value) == output);
    touches_batch(g, group) && group.reads().iter().all(cheap) && !named()
}

/// Puts the formula of one group into all that read it, and takes the group out; does nothing where one of them cannot
/// take it, or would become long.
fn inline(groups: &mut Vec<Group>, at: usize) -> bool {
    let source = &groups[at];
    let mut changed = Vec::new();
    for (k, group) in groups.iter().enumerate().skip(at + 1) {
        if !group.reads().contains(&source.outputs[0]) {
            continue;
        }
        let Some(group) = with_source(group, source) else {
            return false;
        };
        changed.push((k, group));
    }
    for (k, group) in changed {
        groups[k] = group;
    }
    groups.remove(at);
    true
}

/// A group with the formula of a source in place of its value. A join may read it as several of its operands.
fn with_source(group: &Group, source: &Group) -> Option<Group> {
    let mut group = group.clone();
    while group.reads().contains(&source.outputs[0]) {
        let operand = reading(&group, source.outputs[0])?;
        let number = |v: &Value| number(&mut group.inputs, *v);
        let numbers: Vec<u32> = source.inputs.iter().map(number).collect();
        group.nest = nest::substitute(&group.nest, operand, &source.nest, &numbers)?;
        if nest::written_out(&group.nest) > MOST_WRITTEN_OUT {
            return None;
        }
    }
    Some(group)
}

/// The first operand through which a group reads a value.
fn reading(group: &Group, v: Value) -> Option<u32> {
    let tensors = group.nest.tensors.iter();
    let mut operands = tensors.filter_map(|t| match t.role {
        TensorRole::Input(k) => Some(k),
        _ => None,
    });
    operands.find(|&k| group.inputs.get(k as usize) == Some(&v))
}

/// The launches of these groups of a phase, in order.
pub fn form(
    g: &Graph,
    groups: &[Group],
    classes: &Classes,
    phase: &[usize],
    batch: u32,
) -> Vec<Launch> {
    let summed = |k: &usize| groups[*k].stores().iter().all(|&v| !g.ty(v).is_batch());
    let (gradients, images): (Vec<usize>, Vec<usize>) = phase.iter().partition(|k| summed(k));
    let key = |round: &[usize]| classes.key(groups, round);
    let level = |level: &[usize]| {
        let rounds = level.iter().map(|&k| vec![k]).collect();
        pack(g, groups, batch, Work::Level, rounds, key)
    };
    let small = |l: &Vec<usize>| l.iter().all(|&k| is_small(g, &groups[k]));
    let levels = levels(groups, &images);
    let mut out = Vec::new();
    for run in levels.chunk_by(|a, b| small(a) && small(b)) {
        match run {
            [one] => out.extend(level(one)),
            _ => out.extend(chains::cut(groups, classes, &run.concat())),
        }
    }
    let rounds = beside(groups, &gradients);
    out.extend(pack(g, groups, batch, Work::Gradients, rounds, key));
    out
}

/// Groups by the length of the longest path to them among these.
pub fn levels(groups: &[Group], among: &[usize]) -> Vec<Vec<usize>> {
    let mut made: BTreeMap<Value, usize> = BTreeMap::new();
    let mut out: Vec<Vec<usize>> = Vec::new();
    for &k in among {
        let reads = groups[k].reads();
        let behind = reads.iter().filter_map(|v| made.get(v));
        let level = behind.map(|&l| l + 1).max().unwrap_or(0);
        made.extend(groups[k].stores().into_iter().map(|v| (v, level)));
        out.resize_with(out.len().max(level + 1), Vec::new);
        out[level].push(k);
    }
    out
}

/// The sums over images: each sum of products with the sum of its first factor's rows, where there is one, then the
/// others.
fn beside(groups: &[Group], gradients: &[usize]) -> Vec<Vec<usize>> {
    let mut sums: BTreeMap<Value, Vec<usize>> = BTreeMap::new();
    for &k in gradients {
        for v in groups[k].reads() {
            sums.entry(v).or_default().push(k);
        }
    }
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    let product = |k: &usize| groups[*k].nest.macs().padded > 0;
    for &at in gradients.iter().filter(|k| product(k)) {
        taken.insert(at);
        let reads = groups[at].reads();
        let near = reads.iter().filter_map(|v| sums.get(v)).flatten();
        let of = |k: &&usize| !taken.contains(*k) && sums_rows_of(&groups[**k], &groups[at]);
        let rows = near.filter(of).min().copied();
        taken.extend(rows);
        out.push([Some(at), rows].into_iter().flatten().collect());
    }
    let left = gradients.iter().filter(|k| !taken.contains(k));
    out.extend(left.map(|&k| vec![k]));
    out
}

/// Whether a group is worth no launch of its own.
fn is_small(g: &Graph, group: &Group) -> bool {
    let elements = |v: Value| g.ty(v).elements();
    let stored: u64 = group.stores().into_iter().map(elements).sum();
    let temporary = |t: &nest::Tensor| t.role == TensorRole::Temp;
    let rows = group.nest.tensors.iter().any(temporary);
    let wide = group.values().len() > MOST_BUFFERS;
    group.nest.macs().padded <= SMALL_MACS && (stored <= SMALL_ELEMENTS || rows) && !wide
}

/// Whether a group sums, over images and positions, just what is the first factor of another's products: a bias's
/// gradient beside its weights'.
fn sums_rows_of(sum: &Group, product: &Group) -> bool {
    let ([s], [p]) = (&sum.nest.stages[..], &product.nest.stages[..]) else {
        return false;
    };
    let load = |stage: &Stage, e: ExprId| match &stage.exprs[e.0 as usize] {
        Expr::Load(a) => Some(a.clone()),
        _ => None,
    };
    let Expr::Binary(Binary::Mul, a, _) = p.exprs[p.body.0 as usize] else {
        return false;
    };
    let (Some(x), Some(a), &[k]) = (load(s, s.body), load(p, a), &s.own[..]) else {
        return false;
    };
    let value = |g: &Group, t: nest::TensorId| match g.nest.tensors[t.0 as usize].role {
        TensorRole::Input(k) => g.inputs.get(k as usize).copied(),
        _ => None,
    };
    // The second index is the channel; all others are summed as they are.
    let plain = |(at, i): (usize, &Index)| match i {
        Index::Affine(i) => i.as_var().is_some_and(|v| (v == k) == (at == 1)),
        Index::Lookup(..) => false,
    };
    let stored = s.finish.len() == 1 && s.exprs[s.finish[0].0 as usize] == Expr::Acc(0);
    s.combine == Combine::Sum
        && stored
        && x.index.iter().enumerate().all(plain)
        && value(sum, x.tensor).is_some()
        && value(sum, x.tensor) == value(product, a.tensor)
        && sum.nest.ty(x.tensor) == product.nest.ty(a.tensor)
}
