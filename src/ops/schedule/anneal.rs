//! Schedules that go from one learning rate to another over a number of epochs.

use std::f64::consts::PI;

use super::{Lasts, Progress, Schedule};
use crate::ops::{ArgError, Args, Argument, Real, Signature};

/// η + (lr − η)·(1 + cos(π · epoch / T)) / 2 (Loshchilov and Hutter, 2017, without restarts)
#[derive(Clone, Debug, PartialEq)]
pub struct CosineAnnealingLr {
    t_max: u32,
    eta_min: Real,
}

/// lr · f, where f goes from `start_factor` to `end_factor` in `total_iters` epochs and stays there: a warm-up
#[derive(Clone, Debug, PartialEq)]
pub struct LinearLr {
    start_factor: Real,
    end_factor: Real,
    total_iters: u32,
}

impl Schedule for CosineAnnealingLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("T_max"), Argument::or("eta_min", "0")];
        Signature::plain("CosineAnnealingLR", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            t_max: args.size("T_max", 1)?,
            eta_min: args.real_or("eta_min", 0.0.., 0.0)?,
        })
    }
    fn rate(&self, base: f64, at: &Progress) -> f64 {
        let least = self.eta_min.get();
        let angle = PI * f64::from(at.epoch) / f64::from(self.t_max);
        least + (base - least) * (1.0 + angle.cos()) / 2.0
    }
    fn momentum(&self, _: &Progress) -> Option<f64> {
        None
    }
    fn cycles_momentum(&self) -> bool {
        false
    }
    fn lasts(&self) -> Lasts {
        Lasts::Epochs(self.t_max)
    }
}

impl Schedule for LinearLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("start_factor", "0.3333333333333333"),
            Argument::or("end_factor", "1"),
            Argument::or("total_iters", "5"),
        ];
        Signature::plain("LinearLR", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let factor = |name, default| args.real_or(name, 0.0..=1.0, default);
        Ok(Self {
            start_factor: factor("start_factor", 1.0 / 3.0)?,
            end_factor: factor("end_factor", 1.0)?,
            total_iters: args.size_or("total_iters", 1, 5)?,
        })
    }
    fn rate(&self, base: f64, at: &Progress) -> f64 {
        let [start, end] = [self.start_factor, self.end_factor].map(Real::get);
        let done = f64::from(at.epoch.min(self.total_iters));
        base * (start + (end - start) * done / f64::from(self.total_iters))
    }
    fn momentum(&self, _: &Progress) -> Option<f64> {
        None
    }
    fn cycles_momentum(&self) -> bool {
        false
    }
    fn lasts(&self) -> Lasts {
        Lasts::Epochs(self.total_iters)
    }
}
