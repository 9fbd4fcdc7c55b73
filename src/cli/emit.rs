//! `lenetc emit`: any stage of the compilation as text.

use lenetc::backend::cpu::clif::Target;
use lenetc::driver::{self, NoStage, Options};
use lenetc_runtime::files;

use super::args::EmitArgs;
use super::{Stop, outputs, print};

/// Prints a stage, for an instruction set of this machine or for GPUs of a compute capability, or writes it to a file.
pub fn run(a: &EmitArgs) -> Result<u8, Stop> {
    if let Some(file) = &a.output {
        outputs::check_one("--output", file, &a.model.file)?;
    }
    let model = super::model(&a.model)?;
    let options = Options {
        stage: a.stage,
        optimise: a.opt > 0,
        isa: a.isa.isa()?,
        capability: a.arch,
        layer: a.layer.clone(),
        kernel: a.kernel.clone(),
        grad: a.grad,
    };
    let native = || Target::native(true).map_err(|e| e.to_string());
    let text = driver::text(&model, &options, native).map_err(|e| match e {
        NoStage::Model(f) => f.into(),
        NoStage::Unavailable(why) => Stop::Message(why),
    })?;
    match &a.output {
        Some(file) if !files::is_stdout(file) => {
            files::replace(file, text.as_bytes()).map_err(|e| Stop::Message(e.to_string()))?
        }
        _ => print(&text)?,
    }
    Ok(0)
}
