//! Every error with its place and its help.

use super::tests::source;
use super::*;
use crate::diag::line_col;

/// `CODE line:column message | help ; note` of each error.
fn errors(text: &str) -> Vec<String> {
    let source = source(text);
    let (_, diags) = parse(&source);
    let show = |diag: &Diagnostic| {
        let (line, column) = line_col(&source, diag.span().expect("a place").start);
        let help = diag.help.iter().map(|help| format!(" | {help}"));
        let help: String = help.collect();
        let notes: String = diag.notes.iter().map(|note| format!(" ; {note}")).collect();
        format!(
            "{} {line}:{column} {}{help}{notes}",
            diag.code, diag.message
        )
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
            "E0102 2:1 names have no dots | write `c` ; the same stands in line 2",
            "E0102 2:8 expected a new line or `:`, found `=` | a label is written `c: …`",
        ]
    );
    assert_eq!(
        in_body("A(n // 2)"),
        ["E0102 2:5 `//` is not an operator | write `/`, which rounds down"]
    );
}

/// Each kind of slip once, however often it stands in a model that was pasted from Python.
#[test]
fn e0102_habits_are_told_once() {
    let comma = |place: &str, help: &str| {
        format!("E0102 {place} expected a new line or `;` behind the layer, found `,` | {help}")
    };
    let (end, middle) = (
        "a new line is enough, without a comma",
        "in one line, `;` stands between them",
    );
    assert_eq!(in_body("A,\nB"), [comma("2:2", end)]);
    assert_eq!(in_body("A, B"), [comma("2:2", middle)]);
    let more = "; the same stands in 2 more places, the last in line 4";
    assert_eq!(
        in_body("A,\nB, C\nD,"),
        [format!("{} {more}", comma("2:2", end))]
    );
    assert_eq!(
        in_body("nn.A(x=True)\ntorch.nn.B(x=False)\nF.c()"),
        [
            format!("E0102 2:1 names have no dots | write `A` {more}"),
            "E0102 2:8 expected a value, found `True` | write `true` ; the same stands in line 3"
                .into(),
        ]
    );
    assert_eq!(
        in_body("self.a = A()\nself.b = B()")[1],
        "E0102 2:8 expected a new line or `:`, found `=` | a label is written `a: …` ; the same stands in line 3"
    );
    let words = in_body("A(p='same')\nB(p='same')");
    assert_eq!(
        words,
        ["E0101 2:5 unknown character `'` | write same ; the same stands in line 3"]
    );
}

/// What is meant by a slip is read on: the tree is that of the text without slips.
#[test]
fn habits_do_not_change_the_tree() {
    let tree = |body: &str| {
        let (file, _) = parse(&source(&format!("model M {{\n{body}\n}}\n")));
        let Some(Item::Model(model)) = file.items.into_iter().next() else {
            panic!("the text has a model")
        };
        let text = |layer: &Layer| match &layer.kind {
            LayerKind::Call(call) => call.to_string(),
            _ => panic!("all layers are calls"),
        };
        model.body.layers.iter().map(text).collect::<Vec<String>>()
    };
    let pasted = "nn.A(1, p='same', b=True), nn.B(),\nself.c = torch.nn.C(2),";
    assert_eq!(tree(pasted), ["A(1, p=same, b=true)", "B", "C(2)"]);
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
        [
            "E0102 2:7 expected a new line or `;` behind the entry, found `,` | a new line is enough, without a comma ; the same stands in line 3"
        ]
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
