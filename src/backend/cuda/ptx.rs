//! A program as NVRTC hands it on: PTX for a compute capability, with what each kernel takes of a device of it.
//!
//! Also says for how many multiprocessors a program is made where no device is there to ask. Does not know what
//! kernels compute, nor how they are launched.

use lenetc_runtime::cuda::{
    Arch, Compiling, CudaError, Image, Program, Resources, Version, compile, nvrtc, resources,
    watched_compilation,
};

/// The compute capability that text is made for where none is asked for.
pub const CAPABILITY: u32 = 80;

/// Multiprocessors of a well-known device of each capability: T4, A100, L40, H100, and RTX 5090.
const MULTIPROCESSORS: [(u32, u32); 5] = [(75, 40), (80, 108), (89, 142), (90, 132), (120, 170)];

/// Multiprocessors that a program for this capability is made for: those of the nearest known one below.
pub fn multiprocessors(capability: u32) -> u32 {
    let below = MULTIPROCESSORS.iter().rev().find(|d| d.0 <= capability);
    below.unwrap_or(&MULTIPROCESSORS[0]).1
}

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
pub enum NoPtx {
    #[error(transparent)]
    Cuda(#[from] CudaError),
    #[error(
        "NVRTC {version} does not compile for compute capability {asked}: it knows {}",
        .known.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    Architecture {
        asked: u32,
        version: Version,
        known: Vec<u32>,
    },
}

/// The program as PTX, under a table of the resources of its kernels.
pub fn text(p: &Program, capability: u32) -> Result<String, NoPtx> {
    let nvrtc = nvrtc()?;
    if !nvrtc.architectures.contains(&capability) {
        return Err(NoPtx::Architecture {
            asked: capability,
            version: nvrtc.version,
            known: nvrtc.architectures.clone(),
        });
    }
    let source = p.source();
    let what = Compiling {
        kernels: p.kernels().count(),
        target: format!("compute capability {}.{}", capability / 10, capability % 10),
    };
    let (machine_code, ptx) = watched_compilation(&what, || {
        let machine_code = compile(&source, Arch::Real(capability))?;
        let ptx = compile(&source, Arch::Virtual(capability))?;
        Ok::<_, CudaError>((machine_code, ptx))
    })?;
    let Image::Ptx(ptx) = ptx.image else {
        unreachable!("a virtual architecture gives PTX")
    };
    let table = table(&resources(&machine_code.log));
    let version = nvrtc.version;
    Ok(format!(
        "// PTX of NVRTC {version} for compute_{capability}, and what ptxas takes for it on sm_{capability}: registers of a\n\
         // thread, bytes of shared memory of a block, bytes that a thread stores and loads for want of registers.\n//\n\
         {table}{ptx}"
    ))
}

/// The resources as comments, in the order of the kernels' text.
fn table(all: &[Resources]) -> String {
    let mut out = format!(
        "// {:<32}{:>10}{:>10}{:>10}{:>10}\n",
        "kernel", "registers", "shared", "stores", "loads"
    );
    for r in all {
        out.push_str(&format!(
            "// {:<32}{:>10}{:>10}{:>10}{:>10}\n",
            r.kernel, r.registers, r.shared_bytes, r.spill_stores, r.spill_loads
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_has_the_multiprocessors_of_the_nearest_device_below() {
        let of = [50, 75, 80, 86, 90, 100, 120, 121].map(multiprocessors);
        assert_eq!(of, [40, 40, 108, 108, 132, 132, 170, 170]);
    }
}
