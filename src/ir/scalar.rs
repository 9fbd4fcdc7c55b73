//! Numbers that are known when a step starts, not when it is compiled: the table that all who write or read them go by.
//!
//! A step has a row of them, one for each slot. The host computes rows, in f64; kernels read them as f32. Does not know
//! where a target keeps them, nor what an optimizer or a schedule makes of them: a target gives every slot a place, and
//! finds in it what stands there.

listed! {
    /// A number of a step.
    #[derive(PartialOrd, Ord)]
    pub enum Scalar {
        /// The learning rate, as the schedule has it.
        LearningRate,
        /// The share of an example's loss in a mean over the batch: one over the number of images, or over what they count
        /// together where the loss weighs them.
        InverseBatch,
        /// What an optimizer multiplies its direction by: the learning rate with what changes it from step to step.
        StepSize,
        /// How much of a momentum stays.
        Momentum,
        /// How much of the gradient goes into a momentum.
        Blend,
        /// The root of what a mean of squares lacks in its first steps.
        Correction,
        /// What a weight is multiplied by before its update.
        Decay,
        /// Steps of training before this one, modulo 2³²: a word that random numbers read.
        Step,
        /// The lower and the upper half of the run's seed: words that random numbers read.
        SeedLow,
        SeedHigh,
        /// One over the number of images in the batch, whatever they count.
        InverseImages,
    }
}

impl Scalar {
    /// The name in printed graphs and nests.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::InverseBatch => "1/batch",
            Scalar::InverseImages => "1/images",
            scalar => scalar.word(),
        }
    }

    /// The name where only a word can stand: in kernels.
    pub fn word(self) -> &'static str {
        match self {
            Scalar::LearningRate => "learning_rate",
            Scalar::InverseBatch => "inverse_batch",
            Scalar::StepSize => "step_size",
            Scalar::Momentum => "momentum",
            Scalar::Blend => "blend",
            Scalar::Correction => "correction",
            Scalar::Decay => "decay",
            Scalar::Step => "step",
            Scalar::SeedLow => "seed_low",
            Scalar::SeedHigh => "seed_high",
            Scalar::InverseImages => "inverse_images",
        }
    }

    /// Whether it is an integer of 32 bits, which kernels find as those bits rather than as a number.
    pub fn is_word(self) -> bool {
        matches!(self, Scalar::Step | Scalar::SeedLow | Scalar::SeedHigh)
    }

    /// Its position among all, and in a row.
    pub fn slot(self) -> usize {
        self as usize
    }
}

/// The scalars of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalars {
    /// By slot.
    values: [f64; Scalar::ALL.len()],
}

impl Scalars {
    /// Those of a step on so many images at this learning rate, with nothing that an optimizer adds: no momentum, no
    /// correction, no decay.
    pub fn new(images: usize, learning_rate: f64) -> Self {
        let value = |scalar: &Scalar| match scalar {
            Scalar::LearningRate | Scalar::StepSize => learning_rate,
            Scalar::InverseBatch | Scalar::InverseImages => 1.0 / images as f64,
            Scalar::Momentum => 0.0,
            Scalar::Blend | Scalar::Correction | Scalar::Decay => 1.0,
            Scalar::Step | Scalar::SeedLow | Scalar::SeedHigh => 0.0,
        };
        let mut values = [0.0; Scalar::ALL.len()];
        for scalar in Scalar::ALL {
            values[scalar.slot()] = value(scalar);
        }
        Self { values }
    }

    /// The same with another value of one.
    pub fn with(mut self, scalar: Scalar, value: f64) -> Self {
        self.values[scalar.slot()] = value;
        self
    }

    /// The value of one.
    pub fn get(&self, scalar: Scalar) -> f64 {
        self.values[scalar.slot()]
    }

    /// The same at another step of a run with this seed.
    pub fn drawn(mut self, seed: u64, step: u64) -> Self {
        let words = [
            (Scalar::Step, step),
            (Scalar::SeedLow, seed),
            (Scalar::SeedHigh, seed >> 32),
        ];
        for (scalar, word) in words {
            self.values[scalar.slot()] = f64::from(word as u32);
        }
        self
    }

    /// All of them by slot, as kernels read them.
    pub fn floats(&self) -> [f32; Scalar::ALL.len()] {
        let mut floats = self.values.map(|x| x as f32);
        for word in Scalar::ALL.iter().filter(|s| s.is_word()) {
            floats[word.slot()] = f32::from_bits(self.values[word.slot()] as u32);
        }
        floats
    }

    /// The rows of all steps over so many examples in batches of `batch`, one behind the other as kernels read them;
    /// `row` is told the number of a step, from 0 on, and its images.
    pub fn rows(examples: usize, batch: usize, row: impl Fn(usize, usize) -> Self) -> Vec<f32> {
        let starts = (0..examples).step_by(batch.max(1)).enumerate();
        let rows = starts.map(|(step, first)| row(step, batch.min(examples - first)));
        rows.flat_map(|row| row.floats()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_an_order_has_a_row_and_the_last_its_own_images() {
        let row = |step, images| Scalars::new(images, step as f64);
        let rows = Scalars::rows(10, 4, row);
        let slots = Scalar::ALL.len();
        assert_eq!(rows.len(), 3 * slots);
        let of = |scalar: Scalar| [0, 1, 2].map(|step| rows[step * slots + scalar.slot()]);
        assert_eq!(of(Scalar::LearningRate), [0.0, 1.0, 2.0]);
        assert_eq!(of(Scalar::InverseBatch), [0.25, 0.25, 0.5]);
        assert!(Scalars::rows(0, 4, row).is_empty());
    }

    #[test]
    fn words_tell_scalars_apart() {
        let words: std::collections::BTreeSet<_> = Scalar::ALL.iter().map(|s| s.word()).collect();
        assert_eq!(words.len(), Scalar::ALL.len());
    }
}
