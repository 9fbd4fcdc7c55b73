//! What an assembler makes of a PTX instruction: how many instructions for which pipe, and how many of them in a row
//! from the operands to the result. Counts are of the sequences that ptxas writes for capabilities 7.0 and above, in
//! the usual case of branches for rare values. Knows no rates.

use crate::ptx::ast::{Instruction, Operand};

/// Machine instructions of one PTX instruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// f32 multiply-adds, and multiplications of integers, which use the same pipe.
    pub fma: u8,
    /// Among `fma`, multiplications of integers: before capability 7.0 each takes three.
    pub multiplications: u8,
    /// Logic, comparisons, additions of integers.
    pub alu: u8,
    /// Reciprocals, roots, exponentials, and conversions of numbers.
    pub special: u8,
    /// f64 arithmetic.
    pub double: u8,
    /// Branches, barriers and others that use no pipe.
    pub control: u8,
    /// Whether it goes through the load and store unit.
    pub is_memory: bool,
    /// Steps in a row of the multiply-add, logic, special and f64 pipes.
    pub steps: u8,
    pub special_steps: u8,
    pub double_steps: u8,
    /// Whether it may become one with neighbouring loads.
    pub can_merge: bool,
}

impl Cost {
    /// All instructions that a warp issues.
    pub fn issues(&self) -> u32 {
        let pipes = [self.fma, self.alu, self.special, self.double, self.control];
        pipes.map(u32::from).iter().sum::<u32>() + u32::from(self.is_memory)
    }

    /// Of an instruction as it is written.
    pub fn of(instruction: &Instruction) -> Self {
        let words: Vec<&str> = instruction.opcode.split('.').collect();
        let has = |word: &str| words.contains(&word);
        let last = words.last().copied().unwrap_or("");
        let is_wide = matches!(last, "u64" | "s64" | "b64");
        match (words[0], last) {
            ("mov", _) => moved(&instruction.operands),
            ("cvta" | "ret" | "exit" | "bra" | "bar" | "barrier" | "membar" | "fence", _) => {
                control(words[0])
            }
            ("ld" | "ldu" | "st" | "atom" | "red" | "cp", _) => memory(&words),
            ("shfl" | "redux", _) => Self {
                is_memory: true,
                ..Self::default()
            },
            ("cvt", _) => conversion(&words),
            ("div" | "rem", "f32") => divided(has("rn")),
            ("div" | "rem", "f64") => Self {
                double: 9,
                special: 1,
                alu: 4,
                double_steps: 8,
                special_steps: 1,
                ..Self::default()
            },
            ("div" | "rem", _) => {
                divided_integer(words[0] == "rem", is_wide, instruction.operands.get(2))
            }
            ("rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh", _) => {
                function(words[0], &words)
            }
            ("popc" | "clz" | "brev" | "bfind", _) => special(0, 0),
            (_, "f64") => Self {
                double: 1,
                double_steps: 1,
                ..Self::default()
            },
            ("neg" | "abs", "f32") => Self::default(),
            ("fma" | "add" | "sub" | "mul" | "mad", "f32") => Self {
                fma: 1,
                steps: 1,
                ..Self::default()
            },
            ("mul" | "mad" | "mul24" | "mad24" | "dp4a" | "dp2a", _) => {
                multiplied(has("hi"), is_wide)
            }
            ("bfe" | "bfi" | "set", _) => alu(2),
            ("shl" | "shr" | "shf", _) if is_wide => alu(3),
            _ if is_wide => alu(2),
            _ => alu(1),
        }
    }
}

fn alu(count: u8) -> Cost {
    Cost {
        alu: count,
        steps: count,
        ..Cost::default()
    }
}

/// One of the special pipe, with others before and after.
fn special(fma: u8, alu: u8) -> Cost {
    Cost {
        fma,
        alu,
        special: 1,
        special_steps: 1,
        steps: fma + alu,
        ..Cost::default()
    }
}

/// Copies are for the most part renamed away; what a special register holds takes a way of its own.
fn moved(operands: &[Operand]) -> Cost {
    let is_special = |operand: &Operand| {
        matches!(operand, Operand::Word(name) if name.starts_with("%tid") || name.starts_with("%ctaid")
            || name.starts_with("%laneid") || name.starts_with("%warpid"))
    };
    if operands.iter().any(is_special) {
        return Cost {
            alu: 1,
            special_steps: 1,
            ..Cost::default()
        };
    }
    Cost::default()
}

fn control(opcode: &str) -> Cost {
    Cost {
        control: u8::from(opcode != "cvta"),
        ..Cost::default()
    }
}

fn memory(words: &[&str]) -> Cost {
    let has = |word: &str| words.contains(&word);
    // Parameters are operands in a bank of constants.
    let is_param = words[1..].iter().any(|word| word.starts_with("param"));
    let waits = has("commit_group") || has("wait_group") || has("wait_all");
    Cost {
        is_memory: !is_param && !waits,
        control: u8::from(waits),
        can_merge: words[0] == "ld"
            && has("shared")
            && !has("volatile")
            && !has("relaxed")
            && !has("acquire"),
        ..Cost::default()
    }
}

fn conversion(words: &[&str]) -> Cost {
    let [.., to, from] = words else {
        return Cost::default();
    };
    let is_float = |kind: &str| kind.starts_with('f') || kind.starts_with("bf");
    match (is_float(to), is_float(from)) {
        (false, false) => match (*to, *from) {
            ("s64", "s32" | "s16" | "s8") => alu(1),
            // The upper half is zero, or is dropped.
            ("u64" | "s64" | "b64", _) | (_, "u64" | "s64" | "b64") => Cost::default(),
            ("u32" | "s32" | "b32", "u32" | "s32" | "b32") => Cost::default(),
            _ => alu(1),
        },
        (true, true) if to == from => alu(1),
        _ => special(0, 0),
    }
}

fn divided(is_exact: bool) -> Cost {
    if is_exact {
        // A reciprocal, its correction, the quotient's, and a check for rare exponents.
        return Cost {
            fma: 6,
            alu: 1,
            special: 2,
            control: 1,
            steps: 6,
            special_steps: 1,
            ..Cost::default()
        };
    }
    special(2, 2)
}

fn divided_integer(is_rest: bool, is_wide: bool, divisor: Option<&Operand>) -> Cost {
    let rest = u8::from(is_rest);
    if let (Some(Operand::Integer(value)), false) = (divisor, is_wide) {
        if value.count_ones() == 1 {
            return alu(1);
        }
        return Cost {
            fma: 2 + rest,
            multiplications: 2 + rest,
            alu: 1,
            steps: 3 + rest,
            ..Cost::default()
        };
    }
    if is_wide {
        // A routine of its own.
        return Cost {
            fma: 30,
            multiplications: 30,
            alu: 40,
            special: 3,
            control: 4,
            steps: 60,
            special_steps: 3,
            ..Cost::default()
        };
    }
    Cost {
        fma: 4 + rest,
        multiplications: 4 + rest,
        alu: 8,
        special: 3,
        steps: 10 + rest,
        special_steps: 3,
        ..Cost::default()
    }
}

fn function(opcode: &str, words: &[&str]) -> Cost {
    let has = |word: &str| words.contains(&word);
    if has("f64") {
        return Cost {
            double: 6,
            special: 1,
            alu: 4,
            double_steps: 6,
            special_steps: 1,
            ..Cost::default()
        };
    }
    match opcode {
        "rcp" if !has("approx") => Cost {
            control: 1,
            ..special(3, 3)
        },
        "sqrt" if !has("approx") => Cost {
            control: 1,
            ..special(5, 3)
        },
        "tanh" => special(0, 0),
        "sin" | "cos" => special(1, 0),
        // Numbers near zero are scaled before and after.
        _ if !has("ftz") => special(2, 1),
        _ => special(0, 0),
    }
}

fn multiplied(is_upper: bool, is_wide: bool) -> Cost {
    let count = match (is_upper, is_wide) {
        (_, true) => 4,
        (true, _) => 2,
        _ => 1,
    };
    Cost {
        fma: count,
        multiplications: count,
        steps: count,
        ..Cost::default()
    }
}
