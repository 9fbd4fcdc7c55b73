//! What a kernel computes, in the words of the model: the operators, and the layers that they are of.
//!
//! Does not know how a kernel computes, nor on what.

use std::collections::BTreeSet;
use std::fmt;

use crate::ir::{NodeId, Operation};
use crate::ops::Graph;

/// An operator of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, as `Conv2dGradWeight`.
    pub operator: &'static str,
    /// The path of the layer that it is of, as `3` or `block.conv1`; empty where it is of none, as the loss.
    pub layer: String,
}

/// The operators of a kernel in the order in which they are computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub parts: Vec<Part>,
}

impl Origin {
    /// What a kernel of these nodes computes. Sources are left out.
    pub fn of(g: &Graph, nodes: &[NodeId]) -> Self {
        let part = |&node: &NodeId| {
            let operator = g.operation(node)?.name();
            let layer = g.node(node).layer.clone();
            Some(Part { operator, layer })
        };
        Self {
            parts: nodes.iter().filter_map(part).collect(),
        }
    }

    /// The paths of its layers, each once, in the order of the operators; none for a kernel that is of no layer.
    pub fn layers(&self) -> Vec<&str> {
        let mut layers = Vec::new();
        for part in &self.parts {
            let layer = part.layer.as_str();
            if !layer.is_empty() && !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        layers
    }

    /// Whether one of the layers is at this path or below it.
    pub fn touches(&self, path: &str) -> bool {
        self.parts.iter().any(|part| is_within(&part.layer, path))
    }

    /// Adds what another computes, but for what is here already.
    pub fn join(&mut self, other: &Self) {
        *self = Self::joined(&[std::mem::take(self), other.clone()]);
    }

    /// What all of these compute: the first, and of each other what is not there already.
    pub fn joined(all: &[Self]) -> Self {
        let mut known = BTreeSet::new();
        let mut parts = Vec::new();
        for (k, origin) in all.iter().enumerate() {
            for part in &origin.parts {
                let new = known.insert((part.operator, part.layer.as_str()));
                parts.extend((new || k == 0).then(|| part.clone()));
            }
        }
        Self { parts }
    }
}

/// Whether a layer is at `path` or below it: `block.conv1` is within `block`, `block2` is not.
pub fn is_within(layer: &str, path: &str) -> bool {
    let rest = layer.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The paths that a layer is at or below: of `block.conv1` that of `block` and its own.
pub fn paths(layer: &str) -> impl Iterator<Item = &str> {
    let points = layer.match_indices('.').map(|(at, _)| at);
    points.chain([layer.len()]).map(|end| &layer[..end])
}

impl fmt::Display for Origin {
    /// `Conv2d (0) + Sigmoid (1)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, Part { operator, layer }) in self.parts.iter().enumerate() {
            let plus = if k == 0 { "" } else { " + " };
            match layer.is_empty() {
                true => write!(f, "{plus}{operator}")?,
                false => write!(f, "{plus}{operator} ({layer})")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_what_stands_below_it_and_no_longer_name() {
        for (layer, path, expected) in [
            ("3", "3", true),
            ("3.0.1", "3", true),
            ("3.0.1", "3.0", true),
            ("30", "3", false),
            ("3", "3.0", false),
            ("", "3", false),
        ] {
            assert_eq!(is_within(layer, path), expected, "{layer} in {path}");
            assert_eq!(
                paths(layer).any(|p| p == path),
                expected,
                "{layer} in {path}"
            );
        }
    }

    #[test]
    fn layers_are_named_once_in_the_order_of_the_operators() {
        let part = |operator, layer: &str| Part {
            operator,
            layer: layer.into(),
        };
        let origins = [
            vec![part("Linear", "b.2"), part("ReLU", "a"), part("Add", "")],
            vec![part("ReLU", "a"), part("ReLUGrad", "a")],
        ];
        let origin = Origin::joined(&origins.map(|parts| Origin { parts }));
        assert_eq!(origin.layers(), ["b.2", "a"]);
        let text = "Linear (b.2) + ReLU (a) + Add + ReLUGrad (a)";
        assert_eq!(origin.to_string(), text);
        assert!(origin.touches("b") && !origin.touches("2"));
    }
}
