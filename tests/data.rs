//! Which data is read, what its numbers stand for, and what is said of it, as a user meets it on the command line.
//!
//! Archives are written here as NumPy writes them: a zip file of headers and plain elements.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use zip::write::{SimpleFileOptions, ZipWriter};

/// Six images of two channels in three classes.
const IMAGES: &str = "model M {\n input(2, 3, 4)\n Flatten; Linear(3)\n}\n\
    train { data = npz(\"x.npz\"); loss = CrossEntropyLoss; optimizer = SGD(lr=0.1); init = zeros; batch_size = 6; \
    epochs = 1; shuffle = false }\n";
const X: usize = 6 * 2 * 3 * 4;
const CLASSES: [u8; 6] = [0, 1, 2, 1, 0, 2];

/// A folder with a model and the archive that it names.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new(model: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("m.nn"), model).expect("writable");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn npz(&self, arrays: &[Array]) {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for array in arrays {
            let options =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            zip.start_file(format!("{}.npy", array.name), options)
                .expect("starts");
            zip.write_all(&array.file()).expect("writes");
        }
        let bytes = zip.finish().expect("ends").into_inner();
        std::fs::write(self.path("x.npz"), bytes).expect("writable");
    }

    /// Runs the program beside the model, where no data set is installed.
    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lenetc"))
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("LENETC_DATA")
            .args(args)
            .output()
            .expect("lenetc starts")
    }

    /// What training prints, to stdout and to stderr.
    fn trains(&self, args: &[&str]) -> (String, String) {
        let o = self.run(&[&["m.nn"], args].concat());
        assert!(o.status.success(), "{}", stderr(&o));
        (stdout(&o), stderr(&o))
    }

    /// Why training is refused.
    fn refused(&self) -> String {
        let o = self.run(&["m.nn"]);
        assert_eq!(o.status.code(), Some(1), "{}{}", stdout(&o), stderr(&o));
        assert!(o.stdout.is_empty(), "{}", stdout(&o));
        stderr(&o)
    }

    /// The weights behind training, as a file.
    fn weights(&self, args: &[&str]) -> Vec<u8> {
        self.trains(&[&["--quiet", "--save", "w.safetensors"], args].concat());
        std::fs::read(self.path("w.safetensors")).expect("saved")
    }
}

fn stdout(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// An array of an archive.
struct Array {
    name: &'static str,
    descr: &'static str,
    fortran: bool,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    fn file(&self) -> Vec<u8> {
        let order = if self.fortran { "True" } else { "False" };
        let sizes: Vec<String> = self.shape.iter().map(|d| format!("{d},")).collect();
        let text = format!(
            "{{'descr': '{}', 'fortran_order': {order}, 'shape': ({}), }}\n",
            self.descr,
            sizes.join(" ")
        );
        let len = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], text.as_bytes(), &self.data].concat()
    }
}

fn array<const N: usize>(
    name: &'static str,
    descr: &'static str,
    shape: &[usize],
    numbers: impl IntoIterator<Item = [u8; N]>,
) -> Array {
    Array {
        name,
        descr,
        fortran: false,
        shape: shape.to_vec(),
        data: numbers.into_iter().flatten().collect(),
    }
}

fn f32s(name: &'static str, shape: &[usize], numbers: impl IntoIterator<Item = f32>) -> Array {
    array(
        name,
        "<f4",
        shape,
        numbers.into_iter().map(f32::to_le_bytes),
    )
}

/// Zeros and ones, exact in every type.
fn pixel(k: usize) -> u8 {
    (k * 5 % 7 % 2) as u8
}

fn images() -> Array {
    let pixels = (0..X).map(|k| f32::from(pixel(k)));
    f32s("x", &[6, 2, 3, 4], pixels)
}

fn labels() -> Array {
    let labels = CLASSES.map(|c| i64::from(c).to_le_bytes());
    array("y", "<i8", &[6], labels)
}

/// The weights that the images give as floats in C order with integers as labels.
fn expected() -> Vec<u8> {
    let case = Case::new(IMAGES);
    case.npz(&[images(), labels()]);
    case.weights(&[])
}

#[test]
fn images_of_every_type_and_order_train_to_the_same_bits() {
    let shape = &[6, 2, 3, 4];
    let all = || (0..X).map(pixel);
    let fortran = {
        // Element (a, b, c, d) of the images, with a fastest.
        let at = |k: usize| {
            let (a, b, c, d) = (k % 6, k / 6 % 2, k / 12 % 3, k / 36);
            ((a * 2 + b) * 3 + c) * 4 + d
        };
        let mut x = f32s("x", shape, (0..X).map(|k| f32::from(pixel(at(k)))));
        x.fortran = true;
        x
    };
    let half = |p: u8| if p == 1 { 0x3c00u16 } else { 0 };
    let inputs = [
        fortran,
        array("x", "<f2", shape, all().map(|p| half(p).to_le_bytes())),
        array("x", ">f8", shape, all().map(|p| f64::from(p).to_be_bytes())),
        array("x", "|b1", shape, all().map(|p| [p])),
        array("x", "|i1", shape, all().map(|p| [p])),
        array("x", "<u2", shape, all().map(|p| u16::from(p).to_le_bytes())),
        array("x", ">i4", shape, all().map(|p| i32::from(p).to_be_bytes())),
        array("x", "<u8", shape, all().map(|p| u64::from(p).to_le_bytes())),
        array("x", "<i8", shape, all().map(|p| i64::from(p).to_le_bytes())),
    ];
    let expected = expected();
    for x in inputs {
        let (descr, fortran) = (x.descr, x.fortran);
        let case = Case::new(IMAGES);
        case.npz(&[x, labels()]);
        assert_eq!(
            case.weights(&[]),
            expected,
            "{descr}, Fortran order: {fortran}"
        );
    }
    // Bytes are divided by 255.
    let case = Case::new(IMAGES);
    case.npz(&[array("x", "|u1", shape, all().map(|p| [p * 255])), labels()]);
    assert_eq!(case.weights(&[]), expected);
}

fn labels_of_every_type() -> Vec<Array> {
    let half = |c| [0u16, 0x3c00, 0x4000][usize::from(c)].to_le_bytes();
    let mut column = labels();
    column.shape = vec![6, 1];
    let mut fortran = labels();
    (fortran.shape, fortran.fortran) = (vec![6, 1], true);
    vec![
        column,
        fortran,
        array("y", "|u1", &[6], CLASSES.map(|c| [c])),
        array(
            "y",
            ">u8",
            &[6],
            CLASSES.map(|c| u64::from(c).to_be_bytes()),
        ),
        array("y", "<f2", &[6, 1], CLASSES.map(half)),
        f32s("y", &[6], CLASSES.map(f32::from)),
        array(
            "y",
            "<f8",
            &[6],
            CLASSES.map(|c| f64::from(c).to_le_bytes()),
        ),
    ]
}

#[test]
fn classes_of_every_type_train_to_the_same_bits() {
    let expected = expected();
    for y in labels_of_every_type() {
        let (descr, shape) = (y.descr, y.shape.clone());
        let case = Case::new(IMAGES);
        case.npz(&[images(), y]);
        assert_eq!(case.weights(&[]), expected, "{descr} {shape:?}");
    }
}

#[test]
fn classes_from_floats_are_the_same_on_a_gpu() {
    let gpu = ["--target", "cuda", "--device", "software"];
    let loss = |y: Array, args: &[&str]| {
        let case = Case::new(IMAGES);
        case.npz(&[images(), y]);
        let (text, _) = case.trains(&[args, &["--quiet", "--epochs", "3"]].concat());
        let line = text.lines().next().expect("closing lines").to_string();
        assert!(text.contains("x.npz: 6 images, no test set"), "{text}");
        line
    };
    let floats = || f32s("y", &[6, 1], CLASSES.map(f32::from));
    let expected = loss(labels(), &[]);
    assert_eq!(loss(labels(), &gpu), expected);
    assert_eq!(loss(floats(), &gpu), expected);
    assert_eq!(loss(floats(), &[]), expected);
}

#[test]
fn labels_that_are_no_classes_are_named() {
    let case = Case::new(IMAGES);
    let refused = |y: Array| {
        case.npz(&[images(), y]);
        case.refused()
    };
    let mut wrong = CLASSES;
    wrong[4] = 12;
    assert_eq!(
        refused(array("y", "|u1", &[6], wrong.map(|c| [c]))),
        "error: x.npz, array y: label 4 is 12; the model has 3 classes, 0 to 2\n  \
         = help: correct the label, or give the last layer more outputs\n"
    );
    let text = refused(f32s("y", &[6], [0.0, 1.0, 0.5, 0.0, 0.0, 0.0]));
    assert!(text.contains("array y: label 2 is 0.5;") && text.contains("MSELoss takes values"));
    let rows = CLASSES.map(|c| [0, 1, 2].map(|k| f64::from(u8::from(k == c)).to_le_bytes()));
    assert_eq!(
        refused(array("y", "<f8", &[6, 3], rows.into_iter().flatten())),
        "error: x.npz, array y: the shape [6, 3] holds one-hot rows, not classes: row 0 has its one at 0\n  \
         = help: save y.argmax(axis=1), the place of each one: 0, 1, 2, 1, …\n"
    );
    let text = refused(f32s("y", &[6, 2], [0.5; 12]));
    assert!(
        text.contains("its shape is [6, 2], not [N] or [N, 1] for N examples"),
        "{text}"
    );
    let text = refused(f32s("y", &[5], [0.0; 5]));
    assert!(text.contains("6 inputs, but 5 labels"), "{text}");
}

/// A model whose data is written in it; `rest` are other entries of `train`.
fn inline(body: &str, x: &str, y: &str, rest: &str) -> Case {
    Case::new(&format!(
        "model M {{\n {body}\n}}\ntrain {{ data = inline {{ x = {x}\n y = {y} }}\n optimizer = SGD(lr=0.1); \
         init = zeros; batch_size = 4; epochs = 1; print_parameters = true; {rest} }}\n"
    ))
}

#[test]
fn the_loss_decides_what_whole_numbers_are() {
    let case = inline(
        "input(1)\n Linear(1)",
        "[[1], [2]]",
        "[1, 2]",
        "loss = MSELoss",
    );
    let (text, _) = case.trains(&["--metrics", "m.jsonl"]);
    assert!(text.contains("loss 2.500"), "{text}");
    let metrics = std::fs::read_to_string(case.path("m.jsonl")).expect("written");
    let step: serde_json::Value =
        serde_json::from_str(metrics.lines().next().expect("a step")).expect("JSON");
    assert_eq!(step["loss"], 2.5);
    // Integers from a file are values as well.
    let case = Case::new(
        "model M {\n input(1)\n Linear(1)\n}\ntrain { data = npz(\"x.npz\"); loss = MSELoss; init = zeros; epochs = 1 }\n",
    );
    case.npz(&[
        f32s("x", &[2, 1], [1.0, 2.0]),
        array("y", "|u1", &[2], [[1], [2]]),
    ]);
    assert!(case.trains(&[]).0.contains("loss 2.500"));
}

#[test]
fn classes_in_a_column_train_as_those_of_a_file() {
    let body = "input(1)\n Linear(3)";
    let written = |y| inline(body, "[[1], [2], [3]]", y, "loss = CrossEntropyLoss").weights(&[]);
    let column = written("[[0], [1], [2]]");
    assert_eq!(column, written("[0, 1, 2]"));
    let case = Case::new(
        "model M {\n input(1)\n Linear(3)\n}\ntrain { data = npz(\"x.npz\"); optimizer = SGD(lr=0.1); init = zeros; \
         batch_size = 4; epochs = 1 }\n",
    );
    case.npz(&[
        f32s("x", &[3, 1], [1.0, 2.0, 3.0]),
        array("y", "<i8", &[3, 1], [0i64, 1, 2].map(i64::to_le_bytes)),
    ]);
    assert_eq!(case.weights(&[]), column);
}

#[test]
fn transposed_arrays_are_refused_with_both_shapes() {
    let case = Case::new(
        "model M { input(1, 2, 3)\n Identity\n Conv2d(1, 1, bias=false)\n}\ntrain { data = npz(\"x.npz\"); \
         loss = MSELoss(reduction=sum); init = constant(1); epochs = 1 }\n",
    );
    let x = || f32s("x", &[2, 1, 2, 3], (0..12).map(|k| k as f32));
    let y = |shape: &[usize]| f32s("y", shape, (0..12).map(|k| k as f32));
    for shape in [&[2, 1, 2, 3][..], &[2, 2, 3]] {
        case.npz(&[x(), y(shape)]);
        assert!(case.trains(&[]).0.contains("\nloss 0.000\n"));
    }
    for shape in [&[2, 1, 3, 2][..], &[2, 3, 2], &[2, 6], &[2, 2, 3, 1]] {
        case.npz(&[x(), y(shape)]);
        assert_eq!(
            case.refused(),
            format!(
                "error: x.npz, array y: its shape is {shape:?}, the model's output is [1, 2, 3]\n  \
                 = help: [N, 1, 2, 3] would fit N examples\n"
            )
        );
    }
    let case = inline(
        "input(1, 2, 3)\n Conv2d(1, 1)",
        "[[[[1, 2], [3, 4], [5, 6]]]]",
        "[[[[1, 2, 3], [4, 5, 6]]]]",
        "loss = MSELoss",
    );
    assert_eq!(
        case.refused(),
        "error: inline data, array x: its shape is [1, 1, 3, 2], the model's input is [1, 2, 3]\n  \
         = help: [N, 1, 2, 3] would fit N examples\n"
    );
}

#[test]
fn one_example_may_be_written_without_a_list() {
    let train = |x, y| {
        let body = "input(1, 2, 3)\n Conv2d(1, kernel_size=(1, 2))";
        inline(body, x, y, "loss = MSELoss").weights(&[])
    };
    let listed = train("[[[[1, 2, 3], [4, 5, 6]]]]", "[[[[1, 1], [1, 1]]]]");
    let alone = train("[[[1, 2, 3], [4, 5, 6]]]", "[[[1, 1], [1, 1]]]");
    let without_channels = train("[[1, 2, 3], [4, 5, 6]]", "[[1, 1], [1, 1]]");
    assert!(listed == alone && alone == without_channels);
}

#[test]
fn arrays_may_be_called_after_their_part() {
    let case = Case::new(IMAGES);
    let called = |mut array: Array, name| {
        array.name = name;
        array
    };
    let test = || [called(images(), "x_test"), called(labels(), "y_test")];
    let [x_test, y_test] = test();
    case.npz(&[
        called(images(), "x_train"),
        called(labels(), "y_train"),
        x_test,
        y_test,
    ]);
    assert_eq!(case.weights(&[]), expected());
    let (text, messages) = case.trains(&[]);
    assert_eq!(messages, "note: x.npz: 6 images to train on, 6 to test\n");
    assert!(text.contains("test acc"), "{text}");
    let [x_test, _] = test();
    case.npz(&[images(), labels(), x_test]);
    assert!(
        case.refused()
            .contains("array y_test is missing; the file holds x, x_test, y")
    );
    case.npz(&[images(), labels(), called(images(), "x_train")]);
    assert!(
        case.refused()
            .contains("two training sets\n  = help: keep x and y")
    );
}

#[test]
fn files_that_are_no_archives_are_called_by_their_names() {
    let case = Case::new(IMAGES);
    let refused = |bytes: &[u8]| {
        std::fs::write(case.path("x.npz"), bytes).expect("writable");
        case.refused()
    };
    let text = refused(&images().file());
    assert!(
        text.contains("x.npz: it is a single NumPy array (.npy)"),
        "{text}"
    );
    assert!(refused(b"\x1f\x8b\x08\0\0\0\0\0").contains("it is compressed with gzip"));
    assert!(refused(b"").contains("it is empty"));
    let none = |name, shape: &[usize]| f32s(name, shape, []);
    case.npz(&[none("x", &[0, 2, 3, 4]), none("y", &[0])]);
    assert!(case.refused().contains("the shape [0] holds no element"));
}

#[test]
fn numbers_that_teach_nothing_are_warned_of() {
    let case = Case::new(IMAGES);
    case.npz(&[f32s("x", &[6, 2, 3, 4], [0.5; X]), labels()]);
    // Warnings are said even where notes are not.
    let (_, messages) = case.trains(&["--quiet"]);
    assert_eq!(
        messages,
        "warning: x.npz, array x: all inputs of all 6 examples are 0.5\n"
    );
    let mut x: Vec<f32> = (0..X).map(|k| f32::from(pixel(k))).collect();
    (x[X - 1], x[27]) = (f32::INFINITY, f32::NAN);
    case.npz(&[f32s("x", &[6, 2, 3, 4], x), labels()]);
    let text = case.refused();
    let warning = "warning: x.npz, array x: number [1, 0, 0, 3] is NaN; 2 of 144 are not finite\n";
    assert!(text.contains(warning), "{text}");
    let case = inline("input(1)\n Linear(1)", "[1, 2]", "[3, 4]", "loss = MSELoss");
    let (_, messages) = case.trains(&["--data", "elsewhere", "--quiet"]);
    assert!(
        messages.starts_with("warning: --data is not used"),
        "{messages}"
    );
}

#[test]
fn a_run_says_which_data_it_used() {
    let case = Case::new(IMAGES);
    case.npz(&[images(), labels()]);
    let (text, messages) = case.trains(&["--save", "w.safetensors"]);
    assert_eq!(
        messages,
        "note: x.npz: 6 images to train on, no test set\n\
         note: no test set, so nothing is known of other examples: add x_test and y_test\n"
    );
    let last = text.lines().last().expect("closing lines");
    assert!(
        last.contains(" examples/sec on cpu (")
            && last.ends_with("), x.npz: 6 images, no test set")
    );
    let o = case.run(&["eval", "m.nn", "--weights", "w.safetensors"]);
    assert!(
        stdout(&o).starts_with("train loss ") && stdout(&o).ends_with(" (6 images of x.npz)\n")
    );
}

#[test]
fn a_named_data_set_is_said_with_its_place() {
    let text = "model M {\n input(1, 28, 28)\n Flatten; Linear(10)\n}\ntrain { data = fashion_mnist; init = zeros }\n";
    let case = Case::new(text);
    let o = case.run(&["m.nn", "--steps", "1", "--save", "w.safetensors"]);
    let installed = Path::new("/usr/share/datasets/fashion-mnist").exists();
    let (sizes, place) = match installed {
        true => (
            "60,000 images to train on, 10,000 to test",
            "from /usr/share/datasets/fashion-mnist",
        ),
        false => (
            "10,000 images to train on, 2,000 to test",
            "a compiled-in subset",
        ),
    };
    let first = format!("note: fashion_mnist: {sizes}, {place}\n");
    assert!(stderr(&o).starts_with(&first), "{}", stderr(&o));
    assert!(installed || stderr(&o).contains("dataset-fashion-mnist"));
    let closing = format!(" images, {place}\n");
    assert!(stdout(&o).ends_with(&closing), "{}", stdout(&o));

    // The same weights on other data give another result, and it says so.
    let eval = |args: &[&str]| {
        let o = case.run(&[&["eval", "m.nn", "--weights", "w.safetensors"], args].concat());
        assert!(o.status.success(), "{}", stderr(&o));
        stdout(&o)
    };
    assert!(eval(&[]).contains(&format!(" images of fashion_mnist, {place})")));
    let folder = case.path("mine");
    std::fs::create_dir(&folder).expect("writable");
    for part in ["train", "t10k"] {
        let images = [
            &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28][..],
            &[7; 784],
        ]
        .concat();
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).expect("writable");
        let labels = [0, 0, 8, 1, 0, 0, 0, 1, 3];
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).expect("writable");
    }
    let mine = eval(&["--data", "mine"]);
    assert!(
        mine.ends_with("(1 image of fashion_mnist, from mine)\n"),
        "{mine}"
    );
}

#[test]
fn mnist_says_which_files_it_wants_and_who_has_them() {
    let case = Case::new(
        "model M {\n input(1, 28, 28)\n Flatten; Linear(10)\n}\ntrain { data = mnist }\n",
    );
    let text = case.refused();
    for said in [
        "error: mnist is not installed\n  looked in ",
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        "No package of Debian has them",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "MNIST/raw",
        "LENETC_DATA",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

/// A double that f32 does not reach is an error with its value, not an infinity in the data.
#[test]
fn a_number_beyond_the_range_of_floats_is_named() {
    let case = Case::new(IMAGES);
    let far = (0..X).map(|k| if k == 30 { 1e300f64 } else { 0.5 });
    let x = array("x", "<f8", &[6, 2, 3, 4], far.map(f64::to_le_bytes));
    case.npz(&[x, labels()]);
    let text = case.refused();
    assert!(
        text.contains("array x: number [1, 0, 1, 2] is 1e300, which f32 does not reach"),
        "{text}"
    );
}

/// What is shown of a model is what would run on its data, where that can be opened.
#[test]
fn a_model_is_shown_as_its_data_has_it_where_that_is_there() {
    let case = Case::new(IMAGES);
    let graph = || {
        let o = case.run(&["emit", "m.nn", "--stage", "ir"]);
        assert!(o.status.success(), "{}", stderr(&o));
        stdout(&o)
    };
    assert!(graph().contains("f32[*,2,3,4]"), "{}", graph());
    let bytes = (0..X).map(|k| [pixel(k)]);
    case.npz(&[array("x", "|u1", &[6, 2, 3, 4], bytes), labels()]);
    assert!(graph().contains("u8[*,2,3,4]"), "{}", graph());
    case.npz(&[images(), labels()]);
    assert!(graph().contains("f32[*,2,3,4]"), "{}", graph());
    std::fs::write(case.path("x.npz"), "no archive").expect("writable");
    assert!(graph().contains("f32[*,2,3,4]"), "{}", graph());
}

/// The mean of a loss with weights divides by the weights of what it is a mean of: of a batch, an epoch, an evaluation.
#[test]
fn a_weighted_mean_divides_by_the_weights_of_its_examples() {
    let body = "model M {\n input(1)\n Linear(3)\n}\n";
    let train = "train { data = inline { x = [[0], [0], [0], [0]] y = [0, 0, 1, 2] }\n \
        loss = CrossEntropyLoss(weight=[0.5, 4, 1]); init = zeros; optimizer = SGD(lr=1e-30); batch_size = 3\n \
        epochs = 1; shuffle = false; print_every = 1 }\n";
    let case = Case::new(&format!("{body}{train}"));
    let (out, _) = case.trains(&["--save", "w.safetensors"]);
    // Each example has a loss of ln 3, whatever it weighs.
    for step in [1, 2] {
        let said = format!("step {step}: loss 1.098612");
        assert!(out.contains(&said), "{out}");
    }
    assert!(out.contains("epoch  1/1: loss 1.099,"), "{out}");
    let evaluated = case.run(&["eval", "m.nn", "--weights", "w.safetensors"]);
    let evaluated = stdout(&evaluated);
    assert!(evaluated.starts_with("train loss 1.099"), "{evaluated}");
}
