//! Machine code: a CUBIN runs as the PTX that was handed over for it, and is refused where a driver would refuse it, or
//! where the two are not of one source. Broken files are errors and nothing worse.

mod common;

use common::machine::{cubin, hand_over, load, ptx, unload};
use common::{configure, report, session};
use cudarc::driver::sys::{self, CUfunction_attribute_enum as Attribute, CUresult};
use lenetc_softgpu::cubin::read;

const INVALID_IMAGE: u32 = 200;
const NO_BINARY: u32 = 209;

/// Kernels with all that a CUBIN says of one: parameters of all sizes and none, static and dynamic shared memory, a bound
/// of threads, a variable of the module.
const SOURCE: &str = r#"
    struct Big { int x[10]; char c; };
    struct __align__(16) Four { float x[4]; };
    __device__ unsigned counter = 3;
    extern "C" __global__ void turn(const float* a, float* b, int n) {
        __shared__ float s[100];
        int t = threadIdx.x;
        if (t < n) s[t] = a[t];
        __syncthreads();
        if (t < n) b[t] = s[n - 1 - t] + counter;
    }
    extern "C" __global__ void __launch_bounds__(128) mixed(Big g, double d, char c, float* o) {
        __shared__ float one; __shared__ Four four; extern __shared__ float many[];
        if (threadIdx.x == 0) { one = d; four.x[c & 3] = g.x[c & 7]; }
        many[threadIdx.x] = g.c;
        __syncthreads();
        o[threadIdx.x] = one + four.x[c & 3] + many[127 - threadIdx.x];
    }
    extern "C" __global__ void none() {}
"#;

fn reason() -> String {
    report()["last_error"].as_str().expect("a text").to_string()
}

fn modules() -> [u64; 2] {
    ["modules_cubin", "modules_ptx"].map(|name| report()["total"][name].as_u64().expect("a number"))
}

fn function(module: usize, name: &std::ffi::CStr) -> sys::CUfunction {
    let mut function = std::ptr::null_mut();
    // SAFETY: the handles are the library's, and the name ends with a zero byte.
    let code = unsafe { sys::cuModuleGetFunction(&mut function, module as _, name.as_ptr()) };
    assert_eq!(code, CUresult::CUDA_SUCCESS);
    function
}

fn attribute(function: sys::CUfunction, attribute: Attribute) -> i32 {
    let mut value = 0;
    // SAFETY: the value may be written.
    let code = unsafe { sys::cuFuncGetAttribute(&mut value, attribute, function) };
    assert_eq!(code, CUresult::CUDA_SUCCESS);
    value
}

/// Launches one block of a kernel without parameters.
fn launch(function: sys::CUfunction, threads: u32) -> CUresult {
    let null = std::ptr::null_mut();
    // SAFETY: the kernel takes nothing.
    unsafe {
        sys::cuLaunchKernel(
            function, 1, 1, 1, threads, 1, 1, 0, null as _, null as _, null as _,
        )
    }
}

#[test]
fn a_cubin_runs_as_its_ptx() {
    let s = session("");
    let code = cubin(SOURCE, "sm_80");
    assert!(hand_over(&code, &ptx(SOURCE, "compute_80")), "{}", reason());
    let module = load(&code).unwrap_or_else(|code| panic!("{code}: {}", reason()));
    assert_eq!(modules(), [1, 0]);
    let turn = function(module, c"turn");
    let stream = s.context.default_stream();
    let a = stream
        .clone_htod(&(0..64).map(|k| k as f32).collect::<Vec<_>>())
        .unwrap();
    let b = stream.alloc_zeros::<f32>(64).unwrap();
    use cudarc::driver::DevicePtr;
    let (a, b) = (a.device_ptr(&stream).0, b.device_ptr(&stream).0);
    let count = 64;
    let mut arguments = [
        &raw const a as *mut _,
        &raw const b as *mut _,
        &raw const count as *mut std::ffi::c_void,
    ];
    // SAFETY: the kernel takes these arguments.
    let launched = unsafe {
        sys::cuLaunchKernel(
            turn,
            1,
            1,
            1,
            64,
            1,
            1,
            0,
            std::ptr::null_mut(),
            arguments.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(launched, CUresult::CUDA_SUCCESS);
    let mut found = [0f32; 64];
    // SAFETY: the memory is there.
    unsafe { cudarc::driver::result::memcpy_dtoh_sync(&mut found, b) }.unwrap();
    let expected: Vec<f32> = (0..64).map(|k| (63 - k + 3) as f32).collect();
    assert_eq!(found.to_vec(), expected);
    let read = read(&code).unwrap();
    let of = |wanted| attribute(turn, wanted);
    assert_eq!(
        of(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS),
        read.kernels["turn"].registers as i32
    );
    assert_eq!(of(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 400);
    assert_eq!(of(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES), 0);
    assert_eq!(of(Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION), 80);
    assert_eq!(of(Attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION), 88);
    let mixed = function(module, c"mixed");
    assert_eq!(
        attribute(mixed, Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        128
    );
    unload(module);
    load(
        ptx(SOURCE, "compute_80")
            .as_bytes()
            .iter()
            .copied()
            .chain([0])
            .collect::<Vec<_>>()
            .as_slice(),
    )
    .unwrap();
    assert_eq!(modules(), [1, 1]);
}

#[test]
fn every_architecture_is_read() {
    let _s = session("");
    for (arch, compute, capability, abi) in [
        ("sm_70", "compute_70", "7.0", 7),
        ("sm_75", "compute_75", "7.5", 7),
        ("sm_80", "compute_80", "8.0", 7),
        ("sm_89", "compute_89", "8.9", 7),
        ("sm_90", "compute_90", "9.0", 7),
        ("sm_100", "compute_100", "10.0", 8),
        ("sm_103", "compute_100", "10.3", 8),
        ("sm_120", "compute_120", "12.0", 8),
    ] {
        configure(&format!("compute={capability}")).unwrap();
        let code = cubin(SOURCE, arch);
        let found = read(&code).unwrap_or_else(|reason| panic!("{arch}: {reason}"));
        assert_eq!(
            (found.abi, found.cuda, found.is_specific),
            (abi, (12, 9), false),
            "{arch}"
        );
        assert_eq!(found.kernels["turn"].shared_bytes, 400, "{arch}");
        assert_eq!(found.kernels["mixed"].param_bytes, 72, "{arch}");
        assert!(hand_over(&code, &ptx(SOURCE, compute)));
        let module = load(&code).unwrap_or_else(|code| panic!("{arch}: {code}: {}", reason()));
        let binary = attribute(
            function(module, c"none"),
            Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION,
        );
        assert_eq!(format!("sm_{binary}"), arch);
        unload(module);
    }
}

#[test]
fn code_for_another_device_is_refused() {
    let _s = session("");
    for (arch, device, is_taken) in [
        ("sm_80", "8.0", true),
        ("sm_80", "8.6", true),
        ("sm_86", "8.0", false),
        ("sm_75", "8.0", false),
        ("sm_80", "9.0", false),
        ("sm_90", "9.0", true),
        ("sm_90a", "9.0", false),
        ("sm_100a", "10.0", false),
        ("sm_100f", "10.3", true),
        ("sm_120", "12.1", true),
    ] {
        configure(&format!("compute={device}")).unwrap();
        let code = cubin(SOURCE, arch);
        assert!(hand_over(&code, &ptx(SOURCE, "compute_75")));
        match load(&code) {
            Ok(module) => unload(module),
            Err(found) => {
                assert_eq!(found, NO_BINARY, "{arch} on {device}: {}", reason());
                assert!(reason().contains(&format!("for {arch}, ")), "{}", reason());
            }
        }
        assert_eq!(load(&code).is_ok(), is_taken, "{arch} on {device}");
    }
}

#[test]
fn code_that_is_newer_than_the_driver_is_refused() {
    let _s = session("");
    let old = cubin(SOURCE, "sm_80");
    let new = cubin(SOURCE, "sm_120");
    // The attribute that says by which CUDA each kernel was made.
    let made_by_13: Vec<u8> = {
        let (from, to) = (
            *b"\x04\x37\x04\x00\x81\0\0\0",
            *b"\x04\x37\x04\x00\x82\0\0\0",
        );
        let mut bytes = old.clone();
        let places: Vec<usize> = (0..bytes.len() - 8)
            .filter(|&k| bytes[k..k + 8] == from)
            .collect();
        assert_eq!(places.len(), 3);
        places
            .iter()
            .for_each(|&k| bytes[k..k + 8].copy_from_slice(&to));
        bytes
    };
    let text = ptx(SOURCE, "compute_80");
    for (code, device, driver, is_taken) in [
        (&old, "8.0", 12090, true),
        (&old, "8.0", 12000, true),
        (&old, "8.0", 13000, true),
        (&old, "8.0", 11080, false),
        (&new, "12.0", 12080, true),
        (&new, "12.0", 12060, false),
        (&made_by_13, "8.0", 12090, false),
        (&made_by_13, "8.0", 13000, true),
    ] {
        // A CUBIN is taken by drivers that are too old for its PTX.
        configure(&format!("compute={device};driver={driver};max_ptx=7.5")).unwrap();
        assert!(hand_over(code, &text));
        let found = load(code);
        assert_eq!(found.is_ok(), is_taken, "{driver}: {}", reason());
        if let Err(code) = found {
            assert_eq!(code, INVALID_IMAGE);
            assert!(reason().contains("this driver is for CUDA"), "{}", reason());
        }
    }
}

#[test]
fn a_cubin_needs_the_ptx_of_its_source() {
    let _s = session("");
    let code = cubin(SOURCE, "sm_80");
    assert_eq!(load(&code), Err(INVALID_IMAGE));
    assert!(reason().contains("no PTX was handed over"), "{}", reason());
    let lacking = |from: &str, to: &str| {
        assert!(SOURCE.contains(from));
        SOURCE.replace(from, to)
    };
    let without_none = lacking("extern \"C\" __global__ void none() {}", "");
    for (other, word) in [
        (
            lacking("void none", "void other"),
            "lacks the kernel `other`",
        ),
        (without_none, "has a kernel `none`"),
        (
            lacking("float* b, int n", "float* b, long long n"),
            "parameters",
        ),
        (
            lacking("float* b, int n", "float* b, int n, int m"),
            "parameters",
        ),
        (
            lacking("none()", "none(char c)"),
            "takes 0 parameters of 0 bytes in the CUBIN, 1 of 1",
        ),
        (
            lacking("s[100]", "s[120]"),
            "400 bytes of shared memory in the CUBIN, 480",
        ),
        (
            lacking("__launch_bounds__(128)", "__launch_bounds__(256)"),
            "threads",
        ),
        (lacking("__launch_bounds__(128)", ""), "threads"),
    ] {
        assert!(hand_over(&code, &ptx(&other, "compute_80")));
        assert_eq!(load(&code), Err(INVALID_IMAGE), "{word}");
        assert!(reason().contains(word), "{word}: {}", reason());
    }
    assert!(hand_over(&code, &ptx(SOURCE, "compute_86")));
    assert_eq!(load(&code), Err(INVALID_IMAGE));
    assert!(reason().contains("the PTX is for sm_86"), "{}", reason());
    assert!(hand_over(&code, &ptx(SOURCE, "compute_75")));
    assert_eq!(modules(), [0, 0]);
    load(&code).unwrap();
    // A reset forgets it.
    assert_eq!(modules(), [1, 0]);
    drop(_s);
    let _s = session("");
    assert_eq!(load(&code), Err(INVALID_IMAGE));
}

#[test]
fn what_cannot_be_handed_over_is_refused() {
    let _s = session("");
    let code = cubin(SOURCE, "sm_80");
    assert!(!hand_over(b"", ""));
    assert!(!hand_over(b"\x7fELF", ""));
    assert!(!hand_over(ptx(SOURCE, "compute_80").as_bytes(), ""));
    assert!(reason().contains("a CUBIN is an ELF file"), "{}", reason());
    assert!(!hand_over(&code[..code.len() - 1], ""));
    assert!(reason().contains("cut off"), "{}", reason());
    // Bytes behind the file are not of it.
    let padded = [&code[..], &[1, 2, 3]].concat();
    assert!(hand_over(&padded, &ptx(SOURCE, "compute_80")));
    load(&code).unwrap();
    assert!(hand_over(&code, "this is no PTX"));
    assert_eq!(load(&code), Err(218), "{}", reason());
}

#[test]
fn registers_bound_the_threads_of_a_block() {
    let _s = session("");
    // Eighty values that live at once.
    let source = "__device__ volatile float v[128]; extern \"C\" __global__ void many() { float x[80];\n\
                  #pragma unroll\nfor (int k = 0; k < 80; k++) x[k] = v[k];\n\
                  #pragma unroll\nfor (int k = 0; k < 80; k++) v[k] = x[79 - k]; }";
    let code = cubin(source, "sm_80");
    assert!(hand_over(&code, &ptx(source, "compute_80")));
    let many = function(load(&code).unwrap(), c"many");
    let registers = attribute(many, Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS);
    assert!(registers > 80 && registers <= 120, "{registers}");
    let most = attribute(many, Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    assert!((512..=736).contains(&most), "{most}");
    assert_eq!(launch(many, most as u32), CUresult::CUDA_SUCCESS);
    let refused = CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    assert_eq!(launch(many, most as u32 + 1), refused);
    assert!(reason().contains("registers"), "{}", reason());
}

#[test]
fn broken_files_are_errors() {
    let _s = session("");
    let text = ptx(SOURCE, "compute_80");
    for arch in ["sm_80", "sm_120"] {
        configure(if arch == "sm_80" {
            "compute=8.0"
        } else {
            "compute=12.0"
        })
        .unwrap();
        let code = cubin(SOURCE, arch);
        for len in 0..code.len() {
            assert!(read(&code[..len]).is_err(), "{arch}: {len} bytes");
            // What lies behind the copy is not the rest of the file.
            let cut: Vec<u8> = code[..len].iter().copied().chain([0; 9]).collect();
            if len >= 4 {
                assert_eq!(load(&cut), Err(INVALID_IMAGE), "{arch}: {len} bytes");
            }
        }
        let (mut bytes, mut refused) = (code.clone(), 0);
        for at in 4..code.len() {
            for mask in [0x01, 0x80, 0xff] {
                bytes[at] ^= mask;
                refused += u32::from(read(&bytes).is_err());
                // Handed over or not, and whatever comes of it.
                if at % 8 < 2
                    && hand_over(&bytes, &text)
                    && let Ok(module) = load(&bytes)
                {
                    unload(module);
                }
                bytes[at] ^= mask;
            }
            if at % 512 == 0 {
                configure("warp_order=0").unwrap();
            }
        }
        assert!(refused > 300, "{arch}: {refused} flips were seen");
    }
}

#[test]
fn headers_are_checked_field_by_field() {
    let code = cubin(SOURCE, "sm_80");
    for (at, value, word) in [
        (4, 1, "64 bits"),
        (5, 2, "little endian"),
        (6, 0, "version 1"),
        (7, 0x41, "OS ABI 0x41"),
        (8, 9, "ABI 9"),
        (16, 1, "type 1"),
        (18, 62, "machine 62"),
        (58, 40, "entries of 40 bytes"),
    ] {
        let mut bytes = code.clone();
        bytes[at] = value;
        let found = read(&bytes).expect_err(word);
        assert!(found.contains(word), "{found}");
    }
}
