//! Loops as text: what is printed is read back as the kernel that it was, for every operator, model and target; an
//! emitter can start from a text; and no text is too strange to be refused.

use std::sync::LazyLock;

use lenetc::backend::cpu::clif::{self, Target};
use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{self, Options, schedule, wide};
use lenetc::backend::cuda;
use lenetc::diag::Source;
use lenetc::driver;
use lenetc::ir::Scalars;
use lenetc::nest::loops::{Expr, Kernel, Stmt, Uniform, compact, parse, text, verify};
use lenetc_runtime::exec::Uniforms;

#[macro_use]
#[path = "common/cases.rs"]
mod cases;
use cases::Case;

static AARCH64: LazyLock<Target> = LazyLock::new(|| Target::named("aarch64").expect("is built in"));

/// Printed, read and compared.
fn read_back(name: &str, k: &Kernel) -> Kernel {
    verify(k).unwrap_or_else(|e| panic!("{name}: {e}\n{}", text(k)));
    let printed = text(k);
    for line in printed.lines() {
        assert!(line.chars().count() <= 160, "{name}: {line}");
        let once = line.contains(" in 0..1 ") && !line.contains(" step ");
        assert!(!once, "{name}: {line}");
    }
    let read = parse(&printed).unwrap_or_else(|e| panic!("{name}: {e}\n{printed}"));
    let [read] = &read[..] else {
        panic!("{name}: {} kernels", read.len())
    };
    assert_eq!(*read, compact(k), "{name}\n{printed}");
    assert_eq!(text(read), printed, "{name}");
    read.clone()
}

/// The same machine code comes of a kernel and of its text.
fn same_code(name: &str, isa: Isa, k: &Kernel, read: &Kernel) {
    if isa == Isa::Cranelift {
        let [a, b] = [k, read].map(|k| clif::text(std::slice::from_ref(k), &AARCH64));
        assert_eq!(a, b, "{name}");
        return;
    }
    let code = |k: &Kernel| wide::compile(k).map(|c| c.bytes).map_err(|e| e.0);
    assert!(code(k) == code(read), "{name} on {isa}: other machine code");
}

fn run(list: Vec<Case>) {
    for c in &list {
        let nest = c.nest();
        for isa in Isa::ALL {
            for block in [1, isa.lanes(), 2 * isa.lanes()] {
                let name = format!("{}, {block} images on {isa}", c.name);
                let (k, _) = schedule(&nest, Options::new(isa, block));
                let read = read_back(&name, &k);
                same_code(&name, isa, &k, &read);
            }
        }
        for (batch, multiprocessors) in [(1, 108), (9, 132), (40, 16)] {
            let options = cuda::Options {
                batch,
                multiprocessors,
            };
            let name = format!("{}, {batch} images on a GPU", c.name);
            read_back(&name, &cuda::single(&nest, options).0);
        }
    }
}

every_family!(run);

#[test]
fn kernels_of_every_model() {
    let folders =
        ["models", "models/book"].map(|f| std::fs::read_dir(f).expect("there are models"));
    for file in folders.into_iter().flatten().flatten() {
        let path = file.path();
        if path.is_dir() {
            continue;
        }
        let name = path.display().to_string();
        let source = Source {
            name: name.clone(),
            text: std::fs::read_to_string(&path).expect("a model is text"),
        };
        let model = driver::read(source, &[]).unwrap_or_else(|_| panic!("{name} is right"));
        let graph = || {
            let built = model.build(driver::holds_bytes(&model.config));
            let built = built.unwrap_or_else(|_| panic!("{name} is right"));
            model.differentiate(built.graphs)
        };
        for batch in [1, 256] {
            for isa in Isa::ALL {
                let plan: cpu::Plan = driver::plan(graph(), true, batch, isa);
                for k in plan.steps.iter().map(cpu::Step::kernel) {
                    let read = read_back(&name, k);
                    same_code(&name, isa, k, &read);
                }
            }
            let plan = driver::plan_cuda(graph(), true, batch, 108);
            for unit in plan.train.iter().chain(&plan.eval) {
                read_back(&name, &unit.kernel);
            }
        }
    }
}

/// Constants keep their bits, whatever they are.
#[test]
fn constants_keep_their_bits() {
    let mut bits = vec![
        0x0000_0000,
        0x8000_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_0000,
        0x7fa0_0001,
        0x0000_0001,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0x3f80_0000,
        0x3eaa_aaab,
        0x4b7f_ffff,
        0x4b80_0001,
    ];
    let mut state = 1u32;
    bits.extend((0..20_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    }));
    let mut k = Kernel::new("constants", 4);
    let reg = k.reg("acc", &[]);
    for b in bits {
        let value = k.value(Expr::Const(b));
        let set = Stmt::Set {
            reg,
            index: vec![],
            value,
        };
        k.body.push(set);
    }
    let printed = text(&k);
    assert_eq!(parse(&printed).expect("is a kernel"), [k]);
}

/// `out = relu(x) · w + 1` of a vector, with the value that is read twice named.
const BY_HAND: &str = "
# A kernel that no schedule made.
kernel by_hand lanes 4 {
    variables i, v
    buffer x: f32[12]
    buffer w: f32[3]
    buffer out: f32[12]
    register acc[1]
    at v = 0 unrolled {
        for i in 0..3 unrolled {
            let %7 = x[4*i]
            acc[v] = fma(%7 < 0 ? 0 : %7, splat w[i],
                1)
            out[4*i] = acc[0]
            if i <= 1 { out[4*i] = acc[0] + (valid - valid) }
        }
    }
}
";

#[test]
fn an_emitter_starts_from_a_text() {
    let kernels = parse(BY_HAND).unwrap_or_else(|e| panic!("{e}"));
    verify(&kernels[0]).unwrap_or_else(|e| panic!("{e}"));
    let code = Code::compile(&kernels).expect("there is memory for code");
    let mut x: Vec<f32> = (0..12).map(|k| k as f32 - 6.0).collect();
    let (mut w, mut out) = ([1.0f32, 2.0, -3.0], [f32::NAN; 12]);
    let want: Vec<f32> = (0..12).map(|k| x[k].max(0.0) * w[k / 4] + 1.0).collect();
    let pointers = [&mut x[..], &mut w, &mut out].map(|b| b.as_mut_ptr().cast::<u8>());
    let uniforms = Uniforms::new(4.0, &Scalars::new(4, 0.5).floats());
    // SAFETY: each buffer has the length that the text states, and nothing else uses them meanwhile.
    unsafe { code.call(0, &pointers, &uniforms) };
    assert_eq!(out[..], want);
}

/// The example of the documentation is a kernel, printed as it stands there.
#[test]
fn the_documented_kernel_is_one() {
    let page = include_str!("../docs/stages.md");
    let start = page.find("kernel example").expect("is there");
    let end = page[start..].find("```").expect("ends");
    let example = &page[start..start + end];
    let kernels = parse(example).unwrap_or_else(|e| panic!("{e}"));
    verify(&kernels[0]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&kernels[0]), example);
}

/// Each error names its line and what is wrong there.
#[test]
fn what_is_no_kernel_is_refused() {
    let body = |line: &str| {
        format!(
            "kernel k lanes 4 {{\n    variables i\n    buffer x: f32[8]\n    register r[2]\n    {line}\n}}\n"
        )
    };
    for (line, said) in [
        ("r[0] = y[0]", "line 5: `y` is no value"),
        ("y[0] = 1", "line 5: there is no buffer or register y"),
        ("r[q] = 1", "line 5: there is no variable q"),
        (
            "r[0] = cosh(1)",
            "line 5: there is no function cosh of 1 value",
        ),
        ("r[0] = fma(1, 2)", "there is no function fma of 2 values"),
        ("r[0] = %3", "line 5: %3 is not defined before"),
        ("let x = 3", "a let names a value by a number"),
        ("r[0] = transposed(1, 2, 3, 4)[4]", "there is no lane 4"),
        ("r[0] = x[i+lane+lane]", "the lane is counted twice"),
        (
            "r[0] = (x[i]) where lane <= 2 else 0",
            "a condition of lanes is for",
        ),
        (
            "r[0] = x[i+lane] where lane <= 2 and i <= 3 else 0",
            "not one of lanes",
        ),
        ("x[i+lane] = 1", "how many lanes are stored is missing"),
        ("for i in 0..2 step 0 {}", "0 is not a number from 1"),
        ("for i in (i)/0..2 {}", "0 is not a number from 1"),
        ("r[1.5] = 1", "1.5 is not a whole number"),
        ("r[99999999999999999999] = 1", "is not a whole number below"),
        ("if i == 3 {}", "`==` compares no indices"),
        ("r[0] = nan(7f800000)", "eight hexadecimal digits"),
        ("~", "line 5: `~` means nothing here"),
        ("buffer x: f32[8]", "two buffers or registers are called x"),
        ("buffer z: f64[8]", "f64 is no type of elements"),
        ("+", "`+` starts no statement"),
        ("}", "line 6: `kernel` is missing before `}`"),
        (
            "for i in 0..2 {",
            "line 7: `}` is missing before the end of the text",
        ),
    ] {
        let e = parse(&body(line)).expect_err(line).to_string();
        assert!(e.contains(said), "{line}: {e}");
    }
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        parse(&body(&format!("r[0] = {open}1{close}")))
            .expect_err("is too deep")
            .to_string()
    };
    assert!(deep("(", ")").contains("200 levels"));
    assert!(deep("exp(", ")").contains("200 levels"));
    let blocks = "if i >= 0 { ".repeat(100_000);
    assert!(parse(&body(&blocks)).is_err());
    // Each value twice the one before: a page of text, and more values than can be counted.
    let doubled = |n: u32| -> String {
        (1..n)
            .map(|k| format!("let %{k} = %{0} + %{0}\n", k - 1))
            .collect()
    };
    let e = parse(&body(&format!("let %0 = x[0]\n{}", doubled(100)))).expect_err("is too much");
    assert!(e.message.contains("too many others"), "{e}");
    let chain: String = (1..100_000)
        .map(|k| format!("let %{k} = exp(%{})\n", k - 1))
        .collect();
    assert!(parse(&body(&format!("let %0 = x[0]\n{chain}"))).is_err());
}

/// An index may be long, but not without end.
#[test]
fn an_index_has_so_many_terms() {
    let sum = |terms: usize| {
        let terms = vec!["i"; terms].join(" + ");
        let loops = format!("for i in 0..1 {{ x[{terms}] = 1\n }}");
        parse(&format!(
            "kernel k lanes 4 {{ variables i\n buffer x: f32[8]\n {loops} }}"
        ))
    };
    let kernels = sum(1000).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        text(&kernels[0]).contains("1000*i"),
        "{}",
        text(&kernels[0])
    );
    let e = sum(1001).expect_err("is too long").to_string();
    assert!(e.contains("at most 1000 terms"), "{e}");
    assert!(sum(1_000_000).is_err());
}

/// Each number that is known when a step starts has a word that is read back.
#[test]
fn numbers_of_a_step_are_read_back() {
    let mut k = Kernel::new("numbers", 4);
    let reg = k.reg("acc", &[]);
    for u in Uniform::all() {
        let value = k.value(Expr::Uniform(u));
        let set = Stmt::Set {
            reg,
            index: vec![],
            value,
        };
        k.body.push(set);
    }
    let read = read_back("numbers", &k);
    let all = read.exprs.iter().map(|e| match e {
        Expr::Uniform(u) => *u,
        e => panic!("{e:?} is another value"),
    });
    assert!(all.eq(Uniform::all()));
}

/// Parts of a text left out, doubled and swapped: a kernel, which can be checked, or an error, never a panic.
#[test]
fn no_text_is_too_strange() {
    let pieces: Vec<&str> = BY_HAND.split_inclusive([' ', '[', ']', '(', ')']).collect();
    let mut state = 7u32;
    let mut next = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % n
    };
    for _ in 0..20_000 {
        let mut some = pieces.clone();
        for _ in 0..=next(3) {
            let (a, b) = (next(some.len()), next(some.len()));
            match next(3) {
                0 => drop(some.remove(a)),
                1 => some.insert(a, pieces[b % pieces.len()]),
                _ => some.swap(a, b),
            }
        }
        let Ok(kernels) = parse(&some.concat()) else {
            continue;
        };
        for k in kernels.iter().filter(|k| verify(k).is_ok()) {
            assert_eq!(
                parse(&text(k)).expect("what is printed is read"),
                [compact(k)]
            );
        }
    }
}

/// Numbers at their limits neither wrap nor panic when the kernel is checked.
#[test]
fn large_numbers_are_refused_by_the_check() {
    let most = (1u64 << 40) - 1;
    let loops =
        "for a in 0..M { for b in 0..M { x[M*a+M*b+M] = 1\n } }".replace('M', &most.to_string());
    let body = format!("kernel k lanes 4 {{ variables a, b\n buffer x: f32[8]\n {loops} }}");
    let k = parse(&body).unwrap_or_else(|e| panic!("{e}"));
    let e = verify(&k[0]).expect_err("reads outside");
    assert!(e.contains("too large"), "{e}");
}
