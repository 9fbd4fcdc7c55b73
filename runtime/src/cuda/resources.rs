//! What a kernel takes of a GPU, as ptxas says in its log.

/// Registers and memory of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    pub kernel: String,
    /// For each thread.
    pub registers: u32,
    /// Static shared memory of a block.
    pub shared_bytes: u32,
    /// Bytes that a thread stores to memory for want of registers.
    pub spill_stores: u32,
    /// The same, read back.
    pub spill_loads: u32,
}

/// Reads the log of `--ptxas-options=-v`, in its order. Lines of another kind are passed by.
pub fn resources(log: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            all.push(Resources {
                kernel: rest.split('\'').next().unwrap_or(rest).into(),
                registers: 0,
                shared_bytes: 0,
                spill_stores: 0,
                spill_loads: 0,
            });
        } else if let Some(last) = all.last_mut() {
            let fields = [
                ("registers", &mut last.registers),
                ("bytes smem", &mut last.shared_bytes),
                ("bytes spill stores", &mut last.spill_stores),
                ("bytes spill loads", &mut last.spill_loads),
            ];
            for (unit, field) in fields {
                if let Some(n) = number_before(line, unit) {
                    *field = n;
                }
            }
        }
    }
    all
}

/// The number that stands before a unit.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let (before, _) = line.split_once(unit)?;
    before.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_ptxas_is_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'one' for 'sm_80'\n\
            ptxas info    : Function properties for one\n    \
            16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 2048 bytes smem, 380 bytes cmem[0]\n\
            ptxas info    : Compiling entry function 'two' for 'sm_80'\n\
            ptxas info    : Used 8 registers, used 0 barriers\n";
        let of = |kernel: &str, n: [u32; 4]| Resources {
            kernel: kernel.into(),
            registers: n[0],
            shared_bytes: n[1],
            spill_stores: n[2],
            spill_loads: n[3],
        };
        assert_eq!(
            resources(log),
            [of("one", [40, 2048, 8, 12]), of("two", [8, 0, 0, 0])]
        );
    }
}
