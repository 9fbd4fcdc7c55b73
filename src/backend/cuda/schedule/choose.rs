//! Picks the tile of a sum of products: by a model of the device, from a list of candidates.
//!
//! The model counts what a block does for one chunk of the reduction: multiply-adds (a multiprocessor starts
//! those of four warps a cycle) beside loads from shared memory (one warp a cycle), then bringing in the next chunk and
//! waiting for it. Blocks spread over the multiprocessors, and global traffic is added to what they take. Constants
//! are round figures for parts since Volta; they decide between tiles and promise nothing.
//!
//! Does not know how a tile is written down.

use super::product::Product;
use super::{Builder, THREADS, Trips};
use crate::nest::loops::{At, Var};
use crate::nest::{Access, Affine, Index};

/// Bytes of the elements that a block has in shared memory, so that several blocks share a multiprocessor.
const SHARED_BYTES: i64 = 24 << 10;
/// Bytes that they take there with the ends of rows. A kernel may have 48 KiB; the sums of the loss take some.
const MOST_PLACED_BYTES: i64 = 46 << 10;
/// Elements of a register tile.
const MOST_ACCUMULATORS: i64 = 48;
/// Elements of one row of the second factor that a thread holds.
const MOST_ROW: i64 = 20;
/// Cycles from asking for a chunk until the block can go on.
const LATENCY: f64 = 600.0;
/// Instructions to bring in one element, over those that a multiprocessor starts a cycle for a thread.
const FILL: f64 = 12.0 / 128.0;
/// Cycles that a thread takes to bring in one element, two warps to a scheduler.
const ROUND: f64 = 24.0;
/// Bytes a cycle of the whole device: half of what it has, since a step of small layers leaves little time to hide
/// traffic in.
const BANDWIDTH: f64 = 900.0;
/// Blocks that a multiprocessor holds at once.
const RESIDENT: f64 = 4.0;
/// Values of a reduction that are written out one after the other.
const MOST_UNROLLED: i64 = 8;
/// Sums of one parameter over shards take no more than this.
const MOST_SHARD_BYTES: i64 = 8 << 20;
const MOST_SHARDS: i64 = 64;

/// Sizes of a tile; see [`super::contraction`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of results of a thread, and groups of so many in a block.
    pub tm: i64,
    pub mg: i64,
    /// The same of the threads' own variable.
    pub tn: i64,
    pub vg: i64,
    /// What a block takes of the other result variables of the second factor, and of the reduction.
    pub n: Vec<i64>,
    pub k: Vec<i64>,
    /// The reduction variable that threads share out, and among how many.
    pub split: Option<(usize, i64)>,
    /// The reduction variable that is written out, and how much of it at a time.
    pub unroll: (usize, i64),
    /// Ranges of images that are summed apart; 1 where none are summed.
    pub shards: i64,
}

impl Tile {
    /// Threads that have work.
    pub fn threads(&self) -> i64 {
        self.mg * self.vg * self.n.iter().product::<i64>() * self.split.map_or(1, |s| s.1)
    }
}

/// What is known of a product before a tile is chosen.
struct Search<'a> {
    p: &'a Product<'a>,
    a: Vec<At>,
    b: Vec<At>,
    images: Option<i64>,
    multiprocessors: f64,
}

impl Builder<'_> {
    /// The best tile; `None` where none fits.
    pub(super) fn choose(&self, p: &Product) -> Option<Tile> {
        let dims = |a: &Access| -> Vec<At> {
            let of = |i: &Index| match i {
                Index::Affine(i) | Index::Lookup(_, i) => i.substitute(|v| p.axes[&v].clone()),
            };
            a.index.iter().map(of).collect()
        };
        let search = Search {
            p,
            a: dims(p.a.access),
            b: dims(p.b.access),
            images: self.images.map(|i| i.count),
            multiprocessors: f64::from(self.o.multiprocessors),
        };
        let mut best: Option<(f64, Tile)> = None;
        search.candidates(&mut |t| {
            let cost = search.cost(&t);
            if best.as_ref().is_none_or(|b| cost < b.0) {
                best = Some((cost, t));
            }
        });
        best.map(|b| b.1)
    }
}

impl Search<'_> {
    fn candidates(&self, found: &mut impl FnMut(Tile)) {
        let m = self.p.m.map_or(1, |m| m.1);
        let v = self.p.n[self.p.n.len() - 1];
        let others = &self.p.n[..self.p.n.len() - 1];
        for tm in rows(m) {
            for mg in [1, 2, 4, 8, 16, 32]
                .into_iter()
                .filter(|g| tm * (g - 1) < m)
            {
                for tn in widths(self.trips(v)) {
                    if tm * tn > MOST_ACCUMULATORS {
                        continue;
                    }
                    for vg in self.groups(v, tn) {
                        let mut boxes = vec![1; others.len()];
                        let covered = tn * vg >= self.trips(v);
                        self.boxes(others, covered, &mut boxes, others.len(), &mut |n| {
                            self.with_reduction((tm, mg, tn, vg), n, found);
                        });
                    }
                }
            }
        }
    }

    /// How many values a variable takes: of the images, those of the block where it has them to itself.
    fn trips(&self, (v, n): Trips) -> i64 {
        match self.images {
            Some(images) if v == self.p.images => images,
            _ => n,
        }
    }

    fn groups(&self, v: Trips, tn: i64) -> Vec<i64> {
        let n = self.trips(v);
        let all = (n + tn - 1) / tn;
        let own = self.images.is_some() && v.0 == self.p.images;
        let mut out: Vec<i64> = [all, 16, 8, 4, 2, 1].into();
        out.retain(|&g| g <= all && g <= i64::from(THREADS) && (!own || g == all));
        out.dedup();
        out
    }

    /// Boxes of the other result variables, from the innermost outwards: more than one only where what is within
    /// is taken whole.
    fn boxes(
        &self,
        others: &[Trips],
        covered: bool,
        boxes: &mut Vec<i64>,
        left: usize,
        found: &mut impl FnMut(&[i64]),
    ) {
        let Some(at) = left.checked_sub(1) else {
            return found(boxes);
        };
        let n = self.trips(others[at]);
        let own = self.images.is_some() && others[at].0 == self.p.images;
        let mut sizes = vec![n, (n + 1) / 2, (n + 3) / 4, 32, 16, 8, 4, 2, 1];
        sizes.sort_unstable();
        sizes.dedup();
        sizes.retain(|&s| s <= n && s <= i64::from(THREADS) && (covered || s == 1));
        if own {
            sizes = vec![n];
        }
        for s in sizes {
            boxes[at] = s;
            self.boxes(others, covered && s == n, boxes, at, found);
        }
        boxes[at] = 1;
    }

    fn with_reduction(
        &self,
        (tm, mg, tn, vg): (i64, i64, i64, i64),
        n: &[i64],
        found: &mut impl FnMut(Tile),
    ) {
        let threads = mg * vg * n.iter().product::<i64>();
        if threads > i64::from(THREADS) {
            return;
        }
        let mut t = Tile {
            tm,
            mg,
            tn,
            vg,
            n: n.to_vec(),
            k: vec![1; self.p.k.len()],
            split: None,
            unroll: (0, 1),
            shards: 1,
        };
        if !self.reduction(&mut t) {
            return;
        }
        t.unroll = self.unrolled(&t);
        let at = t.unroll.0;
        if self.row(&t) > MOST_ROW {
            return;
        }
        if !self.p.summed {
            return found(t);
        }
        let others =
            (0..t.k.len()).find(|&k| k != at && t.k[k] > 1 && self.p.k[k].0 != self.p.images);
        for share in [1, 2, 4, 5, 7, 8, 10, 14, 16, 28, 32] {
            let split = others.filter(|_| share > 1).map(|k| (k, share));
            let fits = split.is_none_or(|(k, s)| s <= t.k[k]) && (share == 1 || split.is_some());
            let scratch = threads * tm * tn * share * 4;
            if fits
                && threads * share <= i64::from(THREADS)
                && (share == 1 || scratch <= SHARED_BYTES)
            {
                let mut t = Tile { split, ..t.clone() };
                t.shards = self.shards(&t);
                found(t);
            }
        }
    }

    /// Fills the shared memory with as much of the reduction as fits, windows first; false where nothing does.
    fn reduction(&self, t: &mut Tile) -> bool {
        let mut order: Vec<usize> = (0..self.p.k.len()).rev().collect();
        let slides = |k: &usize| {
            let v = self.p.k[*k].0;
            let with = |d: &At| d.uses(v) && self.p.n.iter().any(|n| d.uses(n.0));
            !self.b.iter().any(with)
        };
        order.sort_by_key(slides);
        if !self.fits(t) {
            return false;
        }
        for k in order {
            let (v, n) = self.p.k[k];
            let mut size = if v == self.p.images { 32.min(n) } else { n };
            loop {
                t.k[k] = size;
                if self.fits(t) {
                    break;
                }
                size = smaller(n, size);
            }
            let chunk: i64 = t.k.iter().product();
            if t.k[k] < n && chunk >= 32 {
                break;
            }
        }
        true
    }

    /// Whether the boxes fit the shared memory.
    fn fits(&self, t: &Tile) -> bool {
        let m = (t.tm * t.mg + 3) & !3;
        let a = self.volume(&self.a, t) / self.rows_of(t) * m;
        let elements = a + self.volume(&self.b, t) + 16;
        4 * elements <= SHARED_BYTES && self.placed_bytes(t) <= MOST_PLACED_BYTES
    }

    /// Bytes of the boxes as they lie in shared memory, the ends of rows included.
    fn placed_bytes(&self, t: &Tile) -> i64 {
        let v = self.p.n[self.p.n.len() - 1].0;
        let placed = |dims: &[At], innermost: Option<Var>| -> i64 {
            let last = innermost.and_then(|v| dims.iter().position(|d| d.uses(v)));
            let sizes = dims.iter().enumerate().map(|(k, d)| {
                let extent = self.extent(d, t);
                if Some(k) == last {
                    pitch(extent)
                } else {
                    extent
                }
            });
            sizes.product()
        };
        4 * (placed(&self.a, self.p.m.map(|m| m.0)) + placed(&self.b, Some(v)))
    }

    fn rows_of(&self, t: &Tile) -> i64 {
        t.tm * t.mg
    }

    /// Elements of a factor that a tile needs.
    fn volume(&self, dims: &[At], t: &Tile) -> i64 {
        dims.iter().map(|d| self.extent(d, t)).product()
    }

    fn extent(&self, d: &At, t: &Tile) -> i64 {
        let terms = d.terms.iter();
        let spread = terms.map(|&(v, c)| c.abs() * (self.size(v, t) - 1));
        spread.sum::<i64>() + 1
    }

    fn size(&self, v: Var, t: &Tile) -> i64 {
        let n = &self.p.n;
        if self.p.m.is_some_and(|m| m.0 == v) {
            return self.rows_of(t);
        }
        if n[n.len() - 1].0 == v {
            return t.tn * t.vg;
        }
        let of = |list: &[Trips], sizes: &[i64]| {
            let at = list.iter().position(|x| x.0 == v)?;
            sizes.get(at).copied()
        };
        of(n, &t.n).or_else(|| of(&self.p.k, &t.k)).unwrap_or(1)
    }

    /// The reduction variable to write out: one whose window slides along the threads' own variable, so that
    /// neighbouring taps share what is loaded, else the last.
    fn unrolled(&self, t: &Tile) -> (usize, i64) {
        let v = self.p.n[self.p.n.len() - 1].0;
        let slides = |k: &usize| self.b.iter().any(|d| d.uses(v) && d.uses(self.p.k[*k].0));
        let all = 0..self.p.k.len();
        let widest = all.clone().rev().max_by_key(|&k| t.k[k].min(MOST_UNROLLED));
        let k = all.clone().find(slides).or(widest).unwrap_or(0);
        let ((var, trips), size) = (self.p.k[k], t.k[k]);
        let whole = trips % size == 0 || var == self.p.images;
        let mut fits = (1..=size.min(MOST_UNROLLED)).rev();
        (k, fits.find(|u| whole && size % u == 0).unwrap_or(1))
    }

    /// Elements of the second factor that a thread holds at once.
    fn row(&self, t: &Tile) -> i64 {
        let v = self.p.n[self.p.n.len() - 1].0;
        let u = self.p.k[t.unroll.0].0;
        let d = self.b.iter().find(|d| d.uses(v));
        let (a, b) = d.map_or((1, 0), |d| (d.coefficient(v).abs(), d.coefficient(u).abs()));
        a * (t.tn - 1) + b * (t.unroll.1 - 1) + 1
    }

    fn blocks(&self, t: &Tile) -> i64 {
        let ceil = |n: i64, size: i64| (n + size - 1) / size;
        let groups: i64 = self.p.groups.iter().map(|g| g.1).product();
        let m = ceil(self.p.m.map_or(1, |m| m.1), self.rows_of(t));
        let last = self.p.n.len() - 1;
        let others = self.p.n[..last].iter().zip(&t.n);
        let n: i64 = others.map(|(&n, &s)| ceil(self.trips(n), s)).product();
        groups * m * n * ceil(self.trips(self.p.n[last]), t.tn * t.vg)
    }

    fn results(&self) -> i64 {
        let own = [self.p.groups.as_slice(), &self.p.n].concat();
        own.iter()
            .chain(&self.p.m)
            .map(|&x| self.trips(x))
            .product()
    }

    fn shards(&self, t: &Tile) -> i64 {
        let images = self.p.k.iter().position(|k| k.0 == self.p.images);
        let chunks = images.map_or(1, |k| (self.p.k[k].1 + t.k[k] - 1) / t.k[k]);
        // Other sums share the launch, so that one alone need not fill the device twice.
        let wanted = (self.multiprocessors / self.blocks(t) as f64).ceil() as i64;
        let affordable = (MOST_SHARD_BYTES / (4 * self.results())).max(1);
        wanted.clamp(1, chunks.min(MOST_SHARDS).min(affordable))
    }

    /// Cycles, roughly: what all warps of a multiprocessor take together, or what one warp takes alone, whichever
    /// is longer.
    fn cost(&self, t: &Tile) -> f64 {
        let warps = (t.threads() as f64 / 32.0).ceil();
        let share = t.split.map_or(1, |s| s.1);
        let steps = t.k.iter().product::<i64>() as f64 / share as f64;
        let fma = (t.tm * t.tn) as f64;
        let row = self.row(t) as f64 / if t.tn % 4 == 0 { 2.0 } else { 1.0 };
        let slides = self.row(t) > t.tn;
        let loads = (t.tm as f64 / 4.0).ceil() + row / if slides { t.unroll.1 as f64 } else { 1.0 };
        let elements = (self.volume(&self.a, t) + self.volume(&self.b, t)) as f64;
        let rounds = (elements / f64::from(THREADS)).ceil();
        let scratch = if share > 1 {
            t.threads() as f64 * fma
        } else {
            0.0
        };
        let ceil = |(n, s): (&Trips, &i64)| (self.trips(*n) + s - 1) / s;
        let chunks = self.p.k.iter().zip(&t.k).map(ceil).product::<i64>() as f64 / t.shards as f64;
        let blocks = (self.blocks(t) * t.shards) as f64;
        // A block that has its images to itself takes all tiles, one after the other.
        let (each, resident) = match self.images {
            Some(_) => (blocks, 1.0),
            None => ((blocks / self.multiprocessors).ceil(), RESIDENT),
        };
        let issued = warps * steps * (fma + loads) / 4.0;
        let together =
            chunks * (issued.max(warps * steps * loads) + elements * FILL) + scratch * FILL;
        let alone =
            chunks * (steps * (fma + loads) + rounds * ROUND + LATENCY) + share as f64 * ROUND;
        // A warp's store touches a sector for each thread, unless threads store rows or neighbours.
        let apart = if t.tn % 4 == 0 { 1 } else { t.tn.min(8) };
        let stored = (self.results() * apart * t.shards) as f64;
        let bytes = 4.0 * (blocks * chunks * elements + stored);
        (each * together).max((each / resident).ceil() * alone) + bytes / BANDWIDTH
    }
}

/// Rows of results of a thread.
fn rows(m: i64) -> Vec<i64> {
    let mut out = vec![8, 4];
    if m <= 8 {
        out = vec![m];
    }
    if (9..=16).contains(&m) && m % 4 != 0 {
        out.push(m);
    }
    out
}

/// Widths of a thread along its own variable that waste no more than a quarter.
fn widths(n: i64) -> Vec<i64> {
    let wasteful = |w: i64| (n + w - 1) / w * w * 3 > n * 4;
    let mut out: Vec<i64> = [8, 7, 6, 5, 4, 3, 2, 1].into();
    out.retain(|&w| w <= n && !wasteful(w));
    out
}

/// The next smaller size of a chunk: one that divides the whole, of whole sectors if it is not much smaller.
fn smaller(n: i64, size: i64) -> i64 {
    let from = |least: i64| (least.max(1)..size).rev().filter(move |s| n % s == 0);
    let sectors = from(size / 3).find(|s| s % 8 == 0);
    let divides = from(size / 2).next();
    sectors.or(divides).unwrap_or((size / 2).max(1))
}

/// Elements from one row of a box to the next: rows of four, that start in different banks so that a column of them is
/// written in few wavefronts.
pub(super) fn pitch(extent: i64) -> i64 {
    let whole = (extent + 3) & !3;
    if whole % 8 == 0 { whole + 4 } else { whole }
}

/// A variable at its tile's start and its place within.
pub(super) fn moved(start: Option<Var>, inner: At) -> At {
    start.map_or(inner.clone(), |s| Affine::var(s) + inner)
}
