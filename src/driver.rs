//! Runs the passes in order and verifies the graph after each: from a source text to a program.
//!
//! Knows every layer below it, but neither data nor the training loop; prints nothing.

pub mod set;
mod stages;
pub use stages::{Described, NoStage, Options, Stage, text};

use lenetc_runtime::cache::Cache;

use crate::backend::Part;
use crate::backend::cpu::tune::{self, Tuned};
use crate::backend::cpu::{self, Isa};
use crate::backend::cuda;
use crate::data::Search;
use crate::diag::{self, Diagnostic, Severity, Source, Span, line_col};
use crate::ir;
use crate::nest::loops::Dialect;
use crate::ops;
use crate::ops::{Graph, Graphs};
use crate::passes::build::{self, Built};
use crate::passes::config::{self, Config};
use crate::passes::fuse::{self, Group};
use crate::passes::{clip, cse, dce, fold, grad, optimize};
use crate::syntax;
use crate::syntax::ast::{File, Item};

/// Messages about a source text that cannot be used.
#[derive(Clone, Debug)]
pub struct Failure {
    pub source: Source,
    pub diagnostics: Vec<Diagnostic>,
}

/// A source text and what was read from it.
pub struct Model {
    pub source: Source,
    pub file: File,
    pub config: Config,
    /// Whether its inputs are bytes: as [`Model::look`] found, else as [`holds_bytes`] expects.
    pub bytes: bool,
    /// Whether there is something to train: the file has a `train` block, or an override stands for one.
    pub trained: bool,
    /// Messages that do not stop anything.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a model's text and the `train` entries that replace the file's, each as `train.batch_size=32`.
pub fn read(source: Source, overrides: &[String]) -> Result<Model, Box<Failure>> {
    let (file, mut diagnostics) = syntax::parse(&source);
    let entries = file.items.iter().find_map(|i| match i {
        Item::Train(t) => Some(t.entries.as_slice()),
        _ => None,
    });
    let trained = entries.is_some();
    let (mut config, more) = config::read(entries.unwrap_or(&[]));
    diagnostics.extend(more);
    if has_errors(&diagnostics) {
        let config = trained.then_some(&config);
        diagnostics.extend(errors_of_layers(&source, &file, config, &diagnostics));
        return Err(fail(source, diagnostics));
    }
    for text in overrides {
        replace(&mut config, text)?;
    }
    if let (Some(message), Some(text)) = (config.conflict(), overrides.last()) {
        let source = Source {
            name: "--set".into(),
            text: text.clone(),
        };
        let d = Diagnostic::error("E0302", message).at(Span::new(0, text.len()), "");
        return Err(fail(source, vec![d]));
    }
    Ok(Model {
        source,
        file,
        bytes: holds_bytes(&config),
        config,
        trained: trained || overrides.iter().any(|text| trains(text)),
        warnings: diagnostics,
    })
}

/// Whether an override stands for a `train` block: it says what is trained on, or what for. The others say how, and a
/// model that is not trained has no use for them, but that kernels are made for a size of the batch.
fn trains(text: &str) -> bool {
    let key = text.split('=').next().unwrap_or("").trim();
    let entry = key.strip_prefix("train.").unwrap_or(key);
    let entry = entry.split('.').next().unwrap_or(entry);
    ["data", "loss"].contains(&entry)
}

/// Errors of the layers in the same run: those that do not follow from what could not be read.
fn errors_of_layers(
    source: &Source,
    file: &File,
    config: Option<&Config>,
    known: &[Diagnostic],
) -> Vec<Diagnostic> {
    let bytes = config.is_some_and(holds_bytes);
    let (_, mut found) = build::run(file, config, bytes);
    let unread: Vec<&Diagnostic> = known.iter().filter(|d| !d.understood).collect();
    if unread.is_empty() {
        return found;
    }
    let line = |d: &Diagnostic| d.span().map(|s| line_col(source, s.start).0);
    let taken: Vec<_> = unread.into_iter().map(line).collect();
    found.retain(|d| matches!(d.code, "E0401" | "E0402") && !taken.contains(&line(d)));
    found
}

fn fail(source: Source, mut diagnostics: Vec<Diagnostic>) -> Box<Failure> {
    diagnostics.sort_by_key(|d| d.span().map_or(0, |s| s.start));
    let diagnostics = diag::told_once(diagnostics, &source.text);
    Box::new(Failure {
        source,
        diagnostics,
    })
}

fn has_errors(d: &[Diagnostic]) -> bool {
    d.iter().any(|d| d.severity == Severity::Error)
}

/// Whether the data set holds bytes rather than floats, as far as the file says: who can open it knows.
pub fn holds_bytes(c: &Config) -> bool {
    c.data.as_ref().is_none_or(|data| data.usually_bytes())
}

/// Applies one `--set`. The entry is read as if it stood in `train`.
fn replace(config: &mut Config, text: &str) -> Result<(), Box<Failure>> {
    let wrong = |message: &str, help: &[String]| {
        let source = Source {
            name: "--set".into(),
            text: text.into(),
        };
        let d = Diagnostic::error("E0305", message).at(Span::new(0, text.len()), "");
        fail(source, vec![help.iter().fold(d, |d, h| d.help(h.as_str()))])
    };
    let form = "it is written --set train.batch_size=32 or --set train.optimizer.lr=0.5";
    let form = [form.to_string()];
    let help = set::help(text, config);
    let (key, value) = text
        .strip_prefix("train.")
        .and_then(|t| t.split_once('='))
        .ok_or_else(|| wrong(set::problem(text), std::slice::from_ref(&help)))?;
    let source = Source {
        name: "--set".into(),
        text: format!("model M {{ input(1) }}\ntrain {{ value = {value} }}"),
    };
    let (file, diags) = syntax::parse(&source);
    let entry = file.items.iter().find_map(|i| match i {
        Item::Train(t) if t.entries.len() == 1 && diags.is_empty() => t.entries.first(),
        _ => None,
    });
    let entry = entry.ok_or_else(|| wrong("this value cannot be read", &form))?;
    config
        .set(key.trim(), Span::ZERO, &entry.value)
        .map_err(|d| match d.code {
            "E0301" => wrong(&d.message, &[help]),
            _ => wrong(&d.message, &d.help),
        })
}

impl Model {
    /// Learns from the data what the model is fed, where the data is there to be opened: a model can be looked at without.
    pub fn look(&mut self, search: Search) {
        let data = self.config.data.as_ref();
        if let Some(Ok(source)) = data.map(|data| data.open(search)) {
            self.bytes = source.opened.schema.bytes();
        }
    }

    /// The graph of the forward pass, with the loss where there is something to train; `bytes` says that the data set
    /// holds bytes.
    pub fn build(&self, bytes: bool) -> Result<Built, Box<Failure>> {
        let config = self.trained.then_some(&self.config);
        let (built, diagnostics) = build::run(&self.file, config, bytes);
        match built {
            Some(b) if !has_errors(&diagnostics) => {
                for graph in b.graphs.iter() {
                    verified(graph, "build");
                    let same = graph.states() == b.graphs.step.states();
                    assert!(
                        same,
                        "a bug in lenetc: the modes of a model have other states"
                    );
                }
                Ok(b)
            }
            _ => Err(fail(self.source.clone(), diagnostics)),
        }
    }

    /// The graphs with a step of training, gradients and updates, in place of its forward pass; as they are where
    /// nothing is trained.
    pub fn differentiate(&self, mut graphs: Graphs) -> Graphs {
        if !self.trained {
            return graphs;
        }
        let step = &mut graphs.step;
        let gradients = grad::run(step, self.config.loss.reduction());
        verified(step, "grad");
        let gradients = clip::run(step, gradients, self.config.clip);
        verified(step, "clip");
        optimize::run(step, &gradients, &self.config.updates());
        verified(step, "optimize");
        graphs
    }
}

/// A pass that may be left out.
type Optional = (&'static str, fn(&mut Graph));

/// The rewrites that `--opt 0` leaves out, in their order; fusion is left out as well.
pub const OPTIONAL: [Optional; 2] = [("fold", fold::run), ("cse", cse::run)];

/// Which of the optional passes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// None of them, as `--opt 0` has it.
    Required,
    /// The rewrites, but each operator is a kernel of its own: what fusion is measured against.
    Unfused,
    All,
}

impl From<bool> for Passes {
    fn from(optimise: bool) -> Self {
        if optimise { Self::All } else { Self::Required }
    }
}

/// The groups of operators that become kernels; the graph loses what no output depends on.
pub fn group(g: &mut Graph, passes: impl Into<Passes>) -> Vec<Group> {
    let passes = passes.into();
    if passes != Passes::Required {
        for (name, pass) in OPTIONAL {
            pass(g);
            verified(g, name);
        }
    }
    dce::run(g);
    verified(g, "dce");
    let groups = fuse::run(g, passes == Passes::All);
    for group in &groups {
        if let Err(e) = crate::nest::verify(&group.nest) {
            panic!("a bug in lenetc: fusion made a wrong nest: {e:?}");
        }
    }
    groups
}

/// A graph behind the passes, and the groups of its operators.
pub struct Grouped {
    pub graph: Graph,
    pub groups: Vec<Group>,
}

impl Grouped {
    /// Runs the passes on a graph.
    pub fn new(mut graph: Graph, passes: Passes) -> Self {
        let groups = group(&mut graph, passes);
        Self { graph, groups }
    }

    /// As a plan reads it.
    pub fn part(&self) -> Part<'_> {
        Part {
            graph: &self.graph,
            groups: &self.groups,
        }
    }
}

/// The graphs of a model behind the passes.
pub struct Modes {
    pub step: Grouped,
    pub eval: Option<Grouped>,
}

impl Modes {
    /// Runs the passes on each graph.
    pub fn new(graphs: Graphs, passes: impl Into<Passes>) -> Self {
        let passes = passes.into();
        Self {
            step: Grouped::new(graphs.step, passes),
            eval: graphs.eval.map(|graph| Grouped::new(graph, passes)),
        }
    }

    /// The groups of all modes, in the order of a plan's kernels.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        let eval = self.eval.iter().flat_map(|eval| &eval.groups);
        self.step.groups.iter().chain(eval)
    }

    /// The plan for the processor.
    pub fn plan(&self, batch: u32, isa: Isa) -> cpu::Plan {
        let eval = self.eval.as_ref().map(Grouped::part);
        cpu::plan(self.step.part(), eval, batch, isa)
    }
}

/// From the graphs of a model to its plan.
pub fn plan(graphs: Graphs, passes: impl Into<Passes>, batch: u32, isa: Isa) -> cpu::Plan {
    held(Modes::new(graphs, passes).plan(batch, isa))
}

/// The same with the tiles that are the fastest on this machine, as the cache or a measurement has them, and what was
/// done for that. The program gives the same bits as that of [`plan`].
pub fn tuned_plan(
    graphs: Graphs,
    passes: impl Into<Passes>,
    batch: u32,
    isa: Isa,
    cache: Option<&Cache>,
) -> (cpu::Plan, Tuned) {
    let modes = Modes::new(graphs, passes);
    let mut plan = modes.plan(batch, isa);
    let nests: Vec<_> = modes.groups().map(|group| &group.nest).collect();
    let tuned = tune::run(&mut plan, &nests, cache);
    (held(plan), tuned)
}

/// The plan of [`plan`] for a GPU; `multiprocessors` is what the device has.
pub fn plan_cuda(graphs: Graphs, optimise: bool, batch: u32, multiprocessors: u32) -> cuda::Plan {
    let modes = Modes::new(graphs, optimise);
    let options = cuda::Options {
        batch,
        multiprocessors,
    };
    let eval = modes.eval.as_ref().map(Grouped::part);
    let plan = cuda::plan(modes.step.part(), eval, options);
    let units = plan.train.iter().chain(&plan.eval);
    units.for_each(|unit| Dialect::Gpu.hold(&unit.kernel));
    plan
}

/// A plan whose kernels are all the processor's.
fn held(plan: cpu::Plan) -> cpu::Plan {
    let kernels = plan.steps.iter().map(cpu::Step::kernel);
    kernels.for_each(|kernel| Dialect::Processor.hold(kernel));
    plan
}

/// A graph that breaks an invariant is a bug of the pass that made it.
fn verified(g: &Graph, pass: &str) {
    if let Err(e) = ir::verify(g).and_then(|()| ops::verify(g)) {
        panic!("a bug in lenetc: after {pass} the graph is wrong: {e}");
    }
}
