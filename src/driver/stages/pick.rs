//! The part of a stage that is asked for: what is of a layer, what is of a kernel, or of both.
//!
//! Does not know how a stage is printed.

use std::collections::BTreeSet;

use super::super::Grouped;
use crate::backend::Origin;
use crate::backend::origin::is_within;
use crate::ir::{NodeId, NodeKind};
use crate::lines::{MESSAGE, wrap_to};
use crate::ops::Graph;
use crate::passes::fuse::Group;

/// What is asked for; all, where neither is given.
pub(super) struct Pick {
    /// The path of a layer.
    pub layer: Option<String>,
    /// The name or number of a kernel.
    pub kernel: Option<String>,
}

impl Pick {
    /// That there is such a layer. `paths` are those of all layers that compute something.
    pub fn check_layer<'a>(
        &self,
        paths: impl Iterator<Item = &'a str>,
        g: &'a Graph,
    ) -> Result<(), String> {
        let Some(layer) = &self.layer else {
            return Ok(());
        };
        let nodes = g.topological();
        let nodes = nodes.iter().map(|&id| g.node(id).layer.as_str());
        let known = each_once(paths.chain(nodes).filter(|p| !p.is_empty()));
        if !layer.is_empty() && known.iter().any(|p| is_within(p, layer)) {
            return Ok(());
        }
        Err(unknown("layer", layer, &known))
    }

    /// Whether a kernel is asked for, by its number in the step, its name, and what it computes.
    pub fn wants(&self, number: Option<usize>, name: &str, origin: &Origin) -> bool {
        let layer = self.layer.as_ref();
        self.calls(number, name) && layer.is_none_or(|path| origin.touches(path))
    }

    fn calls(&self, number: Option<usize>, name: &str) -> bool {
        let kernel = self.kernel.as_ref();
        kernel.is_none_or(|k| k == name || number.is_some_and(|n| n.to_string() == *k))
    }

    /// The nodes of a graph that are asked for, in the order of their numbers; `groups` are the kernels that a step
    /// becomes, where a kernel is asked for. What a kernel reads from no other comes along.
    pub fn nodes(&self, g: &Graph, groups: Option<&Grouped>) -> Result<Vec<NodeId>, String> {
        let mut nodes = g.topological();
        nodes.sort();
        if let Some(step) = groups {
            let called = self.called(&step.groups)?;
            let mut of: BTreeSet<NodeId> = called.flat_map(|g| g.nodes.iter().copied()).collect();
            of.retain(|id| nodes.binary_search(id).is_ok() && is_the_same(*id, g, &step.graph));
            let read: Vec<NodeId> = of
                .iter()
                .flat_map(|&id| g.operands(id))
                .map(|v| v.node)
                .collect();
            let source = |id: &NodeId| matches!(g.node(*id).kind, NodeKind::Source(_));
            of.extend(read.into_iter().filter(source));
            nodes.retain(|id| of.contains(id));
        }
        if let Some(path) = &self.layer {
            nodes.retain(|id| is_within(&g.node(*id).layer, path));
        }
        Ok(nodes)
    }

    /// The groups that become the kernels called so; an error where there is none.
    fn called<'a>(&self, groups: &'a [Group]) -> Result<impl Iterator<Item = &'a Group>, String> {
        self.check_kernel(groups.iter().map(|g| g.nest.name.as_str()))?;
        let numbered: Vec<&Group> = groups
            .iter()
            .enumerate()
            .filter(|(k, g)| self.calls(Some(*k), &g.nest.name))
            .map(|(_, g)| g)
            .collect();
        Ok(numbered.into_iter())
    }

    /// That there is a kernel called so.
    pub fn check_kernel<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let Some(kernel) = &self.kernel else {
            return Ok(());
        };
        let names: Vec<&str> = names.collect();
        let mut numbered = names.iter().enumerate();
        if numbered.any(|(k, name)| self.calls(Some(k), name)) {
            return Ok(());
        }
        Err(unknown("kernel", kernel, &each_once(names.into_iter())))
    }

    /// That a stage has nothing of what is asked for.
    pub fn nothing(&self, stage: &str) -> String {
        let layer = self.layer.as_ref().map(|l| format!("layer `{l}`"));
        let kernel = self.kernel.as_ref().map(|k| format!("kernel `{k}`"));
        let asked: Vec<String> = [layer, kernel].into_iter().flatten().collect();
        format!("{stage} has nothing of {}", asked.join(" in "))
    }
}

/// Whether a number means one node in two graphs: the passes may have given it to another operator, or to the same one
/// of another layer.
fn is_the_same(id: NodeId, a: &Graph, b: &Graph) -> bool {
    a.operation(id) == b.operation(id) && a.node(id).layer == b.node(id).layer
}

/// Names in their order.
fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|n| seen.insert(*n)).collect()
}

/// That there is nothing of this name, and what there is: all of it, or the first of it.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    const MOST: usize = 40;
    let mut list = known[..known.len().min(MOST)].join(", ");
    if known.len() > MOST {
        list += &format!(" and {} more", known.len() - MOST);
    }
    let list = wrap_to(MESSAGE, &format!("the {what}s are {list}"), "    ");
    format!("there is no {what} `{name}`;\n{list}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;
    use crate::ir::{Source, TensorType};
    use crate::ops::{Op, ReLU, Tanh};

    /// A graph of operators behind each other, each with its layer.
    fn chain(of: &[(Op, &str)]) -> (Graph, Vec<NodeId>) {
        let mut g = Graph::new("chain");
        let span = Span { start: 0, end: 0 };
        let ty = TensorType::batch([4]);
        let mut value = g.source(Source::Images, ty.clone(), "", span);
        let mut nodes = Vec::new();
        for (op, layer) in of {
            value.node = g.op(op.clone(), &[value], vec![ty.clone()], layer, span);
            nodes.push(value.node);
        }
        (g, nodes)
    }

    #[test]
    fn a_number_means_a_node_of_the_same_operator_and_layer() {
        let (relu, tanh) = (Op::ReLU(ReLU), Op::Tanh(Tanh));
        let (a, nodes) = chain(&[(relu.clone(), "0"), (relu.clone(), "1"), (tanh, "2")]);
        let (b, _) = chain(&[(relu.clone(), "0"), (relu.clone(), "2"), (relu, "2")]);
        let same: Vec<bool> = nodes.iter().map(|&id| is_the_same(id, &a, &b)).collect();
        assert_eq!(same, [true, false, false]);
    }
}
