//! The table of kernels: what each takes of a multiprocessor, and how well it uses memory.
//!
//! Resources are those that ptxas told, counts those of the software GPU. Does not run anything.

use std::collections::BTreeMap;

use lenetc::backend::cuda::Printed;
use lenetc_runtime::cuda::{Occupancy, Program, Resources, Shape, occupancy};
use serde_json::{Value, json};

use super::super::bench::{label, layers};
use super::super::width;
use super::card::Gpu;

/// Blocks of the largest launch of a kernel, and their threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    blocks: u32,
    threads: u32,
}

/// What is known of a kernel.
pub struct Row {
    name: String,
    /// The paths of the layers that it is of.
    layers: Vec<String>,
    grid: Grid,
    /// Not known where the driver makes the machine code.
    resources: Option<Resources>,
    /// None where it is not known, or where not a single block fits.
    occupancy: Option<Occupancy>,
    counts: Value,
}

/// The grids of a program's kernels by their names.
pub fn shapes(p: &Program) -> BTreeMap<String, Grid> {
    let mut all = BTreeMap::<String, Grid>::new();
    for launch in p.train.iter().chain(&p.eval) {
        let grid = Grid {
            blocks: launch.blocks,
            threads: launch.threads,
        };
        let known = all.entry(launch.kernel.clone()).or_insert(grid);
        known.blocks = known.blocks.max(grid.blocks);
        known.threads = known.threads.max(grid.threads);
    }
    all
}

/// The kernels in the order of their launches.
pub fn rows(
    printed: &[Printed],
    grids: &BTreeMap<String, Grid>,
    resources: &[Resources],
    report: &Value,
    device: &Gpu,
) -> Vec<Row> {
    let row = |k: &Printed| {
        let grid = *grids.get(&k.name)?;
        let resources = resources.iter().find(|r| r.kernel == k.name).cloned();
        let occupancy = resources.as_ref().and_then(|r| {
            let shape = Shape::new(grid.blocks, grid.threads, r);
            occupancy(device.capability, device.multiprocessors, shape)
        });
        Some(Row {
            name: k.name.clone(),
            layers: layers(&k.origin),
            grid,
            resources,
            occupancy,
            counts: report["kernels"][&k.name]["counts"].clone(),
        })
    };
    printed.iter().filter_map(row).collect()
}

impl Row {
    /// One count over another; none where the other is zero.
    fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let get = |name: &str| self.counts[name].as_f64().unwrap_or(0.0);
        (get(to) > 0.0).then(|| get(of) / get(to))
    }

    /// Sectors of global memory over the least that its bytes need.
    fn sectors(&self) -> Option<f64> {
        self.ratio("global_sectors", "global_sectors_ideal")
    }

    /// Extra wavefronts of shared memory over the accesses.
    fn conflicts(&self) -> Option<f64> {
        self.ratio("bank_conflicts", "shared_accesses")
    }

    /// Whether a compiler told what it takes.
    pub fn is_known(&self) -> bool {
        self.resources.is_some()
    }

    /// Bytes that a thread stores and loads for want of registers.
    pub fn spilled_bytes(&self) -> u32 {
        let of = |r: &Resources| r.spill_stores + r.spill_loads;
        self.resources.as_ref().map_or(0, of)
    }

    pub fn label(&self) -> String {
        label(&self.name, &self.layers)
    }

    fn numbers(&self) -> [String; 9] {
        let resource = |of: fn(&Resources) -> u32| {
            let known = self.resources.as_ref();
            known.map_or("?".into(), |r| of(r).to_string())
        };
        let held = |of: &dyn Fn(&Occupancy) -> String| {
            let known = self.occupancy.as_ref();
            known.map_or("?".into(), of)
        };
        let share = |x: Option<f64>, text: fn(f64) -> String| x.map_or("-".into(), text);
        [
            self.grid.blocks.to_string(),
            self.grid.threads.to_string(),
            resource(|r| r.registers),
            resource(|r| r.spill_stores + r.spill_loads),
            resource(|r| r.shared_bytes),
            held(&|o| o.blocks.to_string()),
            held(&|o| format!("{:.0}%", 100.0 * o.share())),
            share(self.sectors(), |x| format!("{x:.2}x")),
            share(self.conflicts(), |x| format!("{:.0}%", 100.0 * x)),
        ]
    }

    pub fn json(&self) -> Value {
        let resource = |of: fn(&Resources) -> u32| self.resources.as_ref().map(of);
        let occupancy = self.occupancy.as_ref();
        json!({
            "name": self.name,
            "layers": self.layers,
            "blocks": self.grid.blocks,
            "threads": self.grid.threads,
            "registers": resource(|r| r.registers),
            "spill_stores": resource(|r| r.spill_stores),
            "spill_loads": resource(|r| r.spill_loads),
            "shared_bytes": resource(|r| r.shared_bytes),
            "blocks_per_multiprocessor": occupancy.map(|o| o.blocks),
            "occupancy": occupancy.map(Occupancy::share),
            "bound": occupancy.map(|o| o.bound.name()),
            "sectors": self.sectors(),
            "bank_conflicts": self.conflicts(),
        })
    }
}

/// The heads of the columns, with the blank before each.
const COLUMNS: [(&str, usize); 9] = [
    ("blocks", 8),
    ("threads", 8),
    ("regs", 5),
    ("spills", 7),
    ("shared", 7),
    ("per SM", 7),
    ("warps", 6),
    ("sectors", 8),
    ("conflicts", 10),
];
/// What bounds the blocks of a multiprocessor: the head of the last column, and its columns with the blanks before.
const BOUND: &str = "bound by";
const BOUND_COLUMNS: usize = 11;

/// How rows are laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// The numbers behind a name of so many columns.
    Beside(usize),
    /// The numbers below the name.
    Below,
    /// The same, each behind what it is, folded.
    Named,
}

impl Layout {
    fn new(rows: &[Row], page: usize) -> Self {
        let labels = rows.iter().map(|r| width::of(&r.label()));
        let names = labels.max().unwrap_or(0).max("kernel".len());
        let numbers = COLUMNS.iter().map(|c| c.1).sum::<usize>() + BOUND_COLUMNS;
        match page {
            _ if names + numbers <= page => Self::Beside(names),
            _ if numbers <= page => Self::Below,
            _ => Self::Named,
        }
    }

    fn line(self, name: &str, numbers: &[String; 9], bound: &str, page: usize) -> String {
        let pairs = numbers.iter().zip(COLUMNS);
        let cells: String = pairs.map(|(n, (_, w))| width::right(n, w)).collect();
        let above = || width::fold(name, page, 2).join("\n");
        match self {
            Self::Beside(names) => format!("{}{cells}  {bound}\n", width::left(name, names)),
            Self::Below => format!("{}\n{cells}  {bound}\n", above()),
            Self::Named => {
                let all = numbers.iter().zip(COLUMNS);
                let all = all.map(|(n, (what, _))| format!("{what} {n}, "));
                let all = format!("  {}{BOUND} {bound}", all.collect::<String>());
                format!("{}\n{}\n", above(), width::fold(&all, page, 2).join("\n"))
            }
        }
    }
}

/// The table on a page of so many columns.
pub fn table(rows: &[Row], page: usize) -> String {
    let layout = Layout::new(rows, page);
    let mut out = match layout {
        Layout::Named => String::new(),
        _ => layout.line("kernel", &COLUMNS.map(|c| c.0.to_string()), BOUND, page),
    };
    for r in rows {
        let bound = r.occupancy.map_or("?", |o| o.bound.name());
        out += &layout.line(&r.label(), &r.numbers(), bound, page);
    }
    out
}

#[cfg(test)]
pub mod tests {
    use lenetc::backend::Origin;
    use lenetc::backend::origin::Part;
    use lenetc_runtime::cuda::Launch;

    use super::*;

    fn launch(blocks: u32) -> Launch {
        Launch {
            kernel: "gradients".into(),
            blocks,
            threads: 256,
            arguments: vec![],
        }
    }

    fn program() -> Program {
        Program {
            scalars: vec!["rate".into()],
            functions: String::new(),
            modules: vec![],
            train: vec![launch(300)],
            eval: vec![launch(20)],
            batch: 8,
            arena_bytes: 0,
            parameter_bytes: 0,
            partial_bytes: 0,
        }
    }

    pub fn made(resources: &[Resources]) -> Vec<Row> {
        let parts = ["11", "9", "7"].map(|layer| Part {
            operator: "LinearGradWeight",
            layer: layer.into(),
        });
        let printed = Printed {
            name: "gradients".into(),
            text: String::new(),
            origin: Origin {
                parts: parts.into(),
            },
        };
        let counts = json!({
            "global_sectors": 30, "global_sectors_ideal": 20, "bank_conflicts": 1, "shared_accesses": 4,
        });
        let report = json!({"kernels": {"gradients": {"counts": counts}}});
        let device = Gpu {
            name: "any".into(),
            capability: 80,
            memory_bytes: 1 << 30,
            multiprocessors: 108,
        };
        rows(&[printed], &shapes(&program()), resources, &report, &device)
    }

    pub fn resources() -> Resources {
        Resources {
            kernel: "gradients".into(),
            registers: 97,
            shared_bytes: 24 << 10,
            spill_stores: 8,
            spill_loads: 12,
        }
    }

    #[test]
    fn a_kernel_has_its_largest_launch_and_what_it_takes() {
        let text = table(&made(&[resources()]), 80);
        let expected = "\
kernel
  blocks threads regs spills shared per SM warps sectors conflicts  bound by
gradients (11, 9, 7)
     300     256   97     20  24576      2   25%   1.50x       25%  registers
";
        assert_eq!(text, expected);
        assert_eq!(table(&made(&[resources()]), 120).lines().count(), 2);
        assert_eq!(made(&[resources()])[0].json()["occupancy"], 0.25);
    }

    #[test]
    fn what_no_compiler_told_is_not_known() {
        let row = &made(&[])[0];
        assert_eq!(row.spilled_bytes(), 0);
        let text = table(&made(&[]), 80);
        let numbers = "     300     256    ?      ?      ?      ?     ?   1.50x       25%  ?\n";
        assert!(text.ends_with(numbers), "{text}");
        assert!(row.json()["registers"].is_null() && row.json()["bound"].is_null());
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        for page in 40..130 {
            let text = table(&made(&[resources()]), page);
            for line in text.lines() {
                assert!(width::of(line) <= page, "{page}: {line}");
            }
            for number in [
                "300",
                "256",
                "97",
                "20",
                "24576",
                "25%",
                "1.50x",
                "registers",
            ] {
                assert!(text.contains(number), "{page}: {text}");
            }
        }
    }
}
