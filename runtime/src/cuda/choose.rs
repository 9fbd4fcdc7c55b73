//! Which NVRTC compiles for a device, and into what: a pure rule over versions, so that every pairing of drivers,
//! compilers and devices can be tested without any of them.
//!
//! Machine code for the device's own architecture comes first: a driver loads it whatever its JIT compiler takes, and
//! its registers are those that the tests pin. NVIDIA's minor-version compatibility lets any driver of a major version
//! load machine code of that major version's NVRTC, and of earlier ones; PTX is taken by drivers that are at least as
//! new as the NVRTC that made it, to the minor version (CUDA Compatibility; PTX ISA, release notes). Does not know
//! libraries, files or the driver.

use super::compile::Arch;
use super::error::CudaError;

/// A version of CUDA, as 12.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// From the driver interface's number, as 12040; `None` for 0 and below, which is no version.
    pub fn of_driver(number: i32) -> Option<Self> {
        let number = u32::try_from(number).ok().filter(|&n| n >= 1000)?;
        Some(Self {
            major: number / 1000,
            minor: number % 1000 / 10,
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What decides whether an NVRTC is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    pub version: Version,
    /// Compute capabilities that it compiles for, ascending, as 80 for 8.0.
    pub architectures: Vec<u32>,
}

/// One way to get kernels onto a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The compiler's position in the list that was asked about.
    pub compiler: usize,
    pub arch: Arch,
}

/// Ways in the order in which to try them. There is always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    pub best: Attempt,
    pub others: Vec<Attempt>,
}

/// What came of a way.
pub enum Outcome<T> {
    Loaded(T),
    /// The driver does not take such code; another way may do.
    Refused(CudaError),
}

impl Attempts {
    /// Goes one way after another until kernels are loaded. Where all are refused, why the best one was; any other error
    /// ends it.
    pub fn until_loaded<T>(
        self,
        mut go: impl FnMut(Attempt) -> Result<Outcome<T>, CudaError>,
    ) -> Result<T, CudaError> {
        let refusal = match go(self.best)? {
            Outcome::Loaded(loaded) => return Ok(loaded),
            Outcome::Refused(refusal) => refusal,
        };
        for other in self.others {
            if let Outcome::Loaded(loaded) = go(other)? {
                return Ok(loaded);
            }
        }
        Err(refusal)
    }
}

/// Ways of getting kernels onto a device.
///
/// `driver` is `None` where it does not say its version; then everything is tried. Fails where no compiler's code can
/// run: they are too new for the driver, or none knows the device.
pub fn attempts(
    driver: Option<Version>,
    capability: u32,
    compilers: &[Compiler],
) -> Result<Attempts, CudaError> {
    let mut ranked: Vec<(Rank, Attempt)> = Vec::new();
    for (at, compiler) in compilers.iter().enumerate() {
        let loads = driver.is_none_or(|d| compiler.version.major <= d.major);
        let translates = driver.is_none_or(|d| compiler.version <= d);
        let forms = [
            exact(compiler, capability).filter(|_| loads),
            ptx(compiler, capability).filter(|_| translates),
            related(compiler, capability).filter(|_| loads),
        ];
        for (form, arch) in forms.into_iter().enumerate() {
            let Some(arch) = arch else { continue };
            let newest = std::cmp::Reverse(compiler.version);
            let attempt = Attempt { compiler: at, arch };
            ranked.push((Rank { form, newest }, attempt));
        }
    }
    ranked.sort_by_key(|r| r.0);
    let mut all = ranked.into_iter().map(|r| r.1);
    match all.next() {
        Some(best) => Ok(Attempts {
            best,
            others: all.collect(),
        }),
        None => Err(mismatch(driver, capability, compilers)),
    }
}

/// The form counts first, then the compiler's age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    form: usize,
    newest: std::cmp::Reverse<Version>,
}

/// Machine code for the device itself.
fn exact(compiler: &Compiler, capability: u32) -> Option<Arch> {
    compiler
        .architectures
        .contains(&capability)
        .then_some(Arch::Real(capability))
}

/// PTX of the nearest capability that the device has.
fn ptx(compiler: &Compiler, capability: u32) -> Option<Arch> {
    below(compiler, capability).map(Arch::Virtual)
}

/// Machine code of an earlier minor version, which a device of the same major version runs; systems on a chip and cards
/// do not run each other's.
fn related(compiler: &Compiler, capability: u32) -> Option<Arch> {
    const ON_A_CHIP: [u32; 6] = [53, 62, 72, 87, 101, 110];
    let plain = |c: u32| !ON_A_CHIP.contains(&c);
    let mut earlier = compiler.architectures.iter().rev().copied();
    let found = earlier.find(|&a| a < capability && a / 10 == capability / 10 && plain(a));
    found.filter(|_| plain(capability)).map(Arch::Real)
}

fn below(compiler: &Compiler, capability: u32) -> Option<u32> {
    let mut all = compiler.architectures.iter().rev().copied();
    all.find(|&a| a <= capability)
}

/// Why there is no way.
fn mismatch(driver: Option<Version>, capability: u32, compilers: &[Compiler]) -> CudaError {
    let knowing = compilers.iter().filter(|c| below(c, capability).is_some());
    let oldest = knowing.map(|c| c.version).min();
    match (oldest, driver) {
        (Some(nvrtc), Some(driver)) => CudaError::NewNvrtc { nvrtc, driver },
        _ => CudaError::OldDevice {
            device: capability,
            oldest: compilers
                .iter()
                .filter_map(|c| c.architectures.first().copied())
                .min()
                .unwrap_or(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(major: u32, minor: u32) -> Compiler {
        // What each of NVRTC's releases lists.
        let architectures: &[u32] = match (major, minor) {
            (11, _) => &[
                35, 37, 50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90,
            ],
            (12, 0..8) => &[50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90],
            (12, _) => &[
                50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 103, 120, 121,
            ],
            _ => &[75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121],
        };
        Compiler {
            version: Version { major, minor },
            architectures: architectures.to_vec(),
        }
    }

    fn first(driver: (u32, u32), capability: u32, nvrtc: &[(u32, u32)]) -> String {
        let compilers: Vec<Compiler> = nvrtc.iter().map(|&(a, b)| compiler(a, b)).collect();
        let driver = Version {
            major: driver.0,
            minor: driver.1,
        };
        match attempts(Some(driver), capability, &compilers) {
            Ok(found) => {
                let version = compilers[found.best.compiler].version;
                match found.best.arch {
                    Arch::Real(n) => format!("{version} sm_{n}"),
                    Arch::Virtual(n) => format!("{version} compute_{n}"),
                }
            }
            Err(CudaError::NewNvrtc { nvrtc, .. }) => format!("{nvrtc} is too new"),
            Err(CudaError::OldDevice { oldest, .. }) => format!("from {oldest} on"),
            Err(other) => panic!("{other}"),
        }
    }

    /// The table of docs/cuda.md: driver, NVRTC found, device, what is done.
    #[test]
    fn what_is_compiled_for_each_pairing() {
        let all = [(11, 8), (12, 4), (12, 9), (13, 0)];
        for (driver, nvrtc, capability, expected) in [
            ((12, 0), &[(11, 8)][..], 61, "11.8 sm_61"),
            ((12, 0), &[(12, 4)], 80, "12.4 sm_80"),
            ((12, 4), &[(12, 9)], 61, "12.9 sm_61"),
            ((12, 4), &[(12, 9)], 90, "12.9 sm_90"),
            ((12, 4), &[(13, 0)], 90, "13.0 is too new"),
            ((12, 4), &[(12, 9), (13, 0)], 90, "12.9 sm_90"),
            ((12, 8), &[(12, 9)], 120, "12.9 sm_120"),
            ((12, 8), &[(12, 4)], 120, "12.4 compute_90"),
            ((12, 8), &[(11, 8)], 121, "11.8 compute_90"),
            ((13, 0), &[(11, 8)], 90, "11.8 sm_90"),
            ((13, 0), &[(12, 9)], 75, "12.9 sm_75"),
            ((13, 0), &[(13, 0)], 75, "13.0 sm_75"),
            ((13, 0), &[(13, 0)], 70, "from 75 on"),
            ((12, 9), &[(13, 0)], 61, "from 75 on"),
            ((12, 9), &all, 61, "12.9 sm_61"),
            ((13, 1), &all, 61, "12.9 sm_61"),
            ((13, 1), &all, 121, "13.0 sm_121"),
            ((12, 0), &all, 90, "12.9 sm_90"),
        ] {
            let found = first(driver, capability, nvrtc);
            assert_eq!(
                found, expected,
                "driver {driver:?}, {nvrtc:?}, {capability}"
            );
        }
    }

    fn list(all: &Attempts) -> Vec<Attempt> {
        [&[all.best], &*all.others].concat()
    }

    #[test]
    fn ways_are_gone_until_one_leads_there() {
        let way = |n| Attempt {
            compiler: n,
            arch: Arch::Real(80),
        };
        let ways = || Attempts {
            best: way(0),
            others: vec![way(1), way(2)],
        };
        let refused = |n| CudaError::OldDevice {
            device: 0,
            oldest: n,
        };
        let go = |good: usize, broken: usize| {
            ways().until_loaded(|a| match a.compiler {
                n if n == broken => Err(CudaError::NoDriver),
                n if n == good => Ok(Outcome::Loaded(n)),
                n => Ok(Outcome::Refused(refused(n as u32))),
            })
        };
        assert_eq!(go(0, 9), Ok(0));
        assert_eq!(go(2, 9), Ok(2));
        assert_eq!(go(9, 9), Err(refused(0)), "the best way's refusal is told");
        assert_eq!(go(2, 1), Err(CudaError::NoDriver));
    }

    #[test]
    fn ptx_and_related_code_follow_where_a_driver_refuses_the_best() {
        let compilers = [compiler(12, 4), compiler(12, 9)];
        let driver = Version {
            major: 12,
            minor: 4,
        };
        let all = attempts(Some(driver), 89, &compilers).expect("there are ways");
        let ways: Vec<(usize, Arch)> = list(&all).iter().map(|a| (a.compiler, a.arch)).collect();
        assert_eq!(
            ways,
            [
                (1, Arch::Real(89)),
                (0, Arch::Real(89)),
                (0, Arch::Virtual(89)),
                (1, Arch::Real(86)),
                (0, Arch::Real(86)),
            ]
        );
        let unknown = attempts(None, 90, &[compiler(13, 0)]).expect("there are ways");
        assert_eq!(
            list(&unknown).len(),
            2,
            "a driver that does not say is tried with all"
        );
    }

    #[test]
    fn a_chip_s_code_is_not_a_card_s() {
        let orin_only = Compiler {
            version: Version {
                major: 12,
                minor: 0,
            },
            architectures: vec![80, 87],
        };
        let driver = Version {
            major: 12,
            minor: 0,
        };
        let all = attempts(Some(driver), 89, &[orin_only]).expect("there are ways");
        let archs: Vec<Arch> = list(&all).iter().map(|a| a.arch).collect();
        assert_eq!(archs, [Arch::Virtual(87), Arch::Real(80)]);
    }

    #[test]
    fn versions_are_read_from_the_driver_s_numbers() {
        let version = |n| Version::of_driver(n).map(|v| v.to_string());
        assert_eq!(version(12090).as_deref(), Some("12.9"));
        assert_eq!(version(13000).as_deref(), Some("13.0"));
        assert_eq!(version(0), None);
        assert_eq!(version(-1), None);
    }
}
