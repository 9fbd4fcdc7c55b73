//! What lanes hold that stand for no image: those of the last block of a batch, behind its last image.
//!
//! Such lanes compute what they would of the first example, and nothing but sums over images mixes lanes. The gradient of
//! an example's loss is 0 there, and so is every value that is a product with it: sums of such terms need no test, which
//! would cost as much as their multiply-adds. Where a term may be something else there, as in the statistics of a batch,
//! it is taken of valid images alone; and where a product of two such values is summed, one of them is made 0 by whoever
//! stores it.
//!
//! Does not know operators, nor how a kernel tests a lane. A GPU's sums stop at the last image.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::Value;
use crate::nest::{
    Access, Binary, Combine, Expr, ExprId, Extent, Nest, Stage, TensorId, TensorRole,
};
use crate::passes::fuse::Group;

/// What a kernel does about lanes beyond the last image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Beyond {
    /// Sums over images take the terms of valid images alone.
    pub terms: bool,
    /// Results are 0 there.
    pub results: bool,
}

impl Beyond {
    /// Of a nest whose operands are 0 there.
    pub fn alone(nest: &Nest) -> Self {
        let zeros = Zeros::new(nest, |_| true);
        Self {
            terms: !zeros.sums_vanish(),
            results: false,
        }
    }
}

/// What the kernel of each group does, where these run in this order.
pub fn of(groups: &[Group], order: &[usize]) -> Vec<Beyond> {
    let mut all = vec![Beyond::default(); groups.len()];
    // Who stores a value of images, and whether it is 0 there.
    let mut made: BTreeMap<Value, Stored> = BTreeMap::new();
    for &k in order {
        let group = &groups[k];
        let operand = |nest_operand: u32| group.inputs[nest_operand as usize];
        let vanishes = |v: &Value| made.get(v).is_some_and(|stored| stored.vanishes);
        let zeros = Zeros::new(&group.nest, |k| vanishes(&operand(k)));
        if !zeros.sums_vanish() {
            let factor = zeros.factor().map(operand);
            match factor.and_then(|v| made.get_mut(&v)) {
                Some(stored) => {
                    all[stored.by].results = true;
                    stored.vanishes = true;
                }
                None => all[k].terms = true,
            }
        }
        let vanishing = zeros.results();
        made.extend((0..).zip(&group.outputs).map(|(number, &v)| {
            let vanishes = vanishing.contains(&number);
            (v, Stored { by: k, vanishes })
        }));
    }
    all
}

/// A value of images.
struct Stored {
    /// The group that stores it.
    by: usize,
    vanishes: bool,
}

/// What is 0 beyond the last image, as far as the formulas tell.
struct Zeros<'a> {
    nest: &'a Nest,
    tensors: Vec<bool>,
}

impl<'a> Zeros<'a> {
    /// Where `operand` says which operands are.
    fn new(nest: &'a Nest, operand: impl Fn(u32) -> bool) -> Self {
        let tensors = nest.tensors.iter().map(|t| match t.role {
            TensorRole::Input(k) => t.ty.is_batch() && operand(k),
            TensorRole::Output(_) | TensorRole::Temp => false,
        });
        let mut zeros = Self {
            tensors: tensors.collect(),
            nest,
        };
        let mut stored: BTreeSet<TensorId> = BTreeSet::new();
        for stage in &nest.stages {
            let sum = stage.combine == Combine::Sum && zeros.is_zero(stage, stage.body, false);
            for (out, &value) in stage.outs.iter().zip(&stage.finish) {
                let zero = zeros.is_zero(stage, value, sum);
                let known = &mut zeros.tensors[out.tensor.0 as usize];
                // What several stages store is 0 where all of them store 0.
                let first = stored.insert(out.tensor);
                *known = zero && (first || *known);
            }
        }
        zeros
    }

    /// The stages that sum over images.
    fn sums(&self) -> impl Iterator<Item = &'a Stage> {
        let nest = self.nest;
        let batch = |stage: &&Stage| {
            let mut axes = stage.reduce.iter();
            axes.any(|&axis| nest.extent(axis) == Extent::Batch)
        };
        nest.stages.iter().filter(batch)
    }

    fn sums_vanish(&self) -> bool {
        self.sums()
            .all(|stage| stage.combine == Combine::Sum && self.is_zero(stage, stage.body, false))
    }

    /// The operand to be made 0, where one product of two operands is summed over images.
    fn factor(&self) -> Option<u32> {
        let [stage] = self.nest.stages.as_slice() else {
            return None;
        };
        let Expr::Binary(Binary::Mul, a, b) = stage.exprs[stage.body.0 as usize] else {
            return None;
        };
        let loads = [a, b].map(|e| match &stage.exprs[e.0 as usize] {
            Expr::Load(access) => Some(access.tensor),
            _ => None,
        });
        let [Some(first), Some(_)] = loads else {
            return None;
        };
        let batch = |tensor: TensorId| self.nest.ty(tensor).is_batch();
        match self.tensor(first) {
            TensorRole::Input(k) if stage.combine == Combine::Sum && batch(first) => Some(k),
            _ => None,
        }
    }

    fn tensor(&self, tensor: TensorId) -> TensorRole {
        self.nest.tensors[tensor.0 as usize].role
    }

    /// The results that are 0. A nest with a number for each image stores 0 there.
    fn results(&self) -> Vec<u32> {
        let single = self.nest.tensors.iter();
        let mut single = single.filter(|t| t.role != TensorRole::Temp);
        let counts = single.any(|t| t.ty.is_batch() && t.ty.dims.is_empty());
        let numbered = self.nest.tensors.iter().zip(&self.tensors);
        let zero = numbered.filter_map(|(t, &zero)| match t.role {
            TensorRole::Output(k) if zero || counts => Some(k),
            _ => None,
        });
        zero.collect()
    }

    /// Whether an expression is 0; `sum` says whether what the stage combined is.
    fn is_zero(&self, stage: &Stage, e: ExprId, sum: bool) -> bool {
        let load = |access: &Access| self.tensors[access.tensor.0 as usize];
        vanishes(stage, e, sum, &load)
    }
}

/// Whether an expression is 0 where the elements are for which `load` holds, and what was combined if `sum` says so. No
/// element is infinite.
pub fn vanishes(stage: &Stage, e: ExprId, sum: bool, load: &dyn Fn(&Access) -> bool) -> bool {
    let zero = |e: ExprId| vanishes(stage, e, sum, load);
    match &stage.exprs[e.0 as usize] {
        Expr::Const(bits) => f32::from_bits(*bits) == 0.0,
        Expr::Scalar(_) | Expr::Axis(_) | Expr::Random { .. } => false,
        Expr::Load(access) => load(access),
        Expr::Acc(_) => sum,
        Expr::Unary(f, x) => f.of(0.0) == 0.0 && zero(*x),
        Expr::Binary(Binary::Mul, a, b) => zero(*a) || zero(*b),
        Expr::Binary(Binary::Div, a, _) => zero(*a),
        Expr::Binary(_, a, b) => zero(*a) && zero(*b),
        Expr::Select(_, [_, _, yes, no]) => zero(*yes) && zero(*no),
    }
}
