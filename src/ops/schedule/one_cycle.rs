//! One cycle (Smith and Topin, 2018): the learning rate rises to a peak and falls far below its start, step by step over
//! the whole run, while the momentum does the reverse.

use std::f64::consts::PI;

use super::{Lasts, Progress, Schedule};
use crate::ops::{ArgError, Args, Argument, Real, Signature, above};

/// How values between two are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Anneal {
    Cosine,
    Linear,
}

/// `torch.optim.lr_scheduler.OneCycleLR`, whose number of steps is the run's.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycleLr {
    max_lr: Real,
    pct_start: Real,
    anneal: Anneal,
    cycle_momentum: bool,
    base_momentum: Real,
    max_momentum: Real,
    div_factor: Real,
    final_div_factor: Real,
    three_phase: bool,
}

/// A part of the cycle: up to and with step `end`, between two values each.
struct Phase {
    end: f64,
    rate: [f64; 2],
    momentum: [f64; 2],
}

impl OneCycleLr {
    fn phases(&self, steps: f64) -> Vec<Phase> {
        let peak = self.max_lr.get();
        let start = peak / self.div_factor.get();
        let least = start / self.final_div_factor.get();
        let [low, high] = [self.base_momentum, self.max_momentum].map(Real::get);
        let up = self.pct_start.get() * steps;
        let phase = |end, rate, momentum| Phase {
            end,
            rate,
            momentum,
        };
        let rise = phase(up - 1.0, [start, peak], [high, low]);
        match self.three_phase {
            true => vec![
                rise,
                phase(2.0 * up - 2.0, [peak, start], [low, high]),
                phase(steps - 1.0, [start, least], [high, high]),
            ],
            false => vec![rise, phase(steps - 1.0, [peak, least], [low, high])],
        }
    }

    /// The value of a step; `of` says between which two a phase goes.
    fn value(&self, at: &Progress, of: impl Fn(&Phase) -> [f64; 2]) -> f64 {
        let step = at.step.min(at.steps.saturating_sub(1)) as f64;
        let phases = self.phases(at.steps as f64);
        let number = phases.iter().position(|phase| step <= phase.end);
        let number = number.unwrap_or(phases.len() - 1);
        let before = number.checked_sub(1).map_or(0.0, |k| phases[k].end);
        let phase = &phases[number];
        let [from, to] = of(phase);
        // A phase of no length is over.
        let part = match phase.end == before {
            true => 1.0,
            false => (step - before) / (phase.end - before),
        };
        match self.anneal {
            Anneal::Cosine => to + (from - to) / 2.0 * ((PI * part).cos() + 1.0),
            Anneal::Linear => (to - from) * part + from,
        }
    }
}

impl Schedule for OneCycleLr {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::required("max_lr"),
            Argument::or("pct_start", "0.3"),
            Argument::or("anneal_strategy", "cos"),
            Argument::or("cycle_momentum", "true"),
            Argument::or("base_momentum", "0.85"),
            Argument::or("max_momentum", "0.95"),
            Argument::or("div_factor", "25"),
            Argument::or("final_div_factor", "10000"),
            Argument::or("three_phase", "false"),
        ];
        // torch's second argument is the number of steps, which is the run's here.
        Signature {
            positional: 1,
            ..Signature::plain("OneCycleLR", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let words = [("cos", Anneal::Cosine), ("linear", Anneal::Linear)];
        Ok(Self {
            max_lr: args.real("max_lr", above(0.0))?,
            pct_start: args.real_or("pct_start", 0.0..=1.0, 0.3)?,
            anneal: args.word_or("anneal_strategy", &words, Anneal::Cosine)?,
            cycle_momentum: args.flag("cycle_momentum", true)?,
            base_momentum: args.real_or("base_momentum", 0.0..1.0, 0.85)?,
            max_momentum: args.real_or("max_momentum", 0.0..1.0, 0.95)?,
            div_factor: args.real_or("div_factor", above(0.0), 25.0)?,
            final_div_factor: args.real_or("final_div_factor", above(0.0), 1e4)?,
            three_phase: args.flag("three_phase", false)?,
        })
    }
    fn rate(&self, _: f64, at: &Progress) -> f64 {
        self.value(at, |phase| phase.rate)
    }
    fn momentum(&self, at: &Progress) -> Option<f64> {
        self.cycle_momentum
            .then(|| self.value(at, |phase| phase.momentum))
    }
    fn cycles_momentum(&self) -> bool {
        self.cycle_momentum
    }
    fn lasts(&self) -> Lasts {
        Lasts::Run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_any_length_has_rates() {
        let values = vec![("max_lr", crate::ops::ArgValue::Float(0.5))];
        let cycle = OneCycleLr::from_args(&Args { values });
        let cycle = cycle.unwrap_or_else(|e| panic!("{}", e.message));
        for steps in 1..40 {
            for step in 0..steps + 3 {
                let at = Progress {
                    epoch: 0,
                    step,
                    steps,
                };
                let (rate, momentum) = (cycle.rate(0.1, &at), cycle.momentum(&at));
                assert!(
                    rate > 0.0 && rate <= 0.5 + 1e-12,
                    "{rate} of {step}, {steps}"
                );
                let within = |m: f64| (0.85 - 1e-12..=0.95 + 1e-12).contains(&m);
                assert!(
                    momentum.is_some_and(within),
                    "{momentum:?} of {step}, {steps}"
                );
            }
        }
    }
}
