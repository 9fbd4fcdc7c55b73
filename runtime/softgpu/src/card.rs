//! Which GPU the software GPU stands for: what a program can ask a device for, as NVIDIA publishes it. Names end in
//! `(software)`, so that nobody takes one for hardware. Knows no driver; speed is a host's whatever the card.
//!
//! Sources: the CUDA C++ programming guide's table of limits by compute capability, and NVIDIA's data sheets (memory in
//! GiB as sold, the highest boost clock).

/// Major and minor number.
pub type Capability = (u32, u32);

/// What a capability sets bounds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub shared_multiprocessor_bytes: u32,
    /// Shared memory of a block that asks for more than [`STATIC_SHARED_BYTES`].
    pub shared_block_bytes: u32,
    /// What the system takes of a multiprocessor's shared memory for each block.
    pub shared_reserved_bytes: u32,
    /// Threads and blocks on a multiprocessor at once.
    pub threads: u32,
    pub blocks: u32,
}

/// Static shared memory of a block, and all of it where a kernel does not ask for more.
pub const STATIC_SHARED_BYTES: u32 = 48 << 10;

/// Capability, then of a multiprocessor: shared KiB, most KiB of a block, threads, blocks.
const LIMITS: [(Capability, [u32; 4]); 23] = [
    ((3, 0), [48, 48, 2048, 16]),
    ((3, 5), [48, 48, 2048, 16]),
    ((3, 7), [112, 48, 2048, 16]),
    ((5, 0), [64, 48, 2048, 32]),
    ((5, 2), [96, 48, 2048, 32]),
    ((5, 3), [64, 48, 2048, 32]),
    ((6, 0), [64, 48, 2048, 32]),
    ((6, 1), [96, 48, 2048, 32]),
    ((6, 2), [64, 48, 2048, 32]),
    ((7, 0), [96, 96, 2048, 32]),
    ((7, 2), [96, 96, 2048, 32]),
    ((7, 5), [64, 64, 1024, 16]),
    ((8, 0), [164, 163, 2048, 32]),
    ((8, 6), [100, 99, 1536, 16]),
    ((8, 7), [164, 163, 1536, 16]),
    ((8, 9), [100, 99, 1536, 24]),
    ((9, 0), [228, 227, 2048, 32]),
    ((10, 0), [228, 227, 2048, 32]),
    ((10, 1), [228, 227, 1536, 24]),
    ((10, 3), [228, 227, 2048, 32]),
    ((11, 0), [228, 227, 1536, 24]),
    ((12, 0), [100, 99, 1536, 24]),
    ((12, 1), [100, 99, 1536, 24]),
];

impl Limits {
    /// None for a capability that no GPU has.
    pub fn of(capability: Capability) -> Option<Self> {
        let (_, row) = LIMITS.iter().find(|(known, _)| *known == capability)?;
        let [shared, block, threads, blocks] = *row;
        Some(Self {
            shared_multiprocessor_bytes: shared << 10,
            shared_block_bytes: block << 10,
            shared_reserved_bytes: if capability.0 >= 8 { 1024 } else { 0 },
            threads,
            blocks,
        })
    }

    /// Those of a capability; of one that is not known those of the nearest below, or of the first.
    pub fn nearest(capability: Capability) -> Self {
        let below = LIMITS.iter().rev().find(|(known, _)| *known <= capability);
        let (known, _) = below.unwrap_or(&LIMITS[0]);
        Self::of(*known).expect("it is in the table")
    }

    /// All capabilities, as `5.0, 6.0`.
    pub fn known() -> String {
        let names = LIMITS.map(|((major, minor), _)| format!("{major}.{minor}"));
        names.join(", ")
    }
}

/// A GPU by its name, from the table of those that can be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    pub name: String,
    pub capability: Capability,
    pub limits: Limits,
    pub multiprocessors: u32,
    pub memory_bytes: u64,
    pub clock_khz: u32,
    pub memory_clock_khz: u32,
    /// Of the bus to its memory.
    pub bus_bits: u32,
    pub l2_bytes: u32,
    /// Bytes that its L2 delivers in a cycle.
    pub l2_cycle_bytes: u32,
}

/// A line of the table.
struct Sheet {
    setting: &'static str,
    name: &'static str,
    capability: Capability,
    multiprocessors: u32,
    memory_gib: u64,
    clock_mhz: u32,
    memory_clock_mhz: u32,
    bus_bits: u32,
    l2_kib: u32,
    l2_cycle_bytes: u32,
}

const fn sheet(
    setting: &'static str,
    name: &'static str,
    capability: Capability,
    [
        multiprocessors,
        memory_gib,
        clock_mhz,
        memory_clock_mhz,
        bus_bits,
        l2_kib,
        l2_cycle_bytes,
    ]: [u32; 7],
) -> Sheet {
    Sheet {
        setting,
        name,
        capability,
        multiprocessors,
        memory_gib: memory_gib as u64,
        clock_mhz,
        memory_clock_mhz,
        bus_bits,
        l2_kib,
        l2_cycle_bytes,
    }
}

/// The first is what is meant where nothing is said: an A100 with little memory.
#[rustfmt::skip]
const SHEETS: [Sheet; 11] = [
    // Multiprocessors, memory in GiB, MHz, MHz of the memory, bits of its bus, KiB of L2, bytes a cycle from it.
    sheet("software", "lenetc software GPU",               (8, 0),  [108,  4, 1410,  1215, 5120, 40 << 10, 2000]),
    sheet("h100",     "NVIDIA H100 SXM (software)",        (9, 0),  [132, 80, 1980,  2619, 5120, 50 << 10, 2200]),
    sheet("a100",     "NVIDIA A100 40GB (software)",       (8, 0),  [108, 40, 1410,  1215, 5120, 40 << 10, 2000]),
    sheet("a6000",    "NVIDIA RTX A6000 (software)",       (8, 6),  [ 84, 48, 1800,  8001,  384,  6 << 10, 1280]),
    sheet("rtx5090",  "NVIDIA GeForce RTX 5090 (software)", (12, 0), [170, 32, 2407, 14001, 512, 96 << 10, 2270]),
    sheet("rtx4090",  "NVIDIA GeForce RTX 4090 (software)", (8, 9), [128, 24, 2520, 10501,  384, 72 << 10, 1700]),
    sheet("l4",       "NVIDIA L4 (software)",              (8, 9),  [ 58, 24, 2040,  6251,  192, 48 << 10,  850]),
    sheet("t4",       "NVIDIA T4 (software)",              (7, 5),  [ 40, 16, 1590,  5001,  256,  4 << 10,  800]),
    sheet("gtx1660",  "NVIDIA GeForce GTX 1660 (software)", (7, 5), [ 22,  6, 1785,  4001,  192, 1536,  600]),
    sheet("v100",     "NVIDIA V100 SXM2 16GB (software)",  (7, 0),  [ 80, 16, 1530,   877, 4096,  6 << 10, 1560]),
    sheet("p100",     "NVIDIA P100 PCIe 16GB (software)",  (6, 0),  [ 56, 16, 1303,   715, 4096,  4 << 10, 1220]),
];

impl Card {
    /// The settings of the cards that there are in the world, without that of the software GPU itself.
    pub fn of_nvidia() -> impl Iterator<Item = &'static str> {
        SHEETS.iter().skip(1).map(|sheet| sheet.setting)
    }

    pub fn named(setting: &str) -> Result<Self, String> {
        let found = SHEETS.iter().find(|sheet| sheet.setting == setting);
        let limits = found.and_then(|sheet| Limits::of(sheet.capability));
        let (Some(sheet), Some(limits)) = (found, limits) else {
            let names = SHEETS.map(|sheet| sheet.setting).join(", ");
            return Err(format!("card={setting}: one of {names} belongs here"));
        };
        Ok(Self {
            name: sheet.name.to_string(),
            capability: sheet.capability,
            limits,
            multiprocessors: sheet.multiprocessors,
            memory_bytes: sheet.memory_gib << 30,
            clock_khz: sheet.clock_mhz * 1000,
            memory_clock_khz: sheet.memory_clock_mhz * 1000,
            bus_bits: sheet.bus_bits,
            l2_bytes: sheet.l2_kib << 10,
            l2_cycle_bytes: sheet.l2_cycle_bytes,
        })
    }
}
