//! Initial values of parameters, from the counter-based random numbers: the same on every machine.
//!
//! Does not know layers: bounds are computed by the caller.

use crate::rng::{Purpose, Stream};

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Constant(f32),
    /// In [−bound, bound).
    Uniform {
        bound: f32,
    },
    /// In [low, high), but for rounding.
    Between {
        low: f32,
        high: f32,
    },
    /// Around 0 with this standard deviation.
    Normal {
        std: f32,
    },
}

/// Fills a tensor; `place` is its position in source order.
pub fn fill(init: Init, seed: u64, place: u32, out: &mut [f32]) {
    let stream = Stream::new(seed, place, 0, Purpose::Init);
    for (i, x) in (0u32..).zip(out) {
        *x = match init {
            Init::Constant(c) => c,
            Init::Uniform { bound } => (2.0 * stream.uniform(i) - 1.0) * bound,
            Init::Between { low, high } => low + (high - low) * stream.uniform(i),
            Init::Normal { std } => (normal(&stream, i) * f64::from(std)) as f32,
        };
    }
}

/// Box and Muller's transform of a pair of uniform numbers, in f64.
fn normal(stream: &Stream, i: u32) -> f64 {
    let pair = i & !1;
    // 1 − u lies in (0, 1], so that its logarithm is finite.
    let radius = (-2.0 * libm::log(1.0 - f64::from(stream.uniform(pair)))).sqrt();
    let angle = std::f64::consts::TAU * f64::from(stream.uniform(pair | 1));
    radius
        * if i & 1 == 0 {
            libm::cos(angle)
        } else {
            libm::sin(angle)
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: Init) -> (f64, f64) {
        let mut x = vec![0.0; 40_000];
        fill(init, 7, 3, &mut x);
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = x
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_have_their_moments() {
        let (mean, std) = moments(Init::Uniform { bound: 3.0 });
        assert!(
            mean.abs() < 0.03 && (std - 3f64.sqrt()).abs() < 0.02,
            "{mean} {std}"
        );
        let (mean, std) = moments(Init::Between {
            low: 1.0,
            high: 4.0,
        });
        assert!(
            (mean - 2.5).abs() < 0.03 && (std - 0.75f64.sqrt()).abs() < 0.02,
            "{mean} {std}"
        );
        let (mean, std) = moments(Init::Normal { std: 0.5 });
        assert!(
            mean.abs() < 0.01 && (std - 0.5).abs() < 0.01,
            "{mean} {std}"
        );
        assert_eq!(moments(Init::Constant(2.0)), (2.0, 0.0));
    }

    #[test]
    fn seeds_and_tensors_differ() {
        let draw = |seed, place| {
            let mut x = [0.0; 8];
            fill(Init::Uniform { bound: 1.0 }, seed, place, &mut x);
            x
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
