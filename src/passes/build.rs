//! From the tree of a file to the graph of its model: names resolved, blocks and repetitions written out,
//! shapes inferred layer by layer.
//!
//! The only code that sees both the text and the operators. An operator's errors have no place; this pass attaches
//! the layer's. After an error the remaining layers are still checked for their names and arguments.
//! Errors E04xx: E0401 an unknown layer, E0402 an argument that is unknown, missing, repeated or of the wrong
//! kind, E0403 an expression, E0404 no or a wrong `input`, E0405 too many layers, E0406 a block that contains
//! itself, E0407 a name defined twice, E0408 a join of branches.

mod blocks;
mod sequential;
mod states;

use std::collections::{BTreeMap, BTreeSet};

use blocks::block_names;

use super::arguments::{self, Checked, Codes, Context, Names, error, evaluate};
use super::config::{Chosen, Config};
use super::known::{self, Kind};
use crate::diag::{self, Diagnostic, Span, nearest};
use crate::ir::{
    DType, Distribution, Leading, Mode, NodeId, Role, Source, StateInfo, StateKind, TensorType,
    Value,
};
use crate::nest::Macs;
use crate::ops::{
    Add, AnyInitialiser, ArgValue, Args, Concat, Gather, Graph, Graphs, LayerCx, Op, ShapeError,
};
use crate::syntax::ast::{
    BlockDef, Body, Branches, Call, File, Ident, Item, Layer, LayerKind, ModelDef, Repeat,
    Value as Written,
};

/// Layers and repetitions that a model may be written out to.
const MOST_LAYERS: usize = 100_000;
/// Blocks within blocks.
const DEEPEST: usize = 64;
/// Elements of one image's activations, or of one parameter.
const LARGEST: u64 = 1 << 30;

/// A layer as `check` lists it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its path, as `3` or `2.0.1`.
    pub path: String,
    /// As it is written, or as it was expanded.
    pub text: String,
    pub ty: TensorType,
    /// The shape rule with its numbers.
    pub rule: String,
    pub parameters: u64,
    /// Multiply-adds of one image, forward.
    pub macs: Macs,
}

/// A model ready for the passes.
#[derive(Clone, Debug)]
pub struct Built {
    pub graphs: Graphs,
    /// Channels, height and width; or what `input` says.
    pub input: Vec<u32>,
    /// The last layer's.
    pub output: Vec<u32>,
    pub rows: Vec<Row>,
    pub blocks: Vec<UsedBlock>,
    /// Images that each batch of training must have.
    pub least_images: u32,
}

/// A block where it is used.
#[derive(Clone, Debug)]
pub struct UsedBlock {
    /// The path that its layers stand under.
    pub path: String,
    pub name: String,
    /// The call.
    pub span: Span,
}

/// Builds the graphs of the file's model: forward pass, loss and count of right answers. `bytes` says that the data
/// set holds bytes, which are divided by 255. Without `config` there is nothing to train on: the graph is the forward
/// pass alone, of floats as they are, as an evaluation has it.
pub fn run(file: &File, config: Option<&Config>, bytes: bool) -> (Option<Built>, Vec<Diagnostic>) {
    let model = file.items.iter().find_map(|i| match i {
        Item::Model(m) => Some(m),
        _ => None,
    });
    let Some(model) = model else {
        // The parser has said so.
        return (None, vec![]);
    };
    let build = |mode| Builder::new(file, model, config, mode).run(bytes);
    let (built, diagnostics) = match config {
        Some(_) => build(Mode::Train),
        None => build(Mode::Eval),
    };
    let Some((mut built, depends_on_mode)) = built else {
        return (None, diagnostics);
    };
    if depends_on_mode && config.is_some() {
        // What is right in one mode is right in the other.
        let (eval, _) = build(Mode::Eval);
        built.graphs.eval = eval.map(|(eval, _)| eval.graphs.step);
    }
    (Some(built), diagnostics)
}

struct Builder<'a> {
    model: &'a ModelDef,
    config: Option<&'a Config>,
    mode: Mode,
    /// Whether a layer has asked for the mode.
    depends_on_mode: bool,
    least_images: u32,
    blocks: BTreeMap<&'a str, &'a BlockDef>,
    diags: Vec<Diagnostic>,
    graph: Graph,
    rows: Vec<Row>,
    /// How weights start.
    initial: Chosen<AnyInitialiser>,
    /// The names of all states.
    names: BTreeSet<String>,
    blocks_used: Vec<UsedBlock>,
    expanded: usize,
    /// The blocks that are being written out, outermost first.
    stack: Vec<&'a str>,
}

impl<'a> Builder<'a> {
    fn new(file: &'a File, model: &'a ModelDef, config: Option<&'a Config>, mode: Mode) -> Self {
        let mut builder = Self {
            model,
            config,
            mode,
            depends_on_mode: false,
            least_images: 1,
            blocks: BTreeMap::new(),
            diags: vec![],
            graph: Graph::new(&model.name.name),
            rows: vec![],
            initial: config.map_or_else(|| Config::default().initial, |c| c.initial.clone()),
            names: BTreeSet::new(),
            blocks_used: vec![],
            expanded: 0,
            stack: vec![],
        };
        builder.collect(file);
        builder
    }

    /// The model with its graph of the mode alone, and whether that depends on the mode.
    fn run(mut self, bytes: bool) -> (Option<(Built, bool)>, Vec<Diagnostic>) {
        let (model, config) = (self.model, self.config);
        let sizes = self.model(model, config, bytes && config.is_some());
        let built = sizes.filter(|_| self.diags.is_empty());
        let built = built.map(|(input, output)| {
            let built = Built {
                graphs: Graphs {
                    step: self.graph,
                    eval: None,
                },
                input,
                output,
                rows: self.rows,
                blocks: self.blocks_used,
                least_images: self.least_images,
            };
            (built, self.depends_on_mode)
        });
        (built, self.diags)
    }

    fn collect(&mut self, file: &'a File) {
        let layers: Vec<String> = Op::signatures().iter().map(|s| s.name.into()).collect();
        for item in &file.items {
            let Item::Block(block) = item else { continue };
            let name = block.name.name.as_str();
            if JOINS.contains(&name)
                || name == "Identity"
                || name == "input"
                || layers.iter().any(|l| l == name)
            {
                let d = Diagnostic::error("E0407", format!("`{name}` is the name of a layer"));
                self.diags
                    .push(d.at(block.name.span, "choose another name"));
            } else if let Some(first) = self.blocks.insert(name, block) {
                let d = Diagnostic::error("E0407", format!("the block `{name}` is defined twice"));
                let d = d.at(block.name.span, "again");
                self.diags.push(d.also(first.name.span, "first"));
            }
        }
    }

    fn model(
        &mut self,
        m: &'a ModelDef,
        config: Option<&Config>,
        bytes: bool,
    ) -> Option<(Vec<u32>, Vec<u32>)> {
        let input = match self.input(m) {
            Ok(dims) => Some(dims),
            Err(d) => {
                self.diags.push(*d);
                None
            }
        };
        let x = input.as_ref().map(|dims| self.examples(dims, bytes));
        let mut index = 0;
        let y = self.body(&m.body, &vec![], "", &mut index, x, true)?;
        let output = self.graph.ty(y).dims.clone();
        self.graph.output(Role::Logits, y);
        if let Some(config) = config {
            self.loss(m, y, config);
        }
        input.map(|i| (i, output))
    }

    /// `input(1, 28, 28)`, the first layer of a model.
    fn input(&self, m: &'a ModelDef) -> Checked<Vec<u32>> {
        let first = m.body.layers.first().and_then(|l| match &l.kind {
            LayerKind::Call(c) if c.name.name == "input" => Some(c),
            _ => None,
        });
        let Some(call) = first else {
            let d = Diagnostic::error("E0404", "the model does not say what it is fed");
            let d = d.at(m.name.span, "");
            return Err(Box::new(d.help(
                "begin with input(channels, height, width), as input(1, 28, 28)",
            )));
        };
        let mut dims = Vec::new();
        for a in &call.args {
            match (&a.name, evaluate(&a.value, &vec![])?) {
                (None, ArgValue::Int(n)) if (1..=1 << 24).contains(&n) => dims.push(n as u32),
                (None, _) => {
                    return Err(error(
                        "E0404",
                        "sizes are whole numbers of 1 to 2^24",
                        a.span,
                    ));
                }
                (Some(_), _) => return Err(error("E0404", "sizes of input have no names", a.span)),
            }
        }
        let elements = TensorType::batch(dims.clone()).elements();
        if !matches!(dims.len(), 1 | 3) || elements > LARGEST {
            let d = error(
                "E0404",
                "input takes channels, height and width, or one number of features",
                call.span,
            );
            return Err(Box::new(d.help("as input(1, 28, 28) or input(784)")));
        }
        Ok(dims)
    }

    fn examples(&mut self, dims: &[u32], bytes: bool) -> Value {
        let dtype = if bytes { DType::U8 } else { DType::F32 };
        let images = TensorType {
            dtype,
            leading: Leading::Dataset,
            dims: dims.to_vec(),
        };
        let images = self.graph.source(Source::Images, images, "", Span::ZERO);
        let indices = TensorType {
            dtype: DType::I32,
            leading: Leading::Batch,
            dims: vec![],
        };
        let indices = self.graph.source(Source::Indices, indices, "", Span::ZERO);
        let ty = TensorType::batch(dims.to_vec());
        let gather = Op::from(Gather { scale: bytes });
        let node = self
            .graph
            .op(gather, &[images, indices], vec![ty], "", Span::ZERO);
        Value { node, output: 0 }
    }

    fn loss(&mut self, m: &ModelDef, y: Value, config: &Config) {
        let kind = config.loss.targets(self.graph.ty(y));
        let dims = kind.dims();
        let targets = TensorType {
            dtype: kind.dtype(),
            leading: Leading::Dataset,
            dims: dims.clone(),
        };
        let targets = self.graph.source(Source::Targets, targets, "", Span::ZERO);
        let indices = self
            .graph
            .topological()
            .into_iter()
            .find(|&n| self.graph.node(n).kind == crate::ir::NodeKind::Source(Source::Indices));
        let Some(node) = indices else { return };
        let indices = Value { node, output: 0 };
        let gather = Op::from(Gather { scale: false });
        let ty = TensorType::batch(dims);
        let node = self
            .graph
            .op(gather, &[targets, indices], vec![ty], "", Span::ZERO);
        let t = Value { node, output: 0 };
        let span = m.body.layers.last().map_or(m.name.span, |l| l.span);
        let loss = Op::from(config.loss.value().clone());
        let mut operands = vec![y, t];
        operands.extend(self.loss_states(config));
        let correct = config
            .loss
            .metric()
            .map(|op| (op, vec![y, t], Role::Correct));
        for (op, operands, role) in [(loss, operands, Role::Loss)].into_iter().chain(correct) {
            match self.add(op, &operands, "", span) {
                Ok(v) => self.graph.output(role, v),
                Err(d) => return self.diags.push(*d),
            }
        }
    }

    /// The sources of the loss's numbers. Their names are none that a layer's state can have.
    fn loss_states(&mut self, config: &Config) -> Vec<Value> {
        let states = config.loss.states().into_iter().map(|state| {
            let info = StateInfo {
                name: format!("loss {}", state.name),
                ty: TensorType::fixed([state.values.len() as u32]),
                kind: StateKind::Loss,
                initial: Distribution::Values(state.values.into()),
            };
            self.graph.state(info, "", Span::ZERO)
        });
        states.collect()
    }

    /// Adds an operation where its operands fit.
    fn add(&mut self, op: Op, operands: &[Value], path: &str, span: Span) -> Checked<Value> {
        let types: Vec<TensorType> = operands.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let results = op.infer(&types).map_err(|e| placed(e, span))?;
        let node = self.graph.op(op, operands, results, path, span);
        self.hold_sizes(&[node]).map_err(|e| placed(e, span))?;
        Ok(Value { node, output: 0 })
    }

    /// Layers in order; `x` is missing after an error, and then only names and arguments are checked.
    fn body(
        &mut self,
        body: &'a Body,
        names: &Names,
        prefix: &str,
        index: &mut usize,
        mut x: Option<Value>,
        outermost: bool,
    ) -> Option<Value> {
        for (k, layer) in body.layers.iter().enumerate() {
            if let LayerKind::Call(c) = &layer.kind
                && c.name.name == "input"
            {
                if !(outermost && k == 0) {
                    let d = error(
                        "E0404",
                        "input stands first in the model and nowhere else",
                        c.span,
                    );
                    self.diags.push(*d);
                }
                continue;
            }
            let step = self.layer(layer, names, prefix, index, x);
            x = step.unwrap_or_else(|d| {
                self.diags.push(*d);
                None
            });
            if self.expanded > MOST_LAYERS {
                return None;
            }
        }
        x
    }

    fn count(&mut self, span: Span) -> Checked<()> {
        self.expanded += 1;
        if self.expanded == MOST_LAYERS + 1 {
            let message = format!("the model has more than {MOST_LAYERS} layers");
            return Err(error("E0405", message, span));
        }
        Ok(())
    }

    fn layer(
        &mut self,
        layer: &'a Layer,
        names: &Names,
        prefix: &str,
        index: &mut usize,
        x: Option<Value>,
    ) -> Checked<Option<Value>> {
        self.count(layer.span)?;
        if let LayerKind::Repeat(r) = &layer.kind {
            return self.repeat(r, layer, names, prefix, index, x);
        }
        let own = layer
            .label
            .as_ref()
            .map_or(index.to_string(), |l| l.name.clone());
        let path = if prefix.is_empty() {
            own
        } else {
            format!("{prefix}.{own}")
        };
        *index += 1;
        match &layer.kind {
            LayerKind::Branches(b) => self.branches(b, layer, names, &path, x),
            LayerKind::Call(c) => self.named(c, layer.span, names, &path, x),
            LayerKind::Repeat(_) => Ok(x),
        }
    }

    /// What stands under a name: a block of the file, or a layer.
    fn named(
        &mut self,
        c: &'a Call,
        span: Span,
        names: &Names,
        path: &str,
        x: Option<Value>,
    ) -> Checked<Option<Value>> {
        match c.name.name.as_str() {
            name if self.blocks.contains_key(name) => self.block(c, names, path, x),
            "Sequential" => self.sequential(c, names, path, x),
            "Identity" => {
                no_arguments(c)?;
                if let Some(x) = x {
                    let none = Macs::default();
                    self.row(path, "Identity".into(), x, String::new(), 0, none);
                }
                Ok(x)
            }
            _ => self.call(c, span, names, path, x),
        }
    }

    fn repeat(
        &mut self,
        r: &'a Repeat,
        layer: &'a Layer,
        names: &Names,
        prefix: &str,
        index: &mut usize,
        mut x: Option<Value>,
    ) -> Checked<Option<Value>> {
        if let Some(label) = &layer.label {
            return Err(error(
                "E0407",
                "a repetition has no name of its own",
                label.span,
            ));
        }
        let bound = |v: &Written| match evaluate(v, names)? {
            ArgValue::Int(i) => Ok(i),
            _ => Err(error(
                "E0403",
                "the bounds of repeat are whole numbers",
                v.span,
            )),
        };
        let (from, to) = (bound(&r.from)?, bound(&r.to)?);
        let times = to.saturating_sub(from);
        if times > MOST_LAYERS as i64 {
            let message = format!("{times} repetitions are more than {MOST_LAYERS}");
            return Err(error("E0405", message, r.to.span));
        }
        if times < 0 {
            let message = format!("repeat from {from} to {to} would be {times} times");
            return Err(error("E0403", message, r.to.span));
        }
        for i in from..to {
            self.count(layer.span)?;
            let mut names = names.clone();
            if let Some(v) = &r.variable {
                names.push((v.name.clone(), ArgValue::Int(i)));
            }
            let before = self.diags.len();
            x = self.body(&r.body, &names, prefix, index, x, false);
            if self.diags.len() > before {
                return Ok(None);
            }
        }
        Ok(x)
    }

    fn branches(
        &mut self,
        b: &'a Branches,
        layer: &'a Layer,
        names: &Names,
        path: &str,
        x: Option<Value>,
    ) -> Checked<Option<Value>> {
        let name = b.name.name.as_str();
        if !JOINS.contains(&name) {
            let d = Diagnostic::error("E0408", format!("`{name}` does not join branches"));
            return Err(Box::new(
                d.at(b.name.span, "")
                    .help(nearest::suggestion(name, &JOINS)),
            ));
        }
        if let Some(a) = b.args.first() {
            return Err(error("E0408", format!("{name} takes no arguments"), a.span));
        }
        if b.branches.is_empty() {
            return Err(error("E0408", format!("{name} has no branch"), layer.span));
        }
        let mut results = Vec::new();
        for (k, branch) in b.branches.iter().enumerate() {
            let mut index = 0;
            results.push(self.body(branch, names, &format!("{path}.{k}"), &mut index, x, false));
        }
        let Some(operands) = results.into_iter().collect::<Option<Vec<Value>>>() else {
            return Ok(None);
        };
        let op = if name == "Add" {
            Op::from(Add)
        } else {
            Op::from(Concat)
        };
        let y = self.add(op, &operands, path, layer.span)?;
        let text = format!("{name} of {}", diag::count(operands.len() as u64, "branch"));
        self.row(path, text, y, String::new(), 0, Macs::default());
        Ok(Some(y))
    }

    fn block(
        &mut self,
        c: &'a Call,
        names: &Names,
        path: &str,
        x: Option<Value>,
    ) -> Checked<Option<Value>> {
        let block = self.blocks[c.name.name.as_str()];
        let name = block.name.name.as_str();
        if self.stack.contains(&name) || self.stack.len() >= DEEPEST {
            let d = Diagnostic::error("E0406", format!("the block `{name}` contains itself"));
            let chain = self.stack.join(" → ");
            return Err(Box::new(d.at(c.span, format!("{chain} → {name}"))));
        }
        let inner = block_names(block, c, names)?;
        self.blocks_used.push(UsedBlock {
            path: path.into(),
            name: name.into(),
            span: c.span,
        });
        self.stack.push(name);
        let mut index = 0;
        let y = self.body(&block.body, &inner, path, &mut index, x, false);
        self.stack.pop();
        Ok(y)
    }

    fn call(
        &mut self,
        c: &'a Call,
        span: Span,
        names: &Names,
        path: &str,
        x: Option<Value>,
    ) -> Checked<Option<Value>> {
        let name = c.name.name.as_str();
        let Some(signature) = Op::signatures().into_iter().find(|s| s.name == name) else {
            return Err(self.unknown(&c.name));
        };
        let inputs = x.and_then(|x| self.graph.ty(x).dims.first().copied());
        let context = Context {
            signature: &signature,
            names,
            inputs,
            codes: Codes::LAYER,
            accepts: &|args| matches!(Op::layer(name, args), Some(Ok(_))),
        };
        let args = arguments::bind(c, &context)?;
        let layer = match Op::layer(name, &args) {
            Some(Ok(layer)) => layer,
            Some(Err(e)) => return Err(arguments::refused(e, c, &context)),
            None => return Err(self.unknown(&c.name)),
        };
        let Some(x) = x else { return Ok(None) };
        let ty = self.graph.ty(x).clone();
        let states = self.states(layer.states(&ty), path, span)?;
        let parameters = states
            .iter()
            .filter(|s| self.graph.is_parameter(s.value.node));
        let count = parameters
            .map(|s| self.graph.ty(s.value).elements())
            .fold(0, u64::saturating_add);
        let mut cx = LayerCx::new(&mut self.graph, self.mode, x, states, path, span);
        let y = layer.build(&mut cx).map_err(|e| placed(e, span))?;
        let made = std::mem::take(&mut cx.made);
        self.depends_on_mode |= cx.depends_on_mode();
        let least = cx.least_images;
        self.least_images = self.least_images.max(least);
        self.hold_sizes(&made).map_err(|e| placed(e, span))?;
        let rule = layer.formula(&ty);
        let macs = made.iter().map(|&node| self.macs(node));
        let macs = macs.fold(Macs::default(), Macs::plus);
        self.row(path, layer_text(name, &args), y, rule, count, macs);
        Ok(Some(y))
    }

    /// Refuses values that are too large, among the operands and the results of these.
    fn hold_sizes(&self, made: &[NodeId]) -> Result<(), ShapeError> {
        for &node in made {
            let operands = self.graph.operands(node);
            let operands = operands.iter().map(|&v| self.graph.ty(v));
            let mut types = self.graph.node(node).types.iter().chain(operands);
            if let Some(ty) = types.find(|ty| ty.elements() > LARGEST) {
                return Err(ShapeError::new(
                    "E0204",
                    "a tensor is too large",
                    ty.to_string(),
                ));
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &Ident) -> Box<Diagnostic> {
        let signatures = Op::signatures();
        let known: Vec<&str> = signatures
            .iter()
            .map(|s| s.name)
            .chain(JOINS)
            .chain(["Identity"])
            .chain(self.blocks.keys().copied())
            .collect();
        let answer = known::unknown(Kind::Layer, &name.name, &known);
        let none = || format!("there is no layer `{}`", name.name);
        let understood = answer.missing.is_some();
        let mut d = Diagnostic::error("E0401", answer.missing.unwrap_or_else(none));
        d.understood = understood;
        d = d.at(name.span, answer.label);
        Box::new(answer.help.into_iter().fold(d, Diagnostic::help))
    }

    /// Multiply-adds of an operation.
    fn macs(&self, node: NodeId) -> Macs {
        let operands = self.graph.operands(node);
        let types: Vec<_> = operands.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let op = self
            .graph
            .operation(node)
            .expect("a layer makes operations");
        op.macs(&types, &self.graph.node(node).types)
    }

    fn row(
        &mut self,
        path: &str,
        text: String,
        y: Value,
        rule: String,
        parameters: u64,
        macs: Macs,
    ) {
        self.rows.push(Row {
            path: path.into(),
            text,
            ty: self.graph.ty(y).clone(),
            rule,
            parameters,
            macs,
        });
    }
}

const JOINS: [&str; 2] = ["Add", "Concat"];

/// A layer with the arguments that it was given, as it would be written.
fn layer_text(name: &str, args: &Args) -> String {
    let args: Vec<String> = args
        .values
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    if args.is_empty() {
        name.into()
    } else {
        format!("{name}({})", args.join(", "))
    }
}

fn placed(e: ShapeError, span: Span) -> Box<Diagnostic> {
    let d = Diagnostic::error(e.code, e.message).at(span, e.rule);
    Box::new(match e.help {
        Some(h) => d.help(h),
        None => d,
    })
}

fn no_arguments(c: &Call) -> Checked<()> {
    c.args.first().map_or(Ok(()), |a| {
        Err(error(
            "E0402",
            format!("{} takes no arguments", c.name.name),
            a.span,
        ))
    })
}
