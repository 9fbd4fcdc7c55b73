//! From CUDA C to what a driver loads, through NVRTC and the cache.

use super::choose::attempts;
use super::error::CudaError;
use super::nvrtc::Nvrtc;
use crate::cache::{Cache, Key};

/// Changes when entries of the cache mean something else.
const CACHE_FORMAT: &str = "3";

/// What to compile for; numbers are compute capabilities, as 80 for 8.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// PTX, which a driver translates for its device: any of this capability or later.
    Virtual(u32),
    /// Machine code of one device; its log has the [`resources`](super::resources()) of each kernel.
    Real(u32),
}

/// What a driver loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    Ptx(String),
    Cubin(Vec<u8>),
}

/// A compiled source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub arch: Arch,
    pub image: Image,
    /// Warnings, and for [`Arch::Real`] what ptxas says.
    pub log: String,
    /// Whether it was found on the disk.
    pub cached: bool,
}

impl Arch {
    /// As NVRTC's option names it.
    pub(super) fn name(self) -> String {
        match self {
            Arch::Virtual(n) => format!("compute_{n}"),
            Arch::Real(n) => format!("sm_{n}"),
        }
    }

    /// From its name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let number = |prefix| name.strip_prefix(prefix)?.parse().ok();
        let virtual_one = number("compute_").map(Self::Virtual);
        virtual_one.or_else(|| number("sm_").map(Self::Real))
    }

    /// Numbers are exact: `fmaf` is written where it is meant, so multiplications and additions stay apart.
    fn options(self) -> Vec<String> {
        let more = match self {
            Arch::Virtual(_) => None,
            Arch::Real(_) => Some("--ptxas-options=-v".into()),
        };
        let target = self.name();
        let always = ["--fmad=false".into(), "--std=c++17".into()];
        [format!("--gpu-architecture={target}")]
            .into_iter()
            .chain(always)
            .chain(more)
            .collect()
    }
}

/// Compiles a whole source text, prelude included, by the newest NVRTC, or takes the result from the user's cache.
pub fn compile(source: &str, arch: Arch) -> Result<Compiled, CudaError> {
    super::libraries::nvrtc()?.compile(source, arch)
}

impl Nvrtc {
    /// Compiles a whole source text, prelude included, or takes the result from the user's cache.
    pub fn compile(&self, source: &str, arch: Arch) -> Result<Compiled, CudaError> {
        cached(self, Cache::of_user().as_ref(), source, arch)
    }

    /// What it makes for devices of a compute capability, as 80 for 8.0, where a driver takes all that it can make. Fails
    /// where it makes nothing for them.
    pub fn arch_for(&self, capability: u32) -> Result<Arch, CudaError> {
        Ok(attempts(None, capability, &[self.compiler()])?.best.arch)
    }
}

/// What [`cached`] has on the disk, for an NVRTC that need not be loaded.
pub(super) fn known(cache: &Cache, identity: &str, source: &str, arch: Arch) -> Option<Compiled> {
    decode(&cache.get(&key(identity, source, arch))?, arch)
}

fn key(identity: &str, source: &str, arch: Arch) -> Key {
    Key::of(&[CACHE_FORMAT, identity, &arch.options().join(" "), source])
}

/// Compiles by one NVRTC.
pub(super) fn cached(
    nvrtc: &Nvrtc,
    cache: Option<&Cache>,
    source: &str,
    arch: Arch,
) -> Result<Compiled, CudaError> {
    let options = arch.options();
    let identity = &nvrtc.identity.text;
    if let Some(found) = cache.and_then(|c| known(c, identity, source, arch)) {
        return Ok(found);
    }
    let cubin = matches!(arch, Arch::Real(_));
    let (bytes, log) = nvrtc.run(source, &options, cubin)?;
    let log = without_deprecation(&log);
    if let Some(cache) = cache {
        cache.put(&key(identity, source, arch), &encode(&bytes, &log));
    }
    let image = image(bytes, arch).ok_or_else(|| CudaError::Nvrtc {
        path: nvrtc.path.clone(),
        reason: "its PTX is no text".into(),
    })?;
    Ok(Compiled {
        arch,
        image,
        log,
        cached: false,
    })
}

/// What NVRTC says of a source. That a later NVRTC may not know the device is no matter of this one.
fn without_deprecation(log: &str) -> String {
    const DEPRECATION: &str = "nvrtc: warning: Architectures prior to";
    let lines = log.split_inclusive('\n');
    lines.filter(|l| !l.starts_with(DEPRECATION)).collect()
}

/// PTX without the zero byte that NVRTC ends it with.
fn image(mut bytes: Vec<u8>, arch: Arch) -> Option<Image> {
    match arch {
        Arch::Real(_) => Some(Image::Cubin(bytes)),
        Arch::Virtual(_) => {
            bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
            String::from_utf8(bytes).ok().map(Image::Ptx)
        }
    }
}

/// The length of the log, the log, the image.
fn encode(bytes: &[u8], log: &str) -> Vec<u8> {
    [&(log.len() as u64).to_le_bytes(), log.as_bytes(), bytes].concat()
}

fn decode(entry: &[u8], arch: Arch) -> Option<Compiled> {
    let (len, rest) = entry.split_first_chunk()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let (log, bytes) = rest.split_at_checked(len)?;
    Some(Compiled {
        arch,
        image: image(bytes.to_vec(), arch)?,
        log: String::from_utf8(log.to_vec()).ok()?,
        cached: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::{PRELUDE, resources, scalars};

    const KERNEL: &str = "
extern \"C\" __global__ void whole(Step* step, const float* losses, const float* correct, Result* results) {
    account(step, losses, correct, results);
    if (threadIdx.x == 0) advance(step);
}
";

    fn nvrtc() -> &'static Nvrtc {
        crate::cuda::nvrtc()
            .unwrap_or_else(|e| panic!("tests/run installs what the tests need: {e}"))
    }

    fn source() -> String {
        format!("{}{PRELUDE}{KERNEL}", scalars(&["rate".into()]))
    }

    fn compiled(source: &str, arch: Arch) -> Compiled {
        cached(nvrtc(), None, source, arch).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_prelude_compiles_without_a_warning_for_every_architecture() {
        let source = source();
        for &a in &nvrtc().architectures {
            let c = compiled(&source, Arch::Virtual(a));
            assert_eq!(c.log, "", "compute_{a}");
            assert!(matches!(c.image, Image::Ptx(t) if t.contains(".entry whole")));
        }
    }

    #[test]
    fn machine_code_comes_with_its_resources() {
        let c = compiled(&source(), Arch::Real(80));
        assert!(matches!(&c.image, Image::Cubin(b) if b.starts_with(b"\x7fELF")));
        let all = resources(&c.log);
        assert_eq!(all.len(), 1, "{}", c.log);
        assert_eq!(
            (all[0].kernel.as_str(), all[0].shared_bytes),
            ("whole", 1024)
        );
        assert!(all[0].registers > 0 && all[0].spill_stores + all[0].spill_loads == 0);
    }

    #[test]
    fn multiplications_and_additions_stay_apart() {
        let source = "extern \"C\" __global__ void f(float* x) { x[0] = x[1] * x[2] + x[3]; }";
        let Image::Ptx(text) = compiled(source, Arch::Virtual(80)).image else {
            panic!("asked for PTX");
        };
        assert!(text.contains("mul") && !text.contains("fma"), "{text}");
    }

    #[test]
    fn a_source_with_an_error_shows_the_log() {
        let e = cached(
            nvrtc(),
            None,
            "__global__ void f() { nothing; }",
            Arch::Virtual(80),
        );
        let text = e.expect_err("there is no such name").to_string();
        assert!(
            text.contains("lenetc.cu(1)") && text.contains("bug in lenetc"),
            "{text}"
        );
    }

    #[test]
    fn a_warning_is_in_the_log_and_stays_there_in_the_cache() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(&dir.path().join("c")).expect("the folder is ours");
        let source = "extern \"C\" __global__ void f() { int unused = 1; }";
        for from_cache in [false, true] {
            let c = cached(nvrtc(), Some(&cache), source, Arch::Virtual(80)).expect("it compiles");
            assert!(
                c.cached == from_cache && c.log.contains("warning"),
                "{}",
                c.log
            );
        }
    }

    #[test]
    fn the_second_compilation_comes_from_the_cache() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(&dir.path().join("c")).expect("the folder is ours");
        let get =
            |source: &str, arch| cached(nvrtc(), Some(&cache), source, arch).expect("it compiles");
        for arch in [Arch::Virtual(80), Arch::Virtual(90), Arch::Real(80)] {
            let source = "extern \"C\" __global__ void f() {}";
            let (first, second) = (get(source, arch), get(source, arch));
            assert!(!first.cached && second.cached);
            assert_eq!((first.image, first.log), (second.image, second.log));
            assert!(!get("extern \"C\" __global__ void g() {}", arch).cached);
        }
    }
}
