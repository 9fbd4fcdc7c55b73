//! Rounds of one text: which buffers a round works on, chosen by its number.
//!
//! All buffers are parameters, and a pointer that is chosen among `const __restrict__` ones keeps what these promise; one
//! that is chosen among others promises nothing ([`super::parameters`]).
//! Does not know what a round computes.

use super::Printer;
use crate::backend::cuda::program::Rounds;
use crate::nest::loops::Var;

impl<'a> Printer<'a> {
    /// The rounds that a loop's variable counts.
    pub(super) fn rounds_of(&self, v: Var) -> Option<&'a Rounds> {
        self.rounds.iter().find(|r| r.var == v)
    }

    /// Points the buffers of the first round, by which the body knows them, to those of the round at hand.
    pub(super) fn choose(&mut self, number: &str, rounds: &Rounds, depth: usize) {
        let slots = 0..rounds.buffers[0].len();
        let differs = |&s: &usize| rounds.buffers.iter().any(|r| r[s] != rounds.buffers[0][s]);
        let slots: Vec<usize> = slots.filter(differs).collect();
        let mut chosen = Vec::new();
        for &slot in &slots {
            let id = rounds.buffers[0][slot];
            let name = self.names.fresh(&format!("the_{}", self.names.buffer(id)));
            let ty = self.pointer(rounds, slot);
            self.line(depth, &format!("{ty} {name};"));
            chosen.push(name);
        }
        self.line(depth, &format!("switch ({number}) {{"));
        for (round, buffers) in rounds.buffers.iter().enumerate() {
            let set = slots.iter().zip(&chosen).map(|(&slot, name)| {
                let from = self.names.parameter(buffers[slot]);
                format!(" {name} = {from};")
            });
            let set: String = set.collect();
            let label = match round + 1 == rounds.buffers.len() {
                true => "default".into(),
                false => format!("case {round}"),
            };
            self.line(depth, &format!("{label}:{set} break;"));
        }
        self.line(depth, "}");
        for (slot, name) in slots.into_iter().zip(chosen) {
            self.names.rename(rounds.buffers[0][slot], name);
        }
    }

    /// The type of a pointer to any round's buffer. What a round writes all rounds write.
    fn pointer(&self, rounds: &Rounds, slot: usize) -> String {
        let id = rounds.buffers[0][slot];
        let b = &self.k.buffers[id.0 as usize];
        let mut all = rounds.buffers.iter().map(|round| round[slot]);
        let constant = match all.all(|id| self.written.contains(&id)) {
            true => "",
            false => "const ",
        };
        format!("{constant}{}*", self.element_type(b, id))
    }
}
