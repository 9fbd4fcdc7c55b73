//! Prints a graph as text, one node a line, operands before users. Knows no operator.

use std::fmt::Write;

use super::{Graph, NodeKind, Operation, Role, Source, Value};

/// The graph as text, ending in a newline.
pub fn text<O: Operation>(g: &Graph<O>) -> String {
    let mut out = format!("graph {} {{\n", g.name);
    for id in g.topological() {
        let node = g.node(id);
        let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
        let operands: Vec<String> = g.operands(id).iter().map(|&v| name(g, v)).collect();
        let what = match &node.kind {
            NodeKind::Source(s) => source(s),
            NodeKind::Op(op) => format!("{}({})", op.name(), operands.join(", ")),
        };
        let attributes = match &node.kind {
            NodeKind::Op(op) if !op.attributes().is_empty() => format!(" {{{}}}", op.attributes()),
            _ => String::new(),
        };
        let layer = if node.layer.is_empty() {
            String::new()
        } else {
            format!("  # {}", node.layer)
        };
        let _ = writeln!(
            out,
            "    %{}: {} = {what}{attributes}{layer}",
            id.index(),
            types.join(", ")
        );
    }
    for o in &g.outputs {
        let _ = writeln!(out, "    {} = {}", role(g, o.role), name(g, o.value));
    }
    out.push_str("}\n");
    out
}

pub(super) fn source(s: &Source) -> String {
    match s {
        Source::Images => "images".into(),
        Source::Targets => "targets".into(),
        Source::Indices => "indices".into(),
        Source::Parameter { name, .. } => format!("parameter {name}"),
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
        Role::Update(p) => match &g.node(p).kind {
            NodeKind::Source(Source::Parameter { name, .. }) => format!("update {name}"),
            _ => format!("update %{}", p.index()),
        },
    }
}
