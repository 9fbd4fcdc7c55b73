//! Which of the kernels that run once wait for which: those of a wave may run at the same time.
//!
//! A kernel waits for those before it that write what it touches, and for those that read what it writes: a state's next
//! value lies where the state is. Does not know what kernels compute.

use std::collections::BTreeMap;

use lenetc_runtime::exec::Place;

use super::places::Placed;
use crate::backend::phases::{Slot, Work};
use crate::ir::Value;
use crate::passes::fuse::Group;

/// The first wave that need not wait for what was done with a place.
#[derive(Clone, Copy, Default)]
struct Free {
    /// To be read.
    to_read: usize,
    /// To be written.
    to_write: usize,
}

/// The places that the kernels of a slot touched.
#[derive(Default)]
struct Touched(BTreeMap<Place, Free>);

/// The wave of each group among those of its slot; 0 for those of images, which a block takes in their order.
pub fn of(placed: &Placed) -> Vec<usize> {
    let mut slots: BTreeMap<Slot, Touched> = BTreeMap::new();
    let groups = placed.part.groups.iter().zip(&placed.slots);
    let wave = |(group, &slot): (&Group, &Slot)| match slot.work() {
        Work::Blocks => 0,
        Work::Once => {
            let places = |values: Vec<Value>| -> Vec<Place> {
                let place = |&v: &Value| placed.fixed.place(v, slot);
                values.iter().filter_map(place).collect()
            };
            let touched = slots.entry(slot).or_default();
            touched.wave(&places(group.reads()), &places(group.stores()))
        }
    };
    groups.map(wave).collect()
}

impl Touched {
    /// The wave of a kernel that reads and writes these places.
    fn wave(&mut self, reads: &[Place], writes: &[Place]) -> usize {
        let free = |place: &Place| self.0.get(place).copied().unwrap_or_default();
        let to_read = reads.iter().map(|place| free(place).to_read);
        let to_write = writes.iter().map(|place| free(place).to_write);
        let wave = to_read.chain(to_write).max().unwrap_or(0);
        for &place in reads {
            let free = self.0.entry(place).or_default();
            free.to_write = free.to_write.max(wave + 1);
        }
        for &place in writes {
            let free = self.0.entry(place).or_default();
            (free.to_read, free.to_write) = (wave + 1, wave + 1);
        }
        wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_the_same_place_runs_one_after_the_other() {
        let [a, b, c] = [0, 64, 128].map(Place::Step);
        let mut touched = Touched::default();
        assert_eq!(touched.wave(&[a], &[b]), 0);
        assert_eq!(touched.wave(&[a], &[c]), 0, "two may read it");
        assert_eq!(touched.wave(&[b, c], &[]), 1, "both are written before");
        assert_eq!(touched.wave(&[], &[a]), 1, "it is read before");
        assert_eq!(touched.wave(&[a], &[a]), 2, "in place");
        assert_eq!(touched.wave(&[b], &[b]), 2, "it was read in wave 1");
    }
}
