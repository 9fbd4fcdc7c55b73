//! `lenetc devices`: what `--target` and `--device` can be here, and why something cannot.

use lenetc::backend::cpu::Isa;
use lenetc::diag;
use lenetc_runtime::cuda::{self, Found};

use super::{Stop, print};

/// Prints a line for each device and each library. What is missing is no error.
pub fn run() -> Result<u8, Stop> {
    print(&format!("{}{}{}{}", cpu(), gpus(), software(), nvrtc()))?;
    Ok(0)
}

fn line(what: &str, text: &str) -> String {
    format!("{what:<10}{text}\n")
}

fn cpu() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let architecture = std::env::consts::ARCH;
    let all = Isa::ALL.into_iter();
    let (here, missing): (Vec<Isa>, Vec<Isa>) = all.partition(|isa| isa.available());
    let names = |list: &[Isa]| list.iter().map(|i| i.name()).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "{architecture} with {}, --isa {}",
        diag::count(threads as u64, "thread"),
        names(&here)
    );
    if !missing.is_empty() {
        text.push_str(&format!("; the processor has no {}", names(&missing)));
    }
    line("cpu", &text)
}

fn gpus() -> String {
    match cuda::devices() {
        Ok(all) => all.iter().map(gpu).collect(),
        Err(e) => line("cuda", &format!("none: {e}")),
    }
}

fn gpu(d: &Found) -> String {
    line(
        &format!("cuda {}", d.number),
        &format!(
            "{}, PCI {}, compute capability {}.{}, {:.1} GiB, --target cuda --device {}",
            d.name,
            d.pci_bus_id,
            d.capability / 10,
            d.capability % 10,
            d.memory_bytes as f64 / f64::from(1 << 30),
            d.number
        ),
    )
}

/// It is not opened: that would take the place of the driver.
fn software() -> String {
    line(
        "software",
        "part of this program, --target cuda --device software",
    )
}

fn nvrtc() -> String {
    let text = match cuda::nvrtc() {
        Ok(n) => format!("{}, {}", n.version, n.path.display()),
        Err(e) => format!("none: {e}"),
    };
    line("nvrtc", &text)
}
