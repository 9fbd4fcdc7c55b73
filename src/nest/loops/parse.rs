//! Reads a loops text back: what [`super::text`] prints, as the kernel that it is.
//!
//! The kernel lists its values as [`super::compact`] does. Lines may be broken anywhere between words. What is read is well-formed
//! as a text; that it keeps to the rules of kernels is for [`super::verify`] to say. Text of any kind gives a kernel or
//! an error.

use std::collections::BTreeMap;

use super::*;

mod cursor;
mod lexer;
mod values;
use cursor::{Tokens, shown};
use lexer::{Kind as Part, tokens};

/// A text that is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// Bytes of a text at most.
const MOST_BYTES: usize = 1 << 24;
/// Loops, conditions and parentheses within each other at most.
const MOST_NESTING: u32 = 200;
/// Values that a value is computed from, one after the other, and in all, each counted as often as it is read.
const MOST_STEPS: u32 = 2000;
const MOST_VALUES: u64 = 1 << 20;
/// Terms of an index.
const MOST_TERMS: usize = 1000;
/// Numbers of indices, lengths and steps are below this, so that sums and products of them have room.
const NUMBERS: u64 = 1 << 40;

type Result<T> = std::result::Result<T, ParseError>;

/// The kernels of a text, in their order; comments between them are for readers.
pub fn parse(text: &str) -> Result<Vec<Kernel>> {
    if text.len() > MOST_BYTES {
        let message = format!("the text is longer than {MOST_BYTES} bytes");
        return Err(ParseError { line: 1, message });
    }
    let mut tokens = Tokens {
        list: tokens(text)?,
        at: 0,
    };
    let mut kernels = Vec::new();
    loop {
        match tokens.peek() {
            Part::End => return Ok(kernels),
            Part::Note(_) => tokens.at += 1,
            _ => {
                let mut p = Parser::new(tokens);
                p.kernel()?;
                kernels.push(p.k);
                tokens = p.tokens;
            }
        }
    }
}

/// A register array or a buffer.
#[derive(Clone, Copy)]
enum Memory {
    Reg(RegId),
    Buf(BufId),
}

struct Parser {
    tokens: Tokens,
    k: Kernel,
    vars: BTreeMap<String, Var>,
    memory: BTreeMap<String, Memory>,
    /// Values by the numbers of their names.
    named: BTreeMap<u32, ValueId>,
    /// Of each value the steps and the values that it takes.
    steps: Vec<u32>,
    sizes: Vec<u64>,
    nesting: u32,
}

impl Parser {
    fn new(tokens: Tokens) -> Self {
        Self {
            tokens,
            k: Kernel::new("", 1),
            vars: BTreeMap::new(),
            memory: BTreeMap::new(),
            named: BTreeMap::new(),
            steps: vec![],
            sizes: vec![],
            nesting: 0,
        }
    }

    fn kernel(&mut self) -> Result<()> {
        self.tokens.expect("kernel")?;
        self.k.name = self.tokens.name()?;
        self.tokens.expect("lanes")?;
        self.k.lanes = self.tokens.count(1)?;
        if self.k.lanes > 64 {
            let message = format!("a vector of {} lanes", self.k.lanes);
            return self.tokens.wrong(message);
        }
        self.tokens.expect("{")?;
        while self.head()? {}
        self.k.body = self.body()?;
        self.tokens.expect("}")
    }

    /// A line of a kernel's head; false where there is no more.
    fn head(&mut self) -> Result<bool> {
        let Part::Word(word) = self.tokens.peek().clone() else {
            return Ok(false);
        };
        // What is not followed by a word or a number is a statement about memory of this name.
        if !matches!(self.tokens.ahead(1), Part::Word(_) | Part::Number(_)) {
            return Ok(false);
        }
        match word.as_str() {
            "threads" | "variables" | "buffer" | "shared" | "register" | "images" => {
                self.tokens.at += 1;
            }
            _ => return Ok(false),
        }
        match word.as_str() {
            "threads" => self.k.threads = self.tokens.count(1)?,
            "variables" => self.variables()?,
            "buffer" | "shared" => self.buffer(word == "shared")?,
            "register" => self.register()?,
            _ => {
                let var = self.variable()?;
                self.tokens.expect("<=")?;
                self.k.valid = Some((var, self.tokens.count(0)?));
            }
        }
        Ok(true)
    }

    fn variables(&mut self) -> Result<()> {
        loop {
            let name = self.tokens.name()?;
            let var = Var(self.k.vars.len() as u32);
            if self.vars.insert(name.clone(), var).is_some() {
                return self
                    .tokens
                    .wrong(format!("two variables are called {name}"));
            }
            self.k.vars.push(name);
            if !self.tokens.sign(",") {
                return Ok(());
            }
        }
    }

    fn remember(&mut self, name: &str, memory: Memory) -> Result<()> {
        if self.memory.insert(name.into(), memory).is_some() {
            let message = format!("two buffers or registers are called {name}");
            return self.tokens.wrong(message);
        }
        Ok(())
    }

    fn buffer(&mut self, shared: bool) -> Result<()> {
        let name = self.tokens.name()?;
        self.tokens.expect(":")?;
        let dtype = match self.tokens.name()?.as_str() {
            "f32" => DType::F32,
            "u8" => DType::U8,
            "i32" => DType::I32,
            other => return self.tokens.wrong(format!("{other} is no type of elements")),
        };
        self.tokens.expect("[")?;
        let len = self.tokens.integer()? as u64;
        self.tokens.expect("]")?;
        let space = match shared {
            true => {
                self.tokens.expect("at")?;
                Space::Shared(self.tokens.count(0)?)
            }
            false => Space::Global,
        };
        let id = BufId(self.k.buffers.len() as u32);
        self.remember(&name, Memory::Buf(id))?;
        self.k.buffers.push(Buffer {
            name,
            dtype,
            len,
            space,
        });
        Ok(())
    }

    fn register(&mut self) -> Result<()> {
        let name = self.tokens.name()?;
        let mut dims = Vec::new();
        while self.tokens.sign("[") {
            dims.push(self.tokens.count(1)?);
            self.tokens.expect("]")?;
        }
        let id = RegId(self.k.regs.len() as u32);
        self.remember(&name, Memory::Reg(id))?;
        self.k.regs.push(Reg { name, dims });
        Ok(())
    }

    fn variable(&mut self) -> Result<Var> {
        let name = self.tokens.name()?;
        match self.vars.get(&name) {
            Some(&var) => Ok(var),
            None => self.tokens.wrong(format!("there is no variable {name}")),
        }
    }

    fn find(&mut self, name: &str) -> Result<Memory> {
        match self.memory.get(name) {
            Some(&memory) => Ok(memory),
            None => self
                .tokens
                .wrong(format!("there is no buffer or register {name}")),
        }
    }

    /// What stands within this is one level further in.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == MOST_NESTING {
            let message = format!("more than {MOST_NESTING} levels stand within each other");
            return self.tokens.wrong(message);
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// Statements up to a closing brace, which stays.
    fn body(&mut self) -> Result<Vec<Stmt>> {
        let mut out = Vec::new();
        loop {
            match self.tokens.peek().clone() {
                Part::Sign("}") | Part::End => return Ok(out),
                Part::Note(text) => {
                    self.tokens.at += 1;
                    out.push(Stmt::Note(text));
                }
                Part::Word(word) => out.extend(self.statement(&word)?),
                other => {
                    return self
                        .tokens
                        .wrong_next(format!("{} starts no statement", shown(&other)));
                }
            }
        }
    }

    /// A statement; none for a `let`.
    fn statement(&mut self, word: &str) -> Result<Option<Stmt>> {
        // A word that is followed by a sign is memory of that name.
        let keyword = !matches!(self.tokens.ahead(1), Part::Sign("=" | "[" | ".."));
        Ok(Some(match word {
            "for" | "at" if keyword => self.repeat()?,
            "if" if keyword => {
                self.tokens.at += 1;
                let conditions = self.conditions()?;
                let body = self.block()?;
                Stmt::If { conditions, body }
            }
            "barrier" if keyword => {
                self.tokens.at += 1;
                Stmt::Barrier
            }
            "let" if keyword => {
                self.define()?;
                return Ok(None);
            }
            _ => self.assignment()?,
        }))
    }

    fn block(&mut self) -> Result<Vec<Stmt>> {
        self.tokens.expect("{")?;
        let body = self.nested(Self::body)?;
        self.tokens.expect("}")?;
        Ok(body)
    }

    /// `for i in 0..5, j = 3 unrolled { … }`
    fn repeat(&mut self) -> Result<Stmt> {
        self.tokens.at += 1;
        let mut dims = vec![self.dim()?];
        while self.tokens.sign(",") {
            dims.push(self.dim()?);
        }
        let kind = if self.tokens.word("unrolled") {
            Kind::Unrolled
        } else if !self.tokens.word("by") {
            Kind::Serial
        } else if self.tokens.word("threads") {
            Kind::Threads
        } else {
            self.tokens.expect("blocks")?;
            match self.tokens.word("and") {
                true => {
                    self.tokens.expect("threads")?;
                    Kind::Spread
                }
                false => Kind::Grid,
            }
        };
        let body = self.block()?;
        Ok(Stmt::For { dims, kind, body })
    }

    fn dim(&mut self) -> Result<Dim> {
        let var = self.variable()?;
        if self.tokens.sign("=") {
            let first = self.tokens.signed()?;
            let step = match self.tokens.word("wide") {
                true => i64::from(self.tokens.count(1)?),
                false => 1,
            };
            return Ok(Dim::range(var, first, first + step, step));
        }
        self.tokens.expect("in")?;
        let lower = self.bound("max")?;
        self.tokens.expect("..")?;
        let upper = self.bound("min")?;
        let step = match self.tokens.word("step") {
            true => i64::from(self.tokens.count(1)?),
            false => 1,
        };
        Ok(Dim {
            var,
            lower,
            upper,
            step,
        })
    }

    /// `i`, `(i)/2`, or the greatest or least of several.
    fn bound(&mut self, pick: &str) -> Result<Vec<Quotient>> {
        let several = matches!(self.tokens.ahead(1), Part::Sign("(")) && self.tokens.word(pick);
        if !several {
            return Ok(vec![self.quotient()?]);
        }
        self.tokens.expect("(")?;
        let mut out = vec![self.quotient()?];
        while self.tokens.sign(",") {
            out.push(self.quotient()?);
        }
        self.tokens.expect(")")?;
        Ok(out)
    }

    fn quotient(&mut self) -> Result<Quotient> {
        if !self.tokens.sign("(") {
            return Ok(Quotient {
                num: self.at()?,
                div: 1,
            });
        }
        let num = self.at()?;
        self.tokens.expect(")")?;
        self.tokens.expect("/")?;
        let div = i64::from(self.tokens.count(1)?);
        Ok(Quotient { num, div })
    }

    /// `let %3 = …`
    fn define(&mut self) -> Result<()> {
        self.tokens.at += 1;
        let Part::Named(number) = *self.tokens.peek() else {
            return self
                .tokens
                .wrong_next("a let names a value by a number, as %3");
        };
        self.tokens.at += 1;
        self.tokens.expect("=")?;
        let value = self.value()?;
        if self.named.insert(number, value).is_some() {
            return self
                .tokens
                .wrong(format!("two values are called %{number}"));
        }
        Ok(())
    }

    fn assignment(&mut self) -> Result<Stmt> {
        let name = self.tokens.name()?;
        match self.find(&name)? {
            Memory::Reg(reg) => {
                let index = self.index()?;
                if self.tokens.sign("..") {
                    self.tokens.expect("=")?;
                    let name = self.tokens.name()?;
                    let Memory::Buf(buf) = self.find(&name)? else {
                        return self.tokens.wrong(format!("{name} is not a buffer"));
                    };
                    let (at, width) = self.elements()?;
                    return Ok(Stmt::SetRow {
                        reg,
                        index,
                        buf,
                        at,
                        width,
                    });
                }
                self.tokens.expect("=")?;
                let value = self.value()?;
                Ok(Stmt::Set { reg, index, value })
            }
            Memory::Buf(buf) => self.store(buf),
        }
    }

    /// `[at; 4]`
    fn elements(&mut self) -> Result<(At, u32)> {
        self.tokens.expect("[")?;
        let at = self.at()?;
        self.tokens.expect(";")?;
        let width = self.tokens.count(1)?;
        self.tokens.expect("]")?;
        Ok((at, width))
    }
}
