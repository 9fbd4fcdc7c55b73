//! Branches, exits, barriers, fences, and what lanes of a warp do together.

use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::NONE;
use crate::exec::lanes::{Handler, Kind};
use crate::exec::{collective, misc};
use crate::ptx::ast::{Operand, Type};

impl Builder {
    pub(super) fn control(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        match opcode {
            "bra" => self.branch(modifiers, operands)?,
            "ret" | "exit" => {
                modifiers.ignore(&["uni"]);
                self.plain(misc::exit, Kind::Branch);
            }
            "trap" => self.plain(misc::trap, Kind::Branch),
            "brkpt" | "pmevent" => self.plain(misc::nothing, Kind::Special),
            "nanosleep" => {
                self.type_of(modifiers)?;
                self.plain(misc::nothing, Kind::Special);
            }
            "bar" | "barrier" => self.barrier(modifiers, operands)?,
            "membar" | "fence" => {
                let is_wide = modifiers.take_one_of(&["gl", "sys", "gpu"]).is_some();
                modifiers.ignore(&["cta", "sc", "acq_rel", "acquire", "release", "cluster"]);
                let mut fence = self.make(misc::nothing, Kind::Special);
                fence.imm = if is_wide { misc::FENCE } else { 0 };
                self.push(fence);
            }
            "shfl" => self.shuffle(modifiers, operands)?,
            "vote" => self.vote(modifiers, operands)?,
            "redux" => self.redux(modifiers, operands)?,
            "activemask" => {
                self.count_operands(operands, 1)?;
                let kind = self.type_of(modifiers)?;
                let target = self.target(&operands[0], kind)?;
                self.emit(collective::active_mask, Kind::Special, target, [NONE; 3]);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn plain(&mut self, exec: Handler, kind: Kind) {
        let instruction = self.make(exec, kind);
        self.push(instruction);
    }

    fn branch(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        modifiers.ignore(&["uni"]);
        let [Operand::Word(label)] = operands else {
            return self.error("a label belongs here");
        };
        self.branch_to(label);
        self.plain(misc::branch, Kind::Branch);
        Ok(())
    }

    fn barrier(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        modifiers.ignore(&["cta", "aligned"]);
        if modifiers.take("warp") {
            if !modifiers.take("sync") {
                return self.error("only bar.warp.sync is known");
            }
            self.count_operands(operands, 1)?;
            let mut sync = self.make(collective::warp_sync, Kind::Barrier);
            sync.b = self.source(&operands[0], Type::B32)?;
            self.push(sync);
            return Ok(());
        }
        match modifiers.take_one_of(&["sync", "red"]) {
            Some(0) => self.sync(operands),
            Some(_) => self.reducing_barrier(modifiers, operands),
            None => self.error("only .sync and .red are known"),
        }
    }

    /// What can be known of a barrier without running it.
    fn check_barrier(&self, id: &Operand, threads: Option<&Operand>) -> Result<()> {
        let number = |operand: &Operand| match operand {
            Operand::Integer(value) => Some(u32::try_from(*value).unwrap_or(u32::MAX)),
            _ => None,
        };
        match misc::wrong_barrier(number(id).unwrap_or(0), threads.and_then(number)) {
            Some(reason) => self.error(reason),
            None => Ok(()),
        }
    }

    fn sync(&mut self, operands: &[Operand]) -> Result<()> {
        if operands.is_empty() || operands.len() > 2 {
            return self.error("a barrier and perhaps a number of threads belong here");
        }
        self.check_barrier(&operands[0], operands.get(1))?;
        let mut instruction = self.make(misc::barrier, Kind::Barrier);
        instruction.a = self.source(&operands[0], Type::U32)?;
        if let Some(threads) = operands.get(1) {
            instruction.b = self.source(threads, Type::U32)?;
            instruction.imm = 1;
        }
        self.push(instruction);
        Ok(())
    }

    /// `bar.red.op d, a{, b}, p`
    fn reducing_barrier(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let op = modifiers.take_one_of(&["popc", "and", "or"]);
        let (Some(op), 3 | 4) = (op, operands.len()) else {
            return self.error("an operation and 3 or 4 operands belong here");
        };
        if (op == 0) != (kind == Type::U32) {
            return self.no_form(kind);
        }
        let threads = (operands.len() == 4).then(|| &operands[2]);
        self.check_barrier(&operands[1], threads)?;
        let (pred, flip) = self.pred_source(&operands[operands.len() - 1])?;
        let mut instruction = self.make(misc::barrier, Kind::Barrier);
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        instruction.a = self.source(&operands[1], Type::U32)?;
        instruction.c = pred;
        instruction.imm = (op as i64) << 2 | i64::from(flip & 2);
        if operands.len() == 4 {
            instruction.b = self.source(&operands[2], Type::U32)?;
            instruction.imm |= 1;
        }
        self.push(instruction);
        Ok(())
    }

    fn shuffle(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        if !modifiers.take("sync") {
            return self.error("only shfl.sync is known");
        }
        self.count_operands(operands, 5)?;
        let mode = modifiers.take_one_of(&["up", "down", "bfly", "idx"]);
        let kind = self.type_of(modifiers)?;
        let Some(mode) = mode.filter(|_| kind.size_bytes() == 4) else {
            return self.no_form(kind);
        };
        let mut instruction = self.make(collective::shuffle, Kind::Special);
        instruction.a = self.source(&operands[1], kind)?;
        instruction.b = self.source(&operands[2], Type::B32)?;
        instruction.c = self.source(&operands[3], Type::B32)?;
        instruction.d[2] = self.source(&operands[4], Type::B32)?;
        instruction.defs = 1;
        match &operands[0] {
            Operand::Pair(value, valid) => {
                instruction.d[0] = self.target(value, kind)?;
                instruction.d[1] = self.pred_target(valid)?;
                instruction.defs |= 2;
            }
            value => instruction.d[0] = self.target(value, kind)?,
        }
        instruction.extra = [
            collective::SHUFFLE_UP,
            collective::SHUFFLE_DOWN,
            collective::SHUFFLE_BUTTERFLY,
            collective::SHUFFLE_INDEX,
        ][mode];
        self.push(instruction);
        Ok(())
    }

    fn vote(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        if !modifiers.take("sync") {
            return self.error("only vote.sync is known");
        }
        self.count_operands(operands, 3)?;
        let mode = modifiers.take_one_of(&["all", "any", "uni", "ballot"]);
        let kind = self.type_of(modifiers)?;
        let wants = if mode == Some(3) {
            Type::B32
        } else {
            Type::Pred
        };
        let (Some(mode), true) = (mode, kind == wants) else {
            return self.no_form(kind);
        };
        let (pred, flip) = self.pred_source(&operands[1])?;
        let mut instruction = self.make(collective::vote, Kind::Special);
        instruction.a = pred;
        instruction.b = self.source(&operands[2], Type::B32)?;
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        instruction.extra = [
            collective::VOTE_ALL,
            collective::VOTE_ANY,
            collective::VOTE_UNIFORM,
            collective::VOTE_BALLOT,
        ][mode]
            | (flip & 1) << 8;
        self.push(instruction);
        Ok(())
    }

    fn redux(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        if !modifiers.take("sync") {
            return self.error("only redux.sync is known");
        }
        self.count_operands(operands, 3)?;
        let kind = self.type_of(modifiers)?;
        let op = modifiers.take_one_of(&["add", "and", "or", "xor", "min", "max"]);
        let Some(op) = op.filter(|_| matches!(kind, Type::U32 | Type::S32 | Type::B32)) else {
            return self.no_form(kind);
        };
        let mut instruction = self.make(collective::redux, Kind::Special);
        instruction.a = self.source(&operands[1], kind)?;
        instruction.b = self.source(&operands[2], Type::B32)?;
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        instruction.extra = op as u32 | u32::from(kind == Type::S32) << 8;
        self.push(instruction);
        Ok(())
    }
}
