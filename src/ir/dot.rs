//! Prints a graph for Graphviz: `lenetc emit FILE --stage dot | dot -Tsvg`. Knows no operator.

use std::fmt::Write;

use super::text::source;
use super::{Graph, NodeKind, Operation};

/// The graph in the DOT language, ending in a newline.
pub fn dot<O: Operation>(g: &Graph<O>) -> String {
    let mut out = String::from("digraph {\n    node [shape=box, fontname=\"monospace\"];\n");
    for id in g.topological() {
        let node = g.node(id);
        let what = match &node.kind {
            NodeKind::Source(s) => source(s),
            NodeKind::Op(op) => op.name().to_string(),
        };
        let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
        let label = format!("{what}\\n{}", types.join(", ")).replace('"', "\\\"");
        let _ = writeln!(out, "    n{} [label=\"{label}\"];", id.index());
        for v in g.operands(id) {
            let _ = writeln!(out, "    n{} -> n{};", v.node.index(), id.index());
        }
    }
    for o in &g.outputs {
        let _ = writeln!(out, "    n{} [style=bold];", o.value.node.index());
    }
    out.push_str("}\n");
    out
}
