//! Numbers that are known when a step starts, not when it is compiled: the table that all who write or read them go by.
//!
//! Does not know where a target keeps them: each has a slot of its own, and targets give every slot a place.

listed! {
    /// A number of a step.
    #[derive(PartialOrd, Ord)]
    pub enum Scalar {
        /// The optimizer's step size.
        LearningRate,
        /// One over the number of images in the batch.
        InverseBatch,
        /// Steps of training before this one, modulo 2³²: a word that random numbers read.
        Step,
        /// The lower and the upper half of the run's seed: words that random numbers read.
        SeedLow,
        SeedHigh,
    }
}

impl Scalar {
    /// The name in printed graphs and nests.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::LearningRate => "learning_rate",
            Scalar::InverseBatch => "1/batch",
            Scalar::Step | Scalar::SeedLow | Scalar::SeedHigh => self.word(),
        }
    }

    /// The name where only a word can stand: in kernels.
    pub fn word(self) -> &'static str {
        match self {
            Scalar::LearningRate => "learning_rate",
            Scalar::InverseBatch => "inverse_batch",
            Scalar::Step => "step",
            Scalar::SeedLow => "seed_low",
            Scalar::SeedHigh => "seed_high",
        }
    }

    /// Whether it is an integer of 32 bits, which kernels find as those bits rather than as a number.
    pub fn is_word(self) -> bool {
        matches!(self, Scalar::Step | Scalar::SeedLow | Scalar::SeedHigh)
    }

    /// Its position among all.
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
    /// Those of a step on so many images.
    pub fn new(images: usize, learning_rate: f64) -> Self {
        let value = |scalar: &Scalar| match scalar {
            Scalar::LearningRate => learning_rate,
            Scalar::InverseBatch => 1.0 / images as f64,
            Scalar::Step | Scalar::SeedLow | Scalar::SeedHigh => 0.0,
        };
        let mut values = [0.0; Scalar::ALL.len()];
        for scalar in Scalar::ALL {
            values[scalar.slot()] = value(scalar);
        }
        Self { values }
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
}
