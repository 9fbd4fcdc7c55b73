//! Names in printed code: those of the kernel, told apart where two would meet.
//!
//! A variable's name holds in its loop only, so that loops one after the other may use the same. Does not know C.

use std::collections::BTreeMap;

use crate::nest::loops::{BufId, Kernel, RegId, Space, Var};

/// What kernels call by these names is not theirs: a buffer of such a name would hide it.
const TAKEN: [&str; 37] = [
    "step",
    "losses",
    "correct",
    "results",
    "shared",
    "thread",
    "valid",
    "sigmoid",
    "inverse_sqrt",
    "greater",
    "smaller",
    "random_number",
    "account",
    "advance",
    "int",
    "float",
    "char",
    "u8",
    "u64",
    "max",
    "min",
    "floor_div",
    "fmaf",
    "expf",
    "logf",
    "log1pf",
    "tanhf",
    "expm1f",
    "erff",
    "sqrtf",
    "fabsf",
    "load2",
    "load4",
    "store2",
    "store4",
    "float2",
    "float4",
];

/// What was known where a scope starts.
pub struct Scope {
    taken: usize,
    renamed: usize,
}

pub struct Names {
    /// Names in scope, in the order in which they came.
    taken: Vec<String>,
    /// The kernel's own names of global buffers.
    parameters: BTreeMap<BufId, String>,
    /// What buffers were called before, in the order in which that changed.
    renamed: Vec<(BufId, String)>,
    buffers: BTreeMap<BufId, String>,
    regs: BTreeMap<RegId, String>,
    vars: BTreeMap<Var, String>,
}

impl Names {
    /// The names of a kernel's global buffers.
    pub fn new(k: &Kernel) -> Self {
        let mut names = Self {
            taken: TAKEN.map(String::from).into(),
            parameters: BTreeMap::new(),
            renamed: vec![],
            buffers: BTreeMap::new(),
            regs: BTreeMap::new(),
            vars: BTreeMap::new(),
        };
        for (id, b) in (0..).map(BufId).zip(&k.buffers) {
            if b.space == Space::Global {
                let name = names.fresh(&b.name);
                names.buffers.insert(id, name);
            }
        }
        names.parameters = names.buffers.clone();
        names
    }

    /// A name like this one that nothing in scope has.
    pub fn fresh(&mut self, like: &str) -> String {
        let base = like.split('.').next().unwrap_or(like);
        let numbered = (2..).map(|k| format!("{base}{k}"));
        let mut all = std::iter::once(base.to_string()).chain(numbered);
        let free = all.find(|n| !self.taken.contains(n));
        let name = free.unwrap_or_else(|| unreachable!("numbers do not end"));
        self.taken.push(name.clone());
        name
    }

    /// Where a scope starts; names taken from here on end with it, and so do other names of buffers.
    pub fn open(&self) -> Scope {
        Scope {
            taken: self.taken.len(),
            renamed: self.renamed.len(),
        }
    }
    pub fn close(&mut self, scope: Scope) {
        self.taken.truncate(scope.taken);
        while self.renamed.len() > scope.renamed {
            let last = self.renamed.pop();
            self.buffers.extend(last);
        }
    }

    /// Calls a global buffer otherwise in this scope.
    pub fn rename(&mut self, b: BufId, name: String) {
        self.renamed
            .extend(self.buffers.insert(b, name).map(|old| (b, old)));
    }
    /// The name that a global buffer has as a parameter.
    pub fn parameter(&self, b: BufId) -> &str {
        &self.parameters[&b]
    }

    pub fn bind(&mut self, k: &Kernel, v: Var) -> String {
        let name = self.fresh(&k.vars[v.0 as usize]);
        self.vars.insert(v, name.clone());
        name
    }
    pub fn local_buffer(&mut self, k: &Kernel, b: BufId) -> String {
        let name = self.fresh(&k.buffers[b.0 as usize].name);
        self.buffers.insert(b, name.clone());
        name
    }
    pub fn local_register(&mut self, k: &Kernel, r: RegId) -> String {
        let name = self.fresh(&k.regs[r.0 as usize].name);
        self.regs.insert(r, name.clone());
        name
    }

    pub fn var(&self, v: Var) -> String {
        self.vars[&v].clone()
    }
    pub fn buffer(&self, b: BufId) -> &str {
        &self.buffers[&b]
    }
    pub fn register(&self, r: RegId) -> &str {
        &self.regs[&r]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words before a parenthesis in the functions that kernels are given, and those that they call of CUDA's own.
    #[test]
    fn no_buffer_hides_a_function() {
        let text = format!(
            "{} {}",
            lenetc_runtime::cuda::PRELUDE,
            super::super::functions()
        );
        let mut names = Names::new(&Kernel::new("k", 1));
        let words = text.split('(').filter_map(|part| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            part.rsplit(|c| !word(c)).next()
        });
        let keywords = ["", "if", "for", "while", "return"];
        for word in words
            .filter(|w| !keywords.contains(w))
            .chain(["max", "min", "log1pf", "expm1f", "erff", "fabsf"])
        {
            let marked = word.starts_with("__") || word.contains("make_") || word.contains("_as_");
            assert!(marked || names.fresh(word) != word, "{word} is not taken");
        }
    }
}
