//! Tokens to syntax tree: directives and declarations. Bodies of device functions are skipped, since a call of one is
//! refused where it stands.

use super::PtxError;
use super::ast::{Entry, Initial, Module, Param, Registers, Space, Type, Variable};
use super::lexer::{Spanned, Token, lex};

pub fn parse(source: &str) -> Result<Module, PtxError> {
    let tokens = lex(source)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        scopes: Vec::new(),
        scope_count: 0,
    };
    parser.module()
}

pub(super) struct Parser {
    pub(super) tokens: Vec<Spanned>,
    pub(super) at: usize,
    /// Names declared in each open `{ }` inside a body, with the names that stand for them in the flat list.
    pub(super) scopes: Vec<Vec<(String, String)>>,
    pub(super) scope_count: u32,
}

impl Parser {
    pub(super) fn line(&self) -> u32 {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |spanned| spanned.line)
    }

    pub(super) fn error<T>(&self, reason: impl Into<String>) -> Result<T, PtxError> {
        Err(PtxError::new(self.line(), reason))
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|spanned| &spanned.token)
    }

    pub(super) fn next(&mut self) -> Result<Token, PtxError> {
        match self.tokens.get(self.at) {
            Some(spanned) => {
                self.at += 1;
                Ok(spanned.token.clone())
            }
            None => self.error("the text ends too early"),
        }
    }

    pub(super) fn eat(&mut self, punct: char) -> bool {
        let found = self.peek() == Some(&Token::Punct(punct));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, punct: char) -> Result<(), PtxError> {
        if self.eat(punct) {
            Ok(())
        } else {
            self.error(format!("expected `{punct}`, found {:?}", self.peek()))
        }
    }

    pub(super) fn word(&mut self) -> Result<String, PtxError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => {
                self.at -= 1;
                self.error(format!("expected a name, found {other:?}"))
            }
        }
    }

    pub(super) fn integer(&mut self) -> Result<u64, PtxError> {
        match self.next()? {
            Token::Integer(value) => Ok(value),
            other => {
                self.at -= 1;
                self.error(format!("expected an integer, found {other:?}"))
            }
        }
    }

    pub(super) fn is_word(&self, text: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if word == text)
    }

    pub(super) fn eat_word(&mut self, text: &str) -> bool {
        let found = self.is_word(text);
        self.at += usize::from(found);
        found
    }

    /// Goes past the rest of the source line, for directives that end without a semicolon.
    fn skip_source_line(&mut self) {
        let line = self.tokens[self.at - 1].line;
        while self
            .tokens
            .get(self.at)
            .is_some_and(|spanned| spanned.line == line)
        {
            self.at += 1;
        }
    }

    fn module(&mut self) -> Result<Module, PtxError> {
        let mut module = Module::default();
        while self.peek().is_some() {
            self.top_level(&mut module)?;
        }
        if module.version == (0, 0) {
            return Err(PtxError::new(1, "no .version"));
        }
        Ok(module)
    }

    fn top_level(&mut self, module: &mut Module) -> Result<(), PtxError> {
        match self.word()?.as_str() {
            ".version" => module.version = self.version()?,
            ".target" => {
                module.target = self.word()?;
                self.skip_source_line();
            }
            ".address_size" => {
                if self.integer()? != 64 {
                    return self.error("only .address_size 64 is executed");
                }
            }
            ".file" => self.skip_source_line(),
            ".pragma" => {
                self.next()?;
                self.expect(';')?;
            }
            ".section" => {
                self.word()?;
                self.skip_braces()?;
            }
            ".visible" | ".weak" | ".common" => {}
            ".extern" => self.extern_declaration(module)?,
            ".entry" => {
                let entry = self.entry()?;
                module.entries.push(entry);
            }
            ".func" => self.skip_function()?,
            ".global" => module
                .variables
                .extend(self.variables(Space::Global, false)?),
            ".const" => module
                .variables
                .extend(self.variables(Space::Const, false)?),
            ".shared" => module
                .variables
                .extend(self.variables(Space::Shared, false)?),
            other => {
                let reason = format!("unknown directive `{other}`");
                self.at -= 1;
                return self.error(reason);
            }
        }
        Ok(())
    }

    fn version(&mut self) -> Result<(u32, u32), PtxError> {
        let number = match self.next()? {
            Token::Double(bits) => f64::from_bits(bits),
            Token::Integer(value) => value as f64,
            _ => return self.error("expected a version"),
        };
        Ok((number as u32, ((number.fract() * 10.0).round()) as u32))
    }

    fn extern_declaration(&mut self, module: &mut Module) -> Result<(), PtxError> {
        match self.word()?.as_str() {
            ".func" => self.skip_function(),
            ".shared" => {
                module
                    .variables
                    .extend(self.variables(Space::Shared, true)?);
                Ok(())
            }
            other => self.error(format!("`.extern {other}` has nothing to be linked with")),
        }
    }

    fn skip_braces(&mut self) -> Result<(), PtxError> {
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                Token::Punct('{') => depth += 1,
                Token::Punct('}') => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn skip_function(&mut self) -> Result<(), PtxError> {
        loop {
            match self.peek() {
                Some(Token::Punct(';')) => return self.expect(';'),
                Some(Token::Punct('{')) => return self.skip_braces(),
                _ => self.next()?,
            };
        }
    }

    fn entry(&mut self) -> Result<Entry, PtxError> {
        let line = self.line();
        let name = self.word()?;
        let params = if self.eat('(') {
            self.params()?
        } else {
            Vec::new()
        };
        let mut entry = Entry {
            name,
            params,
            registers: Vec::new(),
            variables: Vec::new(),
            body: Vec::new(),
            max_threads: None,
            line,
        };
        while !self.eat('{') {
            self.performance_directive(&mut entry)?;
        }
        self.body(&mut entry)?;
        Ok(entry)
    }

    fn performance_directive(&mut self, entry: &mut Entry) -> Result<(), PtxError> {
        match self.word()?.as_str() {
            ".maxntid" | ".reqntid" => {
                let mut product = self.integer()?;
                while self.eat(',') {
                    product = product.saturating_mul(self.integer()?);
                }
                entry.max_threads = Some(u32::try_from(product).unwrap_or(u32::MAX));
            }
            ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {
                self.integer()?;
            }
            ".noreturn" => {}
            ".pragma" => {
                self.next()?;
                self.expect(';')?;
            }
            other => return self.error(format!("unknown directive `{other}` of a kernel")),
        }
        Ok(())
    }

    fn params(&mut self) -> Result<Vec<Param>, PtxError> {
        let mut params = Vec::new();
        while !self.eat(')') {
            if !self.eat_word(".param") {
                return self.error("expected .param");
            }
            params.push(self.param()?);
            self.eat(',');
        }
        Ok(params)
    }

    fn param(&mut self) -> Result<Param, PtxError> {
        let mut align = 0;
        let mut kind = None;
        loop {
            let word = self.word()?;
            match word.strip_prefix('.') {
                Some("align") => align = self.integer()? as u32,
                Some("ptr" | "global" | "shared" | "const" | "local") => {}
                Some(name) => kind = Some(Type::parse(name).ok_or_else(|| self.no_type(name))?),
                None => {
                    let Some(kind) = kind else {
                        return self.error("a parameter without a type");
                    };
                    let count = if self.eat('[') {
                        let count = self.integer()?;
                        self.expect(']')?;
                        count
                    } else {
                        // `.ptr .align` speaks of what the pointer points to.
                        align = 0;
                        1
                    };
                    let size_bytes = u32::try_from(count * u64::from(kind.size_bytes()))
                        .map_err(|_| PtxError::new(self.line(), "a parameter of this size"))?;
                    return Ok(Param {
                        name: word,
                        align: align.max(kind.size_bytes()),
                        size_bytes,
                    });
                }
            }
        }
    }

    fn no_type(&self, name: &str) -> PtxError {
        PtxError::new(self.line(), format!("unknown type `.{name}`"))
    }

    /// After the space: alignment, type, and one or more names with sizes and initialisers.
    pub(super) fn variables(
        &mut self,
        space: Space,
        is_extern: bool,
    ) -> Result<Vec<Variable>, PtxError> {
        let mut align = 0;
        let kind = loop {
            let word = self.word()?;
            match word.strip_prefix('.') {
                Some("align") => align = self.integer()? as u32,
                Some("attribute") => self.skip_until(')')?,
                Some(name) => break Type::parse(name).ok_or_else(|| self.no_type(name))?,
                None => return self.error(format!("expected a type, found `{word}`")),
            }
        };
        let mut variables = Vec::new();
        loop {
            let line = self.line();
            let name = self.word()?;
            let count = self.dimensions()?;
            let initial = if self.eat('=') {
                self.initial(kind)?
            } else {
                Vec::new()
            };
            let align = align.max(kind.size_bytes());
            variables.push(Variable {
                name,
                space,
                kind,
                align,
                count,
                initial,
                is_extern,
                line,
            });
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';')?;
        Ok(variables)
    }

    fn skip_until(&mut self, punct: char) -> Result<(), PtxError> {
        while !self.eat(punct) {
            self.next()?;
        }
        Ok(())
    }

    /// `[4][8]`, `[]` or nothing.
    fn dimensions(&mut self) -> Result<Option<u64>, PtxError> {
        let mut count = Some(1u64);
        while self.eat('[') {
            if self.eat(']') {
                count = None;
                continue;
            }
            let size = self.integer()?;
            count = count.and_then(|count| count.checked_mul(size));
            self.expect(']')?;
        }
        Ok(count)
    }

    fn initial(&mut self, kind: Type) -> Result<Vec<Initial>, PtxError> {
        if !self.eat('{') {
            return Ok(vec![self.initial_element(kind)?]);
        }
        let mut elements = Vec::new();
        while !self.eat('}') {
            if self.peek() == Some(&Token::Punct('{')) {
                elements.extend(self.initial(kind)?);
            } else {
                elements.push(self.initial_element(kind)?);
            }
            self.eat(',');
        }
        Ok(elements)
    }

    fn initial_element(&mut self, kind: Type) -> Result<Initial, PtxError> {
        let negative = self.eat('-');
        let bits = match self.next()? {
            Token::Integer(value) => value,
            Token::Single(bits) => u64::from(bits),
            Token::Double(bits) if kind == Type::F32 => {
                u64::from((f64::from_bits(bits) as f32).to_bits())
            }
            Token::Double(bits) => bits,
            Token::Word(word) if word == "generic" => {
                self.expect('(')?;
                let name = self.word()?;
                self.expect(')')?;
                return Ok(Initial::Address(name, self.offset()?));
            }
            Token::Word(name) => return Ok(Initial::Address(name, self.offset()?)),
            other => return self.error(format!("expected a constant, found {other:?}")),
        };
        Ok(Initial::Bits(if negative {
            bits.wrapping_neg()
        } else {
            bits
        }))
    }

    /// `+4`, `-4`, `+-4` or nothing.
    pub(super) fn offset(&mut self) -> Result<i64, PtxError> {
        let plus = self.eat('+');
        let minus = self.eat('-');
        if !plus && !minus {
            return Ok(0);
        }
        let value = self.integer()? as i64;
        Ok(if minus { value.wrapping_neg() } else { value })
    }

    pub(super) fn register_declaration(&mut self, entry: &mut Entry) -> Result<(), PtxError> {
        let word = self.word()?;
        let name = word.strip_prefix('.').unwrap_or(&word);
        let kind = Type::parse(name).ok_or_else(|| self.no_type(name))?;
        loop {
            let mut prefix = self.word()?;
            let mut count = None;
            if self.eat('<') {
                count = Some(self.integer()? as u32);
                self.expect('>')?;
            }
            if self.scopes.len() > 1 {
                if count.is_some() {
                    return self.error("numbered registers declared inside an inner block");
                }
                let unique = format!("{prefix}@{}", self.scope_count);
                self.scopes
                    .last_mut()
                    .expect("checked above")
                    .push((prefix, unique.clone()));
                prefix = unique;
            }
            entry.registers.push(Registers {
                prefix,
                kind,
                count,
            });
            if !self.eat(',') {
                return self.expect(';');
            }
        }
    }
}
