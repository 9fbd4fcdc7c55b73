//! Schedules that multiply the learning rate by γ now and then.

use super::{Lasts, Progress, Schedule};
use crate::ops::{ArgError, Args, Argument, Real, Signature, above};

/// lr · γ^⌊epoch / step_size⌋
#[derive(Clone, Debug, PartialEq)]
pub struct StepLr {
    step_size: u32,
    gamma: Real,
}

/// lr · γ to the number of milestones that are reached
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStepLr {
    milestones: Vec<u32>,
    gamma: Real,
}

/// lr · γ^epoch
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialLr {
    gamma: Real,
}

impl Schedule for StepLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::required("step_size"),
            Argument::or("gamma", "0.1"),
        ];
        Signature::plain("StepLR", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            step_size: args.size("step_size", 1)?,
            gamma: args.real_or("gamma", above(0.0), 0.1)?,
        })
    }
    fn rate(&self, base: f64, at: &Progress) -> f64 {
        base * self.gamma.get().powf((at.epoch / self.step_size).into())
    }
    fn momentum(&self, _: &Progress) -> Option<f64> {
        None
    }
    fn cycles_momentum(&self) -> bool {
        false
    }
    fn lasts(&self) -> Lasts {
        Lasts::Ever
    }
}

impl Schedule for MultiStepLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::required("milestones"),
            Argument::or("gamma", "0.1"),
        ];
        Signature::plain("MultiStepLR", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            milestones: args.sizes("milestones", 0)?,
            gamma: args.real_or("gamma", above(0.0), 0.1)?,
        })
    }
    fn rate(&self, base: f64, at: &Progress) -> f64 {
        let reached = self.milestones.iter().filter(|&&m| m <= at.epoch).count();
        base * self.gamma.get().powf(reached as f64)
    }
    fn momentum(&self, _: &Progress) -> Option<f64> {
        None
    }
    fn cycles_momentum(&self) -> bool {
        false
    }
    fn lasts(&self) -> Lasts {
        Lasts::Ever
    }
}

impl Schedule for ExponentialLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("gamma")];
        Signature::plain("ExponentialLR", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let gamma = args.real("gamma", above(0.0))?;
        Ok(Self { gamma })
    }
    fn rate(&self, base: f64, at: &Progress) -> f64 {
        base * self.gamma.get().powf(at.epoch.into())
    }
    fn momentum(&self, _: &Progress) -> Option<f64> {
        None
    }
    fn cycles_momentum(&self) -> bool {
        false
    }
    fn lasts(&self) -> Lasts {
        Lasts::Ever
    }
}
