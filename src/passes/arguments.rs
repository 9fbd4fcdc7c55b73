//! The binder: from a call as it is written to arguments by the names of a signature.
//!
//! All that is written as a call is read here: layers, and what `train` names. Knows signatures, but neither what they are
//! of, nor graphs or shapes.

mod order;
mod values;

use crate::diag::{Diagnostic, Span};
use crate::ops::{ArgError, ArgValue, Args, Fault, Signature};
use crate::passes::known;
use crate::syntax::ast::{Arg, Call, Ident, Value as Written, ValueKind};
pub use values::evaluate;

/// What names stand for inside a block or a repetition.
pub type Names = Vec<(String, ArgValue)>;
/// A value, or what is wrong in the text.
pub type Checked<T> = Result<T, Box<Diagnostic>>;

/// An error at a place that needs no words of its own.
pub fn error(code: &'static str, message: impl Into<String>, at: Span) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, message).at(at, ""))
}

/// What a call is read with.
pub struct Context<'a> {
    pub signature: &'a Signature,
    pub names: &'a Names,
    /// Channels or features of the layer's input, where they are known.
    pub inputs: Option<u32>,
    pub codes: Codes,
    /// Whether what is called takes these arguments: a reading of the call counts where it does.
    pub accepts: &'a dyn Fn(&Args) -> bool,
}

/// The codes of errors.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// An argument that is unknown or missing.
    call: &'static str,
    /// An argument that is given twice.
    twice: &'static str,
    /// A value of the wrong kind.
    kind: &'static str,
    /// A value out of range.
    range: &'static str,
}

impl Codes {
    /// Those of layers.
    pub const LAYER: Self = Self {
        call: "E0402",
        twice: "E0402",
        kind: "E0201",
        range: "E0201",
    };
    /// Those of what `train` names.
    pub const TRAIN: Self = Self {
        call: "E0302",
        twice: "E0304",
        kind: "E0302",
        range: "E0303",
    };
}

impl Context<'_> {
    /// Whether torch's layer and this one take an argument of this name, or torch's alone to say what is inferred.
    fn knows(&self, name: &str) -> bool {
        let signature = self.signature;
        signature.inferred.iter().any(|i| i.name == name) || signature.takes(name)
    }

    fn written(&self) -> String {
        format!("it is written {}", self.signature.text())
    }
}

/// The arguments of a call by the names of the signature. Whether their values are taken is for their owner to say.
pub fn bind(call: &Call, cx: &Context) -> Checked<Args> {
    let signature = cx.signature;
    let mut given = call.args.iter().filter_map(|a| a.name.as_ref());
    if let Some(name) = given.find(|name| !cx.knows(&name.name)) {
        return Err(no_such_argument(name, cx));
    }
    let mut args = Args::default();
    for (name, arg) in order::assign(call, cx)?.into_iter().zip(&call.args) {
        let value = evaluate(&arg.value, cx.names)?;
        if !is_absent(signature, name, &value) {
            args.values.push((name, value));
        }
    }
    let mut required = signature.arguments.iter().filter(|a| a.default.is_none());
    if let Some(missing) = required.find(|a| args.get(a.name).is_none()) {
        let message = format!("{} needs `{}`", signature.name, missing.name);
        let d = error(cx.codes.call, message, call.span);
        return Err(Box::new(d.help(cx.written())));
    }
    Ok(args)
}

/// Whether a value is torch's word for an argument that is not there.
pub fn is_absent(signature: &Signature, argument: &str, value: &ArgValue) -> bool {
    let mut arguments = signature.arguments.iter();
    let known = arguments.find(|a| a.name == argument);
    matches!(value, ArgValue::Name(name) if name == "None")
        && known.is_some_and(|a| a.default == Some("None"))
}

/// An owner's complaint about an argument, at the place where it is written.
pub fn refused(e: ArgError, call: &Call, cx: &Context) -> Box<Diagnostic> {
    let code = match e.fault {
        Fault::Kind => cx.codes.kind,
        Fault::Range => cx.codes.range,
    };
    let place = argument(call, cx.signature, e.argument).map(|arg| match &e.within[..] {
        [] => arg.span,
        within => entry(&arg.value, within),
    });
    let mut d = Diagnostic::error(code, e.message).at(place.unwrap_or(call.span), "");
    d.understood = e.understood;
    Box::new(d.help(e.help.unwrap_or_else(|| cx.written())))
}

/// The argument of a call that is for this one of the signature.
fn argument<'c>(call: &'c Call, signature: &Signature, name: &str) -> Option<&'c Arg> {
    let position = signature.arguments.iter().position(|a| a.name == name);
    let mut args = call.args.iter().enumerate();
    let found = args.find(|(k, arg)| match &arg.name {
        Some(n) => n.name == name,
        None => Some(*k) == position,
    });
    found.map(|(_, arg)| arg)
}

/// The place of an entry within lists of lists.
fn entry(value: &Written, within: &[usize]) -> Span {
    let (ValueKind::List(items) | ValueKind::Tuple(items)) = &value.kind else {
        return value.span;
    };
    let item = within.first().and_then(|&k| items.get(k));
    item.map_or(value.span, |item| entry(item, &within[1..]))
}

fn no_such_argument(name: &Ident, cx: &Context) -> Box<Diagnostic> {
    let owner = cx.signature.name;
    let Some(missing) = known::argument(owner, &name.name) else {
        let message = format!("{owner} has no argument `{}`", name.name);
        let d = error(cx.codes.call, message, name.span);
        return Box::new(d.help(cx.written()));
    };
    let d = Diagnostic::error(cx.codes.call, missing.message).at(name.span, missing.label);
    let help = missing.help.map_or_else(|| cx.written(), String::from);
    Box::new(d.understood().help(help))
}
