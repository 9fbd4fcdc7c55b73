//! States before the first step: what they are drawn from, and whether a file's are the model's.

use lenetc_runtime::init::{self, Init};
use lenetc_runtime::weights::Stored;

use crate::backend::StatePlace;
use crate::ir::{Distribution, StateInfo};

/// Writes what a state starts as; `place` is its position among all, which draws depend on.
pub(super) fn start(state: &StateInfo, seed: u64, place: u32, into: &mut [f32]) {
    let init = match &state.initial {
        Distribution::Values(values) => return into.copy_from_slice(values),
        &Distribution::Constant(value) => Init::Constant(value),
        &Distribution::Uniform { bound } => Init::Uniform { bound },
        &Distribution::Between { low, high } => Init::Between { low, high },
        &Distribution::Normal { std } => Init::Normal { std },
    };
    init::fill(init, seed, place, into);
}

/// What keeps a weights file from being this model's: a clause for each kind of difference. A tensor that the model
/// lacks is called that, whatever its type.
pub(super) fn mismatches(expected: &[&StatePlace], got: &Stored) -> Vec<String> {
    let find = |name: &str| got.tensors.iter().find(|t| t.name == name);
    let unread = |name: &str| got.unread.iter().find(|t| t.name == name);
    let wanted = |name: &str| expected.iter().any(|p| p.info.name == name);
    let missing = expected
        .iter()
        .map(|p| &p.info.name)
        .filter(|name| find(name).is_none() && unread(name).is_none())
        // torch did not count batches before its version 0.4.1.
        .filter(|name| !name.ends_with(".num_batches_tracked"))
        .cloned();
    let floats = got.tensors.iter().map(|t| (&t.name, t.name.clone()));
    let others = got.unread.iter();
    let others = others.map(|t| (&t.name, format!("{} ({})", t.name, t.dtype)));
    let unknown = floats
        .chain(others.clone())
        .filter(|(name, _)| !wanted(name))
        .map(|(_, shown)| shown);
    let untaken = others
        .filter(|(name, _)| wanted(name))
        .map(|(_, shown)| shown);
    let misshapen = expected.iter().filter_map(|p| {
        let (name, dims) = (&p.info.name, p.dims());
        let t = find(name).filter(|t| t.shape != dims)?;
        Some(format!("{name} is {:?} for {dims:?}", t.shape))
    });
    [
        ("missing: ", listed(missing)),
        ("not in the model: ", listed(unknown)),
        ("of another shape: ", listed(misshapen)),
        ("not F32, F16, BF16 or F64: ", listed(untaken)),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(what, list)| format!("{what}{list}"))
    .collect()
}

/// The first few, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    let list = names[..names.len() - more].join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use lenetc_runtime::weights::{Tensor, Unread};

    use super::*;
    use crate::ir::{StateKind, TensorType};

    #[test]
    fn differences_are_named_whatever_the_type() {
        let place = |name: &str| StatePlace {
            info: StateInfo {
                name: name.into(),
                ty: TensorType::fixed([2]),
                kind: StateKind::Parameter,
                initial: Distribution::Constant(0.0),
            },
            offset_bytes: 0,
        };
        let tensor = |name: &str, len: usize| Tensor {
            name: name.into(),
            shape: vec![len],
            data: vec![0.0; len],
        };
        let unread = |name: &str, dtype: &str| Unread {
            name: name.into(),
            dtype: dtype.into(),
        };
        let stored = Stored {
            tensors: vec![tensor("a", 2), tensor("b", 3), tensor("x", 1)],
            unread: vec![unread("bn.num_batches_tracked", "I64"), unread("q", "I8")],
            notes: vec![],
        };
        let places = ["a", "b", "c", "q"].map(place);
        let expected: Vec<&StatePlace> = places.iter().collect();
        assert_eq!(
            mismatches(&expected, &stored),
            [
                "missing: c",
                "not in the model: x, bn.num_batches_tracked (I64)",
                "of another shape: b is [3] for [2]",
                "not F32, F16, BF16 or F64: q (I8)"
            ]
        );
        assert!(
            mismatches(
                &[&place("a")],
                &Stored {
                    tensors: vec![tensor("a", 2)],
                    ..Stored::default()
                }
            )
            .is_empty()
        );
    }
}
