//! The body of a kernel: labels, instructions and their operands. Inner blocks are flattened; registers that they declare
//! get names of their own.

use super::PtxError;
use super::ast::{Entry, Instruction, Operand, Space, Statement};
use super::lexer::Token;
use super::parser::Parser;

impl Parser {
    pub(super) fn body(&mut self, entry: &mut Entry) -> Result<(), PtxError> {
        self.scopes = vec![Vec::new()];
        while !self.scopes.is_empty() {
            self.statement(entry)?;
        }
        Ok(())
    }

    fn statement(&mut self, entry: &mut Entry) -> Result<(), PtxError> {
        let line = self.line();
        match self.next()? {
            Token::Punct('{') => {
                self.scope_count += 1;
                self.scopes.push(Vec::new());
            }
            Token::Punct('}') => {
                self.scopes.pop();
            }
            Token::Punct(';') => {}
            Token::Punct('@') => {
                let negated = self.eat('!');
                let name = self.word()?;
                let guard = Some((self.resolve(name), negated));
                let opcode = self.word()?;
                self.instruction(entry, line, guard, opcode)?;
            }
            Token::Word(word) if word.starts_with('.') => self.directive(entry, &word)?,
            Token::Word(word) if self.eat(':') => entry.body.push(Statement::Label(word, line)),
            Token::Word(word) => self.instruction(entry, line, None, word)?,
            other => return Err(PtxError::new(line, format!("unexpected {other:?}"))),
        }
        Ok(())
    }

    fn directive(&mut self, entry: &mut Entry, word: &str) -> Result<(), PtxError> {
        match word {
            ".reg" => self.register_declaration(entry)?,
            ".shared" => entry
                .variables
                .extend(self.variables(Space::Shared, false)?),
            ".local" => entry.variables.extend(self.variables(Space::Local, false)?),
            ".pragma" => {
                self.next()?;
                self.expect(';')?;
            }
            ".loc" => {
                // Its numbers end with the source line; `function_name` and `inlined_at` follow a comma there.
                let line = self.tokens[self.at - 1].line;
                while self.peek().is_some() && self.line() == line {
                    self.at += 1;
                }
            }
            ".param" | ".callprototype" => {
                return self.error("calls of functions are not executed");
            }
            other => {
                self.at -= 1;
                return self.error(format!("unknown directive `{other}` in a body"));
            }
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        entry: &mut Entry,
        line: u32,
        guard: Option<(String, bool)>,
        opcode: String,
    ) -> Result<(), PtxError> {
        if opcode == "call" || opcode.starts_with("call.") {
            return Err(PtxError::new(line, "calls of functions are not executed"));
        }
        let mut operands = Vec::new();
        while !self.eat(';') {
            operands.push(self.operand()?);
            if !self.eat(',') {
                self.expect(';')?;
                break;
            }
        }
        entry.body.push(Statement::Instruction(Instruction {
            line,
            guard,
            opcode,
            operands,
        }));
        Ok(())
    }

    /// The flat name of a register declared in an inner block, else the name itself.
    fn resolve(&self, name: String) -> String {
        let found = self
            .scopes
            .iter()
            .flatten()
            .rev()
            .find(|(local, _)| *local == name);
        found.map_or(name, |(_, unique)| unique.clone())
    }

    fn operand(&mut self) -> Result<Operand, PtxError> {
        match self.next()? {
            Token::Punct('[') => self.address(),
            Token::Punct('{') => {
                let mut elements = Vec::new();
                while !self.eat('}') {
                    elements.push(self.operand()?);
                    self.eat(',');
                }
                Ok(Operand::Vector(elements))
            }
            Token::Punct('!') => {
                let name = self.word()?;
                Ok(Operand::Not(self.resolve(name)))
            }
            Token::Punct('-') => Ok(Operand::Integer(-i128::from(self.integer()?))),
            Token::Integer(value) => Ok(Operand::Integer(i128::from(value))),
            Token::Single(bits) => Ok(Operand::Single(bits)),
            Token::Double(bits) => Ok(Operand::Double(bits)),
            Token::Word(word) => self.named(word),
            other => {
                self.at -= 1;
                self.error(format!("unexpected {other:?} as an operand"))
            }
        }
    }

    fn named(&mut self, word: String) -> Result<Operand, PtxError> {
        let name = self.resolve(word);
        if self.eat('|') {
            let second = self.operand()?;
            return Ok(Operand::Pair(
                Box::new(Operand::Word(name)),
                Box::new(second),
            ));
        }
        match self.offset()? {
            0 => Ok(Operand::Word(name)),
            offset => Ok(Operand::Offset(name, offset)),
        }
    }

    fn address(&mut self) -> Result<Operand, PtxError> {
        let (base, offset) = match self.peek() {
            Some(Token::Word(_)) => {
                let name = self.word()?;
                (Some(self.resolve(name)), self.offset()?)
            }
            _ => (None, self.integer()? as i64),
        };
        self.expect(']')?;
        Ok(Operand::Address { base, offset })
    }
}
