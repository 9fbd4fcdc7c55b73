//! `lenetc emit`: any stage of the compilation as text.

use lenetc::backend::cpu::clif::Target;
use lenetc::driver::{self, NoStage, Stage};

use super::args::{IsaChoice, ModelArgs};
use super::{Stop, print};

/// Prints a stage, for an instruction set of this machine or for GPUs of a compute capability.
pub fn run(
    a: &ModelArgs,
    stage: Stage,
    isa: IsaChoice,
    opt: u8,
    capability: u32,
) -> Result<u8, Stop> {
    let model = super::model(a)?;
    let native = || Target::native(true).map_err(|e| e.to_string());
    let text = driver::text(&model, stage, opt > 0, isa.isa()?, native, capability);
    let text = text.map_err(|e| match e {
        NoStage::Model(f) => f.into(),
        NoStage::Unavailable(why) => Stop::Message(why),
    })?;
    print(&text)?;
    Ok(0)
}
