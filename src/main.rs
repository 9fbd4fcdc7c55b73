//! The command line. The reader of models and the code generator are not here yet, and it says so.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("lenetc cannot compile models yet: the README says what is here.");
    ExitCode::FAILURE
}
