//! The vector program: blocks of instructions on integers, vectors and masks, each value defined once.
//!
//! What passes from block to block as a loop runs are parameters of blocks. A branch with two targets passes
//! none, and a block with parameters has only predecessors that end in a jump. Does not know Loops, machine
//! registers or encodings; which forms an operation has is the business of `legalise`.

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);
/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// What a value is, and so which registers hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Int,
    Vector,
    Mask,
}

/// Where an address starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    Value(Value),
    /// An entry of the pool of constants.
    Literal(u32),
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mem {
    pub base: Base,
    pub disp: i32,
    /// One f32 is read for all lanes.
    pub broadcast: bool,
}

/// Which operand of a multiply-add the result overwrites, and which one may lie in memory: as the machine
/// numbers them, 213 is `first = second · first + third`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    F132,
    F213,
    F231,
}

/// Operations. The last vector operand may lie in memory where `foldable` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Defines the arguments: the table of pointers, the run-time numbers, the tile.
    Entry,
    /// A pointer read from memory.
    LoadPointer,
    /// An i32 read from memory.
    LoadIndex,
    /// A byte read from memory.
    LoadByte,
    Integer(i64),
    /// The sum of one or two integers and a constant.
    Sum(i32),
    Times(i32),
    Least,
    Greatest,
    ShiftRight(u8),

    /// A vector from memory.
    Load,
    /// As many bytes as there are lanes, as integers.
    LoadBytes,
    /// A mask from memory.
    Mask,
    /// A vector from memory in the lanes of a mask, 0 elsewhere; the same of bytes.
    LoadMasked,
    LoadBytesMasked,
    /// One f32 from memory in all lanes.
    Splat,
    /// An integer in all lanes.
    SplatInt,
    Zero,
    Copy,
    Add,
    Sub,
    Mul,
    Div,
    /// `a < b ? a : b`
    Min,
    /// `a > b ? a : b`
    Max,
    Sqrt,
    And,
    Or,
    Xor,
    IntegerAdd,
    IntegerSub,
    Left(u8),
    /// Zeros come in.
    Right(u8),
    /// The sign comes in.
    RightSigned(u8),
    /// Integers as numbers.
    Number,
    /// `a · b + c`, until `legalise` gives it a form.
    Fma,
    FmaForm(Form),
    /// By the number that the machine has for the comparison.
    Compare(u8),
    /// mask, no, yes
    Blend,
    /// Neighbours interleaved within 128 bits: pairs of f32 or of two f32, from the low or the high half.
    Unpack {
        pairs: bool,
        high: bool,
    },
    /// Quarters (halves, at 256 bits) of two vectors.
    Quarters(u8),
    /// Lanes within 128 bits.
    Permute(u8),
    /// Two lanes of each of two vectors, within 128 bits.
    Shuffle(u8),
    /// Pairs of lanes within 256 bits.
    Pairs(u8),
    /// Half of the lanes of an array of i32 as 64-bit integers.
    Rows,
    /// The products of the low halves of 64-bit integers.
    RowTimes,
    /// 32 bits from the address plus each of these 64-bit offsets, half a vector of them.
    Gather,
    /// Four lanes of a vector, as the first ones.
    Four(u8),
    /// Low half, high half.
    Join,
    /// Writes a vector.
    Store,
    /// Writes the lanes of a mask.
    StoreMasked,
    /// Writes one of the first four lanes.
    StoreLane(u8),
    /// Writes the first lane.
    StoreFirst,
}

impl Op {
    /// Whether the operation only computes: it may be left out, and repeated it gives the same.
    pub fn pure(self) -> bool {
        !matches!(
            self,
            Self::Store | Self::StoreMasked | Self::StoreLane(_) | Self::StoreFirst | Self::Entry
        )
    }

    /// Whether two operands may change places.
    pub fn commutes(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Mul | Self::And | Self::Or | Self::Xor | Self::IntegerAdd
        )
    }

    /// The number of register operands where the last one may lie in memory instead.
    pub fn foldable(self) -> Option<usize> {
        match self {
            Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Min | Self::Max => Some(2),
            Self::And | Self::Or | Self::Xor | Self::Compare(_) => Some(2),
            Self::IntegerAdd | Self::IntegerSub => Some(2),
            Self::RowTimes => Some(2),
            Self::Number | Self::Sqrt => Some(1),
            Self::Blend => Some(3),
            _ => None,
        }
    }
}

/// An instruction: at most one result, other than `Entry`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inst {
    pub op: Op,
    pub defs: Vec<Value>,
    pub args: Vec<Value>,
    pub mem: Option<Mem>,
}

/// The right side of a comparison that ends a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Value(Value),
    Integer(i32),
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Jump(BlockId, Vec<Value>),
    /// Where left < right, else.
    Less(Value, Right, BlockId, BlockId),
    Return,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    pub params: Vec<Value>,
    pub insts: Vec<Inst>,
    pub end: End,
    /// Whether the block runs once a round of a loop that has none within.
    pub innermost: bool,
}

/// A kernel as a vector program.
pub struct Function {
    pub lanes: u32,
    /// In the order in which they are laid out; the first is the entry.
    pub blocks: Vec<Block>,
    pub classes: Vec<Class>,
    /// Vectors of constants, by lanes.
    pub literals: Vec<Vec<u32>>,
}

impl Function {
    pub fn new(lanes: u32) -> Self {
        Self {
            lanes,
            blocks: vec![],
            classes: vec![],
            literals: vec![],
        }
    }

    pub fn value(&mut self, class: Class) -> Value {
        self.classes.push(class);
        Value(self.classes.len() as u32 - 1)
    }

    pub fn class(&self, v: Value) -> Class {
        self.classes[v.0 as usize]
    }

    pub fn block(&mut self) -> BlockId {
        self.blocks.push(Block {
            params: vec![],
            insts: vec![],
            end: End::Return,
            innermost: false,
        });
        BlockId(self.blocks.len() as u32 - 1)
    }

    pub fn at(&mut self, b: BlockId) -> &mut Block {
        &mut self.blocks[b.0 as usize]
    }

    /// The entry of the pool that holds these lanes.
    pub fn literal(&mut self, lanes: Vec<u32>) -> u32 {
        let found = self.literals.iter().position(|l| *l == lanes);
        found.unwrap_or_else(|| {
            self.literals.push(lanes);
            self.literals.len() - 1
        }) as u32
    }

    /// Removes what no store and no branch depends on, parameters of blocks included.
    pub fn sweep(&mut self) {
        let live = self.live();
        let is = |v: &Value| live[v.0 as usize];
        let kept: Vec<Vec<bool>> = self
            .blocks
            .iter()
            .map(|b| b.params.iter().map(is).collect())
            .collect();
        for b in &mut self.blocks {
            b.params.retain(is);
            b.insts.retain(|i| !i.op.pure() || i.defs.iter().any(is));
            if let End::Jump(to, args) = &mut b.end {
                let mut keep = kept[to.0 as usize].iter();
                args.retain(|_| keep.next().copied().unwrap_or(false));
            }
        }
    }

    fn live(&self) -> Vec<bool> {
        let mut makers: Vec<Vec<Value>> = vec![vec![]; self.classes.len()];
        let mut list: Vec<Value> = Vec::new();
        for b in &self.blocks {
            for i in &b.insts {
                let reads = i.reads();
                if !i.op.pure() {
                    list.extend(&reads);
                }
                for d in &i.defs {
                    makers[d.0 as usize].clone_from(&reads);
                }
            }
            match &b.end {
                End::Jump(to, args) => {
                    let params = &self.blocks[to.0 as usize].params;
                    for (p, a) in params.iter().zip(args) {
                        makers[p.0 as usize].push(*a);
                    }
                }
                End::Less(left, right, ..) => {
                    list.push(*left);
                    if let Right::Value(v) = right {
                        list.push(*v);
                    }
                }
                End::Return => {}
            }
        }
        let mut live = vec![false; self.classes.len()];
        while let Some(v) = list.pop() {
            if !std::mem::replace(&mut live[v.0 as usize], true) {
                list.extend(&makers[v.0 as usize]);
            }
        }
        live
    }
}

impl Inst {
    /// All values that the instruction reads.
    pub fn reads(&self) -> Vec<Value> {
        let base = self.mem.and_then(|m| match m.base {
            Base::Value(v) => Some(v),
            _ => None,
        });
        self.args.iter().copied().chain(base).collect()
    }
}
