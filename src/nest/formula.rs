//! The nest: what each element of an operator's results is, and nothing about how it is computed.
//!
//! A nest is a list of *stages* over common axes. For every point of a stage's own axes (and of the
//! shared ones) the body is evaluated at all points of its reduction axes that lie in the domain, the
//! values are combined, and the finishing expressions are stored. A later stage may read what an
//! earlier one stored. Arithmetic is that of real numbers; integer elements are read as numbers.
//!
//! Does not know: loops, lanes, memory layout, targets.

use super::affine::Affine;
use crate::ir::{Leading, Scalar, TensorType};

/// An axis of a nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisId(pub u32);
/// A tensor of a nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u32);
/// An expression of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub u32);

/// The number of values that an axis takes, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    Static(u32),
    /// The number of images in the batch.
    Batch,
}

/// A named index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    pub name: String,
    pub extent: Extent,
}

/// What a tensor is to its nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorRole {
    /// Operand number k.
    Input(u32),
    /// Result number k.
    Output(u32),
    /// Passes values from a stage to a later one; one element for each point of the shared axes.
    Temp,
}

/// A tensor that is read or written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    pub name: String,
    pub ty: TensorType,
    pub role: TensorRole,
}

/// One index of an access.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    Affine(Affine<AxisId>),
    /// The integer that a rank-one tensor holds at this place.
    Lookup(TensorId, Affine<AxisId>),
}

/// An element of a tensor; one index for each axis, the leading one included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub tensor: TensorId,
    pub index: Vec<Index>,
}

listed! {
    /// Functions of one number.
    pub enum Unary {
        Neg,
        Exp,
        /// exp(x) − 1, exact in its digits where x is small
        Expm1,
        Log,
        /// log(1 + x), exact in its digits where x is small
        Log1p,
        Tanh,
        /// 1 / (1 + exp(−x))
        Sigmoid,
        /// 2/√π · ∫ exp(−t²) dt from 0 to x
        Erf,
        Sqrt,
        /// 1 / √x
        Rsqrt,
        Abs,
    }
}

listed! {
    /// Functions of two numbers.
    pub enum Binary {
        Add,
        Sub,
        Mul,
        Div,
        /// The greater one; NaN if one is NaN. Of equals the second, so that the sign of a zero is defined.
        Max,
        /// The smaller one, likewise.
        Min,
    }
}

listed! {
    /// Comparisons; with a NaN only `Ne` holds.
    pub enum Compare {
        Lt,
        Gt,
        Eq,
        Ne,
    }
}

/// A node of a stage's expressions. Operands are earlier entries of the stage's list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// The bits of an f32.
    Const(u32),
    Scalar(Scalar),
    /// An index as a number.
    Axis(Affine<AxisId>),
    Load(Access),
    /// Component k of what the stage combined.
    Acc(u8),
    /// A random number in [0, 1), see [`random`](super::random): another one for each element, which the index counts
    /// within the image, each image, each step and each stream.
    Random {
        stream: u32,
        element: Affine<AxisId>,
    },
    Unary(Unary, ExprId),
    Binary(Binary, ExprId, ExprId),
    /// The third where the comparison of the first two holds, else the fourth.
    Select(Compare, [ExprId; 4]),
}

/// How the values of a body over the reduction axes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// No reduction axes: the body itself.
    None,
    Sum,
    /// The greatest value; NaN if one is NaN.
    Max,
    /// `Acc(0)`: the greatest value; `Acc(1)`: its position, counted row-major over the reduction axes.
    /// The first among equals; a NaN wins. −1 where the domain leaves no element.
    ArgMaxFirst,
}

impl Combine {
    /// Number of components of the combined value.
    pub fn width(self) -> usize {
        if self == Combine::ArgMaxFirst { 2 } else { 1 }
    }
}

/// A condition that a point must meet to take part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Constraint {
    Zero(Affine<AxisId>),
    NonNegative(Affine<AxisId>),
}

/// One formula.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    /// Axes of the results, without the shared ones.
    pub own: Vec<AxisId>,
    pub reduce: Vec<AxisId>,
    pub domain: Vec<Constraint>,
    pub exprs: Vec<Expr>,
    pub body: ExprId,
    pub combine: Combine,
    /// One value for each entry of `outs`.
    pub finish: Vec<ExprId>,
    pub outs: Vec<Access>,
}

/// The formulas of one operator, or of several fused ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nest {
    pub name: String,
    pub tensors: Vec<Tensor>,
    pub axes: Vec<Axis>,
    pub shared: Vec<AxisId>,
    pub stages: Vec<Stage>,
}

/// A variable alone, to write index arithmetic with.
pub fn ax(a: AxisId) -> Affine<AxisId> {
    Affine::var(a)
}

impl Nest {
    /// A nest without stages for an operator with these operands and results.
    pub fn new(name: &str, inputs: &[TensorType], outputs: &[TensorType]) -> Self {
        let mut tensors = Vec::new();
        for (k, ty) in inputs.iter().enumerate() {
            let role = TensorRole::Input(k as u32);
            tensors.push(Tensor {
                name: format!("in{k}"),
                ty: ty.clone(),
                role,
            });
        }
        for (k, ty) in outputs.iter().enumerate() {
            let role = TensorRole::Output(k as u32);
            let name = if outputs.len() == 1 {
                "out".into()
            } else {
                format!("out{k}")
            };
            tensors.push(Tensor {
                name,
                ty: ty.clone(),
                role,
            });
        }
        Self {
            name: name.into(),
            tensors,
            axes: Vec::new(),
            shared: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// Operand k. Panics where there is none.
    pub fn input(&self, k: u32) -> TensorId {
        self.with_role(TensorRole::Input(k))
            .expect("an operator reads only operands that it has")
    }

    /// Result k. Panics where there is none.
    pub fn out(&self, k: u32) -> TensorId {
        self.with_role(TensorRole::Output(k))
            .expect("an operator writes only results that it has")
    }

    /// The tensor in this role.
    pub fn with_role(&self, role: TensorRole) -> Option<TensorId> {
        self.tensors
            .iter()
            .position(|t| t.role == role)
            .map(|k| TensorId(k as u32))
    }

    /// Names a tensor in printed nests.
    pub fn rename(&mut self, t: TensorId, name: &str) {
        self.tensors[t.0 as usize].name = name.into();
    }

    /// A temporary with one element for each point of the shared axes, the images first.
    pub fn temp(&mut self, name: &str) -> TensorId {
        let dims = self.shared.iter().filter_map(|&a| match self.extent(a) {
            Extent::Static(extent) => Some(extent),
            Extent::Batch => None,
        });
        let ty = TensorType::batch(dims.collect::<Vec<_>>());
        self.tensors.push(Tensor {
            name: name.into(),
            ty,
            role: TensorRole::Temp,
        });
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// Adds an axis.
    pub fn axis(&mut self, name: &str, extent: u32) -> AxisId {
        self.push_axis(name, Extent::Static(extent))
    }

    /// Adds the axis over the images of the batch.
    pub fn batch(&mut self) -> AxisId {
        self.push_axis("n", Extent::Batch)
    }

    fn push_axis(&mut self, name: &str, extent: Extent) -> AxisId {
        self.axes.push(Axis {
            name: name.into(),
            extent,
        });
        AxisId(self.axes.len() as u32 - 1)
    }

    /// Adds one axis for each axis of `ty`, the leading one included.
    pub fn axes_of(&mut self, ty: &TensorType, names: &[&str]) -> Vec<AxisId> {
        let mut axes = Vec::new();
        if ty.leading == Leading::Batch {
            axes.push(self.batch());
        }
        for (k, &d) in ty.dims.iter().enumerate() {
            let name = names
                .get(k)
                .map_or_else(|| format!("i{k}"), |n| (*n).to_string());
            axes.push(self.axis(&name, d));
        }
        axes
    }

    /// The type of a tensor.
    pub fn ty(&self, t: TensorId) -> &TensorType {
        &self.tensors[t.0 as usize].ty
    }

    /// The extent of an axis.
    pub fn extent(&self, a: AxisId) -> Extent {
        self.axes[a.0 as usize].extent
    }

    /// The axis of the images that a stage runs over.
    pub fn images(&self, s: &Stage) -> Option<AxisId> {
        let mut axes = self.shared.iter().chain(&s.own).chain(&s.reduce).copied();
        axes.find(|&a| self.extent(a) == Extent::Batch)
    }

    /// The extent of an axis that is not the batch. Panics for the batch.
    pub fn size(&self, a: AxisId) -> i64 {
        match self.extent(a) {
            Extent::Static(n) => i64::from(n),
            Extent::Batch => panic!("the batch has no static size"),
        }
    }
}

impl Stage {
    /// A stage that yields one element for each point of `own`.
    pub fn new(own: &[AxisId]) -> Self {
        Self {
            own: own.to_vec(),
            reduce: Vec::new(),
            domain: Vec::new(),
            exprs: Vec::new(),
            body: ExprId(0),
            combine: Combine::None,
            finish: Vec::new(),
            outs: Vec::new(),
        }
    }

    /// Adds an expression, or finds it where it stands already.
    pub fn push(&mut self, e: Expr) -> ExprId {
        let at = self.exprs.iter().position(|x| *x == e).unwrap_or_else(|| {
            self.exprs.push(e);
            self.exprs.len() - 1
        });
        ExprId(at as u32)
    }

    /// An element at affine indices.
    pub fn load(&mut self, tensor: TensorId, index: &[Affine<AxisId>]) -> ExprId {
        let index = index.iter().cloned().map(Index::Affine).collect();
        self.push(Expr::Load(Access { tensor, index }))
    }

    /// An element at the indices that axes alone give.
    pub fn load_at(&mut self, tensor: TensorId, axes: &[AxisId]) -> ExprId {
        let index: Vec<_> = axes.iter().map(|&a| ax(a)).collect();
        self.load(tensor, &index)
    }

    pub fn constant(&mut self, value: f32) -> ExprId {
        self.push(Expr::Const(value.to_bits()))
    }
    pub fn scalar(&mut self, s: Scalar) -> ExprId {
        self.push(Expr::Scalar(s))
    }
    /// Component k of the combined value.
    pub fn acc(&mut self, k: u8) -> ExprId {
        self.push(Expr::Acc(k))
    }
    /// The random number of a stream at an element of the image.
    pub fn random(&mut self, stream: u32, element: Affine<AxisId>) -> ExprId {
        self.push(Expr::Random { stream, element })
    }
    pub fn unary(&mut self, f: Unary, x: ExprId) -> ExprId {
        self.push(Expr::Unary(f, x))
    }
    pub fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Binary(Binary::Add, a, b))
    }
    pub fn sub(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Binary(Binary::Sub, a, b))
    }
    pub fn mul(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Binary(Binary::Mul, a, b))
    }
    pub fn div(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Binary(Binary::Div, a, b))
    }
    /// The greater of a number and a value; NaN stays NaN. A constant comes first: then no NaN is looked for in it.
    pub fn at_least(&mut self, least: f32, x: ExprId) -> ExprId {
        let least = self.constant(least);
        self.push(Expr::Binary(Binary::Max, least, x))
    }
    /// The smaller of a number and a value; NaN stays NaN.
    pub fn at_most(&mut self, most: f32, x: ExprId) -> ExprId {
        let most = self.constant(most);
        self.push(Expr::Binary(Binary::Min, most, x))
    }
    /// `if a ⋛ b { yes } else { no }`
    pub fn select(&mut self, c: Compare, a: ExprId, b: ExprId, yes: ExprId, no: ExprId) -> ExprId {
        self.push(Expr::Select(c, [a, b, yes, no]))
    }

    /// Keeps only points where `a` is zero.
    pub fn where_zero(&mut self, a: Affine<AxisId>) -> &mut Self {
        self.domain.push(Constraint::Zero(a));
        self
    }

    /// Keeps only points where `0 <= a < extent`.
    pub fn where_within(&mut self, a: Affine<AxisId>, extent: u32) -> &mut Self {
        self.domain.push(Constraint::NonNegative(a.clone()));
        self.domain
            .push(Constraint::NonNegative(a * -1 + (i64::from(extent) - 1)));
        self
    }

    /// Combines `body` over `reduce`.
    pub fn reduce(&mut self, combine: Combine, reduce: &[AxisId], body: ExprId) -> &mut Self {
        self.combine = combine;
        self.reduce = reduce.to_vec();
        self.body = body;
        self
    }

    /// Stores `value` at affine indices of `tensor`.
    pub fn store(
        &mut self,
        tensor: TensorId,
        index: &[Affine<AxisId>],
        value: ExprId,
    ) -> &mut Self {
        if self.combine == Combine::None {
            self.body = value;
        }
        let index = index.iter().cloned().map(Index::Affine).collect();
        self.outs.push(Access { tensor, index });
        self.finish.push(value);
        self
    }

    /// Stores `value` at the indices that axes alone give.
    pub fn store_at(&mut self, tensor: TensorId, axes: &[AxisId], value: ExprId) -> &mut Self {
        let index: Vec<_> = axes.iter().map(|&a| ax(a)).collect();
        self.store(tensor, &index, value)
    }
}
