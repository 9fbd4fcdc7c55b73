//! The parameters of a kernel: a pointer for each of its buffers, or for each region of memory that many of them lie
//! in.
//!
//! A buffer that the kernel does not write is `const __restrict__`, so that its loads may take the read-only path. That
//! holds where one pointer serves a whole region too: a region has two, and what is read through the one is not
//! written through the other by the same launch. Does not know what a kernel computes.

use std::collections::BTreeSet;

use lenetc_runtime::cuda::Place;

use super::used::stores;
use super::{Printer, globals};
use crate::backend::cuda::program::{Extra, Rounds, Unit};
use crate::backend::cuda::segments::MOST_BUFFERS;
use crate::ir::DType;
use crate::nest::loops::{BufId, Buffer};

/// A parameter as it is written, and what is passed for it.
pub struct Parameter {
    pub text: String,
    pub place: Place,
}

/// A kernel's parameters, and the lines that its buffers take behind them.
pub struct Parameters {
    pub list: Vec<Parameter>,
    pub lines: Vec<String>,
}

/// A buffer that is passed.
struct Passed {
    ty: &'static str,
    name: String,
    place: Place,
    written: bool,
    /// Its memory is reached by another pointer too, which writes: the optimizer's next value lies where the last one
    /// was, and a round may read what an earlier one wrote.
    shared: bool,
}

impl Printer<'_> {
    pub(super) fn parameters(&mut self, unit: &Unit) -> Parameters {
        let passed = self.passed(unit);
        let mut out = match passed.len() > MOST_BUFFERS {
            true => self.regions(&passed),
            false => Parameters {
                list: passed.iter().map(Passed::parameter).collect(),
                lines: vec![],
            },
        };
        let mut more = |text: &str, place| {
            let text = text.into();
            out.list.push(Parameter { text, place });
        };
        if matches!(unit.extra, Some(Extra::Account | Extra::Close)) {
            more("const float* losses", Place::Losses);
            more("const float* correct", Place::Correct);
            more("Result* results", Place::Results);
        }
        more("Step* step", Place::Step);
        out
    }

    fn passed(&self, unit: &Unit) -> Vec<Passed> {
        let chosen = self.chosen_and_written();
        let all = globals(self.k).zip(&unit.places);
        all.map(|((id, b), &place)| Passed {
            ty: self.element_type(b, id),
            name: self.names.buffer(id).to_string(),
            place,
            written: self.written.contains(&id),
            shared: chosen.contains(&id) || unit.places.iter().filter(|p| **p == place).count() > 1,
        })
        .collect()
    }

    /// Buffers that pointers are chosen among of which one is written. NVRTC does not see that what is read through such a
    /// choice may be what is written, and would read it as read-only.
    fn chosen_and_written(&self) -> BTreeSet<BufId> {
        let mut out = BTreeSet::new();
        for Rounds { buffers, .. } in self.rounds {
            for slot in 0..buffers[0].len() {
                let all = || buffers.iter().map(|round| round[slot]);
                if all().any(|id| self.written.contains(&id)) {
                    out.extend(all());
                }
            }
        }
        out
    }

    /// The type of a buffer's elements.
    pub(super) fn element_type(&self, b: &Buffer, id: BufId) -> &'static str {
        match b.dtype {
            DType::F32 => "float",
            DType::U8 => "u8",
            DType::I32 if Some(id) == self.order => "u32",
            DType::I32 => "int",
        }
    }

    /// A pointer to each region that is read and to each that is written, and a constant for each buffer in one.
    fn regions(&mut self, passed: &[Passed]) -> Parameters {
        let mut out = Parameters {
            list: vec![],
            lines: vec![],
        };
        let mut known: Vec<(Place, bool, String)> = Vec::new();
        for p in passed {
            let Some(region) = Region::of(p.place) else {
                out.list.push(p.parameter());
                continue;
            };
            let to = p.written || p.shared;
            let found = known.iter().find(|k| (k.0, k.1) == (region.start, to));
            let base = match found {
                Some((.., base)) => base.clone(),
                None => {
                    let (constant, end) = if to { ("", "") } else { ("const ", "_in") };
                    let base = self.names.fresh(&format!("{}{end}", region.name));
                    out.list.push(Parameter {
                        text: format!("{constant}float* __restrict__ {base}"),
                        place: region.start,
                    });
                    known.push((region.start, to, base.clone()));
                    base
                }
            };
            let constant = if p.written { "" } else { "const " };
            let (name, at) = (&p.name, region.at_bytes / 4);
            out.lines
                .push(format!("{constant}float* const {name} = {base} + {at};"));
        }
        out
    }
}

impl Passed {
    fn parameter(&self) -> Parameter {
        let constant = if self.written { "" } else { "const " };
        let restrict = if self.shared { "" } else { " __restrict__" };
        Parameter {
            text: format!("{constant}{}*{restrict} {}", self.ty, self.name),
            place: self.place,
        }
    }
}

/// Memory of many values, all of f32.
struct Region {
    name: &'static str,
    start: Place,
    at_bytes: usize,
}

impl Region {
    fn of(place: Place) -> Option<Self> {
        let (name, start, at_bytes) = match place {
            Place::Arena(at) => ("arena", Place::Arena(0), at),
            Place::Parameters(at) => ("parameters", Place::Parameters(0), at),
            Place::Partials(at) => ("partials", Place::Partials(0), at),
            _ => return None,
        };
        Some(Self {
            name,
            start,
            at_bytes,
        })
    }
}

/// Buffers that a kernel writes, in any round.
pub fn written(unit: &Unit) -> BTreeSet<BufId> {
    let mut out = stores(&unit.kernel.body);
    for Rounds { buffers, .. } in &unit.rounds {
        for slot in 0..buffers[0].len() {
            if out.contains(&buffers[0][slot]) {
                out.extend(buffers.iter().map(|round| round[slot]));
            }
        }
    }
    out
}
