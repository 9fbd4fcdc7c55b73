//! The software GPU, which is part of the program: its functions in the place of a driver's, its settings and reports.
//!
//! Settings of the environment variable `LENETC_SOFTGPU` count from its first call on. What is set here counts only where
//! it is the driver of the process.

use lenetc_softgpu::card::Card;
use lenetc_softgpu::config::Config;

use super::driver::Table;
use super::error::CudaError;
use super::libraries::{self, Driver, is_software};

/// The driver's functions; an error where the variable has settings that it does not know.
pub(super) fn table() -> Result<Table, CudaError> {
    let wrong = |reason| CudaError::Software { reason };
    if let Ok(settings) = std::env::var("LENETC_SOFTGPU") {
        let applied = Config::default().apply(&settings);
        applied.map_err(|e| wrong(format!("LENETC_SOFTGPU is wrong: {e}")))?;
    }
    // SAFETY: the software GPU has the driver's functions under their names, with the types of cuda.h, and is part of
    // the program.
    let table = unsafe { Table::new(lenetc_softgpu::symbol) };
    table.map_err(|missing| wrong(format!("it lacks {missing}")))
}

/// Tells it the PTX of the source that machine code was made from, since it runs that. False where it is not the driver.
pub(super) fn software_source(code: &[u8], ptx: &str) -> bool {
    is_software() && lenetc_softgpu::source(code, ptx)
}

/// Changes its settings, as `key=value;key=value`; false where it is not the driver or it refuses.
pub fn software_configure(settings: &str) -> bool {
    is_software() && lenetc_softgpu::configure(settings)
}

/// The cards that it can stand for.
pub fn software_cards() -> impl Iterator<Item = &'static str> {
    Card::of_nvidia()
}

/// Makes it stand for a card from now on, as for a program that has not opened it yet: what was on it is gone. Loads it
/// where it is not loaded. False where it does not know the card.
pub fn software_card(card: &str) -> Result<bool, CudaError> {
    libraries::load(Driver::Software)?;
    Ok(software_configure(&format!("card={card};reset=1")))
}

/// Sets its counters to zero; false where it is not the driver.
pub fn software_reset_counters() -> bool {
    let is_software = is_software();
    if is_software {
        lenetc_softgpu::reset_counters();
    }
    is_software
}

/// What it has found and counted, as JSON; `None` where it is not the driver.
pub fn software_report() -> Option<String> {
    is_software().then(lenetc_softgpu::report_json)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_software_gpu_has_every_function() {
        assert!(super::table().is_ok());
    }
}
