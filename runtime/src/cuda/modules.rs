//! The kernels of a program, in the modules that they are compiled in.
//!
//! NVRTC compiles several modules at a time, and the cache keeps each by its text, so that a kernel that two models
//! have in common need not be compiled twice. What a module holds follows from the kernels alone, never from the machine:
//! neighbours share one up to [`MODULE_BYTES`], a longer kernel has its own, and what steps of training alone launch is
//! apart from what evaluation needs. Does not know compilers or devices.

use super::{Launch, PRELUDE, Program, scalars};

/// Bytes of kernels in a module of more than one. At this length what NVRTC does for every module, 10 to 90 ms by its
/// version, is a small part of the work, and few modules have more than a tenth of a second of it.
const MODULE_BYTES: usize = 8 << 10;

/// A kernel's CUDA C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    pub text: String,
}

/// Kernels that are compiled together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    pub kernels: Vec<Kernel>,
}

/// Which steps launch a kernel.
#[derive(PartialEq, Eq)]
struct Steps {
    train: bool,
    eval: bool,
}

impl Module {
    /// Groups kernels that steps of training and of evaluation launch; their order stays within each group of the same
    /// steps.
    pub fn group(kernels: Vec<Kernel>, train: &[Launch], eval: &[Launch]) -> Vec<Self> {
        let among = |launches: &[Launch], k: &Kernel| launches.iter().any(|l| l.kernel == k.name);
        let mut modules: Vec<(Steps, Self)> = Vec::new();
        for kernel in kernels {
            let steps = Steps {
                train: among(train, &kernel),
                eval: among(eval, &kernel),
            };
            let last = modules.iter_mut().rev().find(|m| m.0 == steps);
            match last.filter(|m| m.1.bytes() + kernel.text.len() <= MODULE_BYTES) {
                Some((_, module)) => module.kernels.push(kernel),
                None => modules.push((
                    steps,
                    Self {
                        kernels: vec![kernel],
                    },
                )),
            }
        }
        modules.into_iter().map(|m| m.1).collect()
    }

    /// The names of its kernels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|k| k.name.as_str())
    }

    fn bytes(&self) -> usize {
        self.kernels.iter().map(|k| k.text.len()).sum()
    }
}

impl Program {
    /// The kernels, module by module.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.modules.iter().flat_map(|m| &m.kernels)
    }

    /// The text of one kernel.
    pub fn kernel_mut(&mut self, name: &str) -> Option<&mut String> {
        let mut all = self.modules.iter_mut().flat_map(|m| &mut m.kernels);
        all.find(|k| k.name == name).map(|k| &mut k.text)
    }

    /// All of it as NVRTC can compile it, with [`scalars`] and [`PRELUDE`].
    pub fn source(&self) -> String {
        self.text_of(self.kernels())
    }

    /// A module as NVRTC compiles it.
    pub fn module_source(&self, module: &Module) -> String {
        self.text_of(module.kernels.iter())
    }

    fn text_of<'a>(&'a self, kernels: impl Iterator<Item = &'a Kernel>) -> String {
        let head = format!("{}{PRELUDE}{}", scalars(&self.scalars), self.functions);
        kernels.fold(head, |text, k| text + "\n" + &k.text)
    }

    /// The part of the program that evaluates: without steps of training, the modules that only they need, and the
    /// memory for gradients.
    pub fn evaluation(mut self) -> Self {
        let launched = |k: &Kernel| self.eval.iter().any(|l| l.kernel == k.name);
        self.modules.retain(|m| m.kernels.iter().any(launched));
        let mut places = self.eval.iter().flat_map(|l| &l.arguments);
        let reads_partials = places.any(|place| matches!(place, super::Place::Partials(_)));
        if !reads_partials {
            self.partial_bytes = 0;
        }
        Self {
            train: vec![],
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, len: usize) -> Kernel {
        Kernel {
            name: name.into(),
            text: "x".repeat(len),
        }
    }

    fn launches(names: &[&str]) -> Vec<Launch> {
        let launch = |name: &&str| Launch {
            kernel: (*name).into(),
            blocks: 1,
            threads: 32,
            arguments: vec![],
        };
        names.iter().map(launch).collect()
    }

    fn names(modules: &[Module]) -> Vec<Vec<&str>> {
        let of = |m| Module::names(m).collect();
        modules.iter().map(of).collect()
    }

    const HALF: usize = MODULE_BYTES / 2;

    #[test]
    fn neighbours_share_a_module_until_it_is_full() {
        let all = ["a", "b", "c", "d", "e"];
        let kernels = [HALF, HALF, 1, MODULE_BYTES, 1];
        let kernels = all.iter().zip(kernels).map(|(n, len)| kernel(n, len));
        let modules = Module::group(kernels.collect(), &launches(&all), &[]);
        assert_eq!(
            names(&modules),
            [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e"]]
        );
    }

    #[test]
    fn what_training_alone_needs_is_apart() {
        let kernels = ["forward", "back", "pool", "update", "close"].map(|n| kernel(n, 10));
        let train = launches(&["forward", "pool", "back", "update"]);
        let eval = launches(&["forward", "pool", "close"]);
        let modules = Module::group(kernels.into(), &train, &eval);
        let expected = [
            vec!["forward", "pool"],
            vec!["back", "update"],
            vec!["close"],
        ];
        assert_eq!(names(&modules), expected);

        let program = Program {
            scalars: vec!["rate".into()],
            functions: "f\n".into(),
            modules,
            train,
            eval,
            batch: 1,
            arena_bytes: 2,
            parameter_bytes: 3,
            partial_bytes: 4,
        };
        assert_eq!(
            program.module_source(&program.modules[2]),
            format!("{}{PRELUDE}f\n\nxxxxxxxxxx", scalars(&program.scalars))
        );
        let evaluation = program.clone().evaluation();
        assert_eq!(
            names(&evaluation.modules),
            [vec!["forward", "pool"], vec!["close"]]
        );
        // The modules that are left are those of the whole, to the letter.
        assert!(
            evaluation
                .modules
                .iter()
                .all(|m| program.modules.contains(m))
        );
        assert!(evaluation.train.is_empty() && evaluation.partial_bytes == 0);
        assert_eq!((evaluation.eval, evaluation.arena_bytes), (program.eval, 2));
    }
}
