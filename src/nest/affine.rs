//! Integer expressions that are linear in index variables: `2·i + r − 1`.

use std::ops::{Add, Mul, Sub};

/// An index variable: an axis of a nest or a variable of a loop.
pub trait Symbol: Copy + Ord {}
impl<T: Copy + Ord> Symbol for T {}

/// `Σ coefficient · variable + constant`; terms are sorted by variable and never zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Affine<V> {
    pub terms: Vec<(V, i64)>,
    pub constant: i64,
}

/// Two sums and what holds between them; all factors of variables are above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison<V> {
    pub left: Affine<V>,
    pub sign: &'static str,
    pub right: Affine<V>,
}

impl<V: Symbol> Affine<V> {
    /// A number.
    pub fn constant(constant: i64) -> Self {
        Self {
            terms: Vec::new(),
            constant,
        }
    }

    /// A variable.
    pub fn var(v: V) -> Self {
        Self {
            terms: vec![(v, 1)],
            constant: 0,
        }
    }

    /// The factor of `v`, 0 where it does not occur.
    pub fn coefficient(&self, v: V) -> i64 {
        self.terms.iter().find(|t| t.0 == v).map_or(0, |t| t.1)
    }

    /// True where `v` occurs.
    pub fn uses(&self, v: V) -> bool {
        self.coefficient(v) != 0
    }

    /// The number, where no variable occurs.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The variable, where this is one alone.
    pub fn as_var(&self) -> Option<V> {
        match self.terms[..] {
            [(v, 1)] if self.constant == 0 => Some(v),
            _ => None,
        }
    }

    /// The value under an assignment of the variables.
    pub fn eval(&self, value: impl Fn(V) -> i64) -> i64 {
        self.terms
            .iter()
            .fold(self.constant, |sum, &(v, c)| sum + c * value(v))
    }

    /// The terms whose factors have this sign, with factors above zero, and a constant.
    fn side(&self, sign: i64, constant: i64) -> Self {
        let of = self.terms.iter().filter(|t| t.1.signum() == sign);
        Self {
            terms: of.map(|&(v, c)| (v, c.abs())).collect(),
            constant,
        }
    }

    /// `self ≥ 0` as it reads best: `29 − i − r ≥ 0` is `i + r <= 29`, `a − b − 1 ≥ 0` is `b < a`.
    pub fn non_negative(&self) -> Comparison<V> {
        let c = self.constant;
        let (more, less) = (self.side(1, 0), self.side(-1, 0));
        let (left, sign, right) = match (more.terms.is_empty(), less.terms.is_empty()) {
            (true, true) => (Self::constant(c), ">=", Self::constant(0)),
            (false, true) => (more, ">=", Self::constant(-c)),
            (true, false) => (less, "<=", Self::constant(c)),
            _ if c == -1 => (less, "<", more),
            _ => (less + (-c).max(0), "<=", more + c.max(0)),
        };
        Comparison { left, sign, right }
    }

    /// `self = 0` as it reads best: `i − 2·o = 0` is `i = 2·o`.
    pub fn zero(&self) -> Comparison<V> {
        let c = self.constant;
        let (more, less) = (self.side(1, 0), self.side(-1, 0));
        let (left, right) = match (more.terms.is_empty(), less.terms.is_empty()) {
            (_, true) => (more, Self::constant(-c)),
            (true, _) => (less, Self::constant(c)),
            _ => (more + c.max(0), less + (-c).max(0)),
        };
        Comparison {
            left,
            sign: "=",
            right,
        }
    }

    /// Replaces every variable by an expression.
    pub fn substitute<W: Symbol>(&self, by: impl Fn(V) -> Affine<W>) -> Affine<W> {
        let start = Affine::constant(self.constant);
        self.terms
            .iter()
            .fold(start, |sum, &(v, c)| sum + by(v) * c)
    }
}

impl<V: Symbol> Add for Affine<V> {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self.constant += other.constant;
        for (v, c) in other.terms {
            match self.terms.binary_search_by_key(&v, |t| t.0) {
                Ok(k) => {
                    self.terms[k].1 += c;
                    if self.terms[k].1 == 0 {
                        self.terms.remove(k);
                    }
                }
                Err(k) => self.terms.insert(k, (v, c)),
            }
        }
        self
    }
}

impl<V: Symbol> Sub for Affine<V> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + other * -1
    }
}

impl<V: Symbol> Mul<i64> for Affine<V> {
    type Output = Self;
    fn mul(mut self, factor: i64) -> Self {
        self.constant *= factor;
        if factor == 0 {
            self.terms.clear();
        }
        for t in &mut self.terms {
            t.1 *= factor;
        }
        self
    }
}

impl<V: Symbol> Add<i64> for Affine<V> {
    type Output = Self;
    fn add(mut self, other: i64) -> Self {
        self.constant += other;
        self
    }
}

impl<V: Symbol> Sub<i64> for Affine<V> {
    type Output = Self;
    fn sub(self, other: i64) -> Self {
        self + -other
    }
}
