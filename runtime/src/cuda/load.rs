//! Brings a program's kernels onto a device, module by module: what worked before from the cache, the rest through
//! NVRTC, several modules at a time.
//!
//! NVRTC may be called from several threads at once. Version 12.9 and 13.5 work side by side then; 12.0 has them take
//! turns at most of the work, so that they gain little there. Does not know launches, nor what kernels compute.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

use cudarc::driver::{CudaFunction, CudaModule};

use super::choose::{Compiler, Version, attempts};
use super::compile::{self, Arch, Compiled, Image};
use super::device::Device;
use super::error::{CudaError, Phase, is_refusal, when};
use super::libraries;
use super::nvrtc::{Identity, Nvrtc};
use super::slow::{self, Compiling};
use super::{Module, Program};
use crate::cache::{Cache, Key};

/// Threads that compile at a time: each takes some hundred megabytes.
const MOST_THREADS: usize = 8;
/// The stack of each, as large as a program's first thread has it: compilers call themselves for nested text, and what a
/// spawned thread has by default is a quarter of that.
const STACK_BYTES: usize = 8 << 20;

/// Kernels on a device.
pub(super) struct Loaded {
    modules: Vec<OnDevice>,
    /// What NVRTC and ptxas say.
    pub log: String,
}

/// A module on a device.
struct OnDevice {
    kernels: Vec<String>,
    module: Arc<CudaModule>,
}

/// What the driver has taken of one module.
struct Taken {
    module: Arc<CudaModule>,
    log: String,
}

/// A module that is compiled, and for the software GPU the PTX of the same source.
struct Made {
    compiled: Compiled,
    ptx: Option<Compiled>,
}

impl Loaded {
    /// A kernel, of whichever module has it.
    ///
    /// Panics where the program has no text of it.
    pub fn function(&self, kernel: &str) -> Result<CudaFunction, CudaError> {
        let has = |m: &&OnDevice| m.kernels.iter().any(|k| k == kernel);
        let found = self.modules.iter().find(has);
        let found = found.unwrap_or_else(|| panic!("no module has a kernel {kernel}"));
        let function = found.module.load_function(kernel);
        function.map_err(when(Phase::Load, "finding a kernel"))
    }

    fn new(modules: &[Module], taken: Vec<Taken>) -> Self {
        let log: Vec<&str> = taken.iter().map(|t| t.log.as_str()).collect();
        let log = log.join("\n");
        let on_device = |(m, t): (&Module, Taken)| OnDevice {
            kernels: m.names().map(String::from).collect(),
            module: t.module,
        };
        let modules = modules.iter().zip(taken).map(on_device).collect();
        Self { modules, log }
    }
}

impl Device {
    /// Brings the kernels of a program onto the device: machine code for it where that can be, else PTX, each by the
    /// newest NVRTC that the driver can take. What worked before is taken from the cache, and where that is all, no NVRTC is
    /// needed.
    pub(super) fn load(&self, program: &Program) -> Result<Loaded, CudaError> {
        let cache = Cache::of_user();
        let sources = program.modules.iter().map(|m| program.module_source(m));
        let sources: Vec<String> = sources.collect();
        let remembered = |source: &String| self.remembered(cache.as_ref(), source);
        let mut taken: Vec<Option<Taken>> = sources.iter().map(remembered).collect();
        if taken.iter().any(Option::is_none) {
            self.make(cache.as_ref(), program, &sources, &mut taken)?;
        }
        Ok(Loaded::new(
            &program.modules,
            taken.into_iter().flatten().collect(),
        ))
    }

    /// Compiles the modules that are missing, in the first way in which the driver takes them.
    fn make(
        &self,
        cache: Option<&Cache>,
        program: &Program,
        sources: &[String],
        taken: &mut [Option<Taken>],
    ) -> Result<(), CudaError> {
        let compilers = libraries::nvrtcs()?;
        let offers: Vec<Compiler> = compilers.iter().map(Nvrtc::compiler).collect();
        let driver = Version::of_driver(libraries::driver_version());
        let mut refused = None;
        for attempt in attempts(driver, self.found.capability, &offers)? {
            let nvrtc = &compilers[attempt.compiler];
            let left = missing(taken, sources);
            let kernels = left.iter().map(|&k| program.modules[k].kernels.len());
            let what = Compiling {
                kernels: kernels.sum(),
                target: self.found.name.clone(),
            };
            let compile = |k: usize| made(nvrtc, cache, &sources[k], attempt.arch);
            let made = slow::watched_compilation(&what, || in_parallel(&left, compile))?;
            let way = format!("{}\n{}", attempt.arch.name(), nvrtc.identity.text);
            for (k, made) in left.into_iter().zip(made) {
                match self.take(&made) {
                    Ok(now) => {
                        if let Some(cache) = cache {
                            cache.put(&self.key(&sources[k]), way.as_bytes());
                        }
                        taken[k] = Some(now);
                    }
                    Err(e) if is_refusal(e.0 as u32) => {
                        refused = refused.or(Some(self.refusal(e, &made.compiled)));
                        // It would refuse the others too.
                        break;
                    }
                    Err(e) => return Err(when(Phase::Load, "loading the kernels")(e)),
                }
            }
            if taken.iter().all(Option::is_some) {
                return Ok(());
            }
        }
        Err(refused.unwrap_or(CudaError::OldDevice {
            device: self.found.capability,
            oldest: 0,
        }))
    }

    fn take(&self, made: &Made) -> Result<Taken, cudarc::driver::DriverError> {
        share(made);
        Ok(Taken {
            module: self.module(&made.compiled)?,
            log: made.compiled.log.clone(),
        })
    }

    /// What was loaded for this source before, where the NVRTC that made it is as it was, or gone.
    fn remembered(&self, cache: Option<&Cache>, source: &str) -> Option<Taken> {
        let cache = cache?;
        let way = String::from_utf8(cache.get(&self.key(source))?).ok()?;
        let (arch, identity) = way.split_once('\n')?;
        let arch = Arch::of_name(arch)?;
        let path = identity.rsplitn(3, ' ').nth(2)?;
        let now = Identity::of(Path::new(path));
        let unchanged = now.text == identity || !now.path.exists();
        let known = |arch| compile::known(cache, identity, source, arch).filter(|_| unchanged);
        let compiled = known(arch)?;
        let ptx = match ptx_beside(arch) {
            Some(arch) => Some(known(arch)?),
            None => None,
        };
        self.take(&Made { compiled, ptx }).ok()
    }

    /// By what one device with one driver remembers a source.
    fn key(&self, source: &str) -> Key {
        let driver = libraries::driver_version().to_string();
        let chosen = std::env::var("LENETC_NVRTC").unwrap_or_default();
        let capability = self.found.capability.to_string();
        Key::of(&["way", &driver, &chosen, &capability, source])
    }
}

/// The architecture whose PTX the software GPU runs in the place of machine code; none on a GPU.
fn ptx_beside(arch: Arch) -> Option<Arch> {
    match arch {
        Arch::Real(capability) if libraries::is_software() => Some(Arch::Virtual(capability)),
        _ => None,
    }
}

fn made(nvrtc: &Nvrtc, cache: Option<&Cache>, source: &str, arch: Arch) -> Result<Made, CudaError> {
    let compile = |arch| compile::cached(nvrtc, cache, source, arch);
    Ok(Made {
        compiled: compile(arch)?,
        ptx: ptx_beside(arch).map(compile).transpose()?,
    })
}

/// Gives the software GPU the PTX of the source that machine code was made from.
fn share(made: &Made) {
    let ptx = made.ptx.as_ref().map(|p| &p.image);
    if let (Image::Cubin(code), Some(Image::Ptx(text))) = (&made.compiled.image, ptx) {
        libraries::software_source(code, text);
    }
}

/// The modules that are not there yet, the longest first: what is begun last should not take long.
fn missing(taken: &[Option<Taken>], sources: &[String]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..taken.len()).filter(|&k| taken[k].is_none()).collect();
    left.sort_by_key(|&k| std::cmp::Reverse(sources[k].len()));
    left
}

/// The results of `work` on each job, in their order, or the first error in it. After an error nothing more is begun.
fn in_parallel<T: Send>(
    jobs: &[usize],
    work: impl Fn(usize) -> Result<T, CudaError> + Sync,
) -> Result<Vec<T>, CudaError> {
    let cores = available_parallelism().map_or(1, usize::from);
    let results: Vec<Mutex<Option<Result<T, CudaError>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(&job) = jobs.get(at) else { break };
            let result = work(job);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            *results[at].lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
        }
    };
    scope(|s| {
        for _ in 1..jobs.len().min(cores).min(MOST_THREADS) {
            // Where there are no more threads to be had, those that are there do the work.
            let _ = Builder::new().stack_size(STACK_BYTES).spawn_scoped(s, run);
        }
        run();
    });
    let inner = |m: Mutex<_>| m.into_inner().unwrap_or_else(|e| e.into_inner());
    // What was not begun stands behind an error or beside one.
    let (done, mut errors): (Vec<_>, Vec<_>) = results
        .into_iter()
        .filter_map(inner)
        .partition(Result::is_ok);
    match errors.is_empty() {
        true => done.into_iter().collect(),
        false => errors.swap_remove(0).map(|_| vec![]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(job: usize) -> CudaError {
        CudaError::Compile {
            log: job.to_string(),
        }
    }

    #[test]
    fn results_keep_the_order_of_their_jobs() {
        let jobs: Vec<usize> = (0..100).rev().collect();
        let squares = in_parallel(&jobs, |k| Ok(k * k)).expect("no job fails");
        assert!(squares.into_iter().eq((0..100).rev().map(|k| k * k)));
        assert!(in_parallel(&[], Ok).expect("no job fails").is_empty());
    }

    #[test]
    fn jobs_run_side_by_side() {
        let cores = available_parallelism().map_or(1, usize::from);
        let at_once = cores.min(MOST_THREADS);
        let meeting = std::sync::Barrier::new(at_once);
        // Each waits for all the others, so that one after the other they would never end.
        let jobs: Vec<usize> = (0..at_once).collect();
        let met = in_parallel(&jobs, |_| {
            meeting.wait();
            Ok(())
        });
        assert_eq!(met.expect("no job fails").len(), at_once);
    }

    #[test]
    fn an_error_is_the_result_and_nothing_follows_it() {
        let begun = AtomicUsize::new(0);
        let jobs: Vec<usize> = (0..1000).collect();
        let work = |k: usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            match k {
                0 => Err(failed(0)),
                _ => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    Ok(k)
                }
            }
        };
        let error = in_parallel(&jobs, work).expect_err("the first job fails");
        assert!(matches!(error, CudaError::Compile { log } if log == "0"));
        assert!(begun.into_inner() < 1000);
    }
}
