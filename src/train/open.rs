//! The front door: from a model, and where its data lies, to a session that trains and evaluates it.
//!
//! Knows the order in which this is done: the data is opened, the model built for what that holds, the data read as the
//! model wants it, a step of training derived, planned and compiled. Prints nothing.

use std::fmt;

use lenetc_runtime::cache::Cache;
use lenetc_runtime::cuda::{Choice, Device};

use super::{Failed, Loaded, RunError, Session, load, open, wanted};
use crate::backend::cpu::tune::Tuned;
use crate::backend::cpu::{Isa, Plan};
use crate::data::Search;
use crate::diag;
use crate::driver::{self, Failure, Model, Passes};
use crate::ops::Graphs;
use crate::passes::build::Built;

/// How a session is made.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub on: On,
    pub passes: Passes,
    pub purpose: Purpose,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Training,
    /// Nothing is trained: what only that needs is not made ready on a GPU.
    Evaluation,
}

/// What a session runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Processor {
        isa: Isa,
        threads: usize,
        /// Whether tiles are chosen by what is fastest on this machine.
        tune: bool,
    },
    Gpu(Choice),
}

impl Default for Setup {
    /// All threads of this machine, and the best that its processor has.
    fn default() -> Self {
        Self {
            on: On::Processor {
                isa: Isa::best(),
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                tune: false,
            },
            passes: Passes::All,
            purpose: Purpose::Training,
        }
    }
}

/// Why there is no session, or why it came to no end.
#[derive(Debug)]
pub enum Refused {
    /// Messages about the model's text.
    Source(Box<Failure>),
    Run(RunError),
    /// Training that came to no good end.
    Failed(Box<Failed>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(failure) => {
                f.write_str(&diag::render(&failure.diagnostics, &failure.source, false))
            }
            Self::Run(e) => e.fmt(f),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Box<Failure>> for Refused {
    fn from(failure: Box<Failure>) -> Self {
        Self::Source(failure)
    }
}

impl From<RunError> for Refused {
    fn from(e: RunError) -> Self {
        Self::Run(e)
    }
}

impl From<Box<Failed>> for Refused {
    fn from(failed: Box<Failed>) -> Self {
        Self::Failed(failed)
    }
}

/// A model and its data, which fit each other, before any code is made.
pub struct Prepared {
    pub model: Model,
    pub built: Built,
    pub data: Loaded,
}

impl Prepared {
    /// Opens the model's data, builds the model for it and reads the data.
    ///
    /// Fails where the model is wrong, names no data or names data that is not there or not as the model wants it; a model
    /// that is wrong is told of before data that is not there.
    pub fn new(mut model: Model, search: Search) -> Result<Self, Refused> {
        // Out of the model, which is built while the data is open.
        let data = model.config.data.take();
        let source = data.as_ref().map(|data| open(data, search));
        if let Some(Ok(source)) = &source {
            model.bytes = source.opened.schema.bytes();
        }
        let built = model.build(model.bytes)?;
        let source = source.ok_or_else(|| RunError::NoData(no_data(&model)))??;
        let wanted = wanted(&built.input, &built.output, &model.config.loss);
        let loaded = load(source, &wanted)?;
        model.config.data = data;
        Ok(Self {
            model,
            built,
            data: loaded,
        })
    }

    /// The graphs, with a step of training.
    pub fn graphs(&self) -> Graphs {
        self.model.differentiate(self.built.graphs.clone())
    }

    /// The plan for the processor and, where tiles are to be tuned, what that did.
    pub fn plan(&self, passes: Passes, isa: Isa, tune: bool) -> (Plan, Option<Tuned>) {
        let (graphs, batch) = (self.graphs(), self.model.config.batch_size);
        if !tune {
            return (driver::plan(graphs, passes, batch, isa), None);
        }
        let cache = Cache::of_user();
        let (plan, tuned) = driver::tuned_plan(graphs, passes, batch, isa, cache.as_ref());
        (plan, Some(tuned))
    }

    /// Compiles it. Parameters are zero.
    pub fn session(self, setup: &Setup) -> Result<Session, RunError> {
        if setup.purpose == Purpose::Training {
            self.enough_images()?;
        }
        match setup.on {
            On::Processor { isa, threads, tune } => {
                let (plan, tuned) = self.plan(setup.passes, isa, tune);
                let session = Session::new(&plan, self.data, self.model.config, threads)?;
                Ok(Session { tuned, ..session })
            }
            On::Gpu(choice) => self.on_gpu(choice, setup),
        }
    }

    /// Refuses batches of an epoch that have fewer images than a layer needs.
    fn enough_images(&self) -> Result<(), RunError> {
        let batch = self.model.config.batch_size.max(1) as usize;
        let last = self.data.train.len() * self.data.permutations % batch;
        let smallest = if last == 0 { batch } else { last };
        let least = self.built.least_images as usize;
        match smallest < least {
            true => Err(RunError::FewImages { smallest, least }),
            false => Ok(()),
        }
    }

    fn on_gpu(self, choice: Choice, setup: &Setup) -> Result<Session, RunError> {
        let device = Device::open(choice)?;
        let batch = self.model.config.batch_size;
        let optimise = setup.passes != Passes::Required;
        let multiprocessors = device.found.multiprocessors;
        let plan = driver::plan_cuda(self.graphs(), optimise, batch, multiprocessors);
        if let Some(why) = plan.too_large() {
            return Err(RunError::TooLarge {
                why: why.to_string(),
                batch,
            });
        }
        let program = match setup.purpose {
            Purpose::Training => plan.program(),
            Purpose::Evaluation => plan.program().evaluation(),
        };
        Session::on_gpu(&device, program, plan.states, self.data, self.model.config)
    }
}

/// What is missing where a run has no data.
fn no_data(model: &Model) -> String {
    let file = &model.source.name;
    match model.trained {
        true => format!("{file} names no data: add `data = …` to its train block"),
        false => format!(
            "{file} has no train block, which names the data: add train {{ data = … }}\n\
             `lenetc check` and `lenetc emit` do without one"
        ),
    }
}

impl Session {
    /// A session for a model, whose parameters are zero: [`initialise`](Session::initialise) draws them, and
    /// [`load_weights`](Session::load_weights) reads them.
    pub fn open(model: Model, search: Search, setup: &Setup) -> Result<Self, Refused> {
        Ok(Prepared::new(model, search)?.session(setup)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn prepared(layers: &str, train: &str) -> Result<Prepared, Refused> {
        let source = Source {
            name: "m.nn".into(),
            text: format!("model M {{ input(1, 28, 28); {layers} }}\n{train}"),
        };
        Prepared::new(driver::read(source, &[])?, Search::default())
    }

    fn said(layers: &str, train: &str) -> String {
        let prepared = prepared(layers, train);
        prepared.err().map_or(String::new(), |e| e.to_string())
    }

    #[test]
    fn a_model_that_is_wrong_is_told_of_before_data_that_is_not_there() {
        let data = "train { data = npz(\"none.npz\") }";
        let wrong = said("Flatten; Conv2d(1, kernel_size=3)", data);
        assert!(wrong.starts_with("error[E0202]"), "{wrong}");
        let right = said("Flatten; Linear(10)", data);
        assert!(right.contains("none.npz"), "{right}");
        let unnamed = said("Flatten; Linear(10)", "train { }");
        assert!(unnamed.starts_with("m.nn names no data: "), "{unnamed}");
        let untrained = said("Flatten; Linear(10)", "");
        assert!(untrained.contains("no train block"), "{untrained}");
        let outside = said("Flatten; Linear(10)", "train { data = idx(\"../x\") }");
        assert!(
            outside.contains("outside of the model's folder"),
            "{outside}"
        );
    }

    #[test]
    fn a_norm_of_one_value_is_not_trained_on_one_image() {
        let rows = ["[0, 1]", "[2, 0]", "[1, 1]", "[0, 3]", "[1, 2]"].join(", ");
        let refused = |layers: &str, batch: u32, purpose: Purpose| {
            let source = Source {
                name: "m.nn".into(),
                text: format!(
                    "model M {{ input(2); {layers}; Linear(2) }}\n\
                     train {{ data = inline {{ x = [{rows}] y = [0, 1, 0, 1, 0] }}; batch_size = {batch} }}"
                ),
            };
            let model = driver::read(source, &[]).expect("is right");
            let prepared = Prepared::new(model, Search::default()).expect("fits");
            let setup = Setup {
                purpose,
                ..Setup::default()
            };
            prepared.session(&setup).err().map(|e| e.to_string())
        };
        use Purpose::{Evaluation, Training};
        for batch in [1, 2, 4] {
            let said = refused("BatchNorm1d()", batch, Training).expect("is refused");
            assert!(said.contains("has 1 image, and a batch norm"), "{said}");
            assert_eq!(refused("BatchNorm1d()", batch, Evaluation), None);
            assert_eq!(refused("Tanh", batch, Training), None);
        }
        for batch in [3, 5, 64] {
            assert_eq!(refused("BatchNorm1d()", batch, Training), None);
        }
    }

    #[test]
    fn a_data_set_says_whether_it_holds_bytes() {
        let p = prepared("Flatten; Linear(10)", "train { data = fashion_mnist }");
        assert!(p.is_ok_and(|p| p.model.bytes && p.data.train.bytes()));
        let rows = vec![format!("[{}]", vec!["0"; 28].join(", ")); 28].join(", ");
        let train = format!("train {{ data = inline {{ x = [[{rows}]] y = [3] }} }}");
        let p = prepared("Flatten; Linear(10)", &train);
        assert!(p.is_ok_and(|p| !p.model.bytes && !p.data.train.bytes()));
    }
}
