//! The tree of a `.nn` file: what stands where, with the place of every part.
//!
//! It knows no operator, no data set and no key of `train`: a layer is a name with arguments, whatever the name is.
//! No tree is deeper than [`super::MAX_DEPTH`], so code may walk it by recursion.

use crate::diag::Span;

/// A name and where it stands; empty where the source lacks one.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Its place.
    pub span: Span,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its items in source order.
    pub items: Vec<Item>,
}

/// What may stand at the top level.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `block Name(parameters) { … }`.
    Block(BlockDef),
    /// `model Name { … }`.
    Model(ModelDef),
    /// `train { … }`.
    Train(TrainDef),
}

/// Layers under a name of their own, to be used like a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockDef {
    /// Its name.
    pub name: Ident,
    /// Its parameters in order; empty as well where it has no parentheses.
    pub params: Vec<Param>,
    /// Its layers.
    pub body: Body,
    /// From the word `block` to the closing brace.
    pub span: Span,
}

/// A parameter of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its value where a call gives none.
    pub default: Option<Value>,
}

/// The network; `input(1, 28, 28)` is a call like any other in its body.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDef {
    /// Its name.
    pub name: Ident,
    /// Its layers.
    pub body: Body,
    /// From the word `model` to the closing brace.
    pub span: Span,
}

/// How the network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainDef {
    /// The entries in order, repeated keys included.
    pub entries: Vec<Entry>,
    /// The word `train`.
    pub span: Span,
}

/// `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is set.
    pub name: Ident,
    /// To what.
    pub value: Value,
    /// Name and value.
    pub span: Span,
}

/// Layers between braces, each fed by the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The layers in order.
    pub layers: Vec<Layer>,
    /// Both braces and what is between them.
    pub span: Span,
}

/// One layer of a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The name before the colon.
    pub label: Option<Ident>,
    /// What it is.
    pub kind: LayerKind,
    /// All of it, the label included.
    pub span: Span,
}

/// The three forms of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// `Linear(10)`.
    Call(Call),
    /// `repeat 3 { … }`.
    Repeat(Repeat),
    /// `Add { { … } { … } }`.
    Branches(Branches),
}

/// A name with arguments; `Flatten` and `Flatten()` are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is called.
    pub name: Ident,
    /// The arguments in order.
    pub args: Vec<Arg>,
    /// Name and arguments.
    pub span: Span,
}

/// A body that is written out for each integer from `from` to before `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// The name that stands for the integer.
    pub variable: Option<Ident>,
    /// The first integer; 0 with an empty span in `repeat n { … }`.
    pub from: Value,
    /// The integer behind the last.
    pub to: Value,
    /// What is repeated.
    pub body: Body,
}

/// Bodies that are fed the same input, and the name of what joins their results.
#[derive(Clone, Debug, PartialEq)]
pub struct Branches {
    /// What joins the results.
    pub name: Ident,
    /// Its arguments.
    pub args: Vec<Arg>,
    /// The branches in order.
    pub branches: Vec<Body>,
}

/// An argument, by position or by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The parameter it is for; positional where there is none.
    pub name: Option<Ident>,
    /// Its value.
    pub value: Value,
    /// Name and value.
    pub span: Span,
}

/// A value and where it stands, grouping parentheses included.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is.
    pub kind: ValueKind,
    /// Its place.
    pub span: Span,
}

/// The forms of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// `28`, `-3`.
    Int(i64),
    /// `0.9`, `-1e-3`; always finite.
    Float(f64),
    /// `"folder"`, without the quotes.
    Str(String),
    /// `same`, `true`, a parameter.
    Name(String),
    /// `(5, 3)`, of two elements or more.
    Tuple(Vec<Value>),
    /// `[1, 2]`, possibly empty.
    List(Vec<Value>),
    /// `SGD(lr=0.9)`.
    Call(Call),
    /// `-n`; a minus before a literal is part of the literal instead.
    Negative(Box<Value>),
    /// `n * 2`.
    Binary {
        /// What is computed.
        op: BinaryOp,
        /// The first operand.
        left: Box<Value>,
        /// The second operand.
        right: Box<Value>,
    },
    /// `inline { x = [[1]] y = [[2]] }`.
    Record {
        /// The word before the brace.
        name: Ident,
        /// The entries in order.
        entries: Vec<Entry>,
    },
}

/// What joins two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}
