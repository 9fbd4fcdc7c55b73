//! The instruction sets that this machine runs.

use lenetc::backend::cpu::Isa;

/// All of them; says which are left out.
pub fn here() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| {
        if !isa.available() {
            println!("{isa} is left out: this machine does not have it");
        }
        isa.available()
    })
}
