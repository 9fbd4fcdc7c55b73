//! Settings, as `key=value;key=value`. Knows what they are called and what values they take, not what they do.
//!
//! | key | value | default |
//! |---|---|---|
//! | `sanitize` | `none`, `all`, or some of `init`, `race_shared`, `race_global`, `read_only`, `barrier`, `stream`, `barrier_exit`, joined by `,` or `+`; `all` is without the last | `none` |
//! | `warp_order` | 0 in order, 1 reversed, from 2 on seeds of random orders, of warps within blocks and of blocks | 0 |
//! | `card` | the GPU that is meant, with all that follows up to `name`: `software`, `h100`, `a100`, `rtx4090`, `l4`, `t4`, `gtx1660`, `rtx5090`, `v100`, `p100` | `software` |
//! | `compute` or `capability` | compute capability, as `8.0`, with its limits of threads, blocks and shared memory | 8.0 |
//! | `multiprocessors` | how many the device has | 108 |
//! | `memory` | bytes of a device | 4 GiB |
//! | `pools` | 0 has no allocations in the order of a stream, as some virtual GPUs | 1 |
//! | `spill` | 1 takes what is beyond a device's memory of the host's, as drivers of Windows do | 0 |
//! | `shared` | bytes of shared memory that a block can have when it asks for them | 163 KiB |
//! | `shared_multiprocessor` | bytes of shared memory of a multiprocessor | 164 KiB |
//! | `name` | what the device is called | `lenetc software GPU` |
//! | `devices` | number of devices | 1 |
//! | `max_ptx` | newest PTX version that the driver takes | 8.8 |
//! | `driver` | what `cuDriverGetVersion` says | 12090 |
//! | `fault` | `SYMBOL:N:CODE`, several joined by `,`: the N-th call of SYMBOL from now on, counting from one, returns CODE and does nothing: any number, whether a driver of today knows it or not, and 0 for a call that only says that it was done; the symbol `launch` counts kernels executed, also those of graphs, and `sleep` waits for events of `CU_EVENT_BLOCKING_SYNC` | none |
//! | `count` | 1 counts instructions and accesses | 0 |
//! | `pageable` | `sync`: copies into pageable host memory are complete when the call returns, as CUDA promises; `late`: they happen at the next synchronisation, like those into pinned memory | `sync` |
//! | `simd` | `auto`, or the most that is used of the host's vector instructions: `base`, `avx2`, `avx512`; for modules loaded from now on | `auto` |
//! | `watchdog` | seconds that a kernel may run; 0 for ever | 0 |
//! | `reset` | 1 forgets everything but the settings: contexts, memory, PTX handed over, errors, findings, counters | |
//!
//! In one text `card` counts first and `compute` second, wherever they stand.

use crate::card::{Card, Limits, STATIC_SHARED_BYTES};
use crate::exec::lanes::Level;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the sanitizers look for, beside accesses out of bounds, which are always found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sanitize {
    /// Reads of memory and registers that nobody wrote.
    pub init: bool,
    pub race_shared: bool,
    pub race_global: bool,
    /// Writes of memory that `ld.global.nc` reads in the same launch.
    pub read_only: bool,
    /// Threads that wait at different barrier instructions.
    pub barrier: bool,
    /// Memory freed or read before a stream has got to work that uses it.
    pub stream: bool,
    /// Barriers that some threads of the block exited without reaching.
    pub barrier_exit: bool,
}

impl Sanitize {
    const ALL: Self = Self {
        init: true,
        race_shared: true,
        race_global: true,
        read_only: true,
        barrier: true,
        stream: true,
        barrier_exit: false,
    };

    /// Whether single accesses are looked at.
    pub fn in_accesses(self) -> bool {
        self.init || self.race_shared || self.race_global || self.read_only
    }

    /// Whether kernels must run under a probe.
    pub fn in_kernels(self) -> bool {
        self.in_accesses() || self.barrier || self.barrier_exit
    }
}

/// An error to be returned by the `remaining`-th call from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    pub symbol: String,
    pub remaining: u64,
    pub code: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub sanitize: Sanitize,
    pub warp_order: u32,
    pub card: Card,
    pub devices: u32,
    pub max_ptx: (u32, u32),
    pub driver_version: i32,
    pub faults: Vec<Injected>,
    pub count: bool,
    pub late_pageable: bool,
    /// Whether the device says that memory can be allocated in the order of a stream.
    pub pools: bool,
    /// Whether allocations beyond the device's memory succeed.
    pub spill: bool,
    pub watchdog: Option<Duration>,
    pub simd: Level,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sanitize: Sanitize::default(),
            warp_order: 0,
            card: Card::named("software").unwrap_or_else(|_| unreachable!("it is in the table")),
            devices: 1,
            max_ptx: (8, 8),
            driver_version: 12090,
            faults: Vec::new(),
            count: false,
            late_pageable: false,
            pools: true,
            spill: false,
            watchdog: None,
            simd: Level::detect(),
        }
    }
}

/// What `apply` asks of the caller beside the new settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub reset: bool,
}

impl Config {
    /// Changes what the text names; all of it or, with an error, nothing.
    pub fn apply(&mut self, text: &str) -> Result<Wanted, String> {
        let mut next = self.clone();
        let mut wanted = Wanted::default();
        let pairs = pairs(text)?;
        let set_first = ["card", "compute", "capability"];
        for key in set_first {
            if let Some(value) = pairs.get(key) {
                next.set_card(key, value)?;
            }
        }
        let others = |(key, _): &(&String, &String)| !set_first.contains(&key.as_str());
        for (key, value) in pairs.iter().filter(others) {
            match key.as_str() {
                "reset" => wanted.reset = flag(value)?,
                "fault" => next.faults = faults(value)?,
                _ if next.set_card(key, value)? => {}
                _ => next.set(key, value)?,
            }
        }
        next.check_card()?;
        *self = next;
        Ok(wanted)
    }

    /// Whether the key is one of the card's.
    fn set_card(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let card = &mut self.card;
        match key {
            "card" => *card = Card::named(value)?,
            "compute" | "capability" => {
                card.capability = version(value)?;
                card.limits = Limits::of(card.capability).ok_or_else(|| {
                    format!(
                        "{key}={value}: no GPU has it; known are {}",
                        Limits::known()
                    )
                })?;
            }
            "multiprocessors" => card.multiprocessors = bounded(key, value, 1, 1024)? as u32,
            "memory" => card.memory_bytes = bounded(key, value, 1, 1 << 40)?,
            "shared" => {
                let least = u64::from(STATIC_SHARED_BYTES);
                card.limits.shared_block_bytes = bounded(key, value, least, 1 << 20)? as u32;
            }
            "shared_multiprocessor" => {
                let least = u64::from(STATIC_SHARED_BYTES);
                card.limits.shared_multiprocessor_bytes =
                    bounded(key, value, least, 1 << 20)? as u32;
            }
            "name" => {
                if value.is_empty() || value.len() > 255 || value.contains(char::is_control) {
                    return Err(format!("name={value}: 1 to 255 bytes of text belong here"));
                }
                card.name = value.to_string();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check_card(&self) -> Result<(), String> {
        let limits = &self.card.limits;
        let all = limits.shared_multiprocessor_bytes;
        let most = all - limits.shared_reserved_bytes.min(all - STATIC_SHARED_BYTES);
        if limits.shared_block_bytes <= most {
            return Ok(());
        }
        Err(format!(
            "shared={}: a multiprocessor with {all} bytes leaves a block {most}",
            limits.shared_block_bytes
        ))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "sanitize" => self.sanitize = sanitize(value)?,
            "warp_order" => self.warp_order = number(value)?,
            "devices" => self.devices = bounded(key, value, 0, 1024)? as u32,
            "max_ptx" => self.max_ptx = version(value)?,
            "driver" => self.driver_version = bounded(key, value, 1000, 999_990)? as i32,
            "count" => self.count = flag(value)?,
            "pools" => self.pools = flag(value)?,
            "spill" => self.spill = flag(value)?,
            "pageable" => {
                self.late_pageable = match value {
                    "late" => true,
                    "sync" => false,
                    other => return Err(format!("pageable={other}: late or sync belongs here")),
                }
            }
            "simd" => {
                self.simd = Level::at_most(value).ok_or_else(|| format!("simd={value}"))?;
            }
            "watchdog" => {
                let seconds: u64 = number(value)?;
                self.watchdog = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            other => return Err(format!("unknown key `{other}`")),
        }
        Ok(())
    }
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let parts = text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not key=value"))?;
            Ok((key.trim().to_string(), value.trim().to_string()))
        })
        .collect()
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number that fits"))
}

fn bounded(key: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = number(text)?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{key}={text}: {least} to {most} belongs here"))
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("`{other}`: 0 or 1 belongs here")),
    }
}

fn version(text: &str) -> Result<(u32, u32), String> {
    let (major, minor) = text
        .split_once('.')
        .ok_or_else(|| format!("`{text}` is not MAJOR.MINOR"))?;
    Ok((number(major)?, number(minor)?))
}

fn sanitize(text: &str) -> Result<Sanitize, String> {
    let mut result = Sanitize::default();
    for word in text.split([',', '+']).map(str::trim) {
        match word {
            "none" => {}
            "all" => {
                result = Sanitize {
                    barrier_exit: result.barrier_exit,
                    ..Sanitize::ALL
                }
            }
            "init" => result.init = true,
            "race_shared" => result.race_shared = true,
            "race_global" => result.race_global = true,
            "read_only" => result.read_only = true,
            "barrier" => result.barrier = true,
            "stream" => result.stream = true,
            "barrier_exit" => result.barrier_exit = true,
            other => return Err(format!("unknown sanitizer `{other}`")),
        }
    }
    Ok(result)
}

fn faults(text: &str) -> Result<Vec<Injected>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let fields: Vec<&str> = part.split(':').collect();
            let [symbol, call, code] = fields[..] else {
                return Err(format!("`{part}` is not SYMBOL:N:CODE"));
            };
            let (remaining, code) = (number(call)?, number(code)?);
            if remaining == 0 {
                return Err(format!("`{part}`: calls count from one"));
            }
            Ok(Injected {
                symbol: symbol.to_string(),
                remaining,
                code,
            })
        })
        .collect()
}
