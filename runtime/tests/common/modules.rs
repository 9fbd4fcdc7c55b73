//! Programs whose kernels a test writes as one text.

use lenetc_runtime::cuda::{Kernel, Module};

/// The functions before the kernels of a text, and each kernel in a module of its own.
pub fn modules(text: &str) -> (String, Vec<Module>) {
    const HEAD: &str = "extern \"C\" __global__ void ";
    let mut parts = text.split(HEAD);
    let functions = parts.next().unwrap_or("").to_string();
    let module = |part: &str| {
        let name = part.split('(').next().unwrap_or("").to_string();
        let text = format!("{HEAD}{part}");
        Module {
            kernels: vec![Kernel { name, text }],
        }
    };
    (functions, parts.map(module).collect())
}
