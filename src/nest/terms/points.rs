//! The points of a box of whole numbers that meet linear conditions, counted without visiting each.
//!
//! Conditions part the axes into groups that do not know each other, so that the count is a product over the groups.
//! A window ties two axes, its position and its tap, by one sum that must lie within bounds; such points are counted
//! by a sum of floors, in as many steps as Euclid's algorithm takes, however long the axes are. An axis that an
//! equation gives by the others is left out first. Groups of any other form are counted value by value of their
//! shortest axis.
//!
//! Knows of a stage only its axes and its domain.

use crate::nest::{Affine, AxisId, Constraint, Extent, Nest, Stage};

/// Values at most that an axis is set to, one by one.
const MOST_VISITS: u32 = 1 << 16;
/// Beyond what any sum of axes reaches.
const NO_LIMIT: i128 = 1 << 120;

/// An axis and how many values it takes.
#[derive(Clone, Copy, Debug)]
struct Range {
    axis: AxisId,
    extent: i128,
}

/// `low ≤ Σ coefficient · axis ≤ high`; the form has no constant, and its first coefficient is positive.
#[derive(Clone, Debug)]
struct Band {
    form: Affine<AxisId>,
    low: i128,
    high: i128,
}

/// The points of a box that lie in all bands.
#[derive(Clone, Debug)]
pub struct Points {
    ranges: Vec<Range>,
    bands: Vec<Band>,
}

impl Points {
    /// Those of a stage for one image.
    pub fn new(n: &Nest, s: &Stage) -> Self {
        let mut axes: Vec<AxisId> = [&n.shared[..], &s.own, &s.reduce].concat();
        axes.sort();
        axes.dedup();
        let extent = |axis: AxisId| match n.extent(axis) {
            Extent::Static(n) => i128::from(n),
            Extent::Batch => 1,
        };
        let ranges = axes.into_iter().map(|axis| Range {
            axis,
            extent: extent(axis),
        });
        let mut points = Self {
            ranges: ranges.collect(),
            bands: vec![],
        };
        for c in &s.domain {
            match c {
                Constraint::Zero(a) => points.keep(a, 0, 0),
                Constraint::NonNegative(a) => points.keep(a, 0, NO_LIMIT),
            }
        }
        points
    }

    /// The points as if padding had no end: no window leaves its image, and the results that an equation ties to a
    /// window go on beyond their borders.
    pub fn without_borders(mut self, s: &Stage) -> Self {
        self.bands.retain(|b| b.low == b.high);
        for b in std::mem::take(&mut self.bands) {
            match s.own.iter().find(|&&a| b.form.coefficient(a).abs() == 1) {
                Some(own) => self.ranges.retain(|r| r.axis != *own),
                None => self.bands.push(b),
            }
        }
        self
    }

    /// How many there are; `None` where they would have to be visited and are too many.
    pub fn count(self) -> Option<u128> {
        let mut visits = MOST_VISITS;
        self.visit(&mut visits)
    }

    /// Keeps the points where `low ≤ a ≤ high`.
    fn keep(&mut self, a: &Affine<AxisId>, low: i128, high: i128) {
        let constant = i128::from(a.constant);
        let (mut low, mut high) = (low - constant, high - constant);
        let mut form = a.clone();
        form.constant = 0;
        if form.terms.first().is_some_and(|t| t.1 < 0) {
            (form, low, high) = (form * -1, -high, -low);
        }
        match self.bands.iter_mut().find(|b| b.form == form) {
            Some(b) => (b.low, b.high) = (b.low.max(low), b.high.min(high)),
            None => self.bands.push(Band { form, low, high }),
        }
    }

    /// The count with so many visits left.
    fn visit(mut self, visits: &mut u32) -> Option<u128> {
        if !self.tighten() {
            return Some(0);
        }
        let mut product = 1u128;
        while let Some(first) = self.ranges.pop() {
            let group = self.take_group(first);
            product = product.saturating_mul(group.count_group(visits)?);
        }
        Some(product)
    }

    /// Takes each band as narrow as the box is, without those that hold all of it; false where no point is left.
    fn tighten(&mut self) -> bool {
        let mut possible = true;
        let ranges = &self.ranges;
        self.bands.retain_mut(|b| {
            let (least, most) = b.reach(ranges);
            (b.low, b.high) = (b.low.max(least), b.high.min(most));
            possible &= b.low <= b.high;
            (b.low, b.high) != (least, most)
        });
        possible
    }

    /// Takes out the axes that bands tie to this one, and those bands.
    fn take_group(&mut self, first: Range) -> Self {
        let mut group = Self {
            ranges: vec![first],
            bands: vec![],
        };
        let mut at = 0;
        while let Some(&Range { axis, .. }) = group.ranges.get(at) {
            for b in self.bands.extract_if(.., |b| b.form.uses(axis)) {
                let tied = self.ranges.extract_if(.., |r| b.form.uses(r.axis));
                group.ranges.extend(tied);
                group.bands.push(b);
            }
            at += 1;
        }
        group
    }

    /// The points of axes that are tied together.
    fn count_group(self, visits: &mut u32) -> Option<u128> {
        match (&self.ranges[..], &self.bands[..]) {
            ([r], []) => return Some(r.extent as u128),
            ([r], [b]) => return Some(within(b.side(r), Side::POINT, b.low, b.high)),
            ([x, y], [b]) => return Some(within(b.side(x), b.side(y), b.low, b.high)),
            _ => {}
        }
        if let Some(fewer) = self.without_given() {
            return fewer.visit(visits);
        }
        let shortest = *self.ranges.iter().min_by_key(|r| r.extent)?;
        let mut sum = 0u128;
        for k in 0..shortest.extent {
            *visits = visits.checked_sub(1)?;
            let here = self.with(shortest.axis, &Affine::constant(k as i64));
            sum = sum.saturating_add(here.visit(visits)?);
        }
        Some(sum)
    }

    /// The same points without an axis that an equation gives by the others: its bounds become theirs.
    fn without_given(&self) -> Option<Self> {
        let given = |b: &Band| {
            let term = b.form.terms.iter().find(|t| t.1.abs() == 1)?;
            (b.low == b.high).then_some(*term)
        };
        let at = self.bands.iter().position(|b| given(b).is_some())?;
        let (axis, sign) = given(&self.bands[at])?;
        let mut rest = self.clone();
        let Band { form, low, .. } = rest.bands.remove(at);
        let others = form - Affine::var(axis) * sign;
        let by = (others * -1 + i64::try_from(low).ok()?) * sign;
        let extent = self.ranges.iter().find(|r| r.axis == axis)?.extent;
        let mut fewer = rest.with(axis, &by);
        fewer.keep(&by, 0, extent - 1);
        Some(fewer)
    }

    /// The points of the other axes where this one has the value of an expression of them.
    fn with(&self, axis: AxisId, by: &Affine<AxisId>) -> Self {
        let others = self.ranges.iter().filter(|r| r.axis != axis);
        let mut points = Self {
            ranges: others.copied().collect(),
            bands: vec![],
        };
        for b in &self.bands {
            let form = b.form.substitute(|v| match v == axis {
                true => by.clone(),
                false => Affine::var(v),
            });
            points.keep(&form, b.low, b.high);
        }
        points
    }
}

impl Band {
    /// The least and the greatest value of the form in a box.
    fn reach(&self, ranges: &[Range]) -> (i128, i128) {
        let ends = ranges.iter().map(|r| {
            let end = i128::from(self.form.coefficient(r.axis)) * (r.extent - 1);
            (end.min(0), end.max(0))
        });
        ends.fold((0, 0), |(low, high), (a, b)| (low + a, high + b))
    }

    fn side(&self, r: &Range) -> Side {
        Side {
            factor: i128::from(self.form.coefficient(r.axis)),
            extent: r.extent,
        }
    }
}

/// An axis and its factor in a sum.
#[derive(Clone, Copy)]
struct Side {
    factor: i128,
    extent: i128,
}

impl Side {
    /// One value, which adds nothing.
    const POINT: Self = Self {
        factor: 1,
        extent: 1,
    };
}

/// The points of two axes where `low ≤ a·x + b·y ≤ high`.
fn within(mut x: Side, mut y: Side, mut low: i128, mut high: i128) -> u128 {
    for side in [&mut x, &mut y] {
        if side.factor < 0 {
            // Counted from the other end, the axis has a positive factor.
            let shift = side.factor * (side.extent - 1);
            side.factor = -side.factor;
            (low, high) = (low - shift, high - shift);
        }
    }
    (up_to(x, y, high) - up_to(x, y, low - 1)) as u128
}

/// The points of two axes where `a·x + b·y ≤ most`, with positive factors: for each y, ⌊(most − b·y) / a⌋ + 1 values
/// of x, no fewer than none and no more than there are.
fn up_to(x: Side, y: Side, most: i128) -> i128 {
    let steps = |room: i128, of: Side| (room.div_euclid(of.factor) + 1).clamp(0, of.extent);
    let full = steps(most - x.factor * (x.extent - 1), y);
    let some = steps(most, y);
    let part = some - full;
    if part == 0 {
        return full * x.extent;
    }
    let last = most - y.factor * (some - 1);
    full * x.extent + part + floors(part, y.factor, last, x.factor)
}

/// Σ ⌊(a·k + b) / m⌋ over k from 0 to n − 1, by Euclid's algorithm (Graham, Knuth and Patashnik, Concrete Mathematics,
/// 3.5). No number is negative; n and m are positive.
fn floors(n: i128, a: i128, b: i128, m: i128) -> i128 {
    let whole = n * (n - 1) / 2 * (a / m) + n * (b / m);
    let (a, b) = (a % m, b % m);
    // The points below the line a·k + b are as many as those beside it, with the axes swapped.
    let height = (a * n + b) / m;
    match height {
        0 => whole,
        _ => whole + floors(height, m, (a * n + b) % m, a),
    }
}
