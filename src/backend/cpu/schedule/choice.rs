//! Which tiles a contraction may have, what each costs, and what was chosen and why: for readers and for tuning.
//!
//! A tile's size never changes the order in which an element's terms are added: each sum has an accumulator of its own,
//! and the loops of the reduction are the same whatever stands beside it. So any of these tiles gives the same bits.
//!
//! Does not know how a tile is computed, nor how long anything takes on a machine.

use std::fmt;

use super::{Options, Scheduler, cost, cut, even};
use crate::diag;

/// Candidates cost no more than so many times the cheapest,
const MOST_COST: f64 = 1.5;
/// and are no more than so many, the chosen tile aside.
const MOST_CANDIDATES: usize = 8;

/// Results that are kept in registers at a time: channels × positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileSize {
    pub channels: i64,
    pub positions: i64,
}

/// A tile and what a multiply-add costs in it, 1 where nothing else takes time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Priced {
    pub size: TileSize,
    pub cost: f64,
}

/// What the lanes of a kernel's vectors hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// An image each.
    Images,
    /// Partial sums over the images.
    Sums,
    /// Neighbouring results of a sum over images, for which activations are transposed.
    Results,
    /// Neighbouring elements of parameters.
    Parameters,
    /// Partial sums over parameters.
    Total,
    /// Neighbouring results within one image,
    Row,
    /// from one row into the next.
    Rows,
    /// Neighbouring terms within one image.
    Terms,
    /// The same.
    Alike,
}

/// Tiles of one part of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiling {
    pub size: TileSize,
    /// Vectors of images beside each other in a tile.
    pub groups: i64,
    /// Vectors that the tile fills.
    pub registers: i64,
    /// Those that it could be, the one of the static choice first and then by cost; empty where sizes are fixed.
    pub ranked: Vec<Priced>,
}

/// The schedule of one stage, or of a part of it that has conditions of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub lanes: Lanes,
    /// Where something is contracted.
    pub tiling: Option<Tiling>,
}

/// How a nest was scheduled, and why so.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub options: Options,
    pub parts: Vec<Part>,
    /// Whether tiles that fill more registers were left because they need moves in an innermost loop.
    pub narrowed: bool,
}

impl Choice {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            parts: vec![],
            narrowed: false,
        }
    }

    /// Tiles that are worth a measurement: the cheapest of all parts, the chosen ones aside.
    pub fn candidates(&self) -> Vec<TileSize> {
        let tilings = self.parts.iter().filter_map(|p| p.tiling.as_ref());
        let mut all: Vec<Priced> = Vec::new();
        for t in tilings {
            let others = t.ranked.iter().filter(|p| p.size != t.size);
            all.extend(others.filter(|p| p.cost <= MOST_COST * cheapest(&t.ranked)));
        }
        all.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let mut sizes: Vec<TileSize> = Vec::new();
        for p in all {
            if !sizes.contains(&p.size) {
                sizes.push(p.size);
            }
        }
        sizes.truncate(MOST_CANDIDATES);
        sizes
    }
}

fn cheapest(ranked: &[Priced]) -> f64 {
    ranked.iter().map(|p| p.cost).fold(f64::INFINITY, f64::min)
}

impl Scheduler<'_> {
    /// The tiles of channels × positions that fit, the cheapest over all of them first, narrow rests counted: the
    /// narrower side of a tile is held in registers while the other one passes by. A position is `each` vectors.
    pub(super) fn squares(&self, channels: i64, positions: i64, each: i64) -> Vec<Priced> {
        let filled = |a: i64, x: i64| a * x + a.min(x);
        self.ranked([channels, positions], each, filled, cost)
    }

    /// The tiles whose sums and held values, as many as `filled` says, leave a register, the cheapest first. `cost` is of
    /// one tile of channels × vectors, in quarters of a multiply-add.
    pub(super) fn ranked(
        &self,
        [channels, positions]: [i64; 2],
        each: i64,
        filled: impl Fn(i64, i64) -> i64,
        cost: impl Fn(i64, i64) -> i64,
    ) -> Vec<Priced> {
        let most = i64::from(self.options.registers);
        let sides = |n: i64| 1..=n.min(most);
        let shapes = sides(channels).flat_map(|a| sides(positions).map(move |x| (a, x)));
        let mut fitting: Vec<(i64, i64)> = shapes
            .filter(|&(a, x)| filled(a, x * each) < most)
            .collect();
        if fitting.is_empty() {
            fitting.push((1, 1));
        }
        let total = |a, x| total([channels, positions], [a, x], |a, x| cost(a, x * each));
        fitting.sort_by_cached_key(|&(a, x)| (total(a, x), -a * x));
        let priced = |(a, x)| priced(total(a, x), channels * positions * each, a, x);
        fitting.into_iter().map(priced).collect()
    }

    /// The numbers of channels that fit beside so many vectors of images: first the most that leave no narrow rest,
    /// then the others by cost.
    pub(super) fn heights(&self, channels: i64, groups: i64) -> Vec<Priced> {
        let most = (i64::from(self.options.registers) - 1) / groups - 1;
        let chosen = even(channels, most).min(channels);
        let total = |a: i64| total([channels, groups], [a, groups], cost);
        let mut all: Vec<i64> = (1..=most.clamp(1, channels)).collect();
        all.sort_by_key(|&a| (a != chosen, total(a), -a));
        let priced = |a| priced(total(a), channels * groups, a, 1);
        all.into_iter().map(priced).collect()
    }

    /// The size that the options ask for where there is a choice, else the first.
    pub(super) fn pick(&self, ranked: &[Priced]) -> (i64, i64) {
        let size = self.options.tile.unwrap_or(ranked[0].size);
        (size.channels, size.positions)
    }

    /// Writes down what the lanes of a part hold and its tile, if it has one.
    pub(super) fn note(
        &mut self,
        lanes: Lanes,
        tile: Option<(TileSize, i64)>,
        ranked: Vec<Priced>,
    ) {
        let tiling = tile.map(|(size, groups)| Tiling {
            size,
            groups,
            registers: self.filled(size.channels, size.positions * groups),
            ranked,
        });
        self.choice.parts.push(Part { lanes, tiling });
    }

    /// Vectors that a tile fills: its sums and, where loaded values are held, the narrower side and what passes by.
    fn filled(&self, channels: i64, others: i64) -> i64 {
        let held = channels.min(others) + 1;
        channels * others + if self.options.reuse { held } else { 0 }
    }
}

/// The cost of all tiles, rests included.
fn total(sides: [i64; 2], tile: [i64; 2], cost: impl Fn(i64, i64) -> i64) -> i64 {
    let rows = cut(sides[0], tile[0]).into_iter();
    let tiles = rows.flat_map(|r| cut(sides[1], tile[1]).into_iter().map(move |c| (r, c)));
    tiles.map(|(r, c)| r.1 * c.1 * cost(r.2, c.2)).sum()
}

fn priced(total: i64, results: i64, channels: i64, positions: i64) -> Priced {
    Priced {
        size: TileSize {
            channels,
            positions,
        },
        cost: total as f64 / (4 * results) as f64,
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Images => "an image in each",
            Self::Sums => "sums over some of the images in each, added up at the end of a block",
            Self::Results => "neighbouring results in them, activations transposed",
            Self::Parameters => "neighbouring elements of parameters in them",
            Self::Total => "sums over parameters in them",
            Self::Row => "neighbouring results in them",
            Self::Rows => "neighbouring results in them, from one row into the next",
            Self::Terms => "neighbouring terms in them, added up at the end",
            Self::Alike => "the same in all",
        })
    }
}

impl Tiling {
    fn text(&self, o: Options) -> String {
        let channels = diag::count(self.size.channels as u64, "channel");
        let beside = match (self.size.positions, self.groups) {
            (1, n) if o.block > 1 => diag::count(n as u64, "vector") + " of images",
            (n, 1) => diag::count(n as u64, "position"),
            (n, each) => {
                diag::count(n as u64, "row") + " of " + &diag::count(each as u64, "vector")
            }
        };
        let (filled, all) = (self.registers, o.registers);
        let fills = format!("tile of {channels} × {beside} in {filled} of {all} registers");
        let of = |chosen: bool| self.ranked.iter().find(|p| (p.size == self.size) == chosen);
        let (Some(chosen), next) = (of(true), of(false)) else {
            return fills;
        };
        let next = next.map_or(String::new(), |n| {
            let beside = n.size.positions * self.groups;
            let why = if n.cost < chosen.cost {
                ", but a narrow rest"
            } else {
                ""
            };
            format!(
                "; next {} × {beside} with {:.3}{why}",
                n.size.channels, n.cost
            )
        });
        format!("{fills}, cost {:.3} a multiply-add{next}", chosen.cost)
    }
}

/// A line for the block and what is in the lanes of each kind of part, and one for each tile; lines that repeat
/// are left out.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Options { lanes, block, .. } = self.options;
        let mut lines: Vec<String> = Vec::new();
        let mut add = |line: String| {
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        for p in &self.parts {
            add(match p.lanes {
                Lanes::Parameters | Lanes::Total => format!("{lanes} lanes, {}", p.lanes),
                _ if block == 1 => format!("image by image, {lanes} lanes, {}", p.lanes),
                _ => format!(
                    "blocks of {}, {}, {}",
                    diag::count(u64::from(block), "image"),
                    diag::count(u64::from(lanes), "lane"),
                    p.lanes
                ),
            });
            if let Some(t) = &p.tiling {
                add(t.text(self.options));
            }
        }
        if self.narrowed {
            add("tiles that fill more registers leave moves in an innermost loop".into());
        }
        f.write_str(&lines.join("\n"))
    }
}
