//! Dead code: removes the nodes that no output depends on.
//!
//! Sources go as well; a state stays in the graph's table even where nothing reads it. Knows no operator.

use std::collections::BTreeSet;

use crate::ir::NodeId;
use crate::ops::Graph;

/// Runs the pass.
pub fn run(g: &mut Graph) {
    let mut live: BTreeSet<NodeId> = g.outputs.iter().map(|o| o.value.node).collect();
    let order = g.topological();
    for &id in order.iter().rev() {
        if live.contains(&id) {
            live.extend(g.operands(id).iter().map(|v| v.node));
        }
    }
    for id in order {
        if !live.contains(&id) {
            g.remove(id);
        }
    }
}
