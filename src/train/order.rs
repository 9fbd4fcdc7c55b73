//! In which order the examples of an epoch are taken, and the making of the next epoch's order while one runs.
//!
//! An order depends on the seed and the epoch alone, so when it is made does not matter. Does not know what runs.

use std::thread::{Builder, scope};

use lenetc_runtime::rng;

use super::Loaded;
use crate::passes::config::Config;

/// What orders are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    /// Examples of the training set.
    examples: u32,
    /// Permutations of an epoch.
    permutations: u32,
    shuffle: bool,
    seed: u64,
    /// Epochs of a run.
    epochs: u32,
}

impl Orders {
    pub fn new(data: &Loaded, config: &Config) -> Self {
        Self {
            examples: data.train.len() as u32,
            permutations: data.permutations as u32,
            shuffle: config.shuffle,
            seed: config.seed,
            epochs: config.epochs,
        }
    }

    /// The examples of an epoch, which counts from 1. Batches run on from one permutation into the next: a small rest
    /// after each would be a noisy step.
    pub fn of(&self, epoch: u32) -> Vec<u32> {
        let permutations = (0..self.permutations).map(|k| (epoch - 1) * self.permutations + k);
        permutations
            .flat_map(|p| match self.shuffle {
                true => rng::permutation(self.seed, p, self.examples),
                false => (0..self.examples).collect(),
            })
            .collect()
    }

    /// Does `work`, the steps of an epoch, and makes the order of the epoch after it on another thread. None where no
    /// epoch follows, or there is no other thread.
    pub fn next_beside<T>(&self, epoch: u32, work: impl FnOnce() -> T) -> (T, Option<Vec<u32>>) {
        let next = epoch + 1;
        scope(|s| {
            let made = (next <= self.epochs)
                .then(|| Builder::new().spawn_scoped(s, || self.of(next)).ok());
            let done = work();
            // A thread that has panicked has told why.
            let order = made.flatten().and_then(|thread| thread.join().ok());
            (done, order)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: Orders = Orders {
        examples: 100,
        permutations: 2,
        shuffle: true,
        seed: 7,
        epochs: 3,
    };

    #[test]
    fn an_epoch_takes_its_permutations_one_after_the_other() {
        let second = [2, 3].map(|p| rng::permutation(7, p, 100)).concat();
        assert_eq!(ORDERS.of(2), second);
        let orders = Orders {
            shuffle: false,
            ..ORDERS
        };
        assert!(orders.of(1).into_iter().eq((0..100).chain(0..100)));
    }

    #[test]
    fn what_is_made_beside_an_epoch_is_the_next_one_s_order() {
        for epoch in [1, 2] {
            let made = ORDERS.next_beside(epoch, || "done");
            assert_eq!(made, ("done", Some(ORDERS.of(epoch + 1))));
        }
        assert_eq!(ORDERS.next_beside(3, || 7), (7, None), "the last epoch");
    }
}
