//! From nests to loops: lanes, register tiles, peeled borders.
//!
//! Three kinds of stages, told apart by where the batch stands:
//! - in the results: each lane computes its image. Where a reduction multiplies a parameter by an
//!   activation, a tile of channels × positions is kept in registers, so that each loaded value is used
//!   several times; along the last axis the taps of the window are unrolled and borders are peeled, along
//!   the other axes the bounds of the loops leave out the padding.
//! - in the reduction: the result of the block is *added to* what the caller cleared before the first block.
//!   Lanes hold partial sums over the images, added up at the end of the block; where nothing but images is
//!   summed, that end would come after each few multiply-adds, and activations are transposed instead.
//! - nowhere: parameters, whose elements fill the lanes.
//!
//! A block of one image is another matter (`row`): the lanes hold neighbours within it.
//!
//! Does not know operators, instructions, or where buffers lie.

use std::collections::BTreeMap;

use crate::backend::beyond::Beyond;
use crate::backend::cpu::code::Isa;
use crate::backend::pieces::{self, Piece};
use crate::ir::Leading;
use crate::nest::loops::{At, BufId, Dim, Kernel, Kind, RegId, Space, Stmt, ValueId, Var};
use crate::nest::{
    Access, Affine, AxisId, Binary, Combine, Expr, ExprId, Extent, Index, Nest, Stage, TensorRole,
};

mod access;
mod bands;
mod choice;
mod row;
mod tile;
mod total;
mod transposed;

pub use choice::{Choice, Lanes, TileSize};

/// What the target offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// f32 in a vector.
    pub lanes: u32,
    /// Images in a block: a multiple of `lanes`, or 1.
    pub block: u32,
    /// Vectors that a tile may fill.
    pub registers: u32,
    /// Whether the machine loads no more vectors at a time than it multiplies: each is then used several times.
    pub reuse: bool,
    /// The tile in the place of the cheapest, where a contraction has a choice.
    pub tile: Option<TileSize>,
    /// What is done about lanes beyond the last image.
    pub beyond: Beyond,
}

impl Options {
    /// All registers of an instruction set.
    pub fn new(isa: Isa, block: u32) -> Self {
        Self {
            lanes: isa.lanes(),
            block,
            registers: isa.registers(),
            reuse: isa != Isa::Cranelift,
            tile: None,
            beyond: Beyond::default(),
        }
    }

    /// The same for a kernel that does this about lanes beyond the last image.
    pub fn with(self, beyond: Beyond) -> Self {
        Self { beyond, ..self }
    }
}

/// A variable and how many values it takes.
type Trips = (Var, i64);

/// Taps of a window are written out up to this many; a longer window is a loop.
const MOST_UNROLLED: i64 = 12;
/// Where lanes are summed, so many columns are written out.
const MOST_COLUMNS: i64 = 32;
/// Columns of a border are peeled up to this many tiles; a wider border is computed column by column.
const MOST_PEELED: usize = 8;

/// A multiply-add waits for the one before on its accumulator as long as so many others take.
const HIDES_LATENCY: i64 = 8;

/// Accumulators of a tile: two more registers hold a factor and a term.
const MOST_ACCUMULATORS: i64 = 14;

/// Schedules a nest as one kernel for one block of images (or, without a batch, for all elements), and says why so.
pub fn run(n: &Nest, options: Options) -> (Kernel, Choice) {
    let mut k = Kernel::new(&n.name, options.lanes);
    let tensors = n
        .tensors
        .iter()
        .map(|t| tensor(&mut k, t, options))
        .collect();
    let mut s = Scheduler {
        n,
        options,
        k,
        tensors,
        kept: BTreeMap::new(),
        choice: Choice::new(options),
        shared: vec![],
    };
    if options.block == 1 {
        s.one_image();
        return (s.k, s.choice);
    }
    let shared = n.shared.first().map(|_| s.k.var("g"));
    s.shared = pieces::shared(&mut s.k, n);
    let mut body = Vec::new();
    for stage in &n.stages {
        body.extend(s.stage(stage, shared));
    }
    if let Some(g) = shared {
        body = vec![serial(Dim::count(g, s.groups()), body)];
    }
    s.k.body = within(&s.shared, body);
    (s.k, s.choice)
}

/// Elements behind a value of one image that may be read: vectors start at any of its elements.
pub fn beyond(lanes: u32) -> u64 {
    u64::from(lanes) * row::MOST_APART as u64
}

/// Where a tensor of the nest lives.
#[derive(Clone, Copy)]
enum Home {
    Memory(BufId),
    Register(RegId),
}

fn tensor(k: &mut Kernel, t: &crate::nest::Tensor, o: Options) -> Home {
    if t.role == TensorRole::Temp {
        return Home::Register(k.reg(&t.name, &[]));
    }
    let len = match t.ty.leading {
        Leading::Batch if o.block == 1 && !t.ty.dims.is_empty() => {
            t.ty.elements() + beyond(o.lanes)
        }
        Leading::Batch => t.ty.elements() * u64::from(o.block),
        // Elements beyond the last fill the lanes of the last vector.
        Leading::None => t.ty.elements().next_multiple_of(u64::from(o.lanes)),
        Leading::Dataset => t.ty.elements(),
    };
    Home::Memory(k.buffer(&t.name, t.ty.dtype, len, Space::Global))
}

struct Scheduler<'a> {
    n: &'a Nest,
    options: Options,
    k: Kernel,
    tensors: Vec<Home>,
    /// Formulas of the stage at hand whose values are in registers.
    kept: BTreeMap<ExprId, ValueId>,
    choice: Choice,
    /// Variables of the axes that all stages share, but for the batch.
    shared: Vec<(AxisId, Trips)>,
}

/// A stage under an assignment of its axes.
struct Place<'a> {
    stage: &'a Stage,
    axes: BTreeMap<AxisId, At>,
    /// Offset of the lanes within a block, in images.
    image: At,
    /// What the stage combined.
    acc: Vec<ValueId>,
    /// Where the lanes are neighbours of one image.
    row: Option<row::InRow>,
}

/// A tile of results: `a` channels × `x` positions from `a0`, `x0` on.
struct Tile {
    a: Option<Trips>,
    x: Option<Trips>,
    /// Lane groups in the place of positions.
    groups: i64,
    guarded: bool,
    /// The runs of a long row that is summed.
    parts: Option<Vec<bands::Part>>,
    band: Option<bands::Band>,
}

fn serial(d: Dim, body: Vec<Stmt>) -> Stmt {
    Stmt::For {
        dims: vec![d],
        kind: Kind::Serial,
        body,
    }
}

fn unrolled(v: Var, n: i64, body: Vec<Stmt>) -> Stmt {
    Stmt::For {
        dims: vec![Dim::count(v, n)],
        kind: Kind::Unrolled,
        body,
    }
}

impl Scheduler<'_> {
    fn groups(&self) -> i64 {
        i64::from(self.options.block / self.options.lanes)
    }

    fn is_batch(&self, a: &AxisId) -> bool {
        self.n.extent(*a) == Extent::Batch
    }

    /// Whether the stage sums over the images of the batch, so that its results are added to what is there.
    fn sums_images(&self, s: &Stage) -> bool {
        s.reduce.iter().any(|a| self.is_batch(a))
    }

    fn stage(&mut self, s: &Stage, shared: Option<Var>) -> Vec<Stmt> {
        let summed = self.sums_images(s);
        if !summed && shared.is_none() && !s.own.iter().any(|a| self.is_batch(a)) {
            return self.parameters(s);
        }
        let pieces = pieces::split(&mut self.k, self.n, s, &self.shared);
        pieces
            .iter()
            .flat_map(|p| self.piece(s, p, shared, summed))
            .collect()
    }

    /// Elements of parameters in the lanes. Row-major and alike, so one flat loop covers them.
    fn parameters(&mut self, s: &Stage) -> Vec<Stmt> {
        if s.combine != Combine::None {
            return self.total(s);
        }
        self.note(Lanes::Parameters, None, vec![]);
        let v = self.k.var("e");
        let len: i64 = s.own.iter().map(|&a| self.n.size(a)).product();
        let place = Place {
            stage: s,
            axes: BTreeMap::new(),
            image: Affine::var(v),
            acc: vec![],
            row: None,
        };
        let body = self.finish(&place);
        let lanes = i64::from(self.options.lanes);
        vec![serial(Dim::range(v, 0, len, lanes), body)]
    }

    fn piece(&mut self, s: &Stage, p: &Piece, shared: Option<Var>, summed: bool) -> Vec<Stmt> {
        let g = shared.unwrap_or_else(|| self.k.var("g"));
        let (channel, positions) = self.roles(s, p);
        let mut out = Vec::new();
        let mut from = 0;
        if let (Some(k), Some(c)) = (channel, positions)
            && !self.options.beyond.terms
            && let Some(sum) = self.sum_of_images(s, p, k, c)
        {
            (out, from) = self.transposed(&sum);
        }
        let columns: Vec<Trips> = p
            .reduce
            .iter()
            .copied()
            .filter(|r| {
                positions.is_some_and(|x| p.conditions.iter().any(|c| c.uses(r.0) && c.uses(x.0)))
            })
            .collect();
        let most = if summed { MOST_COLUMNS } else { MOST_UNROLLED };
        let parts = match (&columns[..], positions) {
            (&[c], Some(x)) if summed && c.1 > most => bands::parts(p, c, x),
            _ => None,
        };
        let unroll = parts.is_some() || columns.iter().map(|c| c.1).product::<i64>() <= most;
        let free = |r: &&Trips| r.1 <= most && !p.conditions.iter().any(|c| c.uses(r.0));
        let columns: Vec<Trips> = match p.reduce.last().filter(free) {
            Some(&last) if columns.is_empty() && s.combine == Combine::Sum => vec![last],
            _ => columns,
        };
        let by_groups = positions.is_none() && channel.is_some() && !summed && shared.is_none();
        let fits = |w: &i64| self.groups() % w == 0;
        let group_width = if by_groups {
            [4, 3, 2].into_iter().find(fits).unwrap_or(1)
        } else {
            1
        };
        let ranked = match (channel, positions) {
            (Some(k), Some(x)) if unroll && self.options.reuse => self.squares(k.1, x.1, 1),
            (Some(k), None) if by_groups => self.heights(k.1, group_width),
            _ => vec![],
        };
        let (a_width, x_width) = match (channel, positions) {
            _ if !ranked.is_empty() => self.pick(&ranked),
            (Some(k), Some(x)) if unroll && !summed => wide(k.1, x.1),
            (Some(_), Some(_)) if unroll => (2, 5),
            (Some(_), _) => (4, 1),
            (None, Some(_)) if unroll => (1, 4),
            _ => (1, 1),
        };
        let lanes = if summed { Lanes::Sums } else { Lanes::Images };
        let size = TileSize {
            channels: channel.map_or(1, |k| k.1.min(a_width)),
            positions: positions.map_or(1, |x| x.1.min(x_width)),
        };
        match channel {
            _ if from > 0 => self.note(Lanes::Results, None, vec![]),
            Some(_) => self.note(lanes, Some((size, group_width)), ranked),
            None => self.note(lanes, None, vec![]),
        }
        let columns = if unroll { columns } else { vec![] };
        let band = match channel {
            Some(_) if summed => self.band(p, &columns),
            _ => None,
        };
        let mut tiles = self.tiles(p, &columns, positions, x_width, unroll);
        if from > 0 {
            let rest = positions.map_or(0, |c| c.1 - from);
            tiles = vec![(from, 1, rest, false)];
            tiles.retain(|t| t.2 > 0);
        }
        // The rows that a result needs stay in the cache while all channels pass by. Where images are summed, so
        // does the gradient of a few channels while all taps pass by.
        let mut tiled = Vec::new();
        for (a_from, a_tiles, a_size) in cut(channel.map_or(1, |c| c.1), a_width) {
            for &(x_from, x_tiles, x_size, guarded) in &tiles {
                let tile = Tile {
                    a: channel.map(|c| (c.0, a_size)),
                    x: positions.map(|x| (x.0, x_size)),
                    groups: group_width,
                    guarded,
                    parts: parts.clone(),
                    band,
                };
                let mut body = self.tile(s, p, &tile, &columns, g, summed);
                if shared.is_none() && !summed {
                    body = vec![serial(Dim::range(g, 0, self.groups(), group_width), body)];
                }
                body = loop_over(positions, x_from, x_tiles, x_size, body);
                if summed {
                    body = around(p, &[channel, positions], body);
                }
                tiled.extend(loop_over(channel, a_from, a_tiles, a_size, body));
            }
        }
        if !summed {
            if self.finishes_apart(s) {
                tiled.push(self.finish_apart(s, p, channel, positions));
            }
            tiled = around(p, &[channel, positions], tiled);
        }
        if let Some(b) = band {
            tiled = vec![serial(Dim::range(b.start, 0, b.of.1, b.rows), tiled)];
        }
        out.extend(tiled);
        out
    }

    /// The own axis that picks among parameters only, and the one whose positions share them.
    fn roles(&self, s: &Stage, p: &Piece) -> (Option<Trips>, Option<Trips>) {
        let loads: Vec<&Access> = match &s.exprs[s.body.0 as usize] {
            Expr::Binary(Binary::Mul, a, b) => [a, b]
                .into_iter()
                .filter_map(|e| match &s.exprs[e.0 as usize] {
                    Expr::Load(a) => Some(a),
                    _ => None,
                })
                .collect(),
            _ => vec![],
        };
        let uses = |a: &Access, v: Var| {
            a.index.iter().any(|i| match i {
                Index::Affine(i) => i
                    .terms
                    .iter()
                    .any(|t| p.axes.get(&t.0).is_some_and(|at| at.uses(v))),
                Index::Lookup(..) => false,
            })
        };
        let product = loads.len() == 2 && s.combine == Combine::Sum;
        let channel = p
            .own
            .iter()
            .copied()
            .filter(|_| product)
            .find(|o| uses(loads[0], o.0) && !uses(loads[1], o.0));
        let positions = p
            .own
            .last()
            .copied()
            .filter(|o| o.1 > 1 && channel.is_none_or(|c| c.0 != o.0));
        (channel, positions)
    }

    /// Cuts the positions into tiles: first position, number of tiles, width, whether taps may be missing.
    fn tiles(
        &self,
        p: &Piece,
        columns: &[Trips],
        positions: Option<Trips>,
        width: i64,
        unrolled: bool,
    ) -> Vec<(i64, i64, i64, bool)> {
        let Some((x, n)) = positions else {
            return vec![(0, 1, 1, false)];
        };
        if !unrolled || columns.is_empty() {
            return cut(n, width)
                .into_iter()
                .map(|(f, t, w)| (f, t, w, false))
                .collect();
        }
        let inside = |at: i64| pieces::hold(p, x, columns, at, at);
        let mut tiles: Vec<(i64, i64, i64, bool)> = Vec::new();
        for from in (0..n).step_by(width as usize) {
            let size = width.min(n - from);
            let guarded = !(from..from + size).all(inside);
            match tiles.last_mut() {
                Some(t) if !guarded && !t.3 && t.2 == size => t.1 += 1,
                _ => tiles.push((from, 1, size, guarded)),
            }
        }
        if tiles.len() > MOST_PEELED {
            vec![(0, n, 1, true)]
        } else {
            tiles
        }
    }
}

/// What a tile of channels × positions costs, in quarters of a multiply-add: those, where they are not too few to hide
/// their latency, and a part for what it loads.
fn cost(channels: i64, positions: i64) -> i64 {
    4 * (channels * positions).max(HIDES_LATENCY) + channels + positions
}

/// Full tiles and the rest: first element, number of tiles, width.
fn cut(n: i64, width: i64) -> Vec<(i64, i64, i64)> {
    let width = width.min(n).max(1);
    let mut parts = vec![(0, n / width, width)];
    if n % width > 0 {
        parts.push((n - n % width, 1, n % width));
    }
    parts
}

/// Loops over the own axes that no tile runs along.
fn around(p: &Piece, inside: &[Option<Trips>], mut body: Vec<Stmt>) -> Vec<Stmt> {
    for &(v, n) in p.own.iter().rev() {
        if !inside.iter().flatten().any(|t| t.0 == v) {
            body = vec![serial(Dim::count(v, n), body)];
        }
    }
    body
}

/// Loops over the axes that all stages share.
fn within(shared: &[(AxisId, Trips)], mut body: Vec<Stmt>) -> Vec<Stmt> {
    for &(_, (v, n)) in shared.iter().rev() {
        body = vec![serial(Dim::count(v, n), body)];
    }
    body
}

/// A width of at most this many that leaves no narrow rest, if there is one.
fn even(n: i64, most: i64) -> i64 {
    let fits = (most / 2 + 1..=most).rev().find(|w| n % w == 0);
    fits.unwrap_or(most).max(1)
}

/// A tile of channels × positions: rows are cut evenly, and short ones share a tile with other channels. Each
/// loaded value is used once, so nothing is gained by more channels than fill the registers.
fn wide(channels: i64, positions: i64) -> (i64, i64) {
    let rows = (positions + MOST_ACCUMULATORS - 1) / MOST_ACCUMULATORS;
    let width = (positions + rows - 1) / rows;
    (even(channels, MOST_ACCUMULATORS / width), width)
}

/// Runs `body` for each tile of an axis. A single tile still binds its variable, to a constant.
fn loop_over(axis: Option<Trips>, from: i64, tiles: i64, width: i64, body: Vec<Stmt>) -> Vec<Stmt> {
    let Some((v, _)) = axis else { return body };
    let dim = Dim::range(v, from, from + tiles * width, width);
    let kind = if tiles == 1 {
        Kind::Unrolled
    } else {
        Kind::Serial
    };
    vec![Stmt::For {
        dims: vec![dim],
        kind,
        body,
    }]
}
