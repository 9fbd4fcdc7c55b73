//! Checks a graph after each pass. A violation is a bug of the compiler, never of its input.
//!
//! What holds:
//! 1. the graph has no cycle;
//! 2. every operand names a result that its node has;
//! 3. every output names a node that is there, and no role is produced twice;
//! 4. a state's source and its next value have its type;
//! 5. a state has one source, and states' names are unique.
//!
//! Knows no operator; [`crate::ops::verify`] checks that results have the types that operators infer.

use std::collections::BTreeSet;

use super::{Graph, Operation, Role, StateId};

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
    states(g, &order)?;
    outputs(g, &order)
}

fn states<O: Operation>(g: &Graph<O>, order: &[super::NodeId]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    if let Some(state) = g.states().iter().find(|s| !names.insert(&s.name)) {
        return Err(format!("two states are called {}", state.name));
    }
    let mut sources = BTreeSet::new();
    for &node in order {
        let Some(id) = g.state_of(node) else { continue };
        let types = &g.node(node).types;
        if !sources.insert(id) || g.states().get(id.index()).map(|s| &s.ty) != types.first() {
            return Err(format!("%{} is no source of its state", node.index()));
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
        if let Role::Next(StateId(id)) = o.role
            && g.states().get(id as usize).map(|s| &s.ty) != Some(g.ty(o.value))
        {
            return Err(format!("output {:?} does not fit its state", o.role));
        }
    }
    Ok(())
}
