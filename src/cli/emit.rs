//! `lenetc emit`: any stage of the compilation as text.

use lenetc::backend::cpu;
use lenetc::{driver, ir, nest};

use super::args::{ModelArgs, Stage};
use super::{Stop, print};

/// Prints a stage.
pub fn run(a: &ModelArgs, stage: Stage, opt: u8) -> Result<u8, Stop> {
    let model = super::model(a)?;
    if stage == Stage::Ast {
        print(&format!("{:#?}\n", model.file))?;
        return Ok(0);
    }
    let built = model.build(driver::holds_bytes(&model.config))?;
    if stage == Stage::Ir {
        print(&ir::text(&built.graph))?;
        return Ok(0);
    }
    let mut graph = model.differentiate(built.graph);
    let text = match stage {
        Stage::Grad => ir::text(&graph),
        Stage::Dot => ir::dot(&graph),
        Stage::Fused | Stage::Nest => {
            let groups = driver::group(&mut graph, opt > 0);
            if stage == Stage::Fused {
                ir::text(&graph) + "\n" + &driver::groups_text(&graph, &groups)
            } else {
                driver::groups_text(&graph, &groups)
            }
        }
        Stage::Cuda | Stage::Ptx => {
            return Err(Stop::Message("there is no CUDA backend yet".into()));
        }
        _ => {
            let plan = driver::plan(graph, opt > 0, model.config.batch_size);
            match stage {
                Stage::Loops => plan
                    .kernels
                    .iter()
                    .map(|k| nest::loops::text(k) + "\n")
                    .collect(),
                Stage::Clif => cpu::clif::text(&plan.kernels, &native()?),
                Stage::Asm => cpu::clif::assembly(&plan.kernels, &native()?)
                    .map_err(|e| Stop::Message(e.to_string()))?,
                _ => driver::plan_text(&plan),
            }
        }
    };
    print(&text)?;
    Ok(0)
}

fn native() -> Result<cpu::clif::Target, Stop> {
    cpu::clif::Target::native(true).map_err(|e| Stop::Message(e.to_string()))
}
