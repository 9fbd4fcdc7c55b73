//! A program through the whole run-time side of CUDA on the software GPU: NVRTC, module, capture, one graph a step.
//!
//! The program is written by hand: a linear layer on bytes with the mean squared error and SGD. Its results are
//! compared with the same steps in f64. Errors of the driver are injected in processes of their own.

#[path = "common/modules.rs"]
mod modules;

use std::process::{Command, Output};

use lenetc_runtime::cuda::{
    Choice, CudaError, Device, Engine, Launch, PHILOX, Place, Program, RING, software_configure,
    software_report,
};
use lenetc_runtime::exec::{Bytes, Examples, Mode, StepResult};
use lenetc_runtime::rng;
use modules::modules;

const FEATURES: usize = 3;
/// Where the bias lies among the parameters, in bytes: regions of values are aligned.
const BIAS_BYTES: usize = 64;
const PARAMETER_BYTES: usize = 128;

const SCALARS: [&str; 2] = ["learning_rate", "inverse_batch"];

/// The numbers of all steps over so many examples.
fn rows(examples: usize, batch: usize, learning_rate: f32) -> Vec<f32> {
    rows_of(examples, batch, |_| learning_rate)
}

/// The same with a learning rate for each step.
fn rows_of(examples: usize, batch: usize, learning_rate: impl Fn(usize) -> f32) -> Vec<f32> {
    let images = |first: usize| batch.min(examples - first);
    let starts = (0..examples).step_by(batch).enumerate();
    starts
        .flat_map(|(step, first)| [learning_rate(step), 1.0 / images(first) as f32])
        .collect()
}

/// Another rate for each step: a step that read its neighbour's would be told.
fn falling(step: usize) -> f32 {
    0.375 / (1 + step) as f32
}

const KERNELS: &str = r#"
#define FEATURES 3

extern "C" __global__ void forward(const u8* inputs, const float* targets, const u32* order, const Step* step,
                                   const float* weight, const float* bias, float* losses, float* correct, float* grad) {
    u32 n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n < step->valid) {
        u32 i = order[step->position + n];
        float y = bias[0];
        for (int f = 0; f < FEATURES; f++) y = fmaf(inputs[i * FEATURES + f] * (1.0f / 255.0f), weight[f], y);
        float e = y - targets[i];
        losses[n] = e * e;
        correct[n] = fabsf(e) < 0.25f ? 1.0f : 0.0f;
        grad[n] = 2.0f * e * step->scalars.inverse_batch;
    }
}

// The gradient of parameter b in block b; sums of the step in the block after.
extern "C" __global__ void backward(const u8* inputs, const u32* order, Step* step, const float* grad, float* partials,
                                    const float* losses, const float* correct, Result* results) {
    if (blockIdx.x > FEATURES) {
        account(step, losses, correct, results);
    } else if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (u32 n = 0; n < step->valid; n++) {
            u32 i = order[step->position + n];
            float x = blockIdx.x < FEATURES ? inputs[i * FEATURES + blockIdx.x] * (1.0f / 255.0f) : 1.0f;
            sum = fmaf(grad[n], x, sum);
        }
        partials[blockIdx.x] = sum;
    }
}

extern "C" __global__ void update(Step* step, float* weight, float* bias, const float* partials) {
    if (!step->stopped) {
        if (threadIdx.x < FEATURES) weight[threadIdx.x] -= step->ending.learning_rate * partials[threadIdx.x];
        if (threadIdx.x == FEATURES) bias[0] -= step->ending.learning_rate * partials[FEATURES];
    }
    if (threadIdx.x == 0) advance(step);
}

extern "C" __global__ void count(Step* step, const float* losses, const float* correct, Result* results) {
    account(step, losses, correct, results);
}

extern "C" __global__ void onward(Step* step) {
    advance(step);
}
"#;

fn program(batch: usize) -> Program {
    use Place::*;
    let launch = |kernel: &str, blocks, threads, arguments: &[Place]| Launch {
        kernel: kernel.into(),
        blocks,
        threads,
        arguments: arguments.to_vec(),
    };
    let (weight, bias) = (Parameters(0), Parameters(BIAS_BYTES));
    let forward = launch(
        "forward",
        batch.div_ceil(32) as u32,
        32,
        &[
            Inputs,
            Targets,
            Order,
            Step,
            weight,
            bias,
            Losses,
            Correct,
            Arena(256),
        ],
    );
    let sums = [
        Inputs,
        Order,
        Step,
        Arena(256),
        Partials(0),
        Losses,
        Correct,
        Results,
    ];
    let backward = launch("backward", FEATURES as u32 + 2, 64, &sums);
    let update = launch("update", 1, 32, &[Step, weight, bias, Partials(0)]);
    let count = launch("count", 1, 96, &[Step, Losses, Correct, Results]);
    let onward = launch("onward", 1, 1, &[Step]);
    let (functions, modules) = modules(KERNELS);
    Program {
        scalars: SCALARS.map(String::from).to_vec(),
        functions,
        modules,
        train: vec![forward.clone(), backward, update],
        eval: vec![forward, count, onward],
        batch,
        arena_bytes: 256 + 4 * batch,
        parameter_bytes: PARAMETER_BYTES,
        partial_bytes: 4 * (FEATURES + 1),
    }
}

/// A data set that a linear layer can learn.
struct Data {
    inputs: Vec<u8>,
    targets: Vec<f32>,
}

impl Data {
    fn new(len: usize) -> Self {
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let inputs: Vec<u8> = (0..len * FEATURES).map(|_| byte()).collect();
        let target = |x: &[u8]| (f32::from(x[0]) - 2.0 * f32::from(x[2])) / 255.0 + 0.5;
        Self {
            targets: inputs.chunks(FEATURES).map(target).collect(),
            inputs,
        }
    }

    fn examples(&self) -> Examples<'_> {
        Examples {
            inputs: Bytes::U8(&self.inputs),
            targets: Bytes::F32(&self.targets),
            len: self.targets.len(),
        }
    }
}

/// The same steps in f64.
struct Reference<'a> {
    data: &'a Data,
    parameters: [f64; FEATURES + 1],
}

impl Reference<'_> {
    fn input(&self, i: u32, f: usize) -> f64 {
        match f {
            FEATURES => 1.0,
            _ => f64::from(self.data.inputs[i as usize * FEATURES + f]) / 255.0,
        }
    }

    fn step(&mut self, batch: &[u32], learning_rate: f64) -> StepResult {
        let (mut loss_sum, mut correct, mut grads) = (0.0, 0.0, [0.0; FEATURES + 1]);
        for &i in batch {
            let y: f64 = (0..=FEATURES)
                .map(|f| self.input(i, f) * self.parameters[f])
                .sum();
            let e = y - f64::from(self.data.targets[i as usize]);
            loss_sum += e * e;
            correct += f64::from(u8::from(e.abs() < 0.25));
            for (f, grad) in grads.iter_mut().enumerate() {
                *grad += 2.0 * e * self.input(i, f) / batch.len() as f64;
            }
        }
        for (p, grad) in self.parameters.iter_mut().zip(grads) {
            *p -= learning_rate * grad;
        }
        StepResult {
            loss_sum,
            correct,
            examples: batch.len(),
        }
    }
}

fn engine(batch: usize, train: &Data, test: Option<&Data>) -> Result<Engine, CudaError> {
    let device = Device::open(Choice::Software)?;
    Engine::new(
        &device,
        program(batch),
        train.examples(),
        test.map(Data::examples),
    )
}

fn ready(batch: usize, train: &Data, test: Option<&Data>) -> Engine {
    engine(batch, train, test)
        .unwrap_or_else(|e| panic!("tests/run installs and builds what the tests need: {e}"))
}

fn close(found: &StepResult, expected: &StepResult) {
    let near = (found.loss_sum - expected.loss_sum).abs() <= 1e-6 + 1e-5 * expected.loss_sum;
    let counted = found.examples == expected.examples;
    // An example at the very edge may fall to either side.
    let right = (found.correct - expected.correct).abs() <= 1.0;
    assert!(near && counted && right, "{found:?} for {expected:?}");
}

/// Results whose error is told as a user sees it.
trait OrSay<T> {
    fn or_say(self) -> T;
}

impl<T> OrSay<T> for Result<T, CudaError> {
    fn or_say(self) -> T {
        self.unwrap_or_else(|e| panic!("{e}\n{}", software_report().unwrap_or_default()))
    }
}

/// Positions in an order that is not theirs.
fn shuffled(len: usize) -> Vec<u32> {
    lenetc_runtime::rng::permutation(7, 0, len as u32)
}

/// Two epochs with an evaluation between them, and the parameters.
fn train_and_evaluate() {
    let (train, test) = (Data::new(77), Data::new(41));
    let mut engine = ready(16, &train, Some(&test));
    let mut reference = Reference {
        data: &train,
        parameters: [0.25, -0.5, 0.0, 0.1],
    };
    let mut values = vec![0.0; PARAMETER_BYTES / 4];
    values[..3].copy_from_slice(&[0.25, -0.5, 0.0]);
    values[BIAS_BYTES / 4] = 0.1;
    engine.set_parameters(&values).or_say();
    for _ in 0..2 {
        let order = shuffled(train.targets.len());
        engine
            .begin(Mode::Train, &order, &rows_of(order.len(), 16, falling))
            .or_say();
        let mut found = engine.run(2).or_say();
        assert_eq!(found.len(), 2);
        found.extend(engine.run(100).or_say());
        assert!(engine.run(1).or_say().is_empty());
        let expected: Vec<_> = order
            .chunks(16)
            .enumerate()
            .map(|(k, b)| reference.step(b, falling(k).into()))
            .collect();
        assert_eq!(found.len(), expected.len());
        found.iter().zip(&expected).for_each(|(f, e)| close(f, e));
        evaluate(&mut engine, &test, reference.parameters);
    }
    let values = engine.parameters().or_say();
    let found = [values[0], values[1], values[2], values[BIAS_BYTES / 4]];
    for (f, e) in found.iter().zip(reference.parameters) {
        assert!(
            (f64::from(*f) - e).abs() < 1e-5,
            "{found:?} for {:?}",
            reference.parameters
        );
    }
}

fn evaluate(engine: &mut Engine, test: &Data, parameters: [f64; FEATURES + 1]) {
    let order: Vec<u32> = (0..test.targets.len() as u32).collect();
    engine
        .begin(Mode::Eval, &order, &rows(order.len(), 16, 0.0))
        .or_say();
    let found = engine.run(usize::MAX).or_say();
    let mut reference = Reference {
        data: test,
        parameters,
    };
    let expected: Vec<_> = order.chunks(16).map(|b| reference.step(b, 0.0)).collect();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).for_each(|(f, e)| close(f, e));
}

/// What a process of its own runs, with the settings of its environment.
#[test]
fn steps_agree_with_f64() {
    train_and_evaluate();
    println!("{}", software_report().unwrap_or_default());
}

#[test]
fn a_run_may_be_longer_than_the_ring_and_an_order_longer_than_the_set() {
    let data = Data::new(30);
    let mut engine = ready(1, &data, None);
    let steps = 2 * RING + 44;
    let order: Vec<u32> = (0..steps as u32).map(|k| k % 30).collect();
    let mut reference = Reference {
        data: &data,
        parameters: [0.0; FEATURES + 1],
    };
    engine
        .begin(Mode::Train, &order, &rows(order.len(), 1, 0.01))
        .or_say();
    let found = engine.run(usize::MAX).or_say();
    assert_eq!(found.len(), steps);
    for (f, i) in found.iter().zip(order.chunks(1)) {
        close(f, &reference.step(i, 0.01));
    }
    engine
        .begin(Mode::Eval, &order[..30], &rows(30, 1, 0.0))
        .or_say();
    assert_eq!(
        engine.run(100).or_say().len(),
        30,
        "evaluates on the training set"
    );
    engine.begin(Mode::Train, &[], &[]).or_say();
    assert!(engine.run(1).or_say().is_empty());
}

const DRAWS: usize = 1000;

const DRAW: &str = r#"
extern "C" __global__ void draw(float* out, Step* step) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 1000) out[i] = random_number(i, 3, 7, 1, 0x89ABCDEF, 0x1234567);
    if (i == 0) advance(step);
}
"#;

#[test]
fn random_numbers_are_those_of_the_host() {
    let draw = Launch {
        kernel: "draw".into(),
        blocks: 8,
        threads: 128,
        arguments: vec![Place::Parameters(0), Place::Step],
    };
    let (functions, modules) = modules(&format!("{PHILOX}{DRAW}"));
    let program = Program {
        scalars: SCALARS.map(String::from).to_vec(),
        functions,
        modules,
        train: vec![draw.clone()],
        eval: vec![draw],
        batch: 1,
        arena_bytes: 0,
        parameter_bytes: 4 * DRAWS,
        partial_bytes: 0,
    };
    let data = Data::new(1);
    let device = Device::open(Choice::Software).or_say();
    let mut engine = Engine::new(&device, program, data.examples(), None).or_say();
    engine.begin(Mode::Train, &[0], &rows(1, 1, 0.0)).or_say();
    engine.run(1).or_say();
    let word = |i: u32| rng::philox4x32_10([i, 3, 7, 1], [0x89AB_CDEF, 0x0123_4567])[0];
    let number = |i: u32| (word(i) >> 8) as f32 / 16_777_216.0;
    let expected: Vec<f32> = (0..DRAWS as u32).map(number).collect();
    assert_eq!(engine.parameters().or_say(), expected);
}

#[test]
fn training_ends_at_a_loss_that_is_not_finite_and_no_update_follows_it() {
    let mut data = Data::new(40);
    data.targets[19] = f32::NAN;
    let mut engine = ready(4, &data, None);
    let order: Vec<u32> = (0..40).collect();
    engine
        .begin(Mode::Train, &order, &rows(40, 4, 0.1))
        .or_say();
    let found = engine.run(8).or_say();
    assert_eq!(found.len(), 5, "example 19 is in the fifth batch");
    assert!(found[4].loss_sum.is_nan() && found[3].loss_sum.is_finite());
    assert!(engine.run(8).or_say().is_empty());
    let parameters = engine.parameters().or_say();
    assert!(parameters.iter().all(|p| p.is_finite()), "{parameters:?}");
    engine
        .begin(Mode::Train, &order[..16], &rows(16, 4, 0.1))
        .or_say();
    assert_eq!(engine.run(8).or_say().len(), 4);
}

/// `steps_agree_with_f64` in a process of its own with settings of the software GPU.
fn own_process(settings: &str) -> Command {
    let mut command = alone("steps_agree_with_f64");
    command.env("LENETC_SOFTGPU", settings);
    command
}

/// Says to a test that it is alone in its process.
const ALONE: &str = "LENETC_TEST_ALONE";

/// A test in a process of its own.
fn alone(test: &str) -> Command {
    let own = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new(own);
    command.args(["--exact", test, "--nocapture"]);
    command.env_remove("LENETC_SOFTGPU").env(ALONE, "1");
    command
}

fn with_settings(settings: &str) -> Output {
    own_process(settings).output().expect("it starts")
}

fn text(o: &Output) -> String {
    [&o.stdout, &o.stderr]
        .map(|b| String::from_utf8_lossy(b).into_owned())
        .concat()
}

#[test]
fn a_step_is_one_launch_of_a_graph_and_nothing_else() {
    let out = text(&with_settings(""));
    // Two epochs of 5 steps and two evaluations of 3, of three kernels each.
    assert!(
        out.contains("\"launches\":48,\"graph_launches\":16,"),
        "{out}"
    );
}

#[test]
fn every_order_of_warps_agrees_and_no_sanitizer_reports() {
    for order in 0..4 {
        let o = with_settings(&format!("sanitize=all;warp_order={order}"));
        assert!(o.status.success(), "warp order {order}: {}", text(&o));
    }
}

#[test]
fn each_error_of_the_driver_is_told_apart() {
    for (fault, expected) in [
        ("cuInit:1:100", "there is no CUDA device"),
        ("cuInit:1:34", "LD_LIBRARY_PATH"),
        ("cuInit:1:3", "nvidia-smi"),
        ("cuDeviceGetCount:1:999", "nvidia-modprobe -c 0 -u"),
        ("cuDevicePrimaryCtxRetain:1:2", "out of memory"),
        (
            "cuDevicePrimaryCtxRetain:1:101",
            "CUDA_ERROR_INVALID_DEVICE (101)",
        ),
        ("cuModuleLoadData:1:999", "when loading the kernels"),
        ("cuModuleGetFunction:1:500", "CUDA_ERROR_NOT_FOUND (500)"),
        ("cuStreamCreate:1:999", "nvidia_uvm"),
        ("cuMemAllocAsync:1:2", "the program needs 1 MiB"),
        ("cuMemAllocAsync:7:2", "the program needs 1 MiB"),
        ("cuMemcpyHtoDAsync_v2:1:999", "nvidia_uvm"),
        ("cuStreamBeginCapture_v2:1:900", "when capturing a step"),
        ("cuLaunchKernel:2:701", "could not launch a kernel"),
        ("cuGraphInstantiateWithFlags:1:2", "out of memory"),
        ("cuGraphLaunch:2:999", "was lost when training"),
        ("launch:3:700", "outside of its memory"),
        ("launch:3:719", "a kernel failed"),
        ("launch:3:702", "longer than the driver allows"),
        ("cuStreamSynchronize:6:999", "nothing was trained yet"),
        ("cuMemcpyDtoHAsync_v2:1:719", "a kernel failed"),
    ] {
        let o = with_settings(&format!("fault={fault}"));
        let out = text(&o);
        assert!(
            out.contains(expected),
            "{fault} without \"{expected}\": {out}"
        );
        assert_eq!(o.status.code(), Some(101), "{fault}: {out}");
    }
}

#[test]
fn settings_of_the_device_are_heeded() {
    for (settings, expected) in [
        ("devices=0", "there is no CUDA device"),
        ("memory=1000", "out of memory"),
        ("memory=1000;pools=0", "out of memory"),
        ("driver=11040", "this driver is for CUDA 11.4"),
        ("compute=3.5", "compute capability 3.5"),
    ] {
        let o = with_settings(settings);
        assert!(text(&o).contains(expected), "{settings}: {}", text(&o));
    }
    for settings in ["compute=9.0", "pools=0", "memory=1000;spill=1"] {
        let o = with_settings(settings);
        assert!(o.status.success(), "{settings}: {}", text(&o));
    }
}

/// What worked is remembered with the NVRTC that made it, and then nothing is compiled.
#[test]
fn a_second_run_compiles_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |settings: &str| {
        let o = own_process(settings)
            .env("XDG_CACHE_HOME", dir.path())
            .output();
        let o = o.expect("it starts");
        assert!(o.status.success(), "{settings}: {}", text(&o));
        let files = std::fs::read_dir(dir.path().join("lenetc")).expect("the cache is used");
        files.count()
    };
    let first = run("");
    // Of each module machine code, the PTX that the software GPU runs for it, and which of them worked.
    assert_eq!(first, 3 * program(1).modules.len());
    assert_eq!(run(""), first);
    assert_eq!(
        run("fault=cuModuleLoadData:1:209"),
        first,
        "the PTX is there"
    );
}

/// Parameters after rounds of training in batches of one, on the software GPU as new.
fn steps(settings: &str, rounds: &[usize]) -> Result<Vec<f32>, CudaError> {
    assert!(
        software_configure(&format!("reset=1;fault=;{settings}")),
        "{settings}"
    );
    let data = Data::new(RING + 1);
    let mut engine = engine(1, &data, None)?;
    engine.begin(Mode::Train, &shuffled(RING + 1), &rows(RING + 1, 1, 0.1))?;
    for &steps in rounds {
        engine.run(steps)?;
    }
    engine.parameters()
}

/// Calls on the way to a device.
const OPENING: [&str; 9] = [
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuDeviceGetName",
    "cuDeviceGetPCIBusId",
    "cuDeviceTotalMem_v2",
];

/// Calls of an engine, each with settings that make it be called.
const RUNNING: [(&str, &str); 17] = [
    ("cuStreamCreate", ""),
    ("cuEventCreate", ""),
    ("cuModuleLoadData", ""),
    ("cuModuleGetFunction", ""),
    ("cuMemAllocAsync", ""),
    ("cuMemAlloc_v2", "pools=0"),
    ("cuMemsetD8Async", ""),
    ("cuMemcpyHtoDAsync_v2", ""),
    ("cuMemcpyDtoHAsync_v2", ""),
    ("cuStreamSynchronize", ""),
    ("cuStreamBeginCapture_v2", ""),
    ("cuLaunchKernel", ""),
    ("cuStreamEndCapture", ""),
    ("cuGraphInstantiateWithFlags", ""),
    ("cuGraphUpload", ""),
    ("cuGraphLaunch", ""),
    ("launch", ""),
];

/// Calls whose failure changes nothing: something is freed, or told where it is known.
const QUIET: [(&str, &str); 10] = [
    ("cuDriverGetVersion", ""),
    ("cuMemGetInfo_v2", ""),
    ("cuGraphDestroy", ""),
    ("cuGraphExecDestroy", ""),
    ("cuMemFreeAsync", ""),
    ("cuMemFree_v2", "pools=0"),
    ("cuEventDestroy_v2", ""),
    ("cuStreamDestroy_v2", ""),
    ("cuModuleUnload", ""),
    ("cuDevicePrimaryCtxRelease_v2", ""),
];

/// A sentence about a code, by its number or, where the cause is plain, by that.
fn is_told(said: &str, code: u32) -> bool {
    match code {
        2 => said.contains("out of memory"),
        100 => said.contains("no CUDA device"),
        code => said.contains(&format!("{code})")),
    }
}

/// A call that fails every time, from the first one on.
fn fault(symbol: &str, code: u32) -> String {
    let each = (1..=40).map(|call| format!("{symbol}:{call}:{code}"));
    format!("fault={}", each.collect::<Vec<_>>().join(","))
}

/// Every code at every call that can fail becomes a sentence, those that no driver of today returns included.
#[test]
fn no_code_of_any_call_is_a_panic() {
    if std::env::var_os(ALONE).is_none() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let mut child = alone("no_code_of_any_call_is_a_panic");
        let o = child.env("XDG_CACHE_HOME", cache.path()).output();
        let o = o.expect("it starts");
        assert!(o.status.success(), "{}", text(&o));
        return;
    }
    drop(Device::open(Choice::Software).or_say());
    let told = |what: &str, code, result: Result<(), CudaError>| match result {
        Ok(()) => panic!("{what} with {code} is not noticed"),
        Err(e) => assert!(is_told(&e.to_string(), code), "{what} with {code}: {e}"),
    };
    for symbol in OPENING {
        for code in 1..=2000 {
            let settings = format!("reset=1;{}", fault(symbol, code));
            assert!(software_configure(&settings), "{settings}");
            told(symbol, code, Device::open(Choice::Software).map(drop));
        }
    }
    // Each code at one call, and codes of today and of later drivers at each.
    let some = [1, 2, 36, 46, 100, 209, 700, 719, 917, 999, 2000];
    for (at, (symbol, settings)) in RUNNING.into_iter().enumerate() {
        for code in
            (1..=2000).filter(|code| some.contains(code) || *code as usize % RUNNING.len() == at)
        {
            let settings = format!("{settings};{}", fault(symbol, code));
            told(symbol, code, steps(&settings, &[1]).map(drop));
        }
    }
    for (symbol, settings) in QUIET {
        for code in some {
            let settings = format!("{settings};{}", fault(symbol, code));
            match steps(&settings, &[1]) {
                Ok(_) => {}
                // The context is lost with it.
                Err(e) if [700, 719, 999].contains(&code) => told(symbol, code, Err(e)),
                Err(e) => panic!("{symbol} with {code}: {e}"),
            }
        }
    }
}

/// The host sleeps while a long round runs, by an event of the kind for that, and not before it knows that it is long.
#[test]
fn a_long_round_is_slept_through() {
    if std::env::var_os(ALONE).is_none() {
        let o = alone("a_long_round_is_slept_through").output();
        let o = o.expect("it starts");
        assert!(o.status.success(), "{}", text(&o));
        return;
    }
    drop(Device::open(Choice::Software).or_say());
    let expected = steps("", &[1, RING]).or_say();
    for symbol in ["cuEventRecord", "cuEventSynchronize", "sleep"] {
        let settings = fault(symbol, 719);
        assert!(
            steps(&settings, &[1]).is_ok(),
            "{symbol}: how long a step takes is not known"
        );
        let error = steps(&settings, &[1, RING]).expect_err(symbol).to_string();
        assert!(
            error.contains("a kernel failed when training"),
            "{symbol}: {error}"
        );
    }
    assert_eq!(
        steps("", &[1, RING]).or_say(),
        expected,
        "asleep or not, the results are the same"
    );
}

#[test]
fn memory_that_spills_is_warned_of() {
    if std::env::var_os(ALONE).is_none() {
        for (settings, expected) in [("memory=65536;spill=1", "0 MiB are free"), ("", "[]")] {
            let mut child = alone("memory_that_spills_is_warned_of");
            let o = child.env("LENETC_SOFTGPU", settings).output();
            let out = text(&o.expect("it starts"));
            assert!(out.contains(expected), "{settings}: {out}");
        }
        return;
    }
    let data = Data::new(40_000);
    println!("{:?}", ready(16, &data, None).warnings());
}
