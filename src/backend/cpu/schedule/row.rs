//! Blocks of one image, for batches smaller than the lanes: the lanes hold neighbours within the image.
//!
//! Its values lie row-major, as in blocks of many images with a block of one. What is in the lanes is chosen for each
//! piece of a stage, by how many lanes are of use: an own axis along which results lie side by side, as the columns of
//! a convolution's result; or a reduction axis along which a product's factors do, as Linear's inputs, whose lanes are
//! added up at the end; or nothing, so that all lanes compute the same and one is stored. Where a window reaches into
//! the padding, and at the end of terms, lanes that do not exist are not read and count as 0. Behind the end of a row of
//! results lanes may hold anything: they are not stored.
//!
//! Does not know operators or instructions.

use super::choice::{Lanes, TileSize};
use super::{Home, Scheduler, Trips, around, cut, even, loop_over, within};
use crate::backend::pieces::{self, Piece};
use crate::ir::DType;
use crate::nest::loops::{At, Edge, Entry, Read, Row, Stmt, Var, Write};
use crate::nest::{Access, Affine, Index, Stage};

mod choose;
mod tile;
mod wrapped;

use choose::{Along, all, used};

/// The lanes of a place. The axes' indices contain `lane`, which stands for the lane's number.
#[derive(Clone)]
pub(super) struct InRow {
    lane: Var,
    /// Non-negative in the lanes that take part.
    edges: Vec<At>,
    /// Non-negative before the end of the row; none where that is certain.
    end: Option<At>,
    /// Lanes beyond the end may hold anything: what they compute is not stored.
    idle: bool,
    /// The lanes that have results: so many of the first, or all where there are more.
    valid: At,
}

impl InRow {
    /// All lanes take part, if they differ at all.
    fn whole(lane: Var) -> Self {
        Self {
            lane,
            edges: vec![],
            end: None,
            idle: true,
            valid: Affine::constant(i64::from(u16::MAX)),
        }
    }

    /// Non-negative in the lanes whose terms count.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &At> {
        self.edges
            .iter()
            .chain(self.end.iter().filter(|_| !self.idle))
    }

    /// The index in the first lane.
    pub(super) fn start(&self, at: &At) -> At {
        at.substitute(|v| match v == self.lane {
            true => Affine::constant(0),
            false => Affine::var(v),
        })
    }

    /// Where the first lane's result lies, and which others are stored beside it.
    pub(super) fn written(&self, at: &At) -> (At, Write) {
        let how = match at.coefficient(self.lane) {
            0 => Write::First,
            step => Write::Row(self.valid.clone(), step),
        };
        (self.start(at), how)
    }

    /// Whether the index differs from lane to lane.
    pub(super) fn varies(&self, at: &At) -> bool {
        at.uses(self.lane)
    }

    /// By how much the index grows from lane to lane.
    pub(super) fn step(&self, at: &At) -> i64 {
        at.coefficient(self.lane)
    }
}

impl Scheduler<'_> {
    /// Schedules the whole nest.
    pub(super) fn one_image(&mut self) {
        let mut body = Vec::new();
        let lane = self.k.var("l");
        let shared = pieces::shared(&mut self.k, self.n);
        for s in &self.n.stages {
            let mut axes = self.n.shared.iter().chain(&s.own).chain(&s.reduce);
            if !axes.any(|a| self.is_batch(a)) {
                body.extend(self.parameters(s));
                continue;
            }
            for mut p in pieces::split(&mut self.k, self.n, s, &shared) {
                pieces::drop_idle(&mut p);
                let p = self.joined(s, p, &all(s));
                body.extend(self.row_piece(s, &p, lane));
            }
        }
        self.k.body = within(&shared, body);
    }

    /// How an access reads whose address is `at`.
    pub(super) fn in_row(&self, row: &InRow, a: &Access, at: &At) -> Read {
        let step = at.coefficient(row.lane);
        let entry = match a.index.first() {
            Some(Index::Lookup(t, _)) => {
                let Home::Memory(index) = self.tensors[t.0 as usize] else {
                    panic!("indices lie in memory")
                };
                Some(Entry {
                    index,
                    at: Affine::constant(0),
                    stride: self.n.ty(a.tensor).elements() as i64,
                })
            }
            _ => None,
        };
        if step == 0 && entry.is_none() {
            return Read::Splat;
        }
        let edge = |e: &At| Edge {
            at: row.start(e),
            by: e.coefficient(row.lane),
        };
        // Of two factors one that is 0 is enough: the one that knows all that the condition knows.
        let known = |e: &&At| e.terms.iter().all(|t| at.uses(t.0));
        let ty = self.n.ty(a.tensor);
        let beyond = row.idle && ty.is_batch() && ty.dtype == DType::F32;
        let ends = row.end.iter().filter(|_| !beyond);
        let edges = row.edges.iter().chain(ends).filter(known).map(edge);
        Read::Row(Row {
            step,
            edges: edges.collect(),
            entry,
        })
    }

    fn row_piece(&mut self, s: &Stage, p: &Piece, lane: Var) -> Vec<Stmt> {
        let apart = self.finishes_apart(s);
        let end = if apart { End::Kept } else { End::Finished };
        let mut out = match self.lanes(s, p) {
            Some(Along::Own(l)) => match self.wrapped(s, p, l, lane) {
                Some(w) => self.wrapped_results(&w, end),
                None => self.results(s, p, l, lane, end),
            },
            Some(Along::Reduced(l)) => self.sums(s, p, l, lane, end),
            None => self.alone(s, p, lane, end),
        };
        if apart {
            let read = used(s, &s.finish);
            let p = self.joined(s, finishing(p), &read);
            let last = p.own.last().copied();
            let last = last.filter(|l| self.side_by_side(s, &p, l.0, &read));
            out.extend(match last {
                Some(l) => self.results(s, &p, l, lane, End::Apart),
                None => self.alone(s, &p, lane, End::Apart),
            });
        }
        out
    }

    /// All results of a piece, those along `l` in the lanes.
    fn results(&mut self, s: &Stage, p: &Piece, l: Trips, lane: Var, end: End) -> Vec<Stmt> {
        let (channel, rows) = match end {
            End::Apart => (None, None),
            _ => self.sides(s, p, l.0),
        };
        let vectors = self.vectors(l.1);
        let most = match channel {
            Some(_) => vectors.min(2),
            None if p.reduce.is_empty() || end == End::Apart => 1,
            None => even(vectors, vectors.min(MOST_SUMS)),
        };
        let ranked = channel.map(|c| self.squares(c.1, rows.map_or(1, |r| r.1), most));
        let (a_width, x_width) = ranked.as_ref().map_or((1, 1), |r| self.pick(r));
        let size = TileSize {
            channels: a_width,
            positions: x_width,
        };
        let ranked = ranked.unwrap_or_default();
        self.note(Lanes::Row, channel.map(|_| (size, most)), ranked);
        let taps = choose::taps(p, l.0);
        let mut body = Vec::new();
        for segment in self.segments(p, l, &taps, most) {
            let mut tiled = Vec::new();
            for (a_from, a_tiles, a_size) in cut(channel.map_or(1, |c| c.1), a_width) {
                for (x_from, x_tiles, x_size) in cut(rows.map_or(1, |r| r.1), x_width) {
                    let t = Tile {
                        a: channel.map(|c| (c.0, a_size)),
                        x: rows.map(|r| (r.0, x_size)),
                        lanes: Some(l),
                        lane,
                        end,
                    };
                    let tile = self.row_tile(s, p, &t, &segment, &taps);
                    let tile = loop_over(rows, x_from, x_tiles, x_size, tile);
                    tiled.extend(loop_over(channel, a_from, a_tiles, a_size, tile));
                }
            }
            let width = segment.vectors * i64::from(self.options.lanes);
            body.extend(loop_over(
                Some(l),
                segment.from,
                segment.tiles,
                width,
                tiled,
            ));
        }
        around(p, &[Some(l), channel, rows], body)
    }

    /// All results of a piece, the terms along `l` in the lanes.
    fn sums(&mut self, s: &Stage, p: &Piece, l: Trips, lane: Var, end: End) -> Vec<Stmt> {
        let channel = self.sides(s, p, l.0).0;
        let positions = choose::coupled(p, l.0).first().copied();
        let width = positions.map_or(1, |x| x.1);
        let fitting = (i64::from(self.options.registers) - 2 - width) / width;
        let most = match positions {
            Some(_) => MOST_SUMS,
            None => STREAMS,
        };
        let height = channel.map_or(1, |c| even(c.1, fitting.clamp(1, most)));
        let size = TileSize {
            channels: height,
            positions: width,
        };
        self.note(Lanes::Terms, channel.map(|_| (size, 1)), vec![]);
        let segments = self.segments(p, l, positions.as_slice(), 1);
        let mut body = Vec::new();
        for (from, tiles, size) in cut(channel.map_or(1, |c| c.1), height) {
            let t = Tile {
                a: channel.map(|c| (c.0, size)),
                x: positions,
                lanes: Some(l),
                lane,
                end,
            };
            let tile = self.sum_tile(s, p, &t, &segments);
            let tile = loop_over(positions, 0, 1, width, tile);
            body.extend(loop_over(channel, from, tiles, size, tile));
        }
        around(p, &[channel, positions], body)
    }

    /// One result at a time, the same in all lanes.
    fn alone(&mut self, s: &Stage, p: &Piece, lane: Var, end: End) -> Vec<Stmt> {
        self.note(Lanes::Alike, None, vec![]);
        let t = Tile {
            a: None,
            x: None,
            lanes: None,
            lane,
            end,
        };
        let whole = Segment {
            from: 0,
            tiles: 1,
            vectors: 1,
            masked: false,
        };
        let tile = self.row_tile(s, p, &t, &whole, &[]);
        around(p, &[], tile)
    }

    /// Vectors that hold so many elements.
    fn vectors(&self, n: i64) -> i64 {
        let lanes = i64::from(self.options.lanes);
        (n + lanes - 1) / lanes
    }

    /// Runs of vectors along the lanes' axis, `most` in each tile. In a masked one some lanes do not take part.
    fn segments(&self, p: &Piece, l: Trips, taps: &[Trips], most: i64) -> Vec<Segment> {
        let lanes = i64::from(self.options.lanes);
        let mut out: Vec<Segment> = Vec::new();
        let vectors = self.vectors(l.1);
        for v in (0..vectors).step_by(most as usize) {
            let size = most.min(vectors - v);
            let masked = !(v..v + size).all(|v| self.whole(p, l, taps, v));
            match out.last_mut() {
                Some(s) if !masked && !s.masked && s.vectors == size => s.tiles += 1,
                _ => out.push(Segment {
                    from: v * lanes,
                    tiles: 1,
                    vectors: size,
                    masked,
                }),
            }
        }
        out
    }
}

/// Operands of neighbouring lanes lie so many elements apart at most, and a power of two.
pub(super) const MOST_APART: i64 = 8;
/// Accumulators that hide the latency of additions.
const MOST_SUMS: i64 = 12;

/// Rows of weights that are read at a time where each is used once: memory is what that waits for.
const STREAMS: i64 = 2;

/// What becomes of sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// They are finished and stored, or added to what is there.
    Finished,
    /// They are stored as they are,
    Kept,
    /// and read again to be finished.
    Apart,
}

/// Vectors along the lanes' axis: `tiles` times so many, from an element on.
struct Segment {
    from: i64,
    tiles: i64,
    vectors: i64,
    /// Some lanes do not take part. There is one tile.
    masked: bool,
}

/// Channels × rows of results, or of sums of lanes, from those on that the variables say.
struct Tile {
    a: Option<Trips>,
    x: Option<Trips>,
    /// The axis in the lanes.
    lanes: Option<Trips>,
    /// The lane's number.
    lane: Var,
    end: End,
}

/// The results of a piece whose sums are there.
fn finishing(p: &Piece) -> Piece {
    Piece {
        reduce: vec![],
        conditions: vec![],
        ..p.clone()
    }
}
