//! Long chains of activations: what a model becomes grows with its layers, not with the ways through its formulas.
//!
//! A ReLU reads its operand twice, so a formula of so many behind each other doubles with each. Values are counted, time
//! is not.

use lenetc::backend::cpu::Isa;
use lenetc::backend::cpu::clif::Target;
use lenetc::diag::Source;
use lenetc::driver::{self, Model, Options, Stage};
use lenetc::nest::loops::{Kernel, compact, parse, text, verify};

#[path = "common/isas.rs"]
mod isas;
#[path = "common/step.rs"]
mod step;

/// A model of so many pairs of activations behind a convolution.
fn model(pairs: u32) -> Model {
    behind("Conv2d(2, kernel_size=3)", pairs)
}

fn behind(first: &str, pairs: u32) -> Model {
    let text = format!(
        "model Chain {{\n    input(1, 6, 6)\n    {first}\n    repeat {pairs} {{ ReLU; Tanh }}\n    \
         Flatten\n    Linear(3)\n}}\n\ntrain {{\n    data = npz(\"data.npz\")\n    loss = CrossEntropyLoss\n    \
         optimizer = SGD(lr=0.1)\n    batch_size = 2\n    epochs = 1\n}}\n"
    );
    let name = "chain".into();
    driver::read(Source { name, text }, &[]).unwrap_or_else(|f| panic!("{:?}", f.diagnostics))
}

/// The kernels of a step on every target, for few images and for many.
fn kernels(model: &Model, join: bool) -> Vec<(String, Vec<Kernel>)> {
    let graph = || {
        let built = model.build(false);
        model.differentiate(built.unwrap_or_else(|_| panic!("is right")).graphs)
    };
    let mut all = Vec::new();
    for batch in [1, 256] {
        for isa in Isa::ALL {
            let plan = driver::plan(graph(), join, batch, isa);
            let kernels = plan.steps.into_iter().map(|step| step.chosen.kernel);
            all.push((format!("{batch} images on {isa}"), kernels.collect()));
        }
        let plan = driver::plan_cuda(graph(), join, batch, 108);
        let units = plan.train.into_iter().chain(plan.eval);
        let kernels = units.map(|unit| unit.kernel).collect();
        all.push((format!("{batch} images on a GPU"), kernels));
    }
    all
}

fn values(kernels: &[Kernel]) -> usize {
    kernels.iter().map(|k| k.exprs.len()).sum()
}

/// Behind a sum, and behind images as they are, where what fetches them is computed in what reads them.
#[test]
fn values_grow_with_the_layers() {
    for first in ["Conv2d(2, kernel_size=3)", "Identity"] {
        for join in [false, true] {
            let [short, long] = [32, 64].map(|pairs| kernels(&behind(first, pairs), join));
            for ((name, short), (_, long)) in short.iter().zip(&long) {
                let name = format!("{first}, {name}, joined: {join}");
                let (few, many) = (values(short), values(long));
                assert!(
                    many < 3 * few,
                    "{name}: {few} values, {many} of twice as many layers"
                );
                let most = long.iter().map(|k| k.exprs.len()).max();
                assert!(most < Some(MOST_VALUES), "{name}: {most:?} values in one");
            }
        }
    }
}

/// Values of a kernel: a formula is computed for the rows of a tile, and for what is left over of them.
const MOST_VALUES: usize = 20_000;

#[test]
fn the_loops_of_a_chain_are_read_back() {
    for (name, kernels) in kernels(&model(64), true) {
        for k in &kernels {
            verify(k).unwrap_or_else(|e| panic!("{name}: {e}"));
            let read = parse(&text(k)).unwrap_or_else(|e| panic!("{name}, {}: {e}", k.name));
            assert_eq!(read, [compact(k)], "{name}");
        }
    }
}

#[test]
fn every_stage_shows_a_chain() {
    let (short, long) = (model(32), model(64));
    for stage in Stage::ALL.into_iter().map(|d| d.stage) {
        // NVRTC is not everywhere.
        for isa in Isa::ALL.into_iter().filter(|_| stage != Stage::Ptx) {
            let shown = |model: &Model| {
                let options = Options::new(stage, isa);
                let text = driver::text(model, &options, || Target::named("aarch64"));
                text.unwrap_or_else(|e| panic!("{stage:?}: {e:?}")).len()
            };
            let (few, many) = (shown(&short), shown(&long));
            assert!(
                many < 3 * few,
                "{stage:?} of {isa}: {few} bytes, {many} of twice as many layers"
            );
        }
    }
}

/// One step, kernels alone and joined, by the machine code of each instruction set and by the nests in f64.
#[test]
fn a_chain_trains() {
    for pairs in [8, 64] {
        for batch in [1, 5, 17] {
            let name = format!("{pairs} pairs of activations, {batch} images");
            let checked = step::check(&name, &model(pairs), batch, false, None);
            assert!(checked.is_some(), "{name}: nothing is checked");
        }
    }
}
