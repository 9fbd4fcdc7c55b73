//! Prints a graph for Graphviz: `lenetc emit FILE --stage dot | dot -Tsvg`.
//!
//! Layers stand in clusters by their paths: `block.conv1` in that of `block`. Knows no operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::text::source;
use super::{Graph, NodeId, NodeKind, Operation, Source, Value};

/// What is drawn of a graph.
pub struct Drawing<'a, O> {
    pub graph: &'a Graph<O>,
    /// The nodes that are drawn; those that they read are drawn too, in grey.
    pub nodes: BTreeSet<NodeId>,
    /// What layers are called, by their paths; elsewhere the operator's name is.
    pub layers: BTreeMap<String, String>,
    /// What clusters are called, by their paths; elsewhere the path itself is.
    pub clusters: BTreeMap<String, String>,
    /// Whether the net is drawn, rather than all that a step computes: then what fetches the batch is one node, and
    /// a layer is drawn by its name.
    pub net: bool,
}

/// The drawing in the DOT language, ending in a newline.
pub fn dot<O: Operation>(d: &Drawing<O>) -> String {
    let mut out = format!("digraph {} {{\n", quoted(&d.graph.name));
    out += "    node [shape=box, fontname=\"monospace\"];\n    edge [fontname=\"monospace\"];\n";
    let drawn = d.drawn();
    let mut root = Cluster::default();
    for &id in &drawn {
        root.at(d.home(id)).nodes.push(id);
    }
    let mut p = Printer {
        d,
        out,
        outputs: d.outputs(),
        clusters: 0,
    };
    p.cluster(&root, "", 1);
    let order = d.graph.topological();
    for &id in order.iter().filter(|id| d.nodes.contains(id)) {
        for v in d
            .operands(id)
            .into_iter()
            .filter(|v| drawn.contains(&v.node))
        {
            p.edge(v, id);
        }
    }
    p.out + "}\n"
}

/// Nodes that stand together, and those further in.
#[derive(Default)]
struct Cluster {
    nodes: Vec<NodeId>,
    /// By the next part of their paths.
    inner: BTreeMap<String, Cluster>,
}

impl Cluster {
    fn at(&mut self, path: &str) -> &mut Cluster {
        let parts = path.split('.').filter(|p| !p.is_empty());
        parts.fold(self, |c, part| c.inner.entry(part.into()).or_default())
    }
}

impl<O: Operation> Drawing<'_, O> {
    /// The nodes that are drawn, and those that they read.
    fn drawn(&self) -> BTreeSet<NodeId> {
        let read = self.nodes.iter().flat_map(|&id| self.operands(id));
        let mut all: BTreeSet<NodeId> = read.map(|v| v.node).collect();
        all.extend(&self.nodes);
        all
    }

    /// What a node reads. What fetches the batch for a net reads nothing.
    fn operands(&self, id: NodeId) -> Vec<Value> {
        match self.is_input(id) {
            true => vec![],
            false => self.graph.operands(id),
        }
    }

    /// Whether a node of a net is its input.
    fn is_input(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        self.net && node.layer.is_empty() && matches!(node.kind, NodeKind::Op(_))
    }

    /// The path of the cluster that a node stands in.
    fn home(&self, id: NodeId) -> &str {
        let layer = self.graph.node(id).layer.as_str();
        // A layer with others within it, as what joins branches, stands among them.
        let below = format!("{layer}.");
        let mut from_there = self.layers.range(below.clone()..);
        let holds = from_there.next().is_some_and(|l| l.0.starts_with(&below));
        if !layer.is_empty() && holds {
            return layer;
        }
        layer.rsplit_once('.').map_or("", |(path, _)| path)
    }

    /// The lines in a node.
    fn label(&self, id: NodeId) -> Vec<String> {
        let node = self.graph.node(id);
        let first = match &node.kind {
            NodeKind::Source(Source::State(id)) if self.net => {
                self.graph.states()[id.index()].name.clone()
            }
            NodeKind::Source(s) => source(self.graph, s),
            NodeKind::Op(_) if self.is_input(id) => "input".into(),
            NodeKind::Op(op) if self.net => {
                let name = self
                    .layers
                    .get(&node.layer)
                    .map_or(op.name(), String::as_str);
                format!("{}: {name}", node.layer)
            }
            NodeKind::Op(op) if node.layer.is_empty() => op.name().into(),
            NodeKind::Op(op) => format!("{}: {}", node.layer, op.name()),
        };
        let types = node.types.iter().map(ToString::to_string);
        [first].into_iter().chain(types).collect()
    }

    /// The nodes whose results the graph is for.
    fn outputs(&self) -> BTreeSet<NodeId> {
        let outputs = self.graph.outputs.iter();
        outputs.map(|o| o.value.node).collect()
    }

    /// How a node looks, beside its label; `output` where its results are those of the graph.
    fn look(&self, id: NodeId, output: bool) -> String {
        let mut look = match &self.graph.node(id).kind {
            NodeKind::Source(Source::State(_)) => ", shape=cylinder".to_string(),
            NodeKind::Source(_) => ", shape=ellipse".into(),
            NodeKind::Op(_) if self.is_input(id) => ", shape=ellipse".into(),
            NodeKind::Op(_) => String::new(),
        };
        if output && self.nodes.contains(&id) {
            look += ", style=bold";
        } else if !self.nodes.contains(&id) {
            look += ", color=gray, fontcolor=gray";
        }
        look
    }
}

struct Printer<'a, 'g, O> {
    d: &'a Drawing<'g, O>,
    out: String,
    outputs: BTreeSet<NodeId>,
    /// Clusters so far: Graphviz tells them apart by their names.
    clusters: usize,
}

impl<O: Operation> Printer<'_, '_, O> {
    fn cluster(&mut self, c: &Cluster, path: &str, depth: usize) {
        let pad = "    ".repeat(depth.min(12));
        for &id in &c.nodes {
            let label = quoted(&self.d.label(id).join("\n"));
            let look = self.d.look(id, self.outputs.contains(&id));
            let _ = writeln!(self.out, "{pad}n{} [label={label}{look}];", id.index());
        }
        for (part, inner) in &c.inner {
            let path = match path.is_empty() {
                true => part.clone(),
                false => format!("{path}.{part}"),
            };
            let label = match self.d.clusters.get(&path) {
                Some(name) => format!("{path}: {name}"),
                None => path.clone(),
            };
            let _ = writeln!(self.out, "{pad}subgraph cluster_{} {{", self.clusters);
            let _ = writeln!(self.out, "{pad}    label={};", quoted(&label));
            self.clusters += 1;
            self.cluster(inner, &path, depth + 1);
            let _ = writeln!(self.out, "{pad}}}");
        }
    }

    fn edge(&mut self, from: Value, to: NodeId) {
        let several = self.d.graph.node(from.node).types.len() > 1;
        let label = match several {
            true => format!(" [label={}]", quoted(&from.output.to_string())),
            false => String::new(),
        };
        let (from, to) = (from.node.index(), to.index());
        let _ = writeln!(self.out, "    n{from} -> n{to}{label};");
    }
}

/// A string of the DOT language; its lines are centred.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}
