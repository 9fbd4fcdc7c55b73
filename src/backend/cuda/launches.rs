//! Which groups of operators share a launch, and in which order launches run.
//!
//! A launch costs a few microseconds, as much as a small layer's work, so few launches matter more than most things:
//! - what gathers the batch, or fills it with one number, is computed where it is read;
//! - groups that do not wait for each other share a launch: all gradients of parameters stand together behind
//!   the last activation's gradient, then all updates;
//! - neighbouring layers of little work form a *chain*: a block of threads takes a few images through all of them.
//!
//! Does not know schedules or memory.

use crate::ir::{Leading, Value};
use crate::nest::{self, Binary, Combine, Expr, ExprId, Index, Stage, TensorRole};
use crate::ops::Graph;
use crate::passes::fuse::{Group, number, storage};

use super::super::values::touches_batch;

/// Multiply-adds and elements of an image up to which a group is small.
const SMALL_MACS: u64 = 16 << 10;
const SMALL_ELEMENTS: u64 = 2 << 10;

/// Groups that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Each works on its images, and none waits for another.
    Level(Vec<usize>),
    /// A block takes its images through all, one after the other.
    Chain(Vec<usize>),
    /// Sums over images.
    Gradients(Vec<usize>),
    /// What runs once a step.
    Update(Vec<usize>),
}

impl Launch {
    pub fn groups(&self) -> &[usize] {
        match self {
            Self::Level(g) | Self::Chain(g) | Self::Gradients(g) | Self::Update(g) => g,
        }
    }
}

/// Computes what only fetches or fills the batch where it is read.
pub fn inline_sources(g: &Graph, mut groups: Vec<Group>) -> Vec<Group> {
    let mut at = 0;
    while at < groups.len() {
        let replaced = is_source(g, &groups[at]).then(|| without(&groups, at));
        match replaced.flatten() {
            Some(new) => groups = new,
            None => at += 1,
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
    let mut outputs = g.outputs.iter().map(|o| storage(g, o.value));
    let named = outputs.any(|v| group.stores().contains(&v));
    touches_batch(g, group) && group.reads().iter().all(cheap) && !named && group.outputs.len() == 1
}

/// The groups without one, whose formula stands in all that read it; `None` where one of them cannot.
fn without(groups: &[Group], at: usize) -> Option<Vec<Group>> {
    let source = &groups[at];
    let mut out = Vec::new();
    for (k, group) in groups.iter().enumerate().filter(|(k, _)| *k != at) {
        let mut group = group.clone();
        // A join may read it as several of its operands.
        while k > at && group.reads().contains(&source.outputs[0]) {
            let operand = reading(&group, source.outputs[0])?;
            let numbers: Vec<u32> = source
                .inputs
                .iter()
                .map(|v| number(&mut group.inputs, *v))
                .collect();
            group.nest = nest::substitute(&group.nest, operand, &source.nest, &numbers)?;
        }
        out.push(group);
    }
    Some(out)
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

/// The launches of these groups, in order.
pub fn form(g: &Graph, groups: &[Group]) -> Vec<Launch> {
    let all = 0..groups.len();
    let once = |k: &usize| !touches_batch(g, &groups[*k]);
    let summed = |k: &usize| groups[*k].stores().iter().all(|&v| !g.ty(v).is_batch());
    let images: Vec<usize> = all.clone().filter(|k| !once(k) && !summed(k)).collect();
    let gradients = all.clone().filter(|k| !once(k) && summed(k)).collect();
    let mut out = chains(g, groups, levels(groups, &images));
    out.push(Launch::Gradients(gradients));
    out.push(Launch::Update(all.filter(once).collect()));
    out.retain(|l| !l.groups().is_empty());
    out
}

/// Groups by the length of the longest path to them.
fn levels(groups: &[Group], images: &[usize]) -> Vec<Vec<usize>> {
    let mut level = vec![0; groups.len()];
    let mut out: Vec<Vec<usize>> = Vec::new();
    for &k in images {
        let reads = groups[k].reads();
        let behind = images.iter().take_while(|&&j| j < k);
        let before = behind.filter(|&&j| groups[j].stores().iter().any(|v| reads.contains(v)));
        level[k] = before.map(|&j| level[j] + 1).max().unwrap_or(0);
        out.resize_with(out.len().max(level[k] + 1), Vec::new);
        out[level[k]].push(k);
    }
    out
}

/// Joins neighbouring levels of little work.
fn chains(g: &Graph, groups: &[Group], levels: Vec<Vec<usize>>) -> Vec<Launch> {
    let small = |level: &Vec<usize>| level.iter().all(|&k| is_small(g, &groups[k]));
    let mut out = Vec::new();
    let mut open: Vec<Vec<usize>> = Vec::new();
    let close = |open: &mut Vec<Vec<usize>>, out: &mut Vec<Launch>| {
        let run = std::mem::take(open);
        match run.len() {
            0 => {}
            1 => out.extend(run.into_iter().map(Launch::Level)),
            _ => out.push(Launch::Chain(run.concat())),
        }
    };
    for level in levels {
        if small(&level) {
            open.push(level);
        } else {
            close(&mut open, &mut out);
            out.push(Launch::Level(level));
        }
    }
    close(&mut open, &mut out);
    out
}

fn is_small(g: &Graph, group: &Group) -> bool {
    let elements = |v: Value| g.ty(v).elements();
    let stored: u64 = group.stores().into_iter().map(elements).sum();
    let temporary = |t: &nest::Tensor| t.role == TensorRole::Temp;
    let rows = group.nest.tensors.iter().any(temporary);
    group.nest.macs().padded <= SMALL_MACS && (stored <= SMALL_ELEMENTS || rows)
}

/// Whether a group sums, over images and positions, just what is the first factor of another's products: a bias's
/// gradient beside its weights'.
pub fn sums_rows_of(sum: &Group, product: &Group) -> bool {
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
