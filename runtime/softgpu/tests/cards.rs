//! The GPU that is meant: what a program can ask of it, and settings that no GPU has.

mod common;

use common::{compile, configure, report, session, turn};
use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::sys::CUfunction_attribute_enum as OfKernel;
use cudarc::driver::{CudaContext, result};

/// Name, capability, multiprocessors, GiB, and of shared memory the KiB of a multiprocessor and of a block.
struct Expected {
    card: &'static str,
    name: &'static str,
    capability: (i32, i32),
    multiprocessors: i32,
    memory_gib: usize,
    shared_kib: [i32; 2],
    threads: i32,
    blocks: i32,
}

const fn expected(
    card: &'static str,
    name: &'static str,
    capability: (i32, i32),
    multiprocessors: i32,
    memory_gib: usize,
    [shared, block, threads, blocks]: [i32; 4],
) -> Expected {
    Expected {
        card,
        name,
        capability,
        multiprocessors,
        memory_gib,
        shared_kib: [shared, block],
        threads,
        blocks,
    }
}

#[rustfmt::skip]
const CARDS: [Expected; 11] = [
    expected("software", "lenetc software GPU", (8, 0), 108, 4, [164, 163, 2048, 32]),
    expected("h100", "NVIDIA H100", (9, 0), 132, 80, [228, 227, 2048, 32]),
    expected("a100", "NVIDIA A100", (8, 0), 108, 40, [164, 163, 2048, 32]),
    expected("a6000", "NVIDIA RTX A6000", (8, 6), 84, 48, [100, 99, 1536, 16]),
    expected("rtx4090", "NVIDIA GeForce RTX 4090", (8, 9), 128, 24, [100, 99, 1536, 24]),
    expected("l4", "NVIDIA L4", (8, 9), 58, 24, [100, 99, 1536, 24]),
    expected("t4", "NVIDIA T4", (7, 5), 40, 16, [64, 64, 1024, 16]),
    expected("gtx1660", "NVIDIA GeForce GTX 1660", (7, 5), 22, 6, [64, 64, 1024, 16]),
    expected("rtx5090", "NVIDIA GeForce RTX 5090", (12, 0), 170, 32, [100, 99, 1536, 24]),
    expected("v100", "NVIDIA V100", (7, 0), 80, 16, [96, 96, 2048, 32]),
    expected("p100", "NVIDIA P100", (6, 0), 56, 16, [64, 48, 2048, 32]),
];

fn ask(context: &CudaContext, attribute: Attribute) -> i32 {
    context.attribute(attribute).expect("the device answers")
}

#[test]
fn a_card_is_what_its_data_sheet_says() {
    for card in CARDS {
        let s = session(&format!("card={}", card.card));
        let c = &s.context;
        use Attribute as A;
        assert!(
            c.name().unwrap().starts_with(card.name),
            "{}",
            c.name().unwrap()
        );
        // Nobody shall take it for hardware.
        assert!(c.name().unwrap().contains("software"));
        assert_eq!(c.compute_capability().unwrap(), card.capability);
        let multiprocessors = ask(c, A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        assert_eq!(multiprocessors, card.multiprocessors, "{}", card.card);
        let memory = unsafe { result::device::total_mem(c.cu_device()) }.unwrap();
        assert_eq!(memory, card.memory_gib << 30);
        let shared = [
            A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
            A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        ];
        assert_eq!(
            shared.map(|a| ask(c, a) >> 10),
            card.shared_kib,
            "{}",
            card.card
        );
        assert_eq!(
            ask(c, A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
            48 << 10
        );
        assert_eq!(
            ask(c, A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR),
            card.threads
        );
        assert_eq!(
            ask(c, A::CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR),
            card.blocks
        );
        // Twice the clock of the memory by its bus is the published bandwidth.
        let bits = i64::from(ask(c, A::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH));
        let gigabytes =
            2 * i64::from(ask(c, A::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)) * bits / 8 / 1_000_000;
        assert!(
            (190..3360).contains(&gigabytes),
            "{}: {gigabytes}",
            card.card
        );
        assert!(ask(c, A::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE) >= 1 << 20);
        assert!(ask(c, A::CU_DEVICE_ATTRIBUTE_CLOCK_RATE) > 1_000_000);
    }
}

#[test]
fn single_figures_can_be_set() {
    let settings = "name=A card of mine;multiprocessors=7;memory=123456;capability=7.5;\
                    shared=65536;shared_multiprocessor=80000";
    let s = session(settings);
    let c = &s.context;
    assert_eq!(c.name().unwrap(), "A card of mine");
    assert_eq!(c.compute_capability().unwrap(), (7, 5));
    use Attribute as A;
    let found = [
        A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
    ]
    .map(|attribute| ask(c, attribute));
    assert_eq!(found, [7, 65536, 80000, 1024]);
    // Memory counts at once.
    let stream = c.default_stream();
    assert!(stream.alloc_zeros::<u8>(123_457).is_err());
    configure("memory=200000").unwrap();
    stream.alloc_zeros::<u8>(123_457).unwrap();
    // The card comes first, wherever it stands, and what is said beside it stays.
    configure("multiprocessors=16;compute=9.0;card=t4").unwrap();
    assert_eq!(c.compute_capability().unwrap(), (9, 0));
    assert_eq!(ask(c, A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 16);
    assert!(c.name().unwrap().starts_with("NVIDIA T4"));
}

#[test]
fn limits_hold_where_kernels_meet_them() {
    let source = "extern \"C\" __global__ void k(float* o) { extern __shared__ float s[]; s[threadIdx.x] = 1; __syncthreads(); o[0] = s[0]; }";
    for (card, most) in [("h100", 227 << 10), ("t4", 64 << 10)] {
        let s = session(&format!("card={card}"));
        let ptx = common::compile_for(source, "compute_75", &[]);
        let function = s
            .context
            .load_module(ptx)
            .unwrap()
            .load_function("k")
            .unwrap();
        let asked = OfKernel::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        assert!(function.set_attribute(asked, most + 1).is_err());
        function.set_attribute(asked, most).unwrap();
        let blocks =
            function.occupancy_max_active_blocks_per_multiprocessor(32, most as usize, None);
        assert_eq!(blocks.unwrap(), 1);
    }
    let s = session("card=a100;multiprocessors=3;clock=900");
    assert_eq!(
        ask(&s.context, Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
        900_000
    );
    let function = s
        .context
        .load_module(compile(source))
        .unwrap()
        .load_function("k")
        .unwrap();
    extern "C" fn nothing(_: i32) -> usize {
        0
    }
    let (grid, block) = function
        .occupancy_max_potential_block_size(nothing, 0, 0, None)
        .unwrap();
    assert_eq!((grid * block, block % 32), (3 * 2048, 0));
}

#[test]
fn what_no_gpu_has_is_refused_with_a_reason() {
    let _turn = turn("card=l4");
    for (settings, reason) in [
        (
            "card=h200x",
            "card=h200x: one of software, h100, a100, a6000, rtx5090, rtx4090",
        ),
        ("card=", "card=: one of software"),
        ("compute=8.4", "compute=8.4: no GPU has it; known are 3.0, "),
        ("capability=13.0", "capability=13.0: no GPU has it"),
        ("compute=8", "`8` is not MAJOR.MINOR"),
        (
            "multiprocessors=0",
            "multiprocessors=0: 1 to 1024 belongs here",
        ),
        ("multiprocessors=4096", "1 to 1024"),
        ("multiprocessors=-1", "`-1` is not a number that fits"),
        ("clock=0", "clock=0: 1 to 10000"),
        ("memory=0", "memory=0: 1 to "),
        ("shared=1000", "shared=1000: 49152 to "),
        (
            "shared=103000",
            "shared=103000: a multiprocessor with 102400 bytes leaves a block 101376",
        ),
        (
            "shared_multiprocessor=60000",
            "shared=101376: a multiprocessor with 60000 bytes leaves",
        ),
        ("name=", "name=: 1 to 255 bytes"),
        ("name=a\u{7}b", "1 to 255 bytes"),
        ("driver=12", "driver=12: 1000 to "),
        ("driver=-5", "is not a number that fits"),
        ("devices=100000", "0 to 1024"),
        ("cards=h100", "unknown key `cards`"),
    ] {
        let found = configure(settings).expect_err(settings);
        assert!(found.contains(reason), "{settings}: {found}");
    }
    // Nothing of a text that is refused counts.
    assert!(configure("multiprocessors=5;card=h100;memory=none").is_err());
    let context = CudaContext::new(0).unwrap();
    assert_eq!(
        ask(
            &context,
            Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
        ),
        58
    );
    assert_eq!(report()["findings"].as_array().unwrap().len(), 0);
}
