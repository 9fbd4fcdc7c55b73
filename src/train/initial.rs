//! Weights before the first step: what they are drawn from, and whether a file's are the model's.

use lenetc_runtime::init::Init;
use lenetc_runtime::weights::Tensor;

use crate::backend::ParameterPlace;
use crate::passes::build::ParameterInfo;
use crate::passes::config::Initial;

/// The distribution of a parameter.
pub(super) fn distribution(initial: Initial, p: &ParameterInfo) -> Init {
    let torch = Init::Uniform {
        bound: 1.0 / (p.fan_in as f32).sqrt(),
    };
    match initial {
        Initial::Constant(c) => Init::Constant(c),
        _ if p.bias => torch,
        Initial::XavierUniform => Init::Uniform {
            bound: (6.0 / (p.fan_in + p.fan_out) as f32).sqrt(),
        },
        Initial::TorchDefault => torch,
        Initial::Normal { std } => Init::Normal { std },
    }
}

/// What keeps a weights file from being this model's: a clause for each kind of difference.
pub(super) fn mismatches(expected: &[ParameterPlace], got: &[Tensor]) -> Vec<String> {
    let find = |name: &str| got.iter().find(|t| t.name == name);
    let missing = expected
        .iter()
        .filter(|p| find(&p.name).is_none())
        .map(|p| p.name.clone());
    let unknown = got
        .iter()
        .filter(|t| expected.iter().all(|p| p.name != t.name))
        .map(|t| t.name.clone());
    let misshapen = expected.iter().filter_map(|p| {
        let dims: Vec<usize> = p.dims.iter().map(|&d| d as usize).collect();
        let t = find(&p.name).filter(|t| t.shape != dims)?;
        Some(format!("{} is {:?} for {dims:?}", p.name, t.shape))
    });
    [
        ("missing: ", listed(missing)),
        ("not in the model: ", listed(unknown)),
        ("of another shape: ", listed(misshapen)),
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
