//! Dot products of packed small integers.

use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use crate::exec::dot::{Dot2, Dot4};
use crate::exec::lanes::{Handler, Kind, Level, op3};
use crate::exec::program::Bytes;
use crate::ptx::ast::{Operand, Type};

impl Builder {
    /// `dp4a.a.b d, a, b, c` and `dp2a.lo|hi.a.b d, a, b, c`: true where it is one.
    pub(super) fn dot(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        if !matches!(opcode, "dp4a" | "dp2a") {
            return Ok(false);
        }
        // Types come last first.
        let [b, a] = [self.type_of(modifiers)?, self.type_of(modifiers)?];
        let signed = |t: Type| t == Type::S32;
        let level = Level::Base;
        let high = (opcode == "dp2a").then(|| modifiers.take_one_of(&["lo", "hi"]));
        let exec: Option<Handler> = match (high, signed(a), signed(b)) {
            (None, false, false) => Some(op3::<Dot4<false, false>>(level)),
            (None, false, true) => Some(op3::<Dot4<false, true>>(level)),
            (None, true, false) => Some(op3::<Dot4<true, false>>(level)),
            (None, true, true) => Some(op3::<Dot4<true, true>>(level)),
            (Some(Some(0)), false, false) => Some(op3::<Dot2<false, false, false>>(level)),
            (Some(Some(0)), false, true) => Some(op3::<Dot2<false, true, false>>(level)),
            (Some(Some(0)), true, false) => Some(op3::<Dot2<true, false, false>>(level)),
            (Some(Some(0)), true, true) => Some(op3::<Dot2<true, true, false>>(level)),
            (Some(Some(_)), false, false) => Some(op3::<Dot2<false, false, true>>(level)),
            (Some(Some(_)), false, true) => Some(op3::<Dot2<false, true, true>>(level)),
            (Some(Some(_)), true, false) => Some(op3::<Dot2<true, false, true>>(level)),
            (Some(Some(_)), true, true) => Some(op3::<Dot2<true, true, true>>(level)),
            (Some(None), ..) => None,
        };
        self.emit_typed(exec, Kind::Integer, Type::U32, &[Type::U32; 3], operands)?;
        if let (Some(Some(half)), Some(info)) = (high, self.infos.last_mut()) {
            info.bytes = Bytes::OfB(if half == 0 { 0b0011 } else { 0b1100 });
        }
        Ok(true)
    }
}
