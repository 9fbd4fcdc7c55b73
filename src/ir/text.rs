//! Prints a graph as text, one node a line, operands before users. Knows no operator.

use super::{Graph, NodeId, NodeKind, Operation, Role, Source, Value};
use crate::lines;

/// The graph as text, ending in a newline: the nodes for which `keep` holds, and the outputs among them.
pub fn text<O: Operation>(g: &Graph<O>, keep: impl Fn(NodeId) -> bool) -> String {
    let mut out = format!("graph {} {{\n", g.name);
    for id in g.topological().into_iter().filter(|&id| keep(id)) {
        out += &line(&node_text(g, id));
    }
    for o in g.outputs.iter().filter(|o| keep(o.value.node)) {
        out += &line(&format!("{} = {}", role(g, o.role), name(g, o.value)));
    }
    out.push_str("}\n");
    out
}

/// A line of a graph's text; what does not fit goes on eight columns further in.
fn line(text: &str) -> String {
    lines::wrap(&format!("    {text}"), "            ") + "\n"
}

/// A node: its number, its types, what it is of which operands, and its layer.
pub fn node_text<O: Operation>(g: &Graph<O>, id: NodeId) -> String {
    let node = g.node(id);
    let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
    let operands: Vec<String> = g.operands(id).iter().map(|&v| name(g, v)).collect();
    let what = match &node.kind {
        NodeKind::Source(s) => source(g, s),
        NodeKind::Op(op) => format!("{}({})", op.name(), operands.join(", ")),
    };
    let attributes = match &node.kind {
        NodeKind::Op(op) if !op.attributes().is_empty() => format!(" {{{}}}", op.attributes()),
        _ => String::new(),
    };
    let layer = match node.layer.is_empty() {
        true => String::new(),
        false => format!("  # {}", node.layer),
    };
    let types = types.join(", ");
    format!("%{}: {types} = {what}{attributes}{layer}", id.index())
}

/// A value by its node's number; with what it is, where that is a source.
pub fn value_text<O: Operation>(g: &Graph<O>, v: Value) -> String {
    match &g.node(v.node).kind {
        NodeKind::Source(s) => format!("{} ({})", name(g, v), source(g, s)),
        NodeKind::Op(_) => name(g, v),
    }
}

pub(super) fn source<O: Operation>(g: &Graph<O>, s: &Source) -> String {
    match s {
        Source::Images => "images".into(),
        Source::Targets => "targets".into(),
        Source::Indices => "indices".into(),
        Source::State(id) => {
            let state = &g.states()[id.index()];
            format!("{} {}", state.kind.name(), state.name)
        }
        Source::Scalar(s) => format!("scalar {}", s.name()),
        Source::Constant(bits) => format!("constant {}", f32::from_bits(*bits)),
    }
}

fn name<O: Operation>(g: &Graph<O>, v: Value) -> String {
    if g.node(v.node).types.len() == 1 {
        format!("%{}", v.node.index())
    } else {
        format!("%{}.{}", v.node.index(), v.output)
    }
}

fn role<O: Operation>(g: &Graph<O>, r: Role) -> String {
    match r {
        Role::Logits => "logits".into(),
        Role::Loss => "loss".into(),
        Role::Correct => "correct".into(),
        Role::Next(state) => format!("update {}", g.states()[state.index()].name),
    }
}
