//! Buffers placed by liveness: values that are never alive together share memory.
//!
//! First fit in the order in which values are born: a value takes the lowest gap that is free from its birth
//! to its last use. Knows neither operators nor targets.

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
    let mut live: Vec<(u64, u64, usize)> = Vec::new();
    let mut offsets = Vec::with_capacity(intervals.len());
    let mut total = 0;
    for i in intervals {
        live.retain(|l| l.2 >= i.born);
        let bytes = i.bytes.next_multiple_of(ALIGNMENT_BYTES);
        let mut at = 0;
        let mut gap = live.len();
        for (k, &(from, to, _)) in live.iter().enumerate() {
            if at + bytes <= from {
                gap = k;
                break;
            }
            at = at.max(to);
        }
        live.insert(gap, (at, at + bytes, i.dies));
        offsets.push(at);
        total = total.max(at + bytes);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_alive_together_lie_apart(
            mut list in proptest::collection::vec((1u64..5000, 0usize..20, 0usize..6), 1..40)
        ) {
            list.sort_by_key(|l| l.1);
            let intervals: Vec<Interval> = list
                .iter()
                .map(|&(bytes, born, length)| Interval { bytes, born, dies: born + length })
                .collect();
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
