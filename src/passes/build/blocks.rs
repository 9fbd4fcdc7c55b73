//! What the parameters of a block stand for where it is used.
//!
//! Does not know graphs or shapes.

use crate::diag::Diagnostic;
use crate::passes::arguments::{Checked, Names, error, evaluate};
use crate::syntax::ast::{BlockDef, Call};

/// What the parameters of a block stand for in one use of it.
pub(super) fn block_names(block: &BlockDef, c: &Call, outer: &Names) -> Checked<Names> {
    let mut names: Names = Vec::new();
    for (k, a) in c.args.iter().enumerate() {
        let param = match &a.name {
            Some(n) => block.params.iter().find(|p| p.name.name == n.name),
            None => block.params.get(k),
        };
        let Some(param) = param else {
            let d = Diagnostic::error(
                "E0402",
                format!("the block `{}` has no such parameter", block.name.name),
            );
            return Err(Box::new(
                d.at(a.span, "").also(block.name.span, "defined here"),
            ));
        };
        if names.iter().any(|n| n.0 == param.name.name) {
            return Err(error(
                "E0402",
                format!("`{}` is given twice", param.name.name),
                a.span,
            ));
        }
        names.push((param.name.name.clone(), evaluate(&a.value, outer)?));
    }
    for p in &block.params {
        if names.iter().all(|n| n.0 != p.name.name) {
            let Some(default) = &p.default else {
                let message = format!("the block `{}` needs `{}`", block.name.name, p.name.name);
                let d = Diagnostic::error("E0402", message).at(c.span, "");
                return Err(Box::new(d.also(p.name.span, "this parameter")));
            };
            let value = evaluate(default, &names)?;
            names.push((p.name.name.clone(), value));
        }
    }
    Ok(names)
}
