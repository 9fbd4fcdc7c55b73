//! Limits that an assembler holds kernels to: static shared memory, parameters, barriers. At the limit a module loads; one
//! step beyond it is refused with the kernel's line.

mod common;

use common::fill::code;
use common::{compile_for, report, session};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

fn reason() -> String {
    report()["last_error"].as_str().expect("a text").to_string()
}

/// A kernel in PTX: version, target, parameters, body.
fn module(version: &str, target: &str, params: &str, body: &str) -> String {
    format!(
        ".version {version}\n.target {target}\n.address_size 64\n.visible .entry k({params})\n{{\n.reg .b32 a, b;\n.reg .pred p;\n{body}\nret;\n}}\n"
    )
}

#[test]
fn static_shared_memory_ends_at_48_kib() {
    let s = session("card=h100");
    let load = |arrays: &str, use_: &str| {
        let body = format!("{arrays}\n{use_}");
        code(
            s.context
                .load_module(Ptx::from_src(module("8.0", "sm_80", "", &body))),
        )
    };
    let one = |bytes: u32| format!(".shared .align 4 .b8 x[{bytes}];");
    let refused = CUresult::CUDA_ERROR_INVALID_PTX;
    assert_eq!(load(&one(49152), "mov.u32 a, x;"), CUresult::CUDA_SUCCESS);
    assert_eq!(load(&one(49156), "mov.u32 a, x;"), refused);
    let found = reason();
    assert!(
        found.contains("line 4") && found.contains("49156 bytes of static shared memory, 49152"),
        "{found}"
    );
    let two = ".shared .align 4 .b8 x[49000];\n.shared .align 4 .b8 y[200];";
    assert_eq!(load(two, "mov.u32 a, x;\nmov.u32 b, y;"), refused);
    // What a kernel asks for when it starts may be more, as far as the card has it.
    let source = "extern \"C\" __global__ void k(float* o) { extern __shared__ float s[]; s[50000] = 1; o[0] = s[50000]; }";
    let kernel = s
        .context
        .load_module(compile_for(source, "compute_80", &[]))
        .unwrap();
    let kernel = kernel.load_function("k").unwrap();
    use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    kernel
        .set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 204_800)
        .unwrap();
    let stream = s.context.default_stream();
    let mut out = stream.alloc_zeros::<f32>(1).unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: 204_800,
    };
    unsafe { stream.launch_builder(&kernel).arg(&mut out).launch(shape) }.unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), [1.0]);
}

#[test]
fn parameters_fit_their_bank_of_constants() {
    let s = session("compute=9.0");
    let load = |version: &str, target: &str, bytes: u32| {
        let params = format!(".param .align 4 .b8 big[{}], .param .u32 last", bytes - 4);
        code(
            s.context
                .load_module(Ptx::from_src(module(version, target, &params, ""))),
        )
    };
    let (good, refused) = (CUresult::CUDA_SUCCESS, CUresult::CUDA_ERROR_INVALID_PTX);
    for (version, target, most) in [
        ("8.8", "sm_80", 32764),
        ("8.1", "sm_70", 32764),
        ("8.1", "sm_61", 4096),
        ("8.0", "sm_80", 4096),
        ("7.8", "sm_90", 4096),
    ] {
        assert_eq!(load(version, target, most), good, "{version} {target}");
        assert_eq!(
            load(version, target, most + 4),
            refused,
            "{version} {target}"
        );
        let found = reason();
        let wanted = format!(
            "kernel `k` has {} bytes of parameters, {most} at most",
            most + 4
        );
        assert!(found.contains(&wanted) && found.contains(target), "{found}");
    }
}

#[test]
fn barriers_have_numbers_below_16_and_wait_for_whole_warps() {
    let s = session("");
    let load = |body: &str| {
        code(
            s.context
                .load_module(Ptx::from_src(module("8.0", "sm_80", "", body))),
        )
    };
    for good in [
        "bar.sync 0;",
        "bar.sync 15;",
        "bar.sync 3, 64;",
        "barrier.sync.aligned 1, 32;",
        "bar.sync 3, 0;",
        "mov.u32 b, 7;\nbar.sync b;",
    ] {
        assert_eq!(load(good), CUresult::CUDA_SUCCESS, "{good}: {}", reason());
    }
    for (bad, wanted) in [
        ("bar.sync 16;", "barrier 16: a block has 0 to 15"),
        ("bar.sync 17, 64;", "barrier 17"),
        ("bar.sync 4294967296;", "a block has 0 to 15"),
        (
            "bar.sync 1, 40;",
            "a barrier of 40 threads: only whole warps wait",
        ),
        ("barrier.sync 1, 1;", "a barrier of 1 threads"),
        ("bar.red.popc.u32 a, 16, p;", "barrier 16"),
        ("bar.red.popc.u32 a, 1, 33, p;", "a barrier of 33 threads"),
    ] {
        assert_eq!(load(bad), CUresult::CUDA_ERROR_INVALID_PTX, "{bad}");
        assert!(reason().contains(wanted), "{bad}: {}", reason());
    }
}

#[test]
fn barriers_from_registers_are_looked_at_when_they_run() {
    let run = |body: &str| {
        let s = session("");
        let text = module(
            "8.0",
            "sm_80",
            ".param .u32 n",
            &format!("ld.param.u32 b, [n];\n{body}"),
        );
        let kernel = s
            .context
            .load_module(Ptx::from_src(text))
            .unwrap()
            .load_function("k")
            .unwrap();
        move |n: u32| {
            // All of it: the turn belongs to the session.
            let s = &s;
            let stream = s.context.default_stream();
            let shape = LaunchConfig {
                grid_dim: (1, 1, 1),
                block_dim: (64, 1, 1),
                shared_mem_bytes: 0,
            };
            unsafe { stream.launch_builder(&kernel).arg(&n).launch(shape) }.unwrap();
            code(stream.synchronize())
        }
    };
    let wrong = CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION;
    for (body, good, bad, detail) in [
        ("bar.sync b;", 15, 16, "barrier 16"),
        ("bar.sync 1, b;", 64, 40, "a barrier of 40 threads"),
        ("bar.sync 1, b;", 0, 63, "a barrier of 63 threads"),
    ] {
        let launch = run(body);
        assert_eq!(launch(good), CUresult::CUDA_SUCCESS, "{body}");
        assert_eq!(launch(bad), wrong, "{body}");
        let named = report()["findings"][0].clone();
        assert_eq!(
            (&named["kind"], &named["text"]),
            (&"wrong_barrier".into(), &body.into())
        );
        assert!(
            named["detail"].as_str().unwrap().contains(detail),
            "{named}"
        );
    }
}
