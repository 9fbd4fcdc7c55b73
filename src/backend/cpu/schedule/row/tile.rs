//! One tile of results, or of sums whose lanes are added up at the end.
//!
//! Does not know which axis the lanes run along, or how results are cut into tiles.

use std::collections::BTreeMap;

use super::super::tile::run;
use super::super::{Place, Scheduler, Trips, unrolled};
use super::{End, InRow, Segment, Tile};
use crate::backend::combine;
use crate::backend::pieces::{Piece, bounded};
use crate::nest::loops::{At, Dim, Expr as V, Kind, RegId, Stmt, Var};
use crate::nest::{Affine, AxisId, Combine, Stage};

/// The variables of a tile: unrolled loops over its channels, rows and vectors.
struct Frame {
    axes: BTreeMap<AxisId, At>,
    /// Channels, rows, vectors: those that are more than one.
    loops: Vec<Trips>,
    /// How many of the loops are over channels.
    channels: usize,
    /// The index along the lanes' axis, with the lane's number.
    along: At,
}

impl Frame {
    fn index(&self) -> (Vec<At>, Vec<u32>) {
        let loops = self.loops.iter();
        loops.map(|l| (Affine::var(l.0), l.1 as u32)).unzip()
    }

    fn nested(&self, mut body: Vec<Stmt>) -> Vec<Stmt> {
        for &(v, n) in self.loops.iter().rev() {
            body = vec![unrolled(v, n, body)];
        }
        body
    }
}

impl Scheduler<'_> {
    fn frame(&mut self, p: &Piece, t: &Tile, vectors: i64) -> Frame {
        let [av, xv, gv] = ["a", "x", "y"].map(|v| self.k.var(v));
        let mut shift: BTreeMap<Var, At> = BTreeMap::new();
        let mut loops = Vec::new();
        for (v, side) in [(av, t.a), (xv, t.x)] {
            if let Some((var, n)) = side.filter(|s| s.1 > 1) {
                shift.insert(var, Affine::var(v));
                loops.push((v, n));
            }
        }
        let channels = usize::from(t.a.is_some_and(|a| a.1 > 1));
        let mut along = Affine::constant(0);
        if let Some((l, _)) = t.lanes {
            along = Affine::var(t.lane);
            if vectors > 1 {
                along = along + Affine::var(gv) * i64::from(self.options.lanes);
                loops.push((gv, vectors));
            }
            shift.insert(l, along.clone());
            along = along + Affine::var(l);
        }
        let axes = p.axes.iter().map(|(&a, at)| (a, moved(at, &shift)));
        Frame {
            axes: axes.collect(),
            loops,
            channels,
            along,
        }
    }

    /// The lanes of a segment, with the conditions on them if terms are read.
    fn in_segment(&self, p: &Piece, t: &Tile, f: &Frame, masked: bool, terms: bool) -> InRow {
        let mut row = InRow::whole(t.lane);
        let (Some((l, n)), true) = (t.lanes, masked) else {
            return row;
        };
        row.end = Some(f.along.clone() * -1 + (n - 1));
        row.valid = row.start(&(f.along.clone() * -1 + n));
        if terms {
            // Rows are not among the variables of conditions, and positions only where sums are in the lanes.
            let mut shift: BTreeMap<Var, At> = BTreeMap::new();
            shift.insert(l, f.along.clone() - Affine::var(l));
            let x = f
                .loops
                .get(f.channels)
                .filter(|_| t.x.is_some_and(|x| x.1 > 1));
            shift.extend(t.x.zip(x).map(|(x, v)| (x.0, Affine::var(v.0))));
            let on = p.conditions.iter().filter(|c| c.uses(l));
            row.edges.extend(on.map(|c| moved(c, &shift)));
        }
        row
    }

    /// Results in the lanes.
    pub(super) fn row_tile(
        &mut self,
        s: &Stage,
        p: &Piece,
        t: &Tile,
        segment: &Segment,
        taps: &[Trips],
    ) -> Vec<Stmt> {
        let f = self.frame(p, t, segment.vectors);
        let mut place = self.row_place(s, &f, self.in_segment(p, t, &f, segment.masked, true));
        let mut out = Vec::new();
        if s.combine != Combine::None && t.end != End::Apart {
            let acc = self.cleared(s, &f, &mut out);
            let mut body = self.terms(&place, &f, &acc);
            for &(v, n) in taps.iter().rev() {
                body = vec![unrolled(v, n, body)];
            }
            let dims = self.rounds_of(p, t, |r| taps.contains(r));
            out.extend(run(dims, body));
            let index = f.index().0;
            place.acc = acc.iter().map(|&r| self.k.get(r, &index)).collect();
        }
        place.row = Some(self.in_segment(p, t, &f, segment.masked, false));
        out.extend(f.nested(self.row_end(&mut place, t.end)));
        out
    }

    /// Terms in the lanes.
    pub(super) fn sum_tile(
        &mut self,
        s: &Stage,
        p: &Piece,
        t: &Tile,
        segments: &[Segment],
    ) -> Vec<Stmt> {
        let Some((l, _)) = t.lanes else { return vec![] };
        let f = self.frame(p, t, 1);
        let mut out = Vec::new();
        let mut place = self.row_place(s, &f, InRow::whole(t.lane));
        let acc = self.cleared(s, &f, &mut out);
        for segment in segments {
            let row = self.in_segment(p, t, &f, segment.masked, true);
            place.row = Some(InRow { idle: false, ..row });
            let body = self.terms(&place, &f, &acc);
            let lanes = i64::from(self.options.lanes);
            let dim = Dim::range(l, segment.from, segment.from + segment.tiles * lanes, lanes);
            let mut dims = self.rounds_of(p, t, |r| r.0 == l);
            out.extend(if segment.tiles > 1 {
                dims.push(dim);
                run(dims, body)
            } else {
                let fixed = Stmt::For {
                    dims: vec![dim],
                    kind: Kind::Unrolled,
                    body,
                };
                run(dims, vec![fixed])
            });
        }
        let index = f.index().0;
        let sum = self.k.get(acc[0], &index);
        place.acc = vec![self.k.value(V::ReduceLanes(sum))];
        place.row = Some(InRow::whole(t.lane));
        out.extend(f.nested(self.row_end(&mut place, t.end)));
        out
    }

    fn row_place<'a>(&self, s: &'a Stage, f: &Frame, row: InRow) -> Place<'a> {
        Place {
            stage: s,
            axes: f.axes.clone(),
            image: Affine::constant(0),
            acc: vec![],
            row: Some(row),
        }
    }

    /// New accumulators, and the statements that set them to what is combined first.
    fn cleared(&mut self, s: &Stage, f: &Frame, out: &mut Vec<Stmt>) -> Vec<RegId> {
        let (index, dims) = f.index();
        let acc = (0..s.combine.width()).map(|_| self.k.reg("acc", &dims));
        let acc: Vec<RegId> = acc.collect();
        let initial = combine::initial(&mut self.k, s.combine);
        let sets = acc.iter().zip(initial).map(|(&reg, value)| Stmt::Set {
            reg,
            index: index.clone(),
            value,
        });
        out.extend(f.nested(sets.collect()));
        acc
    }

    /// One more element for each accumulator.
    fn terms(&mut self, place: &Place, f: &Frame, acc: &[RegId]) -> Vec<Stmt> {
        let index = f.index().0;
        let (channels, rest) = f.loops.split_at(f.channels);
        match self.products(place, acc[0], &index, channels, rest) {
            Some(products) => products.body(channels, rest, |body| body),
            None => f.nested(self.step(place, acc, &index)),
        }
    }

    /// The loops of the reduction that are not written out.
    fn rounds_of(&self, p: &Piece, t: &Tile, written: impl Fn(&Trips) -> bool) -> Vec<Dim> {
        let lanes = t.lanes.map(|l| l.0);
        let plain = p.conditions.iter();
        let plain = plain.filter(|c| lanes.is_none_or(|l| !c.uses(l)));
        let plain: Vec<At> = plain.cloned().collect();
        let rounds = p.reduce.iter().filter(|r| !written(r));
        rounds.map(|&(v, n)| bounded(v, n, &plain)).collect()
    }

    /// What becomes of a tile's sums.
    pub(super) fn row_end(&mut self, place: &mut Place, end: End) -> Vec<Stmt> {
        match end {
            End::Kept => return self.keep(place),
            End::Finished => {}
            End::Apart => {
                let sum = self.load(place, &place.stage.outs[0]);
                place.acc = vec![self.k.value(sum)];
            }
        }
        self.finish(place)
    }
}

/// The index, with this much added to variables.
fn moved(a: &At, shift: &BTreeMap<Var, At>) -> At {
    a.substitute(|v| match shift.get(&v) {
        Some(by) => Affine::var(v) + by.clone(),
        None => Affine::var(v),
    })
}
