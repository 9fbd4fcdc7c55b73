//! Random numbers in Cranelift: which they are, as integers in lanes. What is made of these is the same for every emitter.
//!
//! Knows no kernel.

use cranelift::prelude::*;

use super::{Emitter, vectors};
use crate::backend::cpu::math;
use crate::nest::loops::{Draw, Lanes};

impl Emitter<'_> {
    pub(super) fn random(&mut self, draw: &Draw) -> Value {
        let [element, image] = [&draw.element, &draw.image].map(|x| self.integers(x));
        math::draw(self, draw.stream, element, image)
    }

    /// Integers in the lanes.
    fn integers(&mut self, lanes: &Lanes) -> Value {
        let (sum, constant) = self.affine(&lanes.at, 1);
        let first = match sum {
            None => self.b.ins().iconst(types::I64, constant),
            Some(sum) => self.b.ins().iadd_imm_s(sum, constant),
        };
        let first = self.b.ins().ireduce(types::I32, first);
        vectors::integers(&mut self.b, first, lanes.step)
    }
}
