//! Small models whose right values are worked out by hand, from the command line, on every instruction set of this
//! machine and on the software GPU.

use std::path::Path;
use std::process::{Command, Output};

#[path = "common/isas.rs"]
mod isas;

/// What chooses each target.
fn targets() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = isas::here()
        .map(|isa| vec!["--isa".to_string(), isa.to_string()])
        .collect();
    let gpu = ["--target", "cuda", "--device", "software"];
    all.push(gpu.map(String::from).to_vec());
    all
}

struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("m.nn"), text).expect("writable");
        Self { folder }
    }

    fn run(&self, args: &[&str], target: &[String]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_lenetc"));
        let mut command = Command::new(program);
        command.current_dir(&self.folder).args(args).args(target);
        command.output().expect("lenetc starts")
    }

    /// What it prints where it ends well.
    fn prints(&self, args: &[&str], target: &[String]) -> String {
        let o = self.run(args, target);
        let said = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.success(), "{args:?} {target:?}: {said}");
        String::from_utf8_lossy(&o.stdout).into_owned()
    }
}

const TWO_LOGITS: &str = "model M { input(2); Identity }\n\
    train { data = inline { x = [[X]] y = [CLASS] }; loss = CrossEntropyLoss; batch_size = 1 }\n";

#[test]
fn cross_entropy_does_not_depend_on_the_size_of_the_logits() {
    for target in targets() {
        for logits in ["1e8, 1e8", "1e3, 1e3", "1e4, 1e4", "1e5, 1e5", "1e6, 1e6"] {
            let model = TWO_LOGITS.replace("X", logits).replace("CLASS", "1");
            let printed = Model::new(&model).prints(&["eval", "m.nn"], &target);
            assert!(printed.contains("loss 0.693,"), "{logits}: {printed}");
        }
    }
}

/// Logits of 10^8: the gradient is (½, −½) and reaches weights and biases.
#[test]
fn the_gradient_of_equal_huge_logits_is_one_half() {
    let model = Model::new(
        "model M { input(1); Linear(2) }\n\
         train { data = inline { x = [[1e6]] y = [1] }; loss = CrossEntropyLoss; optimizer = SGD(lr=1)\n\
         init = constant(100); batch_size = 1; epochs = 1; print_every = 1; print_parameters = true }\n",
    );
    for target in targets() {
        let printed = model.prints(&["m.nn"], &target);
        for part in [
            "step 1: loss 0.693147\n",
            "0.weight [2, 1] = (-499900.00000, 500100.00000)\n",
            "0.bias [2] = (99.50000, 100.50000)\n",
        ] {
            assert!(printed.contains(part), "{target:?}: {printed}");
        }
    }
}

#[test]
fn small_losses_keep_their_digits() {
    for (gap, loss, bias) in [
        ("10", "4.53989e-5", 4.53979e-5),
        ("16", "1.12535e-7", 1.12535e-7),
    ] {
        // The weight is zero and the bias too: what the step changes is the gradient.
        let text = format!(
            "model M {{ input(2); Add {{ {{ Identity }} {{ Linear(2) }} }} }}\n\
             train {{ data = inline {{ x = [[{gap}, 0]] y = [0] }}; loss = CrossEntropyLoss; optimizer = SGD(lr=1)\n\
             init = zeros; batch_size = 1; epochs = 1; print_every = 1 }}\n"
        );
        let model = Model::new(&text);
        for target in targets() {
            let printed = model.prints(&["m.nn", "--save", "w.safetensors"], &target);
            assert!(
                printed.contains(&format!("step 1: loss {loss}\n")),
                "{target:?}: {printed}"
            );
            let saved = model.folder.path().join("w.safetensors");
            let tensors = lenetc_runtime::weights::load(&saved).expect("saved");
            let found = tensors
                .iter()
                .find(|t| t.name == "0.1.0.bias")
                .expect("a bias");
            for (x, sign) in found.data.iter().zip([1.0, -1.0]) {
                let off = f64::from(*x) - sign * bias;
                assert!(off.abs() <= 1e-5 * bias, "{target:?}: {x}, not {bias}");
            }
        }
    }
}

#[test]
fn without_parameters_there_is_a_loss_and_nothing_to_train() {
    let model = Model::new(
        "model M { input(2); Tanh }\n\
         train { data = inline { x = [[1, 2]] y = [[0, 0]] }; loss = MSELoss(reduction=sum); batch_size = 1 }\n",
    );
    for target in targets() {
        let printed = model.prints(&["eval", "m.nn"], &target);
        assert!(printed.contains("loss 1.509"), "{target:?}: {printed}");
        let o = model.run(&["m.nn"], &target);
        let said = String::from_utf8_lossy(&o.stderr);
        assert_eq!(o.status.code(), Some(1), "{target:?}");
        assert!(said.contains("there is nothing to train"), "{said}");
        // Its speed is that of the forward pass.
        model.prints(&["bench", "m.nn", "--seconds", "0.01"], &target);
    }
    let parameters = Model::new(
        "model M { input(2); Linear(2) }\ntrain { data = inline { x = [[1, 2]] y = [1] } }\n",
    );
    let o = parameters.run(&["eval", "m.nn"], &[]);
    assert_eq!(o.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&o.stderr).contains("--weights"));
}
