//! Indices, conditions and values as C expressions.

use std::fmt::Write as _;

use super::Printer;
use crate::ir::{DType, Scalar};
use crate::nest::loops::{At, BufId, Draw, Expr, Read, RegId, Uniform, ValueId, Var};
use crate::nest::{Binary, Unary, Written, random};

impl Printer<'_> {
    pub(super) fn conditions(&self, conditions: &[At]) -> String {
        let test = |c: &At| {
            let c = c.non_negative();
            format!("{} {} {}", self.at(&c.left), c.sign, self.at(&c.right))
        };
        let tests: Vec<String> = conditions.iter().map(test).collect();
        tests.join(" && ")
    }

    pub(super) fn at(&self, a: &At) -> String {
        let mut out = String::new();
        for &(v, c) in &a.terms {
            let name = self.var(v);
            let term = if c.abs() == 1 {
                name
            } else {
                format!("{} * {name}", c.abs())
            };
            let sign = match (out.is_empty(), c < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            let _ = write!(out, "{sign}{term}");
        }
        match a.constant {
            0 if out.is_empty() => "0".into(),
            0 => out,
            c if out.is_empty() => c.to_string(),
            c if c < 0 => format!("{out} - {}", -c),
            c => format!("{out} + {c}"),
        }
    }

    fn var(&self, v: Var) -> String {
        if self.k.valid.is_some_and(|x| x.0 == v) {
            return "valid".into();
        }
        self.names.var(v)
    }

    pub(super) fn reg(&self, r: RegId, index: &[At]) -> String {
        let index: String = index.iter().map(|i| format!("[{}]", self.at(i))).collect();
        format!("{}{index}", self.names.register(r))
    }

    pub(super) fn element(&self, buf: BufId, at: &At) -> String {
        format!("{}[{}]", self.names.buffer(buf), self.at(at))
    }

    /// A value without the parentheses that it would need within another.
    pub(super) fn bare(&self, v: ValueId) -> String {
        let text = self.value(v);
        let within = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
        let whole = |t: &&str| {
            let mut open = 0;
            t.chars().all(|c| {
                open += i32::from(c == '(') - i32::from(c == ')');
                open >= 0
            })
        };
        let cast = text.starts_with("(float)");
        within
            .filter(whole)
            .filter(|_| !cast)
            .map_or(text.clone(), str::to_string)
    }

    /// A number of the step.
    fn scalar(&self, scalar: Scalar) -> String {
        format!("step->{}.{}", self.scalars, scalar.word())
    }

    fn value(&self, v: ValueId) -> String {
        match &self.k.exprs[v.0 as usize] {
            Expr::Const(bits) => number(f32::from_bits(*bits)),
            Expr::Uniform(Uniform::Valid) => "(float)valid".into(),
            Expr::Uniform(Uniform::Scalar(scalar)) => self.scalar(*scalar),
            Expr::Number(a) | Expr::Lane(a) => format!("(float)({})", self.at(a)),
            Expr::Random(draw) => self.random(draw),
            Expr::Reg(r, index) => self.reg(*r, index),
            Expr::Load(b, at, how) => self.load(*b, at, how),
            Expr::Unary(f, x) => match unary(*f) {
                None => format!("(-{})", self.value(*x)),
                Some(name) => format!("{name}({})", self.bare(*x)),
            },
            Expr::Binary(f, a, b) => match f.written() {
                Written::Sign(sign) => format!("({} {sign} {})", self.value(*a), self.value(*b)),
                Written::Name(_) => {
                    format!("{}({}, {})", extreme(*f), self.bare(*a), self.bare(*b))
                }
            },
            Expr::Fma(a, b, c) => {
                let [a, b, c] = [a, b, c].map(|x| self.bare(*x));
                format!("fmaf({a}, {b}, {c})")
            }
            Expr::Select(c, xs) => {
                let sign = c.sign();
                let [a, b, yes, no] = xs.map(|x| self.value(x));
                format!("({a} {sign} {b} ? {yes} : {no})")
            }
            Expr::Within(conditions, x) => {
                format!(
                    "({} ? {} : 0.0f)",
                    self.conditions(conditions),
                    self.value(*x)
                )
            }
            Expr::ReduceLanes(_) | Expr::Transposed(..) | Expr::Split(..) => {
                panic!("a thread has one lane")
            }
        }
    }

    fn random(&self, draw: &Draw) -> String {
        let word = |scalar| format!("__float_as_uint({})", self.scalar(scalar));
        let [step, low, high] = [Scalar::Step, Scalar::SeedLow, Scalar::SeedHigh].map(word);
        let [element, image] = [&draw.element, &draw.image].map(|x| self.at(&x.at));
        let stream = random::stream_word(draw.stream);
        format!("random_number({element}, {image}, {step}, {stream}, {low}, {high})")
    }

    fn load(&self, b: BufId, at: &At, how: &Read) -> String {
        let place = match how {
            Read::Vector | Read::Splat => self.element(b, at),
            Read::Row(_) => panic!("a thread has one lane"),
            Read::Lookup {
                index,
                index_at,
                stride,
            } => {
                let entry = self.element(*index, index_at);
                let rest = match self.at(at).as_str() {
                    "0" => String::new(),
                    rest => format!(" + {rest}"),
                };
                format!("{}[(u64){entry} * {stride}{rest}]", self.names.buffer(b))
            }
        };
        match self.k.buffers[b.0 as usize].dtype {
            DType::F32 => place,
            DType::U8 | DType::I32 => format!("(float){place}"),
        }
    }
}

/// The function of CUDA C, or of [`super::functions()`]; the sign alone has none.
fn unary(f: Unary) -> Option<&'static str> {
    Some(match f {
        Unary::Neg => return None,
        Unary::Exp => "expf",
        Unary::Expm1 => "expm1f",
        Unary::Log => "logf",
        Unary::Log1p => "log1pf",
        Unary::Tanh => "tanhf",
        Unary::Sigmoid => "sigmoid",
        Unary::Erf => "erff",
        Unary::Sqrt => "sqrtf",
        Unary::Rsqrt => "inverse_sqrt",
        Unary::Abs => "fabsf",
    })
}

/// CUDA's `fmaxf` prefers a number to NaN, so that it is none of these.
fn extreme(f: Binary) -> &'static str {
    match f {
        Binary::Min => "smaller",
        _ => "greater",
    }
}

/// A number of exactly these bits.
fn number(x: f32) -> String {
    if x.is_finite() {
        return format!("{x:?}f");
    }
    format!("__int_as_float(0x{:08x})", x.to_bits())
}
