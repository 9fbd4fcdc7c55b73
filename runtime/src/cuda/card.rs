//! Which card the software GPU stands for. Knows what settings are sent, not which the software GPU has.

use super::error::CudaError;
use super::libraries::{self, Driver};
use super::software_configure;

/// Makes the software GPU stand for a card from now on, as for a program that has not opened it yet: what was on it is
/// gone. Loads it where it is not loaded. False where it does not know the card.
pub fn software_card(card: &str) -> Result<bool, CudaError> {
    libraries::load(Driver::Software)?;
    Ok(software_configure(&format!("card={card};reset=1")))
}
