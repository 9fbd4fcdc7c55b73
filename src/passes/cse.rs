//! Common subexpressions: of nodes that compute the same from the same, the first stays.
//!
//! Operators are compared with their attributes, floats by their bits. Knows no operator.

use std::collections::HashMap;

use crate::ir::{NodeKind, Value};
use crate::ops::Graph;

/// Runs the pass.
pub fn run(g: &mut Graph) {
    let mut seen: HashMap<(NodeKind<_>, Vec<Value>), _> = HashMap::new();
    for id in g.topological() {
        let kind = g.node(id).kind.clone();
        let first = *seen.entry((kind, g.operands(id))).or_insert(id);
        if first != id {
            for output in 0..g.node(id).types.len() as u32 {
                g.replace(
                    Value { node: id, output },
                    Value {
                        node: first,
                        output,
                    },
                );
            }
            g.remove(id);
        }
    }
}
