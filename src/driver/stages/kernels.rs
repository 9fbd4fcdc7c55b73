//! The stages that are lists of kernels. Each kernel stands under its number in the step, its operators and their layers.

use std::collections::BTreeSet;

use lenetc_runtime::cuda::Program;
use lenetc_runtime::exec::Place;

use super::super::{Modes, plan_cuda};
use super::{Compilation, NoStage};
use crate::backend::Origin;
use crate::backend::cpu::{self, Isa, clif, wide};
use crate::backend::cuda::{self, ptx};
use crate::backend::phases::{Slot, Work};
use crate::diag;
use crate::ir::{self, NodeId, Value};
use crate::lines::{comment, wrap};
use crate::nest::{self, loops};
use crate::ops::Graph;
use crate::passes::fuse::{self, Group};

/// The line over a kernel.
fn title(mark: &str, number: usize, origin: &Origin) -> String {
    comment(mark, &format!("{number}: {origin}"))
}

impl Compilation<'_> {
    /// The numbers of the kernels that are asked for; an error where there is none.
    fn wanted<'a>(
        &self,
        kernels: impl Iterator<Item = (&'a str, &'a Origin)>,
    ) -> Result<Vec<usize>, NoStage> {
        let all: Vec<(&str, &Origin)> = kernels.collect();
        self.pick.check_kernel(all.iter().map(|k| k.0))?;
        let wanted = |k: &usize| self.pick.wants(Some(*k), all[*k].0, all[*k].1);
        let wanted: Vec<usize> = (0..all.len()).filter(wanted).collect();
        match wanted.is_empty() {
            true => Err(self.nothing()),
            false => Ok(wanted),
        }
    }

    /// The same of a plan.
    fn wanted_of(&self, plan: &cpu::Plan) -> Result<Vec<usize>, NoStage> {
        let steps = plan.steps.iter();
        self.wanted(steps.map(|step| (step.kernel().name.as_str(), &step.origin)))
    }

    /// Of each kernel the nodes that it computes, and the values that it reads and stores.
    pub(super) fn fused(&self) -> Result<String, NoStage> {
        let modes = self.modes();
        let all = numbered(&modes);
        let mut out = String::new();
        for k in self.wanted_groups(&all)? {
            let Numbered { graph, group, .. } = &all[k];
            out += &all[k].title("#", k);
            out += &fused(graph, group);
        }
        Ok(out)
    }

    /// The numbers of the groups that are asked for.
    fn wanted_groups(&self, all: &[Numbered]) -> Result<Vec<usize>, NoStage> {
        self.wanted(all.iter().map(|n| (n.group.nest.name.as_str(), &n.origin)))
    }

    pub(super) fn nests(&self) -> Result<String, NoStage> {
        let modes = self.modes();
        let all = numbered(&modes);
        let plan = modes.plan(self.batch(), self.options.isa);
        let nest = |k: usize| {
            let choice = comment("#", &plan.steps[k].chosen.choice.to_string());
            let title = all[k].title("#", k);
            format!("{title}{choice}{}\n", nest::text(&all[k].group.nest))
        };
        Ok(self.wanted_groups(&all)?.into_iter().map(nest).collect())
    }

    /// The memory plan.
    pub(super) fn plan_text(&self) -> Result<String, NoStage> {
        let p = self.plan(self.options.isa);
        let wanted = self.wanted_of(&p)?;
        let mut out = format!(
            "block {}\narena {} bytes a worker\ngradients {} bytes a shard\nparameters {} bytes\n",
            diag::count(u64::from(p.block), "image"),
            p.arena_bytes,
            p.shard_bytes,
            p.parameter_bytes
        );
        for (bytes, what) in [
            (p.kept_bytes, "kept {} bytes a block for later phases"),
            (p.step_bytes, "step {} bytes computed once"),
        ] {
            if bytes > 0 {
                out += &format!("{}\n", what.replace("{}", &bytes.to_string()));
            }
        }
        out += &in_slots(&p, &wanted, |step| step.modes.train);
        let alone = in_slots(&p, &wanted, |step| !step.modes.train);
        if !alone.is_empty() {
            out += &format!("\nin evaluation:\n{alone}");
        }
        Ok(out)
    }

    pub(super) fn loops(&self) -> Result<String, NoStage> {
        let p = self.plan(self.options.isa);
        let wanted = self.wanted_of(&p)?;
        let kernel = |k: usize| {
            let step = &p.steps[k];
            title("#", k, &step.origin) + &loops::text(step.kernel()) + "\n"
        };
        Ok(wanted.into_iter().map(kernel).collect())
    }

    pub(super) fn clif(&self, target: &clif::Target) -> Result<String, NoStage> {
        let p = self.plan(Isa::Cranelift);
        let wanted = self.wanted_of(&p)?;
        let kernel = |k: usize| {
            let step = &p.steps[k];
            title(";", k, &step.origin) + &clif::listing(step.kernel(), k as u32, target)
        };
        Ok(wanted.into_iter().map(kernel).collect())
    }

    pub(super) fn asm(&self, target: &clif::Target) -> Result<String, NoStage> {
        let p = self.plan(self.options.isa);
        let mut out = String::new();
        for k in self.wanted_of(&p)? {
            let step = &p.steps[k];
            let kernel = step.kernel();
            out += &title(";", k, &step.origin);
            out += &match &step.chosen.code {
                Some(code) => format!("; {} {}\n{}\n", kernel.name, p.isa, wide::text(code)),
                None => clif::assembly(std::slice::from_ref(kernel), target)
                    .map_err(|e| e.to_string())?,
            };
        }
        Ok(out)
    }

    fn plan_on_gpu(&self) -> cuda::Plan {
        let multiprocessors = ptx::multiprocessors(self.options.capability);
        plan_cuda(
            self.graphs.clone(),
            self.options.optimise,
            self.batch(),
            multiprocessors,
        )
    }

    /// The program for a GPU of the kernels that are asked for, and these kernels.
    fn on_gpu(&self) -> Result<(Program, Vec<cuda::Printed>), NoStage> {
        let wants = |at: usize, k: &cuda::Printed| self.pick.wants(Some(at), &k.name, &k.origin);
        let plan = self.plan_on_gpu();
        if let Some(why) = plan.too_large() {
            let batch = self.batch();
            return Err(format!("{why} for a batch of {batch}").into());
        }
        let (mut all, program) = plan.printed(wants);
        self.pick
            .check_kernel(all.iter().map(|k| k.name.as_str()))?;
        let mut number = 0..;
        all.retain(|k| number.next().is_some_and(|at| wants(at, k)));
        match all.is_empty() {
            true => Err(self.nothing()),
            false => Ok((program, all)),
        }
    }

    /// Launches as comments, then the kernels as CUDA C.
    pub(super) fn cuda(&self) -> Result<String, NoStage> {
        let (program, kernels) = self.on_gpu()?;
        let mut out = String::new();
        let lists = [("training", &program.train), ("evaluation", &program.eval)];
        for (title, launches) in lists.into_iter().filter(|l| !l.1.is_empty()) {
            out += &format!("// A step of {title}:\n");
            for l in launches {
                out += &format!("//   {} <<<{}, {}>>>\n", l.kernel, l.blocks, l.threads);
            }
        }
        out += &format!("\n{}", cuda::functions());
        for k in kernels {
            out += &format!("\n{}{}", over_gpu_kernel(&k), k.text);
        }
        Ok(out)
    }

    pub(super) fn ptx(&self) -> Result<String, NoStage> {
        let (program, kernels) = self.on_gpu()?;
        let text = ptx::text(&program, self.options.capability).map_err(|e| e.to_string())?;
        let mut out = String::new();
        for line in text.lines() {
            let entry = line.strip_prefix(".visible .entry ");
            let name = entry.map(|e| e.split('(').next().unwrap_or(e));
            let kernel = kernels.iter().find(|k| name == Some(k.name.as_str()));
            out += &kernel.map_or(String::new(), over_gpu_kernel);
            out += &format!("{line}\n");
        }
        Ok(out)
    }
}

/// A group of one of the modes, in the place of its kernel.
struct Numbered<'a> {
    graph: &'a Graph,
    group: &'a Group,
    origin: Origin,
}

impl Numbered<'_> {
    fn title(&self, mark: &str, number: usize) -> String {
        title(mark, number, &self.origin)
    }
}

/// The groups of all modes, in the order of a plan's kernels.
fn numbered(modes: &Modes) -> Vec<Numbered<'_>> {
    let parts = [Some(&modes.step), modes.eval.as_ref()]
        .into_iter()
        .flatten();
    let groups = parts.flat_map(|part| {
        let graph = &part.graph;
        part.groups.iter().map(move |group| Numbered {
            graph,
            group,
            origin: Origin::of(graph, &group.nodes),
        })
    });
    groups.collect()
}

/// What a group computes from what.
fn fused(g: &Graph, group: &Group) -> String {
    let list = |values: &[ir::Value]| {
        let all: Vec<String> = values.iter().map(|&v| ir::value_text(g, v)).collect();
        all.join(", ")
    };
    let line = |text: &str| wrap(&format!("    {text}"), "            ") + "\n";
    let mut out = format!("{} {{\n", group.nest.name);
    out += &line(&format!("reads {}", list(&group.reads())));
    for id in with_views(g, group) {
        out += &line(&ir::node_text(g, id));
    }
    out += &line(&format!("stores {}", list(&group.stores())));
    out + "}\n\n"
}

/// The nodes of a group, each behind the changes of shape that it reads through: those are of no group.
fn with_views(g: &Graph, group: &Group) -> Vec<NodeId> {
    let mut out = Vec::new();
    for &id in &group.nodes {
        let mut views = Vec::new();
        let mut left: Vec<Value> = g.operands(id);
        while let Some(v) = left.pop() {
            if fuse::storage(g, v) != v && !out.contains(&v.node) && !views.contains(&v.node) {
                views.push(v.node);
                left.extend(g.operands(v.node));
            }
        }
        out.extend(views.into_iter().rev());
        out.push(id);
    }
    out
}

/// The comment over a kernel of a GPU.
fn over_gpu_kernel(k: &cuda::Printed) -> String {
    match k.origin.parts.is_empty() {
        true => comment("//", "of no layer"),
        false => comment("//", &k.origin.to_string()),
    }
}

/// Those of the wanted kernels of a plan for which `keep` holds, by when they run.
fn in_slots(plan: &cpu::Plan, wanted: &[usize], keep: impl Fn(&cpu::Step) -> bool) -> String {
    let kept: Vec<&cpu::Step> = plan.steps.iter().filter(|step| keep(step)).collect();
    let slots: BTreeSet<Slot> = kept.iter().map(|step| step.slot).collect();
    let phases = slots.iter().filter(|slot| slot.work() == Work::Blocks);
    let one = phases.count() <= 1;
    let mut out = String::new();
    for slot in slots {
        let of_slot = |k: &usize| plan.steps[*k].slot == slot && keep(&plan.steps[*k]);
        let kernels: Vec<usize> = wanted.iter().copied().filter(of_slot).collect();
        if !kernels.is_empty() {
            out += &format!("\n{}:\n", when(slot, one));
        }
        for k in kernels {
            out += &planned(k, &plan.steps[k]);
        }
    }
    out
}

/// When the kernels of a slot run; `one` says that there is one phase.
fn when(slot: Slot, one: bool) -> String {
    let phase = slot.phase();
    match (slot.work(), one) {
        (Work::Blocks, true) => "for every block".into(),
        (Work::Blocks, false) => format!("phase {phase}, for every block"),
        (Work::Once, _) if phase == 0 => "once a step, before all".into(),
        (Work::Once, true) => "once a step, after the sum of shards".into(),
        (Work::Once, false) => format!("once a step, after the sum of phase {phase}'s shards"),
    }
}

/// A kernel's line in the memory plan, and a line for each of its buffers.
fn planned(k: usize, step: &cpu::Step) -> String {
    let kernel = step.kernel();
    let eval = match step.modes.train && step.modes.eval {
        true => "  (eval)",
        false => "",
    };
    let head = format!("  {}{eval}  # {k}: {}", kernel.name, step.origin);
    let mut out = wrap(&head, "      # ") + "\n";
    for (b, place) in kernel.buffers.iter().zip(&step.places) {
        let bytes = b.len * b.dtype.size_bytes();
        out += &format!("    {:<8} {}, {bytes} bytes\n", b.name, place_text(place));
    }
    out
}

fn place_text(place: &Place) -> String {
    match place {
        Place::Inputs => "inputs".into(),
        Place::Targets => "targets".into(),
        Place::Indices => "indices".into(),
        Place::Losses => "losses".into(),
        Place::Correct => "correct".into(),
        Place::Arena(at) => format!("arena +{at}"),
        Place::Kept(at) => format!("kept +{at}"),
        Place::Shard(at) | Place::Total(at) => format!("gradients +{at}"),
        Place::Step(at) => format!("step +{at}"),
        Place::Parameters(at) => format!("parameters +{at}"),
    }
}
