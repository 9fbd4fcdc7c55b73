//! Checks a graph after each pass. A violation is a bug of the compiler, never of its input.
//!
//! What holds:
//! 1. the graph has no cycle;
//! 2. every operand names a result that its node has;
//! 3. every output names a node that is there, and no role is produced twice;
//! 4. an updated value has the type of its parameter, and only parameters are updated;
//! 5. parameters' places and names are unique.
//!
//! Knows no operator; [`crate::passes::infer`] checks that results have the types that operators infer.

use std::collections::BTreeSet;

use super::{Graph, NodeKind, Operation, Role, Source};

/// The first violation, if there is one.
pub fn verify<O: Operation>(g: &Graph<O>) -> Result<(), String> {
    let order = g.topological();
    if order.len() != g.len() {
        return Err("the graph has a cycle".into());
    }
    for &id in &order {
        for v in g.operands(id) {
            if g.node(v.node).types.len() <= v.output as usize {
                return Err(format!(
                    "%{} reads a result that %{} lacks",
                    id.index(),
                    v.node.index()
                ));
            }
        }
    }
    parameters(g, &order)?;
    outputs(g, &order)
}

fn parameters<O: Operation>(g: &Graph<O>, order: &[super::NodeId]) -> Result<(), String> {
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    for &id in order {
        if let NodeKind::Source(Source::Parameter { name, place }) = &g.node(id).kind
            && !(names.insert(name) && places.insert(place))
        {
            return Err(format!("parameter {name} stands twice"));
        }
    }
    Ok(())
}

fn outputs<O: Operation>(g: &Graph<O>, order: &[super::NodeId]) -> Result<(), String> {
    let present: BTreeSet<_> = order.iter().collect();
    let mut roles = BTreeSet::new();
    for o in &g.outputs {
        if !present.contains(&o.value.node) {
            return Err(format!("output {:?} names a removed node", o.role));
        }
        if !roles.insert(o.role) {
            return Err(format!("output {:?} is produced twice", o.role));
        }
        if let Role::Update(p) = o.role {
            let node = g.node(p);
            let parameter = matches!(node.kind, NodeKind::Source(Source::Parameter { .. }));
            if !parameter || g.ty(o.value) != &node.types[0] {
                return Err(format!("update of %{} does not fit it", p.index()));
            }
        }
    }
    Ok(())
}
