//! Every kernel of every model through NVRTC, to PTX and to machine code of four architectures, with no spills; and what
//! the machine code takes, recorded in `tests/golden/resources.txt`. `LENETC_BLESS=1` writes that file anew.
//!
//! And the same kernels, with those of a net of many layers, through the oldest and the newest NVRTC that lenetc takes,
//! for each kind of device. `tests/run` installs these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lenetc::backend::cuda::ptx::multiprocessors;
use lenetc_runtime::cuda::{
    Arch, Compiled, CudaError, Image, Nvrtc, Program, Resources, nvrtc, resources,
};

#[path = "common/gpu.rs"]
mod gpu;

const ARCHITECTURES: [u32; 4] = [75, 80, 90, 120];
/// The word of a recorded line that is a number of registers, and how far it may be off.
const REGISTERS: usize = 3;
const JITTER: i32 = 8;
/// Multiply-adds in a stretch of straight code from which on it is the inner loop of a sum of products: an
/// activation has fewer.
const MANY: usize = 24;
/// The name of the net of many layers.
const DEEP: &str = "deep";

/// A model of the repository, or 180 equal layers between images and classes.
fn program(model: &str, architecture: u32) -> Program {
    const TEXT: &str = "model Deep {
    input(1, 28, 28)
    Flatten
    repeat 180 { Linear(32); Sigmoid }
    Linear(10)
}
train {
    data = fashion_mnist
    loss = CrossEntropyLoss
    optimizer = SGD(lr=0.1)
    batch_size = 64
    epochs = 1
}
";
    let model = match model {
        DEEP => gpu::read(DEEP, TEXT.into(), &[]),
        name => gpu::named(name, &[]),
    };
    gpu::plan(&model, multiprocessors(architecture)).program()
}

/// The kernels that a program launches, each once.
fn kernels(p: &Program) -> Vec<&str> {
    let mut all: Vec<&str> = p.train.iter().chain(&p.eval).map(|l| &*l.kernel).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The modules of a program, as they are compiled where it is loaded. NVRTC warns of nothing.
fn compiled(nvrtc: &Nvrtc, p: &Program, arch: Arch) -> Vec<Compiled> {
    let compile = |source: String| {
        let found = nvrtc.compile(&source, arch);
        found.unwrap_or_else(|e| panic!("{}, {arch:?}: {e}", nvrtc.version))
    };
    let all = p.modules.iter().map(|m| compile(p.module_source(m)));
    let all: Vec<Compiled> = all.collect();
    for c in &all {
        assert!(!c.log.contains("warning"), "{arch:?}: {}", c.log);
    }
    all
}

fn default_nvrtc() -> &'static Nvrtc {
    nvrtc().unwrap_or_else(|e| panic!("tests/run installs what the tests need: {e}"))
}

/// The PTX of all modules.
fn ptx(nvrtc: &Nvrtc, p: &Program, architecture: u32) -> String {
    let text = |c: Compiled| match c.image {
        Image::Ptx(text) => {
            assert_eq!(c.log, "", "NVRTC warns of nothing");
            text
        }
        Image::Cubin(_) => panic!("PTX was asked for"),
    };
    let all = compiled(nvrtc, p, Arch::Virtual(architecture));
    all.into_iter().map(text).collect()
}

/// What the machine code of each kernel takes, by name.
fn taken(nvrtc: &Nvrtc, p: &Program, architecture: u32) -> Vec<Resources> {
    let all = compiled(nvrtc, p, Arch::Real(architecture));
    let mut all: Vec<Resources> = all.iter().flat_map(|c| resources(&c.log)).collect();
    all.sort_by(|a, b| a.kernel.cmp(&b.kernel));
    let names: Vec<&str> = all.iter().map(|r| r.kernel.as_str()).collect();
    assert_eq!(names, kernels(p), "sm_{architecture}");
    for r in &all {
        let place = format!("{}, sm_{architecture}, {}", nvrtc.version, r.kernel);
        assert_eq!(r.spill_stores + r.spill_loads, 0, "{place} spills");
        assert!(r.registers > 0 && r.shared_bytes <= 48 << 10, "{place}");
    }
    all
}

/// A line for each kernel.
fn lines(model: &str, architecture: u32) -> String {
    let program = program(model, architecture);
    let text = ptx(default_nvrtc(), &program, architecture);
    let mut out = String::new();
    for r in taken(default_nvrtc(), &program, architecture) {
        let entry = format!(".entry {}(", r.kernel);
        assert!(text.contains(&entry), "{model}, {entry}");
        out += &format!(
            "{model:<9} sm_{architecture:<4} {:<34} {:>3} registers {:>6} bytes shared, {} spilled\n",
            r.kernel,
            r.registers,
            r.shared_bytes,
            r.spill_stores + r.spill_loads
        );
    }
    out
}

/// The results of jobs that run two at a time, in their order.
fn two_at_a_time<J: Sync, T: Send>(jobs: &[J], work: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let (left, done) = (Mutex::new(0..jobs.len()), Mutex::new(BTreeMap::new()));
    let next = || left.lock().expect("no thread has failed").next();
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while let Some(k) = next() {
                    let result = work(&jobs[k]);
                    done.lock().expect("no thread has failed").insert(k, result);
                }
            });
        }
    });
    let done = done.into_inner().expect("no thread has failed");
    done.into_values().collect()
}

#[test]
fn every_kernel_of_every_model_compiles_for_every_architecture_without_spills() {
    let mut jobs: Vec<(&str, u32)> = Vec::new();
    for model in gpu::MODELS {
        jobs.extend(ARCHITECTURES.map(|a| (model, a)));
    }
    let found = two_at_a_time(&jobs, |&(model, a)| lines(model, a)).concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resources.txt");
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    if let Err(difference) = same(&recorded, &found) {
        assert!(
            std::env::var_os("LENETC_BLESS").is_some(),
            "{difference}\nLENETC_BLESS=1 records what is new"
        );
        std::fs::write(&path, &found).expect("the folder is ours");
    }
}

/// Compute capabilities of devices.
const DEVICES: [u32; 9] = [61, 70, 75, 80, 89, 90, 100, 120, 121];

/// What each NVRTC makes for each of the [`DEVICES`]: machine code where it knows the device, else PTX of the nearest
/// one below, and nothing where it knows none below.
const MATRIX: [(&str, [&str; 9]); 3] = [
    (
        "12.0",
        [
            "sm_61",
            "sm_70",
            "sm_75",
            "sm_80",
            "sm_89",
            "sm_90",
            "compute_90",
            "compute_90",
            "compute_90",
        ],
    ),
    (
        "12.9",
        [
            "sm_61", "sm_70", "sm_75", "sm_80", "sm_89", "sm_90", "sm_100", "sm_120", "sm_121",
        ],
    ),
    (
        "13.5",
        [
            "from 75 on",
            "from 75 on",
            "sm_75",
            "sm_80",
            "sm_89",
            "sm_90",
            "sm_100",
            "sm_120",
            "sm_121",
        ],
    ),
];

/// The NVRTC that lenetc finds itself, which is one of the matrix, and those beside it, by version. They stay loaded.
fn nvrtcs() -> BTreeMap<String, &'static Nvrtc> {
    let environment = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv");
    let folder = environment.unwrap_or_else(own);
    let beside = [
        "nvrtc-12.0/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "nvrtc-13.5/nvidia/cu13/lib/libnvrtc.so.13",
    ];
    let paths = beside.into_iter().map(|p| folder.join(p));
    let paths = paths.chain([default_nvrtc().path.clone()]);
    let open = |path: PathBuf| {
        let found = Nvrtc::open(&path);
        let found =
            found.unwrap_or_else(|e| panic!("{}: tests/run installs it: {e}", path.display()));
        let found: &Nvrtc = Box::leak(Box::new(found));
        (found.version.to_string(), found)
    };
    paths.map(open).collect()
}

/// Compiles a model for a device as the rule has it; what was made.
fn made(nvrtc: &Nvrtc, model: &str, device: u32) -> String {
    let program = program(model, device);
    match nvrtc.arch_for(device) {
        Ok(Arch::Real(a)) => {
            taken(nvrtc, &program, a);
            format!("sm_{a}")
        }
        Ok(Arch::Virtual(a)) => {
            let text = ptx(nvrtc, &program, a);
            for kernel in kernels(&program) {
                assert!(text.contains(&format!(".entry {kernel}(")), "{kernel}");
            }
            format!("compute_{a}")
        }
        Err(CudaError::OldDevice { oldest, .. }) => format!("from {oldest} on"),
        Err(e) => panic!("{} for {device}: {e}", nvrtc.version),
    }
}

#[test]
fn every_nvrtc_compiles_every_model_for_every_device_that_it_knows() {
    let nvrtcs = nvrtcs();
    let mut jobs = Vec::new();
    for (version, row) in MATRIX {
        let nvrtc = nvrtcs.get(version);
        let nvrtc = nvrtc.unwrap_or_else(|| panic!("{version} is not among {:?}", nvrtcs.keys()));
        for (device, expected) in DEVICES.into_iter().zip(row) {
            for model in gpu::MODELS.into_iter().chain([DEEP]) {
                jobs.push((nvrtc, model, device, expected));
            }
        }
    }
    two_at_a_time(&jobs, |&(nvrtc, model, device, expected)| {
        let found = made(nvrtc, model, device);
        let place = format!("{} of {model} for {device}", nvrtc.version);
        assert_eq!(found, expected, "{place}");
    });
}

/// Whether all is as recorded, but for a few registers: ptxas does not choose the same number every time.
fn same(recorded: &str, found: &str) -> Result<(), String> {
    let (a, b) = (recorded.lines().count(), found.lines().count());
    if a != b {
        return Err(format!("{a} kernels are recorded, {b} found"));
    }
    for (recorded, found) in recorded.lines().zip(found.lines()) {
        let [a, b] = [recorded, found].map(|l| l.split_whitespace().collect::<Vec<_>>());
        let equal = |k: usize| a.get(k) == b.get(k);
        let registers = |words: &[&str]| words.get(REGISTERS).and_then(|n| n.parse::<i32>().ok());
        let near = registers(&a)
            .zip(registers(&b))
            .is_some_and(|(a, b)| (a - b).abs() <= JITTER);
        if !near || !(0..a.len().max(b.len())).all(|k| k == REGISTERS || equal(k)) {
            return Err(format!("- {recorded}\n+ {found}"));
        }
    }
    Ok(())
}

/// Stretches of a kernel's PTX that nothing jumps into or out of.
fn stretches(kernel: &str) -> Vec<Vec<&str>> {
    let mut out = vec![vec![]];
    for line in kernel.lines().map(str::trim) {
        let jump = line.starts_with("$L") || line.split_whitespace().any(|w| w.starts_with("bra"));
        if jump {
            out.push(vec![]);
        } else if let Some(last) = out.last_mut() {
            last.push(line);
        }
    }
    out
}

/// The stretch's instructions of a name.
fn count(stretch: &[&str], name: &str) -> usize {
    stretch.iter().filter(|l| l.starts_with(name)).count()
}

#[test]
fn inner_loops_of_contractions_multiply_and_add_rows_of_four() {
    let program = program("lenet", 80);
    let text = ptx(default_nvrtc(), &program, 80);
    let contractions = program.kernels().filter(|k| k.text.contains("a_tile"));
    let mut checked = Vec::new();
    for kernel in contractions {
        let name = kernel.name.as_str();
        let (_, kernel) = text
            .split_once(&format!(".entry {name}("))
            .expect("it is there");
        let kernel = kernel.split(".entry ").next().unwrap_or(kernel);
        let loops = stretches(kernel);
        let loops = loops
            .iter()
            .filter(|s| count(s, "fma.rn.f32") >= MANY && count(s, "ld.shared") > 0);
        let rows: Vec<usize> = loops.map(|s| count(s, "ld.shared.v4.f32")).collect();
        assert!(!rows.is_empty(), "{name} has an inner loop");
        assert!(
            rows.iter().all(|&n| n > 0),
            "{name}: rows of four in its loops: {rows:?}"
        );
        checked.push(name);
    }
    let expected = [
        "conv2d_sigmoid",
        "conv2d_sigmoid_2",
        "linear_sigmoid",
        "chain",
        "linear_grad_input",
        "conv2d_grad_input",
        "gradients",
    ];
    assert!(expected.iter().all(|e| checked.contains(e)), "{checked:?}");
}
