//! `Sequential( … )`, torch's word for what the braces of a model are: refused, and looked through for what else is
//! wrong.

use super::{Builder, Checked, Names};
use crate::diag::Diagnostic;
use crate::ir::Value;
use crate::syntax::ast::{Call, ValueKind};

impl<'a> Builder<'a> {
    /// Reports the word, and checks the calls in its parentheses as the layers that they are meant to be.
    pub(super) fn sequential(
        &mut self,
        c: &'a Call,
        names: &Names,
        path: &str,
        mut x: Option<Value>,
    ) -> Checked<Option<Value>> {
        let d = Diagnostic::error(
            "E0401",
            "layers that follow each other need no `Sequential`",
        );
        let d = d
            .at(c.name.span, "to be left out, with its parentheses")
            .understood();
        self.diags
            .push(d.help("write each layer in a line of its own, or put `;` between them"));
        let calls = c.args.iter().filter_map(|a| match &a.value.kind {
            ValueKind::Call(call) => Some(call),
            _ => None,
        });
        for (k, call) in calls.enumerate() {
            self.count(call.span)?;
            let step = self.named(call, call.span, names, &format!("{path}.{k}"), x);
            x = step.unwrap_or_else(|d| {
                self.diags.push(*d);
                None
            });
        }
        Ok(x)
    }
}
