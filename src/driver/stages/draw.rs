//! The graphs that `dot` draws: the net, or all that a step computes. Knows no operator.

use std::collections::BTreeSet;

use super::{Compilation, NoStage};
use crate::ir::{self, Drawing, NodeId, NodeKind, Role, Source};
use crate::ops::Graph;
use crate::passes::build::{Row, UsedBlock};

impl Compilation<'_> {
    pub(super) fn drawing(&self) -> Result<String, NoStage> {
        let net = !self.options.grad;
        let graph = if net {
            &self.forward
        } else {
            &self.graphs.step
        };
        let mut nodes: BTreeSet<NodeId> = self.nodes(graph)?.into_iter().collect();
        if net {
            let all = of_net(graph);
            nodes.retain(|id| all.contains(id));
        }
        if nodes.is_empty() {
            return Err(self.nothing());
        }
        let row = |r: &Row| (r.path.clone(), r.text.clone());
        let block = |b: &UsedBlock| (b.path.clone(), b.name.clone());
        Ok(ir::dot(&Drawing {
            graph,
            nodes,
            layers: self.rows.iter().map(row).collect(),
            clusters: self.blocks.iter().map(block).collect(),
            net,
        }))
    }
}

/// What the network's last layer depends on, but for the data set that the input is fetched from.
fn of_net(g: &Graph) -> BTreeSet<NodeId> {
    let mut seen = BTreeSet::new();
    let logits = g.output_for(Role::Logits);
    let mut left: Vec<NodeId> = logits.into_iter().map(|v| v.node).collect();
    while let Some(id) = left.pop() {
        let data = matches!(
            g.node(id).kind,
            NodeKind::Source(Source::Images | Source::Indices | Source::Targets)
        );
        if !data && seen.insert(id) {
            left.extend(g.operands(id).into_iter().map(|v| v.node));
        }
    }
    seen
}
