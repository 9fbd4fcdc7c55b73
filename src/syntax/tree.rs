//! Prints a file as the tree that it was read as: a line for each part, with its place, under what it is part of.
//!
//! Knows no layer by name. Where only some layers are asked for, the others are left out.

use super::ast::*;
use crate::diag::{Lines, Source, Span};
use crate::lines;

/// Columns of a place.
const PLACE: usize = 9;
/// Levels that move a line to the right.
const MOST_DEPTH: usize = 30;

/// The tree, ending in a newline; with `only` no more than the layers at these places, and what they stand in.
pub fn tree(source: &Source, file: &File, only: Option<&[Span]>) -> String {
    let mut t = Tree {
        places: Lines::new(&source.text),
        only,
        out: String::new(),
    };
    for item in &file.items {
        match item {
            Item::Block(b) if t.wants(&b.body) => t.block(b),
            Item::Model(m) if t.wants(&m.body) => {
                t.line(m.span, 0, &format!("model {}", m.name.name));
                t.body(&m.body, 1);
            }
            Item::Train(train) if only.is_none() => {
                t.line(train.span, 0, "train");
                t.entries(&train.entries, 1);
            }
            _ => {}
        }
    }
    t.out
}

struct Tree<'a> {
    places: Lines<'a>,
    only: Option<&'a [Span]>,
    out: String,
}

impl Tree<'_> {
    fn line(&mut self, at: Span, depth: usize, text: &str) {
        let (line, column) = self.places.line_col(at.start as usize);
        let place = format!("{line}:{column}");
        let pad = "  ".repeat(depth.min(MOST_DEPTH));
        let rest = " ".repeat(PLACE + pad.len() + 4);
        let whole = format!("{place:<PLACE$}{pad}{text}");
        self.out += &lines::wrap(&whole, &rest);
        self.out.push('\n');
    }

    /// Whether a layer itself is asked for.
    fn chosen(&self, layer: &Layer) -> bool {
        let call = match &layer.kind {
            LayerKind::Call(c) => c.span,
            _ => layer.span,
        };
        self.only
            .is_none_or(|only| only.contains(&layer.span) || only.contains(&call))
    }

    /// Whether a layer of the body, or one within it, is asked for.
    fn wants(&self, body: &Body) -> bool {
        self.only.is_none() || body.layers.iter().any(|l| self.chosen(l) || self.within(l))
    }

    fn within(&self, layer: &Layer) -> bool {
        match &layer.kind {
            LayerKind::Call(_) => false,
            LayerKind::Repeat(r) => self.wants(&r.body),
            LayerKind::Branches(b) => b.branches.iter().any(|b| self.wants(b)),
        }
    }

    fn block(&mut self, b: &BlockDef) {
        self.line(b.span, 0, &format!("block {}", b.name.name));
        for p in &b.params {
            match &p.default {
                None => self.line(p.name.span, 1, &format!("parameter {}", p.name.name)),
                Some(value) => {
                    let head = format!("parameter {} = ", p.name.name);
                    self.value(p.name.span, 1, &head, value);
                }
            }
        }
        self.body(&b.body, 1);
    }

    fn body(&mut self, body: &Body, depth: usize) {
        for layer in &body.layers {
            if self.chosen(layer) {
                // A chosen layer is shown as a whole.
                let only = self.only.take();
                self.layer(layer, depth);
                self.only = only;
            } else if self.within(layer) {
                self.layer(layer, depth);
            }
        }
    }

    fn layer(&mut self, layer: &Layer, depth: usize) {
        let label = layer.label.as_ref();
        let label = label.map_or(String::new(), |l| format!("{}: ", l.name));
        match &layer.kind {
            LayerKind::Call(c) => {
                self.line(layer.span, depth, &format!("{label}{}", c.name.name));
                self.args(&c.args, depth + 1);
            }
            LayerKind::Repeat(r) => {
                let variable = r.variable.as_ref();
                let variable = variable.map_or(String::new(), |v| format!(" {}", v.name));
                self.line(layer.span, depth, &format!("{label}repeat{variable}"));
                self.value(r.from.span, depth + 1, "from ", &r.from);
                self.value(r.to.span, depth + 1, "to ", &r.to);
                self.body(&r.body, depth + 1);
            }
            LayerKind::Branches(b) => {
                self.line(layer.span, depth, &format!("{label}{}", b.name.name));
                self.args(&b.args, depth + 1);
                for (k, branch) in b.branches.iter().enumerate() {
                    if self.wants(branch) {
                        self.line(branch.span, depth + 1, &format!("branch {k}"));
                        self.body(branch, depth + 2);
                    }
                }
            }
        }
    }

    fn args(&mut self, args: &[Arg], depth: usize) {
        for a in args {
            let name = a.name.as_ref();
            let head = name.map_or(String::new(), |n| format!("{} = ", n.name));
            self.value(a.span, depth, &head, &a.value);
        }
    }

    fn entries(&mut self, entries: &[Entry], depth: usize) {
        for e in entries {
            self.value(e.span, depth, &format!("{} = ", e.name.name), &e.value);
        }
    }

    /// A value behind `head`: in its line where it is a word, else with its parts below.
    fn value(&mut self, at: Span, depth: usize, head: &str, value: &Value) {
        if let Some(word) = word(value) {
            return self.line(at, depth, &format!("{head}{word}"));
        }
        let mut node = |text: &str| self.line(at, depth, &format!("{head}{text}"));
        match &value.kind {
            ValueKind::Tuple(values) => {
                node("tuple");
                self.values(values, depth + 1);
            }
            ValueKind::List(values) => {
                // Numbers in a row are data: a line for all of them.
                match values.iter().map(word).collect::<Option<Vec<_>>>() {
                    Some(words) => node(format!("list {}", words.join(" ")).trim_end()),
                    None => {
                        node("list");
                        self.values(values, depth + 1);
                    }
                }
            }
            ValueKind::Call(c) => {
                node(&c.name.name);
                self.args(&c.args, depth + 1);
            }
            ValueKind::Negative(x) => {
                node("negative");
                self.value(x.span, depth + 1, "", x);
            }
            ValueKind::Binary { op, left, right } => {
                node(sign(*op));
                self.value(left.span, depth + 1, "", left);
                self.value(right.span, depth + 1, "", right);
            }
            ValueKind::Record { name, entries } => {
                node(&name.name);
                self.entries(entries, depth + 1);
            }
            ValueKind::Int(_) | ValueKind::Float(_) | ValueKind::Str(_) | ValueKind::Name(_) => {}
        }
    }

    fn values(&mut self, values: &[Value], depth: usize) {
        for v in values {
            self.value(v.span, depth, "", v);
        }
    }
}

/// A value that has no parts.
fn word(value: &Value) -> Option<String> {
    Some(match &value.kind {
        ValueKind::Int(n) => n.to_string(),
        ValueKind::Float(x) => format!("{x:?}"),
        ValueKind::Str(s) => format!("{s:?}"),
        ValueKind::Name(n) => n.clone(),
        ValueKind::Call(c) if c.args.is_empty() => c.name.name.clone(),
        _ => return None,
    })
}

fn sign(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Remainder => "%",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
block Two(n, m=n * 2) {
    Conv2d(n, kernel_size=(3, 1))
    ReLU
}
model Net {
    input(1, 8, 8)
    stem: Two(4)
    repeat i in 0..3 { Linear(-i) }
    Add { { Identity } { Tanh } }
}
train { data = inline { x = [[1, -0.5], []] }; init = normal(std=0.1) }
";

    const TREE: &str = "\
1:1      block Two
1:11       parameter n
1:14       parameter m = *
1:16         n
1:20         2
2:5        Conv2d
2:12         n
2:15         kernel_size = tuple
2:28           3
2:31           1
3:5        ReLU
5:1      model Net
6:5        input
6:11         1
6:14         8
6:17         8
7:5        stem: Two
7:15         4
8:5        repeat i
8:17         from 0
8:20         to 3
8:24         Linear
8:31           negative
8:32             i
9:5        Add
9:11         branch 0
9:13           Identity
9:24         branch 1
9:26           Tanh
11:1     train
11:9       data = inline
11:25        x = list
11:30          list 1 -0.5
11:41          list
11:48      init = normal
11:62        std = 0.1
";

    fn read() -> (Source, File) {
        let source = Source {
            name: "t.nn".into(),
            text: TEXT.into(),
        };
        let (file, diagnostics) = super::super::parse(&source);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        (source, file)
    }

    #[test]
    fn every_form_is_a_line_with_its_place() {
        let (source, file) = read();
        assert_eq!(tree(&source, &file, None), TREE);
    }

    #[test]
    fn layers_that_are_not_asked_for_are_left_out() {
        let (source, file) = read();
        let at = |text: &str| {
            let start = TEXT.find(text).expect("is there");
            Span::new(start, start + text.len())
        };
        let some = tree(&source, &file, Some(&[at("Tanh"), at("ReLU")]));
        let want = "\
1:1      block Two
1:11       parameter n
1:14       parameter m = *
1:16         n
1:20         2
3:5        ReLU
5:1      model Net
9:5        Add
9:24         branch 1
9:26           Tanh
";
        assert_eq!(some, want);
        assert_eq!(tree(&source, &file, Some(&[])), "");
    }
}
