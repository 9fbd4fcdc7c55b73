//! The model of time against published figures of kernels whose source is public. The kernels here are written anew
//! after the same schemes: sizes of tiles and blocks, what is kept where, how it is read. Each runs as many blocks as
//! the card holds at once, on a part of the sums' length. docs/cuda.md names the sources.

mod common;

use common::machine::{cubin, hand_over, ptx};
use common::{report, session};
use cudarc::driver::{CudaFunction, CudaModule, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

const MATMUL: &str = include_str!("published/matmul.cu");
const STREAMS: &str = include_str!("published/streams.cu");

/// Of the square matrices.
const SIZE: u32 = 4096;

/// What a figure says, in GFLOP/s, GB/s or µs.
struct Published {
    kernel: &'static str,
    card: &'static str,
    figure: f64,
    unit: &'static str,
}

/// A card with its kernels' figures.
struct Products {
    card: &'static str,
    /// What the card runs at: none for its highest clock.
    mhz: Option<u32>,
    arch: [&'static str; 2],
    gflops: &'static [(usize, f64)],
}

/// The article counts on 30 TFLOP/s of the RTX A6000, which are 1.4 GHz: less than its highest clock.
const PRODUCTS: [Products; 2] = [
    Products {
        card: "a6000",
        mhz: Some(1410),
        arch: ["sm_86", "compute_86"],
        gflops: &[
            (0, 309.0),
            (1, 1986.5),
            (2, 2980.3),
            (3, 8474.7),
            (4, 15971.7),
            (5, 18237.3),
        ],
    },
    Products {
        card: "rtx4090",
        mhz: None,
        arch: ["sm_89", "compute_89"],
        gflops: &[(0, 635.3), (1, 4887.4), (2, 6592.0)],
    },
];

/// A matrix product.
struct Matmul {
    kernel: &'static str,
    /// Rows and columns of a block's tile, and its threads.
    tile: u32,
    threads: u32,
    /// Terms of each sum that are run here.
    depth: u32,
}

const MATMULS: [Matmul; 6] = [
    Matmul {
        kernel: "rows_apart",
        tile: 32,
        threads: 1024,
        depth: 128,
    },
    Matmul {
        kernel: "rows_together",
        tile: 32,
        threads: 1024,
        depth: 256,
    },
    Matmul {
        kernel: "shared_tiles",
        tile: 32,
        threads: 1024,
        depth: 512,
    },
    Matmul {
        kernel: "column_of_results",
        tile: 64,
        threads: 512,
        depth: 512,
    },
    Matmul {
        kernel: "square_of_results",
        tile: 128,
        threads: 256,
        depth: 512,
    },
    Matmul {
        kernel: "rows_of_four",
        tile: 128,
        threads: 256,
        depth: 256,
    },
];

fn load(
    s: &common::Session,
    source: &str,
    arch: &str,
    virtual_arch: &'static str,
) -> Arc<CudaModule> {
    let code = cubin(source, arch);
    assert!(hand_over(&code, &ptx(source, virtual_arch)));
    let module = s.context.load_module(Ptx::from_binary(code));
    module.unwrap_or_else(|error| panic!("{error}: {}", report()))
}

fn shape(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

fn resident(function: &CudaFunction, threads: u32) -> u32 {
    function
        .occupancy_max_active_blocks_per_multiprocessor(threads, 0, None)
        .expect("an occupancy")
}

/// Microseconds of the kernel's launches so far, without the time between launches.
fn microseconds(kernel: &str) -> f64 {
    let report = report();
    let of = &report["kernels"][kernel];
    let us = of["us"].as_f64().expect("a time");
    println!(
        "   {kernel}: {} resident, {} of {}",
        of["resident"], of["bound"], of["bounds_us"]
    );
    us - 1.5 * of["launches"].as_f64().expect("launches")
}

fn multiprocessors(s: &common::Session) -> u32 {
    use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
    let count = s
        .context
        .attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    count.expect("a number").unsigned_abs()
}

fn run_matmul(s: &common::Session, arch: [&'static str; 2], matmul: &Matmul) -> f64 {
    let stream = s.context.new_stream().expect("a stream");
    let module = load(s, MATMUL, arch[0], arch[1]);
    let function = module.load_function(matmul.kernel).expect("a kernel");
    let len = (SIZE * SIZE) as usize;
    let a = stream.alloc_zeros::<f32>(len).expect("memory");
    let b = stream.alloc_zeros::<f32>(len).expect("memory");
    let mut c = stream.alloc_zeros::<f32>(len).expect("memory");
    let blocks = multiprocessors(s) * resident(&function, matmul.threads);
    // SAFETY: the tiles of so many blocks lie within the matrices.
    unsafe {
        let mut launch = stream.launch_builder(&function);
        launch
            .arg(&a)
            .arg(&b)
            .arg(&mut c)
            .arg(&SIZE)
            .arg(&matmul.depth);
        launch
            .launch(shape(blocks, matmul.threads))
            .expect("a launch");
    }
    stream
        .synchronize()
        .unwrap_or_else(|error| panic!("{error}: {}", report()));
    let multiply_adds =
        f64::from(blocks) * f64::from(matmul.tile * matmul.tile) * f64::from(matmul.depth);
    2.0 * multiply_adds / microseconds(matmul.kernel) / 1e3
}

struct Compared {
    published: Published,
    estimated: f64,
}

impl Compared {
    /// By what factor the estimate is off, 1.0 or more.
    fn factor(&self) -> f64 {
        let ratio = self.estimated / self.published.figure;
        ratio.max(1.0 / ratio)
    }
}

fn compare_matmuls(all: &mut Vec<Compared>) {
    for Products {
        card,
        mhz,
        arch,
        gflops,
    } in PRODUCTS
    {
        for &(which, figure) in gflops {
            let clock = mhz.map_or(String::new(), |mhz| format!("clock={mhz};"));
            let s = session(&format!("card={card};{clock}count=1;watchdog=0"));
            let matmul = &MATMULS[which];
            let estimated = run_matmul(&s, arch, matmul);
            let published = Published {
                kernel: matmul.kernel,
                card,
                figure,
                unit: "GFLOP/s",
            };
            all.push(Compared {
                published,
                estimated,
            });
        }
    }
}

/// A kernel over an array of so many bytes, which it reads and writes together.
struct Stream {
    kernel: &'static str,
    card: &'static str,
    arch: [&'static str; 2],
    threads: u32,
    /// Words a thread reads of one array.
    words: u32,
    /// Of the published run; as many waves as are here run.
    waves: u32,
    arrays: u32,
    figure: f64,
}

const STREAMED: [Stream; 3] = [
    Stream {
        kernel: "sum_words",
        card: "h100",
        arch: ["sm_90", "compute_90"],
        threads: 512,
        words: 1,
        waves: 8,
        arrays: 1,
        figure: 882.8,
    },
    Stream {
        kernel: "sum_batches",
        card: "h100",
        arch: ["sm_90", "compute_90"],
        threads: 512,
        words: 12,
        waves: 4,
        arrays: 1,
        figure: 3226.9,
    },
    Stream {
        kernel: "add_fours",
        card: "l4",
        arch: ["sm_89", "compute_89"],
        threads: 256,
        words: 4,
        waves: 60,
        arrays: 3,
        figure: 239.6,
    },
];

fn run_stream(s: &common::Session, stream: &Arc<CudaStream>, streamed: &Stream) -> f64 {
    let module = load(s, STREAMS, streamed.arch[0], streamed.arch[1]);
    let function = module.load_function(streamed.kernel).expect("a kernel");
    let blocks = multiprocessors(s) * resident(&function, streamed.threads) * streamed.waves;
    let len = (blocks * streamed.threads * streamed.words) as usize;
    let a = stream.alloc_zeros::<u32>(len).expect("memory");
    let b = stream.alloc_zeros::<u32>(len).expect("memory");
    let mut c = stream.alloc_zeros::<u32>(len).expect("memory");
    let count = len as u32;
    // SAFETY: the arrays have a word for each of each thread.
    unsafe {
        let mut launch = stream.launch_builder(&function);
        launch.arg(&a).arg(&b).arg(&mut c).arg(&count);
        launch
            .launch(shape(blocks, streamed.threads))
            .expect("a launch");
    }
    stream
        .synchronize()
        .unwrap_or_else(|error| panic!("{error}: {}", report()));
    4.0 * len as f64 * f64::from(streamed.arrays) / microseconds(streamed.kernel) / 1e3
}

fn compare_streams(all: &mut Vec<Compared>) {
    for streamed in STREAMED {
        let s = session(&format!("card={};count=1;watchdog=0", streamed.card));
        let stream = s.context.new_stream().expect("a stream");
        let estimated = run_stream(&s, &stream, &streamed);
        let published = Published {
            kernel: streamed.kernel,
            card: streamed.card,
            figure: streamed.figure,
            unit: "GB/s",
        };
        all.push(Compared {
            published,
            estimated,
        });
    }
}

/// NVIDIA, "Getting started with CUDA graphs": 500,000 elements on a V100, 3.4 µs for each launch of a graph.
fn compare_short_launch(all: &mut Vec<Compared>) {
    let s = session("card=v100;count=1");
    let module = load(&s, STREAMS, "sm_70", "compute_70");
    let stream = s.context.new_stream().expect("a stream");
    let function = module.load_function("scale").expect("a kernel");
    let count = 500_000u32;
    let a = stream.alloc_zeros::<f32>(count as usize).expect("memory");
    let mut b = stream.alloc_zeros::<f32>(count as usize).expect("memory");
    // The second one finds both arrays in the L2, as those of a graph do.
    for _ in 0..2 {
        // SAFETY: the kernel stays inside the arrays.
        unsafe {
            let mut launch = stream.launch_builder(&function);
            launch.arg(&mut b).arg(&a).arg(&count);
            launch
                .launch(shape(count.div_ceil(512), 512))
                .expect("a launch");
        }
        stream.synchronize().expect("no error");
    }
    let of_both = report()["kernels"]["scale"]["us"].as_f64().expect("a time");
    let published = Published {
        kernel: "scale",
        card: "v100",
        figure: 3.4,
        unit: "µs",
    };
    all.push(Compared {
        published,
        estimated: of_both / 2.0,
    });
}

#[test]
fn estimates_are_near_published_figures() {
    let mut all = Vec::new();
    compare_matmuls(&mut all);
    compare_streams(&mut all);
    compare_short_launch(&mut all);
    for one in &all {
        let Published {
            kernel,
            card,
            figure,
            unit,
        } = one.published;
        let off = 100.0 * (one.estimated / figure - 1.0);
        println!(
            "{card:6} {kernel:18} {figure:8.1} {unit:8} {:8.1}  {off:+4.0} %",
            one.estimated
        );
    }
    let mean = all.iter().map(|one| one.factor().ln()).sum::<f64>() / all.len() as f64;
    let worst = all.iter().map(Compared::factor).fold(1.0, f64::max);
    println!("mean factor {:.2}, worst {worst:.2}", mean.exp());
    assert!(
        mean.exp() < 1.3 && worst < 2.1,
        "mean {:.2}, worst {worst:.2}",
        mean.exp()
    );
}
