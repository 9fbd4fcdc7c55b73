//! The same random cases in each run, unless the environment asks for others. Does not know what is tested.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Draws so many cases, or as many as `LENETC_CASES` says, from the seed that `LENETC_SEED` says.
pub fn new(cases: u32) -> TestRunner {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("LENETC_SEED", 1).to_ne_bytes());
    let config = Config {
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..Config::with_cases(number("LENETC_CASES", cases))
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn number(variable: &str, or: u32) -> u32 {
    let text = std::env::var(variable).ok();
    text.and_then(|t| t.parse().ok()).unwrap_or(or)
}
