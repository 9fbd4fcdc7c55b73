//! Which kernels a target's emitters can write down: the part of the language of loops that is the target's.
//!
//! A kernel outside of it is a bug of the schedule that made it. Knows no emitter; [`verify`](super::verify) holds what
//! is so on every target.

use super::{Expr, Kernel, Kind, Read, Space, Stmt};

/// A target's part of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Vectors of several lanes, on one thread: no blocks, no shared memory, no barrier, and borders that are peeled.
    Processor,
    /// One lane a thread. Every statement of the kernel is a loop over blocks.
    Gpu,
}

impl Dialect {
    /// Holds a kernel to all that [`verify`](super::verify) proves and to the target's part of the language, before
    /// anything is made of it.
    ///
    /// Panics where the kernel breaks either: that is a bug of the schedule that made it.
    pub fn hold(self, kernel: &Kernel) {
        if let Err(e) = super::verify(kernel).and_then(|()| self.verify(kernel)) {
            panic!("a bug in lenetc: a schedule made a wrong kernel: {e}");
        }
    }

    /// The first construct of a kernel that the target does not have, if there is one.
    pub fn verify(self, kernel: &Kernel) -> Result<(), String> {
        let lacks = |what: &str| Err(format!("kernel {}: {self:?} has no {what}", kernel.name));
        let spaces = kernel.buffers.iter().map(|buffer| buffer.space);
        let shared = spaces
            .filter(|space| matches!(space, Space::Shared(_)))
            .count();
        match self {
            Self::Processor if kernel.threads != 1 => return lacks("blocks of threads"),
            Self::Processor if shared > 0 => return lacks("shared memory"),
            Self::Gpu if kernel.lanes != 1 => return lacks("vectors"),
            _ => {}
        }
        if let Some(what) = kernel.exprs.iter().find_map(|e| self.foreign_value(e)) {
            return lacks(what);
        }
        let outermost = |s: &Stmt| matches!(s, Stmt::For { kind, .. } if on_grid(*kind));
        if self == Self::Gpu && !kernel.body.iter().all(|s| outermost(s) || is_note(s)) {
            return lacks("statement outside of a loop over blocks");
        }
        match kernel.body.iter().find_map(|s| self.foreign(s)) {
            Some(what) => lacks(what),
            None => Ok(()),
        }
    }

    /// What a statement has that the target has not.
    fn foreign(self, statement: &Stmt) -> Option<&'static str> {
        let processor = self == Self::Processor;
        match statement {
            Stmt::For { kind, body, .. } => {
                let parallel = on_grid(*kind) || *kind == Kind::Threads;
                let own = (processor && parallel).then_some("loop over blocks or threads");
                own.or_else(|| body.iter().find_map(|s| self.foreign(s)))
            }
            Stmt::If { body, .. } => body.iter().find_map(|s| self.foreign(s)),
            Stmt::Barrier => processor.then_some("barrier"),
            Stmt::SetRow { .. } | Stmt::StoreRow { .. } => processor.then_some("rows of a thread"),
            Stmt::Set { .. } | Stmt::Store { .. } | Stmt::Note(_) => None,
        }
    }

    /// What a value has that the target has not.
    fn foreign_value(self, value: &Expr) -> Option<&'static str> {
        let lanes = matches!(
            value,
            Expr::ReduceLanes(_)
                | Expr::Transposed(..)
                | Expr::Split(..)
                | Expr::Load(_, _, Read::Row(_))
        );
        match self {
            Self::Processor => matches!(value, Expr::Within(..)).then_some("guarded value"),
            Self::Gpu => lanes.then_some("neighbouring lanes"),
        }
    }
}

fn on_grid(kind: Kind) -> bool {
    matches!(kind, Kind::Grid | Kind::Spread)
}

fn is_note(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Note(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;
    use crate::nest::loops::{At, Dim};

    /// What each target says of a kernel.
    fn said(kernel: &Kernel) -> [Option<String>; 2] {
        [Dialect::Processor, Dialect::Gpu].map(|d| d.verify(kernel).err())
    }

    fn kernel(lanes: u32, kind: Kind, inner: Vec<Stmt>) -> Kernel {
        let mut kernel = Kernel::new("k", lanes);
        let var = kernel.var("i");
        kernel.body = vec![Stmt::For {
            dims: vec![Dim::count(var, 4)],
            kind,
            body: inner,
        }];
        kernel
    }

    #[test]
    fn each_target_takes_its_own() {
        let [processor, gpu] = said(&kernel(16, Kind::Serial, vec![]));
        assert!(processor.is_none() && gpu.is_some_and(|e| e.ends_with("no vectors")));
        let [processor, gpu] = said(&kernel(1, Kind::Grid, vec![Stmt::Barrier]));
        assert!(gpu.is_none() && processor.is_some_and(|e| e.contains("loop over blocks")));
        let [_, gpu] = said(&kernel(1, Kind::Serial, vec![]));
        assert!(gpu.is_some_and(|e| e.contains("outside of a loop over blocks")));
    }

    #[test]
    fn constructs_of_the_other_are_found_wherever_they_stand() {
        let [processor, _] = said(&kernel(16, Kind::Serial, vec![Stmt::Barrier]));
        assert!(processor.is_some_and(|e| e.ends_with("no barrier")));
        let mut shared = kernel(16, Kind::Serial, vec![]);
        shared.shared("s", 0, 4);
        assert!(
            said(&shared)[0]
                .as_ref()
                .is_some_and(|e| e.ends_with("shared memory"))
        );
        let mut within = kernel(16, Kind::Serial, vec![]);
        let one = within.constant(1.0);
        within.value(Expr::Within(vec![At::constant(0)], one));
        assert!(
            said(&within)[0]
                .as_ref()
                .is_some_and(|e| e.ends_with("guarded value"))
        );
        let mut summed = kernel(1, Kind::Grid, vec![]);
        let one = summed.constant(1.0);
        summed.value(Expr::ReduceLanes(one));
        summed.buffer("x", DType::F32, 4, Space::Global);
        assert!(
            said(&summed)[1]
                .as_ref()
                .is_some_and(|e| e.ends_with("neighbouring lanes"))
        );
    }
}
