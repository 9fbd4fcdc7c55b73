//! Registers of which some bytes hold nothing: compilers move such bytes about, which is right, as long as nothing comes
//! of them.

mod common;

use common::lanes::HEADER;
use common::{report, session};
use cudarc::driver::LaunchConfig;
use cudarc::nvrtc::Ptx;

/// What is found in a kernel of one warp: `a` holds 7 in all lanes, `n` to `q` are never written.
fn found(lines: &str) -> Option<String> {
    let s = session("sanitize=init");
    let text = format!(
        "{HEADER}.visible .entry k()\n{{\n.reg .pred p, u;\n.reg .b32 a, b, c, d, n, o, q;\nmov.u32 a, 7;\nmov.u32 b, 9;\n\
         setp.eq.u32 p, a, 7;\n{lines}\nret;\n}}\n"
    );
    let module = s.context.load_module(Ptx::from_src(text));
    let module = module.unwrap_or_else(|error| panic!("{lines}: {error}: {}", report()));
    let function = module.load_function("k").unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (32, 1, 1),
        shared_mem_bytes: 0,
    };
    let stream = s.context.default_stream();
    unsafe { stream.launch_builder(&function).launch(shape) }.unwrap();
    let result = stream.synchronize();
    let finding = report()["findings"][0].clone();
    assert_eq!(result.is_err(), finding.is_object(), "{lines}");
    finding.is_object().then(|| {
        assert_eq!(finding["kind"], "uninitialised");
        finding["text"].as_str().unwrap().to_string()
    })
}

/// What NVRTC makes of a pair of bytes for `dp2a`, from capability 10.0 on: the upper half holds nothing.
const PAIR: &str =
    "prmt.b32 c, n, o, 0x3340U;\nprmt.b32 d, a, 12, 0x3340U;\nprmt.b32 d, d, c, 0x5410U;\n";

#[test]
fn bytes_that_hold_nothing_may_be_moved() {
    for lines in [
        "prmt.b32 c, n, o, 0x3340U;",
        "dp2a.lo.u32.u32 b, a, d, b;",
        // Its lower half alone.
        "prmt.b32 c, d, q, 0x1010U;\nadd.u32 b, c, 1;",
        "prmt.b32 c, a, d, 0x9955U;\nadd.u32 b, c, 1;",
        "prmt.b32.rc16 c, d, d, 0;\nadd.u32 b, c, 1;",
        // Chosen with the operand that holds something.
        "selp.b32 c, d, q, p;\ndp2a.lo.u32.u32 b, a, c, b;",
    ] {
        assert_eq!(found(&format!("{PAIR}{lines}")), None, "{lines}");
    }
}

#[test]
fn nothing_may_come_of_them() {
    for lines in [
        "add.u32 b, d, 1;",
        "dp2a.hi.u32.u32 b, a, d, b;",
        "dp2a.lo.u32.u32 b, d, a, b;",
        "dp2a.lo.u32.u32 b, a, a, d;",
        "dp4a.u32.u32 b, a, d, b;",
        "prmt.b32 c, d, a, 0x3210U;\nadd.u32 b, c, 1;",
        "prmt.b32 c, a, d, 0x6000U;\nadd.u32 b, c, 1;",
        "prmt.b32.rc16 c, d, d, 1;\nadd.u32 b, c, 1;",
        "prmt.b32 c, a, b, n;",
        "selp.b32 c, d, q, p;\nadd.u32 b, c, 1;",
        "selp.b32 c, q, a, p;\nadd.u32 b, c, 1;",
        "selp.b32 c, a, b, u;",
        "@u add.u32 b, a, 1;",
    ] {
        let last = lines.lines().last().unwrap();
        assert_eq!(
            found(&format!("{PAIR}{lines}")).as_deref(),
            Some(last),
            "{lines}"
        );
    }
    // Written again, it is whole.
    assert_eq!(
        found(&format!("{PAIR}mov.u32 d, 1;\nadd.u32 b, d, 1;")),
        None
    );
    assert_eq!(
        found(&format!("{PAIR}@!p mov.u32 d, 1;\nadd.u32 b, d, 1;")).as_deref(),
        Some("add.u32 b, d, 1;")
    );
}
