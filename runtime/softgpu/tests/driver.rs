//! The driver's side: late streams, errors, injected faults, refusals, and what the library exports.

mod common;

use common::fill::{FILL, code, fill, fill_kernel};
use common::lanes::HEADER;
use common::{compile, configure, library_path, report, session, turn};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

#[test]
fn copies_into_pinned_memory_come_late() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let function = fill_kernel(&s);
    let mut device = stream.alloc_zeros::<f32>(32).unwrap();
    let mut pinned = unsafe { s.context.alloc_pinned::<f32>(32) }.unwrap();
    fill(&stream, &function, &mut device, 3.0).unwrap();
    let host = pinned.as_mut_slice().unwrap().as_mut_ptr();
    stream.memcpy_dtoh(&device, &mut pinned).unwrap();
    // SAFETY: the memory is there; nothing has been copied into it.
    assert_eq!(unsafe { host.read() }, 0.0);
    stream.synchronize().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { host.read() }, 3.0);
}

#[test]
fn copies_into_pageable_memory_are_late_on_request_only() {
    for late in [false, true] {
        let s = session(if late { "pageable=late" } else { "" });
        let stream = s.context.new_stream().unwrap();
        let device = stream.clone_htod(&[7u32; 4]).unwrap();
        let mut host = [0u32; 4];
        stream.memcpy_dtoh(&device, &mut host).unwrap();
        assert_eq!(
            std::hint::black_box(&host),
            &if late { [0; 4] } else { [7; 4] }
        );
        stream.synchronize().unwrap();
        assert_eq!(std::hint::black_box(&host), &[7; 4]);
    }
}

#[test]
fn pageable_sources_are_read_at_once_and_pinned_ones_late() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let mut pageable = vec![1u32; 4];
    let mut pinned = unsafe { s.context.alloc_pinned::<u32>(4) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(1);
    let (mut a, mut b) = (
        stream.alloc_zeros::<u32>(4).unwrap(),
        stream.alloc_zeros::<u32>(4).unwrap(),
    );
    stream.memcpy_htod(&pageable, &mut a).unwrap();
    let host = pinned.as_mut_slice().unwrap().as_mut_ptr();
    stream.memcpy_htod(&pinned, &mut b).unwrap();
    pageable.fill(2);
    // SAFETY: the pinned memory is there; the copy has not begun.
    unsafe { host.write(2) };
    assert_eq!(stream.clone_dtoh(&a).unwrap(), [1; 4]);
    assert_eq!(stream.clone_dtoh(&b).unwrap(), [2, 1, 1, 1]);
}

#[test]
fn events_order_streams() {
    let s = session("");
    let (first, second) = (
        s.context.new_stream().unwrap(),
        s.context.new_stream().unwrap(),
    );
    let function = fill_kernel(&s);
    let mut data = first.alloc_zeros::<f32>(32).unwrap();
    fill(&first, &function, &mut data, 1.0).unwrap();
    let event = first.record_event(None).unwrap();
    assert!(!event.is_complete());
    second.wait(&event).unwrap();
    fill(&second, &function, &mut data, 2.0).unwrap();
    second.synchronize().unwrap();
    assert!(event.is_complete());
    assert_eq!(first.clone_dtoh(&data).unwrap(), [2.0; 32]);
    // Without the event the second stream's work is done before the first's.
    fill(&first, &function, &mut data, 3.0).unwrap();
    fill(&second, &function, &mut data, 4.0).unwrap();
    second.synchronize().unwrap();
    first.synchronize().unwrap();
    assert_eq!(first.clone_dtoh(&data).unwrap(), [3.0; 32]);
}

#[test]
fn polling_gets_on_and_times_are_measured() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    let mut data = stream.alloc_zeros::<f32>(32).unwrap();
    fill(&stream, &fill_kernel(&s), &mut data, 1.0).unwrap();
    let end = stream.record_event(timed).unwrap();
    assert!((0..5).any(|_| end.is_complete()));
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
}

#[test]
fn the_stream_sanitizer_names_who_is_too_early() {
    let run = |settings: &str, synchronises: bool| {
        let s = session(settings);
        let (first, second) = (
            s.context.new_stream().unwrap(),
            s.context.new_stream().unwrap(),
        );
        let function = fill_kernel(&s);
        let mut data = first.alloc_zeros::<f32>(32).unwrap();
        fill(&second, &function, &mut data, 1.0).unwrap();
        if synchronises {
            second.synchronize().unwrap();
        }
        drop(data);
        let result = first.synchronize();
        (
            code(result),
            report()["findings"][0]["detail"]
                .as_str()
                .unwrap_or("")
                .to_string(),
        )
    };
    assert_eq!(run("sanitize=stream", true).0, CUresult::CUDA_SUCCESS);
    let (found, detail) = run("sanitize=stream", false);
    assert_eq!(found, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(
        detail.contains("freed") && detail.contains("kernel `fill`"),
        "{detail}"
    );
    let s = session("sanitize=stream");
    let stream = s.context.new_stream().unwrap();
    let mut data = stream.alloc_zeros::<f32>(32).unwrap();
    stream.synchronize().unwrap();
    let function = fill_kernel(&s);
    fill(&stream, &function, &mut data, 1.0).unwrap();
    let mut host = [0f32; 32];
    let address = cudarc::driver::DevicePtr::device_ptr(&data, &stream).0;
    assert_eq!(
        code(unsafe { result::memcpy_dtoh_sync(&mut host, address) }),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    assert!(
        report()["findings"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("has still to use it")
    );
}

#[test]
fn memory_that_was_freed_is_named() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let function = fill_kernel(&s);
    let address = unsafe { result::malloc_sync(128) }.unwrap();
    unsafe { result::free_sync(address) }.unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (32, 1, 1),
        shared_mem_bytes: 0,
    };
    unsafe {
        stream
            .launch_builder(&function)
            .arg(&address)
            .arg(&1f32)
            .launch(shape)
    }
    .unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    let detail = report()["findings"][0]["detail"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(
        detail.contains("byte 0 of an allocation of 128 bytes that was freed"),
        "{detail}"
    );
    assert_eq!(
        code(unsafe { result::free_sync(address) }),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        "sticky"
    );
}

#[test]
fn faults_come_at_the_call_that_was_named() {
    let s = session("");
    configure("fault=cuMemAllocAsync:3:2").unwrap();
    let stream = s.context.new_stream().unwrap();
    let found: Vec<CUresult> = (0..4).map(|_| code(stream.alloc_zeros::<u8>(16))).collect();
    let (good, memory) = (CUresult::CUDA_SUCCESS, CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    assert_eq!(found, [good, good, memory, good]);
    // The second kernel executed fails, at the synchronisation, and takes the context with it.
    configure("fault=launch:2:719,cuModuleLoadData:1:222").unwrap();
    let failed = CUresult::CUDA_ERROR_LAUNCH_FAILED;
    assert_eq!(
        code(s.context.load_module(compile(FILL))),
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    );
    let function = fill_kernel(&s);
    let mut data = stream.alloc_zeros::<f32>(32).unwrap();
    fill(&stream, &function, &mut data, 1.0).unwrap();
    stream.synchronize().unwrap();
    fill(&stream, &function, &mut data, 1.0).unwrap();
    assert_eq!(code(stream.synchronize()), failed);
    assert_eq!(code(stream.alloc_zeros::<u8>(16)), failed);
    assert_eq!(report()["findings"][0]["kind"], "injected");
}

#[test]
fn devices_may_be_missing_old_or_full() {
    let _turn = turn("devices=0");
    assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_NO_DEVICE);
    configure("devices=2;driver=11040;memory=1048576;compute=7.5;reset=1").unwrap();
    assert_eq!(CudaContext::device_count().unwrap(), 2);
    let mut version = 0;
    unsafe { sys::cuDriverGetVersion(&mut version) };
    assert_eq!(version, 11040);
    let context = CudaContext::new(1).unwrap();
    assert_eq!(
        code(CudaContext::new(2)),
        CUresult::CUDA_ERROR_INVALID_DEVICE
    );
    assert_eq!(context.compute_capability().unwrap(), (7, 5));
    let stream = context.default_stream();
    let half = stream.alloc_zeros::<u8>(600_000).unwrap();
    assert_eq!(
        code(stream.alloc_zeros::<u8>(600_000)),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
    );
    drop(half);
    stream.synchronize().unwrap();
    stream.alloc_zeros::<u8>(600_000).unwrap();
}

#[test]
fn images_are_refused_with_a_reason() {
    let s = session("max_ptx=8.4");
    let load = |text: &str| code(s.context.load_module(Ptx::from_src(text)));
    let reason = || report()["last_error"].as_str().unwrap().to_string();
    assert_eq!(load(HEADER), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    assert!(reason().contains("8.8"));
    configure("max_ptx=8.8").unwrap();
    assert_eq!(load("\u{7f}ELF\u{2}"), CUresult::CUDA_ERROR_INVALID_IMAGE);
    assert_eq!(
        load(&HEADER.replace("sm_80", "sm_90")),
        CUresult::CUDA_ERROR_INVALID_PTX
    );
    let body = |line: &str| {
        format!("{HEADER}.visible .entry k()\n{{\n.reg .b32 a;\n.reg .f32 f;\n{line}\nret;\n}}\n")
    };
    for (line, word) in [
        ("wgmma.fence.sync.aligned;", "opcode"),
        ("add.wrong.s32 a, a, 1;", ".wrong"),
        ("add.s32 a, a;", "operands"),
        ("add.s64 a, a, 1;", "type b32"),
        ("mov.u32 a, nowhere;", "`nowhere` is not declared"),
        ("bra NOWHERE;", "no label"),
        ("fma.f32 f, f, f, f;", "rounding"),
        ("call f;", "calls"),
        ("add.s32 a, a, $;", "`$` is not declared"),
    ] {
        assert_eq!(
            load(&body(line)),
            CUresult::CUDA_ERROR_INVALID_PTX,
            "{line}"
        );
        assert!(
            reason().contains("PTX line 8") && reason().contains(word) && reason().ends_with(line),
            "{line}: {}",
            reason()
        );
    }
    assert_eq!(load(&body("add.s32 a, a, 1;")), CUresult::CUDA_SUCCESS);
}

#[test]
fn wrong_handles_and_shapes_are_errors() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let function = fill_kernel(&s);
    let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
    let nowhere = 0x1234_5678usize;
    unsafe {
        assert_eq!(sys::cuStreamSynchronize(nowhere as _), invalid);
        assert_eq!(sys::cuEventQuery(nowhere as _), invalid);
        assert_eq!(sys::cuModuleUnload(nowhere as _), invalid);
        assert_eq!(
            sys::cuGraphLaunch(nowhere as _, stream.cu_stream()),
            invalid
        );
        assert_eq!(sys::cuMemFree_v2(99), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(
            sys::cuMemAlloc_v2(std::ptr::null_mut(), 8),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
    let data = stream.alloc_zeros::<f32>(32).unwrap();
    let launch = |grid: u32, block: u32, shared_mem_bytes: u32| {
        let shape = LaunchConfig {
            grid_dim: (grid, 1, 1),
            block_dim: (block, 1, 1),
            shared_mem_bytes,
        };
        code(unsafe {
            stream
                .launch_builder(&function)
                .arg(&data)
                .arg(&1f32)
                .launch(shape)
        })
    };
    let value = CUresult::CUDA_ERROR_INVALID_VALUE;
    assert_eq!(
        [launch(0, 32, 0), launch(1, 1025, 0), launch(1, 32, 49153)],
        [value; 3]
    );
    assert_eq!(launch(1, 32, 49152), CUresult::CUDA_SUCCESS);
    function
        .set_attribute(
            sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            100_000,
        )
        .unwrap();
    assert_eq!(launch(1, 32, 100_000), CUresult::CUDA_SUCCESS);
    assert_eq!(
        code(
            s.context
                .load_module(compile(FILL))
                .unwrap()
                .load_function("none")
        ),
        CUresult::CUDA_ERROR_NOT_FOUND
    );
    assert!(
        function
            .occupancy_max_active_blocks_per_multiprocessor(256, 0, None)
            .unwrap()
            >= 1
    );
    assert_eq!(
        configure("warp_order=x").unwrap_err(),
        "`x` is not a number that fits"
    );
    assert!(
        configure("sanitize=everything").is_err() && configure("fault=cuInit:0:12345").is_err()
    );
}

#[test]
fn module_variables_are_reached_by_name() {
    let s = session("");
    let source = "__device__ float scale[2] = {2, 3}; extern \"C\" __global__ void k(float* o) { o[threadIdx.x] = scale[threadIdx.x]; }";
    let module = s.context.load_module(compile(source)).unwrap();
    let stream = s.context.default_stream();
    let mut variable = module.get_global("scale", &stream).unwrap();
    assert_eq!(
        stream.clone_dtoh(&variable).unwrap(),
        [2f32, 3.0].map(f32::to_le_bytes).concat()
    );
    stream
        .memcpy_htod(&[9f32, 8.0].map(f32::to_le_bytes).concat(), &mut variable)
        .unwrap();
    let mut out = stream.alloc_zeros::<f32>(2).unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (2, 1, 1),
        shared_mem_bytes: 0,
    };
    unsafe {
        stream
            .launch_builder(&module.load_function("k").unwrap())
            .arg(&mut out)
            .launch(shape)
    }
    .unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), [9.0, 8.0]);
}

#[test]
fn only_the_driver_api_is_exported() {
    let image = std::fs::read(library_path()).unwrap();
    let symbols = exported(&image);
    assert!(symbols.len() > 100, "{symbols:?}");
    let foreign = |name: &&String| {
        let is_driver = name.starts_with("cu")
            && name[2..].starts_with(|letter: char| letter.is_ascii_uppercase());
        !is_driver && !name.starts_with("lenetc_softgpu_")
    };
    assert_eq!(symbols.iter().find(foreign), None);
    // A program that it is built into finds the same.
    let driver = symbols.iter().filter(|s| s.starts_with("cu"));
    let missing: Vec<_> = driver
        .filter(|s| lenetc_softgpu::symbol(s).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(lenetc_softgpu::symbol("cuNothing"), None);
}

/// Names of the defined symbols of the dynamic symbol table of a 64-bit little-endian ELF file.
fn exported(image: &[u8]) -> Vec<String> {
    let number = |at: usize, len: usize| {
        image[at..at + len]
            .iter()
            .rev()
            .fold(0usize, |all, byte| all << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let sections: Vec<usize> = (0..count).map(|k| table + k * size).collect();
    const DYNSYM: usize = 11;
    let dynsym = *sections
        .iter()
        .find(|&&at| number(at + 4, 4) == DYNSYM)
        .expect("a dynamic symbol table");
    let strings = number(sections[number(dynsym + 0x28, 4)] + 0x18, 8);
    let (start, len) = (number(dynsym + 0x18, 8), number(dynsym + 0x20, 8));
    let entries = (start..start + len)
        .step_by(24)
        .filter(|&at| number(at + 6, 2) != 0);
    let name = |at: usize| {
        let from = strings + number(at, 4);
        let end = image[from..]
            .iter()
            .position(|byte| *byte == 0)
            .expect("a string ends");
        String::from_utf8_lossy(&image[from..from + end]).into_owned()
    };
    entries.map(name).collect()
}
