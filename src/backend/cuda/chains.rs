//! Cuts runs of small groups into chains: launches in which a block takes a few images through all groups.
//!
//! A chain is bounded in groups, buffers and text. Layers that repeat become rounds of one text, and a chain holds
//! whole repetitions of them, so that the next chain starts where this one did and has the same text. Does not know
//! which groups are small.

use super::segments::{Budget, Classes, Launch, Segment, Work, weight};
use crate::passes::fuse::Group;

/// Groups of a chain: between two of them a block waits for all its threads, and no other block takes its place.
const MOST_GROUPS: usize = 16;
/// Groups that repeat together, at most: twice so many fit in a chain.
const MOST_PERIOD: usize = MOST_GROUPS / 2;

/// The launches of groups that run one after the other, all of them small.
pub fn cut(groups: &[Group], classes: &Classes, run: &[usize]) -> Vec<Launch> {
    let of = |&k: &usize| classes.key(groups, &[k]);
    let keys: Vec<Vec<usize>> = run.iter().map(of).collect();
    let ahead = |at: usize| &keys[at..keys.len().min(at + 2 * MOST_GROUPS)];
    let mut open = Open::default();
    let mut out = Vec::new();
    let mut at = 0;
    while at < run.len() {
        let (period, repeats) = repetition(ahead(at));
        // Formulas that repeat are rounds of one text only where they use each other's values alike.
        let round = |r: usize| classes.key(groups, &run[at + r * period..at + (r + 1) * period]);
        let first = round(0);
        let repeats = 1 + (1..repeats).take_while(|&r| round(r) == first).count();
        let left = &run[at..at + period * repeats];
        let taken = match repeats {
            1 => open.one(groups, left[0]),
            _ => open.rounds(groups, left, period),
        };
        at += taken;
        if taken == 0 {
            out.extend(open.close());
        }
    }
    out.extend(open.close());
    out
}

/// The period, at most [`MOST_PERIOD`], with which most of the first entries repeat, and how often; else one entry,
/// once.
fn repetition<T: PartialEq>(keys: &[T]) -> (usize, usize) {
    let mut best = (1, 1);
    for period in 1..=MOST_PERIOD.min(keys.len() / 2) {
        let same = keys.iter().zip(&keys[period..]).take_while(|(a, b)| a == b);
        let repeats = 1 + same.count() / period;
        if repeats > 1 && period * repeats > best.0 * best.1 {
            best = (period, repeats);
        }
    }
    best
}

/// A chain that may grow.
#[derive(Default)]
struct Open {
    segments: Vec<Segment>,
    count: usize,
    budget: Budget,
}

impl Open {
    /// Takes a group, if it fits; how many it took.
    fn one(&mut self, groups: &[Group], at: usize) -> usize {
        let weight = weight(&groups[at]);
        if self.count == MOST_GROUPS || !self.budget.takes(groups, &[at], weight) {
            return 0;
        }
        self.push(groups, vec![vec![at]], weight);
        1
    }

    /// Takes as many rounds of so many groups as fit; in an empty chain, where two do not, the first group alone. How
    /// many groups it took.
    fn rounds(&mut self, groups: &[Group], all: &[usize], period: usize) -> usize {
        let weight = all[..period].iter().map(|&k| weight(&groups[k])).sum();
        let fits = |rounds: &usize| {
            let part = &all[..rounds * period];
            self.count + part.len() <= MOST_GROUPS && self.budget.fits(groups, part, weight)
        };
        let most = (2..=all.len() / period).take_while(fits).last();
        match most {
            Some(rounds) => {
                let rounds = all[..rounds * period].chunks(period);
                let taken = rounds.len() * period;
                self.push(groups, rounds.map(<[usize]>::to_vec).collect(), weight);
                taken
            }
            None if self.count == 0 => self.one(groups, all[0]),
            None => 0,
        }
    }

    fn push(&mut self, groups: &[Group], rounds: Vec<Vec<usize>>, weight: usize) {
        let all = rounds.concat();
        self.count += all.len();
        self.budget.add(groups, &all, weight);
        self.segments.push(Segment { rounds });
    }

    /// The chain so far; a group alone needs none.
    fn close(&mut self) -> Option<Launch> {
        let Self {
            segments, count, ..
        } = std::mem::take(self);
        let work = match count {
            0 => return None,
            1 => Work::Level,
            _ => Work::Chain,
        };
        Some(Launch { work, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_that_covers_most_is_found() {
        assert_eq!(repetition(&[7]), (1, 1));
        assert_eq!(repetition(&[1, 2, 3]), (1, 1));
        assert_eq!(repetition(&[1, 1, 1, 2]), (1, 3));
        assert_eq!(repetition(&[1, 2, 1, 2, 1, 3]), (2, 2));
        assert_eq!(repetition(&[1, 1, 2, 1, 1, 2]), (3, 2));
        let long: Vec<usize> = (0..MOST_PERIOD + 1).chain(0..MOST_PERIOD + 1).collect();
        assert_eq!(repetition(&long), (1, 1));
    }
}
