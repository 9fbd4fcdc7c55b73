//! Weights of classes, or of outputs, that a loss is given as a list.
//!
//! Does not know what is weighted.

use super::LossState;
use crate::ir::TensorType;
use crate::ops::{ArgError, Args, Real, ShapeError};

/// A weight for each class or output; none where all count alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weights(pub Option<Vec<Real>>);

impl Weights {
    /// The argument of this name, numbers that are not negative.
    pub(super) fn read(args: &Args, name: &'static str) -> Result<Self, ArgError> {
        args.reals_if_given(name, 0.0..).map(Self)
    }

    /// As printed graphs have it, behind what stands there; empty where there are none.
    pub(super) fn attribute(&self, name: &str) -> String {
        self.0.as_ref().map_or(String::new(), |all| {
            let all: Vec<String> = all.iter().map(Real::to_string).collect();
            format!("{name}=[{}]", all.join(", "))
        })
    }

    /// The operand that holds them.
    pub(super) fn states(&self, name: &'static str) -> Vec<LossState> {
        let all = self.0.iter();
        let state = |all: &Vec<Real>| LossState {
            name,
            values: all.iter().map(|w| w.single()).collect(),
        };
        all.map(state).collect()
    }

    /// Their sum as they stand in f32; the number of classes where there are none.
    pub(super) fn sum(&self, classes: u32) -> f64 {
        let all = self.0.as_ref();
        all.map_or(f64::from(classes), |all| {
            all.iter().map(|w| f64::from(w.single())).sum()
        })
    }

    /// Whether there are as many as the output has numbers.
    pub(super) fn fit(&self, who: &str, name: &str, output: &TensorType) -> Result<(), ShapeError> {
        let Some(all) = &self.0 else { return Ok(()) };
        if output.dims == [all.len() as u32] {
            return Ok(());
        }
        let rule = format!(
            "the model yields {output}, and {name} has {}",
            crate::diag::count(all.len() as u64, "number")
        );
        let message = format!("{who} needs one {name} for each output");
        Err(ShapeError::new("E0207", &message, rule))
    }
}
