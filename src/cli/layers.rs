//! The table of layers that `lenetc check` shows: of each its output with the rule that gave it, and its cost.
//!
//! Where a line would be too wide, the rule stands below its layer, and where that does not suffice, the numbers as
//! well: nothing is left out. Does not know how wide a terminal is.

use lenetc::diag::{grouped, grouped_count};
use lenetc::nest::Macs;
use lenetc::passes::build::{Built, Row};

use super::width;

/// Columns of a layer's path and of its text beside numbers; where they have fewer, the numbers stand below.
const LONGEST_PATH: usize = 24;
const SHORTEST_TEXT: usize = 22;
/// Blanks between columns, and before what stands below.
const GAP: usize = 2;

/// A layer in words.
struct Line {
    path: String,
    text: String,
    /// Output, parameters, multiply-adds, bytes.
    numbers: [String; 4],
    /// The shape rule by dimensions, and what else there is to say.
    remarks: Vec<String>,
}

const NUMBERS: [&str; 4] = ["output", "parameters", "MACs", "bytes"];

/// The table for a page of so many columns, or on lines as long as they become; `name` is the file's.
pub fn table(name: &str, b: &Built, columns: Option<usize>) -> String {
    let mut layers = vec![Line::head(), Line::input(&b.input)];
    layers.extend(b.rows.iter().map(Line::of));
    let layout = Layout::new(&layers, columns);
    let mut lines = layout.head();
    lines.extend(layers[1..].iter().flat_map(|l| layout.lines(l)));
    let total = total(name, &b.rows);
    lines.extend(width::fold(&total, columns.unwrap_or(usize::MAX), GAP));
    lines
        .iter()
        .map(|l| format!("{}\n", l.trim_end()))
        .collect()
}

fn total(name: &str, rows: &[Row]) -> String {
    let sum = |f: fn(&Row) -> u64| rows.iter().map(f).fold(0, u64::saturating_add);
    let macs = rows
        .iter()
        .map(|r| r.macs)
        .fold(Macs::default(), Macs::plus);
    let padded = match macs.terms == macs.padded {
        true => String::new(),
        false => format!(" ({} with those on padding)", grouped(macs.padded)),
    };
    format!(
        "{name}: {}, {} forward{padded}, {} of activations for one image",
        grouped_count(sum(|r| r.parameters), "parameter"),
        grouped_count(macs.terms, "multiply-add"),
        grouped_count(sum(bytes), "byte"),
    )
}

fn bytes(r: &Row) -> u64 {
    r.ty.elements().saturating_mul(4)
}

impl Line {
    fn head() -> Self {
        Self {
            path: "layer".into(),
            text: String::new(),
            numbers: NUMBERS.map(String::from),
            remarks: vec![],
        }
    }

    fn input(dims: &[u32]) -> Self {
        let [a, b, c] = [(); 3].map(|()| String::new());
        Self {
            path: String::new(),
            text: "input".into(),
            numbers: [size(dims), a, b, c],
            remarks: vec![],
        }
    }

    fn of(r: &Row) -> Self {
        let rule = r.rule.split("; ").filter(|part| !part.is_empty());
        let mut remarks: Vec<String> = rule.map(String::from).collect();
        if r.macs.terms != r.macs.padded {
            remarks.push(format!("{} MACs with padding", grouped(r.macs.padded)));
        }
        Self {
            path: r.path.clone(),
            text: r.text.clone(),
            numbers: [
                size(&r.ty.dims),
                some(r.parameters, r.parameters),
                some(r.macs.padded, r.macs.terms),
                some(bytes(r), bytes(r)),
            ],
            remarks,
        }
    }

    /// The layer, its numbers below, and its remarks below those.
    fn below(&self, page: usize) -> Vec<String> {
        // What no fold parts becomes a blank again afterwards.
        let numbers = NUMBERS
            .iter()
            .zip(&self.numbers)
            .filter(|(_, n)| !n.is_empty());
        let numbers: Vec<String> = numbers
            .map(|(name, n)| format!("{name}\u{a0}{n}"))
            .collect();
        let title = format!("{}  {}", self.path, self.text);
        let mut lines = width::fold(title.trim_start(), page, 2 * GAP);
        let numbers = indented(&numbers.join(", "), GAP, page);
        lines.extend(numbers.iter().map(|l| l.replace('\u{a0}', " ")));
        lines.extend(self.remarks_below(GAP, page));
        lines
    }

    /// The remarks on lines of their own.
    fn remarks_below(&self, indent: usize, page: usize) -> Vec<String> {
        let remarks = self.remarks.iter();
        remarks.flat_map(|r| indented(r, indent, page)).collect()
    }
}

/// How lines are laid out.
enum Layout {
    Columns {
        widths: Widths,
        /// The page, where remarks stand below their layer.
        below: Option<usize>,
    },
    /// The numbers below the layer as well, each with its name.
    Below { page: usize },
}

struct Widths {
    path: usize,
    text: usize,
    numbers: [usize; 4],
}

impl Layout {
    /// The widest that fits.
    fn new(lines: &[Line], page: Option<usize>) -> Self {
        let widest = |cell: &dyn Fn(&Line) -> usize| lines.iter().map(cell).max().unwrap_or(0);
        let mut widths = Widths {
            path: widest(&|l| width::of(&l.path)),
            text: widest(&|l| width::of(&l.text)),
            numbers: [0, 1, 2, 3].map(|k| widest(&|l| width::of(&l.numbers[k]))),
        };
        let remark = widest(&|l| width::of(&l.remarks.join("; ")));
        let others = widths.path + widths.numbers.iter().sum::<usize>() + 5 * GAP;
        let whole = others + widths.text + GAP + remark;
        let Some(page) = page.filter(|&page| whole > page) else {
            let below = None;
            return Self::Columns { widths, below };
        };
        let room = page.saturating_sub(others);
        if widths.path > LONGEST_PATH || room < SHORTEST_TEXT.min(widths.text) {
            return Self::Below { page };
        }
        widths.text = room.min(widths.text);
        let below = Some(page);
        Self::Columns { widths, below }
    }

    /// The names of the columns, where there are columns.
    fn head(&self) -> Vec<String> {
        let mut head = Line::head();
        match self {
            Self::Columns { below, .. } => {
                if below.is_none() {
                    head.remarks = vec!["shape".into()];
                }
                self.lines(&head)
            }
            Self::Below { .. } => vec![],
        }
    }

    fn lines(&self, l: &Line) -> Vec<String> {
        match self {
            Self::Columns { widths, below } => widths.lines(l, *below),
            Self::Below { page } => l.below(*page),
        }
    }
}

impl Widths {
    /// A line in columns. A remark stands behind its layer's text where that leaves room for it.
    fn lines(&self, l: &Line, below: Option<usize>) -> Vec<String> {
        let [text, path] = [self.text, self.path];
        let together = format!("{}  {}", l.text, l.remarks.join("; "));
        let short = below.is_some() && !l.remarks.is_empty() && width::of(&together) <= text;
        let mut texts = width::fold(if short { &together } else { &l.text }, text, GAP).into_iter();
        let mut cells = vec![
            width::left(&l.path, path),
            width::left(&texts.next().unwrap_or_default(), text),
            width::left(&l.numbers[0], self.numbers[0]),
        ];
        let counts = l.numbers.iter().zip(self.numbers).skip(1);
        cells.extend(counts.map(|(n, columns)| width::right(n, columns)));
        let indent = " ".repeat(path + GAP);
        let mut lines: Vec<String> = texts.map(|t| format!("{indent}{t}")).collect();
        match below {
            None => cells.push(l.remarks.join("; ")),
            Some(page) if !short => lines.extend(l.remarks_below(path + 2 * GAP, page)),
            Some(_) => {}
        }
        lines.insert(0, cells.join(&" ".repeat(GAP)));
        lines
    }
}

/// A text behind blanks; what does not fit goes on two blanks further in.
fn indented(text: &str, indent: usize, page: usize) -> Vec<String> {
    width::fold(&format!("{}{text}", " ".repeat(indent)), page, indent + GAP)
}

/// Sizes with a sign between them.
fn size(dims: &[u32]) -> String {
    let dims: Vec<String> = dims.iter().map(u32::to_string).collect();
    dims.join("×")
}

/// The number, or nothing where there is nothing to count.
fn some(counted: u64, shown: u64) -> String {
    match counted {
        0 => String::new(),
        _ => grouped(shown),
    }
}

#[cfg(test)]
mod tests {
    use lenetc::ir::TensorType;

    use super::*;

    fn row(path: &str, text: &str, rule: &str, macs: Macs) -> Row {
        Row {
            path: path.into(),
            text: text.into(),
            ty: TensorType::batch([6, 28, 28]),
            rule: rule.into(),
            parameters: 156,
            macs,
        }
    }

    fn built(rows: Vec<Row>) -> Built {
        Built {
            graphs: lenetc::ops::Graphs {
                step: lenetc::ops::Graph::new("m"),
                eval: None,
            },
            input: vec![1, 28, 28],
            output: vec![6, 28, 28],
            rows,
            blocks: vec![],
            least_images: 1,
        }
    }

    fn lenet() -> Built {
        let macs = Macs {
            terms: 107_736,
            padded: 117_600,
        };
        built(vec![
            row(
                "0",
                "Conv2d(out_channels=6, kernel_size=5, padding=2)",
                "height and width: ⌊(28 + 2 + 2 − 5) / 1⌋ + 1 = 28",
                macs,
            ),
            row("1", "Sigmoid", "as its input", Macs::default()),
        ])
    }

    #[test]
    fn one_of_a_kind_is_told_as_one() {
        let mut one = row("0", "Linear(1)", "", Macs::default());
        one.parameters = 1;
        one.macs = Macs {
            terms: 1,
            padded: 1,
        };
        let said = "m.nn: 1 parameter, 1 multiply-add forward, ";
        assert!(total("m.nn", &[one]).starts_with(said));
    }

    #[test]
    fn a_page_has_the_rules_below() {
        let expected = "\
layer                                  output   parameters     MACs   bytes
       input                           1×28×28
0      Conv2d(out_channels=6,          6×28×28         156  107,736  18,816
         kernel_size=5, padding=2)
         height and width: ⌊(28 + 2 + 2 − 5) / 1⌋ + 1 = 28
         117,600 MACs with padding
1      Sigmoid  as its input           6×28×28         156           18,816
m.nn: 312 parameters, 107,736 multiply-adds forward (117,600 with those on
  padding), 37,632 bytes of activations for one image
";
        assert_eq!(table("m.nn", &lenet(), Some(75)), expected);
    }

    #[test]
    fn a_wide_table_has_a_line_for_each_layer() {
        let wide = table("m.nn", &lenet(), None);
        let rule = "⌊(28 + 2 + 2 − 5) / 1⌋ + 1 = 28; 117,600 MACs with padding";
        let lines: Vec<&str> = wide.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(
            lines[0].ends_with("bytes  shape") && lines[2].ends_with(rule),
            "{wide}"
        );
        assert_eq!(
            table("m.nn", &lenet(), Some(1000)),
            wide,
            "as a page that is wide enough"
        );
    }

    #[test]
    fn what_has_no_padding_is_counted_once() {
        let b = built(vec![row(
            "0",
            "Linear",
            "",
            Macs {
                terms: 5,
                padded: 5,
            },
        )]);
        let text = table("m.nn", &b, Some(80));
        assert!(
            text.contains(" 5 multiply-adds forward, ") && !text.contains("padding"),
            "{text}"
        );
    }

    /// Deep paths, long texts, the largest numbers, signs and letters of two columns.
    #[test]
    fn no_line_is_wider_than_the_page() {
        let path = "block.inner.層層層.7.0.1.2.3.4.5.6";
        let text =
            "Conv2d(out_channels=1073741824, kernel_size=(1024, 2048), padding=((1, 2), (3, 4)))";
        let largest = Macs {
            terms: u64::MAX - 1,
            padded: u64::MAX,
        };
        let mut all = lenet();
        all.rows
            .push(row(path, text, "height: ⌊(28 + 2) / 1⌋; width: 7", largest));
        for b in [&all, &lenet()] {
            for columns in 40..200 {
                let table = table("folder/model.nn", b, Some(columns));
                for line in table.lines() {
                    assert!(width::of(line) <= columns, "{columns}: {line}\n{table}");
                }
                for r in &b.rows {
                    let said = table.contains(&grouped(r.macs.terms));
                    assert!(said || r.macs.padded == 0, "{columns}: {table}");
                }
            }
        }
    }
}
