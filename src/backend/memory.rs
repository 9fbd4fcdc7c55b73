//! Buffers placed by liveness: values that are never alive together share memory.
//!
//! First fit in the order in which values are born: a value takes the lowest gap that is free from its birth
//! to its last use. Knows neither operators nor targets.

use std::collections::BTreeMap;

/// Every buffer starts at a multiple of so many bytes.
pub const ALIGNMENT_BYTES: u64 = 64;

/// A value that needs memory from step `born` to step `dies`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub bytes: u64,
    pub born: usize,
    pub dies: usize,
}

/// Where each interval lies, and the bytes of them all.
///
/// `intervals` are sorted by birth; their order decides, so equal input gives an equal plan.
pub fn place(intervals: &[Interval]) -> (Vec<u64>, u64) {
    let mut gaps = Gaps(BTreeMap::from([(0, u64::MAX)]));
    let mut dying: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    let mut offsets = Vec::with_capacity(intervals.len());
    let mut total = 0;
    for i in intervals {
        while let Some(dead) = dying.first_entry().filter(|d| *d.key() < i.born) {
            dead.remove()
                .into_iter()
                .for_each(|(from, to)| gaps.free(from, to));
        }
        let bytes = i.bytes.next_multiple_of(ALIGNMENT_BYTES);
        let at = gaps.take(bytes);
        if bytes > 0 {
            dying.entry(i.dies).or_default().push((at, at + bytes));
        }
        offsets.push(at);
        total = total.max(at + bytes);
    }
    (offsets, total)
}

/// Free memory: where each gap ends by where it starts. No two touch, and the last one is without end.
struct Gaps(BTreeMap<u64, u64>);

impl Gaps {
    /// Takes the start of the lowest gap that is wide enough.
    fn take(&mut self, bytes: u64) -> u64 {
        let mut all = self.0.iter().map(|(&from, &to)| (from, to));
        let found = all.find(|(from, to)| to - from >= bytes);
        let Some((from, to)) = found.filter(|_| bytes > 0) else {
            return 0;
        };
        self.0.remove(&from);
        self.0
            .extend((from + bytes < to).then_some((from + bytes, to)));
        from
    }

    fn free(&mut self, mut from: u64, mut to: u64) {
        let before = self.0.range(..from).next_back();
        if let Some((&start, _)) = before.filter(|(_, end)| **end == from) {
            from = start;
        }
        to = self.0.remove(&to).unwrap_or(to);
        self.0.insert(from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From bytes, the first step and how many follow it, by their first steps.
    fn intervals(mut list: Vec<(u64, usize, usize)>) -> Vec<Interval> {
        list.sort_by_key(|l| l.1);
        let interval = |(bytes, born, length)| Interval {
            bytes,
            born,
            dies: born + length,
        };
        list.into_iter().map(interval).collect()
    }

    proptest! {
        #[test]
        fn values_alive_together_lie_apart(
            list in proptest::collection::vec((1u64..5000, 0usize..20, 0usize..6), 1..40)
        ) {
            let intervals = intervals(list);
            let (at, total) = place(&intervals);
            for (a, x) in intervals.iter().enumerate() {
                prop_assert!(at[a] + x.bytes <= total && at[a] % ALIGNMENT_BYTES == 0);
                for (b, y) in intervals.iter().enumerate().skip(a + 1) {
                    let together = x.born <= y.dies && y.born <= x.dies;
                    let apart = at[a] + x.bytes <= at[b] || at[b] + y.bytes <= at[a];
                    prop_assert!(!together || apart, "{x:?} at {} and {y:?} at {}", at[a], at[b]);
                }
            }
        }
    }

    proptest! {
        /// The lowest place at which a value meets no other that is alive.
        #[test]
        fn each_value_lies_as_low_as_it_can(
            list in proptest::collection::vec((0u64..500, 0usize..20, 0usize..6), 1..40)
        ) {
            let intervals = intervals(list);
            let (at, _) = place(&intervals);
            let padded = |i: &Interval| i.bytes.next_multiple_of(ALIGNMENT_BYTES);
            for (k, i) in intervals.iter().enumerate() {
                let alive: Vec<(u64, u64)> = (0..k)
                    .filter(|&o| intervals[o].dies >= i.born)
                    .map(|o| (at[o], at[o] + padded(&intervals[o])))
                    .collect();
                let free = |from: u64| alive.iter().all(|a| from + padded(i) <= a.0 || a.1 <= from);
                let ends = alive.iter().map(|a| a.1).chain([0]);
                prop_assert_eq!(Some(at[k]), ends.filter(|&e| free(e)).min());
            }
        }
    }

    #[test]
    fn memory_is_used_again() {
        let i = |born, dies| Interval {
            bytes: 64,
            born,
            dies,
        };
        assert_eq!(place(&[i(0, 1), i(1, 2), i(2, 3)]), (vec![0, 64, 0], 128));
    }
}
