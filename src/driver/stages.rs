//! Every stage of a compilation as text: what `emit` shows and goldens record.
//!
//! `docs/stages.md` says how to read them.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Failure, Model, Modes};
use crate::backend::cpu::{self, Isa, clif};
use crate::backend::cuda::ptx;
use crate::backend::origin::paths;
use crate::diag::Span;
use crate::ir::{self, NodeId};
use crate::ops::{Graph, Graphs};
use crate::passes::build::{Row, UsedBlock};
use crate::syntax;

mod draw;
mod kernels;
mod pick;
use pick::Pick;

/// What a model becomes on its way to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Ast,
    Ir,
    Grad,
    Fused,
    Plan,
    Nest,
    Loops,
    Clif,
    Asm,
    Cuda,
    Ptx,
    Dot,
}

/// A stage as users know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    pub stage: Stage,
    /// The name by which it is asked for.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub shows: &'static str,
}

impl Stage {
    /// All stages in the order of a compilation.
    pub const ALL: [Described; 12] = [
        Self::Ast.described("ast", "the tree that the file was read as"),
        Self::Ir.described("ir", "the graph of the forward pass and the loss"),
        Self::Grad.described("grad", "the graph of a step: gradients and updates added"),
        Self::Fused.described("fused", "which nodes of that graph share a kernel"),
        Self::Plan.described("plan", "the kernels of a step, and where their buffers lie"),
        Self::Nest.described("nest", "each kernel as formulas of its results' elements"),
        Self::Loops.described("loops", "each kernel as loops, memory and registers"),
        Self::Clif.described("clif", "each kernel in Cranelift's own language"),
        Self::Asm.described("asm", "each kernel as machine code"),
        Self::Cuda.described("cuda", "a step's launches on a GPU, and its CUDA C"),
        Self::Ptx.described("ptx", "the PTX that NVRTC makes of that"),
        Self::Dot.described(
            "dot",
            "the net for Graphviz; with --grad the graph of a step",
        ),
    ];

    /// The names of all stages, as an error about a missing one shows them.
    pub const NAMES: &str = "ast|ir|grad|fused|plan|nest|loops|clif|asm|cuda|ptx|dot";

    const fn described(self, name: &'static str, shows: &'static str) -> Described {
        Described {
            stage: self,
            name,
            shows,
        }
    }

    /// The name by which users ask for it.
    pub fn name(self) -> &'static str {
        let all = Self::ALL.iter();
        all.filter(|d| d.stage == self)
            .map(|d| d.name)
            .next()
            .unwrap_or_default()
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|d| d.name == name);
        found
            .map(|d| d.stage)
            .ok_or_else(|| format!("there is no stage {name}: they are {}", Self::NAMES))
    }
}

/// Which stage, made how, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    pub stage: Stage,
    /// Whether the optional passes run.
    pub optimise: bool,
    /// What `plan`, `nest`, `loops` and `asm` are for.
    pub isa: Isa,
    /// The compute capability that `cuda` and `ptx` are for.
    pub capability: u32,
    /// The path of a layer: what is not of it, or of those within it, is left out.
    pub layer: Option<String>,
    /// The name of a kernel, or its number: what is not of one called so is left out.
    pub kernel: Option<String>,
    /// Whether `dot` draws the graph of a step.
    pub grad: bool,
}

impl Options {
    /// Whether the gradient itself is asked for, rather than whatever the model's step has.
    fn wants_gradient(&self) -> bool {
        self.stage == Stage::Grad || self.grad
    }

    /// All of a stage, with the optional passes.
    pub fn new(stage: Stage, isa: Isa) -> Self {
        Self {
            stage,
            optimise: true,
            isa,
            capability: ptx::CAPABILITY,
            layer: None,
            kernel: None,
            grad: false,
        }
    }
}

/// Why a stage cannot be shown.
#[derive(Debug)]
pub enum NoStage {
    /// The model has errors.
    Model(Box<Failure>),
    /// This program cannot make it, or it has nothing of what is asked for; a sentence.
    Unavailable(String),
}

impl From<Box<Failure>> for NoStage {
    fn from(f: Box<Failure>) -> Self {
        Self::Model(f)
    }
}

impl From<String> for NoStage {
    fn from(sentence: String) -> Self {
        Self::Unavailable(sentence)
    }
}

/// A stage of a model's training step, or of its forward pass where nothing is trained; `clif` and `asm` of kernels that are Cranelift's for the target that `target`
/// makes.
pub fn text(
    model: &Model,
    options: &Options,
    target: impl Fn() -> Result<clif::Target, String>,
) -> Result<String, NoStage> {
    if options.grad && options.stage != Stage::Dot {
        let message = "--grad is for --stage dot; --stage grad is the graph of a step as text";
        return Err(NoStage::Unavailable(message.into()));
    }
    let whole = options.layer.is_none() && options.kernel.is_none();
    if options.stage == Stage::Ast && whole {
        return Ok(syntax::tree(&model.source, &model.file, None));
    }
    if options.wants_gradient() && !model.trained {
        return Err(no_gradient(model).into());
    }
    let c = Compilation::new(model, options)?;
    Ok(match options.stage {
        Stage::Ast => syntax::tree(&model.source, &model.file, Some(&c.spans()?)),
        Stage::Ir => c.graph_text(&c.forward)? + &c.evaluation()?,
        Stage::Grad => c.graph_text(&c.graphs.step)?,
        Stage::Dot => c.drawing()?,
        Stage::Fused => c.fused()?,
        Stage::Nest => c.nests()?,
        Stage::Plan => c.plan_text()?,
        Stage::Loops => c.loops()?,
        Stage::Clif => c.clif(&target()?)?,
        Stage::Asm => c.asm(&target()?)?,
        Stage::Cuda => c.cuda()?,
        Stage::Ptx => c.ptx()?,
    })
}

/// Why a model has no gradient.
fn no_gradient(model: &Model) -> String {
    format!(
        "{} has no train block, so there is no gradient: add train {{ … }}",
        model.source.name
    )
}

/// A model's graphs, and what is asked for.
struct Compilation<'a> {
    model: &'a Model,
    options: &'a Options,
    pick: Pick,
    rows: Vec<Row>,
    blocks: Vec<UsedBlock>,
    /// The forward pass and the loss.
    forward: Graph,
    /// A step, and evaluation where it is no part of that.
    graphs: Graphs,
}

impl<'a> Compilation<'a> {
    fn new(model: &'a Model, options: &'a Options) -> Result<Self, NoStage> {
        let built = model.build(model.bytes)?;
        let forward = built.graphs.step.clone();
        let graphs = model.differentiate(built.graphs);
        let pick = Pick {
            layer: options.layer.clone(),
            kernel: options.kernel.clone(),
        };
        pick.check_layer(built.rows.iter().map(|r| r.path.as_str()), &graphs.step)?;
        Ok(Self {
            model,
            options,
            pick,
            rows: built.rows,
            blocks: built.blocks,
            forward,
            graphs,
        })
    }

    fn batch(&self) -> u32 {
        self.model.config.batch_size
    }

    /// The graphs after the passes, and their kernels.
    fn modes(&self) -> Modes {
        Modes::new(self.graphs.clone(), self.options.optimise)
    }

    fn plan(&self, isa: Isa) -> cpu::Plan {
        self.modes().plan(self.batch(), isa)
    }

    /// The nodes of a step's graph that are asked for.
    fn nodes(&self, g: &Graph) -> Result<Vec<NodeId>, NoStage> {
        let step = self.pick.kernel.is_some().then(|| self.modes().step);
        let nodes = self.pick.nodes(g, step.as_ref())?;
        match nodes.is_empty() {
            true => Err(self.nothing()),
            false => Ok(nodes),
        }
    }

    /// Where the layers are written that are asked for, and the blocks that they are in.
    fn spans(&self) -> Result<Vec<Span>, NoStage> {
        let step = &self.graphs.step;
        let nodes = self.nodes(step)?;
        let nodes = nodes.iter().map(|&id| step.node(id));
        let layers: Vec<_> = nodes.filter(|n| !n.layer.is_empty()).collect();
        let paths: BTreeSet<&str> = layers.iter().flat_map(|n| paths(&n.layer)).collect();
        let holds = |b: &&UsedBlock| paths.contains(b.path.as_str());
        let blocks = self.blocks.iter().filter(holds).map(|b| b.span);
        let spans: Vec<Span> = layers.iter().map(|n| n.span).chain(blocks).collect();
        match spans.is_empty() {
            true => Err(self.nothing()),
            false => Ok(spans),
        }
    }

    /// That nothing of the stage is asked for.
    fn nothing(&self) -> NoStage {
        self.pick.nothing(self.options.stage.name()).into()
    }

    fn graph_text(&self, g: &Graph) -> Result<String, NoStage> {
        let nodes = self.nodes(g)?;
        Ok(ir::text(g, |id| nodes.binary_search(&id).is_ok()))
    }

    /// The graph of evaluation, where it is no part of the step.
    fn evaluation(&self) -> Result<String, NoStage> {
        let Some(graph) = &self.graphs.eval else {
            return Ok(String::new());
        };
        let eval = self.pick.kernel.is_some().then(|| self.modes().eval);
        let nodes = self.pick.nodes(graph, eval.flatten().as_ref())?;
        let text = ir::text(graph, |id| nodes.binary_search(&id).is_ok());
        Ok(format!("\n# In evaluation:\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_name_and_a_line() {
        let names: Vec<&str> = Stage::ALL.iter().map(|d| d.name).collect();
        assert_eq!(names.join("|"), Stage::NAMES);
        for d in Stage::ALL {
            assert_eq!(d.name.parse(), Ok(d.stage));
            assert_eq!(d.stage.name(), d.name);
            assert!((10..60).contains(&d.shows.len()), "{}", d.shows);
        }
        let e = "lops".parse::<Stage>().expect_err("is none");
        assert!(
            e.contains("there is no stage lops") && e.contains("loops"),
            "{e}"
        );
    }
}
