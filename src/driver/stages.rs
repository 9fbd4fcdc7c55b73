//! Every stage of a compilation as text: what `emit` shows and goldens record.

use std::str::FromStr;

use cranelift::codegen::CodegenError;
use lenetc_runtime::cuda::Program;

use super::{Failure, Model, group, holds_bytes, plan, plan_cuda};
use crate::backend::Origin;
use crate::backend::cpu::{self, Choice, Isa, clif, wide};
use crate::backend::cuda::ptx;
use crate::ir;
use crate::nest;
use crate::ops::Graph;
use crate::passes::fuse::Group;

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

impl Stage {
    /// The stages by the names under which users ask for them.
    pub const NAMES: [(&str, Self); 12] = [
        ("ast", Self::Ast),
        ("ir", Self::Ir),
        ("grad", Self::Grad),
        ("fused", Self::Fused),
        ("plan", Self::Plan),
        ("nest", Self::Nest),
        ("loops", Self::Loops),
        ("clif", Self::Clif),
        ("asm", Self::Asm),
        ("cuda", Self::Cuda),
        ("ptx", Self::Ptx),
        ("dot", Self::Dot),
    ];
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|s| s.0 == name);
        found
            .map(|s| s.1)
            .ok_or_else(|| format!("there is no stage {name}"))
    }
}

/// Why a stage cannot be shown.
#[derive(Debug)]
pub enum NoStage {
    /// The model has errors.
    Model(Box<Failure>),
    /// This program cannot make it; a sentence.
    Unavailable(String),
}

impl From<Box<Failure>> for NoStage {
    fn from(f: Box<Failure>) -> Self {
        Self::Model(f)
    }
}

/// A stage of a model's training step, from the plan on for an instruction set; `clif` and `asm` of kernels that
/// are Cranelift's for the target that `target` makes, `cuda` and `ptx` for devices of a compute capability.
pub fn text(
    model: &Model,
    stage: Stage,
    optimise: bool,
    isa: Isa,
    target: impl Fn() -> Result<clif::Target, String>,
    capability: u32,
) -> Result<String, NoStage> {
    let unavailable = NoStage::Unavailable;
    if stage == Stage::Ast {
        return Ok(format!("{:#?}\n", model.file));
    }
    let built = model.build(holds_bytes(&model.config))?;
    if stage == Stage::Ir {
        return Ok(ir::text(&built.graph));
    }
    let mut g = model.differentiate(built.graph);
    let planned = |g| plan(g, optimise, model.config.batch_size, isa);
    let on_gpu = |g| {
        let multiprocessors = ptx::multiprocessors(capability);
        plan_cuda(g, optimise, model.config.batch_size, multiprocessors)
    };
    Ok(match stage {
        Stage::Grad => ir::text(&g),
        Stage::Dot => ir::dot(&g),
        Stage::Nest => {
            let groups = group(&mut g, optimise);
            let plan = cpu::plan(&g, &groups, model.config.batch_size, isa);
            let mut choices = plan.choices.iter();
            groups_text(&g, &groups, || choices.next().map(Choice::to_string))
        }
        Stage::Fused => {
            let groups = group(&mut g, optimise);
            ir::text(&g) + "\n" + &groups_text(&g, &groups, || None)
        }
        Stage::Plan => plan_text(&planned(g)),
        Stage::Loops => {
            let kernels = planned(g).kernels;
            kernels
                .iter()
                .map(|k| nest::loops::text(k) + "\n")
                .collect()
        }
        Stage::Clif => {
            let p = plan(g, optimise, model.config.batch_size, Isa::Cranelift);
            clif::text(&p.kernels, &target().map_err(unavailable)?)
        }
        Stage::Asm => {
            let groups = group(&mut g, optimise);
            let plan = cpu::plan(&g, &groups, model.config.batch_size, isa);
            let text = asm_text(&plan, &target().map_err(unavailable)?);
            text.map_err(|e| unavailable(e.to_string()))?
        }
        Stage::Cuda => cuda_text(&on_gpu(g).program()),
        Stage::Ptx => {
            ptx::text(&on_gpu(g).program(), capability).map_err(|e| unavailable(e.to_string()))?
        }
        Stage::Ast | Stage::Ir => unreachable!("shown above"),
    })
}

/// Groups as text: the operators of each, what `next` says of it, then its nest.
fn groups_text(g: &Graph, groups: &[Group], mut next: impl FnMut() -> Option<String>) -> String {
    let mut out = String::new();
    for (k, group) in groups.iter().enumerate() {
        let operators = Origin::of(g, &group.nodes);
        out.push_str(&format!("# {k}: {operators}\n"));
        for line in next().iter().flat_map(|t| t.lines()) {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&format!("{}\n", nest::text(&group.nest)));
    }
    out
}

/// Launches as comments, then the kernels as CUDA C.
fn cuda_text(program: &Program) -> String {
    let mut out = String::new();
    for (title, launches) in [("training", &program.train), ("evaluation", &program.eval)] {
        out.push_str(&format!("// A step of {title}:\n"));
        for l in launches {
            out.push_str(&format!(
                "//   {} <<<{}, {}>>>\n",
                l.kernel, l.blocks, l.threads
            ));
        }
    }
    format!("{out}\n{}", program.source)
}

/// Machine code of each kernel, behind the operators and layers that it computes.
fn asm_text(p: &cpu::Plan, target: &clif::Target) -> Result<String, CodegenError> {
    let mut out = String::new();
    for ((k, code), origin) in p.kernels.iter().zip(&p.code).zip(&p.origins) {
        out.push_str(&format!("; {origin}\n"));
        out.push_str(&match code {
            Some(code) => format!("; {} {}\n{}\n", k.name, p.isa, wide::text(code)),
            None => clif::assembly(std::slice::from_ref(k), target)?,
        });
    }
    Ok(out)
}

/// The memory plan as text.
fn plan_text(p: &cpu::Plan) -> String {
    let mut out = format!(
        "block {} images\narena {} bytes a worker\ngradients {} bytes a shard\nparameters {} bytes\n",
        p.block, p.arena_bytes, p.shard_bytes, p.parameter_bytes
    );
    for (title, once) in [
        ("for every block", false),
        ("once a step, after the sum of shards", true),
    ] {
        out.push_str(&format!("\n{title}:\n"));
        for (k, kernel) in p
            .kernels
            .iter()
            .enumerate()
            .filter(|(k, _)| p.once[*k] == once)
        {
            out.push_str(&format!(
                "  {}{}\n",
                kernel.name,
                if p.eval[k] { "  (eval)" } else { "" }
            ));
            for (b, place) in kernel.buffers.iter().zip(&p.places[k]) {
                let bytes = b.len * b.dtype.size_bytes();
                out.push_str(&format!("    {:<8} {:?}, {bytes} bytes\n", b.name, place));
            }
        }
    }
    out
}
