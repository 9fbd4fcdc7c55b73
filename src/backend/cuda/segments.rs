//! What a launch is made of: groups of operators, those of equal formulas as rounds of one text.
//!
//! A net of many equal layers needs the text of one. Where several of them share a launch, that text stands in its
//! kernel once, and each *round* of it has buffers of its own; launches of equal text share a kernel. A kernel has few
//! parameters and a text of bounded length whatever the net is, since a launch takes no more than a *budget*; what
//! does not fit starts another launch.
//!
//! Does not know schedules, memory or text.

use std::collections::{BTreeSet, HashMap};

use crate::ir::Value;
use crate::nest::Nest;
use crate::ops::Graph;
use crate::passes::fuse::Group;

/// Buffers that a kernel takes as pointers of their own: with what else it needs they are 64 at most, 512 bytes, where
/// the oldest toolkits and GPUs take 4096.
pub const MOST_BUFFERS: usize = 60;
/// Formulas that one kernel is the text of, as [`weight`] counts: eight sums of products.
const MOST_WEIGHT: usize = 32;
/// Elements of all rounds of a value, as threads of one loop count them.
const MOST_ELEMENTS: u64 = 1 << 28;

/// Groups whose text stands in a kernel once. Rounds have equal formulas, group by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub rounds: Vec<Vec<usize>>,
}

/// What the groups of a launch have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Each works on its images, and none waits for another.
    Level,
    /// A block takes its images through all, one after the other.
    Chain,
    /// Sums over images.
    Gradients,
    /// What runs once, between two phases.
    Between,
    /// What runs once, at the end of a step.
    Update,
}

/// Groups that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub work: Work,
    pub segments: Vec<Segment>,
}

impl Launch {
    pub fn groups(&self) -> impl Iterator<Item = usize> {
        let rounds = self.segments.iter().flat_map(|s| &s.rounds);
        rounds.flatten().copied()
    }
}

/// Which groups have equal formulas: those of one number.
pub struct Classes(Vec<usize>);

impl Classes {
    pub fn of(groups: &[Group]) -> Self {
        let mut known: HashMap<&Nest, usize> = HashMap::new();
        let number = |group| {
            let next = known.len();
            *known.entry(group).or_insert(next)
        };
        Self(groups.iter().map(|g| &g.nest).map(number).collect())
    }

    /// Equal for rounds of equal formulas that use their values alike.
    pub fn key(&self, groups: &[Group], round: &[usize]) -> Vec<usize> {
        let mut numbers = Numbers::default();
        let mut out: Vec<usize> = round.iter().map(|&k| self.0[k]).collect();
        out.extend(values(groups, round).map(|v| numbers.number(v)));
        out
    }
}

/// Values numbered in the order in which they come.
#[derive(Default)]
pub struct Numbers {
    known: HashMap<Value, usize>,
    pub values: Vec<Value>,
}

impl Numbers {
    pub fn number(&mut self, v: Value) -> usize {
        let next = self.values.len();
        let number = *self.known.entry(v).or_insert(next);
        if number == next {
            self.values.push(v);
        }
        number
    }
}

/// The values of groups in the order of their tensors.
pub fn values<'a>(groups: &'a [Group], round: &'a [usize]) -> impl Iterator<Item = Value> + 'a {
    round.iter().flat_map(|&k| groups[k].values())
}

/// The length of a group's text: that of a sum of products is 4.
pub fn weight(group: &Group) -> usize {
    if group.nest.macs().padded > 0 { 4 } else { 1 }
}

/// What an open launch holds.
#[derive(Default)]
pub struct Budget {
    buffers: BTreeSet<Value>,
    weight: usize,
}

impl Budget {
    /// Whether these groups fit too, whose text is `weight` long. An empty launch takes anything.
    pub fn takes(&self, groups: &[Group], round: &[usize], weight: usize) -> bool {
        self.buffers.is_empty() || self.fits(groups, round, weight)
    }

    /// The same, of an empty launch too.
    pub fn fits(&self, groups: &[Group], round: &[usize], weight: usize) -> bool {
        let new = values(groups, round).filter(|v| !self.buffers.contains(v));
        let new: BTreeSet<Value> = new.collect();
        self.buffers.len() + new.len() <= MOST_BUFFERS && self.weight + weight <= MOST_WEIGHT
    }

    pub fn add(&mut self, groups: &[Group], round: &[usize], weight: usize) {
        self.buffers.extend(values(groups, round));
        self.weight += weight;
    }
}

/// Packs rounds that do not wait for each other into launches. Rounds of one key, as `key` has it, become rounds of one
/// segment; launches that one segment fills come first and are alike.
pub fn pack(
    g: &Graph,
    groups: &[Group],
    batch: u32,
    work: Work,
    rounds: Vec<Vec<usize>>,
    key: impl Fn(&[usize]) -> Vec<usize>,
) -> Vec<Launch> {
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut alike: Vec<Vec<Vec<usize>>> = Vec::new();
    for round in rounds {
        let at = *known.entry(key(&round)).or_insert(alike.len());
        alike.resize_with(alike.len().max(at + 1), Vec::new);
        alike[at].push(round);
    }
    let mut out = Vec::new();
    let mut rest: Vec<Segment> = Vec::new();
    for rounds in alike {
        let most = most_rounds(g, groups, batch, &rounds[0]);
        let whole = match rounds.len() > most {
            true => rounds.len() / most * most,
            false => 0,
        };
        let segment = |r: &[Vec<usize>]| Segment { rounds: r.into() };
        let full = rounds[..whole].chunks(most).map(segment);
        out.extend(full.map(|s| Launch {
            work,
            segments: vec![s],
        }));
        rest.extend((whole < rounds.len()).then(|| segment(&rounds[whole..])));
    }
    out.extend(mixed(groups, work, rest));
    out
}

/// Launches of segments in their order, each as many as fit.
fn mixed(groups: &[Group], work: Work, segments: Vec<Segment>) -> Vec<Launch> {
    let mut out: Vec<Launch> = Vec::new();
    let mut budget = Budget::default();
    for segment in segments {
        let weight = segment.rounds[0].iter().map(|&k| weight(&groups[k])).sum();
        let all = segment.rounds.concat();
        match out.last_mut() {
            Some(open) if budget.takes(groups, &all, weight) => open.segments.push(segment),
            _ => {
                budget = Budget::default();
                out.push(Launch {
                    work,
                    segments: vec![segment],
                });
            }
        }
        budget.add(groups, &all, weight);
    }
    out
}

/// How many rounds a launch takes at most.
fn most_rounds(g: &Graph, groups: &[Group], batch: u32, round: &[usize]) -> usize {
    let distinct: BTreeSet<Value> = values(groups, round).collect();
    let elements = distinct.iter().map(|&v| {
        let images = if g.ty(v).is_batch() { batch } else { 1 };
        g.ty(v).elements().saturating_mul(u64::from(images))
    });
    let largest = elements.max().unwrap_or(1).max(1);
    let by_elements = usize::try_from(MOST_ELEMENTS / largest).unwrap_or(usize::MAX);
    let by_buffers = MOST_BUFFERS / distinct.len().max(1);
    by_buffers.min(by_elements).max(1)
}
