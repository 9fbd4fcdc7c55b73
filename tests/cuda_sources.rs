//! The texts of a program's kernels: few parameters, bounded length, equal layers once; and that deep and wide nets, whose
//! layers share kernels, train as on the processor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use lenetc::backend::Origin;
use lenetc::backend::cuda::{Options, Plan, Printed, TooLarge, Unit, functions};
use lenetc::nest::loops::{Dim, Kernel, Kind, Stmt};
use lenetc::train::{self, Doing, Epoch, Session, Watcher};
use lenetc_runtime::cuda::{Arch, Launch, PRELUDE, compile, nvrtc, resources, scalars};
use lenetc_runtime::weights::Tensor;
use proptest::prelude::*;

#[path = "common/compare.rs"]
mod compare;
#[path = "common/deep.rs"]
mod deep;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/runner.rs"]
mod runner;

/// Pointers that a kernel takes at most, and bytes of one; the least that any toolkit takes is 4096 bytes.
const MOST_PARAMETERS: usize = 64;
const POINTER_BYTES: usize = 8;
/// Lines of a kernel: those of the longest of LeNet are 620. A formula of many operands may have some more for each.
const MOST_LINES: usize = 800;
const LINES_OF_OPERAND: usize = 25;
const MULTIPROCESSORS: u32 = 132;
/// Steps of an epoch; the last one's batch is not full.
const STEPS: u64 = 3;

/// How far gradients get.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gradients {
    Reach,
    /// Weights hardly change behind many layers of Sigmoid: a share of the change is that of rounding.
    Vanish,
}

fn planned(text: String) -> Plan {
    gpu::plan(&gpu::read("net", text, &[]), MULTIPROCESSORS)
}

/// The kernels of a plan, and its launches of both steps.
fn printed(plan: &Plan) -> (Vec<Printed>, Vec<Launch>) {
    let (kernels, program) = plan.printed(|_, _| true);
    (kernels, [program.train, program.eval].concat())
}

/// Parameters as they are written.
fn parameters(k: &Printed) -> usize {
    let (_, list) = k
        .text
        .split_once(&format!(" {}(\n", k.name))
        .expect("its head");
    let (list, _) = list.split_once("\n) {").expect("its body");
    list.lines().count()
}

/// What holds for the texts of any net whose formulas have so many operands at most.
fn held(name: &str, plan: &Plan, operands: usize) {
    let (kernels, launches) = printed(plan);
    let by_name: BTreeMap<&str, &Printed> = kernels.iter().map(|k| (k.name.as_str(), k)).collect();
    assert_eq!(by_name.len(), kernels.len(), "{name}: names differ");
    let texts: BTreeSet<String> = kernels
        .iter()
        .map(|k| k.text.replace(&format!(" {}(\n", k.name), " kernel(\n"))
        .collect();
    assert_eq!(texts.len(), kernels.len(), "{name}: each text stands once");
    for k in &kernels {
        let (count, lines) = (parameters(k), k.text.lines().count());
        let place = format!("{name}: {} of {count} parameters, {lines} lines", k.name);
        assert!(count <= MOST_PARAMETERS, "{place}");
        assert!(count * POINTER_BYTES < 4096, "{place}");
        let most = MOST_LINES.max(LINES_OF_OPERAND * operands);
        assert!(lines <= most, "{place}");
    }
    for l in &launches {
        let k = by_name[l.kernel.as_str()];
        assert_eq!(l.arguments.len(), parameters(k), "{name}: {}", l.kernel);
    }
}

#[test]
fn every_kernel_of_every_model_has_few_parameters_and_a_short_text() {
    for model in gpu::MODELS {
        held(
            model,
            &gpu::plan(&gpu::named(model, &[]), MULTIPROCESSORS),
            8,
        );
    }
    held("equal layers", &planned(deep::equal(180, 64, 128)), 8);
    held("ResNet-18", &planned(deep::resnet18(224, 64)), 8);
    held(
        "ResNet-18 on small images",
        &planned(deep::resnet18(32, 128)),
        8,
    );
    for join in ["Add", "Concat"] {
        for branches in [2, 19, 59, 61, 130] {
            let name = format!("{join} of {branches}");
            held(&name, &planned(deep::wide(join, branches, 16)), branches);
        }
    }
}

/// A layer behind maps or vectors of any size.
fn layer() -> impl Strategy<Value = String> {
    let width = prop::sample::select(vec![8u32, 9, 16]);
    let activation = prop::sample::select(vec!["", "; Sigmoid", "; ReLU", "; Tanh"]);
    prop_oneof![
        6 => (width.clone(), activation.clone()).prop_map(|(w, a)| format!("Flatten; Linear({w}){a}")),
        2 => (width, activation, 2usize..5).prop_map(|(w, a, n)| {
            let branch = format!("{{ Flatten; Linear({w}){a}; Linear({w}) }}");
            format!("Add {{ {} }}", vec![branch; n].join(" "))
        }),
        1 => Just("Flatten; Add { { Linear(12); Tanh; Linear(12) } { Linear(12) } }".to_string()),
    ]
}

/// Drawn layers, repeated: a period of the net.
fn body() -> impl Strategy<Value = Vec<String>> {
    let period = prop::collection::vec(layer(), 1..7);
    (period, 1usize..30).prop_map(|(period, times)| vec![period; times].concat())
}

#[test]
fn kernels_of_random_deep_nets_have_few_parameters_and_short_texts() {
    let drawn = runner::new(24).run(&body(), |layers| {
        held("drawn", &planned(deep::of_layers(&layers, 8)), 8);
        Ok(())
    });
    drawn.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn equal_layers_are_compiled_once() {
    let texts = |layers| {
        let (kernels, launches) = printed(&planned(deep::equal(layers, 16, 32)));
        let lines: usize = kernels.iter().map(|k| k.text.lines().count()).sum();
        (kernels.len(), lines, launches.len())
    };
    let [(few, short, _), (many, long, launches)] = [60, 600].map(texts);
    assert!(many <= 20 && few.abs_diff(many) <= 3, "{few} and {many}");
    assert!(
        long <= 3000 && short.abs_diff(long) < 600,
        "{short}, {long}"
    );
    // A launch is of a dozen layers and more: forward, back, and forward again in evaluation; sums; updates.
    assert!(
        launches <= 3 * 600 / 15 + 600 / 14 + 1200 / 19 + 20,
        "{launches}"
    );
}

#[test]
fn equal_layers_that_are_large_are_one_kernel() {
    let layers = vec!["Conv2d(16, kernel_size=3, padding=1); ReLU".to_string(); 12];
    let plan = planned(deep::of_layers(&layers, 256).replace("    AvgPool2d(4)\n", ""));
    let (kernels, launches) = printed(&plan);
    let of = |name: &str| {
        let launched = launches.iter().filter(|l| l.kernel == name).count();
        (kernels.iter().filter(|k| k.name == name).count(), launched)
    };
    // The second layer to the last, in training and in evaluation.
    assert_eq!(of("conv2d_relu_2"), (1, 22));
    let gradients = kernels.iter().find(|k| k.name == "gradients");
    let text = &gradients.expect("it has parameters").text;
    // Of eleven layers of one shape one text, beside those of the first and the last.
    assert_eq!(text.matches("switch (layer)").count(), 1, "{text}");
    assert_eq!(text.matches("// conv2d_grad_weight").count(), 2, "{text}");
}

#[test]
fn a_chain_holds_whole_periods_so_that_the_next_has_its_text() {
    // Three groups repeat: five times in a chain of at most sixteen.
    let period = ["Linear(8); Tanh", "Linear(9); Tanh", "Linear(10); Tanh"];
    let layers: Vec<String> = (0..150).map(|k| period[k % 3].into()).collect();
    let layers = [vec!["Flatten".to_string()], layers].concat();
    let plan = planned(deep::of_layers(&layers, 8));
    let (kernels, launches) = printed(&plan);
    let chains: Vec<&Printed> = kernels
        .iter()
        .filter(|k| k.name.starts_with("chain"))
        .collect();
    let most = chains
        .iter()
        .map(|k| launches.iter().filter(|l| l.kernel == k.name).count());
    assert!(chains.len() <= 8, "{}", chains.len());
    assert!(most.max() >= Some(2 * 8), "forward chains are of one text");
}

#[test]
fn a_deep_net_and_resnet_18_compile_for_the_oldest_and_a_new_gpu() {
    let nvrtc = nvrtc().unwrap_or_else(|e| panic!("tests/run installs what the tests need: {e}"));
    let oldest = nvrtc
        .architectures
        .iter()
        .copied()
        .filter(|&a| a >= 60)
        .min();
    let deep = planned(deep::equal(180, 64, 128));
    let resnet = planned(deep::resnet18(32, 128));
    for (name, plan, capability) in [
        ("deep", &deep, oldest.expect("it knows some")),
        ("deep", &deep, 90),
        ("ResNet-18", &resnet, 90),
    ] {
        let (kernels, program) = plan.printed(|_, _| true);
        let texts: String = kernels.iter().map(|k| k.text.as_str()).collect();
        let source = format!(
            "{}{PRELUDE}{}{texts}",
            scalars(&program.scalars),
            functions()
        );
        let compiled = compile(&source, Arch::Real(capability));
        let compiled = compiled.unwrap_or_else(|e| panic!("{name}, sm_{capability}: {e}"));
        let all = resources(&compiled.log);
        assert_eq!(all.len(), kernels.len(), "{name}, sm_{capability}");
        for r in all.iter().filter(|_| capability >= 75) {
            let spilled = r.spill_stores + r.spill_loads;
            assert_eq!(spilled, 0, "{name}, sm_{capability}: {} spills", r.kernel);
        }
    }
}

#[test]
fn a_grid_beyond_what_a_driver_takes_is_an_error_of_the_plan() {
    let options = Options {
        batch: 1,
        multiprocessors: MULTIPROCESSORS,
    };
    let with_grid = |kinds: &[(Kind, [i64; 2])]| {
        let mut unit = Unit::close(options);
        unit.extra = None;
        unit.origin = Origin::default();
        let mut kernel = Kernel::new("vast", 1);
        kernel.threads = 256;
        for &(kind, trips) in kinds {
            let dims = trips.map(|n| Dim::count(kernel.var("i"), n)).to_vec();
            let body = vec![];
            kernel.body.push(Stmt::For { dims, kind, body });
        }
        unit.kernel = kernel;
        Plan {
            options,
            train: vec![unit],
            eval: vec![],
            states: vec![],
            arena_bytes: 0,
            parameter_bytes: 0,
            partial_bytes: 0,
        }
    };
    const MOST: i64 = i32::MAX as i64;
    let found = |kinds: &[(Kind, [i64; 2])]| with_grid(kinds).too_large();
    let too_large = |blocks| {
        let kernel = "vast".to_string();
        Some(TooLarge::Blocks { kernel, blocks })
    };
    assert_eq!(found(&[(Kind::Grid, [1, MOST])]), None);
    assert_eq!(found(&[(Kind::Spread, [256, 1 << 20])]), None);
    assert_eq!(found(&[(Kind::Grid, [2, 1 << 30])]), too_large(1 << 31));
    // Parts count together, and so many that 64 bits do not hold them are told too.
    let half = (Kind::Grid, [1 << 15, 1 << 15]);
    assert_eq!(found(&[half, half]), too_large(1 << 31));
    let vast = (Kind::Grid, [1 << 40, 1 << 40]);
    assert_eq!(found(&[vast, half]), too_large(u64::MAX));
    let text = found(&[half, half]).expect("it is too large").to_string();
    assert_eq!(text, "vast has a grid of more than 2^31 - 1 blocks");
}

#[test]
fn a_batch_that_32_bits_cannot_count_is_an_error_of_every_stage() {
    for stage in ["cuda", "ptx"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lenetc"));
        command.args([
            "emit",
            "models/lenet.nn",
            "--stage",
            stage,
            "--batch-size",
            "1000000",
        ]);
        let out = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{stage}: {said}");
        let wanted = "has a tensor of more than 2^31 elements for a batch of 1000000";
        assert!(said.contains(wanted), "{stage}: {said}");
    }
}

#[test]
fn thousands_of_layers_are_planned() {
    let plan = planned(deep::equal(4000, 4, 8));
    held("4000 layers", &plan, 8);
    let (kernels, _) = printed(&plan);
    assert!(kernels.len() <= 20, "{}", kernels.len());
}

/// What a run told.
#[derive(Default)]
struct Told {
    losses: Vec<f64>,
}

impl Watcher for Told {
    fn doing(&mut self, _: Doing) {}
    fn warning(&mut self, _: &str) {}
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, loss: f64) {
        self.losses.push(loss);
    }
    fn epoch(&mut self, _: &Epoch, _: u32) {}
}

/// The weights before, the losses, and the weights behind an epoch.
fn trained(mut session: Session) -> (Vec<Tensor>, Vec<f64>, Vec<Tensor>) {
    let options = train::Options {
        steps: Some(STEPS),
        ..train::Options::default()
    };
    let tensors = |s: &Session| s.tensors().unwrap_or_else(|e| panic!("{e}"));
    let start = tensors(&session);
    let mut told = Told::default();
    let ran = session.train(&options, &AtomicBool::new(false), &mut told);
    ran.unwrap_or_else(|e| panic!("{e}\n{}", gpu::report()));
    (start, told.losses, tensors(&session))
}

/// Holds a net on the software GPU, under all sanitizers and in several orders, to the processor.
fn trains_as_on_the_processor(name: &str, text: &str, batch: usize, gradients: Gradients) {
    trains_in_orders(name, text, batch, gradients, &[0, 1, 5]);
}

fn trains_in_orders(name: &str, text: &str, batch: usize, gradients: Gradients, orders: &[u32]) {
    let data = tempfile::tempdir().expect("a temporary folder");
    gpu::first_images(data.path(), 2 * batch + batch / 2, batch);
    let model = || gpu::read(name, text.into(), &[]);
    let (start, losses, end) = trained(gpu::session(model(), data.path(), None));
    assert_ne!(start, end, "{name} learns");
    for order in orders {
        let device = gpu::device(&format!("sanitize=all;warp_order={order}"));
        let session = gpu::session(model(), data.path(), Some(&device));
        let (same, on_gpu, on_gpu_end) = trained(session);
        assert_eq!(start, same, "{name}: both start from the same");
        let found = gpu::findings(&gpu::report());
        assert!(found.is_empty(), "{name}, order {order}: {found:?}");
        let named = |e: String| panic!("{name}, order {order}: {e}");
        compare::losses(&on_gpu, &losses).unwrap_or_else(named);
        weights(&end, &on_gpu_end).unwrap_or_else(named);
        if gradients == Gradients::Reach {
            compare::updates(&start, &end, &on_gpu_end).unwrap_or_else(named);
        }
    }
}

/// Weights that are the same but for rounding.
fn weights(reference: &[Tensor], ours: &[Tensor]) -> Result<(), String> {
    for (a, b) in ours.iter().zip(reference) {
        let all = a.data.iter().zip(&b.data);
        let off = all.map(|(a, b)| (a - b).abs() / (1.0 + b.abs()));
        let worst = off.fold(0.0, f32::max);
        if a.name != b.name || worst > 2e-6 || a.data.iter().any(|x| !x.is_finite()) {
            return Err(format!("{}: off by {worst:.1e}", b.name));
        }
    }
    Ok(())
}

#[test]
fn a_net_of_180_layers_trains_as_on_the_processor() {
    let _one = gpu::alone();
    trains_as_on_the_processor("deep", &deep::equal(180, 8, 8), 8, Gradients::Vanish);
    // Gradients reach all layers of the second.
    let residual = "Add { { Linear(8); Sigmoid; Linear(8) } { Identity } }";
    let layers = [vec!["Flatten; Linear(8)"], vec![residual; 89]].concat();
    let layers: Vec<String> = layers.into_iter().map(String::from).collect();
    trains_as_on_the_processor(
        "residual",
        &deep::of_layers(&layers, 8),
        8,
        Gradients::Reach,
    );
}

#[test]
fn layers_that_repeat_by_twos_and_threes_train_as_on_the_processor() {
    let _one = gpu::alone();
    let residual = "Add { { Linear(9); Tanh; Linear(8) } { Identity } }";
    let layers = [
        vec!["Flatten; Linear(8); Tanh"; 1],
        vec![residual; 12],
        ["Linear(6); ReLU", "Linear(8); Tanh", "Linear(7); Tanh"].repeat(7),
    ];
    let layers: Vec<String> = layers.concat().into_iter().map(String::from).collect();
    let text = deep::of_layers(&layers, 8);
    trains_as_on_the_processor("repeating", &text, 8, Gradients::Vanish);
}

#[test]
fn joins_of_more_operands_than_a_kernel_has_parameters_train_as_on_the_processor() {
    let _one = gpu::alone();
    for join in ["Add", "Concat"] {
        let text = deep::wide(join, 70, 4);
        assert!(planned(text.clone()).program().train.iter().any(|l| {
            let start =
                |p: &lenetc_runtime::cuda::Place| *p == lenetc_runtime::cuda::Place::Arena(0);
            l.arguments.iter().filter(|p| start(p)).count() == 2
        }));
        trains_as_on_the_processor(join, &text, 4, Gradients::Vanish);
    }
}

/// Formulas that repeat in one order, and read one value in one round and two in another.
#[test]
fn layers_that_are_joined_otherwise_are_no_rounds() {
    let _one = gpu::alone();
    let within = "Linear(12); Sigmoid; Linear(8)";
    let dense = format!(
        "Flatten; Linear(8); Sigmoid; \
         Add {{ {{ Add {{ {{ {within} }} {{ Identity }} }}; {within} }} {{ Identity }} }}"
    );
    let within = "Conv2d(2, kernel_size=3, padding=1); Tanh; MaxPool2d(3, stride=1, padding=1); \
                  Conv2d(1, kernel_size=1)";
    let windows =
        format!("Add {{ {{ Add {{ {{ {within} }} {{ Identity }} }}; {within} }} {{ Identity }} }}");
    let branch = "{ Linear(8); Sigmoid; Linear(8); Sigmoid } { Identity } { Linear(8); Linear(8) }";
    let branches = vec![format!("{{ Add {{ {branch} }} }}"); 3].join(" ");
    let branches = format!("Flatten; Linear(8); Tanh; Add {{ {branches} }}");
    for layers in [dense, windows, branches] {
        let text = deep::of_layers(std::slice::from_ref(&layers), 8);
        trains_in_orders(&layers, &text, 8, Gradients::Reach, &[0]);
    }
}

#[test]
fn random_joins_of_equal_layers_train_as_on_the_processor() {
    let _one = gpu::alone();
    let mut state = 7u64;
    let mut draw = |n: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for k in 0..400 {
        let layers = [
            vec!["Flatten; Linear(8)".to_string()],
            deep::joined(2, &mut draw),
        ]
        .concat();
        let text = deep::of_layers(&layers, 8);
        // The plan holds that rounds read their values alike.
        planned(text.clone());
        if k % 40 == 0 {
            trains_in_orders(&layers.join("; "), &text, 8, Gradients::Vanish, &[0]);
        }
    }
}

#[test]
fn equal_convolutions_of_one_launch_train_as_on_the_processor() {
    let _one = gpu::alone();
    let layers = vec!["Conv2d(3, kernel_size=3, padding=1); Tanh".to_string(); 20];
    let text = deep::of_layers(&layers, 4);
    trains_as_on_the_processor("convolutions", &text, 4, Gradients::Reach);
}
