//! Every kernel of every model through NVRTC, to PTX and to machine code of four architectures, with no spills; and what
//! the machine code takes, recorded in `tests/golden/resources.txt`. `LENETC_BLESS=1` writes that file anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use lenetc::backend::cuda::ptx::multiprocessors;
use lenetc_runtime::cuda::{Arch, Image, PRELUDE, Program, compile, resources};

#[path = "common/gpu.rs"]
mod gpu;

const ARCHITECTURES: [u32; 4] = [75, 80, 90, 120];
/// The word of a recorded line that is a number of registers, and how far it may be off.
const REGISTERS: usize = 3;
const JITTER: i32 = 8;
/// Multiply-adds in a stretch of straight code from which on it is the inner loop of a sum of products: an
/// activation has fewer.
const MANY: usize = 24;

fn program(model: &str, architecture: u32) -> Program {
    gpu::plan(&gpu::named(model, &[]), multiprocessors(architecture)).program()
}

/// The kernels of a program, each once.
fn kernels(p: &Program) -> Vec<&str> {
    let mut all: Vec<&str> = p.train.iter().chain(&p.eval).map(|l| &*l.kernel).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn compiled(p: &Program, arch: Arch) -> (Image, String) {
    let found = compile(&format!("{PRELUDE}{}", p.source), arch);
    let found = found.unwrap_or_else(|e| panic!("{arch:?}: {e}"));
    (found.image, found.log)
}

fn ptx(p: &Program, architecture: u32) -> String {
    match compiled(p, Arch::Virtual(architecture)) {
        (Image::Ptx(text), log) => {
            assert_eq!(log, "", "NVRTC warns of nothing");
            text
        }
        (Image::Cubin(_), _) => panic!("PTX was asked for"),
    }
}

/// A line for each kernel.
fn lines(model: &str, architecture: u32) -> String {
    let program = program(model, architecture);
    let text = ptx(&program, architecture);
    let (_, log) = compiled(&program, Arch::Real(architecture));
    let mut all = resources(&log);
    all.sort_by(|a, b| a.kernel.cmp(&b.kernel));
    let names: Vec<&str> = all.iter().map(|r| r.kernel.as_str()).collect();
    assert_eq!(names, kernels(&program), "{model}, sm_{architecture}");
    let mut out = String::new();
    for r in &all {
        let place = format!("{model}, sm_{architecture}, {}", r.kernel);
        assert!(text.contains(&format!(".entry {}(", r.kernel)), "{place}");
        assert_eq!(r.spill_stores + r.spill_loads, 0, "{place} spills");
        assert!(r.registers > 0 && r.shared_bytes <= 48 << 10, "{place}");
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

#[test]
fn every_kernel_of_every_model_compiles_for_every_architecture_without_spills() {
    let mut jobs: Vec<(&str, u32)> = Vec::new();
    for model in gpu::MODELS {
        jobs.extend(ARCHITECTURES.map(|a| (model, a)));
    }
    let (left, done) = (Mutex::new(jobs.clone()), Mutex::new(BTreeMap::new()));
    let next = || left.lock().expect("no thread has failed").pop();
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while let Some(job) = next() {
                    let text = lines(job.0, job.1);
                    done.lock().expect("no thread has failed").insert(job, text);
                }
            });
        }
    });
    let done = done.into_inner().expect("no thread has failed");
    let found: String = jobs.iter().map(|j| done[j].as_str()).collect();
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
    let text = ptx(&program, 80);
    let sources = program.source.split("extern \"C\" __global__").skip(1);
    let contractions = sources.filter(|k| k.contains("a_tile"));
    let mut checked = Vec::new();
    for source in contractions {
        let (name, _) = source.split_once('(').expect("bounds of the launch");
        let name = source[name.len()..].split_once(") ").expect("a name").1;
        let (name, _) = name.split_once('(').expect("its parameters");
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
