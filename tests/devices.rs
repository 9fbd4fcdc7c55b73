//! Devices as a user meets them: what is missing, what is broken, and what the driver reports, each with advice and
//! exit code 1. What the machine has of NVIDIA's is hidden by files of its names that are no libraries.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Names by which the driver and NVRTC are looked for.
const NAMES: [&str; 8] = [
    "libcuda.so",
    "libcuda.so.1",
    "libnvcuda.so",
    "libnvcuda.so.1",
    "libnvrtc.so",
    "libnvrtc.so.11.2",
    "libnvrtc.so.12",
    "libnvrtc.so.13",
];

/// A machine's folder of libraries: whatever it does not give is hidden.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// Without anything of NVIDIA's.
    fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in NAMES {
            std::fs::write(dir.path().join(name), "no library").expect("writable");
        }
        Self { dir }
    }

    /// With the software GPU in the place of NVIDIA's driver.
    fn with_driver() -> Self {
        let machine = Self::bare();
        std::fs::copy(software(), machine.dir.path().join("libcuda.so.1")).expect("writable");
        std::fs::remove_file(machine.dir.path().join("libcuda.so")).expect("it was there");
        machine
    }

    /// With a driver of which only the start is there.
    fn with_old_driver() -> Self {
        let machine = Self::bare();
        let source = machine.dir.path().join("old.c");
        let text = "int cuInit(unsigned f) { return 0; }\n\
                    int cuDriverGetVersion(int *v) { *v = 10020; return 0; }\n";
        std::fs::write(&source, text).expect("writable");
        let library = machine.dir.path().join("libcuda.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(library)
            .arg(source)
            .status();
        assert!(built.expect("there is a C compiler").success());
        machine
    }

    /// A command of lenetc in this machine, far from any virtual environment.
    fn lenetc(&self) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_lenetc"));
        c.current_dir(self.dir.path())
            .env("LD_LIBRARY_PATH", self.dir.path());
        for name in [
            "VIRTUAL_ENV",
            "CUDA_HOME",
            "CUDA_PATH",
            "CONDA_PREFIX",
            "LENETC_SOFTGPU",
            "LENETC_SOFTGPU_LIB",
        ] {
            c.env_remove(name);
        }
        c.env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        c
    }
}

/// The software GPU that was built with the tests.
fn software() -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_lenetc"));
    let folder = own.parent().expect("it lies in a folder");
    let found = [folder.into(), folder.join("deps")]
        .map(|f: PathBuf| f.join("liblenetc_softgpu.so"))
        .into_iter()
        .find(|p| p.is_file());
    found.expect("cargo builds the software GPU with the workspace: run tests/run")
}

fn environment() -> String {
    std::env::var("VIRTUAL_ENV").unwrap_or_else(|_| format!("{ROOT}/.venv"))
}

fn text(o: &Output) -> String {
    [&o.stdout, &o.stderr]
        .map(|b| String::from_utf8_lossy(b).into_owned())
        .concat()
}

/// Runs to a diagnostic that has all of `expected`: exit code 1, no panic.
fn refused(c: &mut Command, expected: &[&str]) {
    let o = c.output().expect("lenetc starts");
    let out = text(&o);
    assert_eq!(o.status.code(), Some(1), "{out}");
    assert!(
        out.contains("error: ") && !out.contains("panicked"),
        "{out}"
    );
    for e in expected {
        assert!(out.contains(e), "no \"{e}\" in {out}");
    }
}

/// A model of ten small steps.
fn edge() -> String {
    format!("{ROOT}/models/edge.nn")
}

#[test]
fn a_machine_without_nvidia_trains_on_the_processor_and_cuda_explains_itself() {
    let machine = Machine::bare();
    let o = machine
        .lenetc()
        .args([&edge(), "--steps", "2", "--quiet"])
        .output();
    let o = o.expect("lenetc starts");
    assert!(o.status.success(), "{}", text(&o));
    refused(
        machine.lenetc().args([&edge(), "--target", "cuda"]),
        &[
            "no CUDA driver",
            "libcuda.so.1",
            "nvidia-driver",
            "--target cpu",
            "--device software",
        ],
    );
    let o = machine
        .lenetc()
        .arg("devices")
        .output()
        .expect("lenetc starts");
    let out = text(&o);
    assert!(o.status.success() && out.starts_with("cpu "), "{out}");
    for (line, expected) in [
        ("cuda ", "none: there is no CUDA driver"),
        (
            "software ",
            "liblenetc_softgpu.so, --target cuda --device software",
        ),
    ] {
        let line = out
            .lines()
            .find(|l| l.starts_with(line))
            .unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn without_nvrtc_the_wheel_and_the_package_are_named() {
    let machine = Machine::bare();
    // The toolkit's usual folder is searched last; where a machine has it, that is what is found.
    if !Path::new("/usr/local/cuda").exists() {
        refused(
            machine
                .lenetc()
                .args([&edge(), "--target", "cuda", "--device", "software"]),
            &[
                "no NVRTC",
                "pip install nvidia-cuda-nvrtc-cu12==12.9.86",
                "nvidia-cuda-toolkit",
                "CUDA_HOME",
            ],
        );
    }
    let o = machine
        .lenetc()
        .arg("devices")
        .env("VIRTUAL_ENV", environment())
        .output();
    let out = text(&o.expect("lenetc starts"));
    let line = out
        .lines()
        .find(|l| l.starts_with("nvrtc "))
        .unwrap_or_else(|| panic!("{out}"));
    assert!(
        line.contains("libnvrtc.so") && line.contains("12."),
        "{line}"
    );
}

#[test]
fn nvrtc_is_found_in_a_folder_of_the_current_one_that_is_ours() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let machine = Machine::bare();
    let venv = machine.dir.path().join(".venv");
    std::fs::create_dir(&venv).expect("writable");
    symlink(Path::new(&environment()).join("lib"), venv.join("lib")).expect("writable");
    let found = |mode| {
        std::fs::set_permissions(&venv, std::fs::Permissions::from_mode(mode)).expect("ours");
        let o = machine
            .lenetc()
            .arg("devices")
            .output()
            .expect("lenetc starts");
        text(&o).contains(".venv/lib/python3")
    };
    assert!(found(0o755));
    assert!(!found(0o777), "anyone could put a library there");
}

#[test]
fn an_old_driver_is_told_by_what_it_lacks() {
    let machine = Machine::with_old_driver();
    refused(
        machine.lenetc().args([&edge(), "--target", "cuda"]),
        &[
            "too old (made for CUDA 10.2)",
            "it lacks cuDeviceGet",
            "Update the driver",
        ],
    );
}

#[test]
fn a_software_gpu_that_is_not_there_is_told_how_to_build() {
    let machine = Machine::bare();
    let command = |file: &str| {
        let mut c = machine.lenetc();
        c.args([&edge(), "--target", "cuda", "--device", "software"])
            .env("LENETC_SOFTGPU_LIB", file);
        c
    };
    refused(
        &mut command("/no/such/file.so"),
        &[
            "/no/such/file.so",
            "cargo build --release -p lenetc-softgpu",
        ],
    );
    let broken = machine.dir.path().join("libcuda.so");
    refused(
        &mut command(&broken.display().to_string()),
        &["cannot be loaded"],
    );
}

#[test]
fn the_driver_of_the_machine_is_used_unless_the_software_gpu_is_asked_for() {
    let machine = Machine::with_old_driver();
    // The old driver is in the loader's path, and would be found by name.
    let o = machine
        .lenetc()
        .args([
            &edge(),
            "--target",
            "cuda",
            "--device",
            "software",
            "--steps",
            "1",
        ])
        .env("VIRTUAL_ENV", environment())
        .output();
    let out = text(&o.expect("lenetc starts"));
    assert!(
        !out.contains("too old") && !out.contains("panicked"),
        "{out}"
    );
}

#[test]
fn devices_are_listed_and_chosen_by_number() {
    let machine = Machine::with_driver();
    let mut c = machine.lenetc();
    c.env("LENETC_SOFTGPU", "devices=2;compute=9.0");
    let o = c.arg("devices").output().expect("lenetc starts");
    let out = text(&o);
    assert!(o.status.success(), "{out}");
    for n in 0..2 {
        let line = out.lines().find(|l| l.starts_with(&format!("cuda {n}")));
        let line = line.unwrap_or_else(|| panic!("{out}"));
        assert!(
            line.contains("compute capability 9.0") && line.contains("4.0 GiB"),
            "{line}"
        );
    }
    let mut c = machine.lenetc();
    c.env("LENETC_SOFTGPU", "devices=2")
        .env("VIRTUAL_ENV", environment());
    refused(
        c.args([&edge(), "--target", "cuda", "--device", "2"]),
        &["no CUDA device 2", "there are 2, numbered from 0"],
    );
}

#[test]
fn each_error_of_the_driver_is_a_diagnostic() {
    let machine = Machine::bare();
    for (settings, expected) in [
        ("devices=0", "there is no CUDA device"),
        ("fault=cuInit:1:100", "there is no CUDA device"),
        ("fault=cuInit:1:34", "LD_LIBRARY_PATH"),
        ("fault=cuInit:1:803", "restart the machine"),
        ("fault=cuInit:1:804", "/usr/local/cuda/compat"),
        ("fault=cuInit:1:802", "fabricmanager"),
        ("fault=cuInit:1:999", "nvidia-modprobe -c 0 -u"),
        ("fault=cuInit:1:805", "nvidia-cuda-mps-control"),
        ("fault=cuDeviceGetCount:1:3", "nvidia-smi"),
        ("fault=cuDevicePrimaryCtxRetain:1:2", "out of memory"),
        (
            "fault=cuDevicePrimaryCtxRetain:1:101",
            "CUDA_ERROR_INVALID_DEVICE (101)",
        ),
        ("fault=cuDeviceGetAttribute:1:999", "nvidia_uvm"),
    ] {
        let mut c = machine.lenetc();
        c.args([
            &edge(),
            "--target",
            "cuda",
            "--device",
            "software",
            "--steps",
            "3",
        ]);
        c.env("LENETC_SOFTGPU", settings)
            .env("VIRTUAL_ENV", environment());
        refused(&mut c, &[expected]);
    }
}

#[test]
fn each_error_on_the_way_through_a_run_is_a_diagnostic() {
    let machine = Machine::bare();
    let bug = "This is a bug in lenetc: report it with the model";
    let lost = "start again, from saved weights with --weights";
    let early = "nothing was trained yet";
    let failed = "Start again; if it fails again";
    for (settings, expected) in [
        (
            "memory=4096",
            [
                "the program needs 1 MiB, 0 MiB are free",
                "train.batch_size",
            ],
        ),
        ("driver=11040", ["NVRTC 12.", "nvidia-cuda-nvrtc-cu11"]),
        (
            "compute=3.5",
            ["compute capability 3.5", "install an older one"],
        ),
        (
            "fault=cuMemAllocAsync:1:2",
            ["the program needs 1 MiB", "train.batch_size"],
        ),
        (
            "fault=cuMemAllocAsync:7:2",
            ["the program needs 1 MiB", "train.batch_size"],
        ),
        (
            // Three modules that the cache remembers, machine code, PTX.
            "fault=cuModuleLoadData:1:209,cuModuleLoadData:2:209,cuModuleLoadData:3:209,\
             cuModuleLoadData:4:209,cuModuleLoadData:5:218",
            ["takes none of the code", "LENETC_NVRTC"],
        ),
        (
            "fault=cuModuleLoadData:1:999",
            ["loading the kernels", "nothing was trained yet"],
        ),
        (
            "fault=cuModuleGetFunction:1:500",
            ["finding a kernel", "--target cpu"],
        ),
        (
            "fault=cuStreamCreate:1:2",
            ["out of memory. Lower", "train.batch_size"],
        ),
        (
            "fault=cuStreamCreate:1:999",
            ["could not be started", "nvidia_uvm"],
        ),
        (
            "fault=cuMemcpyHtoDAsync_v2:1:999",
            ["could not be started", "nvidia_uvm"],
        ),
        (
            "fault=cuMemcpyHtoDAsync_v2:5:719",
            ["starting an epoch", failed],
        ),
        (
            "fault=cuStreamBeginCapture_v2:1:900",
            ["capturing a step", "--target cpu"],
        ),
        ("fault=cuLaunchKernel:1:701", ["launching a kernel", bug]),
        (
            "fault=cuStreamEndCapture:1:901",
            ["capturing a step", "--target cpu"],
        ),
        (
            "fault=cuGraphInstantiateWithFlags:1:2",
            ["out of memory. Lower", "train.batch_size"],
        ),
        ("fault=cuGraphUpload:1:719", ["capturing a step", failed]),
        ("fault=cuGraphLaunch:1:719", ["training", failed]),
        ("fault=cuGraphLaunch:2:700", ["outside of its memory", bug]),
        ("fault=cuMemcpyDtoHAsync_v2:2:999", ["training", early]),
        (
            "fault=cuMemcpyDtoHAsync_v2:4:999",
            ["lost when training", lost],
        ),
        (
            "fault=cuStreamSynchronize:1:700",
            ["outside of its memory", bug],
        ),
        (
            "fault=cuStreamSynchronize:2:719",
            ["reading the parameters", failed],
        ),
        (
            "fault=cuStreamSynchronize:3:999",
            ["writing the parameters", early],
        ),
        (
            "fault=cuStreamSynchronize:4:702",
            ["longer than the driver allows", "--device"],
        ),
        (
            "fault=launch:1:719",
            ["a kernel failed when training", failed],
        ),
        ("fault=launch:2:700", ["outside of its memory", bug]),
        ("fault=launch:8:999", ["lost when training", lost]),
        ("fault=launch:4:716", ["CUDA_ERROR_MISALIGNED_ADDRESS", bug]),
    ] {
        let mut c = machine.lenetc();
        c.args([
            &edge(),
            "--target",
            "cuda",
            "--device",
            "software",
            "--steps",
            "3",
        ]);
        c.env("LENETC_SOFTGPU", settings)
            .env("VIRTUAL_ENV", environment());
        refused(&mut c, &expected);
    }
}

/// Machine code is what runs; where a driver refuses it, PTX does, and the same results come of both.
#[test]
fn machine_code_comes_first_and_ptx_where_that_cannot_be() {
    let machine = Machine::bare();
    let run = |settings: &str| {
        let mut c = machine.lenetc();
        c.args([&edge(), "--target", "cuda", "--device", "software"]);
        c.env("LENETC_SOFTGPU", settings)
            .env("VIRTUAL_ENV", environment());
        let o = c.output().expect("lenetc starts");
        assert!(o.status.success(), "{settings}: {}", text(&o));
        let out = text(&o);
        let losses = out.lines().filter(|l| l.starts_with("step "));
        losses.map(str::to_string).collect::<Vec<_>>()
    };
    let usual = run("");
    assert_eq!(usual.len(), 5);
    for settings in [
        // Machine code needs no translation.
        "max_ptx=7.0",
        "fault=cuModuleLoadData:1:209",
        "fault=cuModuleLoadData:1:200",
        "fault=cuModuleLoadData:1:218",
    ] {
        assert_eq!(run(settings), usual, "{settings}");
    }
}

#[test]
fn an_nvrtc_is_named_by_its_file() {
    let machine = Machine::bare();
    let found = format!("{}/lib", environment());
    let python = std::fs::read_dir(found).expect("tests/run installs NVRTC");
    let libraries: Vec<PathBuf> = python
        .flatten()
        .map(|p| {
            p.path()
                .join("site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12")
        })
        .filter(|p| p.is_file())
        .collect();
    let run = |path: &Path| {
        let mut c = machine.lenetc();
        c.args([&edge(), "--target", "cuda", "--device", "software"]);
        c.env("LENETC_NVRTC", path);
        c
    };
    let o = run(&libraries[0]).output().expect("lenetc starts");
    assert!(o.status.success(), "{}", text(&o));
    refused(
        &mut run(Path::new("/nowhere/libnvrtc.so")),
        &["/nowhere/libnvrtc.so", "names no file"],
    );
}

#[test]
fn ptx_is_shown_with_the_resources_of_its_kernels_or_why_not() {
    let machine = Machine::bare();
    let emit = |more: &[&str]| {
        let mut c = machine.lenetc();
        c.args(["emit", &edge(), "--stage", "ptx"]).args(more);
        c
    };
    let mut c = emit(&["--arch", "90"]);
    let o = c.env("VIRTUAL_ENV", environment()).output();
    let out = text(&o.expect("lenetc starts"));
    assert!(out.contains("\n.target sm_90\n"), "{out}");
    for entry in out.lines().filter(|l| l.contains(".entry ")) {
        let (_, name) = entry.split_once(".entry ").expect("it is there");
        let row = format!("// {} ", name.trim_end_matches('('));
        assert!(out.lines().any(|l| l.starts_with(&row)), "{row} in {out}");
    }
    let layers = "\n// Conv2d (0) + MseLoss + MseGrad\n.visible .entry chain(";
    assert!(out.contains(layers), "{out}");
    let mut c = emit(&["--arch", "81"]);
    refused(
        c.env("VIRTUAL_ENV", environment()),
        &["does not compile for compute capability 81", "80, 86"],
    );
    if !Path::new("/usr/local/cuda").exists() {
        refused(&mut emit(&[]), &["no NVRTC", "pip install"]);
    }
}

#[test]
fn a_device_goes_with_a_target() {
    let machine = Machine::bare();
    refused(
        machine.lenetc().args([&edge(), "--device", "0"]),
        &["--target cuda"],
    );
    let o = machine
        .lenetc()
        .args([&edge(), "--target", "cuda", "--device", "gpu"])
        .output();
    let o = o.expect("lenetc starts");
    assert_eq!(o.status.code(), Some(2), "{}", text(&o));
    assert!(
        text(&o).contains("a number from 0, or `software`"),
        "{}",
        text(&o)
    );
}
