//! Every construct with its tree.

use super::*;
use crate::syntax::ast::{Arg, BinaryOp};

pub(super) fn source(text: &str) -> Source {
    Source {
        name: "test.nn".into(),
        text: text.into(),
    }
}

fn good(text: &str) -> File {
    let (file, diags) = parse(&source(text));
    assert_eq!(diags, [], "{text}");
    file
}

fn layers(text: &str) -> Vec<Layer> {
    let file = good(&format!("model M {{\n{text}\n}}"));
    match file.items.into_iter().next() {
        Some(Item::Model(model)) => model.body.layers,
        other => panic!("{other:?}"),
    }
}

/// A value in few words, so that a test shows its form at a glance.
fn show(value: &Value) -> String {
    let all = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(" ");
    match &value.kind {
        ValueKind::Int(size) => size.to_string(),
        ValueKind::Float(size) => format!("{size:?}"),
        ValueKind::Str(text) => format!("{text:?}"),
        ValueKind::Name(name) => name.clone(),
        ValueKind::Tuple(values) => format!("({})", all(values)),
        ValueKind::List(values) => format!("[{}]", all(values)),
        ValueKind::Call(call) => show_call(call),
        ValueKind::Negative(value) => format!("neg<{}>", show(value)),
        ValueKind::Binary { op, left, right } => {
            format!("<{} {op:?} {}>", show(left), show(right))
        }
        ValueKind::Record { name, entries } => {
            let entries = entries
                .iter()
                .map(|e| format!("{}={}", e.name.name, show(&e.value)));
            format!("{}{{{}}}", name.name, entries.collect::<Vec<_>>().join(" "))
        }
    }
}

fn show_arg(arg: &Arg) -> String {
    let name = arg.name.iter().map(|name| format!("{}=", name.name));
    name.collect::<String>() + &show(&arg.value)
}

fn show_call(call: &Call) -> String {
    let args: Vec<String> = call.args.iter().map(show_arg).collect();
    format!("{}({})", call.name.name, args.join(" "))
}

fn value(text: &str) -> String {
    let layers = layers(&format!("A({text})"));
    match &layers[0].kind {
        LayerKind::Call(call) => show(&call.args[0].value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_shipped_models_are_read() {
    for text in [
        include_str!("../../../models/lenet.nn"),
        include_str!("../../../models/edge.nn"),
    ] {
        assert_eq!(good(text).items.len(), 2);
    }
}

#[test]
fn items_in_source_order_with_their_spans() {
    let text = "block B(n, k=3) { A }\ntrain { a = 1 }\nmodel M { B(2) }\nblock C { A }";
    let file = good(text);
    let [
        Item::Block(b),
        Item::Train(train),
        Item::Model(m),
        Item::Block(c),
    ] = &file.items[..]
    else {
        panic!("{file:?}")
    };
    assert_eq!(b.span.slice(text), "block B(n, k=3) { A }");
    assert_eq!(b.body.span.slice(text), "{ A }");
    assert_eq!(
        (b.params[0].name.name.as_str(), &b.params[0].default),
        ("n", &None)
    );
    assert_eq!(show(b.params[1].default.as_ref().unwrap()), "3");
    assert_eq!(train.span.slice(text), "train");
    assert_eq!(train.entries[0].span.slice(text), "a = 1");
    assert_eq!((m.name.name.as_str(), m.name.span.slice(text)), ("M", "M"));
    assert_eq!((c.name.name.as_str(), c.params.len()), ("C", 0));
}

#[test]
fn layers_end_with_line_semicolon_or_brace() {
    for text in [
        "A; B\nC",
        ";A;;B;C;",
        "A # c ; d\n\n# e\nB\r\nC\r\n",
        "A()\n\tB();C()",
    ] {
        let names: Vec<String> = layers(text)
            .iter()
            .map(|layer| match &layer.kind {
                LayerKind::Call(call) => show_call(call),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["A()", "B()", "C()"], "{text}");
    }
    assert_eq!(
        good("model M { A; B }"),
        good("\u{feff}model M { A; B }").shifted(3)
    );
}

impl File {
    /// The model's layers are the same and stand `by` bytes further left; enough for one test.
    fn shifted(mut self, by: u32) -> File {
        let Some(Item::Model(model)) = self.items.first_mut() else {
            return self;
        };
        let shift = |span: &mut Span| {
            span.start -= by;
            span.end -= by;
        };
        let spans = [&mut model.span, &mut model.name.span, &mut model.body.span];
        spans.into_iter().for_each(shift);
        for layer in &mut model.body.layers {
            shift(&mut layer.span);
            if let LayerKind::Call(call) = &mut layer.kind {
                [&mut call.span, &mut call.name.span]
                    .into_iter()
                    .for_each(shift);
            }
        }
        self
    }
}

#[test]
fn labels_and_repeats() {
    let layers =
        layers("c: Conv(6)\nrepeat 3 { A }\ns: repeat i in n - 1..(m) {\n A(i)\n}\nrepeat: A");
    assert_eq!(layers[0].label.as_ref().unwrap().name, "c");
    assert_eq!(layers[3].label.as_ref().unwrap().name, "repeat");
    let [LayerKind::Repeat(three), LayerKind::Repeat(range)] = [&layers[1].kind, &layers[2].kind]
    else {
        panic!("{layers:?}")
    };
    assert_eq!(
        (show(&three.from), show(&three.to)),
        ("0".into(), "3".into())
    );
    assert!(three.from.span.is_empty() && three.variable.is_none());
    assert_eq!(
        (show(&range.from), show(&range.to)),
        ("<n Subtract 1>".into(), "m".into())
    );
    assert_eq!(range.variable.as_ref().unwrap().name, "i");
    assert_eq!(layers[2].label.as_ref().unwrap().name, "s");
    assert_eq!(range.body.layers.len(), 1);
}

#[test]
fn a_name_before_the_body_of_a_repeat_is_no_record() {
    let layers = layers("repeat n { A }\nrepeat i in a..b { A }\nrepeat f(x=r { y = 1 }) { A }");
    let LayerKind::Repeat(last) = &layers[2].kind else {
        panic!()
    };
    assert_eq!((layers.len(), show(&last.to)), (3, "f(x=r{y=1})".into()));
}

#[test]
fn branches_with_and_without_arguments() {
    let text = "Add { { A } { B; C } {} }\nConcat(dim=1) {\n  {\n A\n }\n\n { B } # c\n}";
    let layers = layers(text);
    let counts = |layer: &Layer| match &layer.kind {
        LayerKind::Branches(b) => {
            let counts: Vec<usize> = b.branches.iter().map(|b| b.layers.len()).collect();
            (b.name.name.clone(), b.args.len(), counts)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(counts(&layers[0]), ("Add".into(), 0, vec![1, 2, 0]));
    assert_eq!(counts(&layers[1]), ("Concat".into(), 1, vec![1, 1]));
}

#[test]
fn literals() {
    let cases = [
        ("28", "28"),
        ("-3", "-3"),
        ("- 3", "-3"),
        ("--3", "neg<-3>"),
        ("-(3)", "neg<3>"),
        ("-n", "neg<n>"),
        ("0.9", "0.9"),
        ("-1e-3", "-0.001"),
        (".5", "0.5"),
        ("1e400000000000 * 0", ""),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("00000000000000000000000000000000000000000012", "12"),
        ("\"C:\\data # x\"", "\"C:\\\\data # x\""),
        ("true", "true"),
    ];
    for (text, shown) in cases.iter().filter(|(_, shown)| !shown.is_empty()) {
        assert_eq!(value(text), *shown, "{text}");
    }
}

#[test]
fn values_of_values() {
    let cases = [
        ("(5)", "5"),
        ("(5,)", "5"),
        ("(5, 3)", "(5 3)"),
        ("((1, 2), (3, 4),)", "((1 2) (3 4))"),
        ("[]", "[]"),
        ("[\n1,\n[2,\n-3],\n]", "[1 [2 -3]]"),
        (
            "a + b * c - 4 / 2 % 3",
            "<<a Add <b Multiply c>> Subtract <<4 Divide 2> Remainder 3>>",
        ),
        ("(a + b) * -c", "<<a Add b> Multiply neg<c>>"),
        ("a\n-\nb", "<a Subtract b>"),
        ("3 -1", "<3 Subtract 1>"),
        ("f(1, k=g())", "f(1 k=g())"),
        ("r { x = [1] y = 2; z = 3\n}", "r{x=[1] y=2 z=3}"),
        ("r { x = a\n y = -b }", "r{x=a y=neg<b>}"),
    ];
    for (text, shown) in cases {
        assert_eq!(value(text), shown, "{text}");
    }
}

#[test]
fn spans_of_values_include_their_parentheses() {
    let text = "model M { A(-3, k=(a + b) * 2) }";
    let file = good(text);
    let Item::Model(model) = &file.items[0] else {
        panic!()
    };
    let LayerKind::Call(call) = &model.body.layers[0].kind else {
        panic!()
    };
    let spans: Vec<&str> = call.args.iter().map(|arg| arg.span.slice(text)).collect();
    assert_eq!(spans, ["-3", "k=(a + b) * 2"]);
    let ValueKind::Binary { op, left, .. } = &call.args[1].value.kind else {
        panic!()
    };
    assert_eq!(
        (*op, left.span.slice(text)),
        (BinaryOp::Multiply, "(a + b)")
    );
    assert_eq!(call.span.slice(text), "A(-3, k=(a + b) * 2)");
}

#[test]
fn inline_data() {
    let file = good(
        "train { data = inline { x = [[1, 2],\n [3, 4]] y = [[0],\n [1]] }\n lr = 1 }\nmodel M {}",
    );
    let Item::Train(train) = &file.items[0] else {
        panic!()
    };
    let shown: Vec<String> = train.entries.iter().map(|e| show(&e.value)).collect();
    assert_eq!(shown, ["inline{x=[[1 2] [3 4]] y=[[0] [1]]}", "1"]);
}
