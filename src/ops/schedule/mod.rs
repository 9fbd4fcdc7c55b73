//! Schedules: the learning rate of each step, and the momentum where it goes along.
//!
//! Each is a type here and a word in the list, with the arguments and the values of torch's (`torch.optim.lr_scheduler`).
//! All are closed formulas in f64, of how far a run is: the host evaluates them, and no target knows them. Does not know
//! optimizers.

mod anneal;
mod one_cycle;
mod steps;

use super::{ArgError, Args, Signature, registry};
pub use anneal::{CosineAnnealingLr, LinearLr};
pub use one_cycle::OneCycleLr;
pub use steps::{ExponentialLr, MultiStepLr, StepLr};

/// How far a run is when a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Epochs before that of the step.
    pub epoch: u32,
    /// Steps before this one.
    pub step: u64,
    /// Steps of the whole run, at least one.
    pub steps: u64,
}

/// How long a schedule lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// So many epochs, after which another may follow.
    Epochs(u32),
    /// It has no end.
    Ever,
    /// As long as the run, whose length is part of its formula.
    Run,
}

/// What can be named as `schedule`.
pub trait Schedule {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature
    where
        Self: Sized;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>
    where
        Self: Sized;
    /// The learning rate of a step; `base` is the optimizer's.
    fn rate(&self, base: f64, at: &Progress) -> f64;
    /// The optimizer's momentum in a step, where the schedule changes it.
    fn momentum(&self, at: &Progress) -> Option<f64>;
    /// Whether it changes the momentum.
    fn cycles_momentum(&self) -> bool;
    fn lasts(&self) -> Lasts;
}

registry! {
    /// What a model can name as its schedule, or one of several.
    pub enum AnySchedule of Schedule {
        StepLr, MultiStepLr, ExponentialLr, LinearLr, CosineAnnealingLr, OneCycleLr
    }
}

/// Schedules one after the other, as torch's `SequentialLR` has them; the learning rate is constant where there are none.
/// Each but the last lasts a number of epochs, and the next starts as if it were the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedules {
    list: Vec<AnySchedule>,
}

impl Schedules {
    /// Those of a list. Fails with the position of one that cannot stand there, and why.
    pub fn new(list: Vec<AnySchedule>) -> Result<Self, (usize, String)> {
        for (at, schedule) in list.iter().enumerate() {
            let last = at + 1 == list.len();
            match schedule.lasts() {
                Lasts::Run if list.len() > 1 => {
                    return Err((at, "lasts the whole run, so it stands alone".into()));
                }
                Lasts::Ever if !last => {
                    return Err((at, "has no end, so none can follow it".into()));
                }
                _ => {}
            }
        }
        Ok(Self { list })
    }

    /// The learning rate of a step; `base` is the optimizer's.
    pub fn rate(&self, base: f64, at: &Progress) -> f64 {
        self.of(at)
            .map_or(base, |(schedule, at)| schedule.rate(base, &at))
    }

    /// The optimizer's momentum in a step, where a schedule changes it.
    pub fn momentum(&self, at: &Progress) -> Option<f64> {
        self.of(at)
            .and_then(|(schedule, at)| schedule.momentum(&at))
    }

    /// Whether one of them changes the momentum.
    pub fn cycles_momentum(&self) -> bool {
        self.list.iter().any(|schedule| schedule.cycles_momentum())
    }

    /// The schedule of a step, and how far it is.
    fn of(&self, at: &Progress) -> Option<(&AnySchedule, Progress)> {
        let mut epoch = at.epoch;
        let (last, before) = self.list.split_last()?;
        for schedule in before {
            match schedule.lasts() {
                Lasts::Epochs(n) if epoch >= n => epoch -= n,
                _ => return Some((schedule, Progress { epoch, ..*at })),
            }
        }
        Some((last, Progress { epoch, ..*at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{ArgValue, Registry};

    fn named(name: &str, values: Vec<(&'static str, ArgValue)>) -> AnySchedule {
        let read = AnySchedule::read(name, &Args { values }).expect("it is known");
        read.unwrap_or_else(|e| panic!("{}", e.message))
    }

    fn warm_up() -> AnySchedule {
        named("LinearLR", vec![("total_iters", ArgValue::Int(4))])
    }

    fn halving() -> AnySchedule {
        named("ExponentialLR", vec![("gamma", ArgValue::Float(0.5))])
    }

    fn at(epoch: u32) -> Progress {
        Progress {
            epoch,
            step: 0,
            steps: 1,
        }
    }

    #[test]
    fn each_starts_where_the_one_before_it_ends() {
        let both = Schedules::new(vec![warm_up(), halving()]).expect("they fit");
        let rates = [0, 2, 4, 5, 6].map(|epoch| both.rate(0.5, &at(epoch)));
        let warm = |t: f64| 0.5 * (1.0 / 3.0 + (2.0 / 3.0) * t / 4.0);
        let wanted = [warm(0.0), warm(2.0), 0.5, 0.25, 0.125];
        let near = |(a, b): (f64, &f64)| (a - b).abs() < 1e-15;
        assert!(rates.into_iter().zip(&wanted).all(near), "{rates:?}");
        assert!(!both.cycles_momentum() && both.momentum(&at(0)).is_none());
    }

    #[test]
    fn without_one_the_rate_is_constant() {
        assert_eq!(Schedules::default().rate(0.3, &at(7)), 0.3);
    }

    #[test]
    fn what_has_no_end_stands_last_and_what_lasts_the_run_alone() {
        let refused = |list: Vec<AnySchedule>| Schedules::new(list).expect_err("is refused");
        let cycle = || named("OneCycleLR", vec![("max_lr", ArgValue::Float(0.5))]);
        let found = refused(vec![warm_up(), halving(), warm_up()]);
        assert_eq!(found, (1, "has no end, so none can follow it".into()));
        let found = refused(vec![warm_up(), cycle()]);
        assert_eq!(found, (1, "lasts the whole run, so it stands alone".into()));
        assert!(Schedules::new(vec![cycle()]).is_ok_and(|s| s.cycles_momentum()));
    }
}
