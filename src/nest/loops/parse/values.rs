//! Indices, conditions and values of a loops text.

use super::super::super::functions::Written;
use super::super::print::uniform_name;
use super::*;

/// What stands in brackets.
struct Sum {
    at: At,
    /// The factor of the lane's number, where that is written.
    lane: Option<i64>,
    /// Where an entry of a data set is read.
    entry: Option<Entry>,
    /// Whether each lane reads an entry of its own.
    apart: bool,
}

impl Parser {
    /// A sum of variables with factors: an index without lanes.
    pub(super) fn at(&mut self) -> Result<At> {
        let sum = self.sum()?;
        if sum.lane.is_some() || sum.entry.is_some() {
            return self
                .tokens
                .wrong("lanes and entries have no place in this index");
        }
        Ok(sum.at)
    }

    fn sum(&mut self) -> Result<Sum> {
        let mut sum = Sum {
            at: Affine::constant(0),
            lane: None,
            entry: None,
            apart: false,
        };
        self.term(1, &mut sum)?;
        for _ in 1..MOST_TERMS {
            if self.tokens.sign("+") {
                self.term(1, &mut sum)?;
            } else if self.tokens.sign("-") {
                self.term(-1, &mut sum)?;
            } else {
                return Ok(sum);
            }
        }
        match self.tokens.peek() {
            Part::Sign("+" | "-") => {
                let message = format!("an index has at most {MOST_TERMS} terms");
                self.tokens.wrong_next(message)
            }
            _ => Ok(sum),
        }
    }

    fn term(&mut self, sign: i64, sum: &mut Sum) -> Result<()> {
        let sign = if self.tokens.sign("-") { -sign } else { sign };
        let mut factor = sign;
        if matches!(self.tokens.peek(), Part::Number(_)) {
            factor *= self.tokens.integer()?;
            if !self.tokens.sign("*") {
                sum.at.constant += factor;
                return Ok(());
            }
        }
        if self.tokens.word("lane") {
            if sum.lane.replace(factor).is_some() {
                return self.tokens.wrong("the lane is counted twice");
            }
            return Ok(());
        }
        if matches!(self.tokens.ahead(1), Part::Sign("[")) {
            return self.entry(factor, sum);
        }
        let var = self.variable()?;
        let before = std::mem::replace(&mut sum.at, Affine::constant(0));
        sum.at = before + Affine::var(var) * factor;
        Ok(())
    }

    /// `784*indices[4*g+lane]`
    fn entry(&mut self, stride: i64, sum: &mut Sum) -> Result<()> {
        let name = self.tokens.name()?;
        let Memory::Buf(index) = self.find(&name)? else {
            return self.tokens.wrong(format!("{name} is not a buffer"));
        };
        self.tokens.expect("[")?;
        let inner = self.nested(Self::sum)?;
        self.tokens.expect("]")?;
        if inner.entry.is_some() || !matches!(inner.lane, None | Some(1)) || sum.entry.is_some() {
            return self.tokens.wrong("an entry is read at one index");
        }
        sum.apart = inner.lane.is_some();
        let at = inner.at;
        sum.entry = Some(Entry { index, at, stride });
        Ok(())
    }

    /// The indices of a register array.
    pub(super) fn index(&mut self) -> Result<Vec<At>> {
        let mut index = Vec::new();
        while self.tokens.sign("[") {
            index.push(self.at()?);
            self.tokens.expect("]")?;
        }
        Ok(index)
    }

    /// Conditions without lanes.
    pub(super) fn conditions(&mut self) -> Result<Vec<At>> {
        let list = self.comparisons()?;
        if list.iter().any(|c| c.lane.is_some()) {
            return self.tokens.wrong("this condition is not one of lanes");
        }
        Ok(list.into_iter().map(|c| c.at).collect())
    }

    /// Sums that are non-negative where the comparisons hold.
    fn comparisons(&mut self) -> Result<Vec<Sum>> {
        let mut out = vec![self.comparison()?];
        while self.tokens.word("and") {
            out.push(self.comparison()?);
        }
        Ok(out)
    }

    fn comparison(&mut self) -> Result<Sum> {
        let left = self.sum()?;
        let sign = self.tokens.peek().clone();
        self.tokens.at += 1;
        let right = self.sum()?;
        let (more, less, apart) = match sign {
            Part::Sign(">=") => (left, right, 0),
            Part::Sign("<=") => (right, left, 0),
            Part::Sign(">") => (left, right, 1),
            Part::Sign("<") => (right, left, 1),
            other => {
                let message = format!("{} compares no indices", shown(&other));
                return self.tokens.wrong(message);
            }
        };
        if more.entry.is_some() || less.entry.is_some() {
            return self.tokens.wrong("a condition reads no memory");
        }
        let lane = match (more.lane, less.lane) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) - b.unwrap_or(0)),
        };
        Ok(Sum {
            at: more.at - less.at - apart,
            lane,
            entry: None,
            apart: false,
        })
    }

    /// A store: `out[4*g] (first lane) = …`, or a row of a register array.
    pub(super) fn store(&mut self, buf: BufId) -> Result<Stmt> {
        self.tokens.expect("[")?;
        let sum = self.sum()?;
        if sum.entry.is_some() {
            return self.tokens.wrong("nothing is stored to an entry");
        }
        let at = sum.at;
        if self.tokens.sign(";") {
            let width = self.tokens.count(1)?;
            self.tokens.expect("]")?;
            return self.store_row(buf, at, width);
        }
        self.tokens.expect("]")?;
        let how = match (self.tokens.sign("("), sum.lane) {
            (false, None) => Write::Vector,
            (true, lane) => {
                self.tokens.expect("first")?;
                match lane {
                    None => {
                        self.tokens.expect("lane")?;
                        self.tokens.expect(")")?;
                        Write::First
                    }
                    Some(step) => {
                        let lanes = self.at()?;
                        self.tokens.expect("lanes")?;
                        self.tokens.expect(")")?;
                        Write::Row(lanes, step)
                    }
                }
            }
            (false, Some(_)) => return self.tokens.wrong("how many lanes are stored is missing"),
        };
        self.tokens.expect("=")?;
        let value = self.value()?;
        Ok(Stmt::Store {
            buf,
            at,
            how,
            value,
        })
    }

    fn store_row(&mut self, buf: BufId, at: At, width: u32) -> Result<Stmt> {
        self.tokens.expect("=")?;
        let name = self.tokens.name()?;
        let Memory::Reg(reg) = self.find(&name)? else {
            return self.tokens.wrong(format!("{name} is not a register"));
        };
        let index = self.index()?;
        self.tokens.expect("..")?;
        Ok(Stmt::StoreRow {
            reg,
            index,
            buf,
            at,
            width,
        })
    }

    /// Adds a value, unless it takes too much.
    fn push(&mut self, e: Expr) -> Result<ValueId> {
        let operands = sharing::operands(&e);
        let of = |o: &ValueId| o.0 as usize;
        let steps = operands.iter().map(|o| self.steps[of(o)]).max();
        let size = operands.iter().map(|o| self.sizes[of(o)]).sum::<u64>() + 1;
        let steps = steps.unwrap_or(0) + 1;
        if steps > MOST_STEPS || size > MOST_VALUES {
            return self
                .tokens
                .wrong("this value is computed from too many others");
        }
        self.steps.push(steps);
        self.sizes.push(size);
        Ok(self.k.value(e))
    }

    /// A value that may be a sum, a choice, or depend on a condition.
    pub(super) fn value(&mut self) -> Result<ValueId> {
        let row = self.starts_with_memory();
        let first = self.operand()?;
        if self.tokens.word("where") {
            return self.conditional(first, row);
        }
        let Part::Sign(sign) = *self.tokens.peek() else {
            return Ok(first);
        };
        if let Some(&f) = Binary::ALL
            .iter()
            .find(|f| f.written() == Written::Sign(sign))
        {
            self.tokens.at += 1;
            let second = self.operand()?;
            return self.push(Expr::Binary(f, first, second));
        }
        if let Some(&c) = Compare::ALL.iter().find(|c| c.sign() == sign) {
            self.tokens.at += 1;
            let second = self.operand()?;
            self.tokens.expect("?")?;
            let yes = self.operand()?;
            self.tokens.expect(":")?;
            let no = self.operand()?;
            return self.push(Expr::Select(c, [first, second, yes, no]));
        }
        Ok(first)
    }

    /// Whether an element is next, rather than a name or parentheses.
    fn starts_with_memory(&self) -> bool {
        matches!(self.tokens.peek(), Part::Word(_))
            && matches!(self.tokens.ahead(1), Part::Sign("["))
    }

    /// `x where i >= 2 else 0`; conditions of lanes say which of a row's elements are read.
    fn conditional(&mut self, value: ValueId, row: bool) -> Result<ValueId> {
        let list = self.comparisons()?;
        self.tokens.expect("else")?;
        if self.tokens.integer()? != 0 {
            return self.tokens.wrong("what is not read is 0");
        }
        if list.iter().all(|c| c.lane.is_none()) {
            let conditions = list.into_iter().map(|c| c.at).collect();
            return self.push(Expr::Within(conditions, value));
        }
        match &mut self.k.exprs[value.0 as usize] {
            Expr::Load(_, _, Read::Row(read)) if row => {
                for c in list {
                    let Some(by) = c.lane else {
                        return self.tokens.wrong("this condition is not one of lanes");
                    };
                    read.edges.push(Edge { at: c.at, by });
                }
                Ok(value)
            }
            _ => self
                .tokens
                .wrong("a condition of lanes is for a row's elements"),
        }
    }

    /// A value that stands for itself, or in parentheses.
    fn operand(&mut self) -> Result<ValueId> {
        match self.tokens.peek().clone() {
            Part::Sign("(") => {
                self.tokens.at += 1;
                let value = self.nested(Self::value)?;
                self.tokens.expect(")")?;
                Ok(value)
            }
            Part::Named(number) => match self.named.get(&number) {
                Some(&value) => {
                    self.tokens.at += 1;
                    Ok(value)
                }
                None => self
                    .tokens
                    .wrong_next(format!("%{number} is not defined before")),
            },
            // A buffer may be called as a function is.
            Part::Word(word) if matches!(self.tokens.ahead(1), Part::Sign("(")) => {
                self.tokens.at += 2;
                let value = self.nested(|p| p.call(&word))?;
                Ok(value)
            }
            Part::Word(word) if self.memory.contains_key(&word) => self.memory_value(&word),
            Part::Word(word) if word == "splat" => {
                self.tokens.at += 1;
                let name = self.tokens.name()?;
                let Memory::Buf(buf) = self.find(&name)? else {
                    return self.tokens.wrong(format!("{name} is not a buffer"));
                };
                self.tokens.expect("[")?;
                let at = self.at()?;
                self.tokens.expect("]")?;
                self.push(Expr::Load(buf, at, Read::Splat))
            }
            Part::Word(word) => match Uniform::all().find(|u| uniform_name(*u) == word) {
                Some(u) => {
                    self.tokens.at += 1;
                    self.push(Expr::Uniform(u))
                }
                None => self.number(),
            },
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<ValueId> {
        let sign = if self.tokens.sign("-") { 1 << 31 } else { 0 };
        let part = self.tokens.peek().clone();
        let bits = match &part {
            Part::Number(text) => text.parse::<f32>().ok().map(f32::to_bits),
            Part::Nan(bits) if sign == 0 => Some(*bits),
            Part::Word(word) if word == "inf" => Some(f32::INFINITY.to_bits()),
            _ => None,
        };
        match bits {
            Some(bits) => {
                self.tokens.at += 1;
                self.push(Expr::Const(bits | sign))
            }
            None => self
                .tokens
                .wrong_next(format!("{} is no value", shown(&part))),
        }
    }

    fn memory_value(&mut self, name: &str) -> Result<ValueId> {
        self.tokens.at += 1;
        let buf = match self.find(name)? {
            Memory::Buf(buf) => buf,
            Memory::Reg(reg) => {
                let index = self.index()?;
                return self.push(Expr::Reg(reg, index));
            }
        };
        self.tokens.expect("[")?;
        let sum = self.sum()?;
        self.tokens.expect("]")?;
        let how = match (sum.lane, sum.entry) {
            (None, None) => Read::Vector,
            (None, Some(e)) if sum.apart => Read::Lookup {
                index: e.index,
                index_at: e.at,
                stride: e.stride,
            },
            (Some(step), entry) if !sum.apart => Read::Row(Row {
                step,
                edges: vec![],
                entry,
            }),
            _ => return self.tokens.wrong("lanes stand in the entry or behind it"),
        };
        self.push(Expr::Load(buf, sum.at, how))
    }

    /// `3: 12*c+lane, 0)`
    fn draw(&mut self) -> Result<ValueId> {
        let Ok(stream) = u32::try_from(self.tokens.integer()?) else {
            return self.tokens.wrong("a stream is a number below 2^32");
        };
        self.tokens.expect(":")?;
        let element = self.lanes()?;
        self.tokens.expect(",")?;
        let image = self.lanes()?;
        self.tokens.expect(")")?;
        self.push(Expr::Random(Draw {
            stream,
            element,
            image,
        }))
    }

    /// An integer that may differ from lane to lane.
    fn lanes(&mut self) -> Result<Lanes> {
        let sum = self.sum()?;
        if sum.entry.is_some() {
            return self
                .tokens
                .wrong("which number is drawn is no matter of memory");
        }
        Ok(Lanes {
            at: sum.at,
            step: sum.lane.unwrap_or(0),
        })
    }

    /// A function's arguments and the closing parenthesis.
    fn call(&mut self, name: &str) -> Result<ValueId> {
        if name == "number" {
            let sum = self.sum()?;
            self.tokens.expect(")")?;
            return match (sum.lane, sum.entry) {
                (None, None) => self.push(Expr::Number(sum.at)),
                (Some(1), None) => self.push(Expr::Lane(sum.at)),
                _ => self
                    .tokens
                    .wrong("a number is an index, or an index and the lane"),
            };
        }
        if name == "random" {
            return self.draw();
        }
        let first = match name {
            "split" => {
                let at = self.at()?;
                self.tokens.expect(":")?;
                Some(at)
            }
            _ => None,
        };
        let mut values = vec![self.value()?];
        while self.tokens.sign(",") {
            values.push(self.value()?);
        }
        self.tokens.expect(")")?;
        let e = match (name, &values[..], first) {
            ("fma", &[a, b, c], _) => Expr::Fma(a, b, c),
            ("reduce_lanes", &[x], _) => Expr::ReduceLanes(x),
            ("split", &[a, b], Some(n)) => Expr::Split(n, a, b),
            ("transposed", xs, _) if xs.len() == self.k.lanes as usize => {
                self.tokens.expect("[")?;
                let lane = self.tokens.integer()?;
                self.tokens.expect("]")?;
                if lane >= i64::from(self.k.lanes) {
                    return self.tokens.wrong(format!("there is no lane {lane}"));
                }
                Expr::Transposed(values.clone(), lane as u8)
            }
            (name, xs, _) => match function(name, xs) {
                Some(e) => e,
                None => {
                    let counted = crate::diag::count(xs.len() as u64, "value");
                    let message = format!("there is no function {name} of {counted}");
                    return self.tokens.wrong(message);
                }
            },
        };
        self.push(e)
    }
}

/// The function of this name and so many values.
fn function(name: &str, xs: &[ValueId]) -> Option<Expr> {
    match *xs {
        [x] => {
            let f = Unary::ALL.iter().find(|f| f.name() == name)?;
            Some(Expr::Unary(*f, x))
        }
        [a, b] => {
            let f = Binary::ALL
                .iter()
                .find(|f| matches!(f.written(), Written::Name(n) if n == name))?;
            Some(Expr::Binary(*f, a, b))
        }
        _ => None,
    }
}
