//! Which card the software GPU stands for. Knows what settings are sent, not which the software GPU has.

use super::error::CudaError;
use super::libraries::{self, Driver, software_configure};

/// Makes the software GPU stand for a card from now on, as for a program that has not opened it yet: what was on it is
/// gone. Loads it where it is not loaded.
pub fn software_card(card: &str) -> Result<(), CudaError> {
    libraries::load(Driver::Software)?;
    if software_configure(&format!("card={card};reset=1")) {
        return Ok(());
    }
    let path = libraries::software()?;
    let reason = format!("it does not know the card {card}");
    Err(CudaError::Software { path, reason })
}
