//! The command line: parse, call, print, exit code. Nothing else prints or exits.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
