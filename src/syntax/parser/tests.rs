//! Every construct with its tree, and every error with its place.

use super::*;
use crate::diag::line_col;
use crate::syntax::ast::{Arg, BinaryOp};

fn source(text: &str) -> Source {
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

/// `CODE line:column message | help` of each error.
fn errors(text: &str) -> Vec<String> {
    let source = source(text);
    let (_, diags) = parse(&source);
    let show = |diag: &Diagnostic| {
        let (line, column) = line_col(&source, diag.span().expect("a place").start);
        let help = diag.help.iter().map(|help| format!(" | {help}"));
        let help: String = help.collect();
        format!("{} {line}:{column} {}{help}", diag.code, diag.message)
    };
    diags.iter().map(show).collect()
}

/// Errors of a model whose body starts in line 2 with `body`.
fn in_body(body: &str) -> Vec<String> {
    errors(&format!("model M {{\n{body}\n}}\n"))
}

/// Errors of `train` whose entries start in line 2.
fn in_train(entries: &str) -> Vec<String> {
    errors(&format!("train {{\n{entries}\n}}\nmodel M {{ A }}"))
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

#[test]
fn e0101_unknown_characters() {
    assert_eq!(
        in_body("A(±2)"),
        [
            "E0101 2:3 unknown character `±` | names are made of the letters a to z and A to Z, digits and `_`"
        ]
    );
    assert_eq!(
        in_body("A(1 − 2)"),
        ["E0101 2:5 unknown character `−` | write `-`"]
    );
    assert_eq!(in_body("A(1 @)"), ["E0101 2:5 unknown character `@`"]);
    assert_eq!(
        in_train("data = idx('dir')"),
        ["E0101 2:12 unknown character `'` | write \"dir\""]
    );
}

#[test]
fn e0102_values() {
    assert_eq!(in_body("A(,)"), ["E0102 2:3 expected a value, found `,`"]);
    assert_eq!(in_body("A(k=)"), ["E0102 2:5 expected a value, found `)`"]);
    assert_eq!(
        in_body("A(k=()) "),
        ["E0102 2:5 expected a value in the parentheses"]
    );
    assert_eq!(
        in_body("A(+3)"),
        ["E0102 2:3 expected a value, found `+` | a positive number has no sign"]
    );
    assert_eq!(
        in_body("A(1_000)"),
        ["E0102 2:3 expected a number, found letters in it | write 1000"]
    );
    assert_eq!(
        in_body("A(0x1f)"),
        ["E0102 2:3 expected a number, found letters in it"]
    );
    assert_eq!(
        in_body("A(5., 2)"),
        ["E0102 2:4 expected `,` or `)`, found `.` | write 5.0"]
    );
    assert_eq!(
        in_body("A(n ** 2)"),
        ["E0102 2:6 expected a value, found `*`"]
    );
}

#[test]
fn e0102_arguments() {
    assert_eq!(
        in_body("A(6 k=5)\nB"),
        ["E0102 2:5 expected `,` or `)`, found `k`"]
    );
    assert_eq!(
        in_body("A(k: 5)"),
        ["E0102 2:4 expected `=`, found `:` | arguments are given as name=value"]
    );
    assert_eq!(
        in_body("A([1, 2]\n [3, 4])"),
        ["E0102 3:2 expected `,` or `)`, found `[`"]
    );
    assert_eq!(
        in_body("A(6)(x)"),
        [
            "E0102 2:5 expected a new line or `;` behind the layer, found `(` | a layer is called once, with all its arguments"
        ]
    );
}

#[test]
fn e0102_python_habits() {
    assert_eq!(
        in_body("Conv2d(6, bias=True)"),
        ["E0102 2:16 expected a value, found `True` | write `true`"]
    );
    assert_eq!(
        in_body("nn.Conv2d(6)"),
        ["E0102 2:1 names have no dots | write `Conv2d`"]
    );
    assert_eq!(
        in_body("self.c = torch.nn.Conv2d(6)"),
        [
            "E0102 2:1 names have no dots | write `c`",
            "E0102 2:8 expected a new line or `:`, found `=` | a label is written `c: …`",
            "E0102 2:10 names have no dots | write `Conv2d`",
        ]
    );
    assert_eq!(
        in_body("A,\nB, C"),
        [
            "E0102 2:2 expected a new line or `;` behind the layer, found `,` | a new line is enough, without a comma",
            "E0102 3:2 expected a new line or `;` behind the layer, found `,` | a new line is enough, without a comma",
        ]
    );
    assert_eq!(
        in_body("A(n // 2)"),
        ["E0102 2:5 `//` is not an operator | write `/`, which rounds down"]
    );
}

#[test]
fn e0102_slashes_for_comments() {
    let comment =
        |place: &str| format!("E0102 {place} `//` starts no comment | comments start with `#`");
    assert_eq!(
        in_body("// it's \"odd\nA // don’t\nB"),
        [comment("2:1"), comment("3:3")]
    );
    assert_eq!(
        in_body("A(1, // one {\n 2 // two (\n)\nB(\n// x\n3)"),
        [comment("2:6"), comment("3:4"), comment("6:1")]
    );
    assert_eq!(
        in_train("a = 1 // one\n// two\nb = 2"),
        [comment("2:7"), comment("3:1")]
    );
    assert_eq!(
        errors("// LeNet\nmodel M { A }"),
        ["E0102 1:1 expected `model`, `block` or `train`, found `//` | comments start with `#`"]
    );
}

#[test]
fn e0102_layers() {
    assert_eq!(in_body("5\nA"), ["E0102 2:1 expected a layer, found `5`"]);
    assert_eq!(
        in_body("A)\nB"),
        ["E0102 2:2 expected a new line or `;` behind the layer, found `)`"]
    );
    assert_eq!(
        in_body(")\nB"),
        ["E0102 2:1 expected a layer, found `)` | it closes nothing"]
    );
    assert_eq!(
        in_body("a:\nB"),
        ["E0102 2:3 expected a layer, found the end of the line"]
    );
    assert_eq!(
        in_body("A\n{ B }\nC"),
        ["E0102 3:1 expected a layer, found `{` | a brace opens behind a name, in the same line"]
    );
    assert_eq!(
        in_body("A B"),
        ["E0102 2:3 expected a new line or `;` behind the layer, found `B`"]
    );
    let help = "layers that take branches are written NAME { { … } { … } }, others without braces";
    assert_eq!(
        in_body("Conv2d(6) {\n Sigmoid\n}\nA"),
        [format!(
            "E0102 3:2 expected a branch `{{ … }}`, found `Sigmoid` | {help}"
        )]
    );
    assert_eq!(
        in_body("Add { { A }, { B } }"),
        ["E0102 2:12 expected a branch `{ … }`, found `,` | nothing stands between branches"]
    );
}

#[test]
fn e0102_repeats() {
    assert_eq!(
        in_body("repeat 0..3 { A }\nB"),
        ["E0102 2:9 expected `{`, found `..` | a range has a name: repeat i in 0..4 { … }"]
    );
    assert_eq!(
        in_body("repeat i in 3 { A }"),
        ["E0102 2:15 expected `..`, found `{` | a range is written 0..4, without its last number"]
    );
    assert_eq!(
        in_body("repeat { A }\nB"),
        ["E0102 2:8 expected a value, found `{` | a list stands in `[` `]`"]
    );
    assert_eq!(
        in_body("repeat 3\nB"),
        ["E0102 2:9 expected `{`, found the end of the line"]
    );
    assert_eq!(
        in_body("repeat 3\n{\nB\n}"),
        [
            "E0102 2:9 expected `{`, found the end of the line | the brace stands at the end of the line before"
        ]
    );
}

#[test]
fn e0102_items() {
    assert_eq!(
        errors("Conv2d(6)\nSigmoid\nmodel M { A }"),
        [
            "E0102 1:1 expected `model`, `block` or `train`, found `Conv2d` | layers stand inside `model NAME { … }`"
        ]
    );
    assert_eq!(
        errors("model M { A }\n}\n@ 'x'\ntrain { = }"),
        [
            "E0102 2:1 expected `model`, `block` or `train`, found `}` | there is one `}` more than there are `{`",
            "E0102 4:9 expected an entry `key = value`, found `=`",
        ]
    );
    assert_eq!(
        errors("modle M { A }\nTrain { a 1 }"),
        [
            "E0102 1:1 expected `model`, `block` or `train`, found `modle` | did you mean `model`?",
            "E0102 2:1 expected `model`, `block` or `train`, found `Train` | did you mean `train`?",
            "E0102 2:11 expected `=`, found `1` | an entry is written key = value",
        ]
    );
    assert_eq!(
        errors("model { A }"),
        ["E0102 1:7 expected a name for the model, found `{`"]
    );
    assert_eq!(
        errors("model M(3) { A }"),
        ["E0102 1:8 expected `{`, found `(` | only a `block` has parameters"]
    );
    assert_eq!(
        errors("block B(3) { A }\nmodel M { B }"),
        ["E0102 1:9 expected a parameter, found `3`"]
    );
    assert_eq!(
        errors("model M\n    A\n}\ntrain { a 1 }"),
        [
            "E0102 1:8 expected `{`, found the end of the line",
            "E0102 4:11 expected `=`, found `1` | an entry is written key = value",
        ]
    );
}

#[test]
fn e0102_entries() {
    let help = "an entry is written key = value";
    assert_eq!(
        in_train("lr: 0.1"),
        [format!("E0102 2:3 expected `=`, found `:` | {help}")]
    );
    assert_eq!(
        in_train("lr 0.1\na = )"),
        [
            format!("E0102 2:4 expected `=`, found `0.1` | {help}"),
            "E0102 3:5 expected a value, found `)`".into(),
        ]
    );
    assert_eq!(
        in_train("lr =\na = 1"),
        ["E0102 2:5 expected a value, found the end of the line"]
    );
    assert_eq!(
        in_train("lr = 1,\na = 1, b = 2"),
        [2, 3].map(|line| format!(
            "E0102 {line}:{} expected a new line or `;` behind the entry, found `,` | a new line is enough, without a comma",
            if line == 2 { 7 } else { 6 }
        ))
    );
    assert_eq!(
        in_train("a = 1 b = 2"),
        ["E0102 2:7 expected a new line or `;` behind the entry, found `b`"]
    );
    assert_eq!(
        in_train("a = r { x = 1, y = 2 }"),
        ["E0102 2:14 expected an entry `key = value`, found `,`"]
    );
}

#[test]
fn e0103_points_at_both_places() {
    let text = "model M {\n    A(6, k=5\n    B\n    C\n}";
    let source = source(text);
    let (file, diags) = parse(&source);
    let places: Vec<_> = diags[0]
        .labels
        .iter()
        .map(|label| (line_col(&source, label.span.start), label.text.as_str()))
        .collect();
    assert_eq!(
        places,
        [((2, 13), "expected `)` here"), ((2, 6), "opened here")]
    );
    assert_eq!(diags[0].help, ["add the missing `)`"]);
    let Item::Model(model) = &file.items[0] else {
        panic!()
    };
    assert_eq!((diags.len(), model.body.layers.len()), (1, 3));
}

#[test]
fn e0103_unclosed() {
    let unclosed = |place: &str, open: &str, close: &str| {
        vec![format!(
            "E0103 {place} `{open}` is never closed | add the missing `{close}`"
        )]
    };
    assert_eq!(errors("model M {\n A\n"), unclosed("2:3", "{", "}"));
    assert_eq!(
        errors("model M {\n Add { { A\n\n# end"),
        unclosed("2:11", "{", "}")
    );
    assert_eq!(
        errors("model M {\n A\n\ntrain {\n a = 1\n}"),
        unclosed("2:3", "{", "}")
    );
    assert_eq!(
        errors("train {\n a = r { x = 1\n\nmodel M { A }"),
        unclosed("2:15", "{", "}")
    );
    assert_eq!(in_body("A(1, 2]\nB"), unclosed("2:7", "(", ")"));
    assert_eq!(in_body("A([1, 2)\nB"), unclosed("2:8", "[", "]"));
    assert_eq!(in_body("A(6; B"), unclosed("2:4", "(", ")"));
    assert_eq!(in_body("A(6 { { B } }"), unclosed("2:4", "(", ")"));
    assert_eq!(
        in_train("a = r { x = [[1],\n [2]\n y = [1] }\nb = 1"),
        unclosed("3:5", "[", "]")
    );
}

#[test]
fn e0104_numbers() {
    let error = |place: &str| vec![format!("E0104 {place} the number is out of range")];
    assert_eq!(in_body("A(9223372036854775808)"), error("2:3"));
    assert_eq!(in_body("A(-9223372036854775809)"), error("2:4"));
    assert_eq!(
        in_body("A(99999999999999999999999999999999999999999999999)"),
        error("2:3")
    );
    assert_eq!(in_body("A(k=1e400)"), error("2:5"));
    assert_eq!(in_body("A(1e-400)"), [""; 0]);
}

#[test]
fn e0105_nesting() {
    let deep = |levels: usize| {
        let (open, close) = ("(".repeat(levels), ")".repeat(levels));
        in_body(&format!("A{open}1{close}\nB(,)"))
    };
    // The body itself is a level.
    assert_eq!(deep(127), ["E0102 3:3 expected a value, found `,`"]);
    assert_eq!(
        deep(128),
        [
            "E0105 2:129 nesting is deeper than 128 | a `block` gives a name to what is nested",
            "E0102 3:3 expected a value, found `,`",
        ]
    );
    assert_eq!(in_body(&format!("A(1{})", " + 1".repeat(126))), [""; 0]);
    assert_eq!(
        in_body(&format!("A(1{})", " + 1".repeat(127)))[0][..5],
        *"E0105"
    );
    assert_eq!(
        in_body(&format!("A({}n)", "-".repeat(127)))[0][..5],
        *"E0105"
    );
}

#[test]
fn e0106_strings() {
    assert_eq!(
        in_train("a = idx(\"dir)\nb = 1"),
        [
            "E0106 2:9 the string has no end | add `\"` before the end of the line",
            "E0103 2:14 `(` is never closed | add the missing `)`",
        ]
    );
}

#[test]
fn e0107_size() {
    let (file, diags) = parse(&source(&"#".repeat(MAX_BYTES + 1)));
    assert_eq!(
        (file.items.len(), diags.len(), diags[0].code),
        (0, 1, "E0107")
    );
}

#[test]
fn e0108_counts() {
    assert_eq!(errors(""), ["E0108 1:1 the file has no model"]);
    assert_eq!(
        errors("train { a = 1 }\n\n"),
        ["E0108 1:16 the file has no model"]
    );
    assert_eq!(
        errors("model A { A }\nmodel B { A }"),
        ["E0108 2:1 the file has two models"]
    );
    assert_eq!(
        errors("train {}\nmodel B { A }\ntrain {}"),
        ["E0108 3:1 the file has two `train` blocks"]
    );
}

#[test]
fn e0109_positional_behind_named() {
    assert_eq!(
        in_body("A(k=1, 2)"),
        [
            "E0109 2:8 a positional argument stands behind a named one | put it first, or give it its name"
        ]
    );
    assert_eq!(in_body("A(f(k=1), 2)"), [""; 0]);
}

#[test]
fn e0110_layers() {
    let most = super::super::MAX_LAYERS;
    assert_eq!(in_body(&"A;".repeat(most - 1)), [""; 0]);
    let errors = in_body(&"A\n".repeat(most));
    assert!(
        errors[0].starts_with("E0110 100001:1 too many layers"),
        "{errors:?}"
    );
}

#[test]
fn errors_come_in_order_and_end_at_fifty() {
    let places: Vec<String> = in_body(&"A(,)\n".repeat(1000));
    assert_eq!(places.len(), 50);
    assert_eq!(places[49], "E0102 51:3 expected a value, found `,`");
}
