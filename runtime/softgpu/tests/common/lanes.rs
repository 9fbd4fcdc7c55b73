//! Runs a few PTX instructions on given values, a lane each.

use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

/// Where the instructions leave their result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// The 32-bit register `d`.
    Narrow,
    /// The 64-bit register `D`.
    Wide,
    /// The 16-bit register `hd`.
    Half,
    /// The predicate `p`, as 0 or 1.
    Pred,
}

pub const HEADER: &str = ".version 8.8\n.target sm_80\n.address_size 64\n";

fn kernel(code: &str, out: Out) -> String {
    let store = match out {
        Out::Narrow => "cvt.u64.u32 D, d;",
        Out::Wide => "",
        Out::Half => "cvt.u64.u16 D, hd;",
        Out::Pred => "selp.b64 D, 1, 0, p;",
    };
    format!(
        "{HEADER}.visible .entry k(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .pred p, q, r;\n.reg .b16 ha, hb, hc, hd;\n.reg .b32 a, b, c, d, e, t;\n.reg .b64 A, B, C, D, E, i, o;\n\
         ld.param.u64 i, [in];\nld.param.u64 o, [out];\nmov.u32 t, %tid.x;\n\
         mad.wide.u32 i, t, 24, i;\nmad.wide.u32 o, t, 8, o;\n\
         ld.global.u64 A, [i];\nld.global.u64 B, [i+8];\nld.global.u64 C, [i+16];\n\
         cvt.u32.u64 a, A;\ncvt.u32.u64 b, B;\ncvt.u32.u64 c, C;\n\
         cvt.u16.u64 ha, A;\ncvt.u16.u64 hb, B;\ncvt.u16.u64 hc, C;\n\
         setp.ne.u32 r, c, 0;\nmov.u64 D, 0;\nmov.u32 d, 0;\nmov.u16 hd, 0;\n\
         {code}\n{store}\nst.global.u64 [o], D;\nret;\n}}\n"
    )
}

/// The result of `code` for each triple of inputs, which the registers a, b, c (32 bits), A, B, C (64) and ha, hb, hc (16)
/// hold; r is the predicate c != 0. At most 32 triples; they run with all lanes and with theirs alone, on all instruction
/// sets of the host.
pub fn eval(session: &super::Session, code: &str, out: Out, inputs: &[[u64; 3]]) -> Vec<u64> {
    let found = ["auto", "avx2", "base"].map(|simd| {
        super::configure(&format!("simd={simd}")).unwrap();
        (simd, eval_here(session, code, out, inputs))
    });
    for (simd, results) in &found {
        assert_eq!(*results, found[0].1, "{code}: {simd} and {}", found[0].0);
    }
    found[0].1.clone()
}

fn eval_here(session: &super::Session, code: &str, out: Out, inputs: &[[u64; 3]]) -> Vec<u64> {
    let module = session
        .context
        .load_module(Ptx::from_src(kernel(code, out)));
    let module =
        module.unwrap_or_else(|error| panic!("{code}: {error}: {}", super::report()["last_error"]));
    let function = module.load_function("k").unwrap();
    let stream = session.context.default_stream();
    let run = |lanes: usize| {
        let padded: Vec<u64> = (0..lanes)
            .flat_map(|lane| inputs[lane % inputs.len()])
            .collect();
        let device = stream.clone_htod(&padded).unwrap();
        let mut results = stream.alloc_zeros::<u64>(lanes).unwrap();
        let shape = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (lanes as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        unsafe {
            stream
                .launch_builder(&function)
                .arg(&device)
                .arg(&mut results)
                .launch(shape)
        }
        .unwrap();
        stream
            .synchronize()
            .unwrap_or_else(|error| panic!("{code}: {error}: {}", super::report()));
        stream.clone_dtoh(&results).unwrap()
    };
    let full = run(32);
    let part = run(inputs.len());
    assert_eq!(
        full[..inputs.len()],
        part,
        "{code}: with a full warp and with a part of one"
    );
    part
}

/// Checks that `code` gives what `exact` says, for 32-bit inputs.
pub fn check32(
    session: &super::Session,
    code: &str,
    inputs: &[[u32; 3]],
    exact: impl Fn(u32, u32, u32) -> u32,
) {
    let wide: Vec<[u64; 3]> = inputs.iter().map(|triple| triple.map(u64::from)).collect();
    let found = eval(session, code, Out::Narrow, &wide);
    for (&[a, b, c], found) in inputs.iter().zip(found) {
        let expected = exact(a, b, c);
        assert_eq!(
            found as u32, expected,
            "{code}: a={a:#x} b={b:#x} c={c:#x}: {found:#x} and not {expected:#x}"
        );
    }
}

pub fn check64(
    session: &super::Session,
    code: &str,
    inputs: &[[u64; 3]],
    exact: impl Fn(u64, u64, u64) -> u64,
) {
    for (&[a, b, c], found) in inputs.iter().zip(eval(session, code, Out::Wide, inputs)) {
        let expected = exact(a, b, c);
        assert_eq!(
            found, expected,
            "{code}: a={a:#x} b={b:#x} c={c:#x}: {found:#x} and not {expected:#x}"
        );
    }
}

/// The same for floats, bit by bit, except that any NaN is as good as any other.
pub fn check_float(
    session: &super::Session,
    code: &str,
    inputs: &[[f32; 3]],
    exact: impl Fn(f32, f32, f32) -> f32,
) {
    let wide: Vec<[u64; 3]> = inputs
        .iter()
        .map(|triple| triple.map(|value| u64::from(value.to_bits())))
        .collect();
    let found = eval(session, code, Out::Narrow, &wide);
    for (&[a, b, c], found) in inputs.iter().zip(found) {
        let (found, expected) = (f32::from_bits(found as u32), exact(a, b, c));
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(
            same,
            "{code}: a={a:e} b={b:e} c={c:e}: {found:e} and not {expected:e}"
        );
    }
}

/// The f32 next to an exact value in a direction.
pub fn rounded(exact: f64, mode: &str) -> f32 {
    let near = exact as f32;
    let (below, above) = (f64::from(near) < exact, f64::from(near) > exact);
    let toward_zero = if exact > 0.0 { "rm" } else { "rp" };
    match if mode == "rz" { toward_zero } else { mode } {
        "rm" if above => near.next_down(),
        "rp" if below => near.next_up(),
        _ => near,
    }
}
