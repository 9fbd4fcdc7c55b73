//! What a step leaves behind and what the next one needs, on both sides: the structs, and the CUDA C that keeps them.
//!
//! A captured graph has frozen arguments, so all that changes between steps lives in device memory and is moved on
//! by the device. The numbers of a step, as a learning rate, are a row of floats that the host computes: the rows of all
//! steps of an order lie behind the [`Step`], and each step finds its own. Knows no kernel of a program, and of a number
//! its name alone.

use super::driver::Plain;
use crate::exec::StepResult;

/// Results that are kept: so many steps run between two looks of the host.
pub const RING: usize = 256;

/// The struct `Step` of [`PRELUDE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Where the batch starts in the order.
    pub position: u32,
    /// Examples of the batch.
    pub valid: u32,
    /// Examples of the order.
    pub count: u32,
    /// Examples of a full batch.
    pub batch: u32,
    /// Steps before this one.
    pub step: u32,
    /// 1 from the first loss on that is not finite.
    pub stopped: u32,
}

/// Fields of a [`Step`] before its numbers.
const FIELDS: usize = size_of::<Step>() / 4;

impl Step {
    /// The first step over `count` examples in batches of `batch`; `step` others came before.
    pub fn first(count: u32, batch: u32, step: u32) -> Self {
        Self {
            position: 0,
            valid: count.min(batch),
            count,
            batch,
            step,
            stopped: 0,
        }
    }

    /// The region of a step as it starts, word by word: the step with the numbers of the first row, twice, and behind it
    /// the `rows` of all steps, `slots` numbers each.
    pub fn region(self, rows: &[f32], slots: usize) -> Vec<u32> {
        let Self {
            position,
            valid,
            count,
            batch,
            step,
            stopped,
        } = self;
        let fields = [position, valid, count, batch, step, stopped];
        let first = &rows[..slots];
        let numbers = [first, first, rows].into_iter().flatten();
        fields
            .into_iter()
            .chain(numbers.map(|x| x.to_bits()))
            .collect()
    }

    /// Bytes of the region for so many steps of `slots` numbers each.
    pub fn region_bytes(steps: usize, slots: usize) -> usize {
        4 * (FIELDS + (2 + steps) * slots)
    }
}

/// The struct `Scalars` that [`PRELUDE`] needs before it: the numbers of a step, at least one, by their names.
pub fn scalars(names: &[String]) -> String {
    assert!(!names.is_empty(), "a program names the numbers of a step");
    let fields = names.iter().map(|name| format!("    float {name};\n"));
    let fields: String = fields.collect();
    format!("// The numbers of a step.\nstruct Scalars {{\n{fields}}};\n\n")
}

/// The struct `Result` of [`PRELUDE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    loss: f64,
    correct: f64,
    examples: u64,
}

// SAFETY: `repr(C)` with the fields of the device's struct, and no padding; its fields are numbers.
unsafe impl Plain for Slot {}

impl From<Slot> for StepResult {
    fn from(s: Slot) -> Self {
        Self {
            loss_sum: s.loss,
            correct: s.correct,
            examples: s.examples as usize,
        }
    }
}

/// CUDA C that stands before the kernels of a program, behind its [`scalars`]. NVRTC has no headers, so it needs none.
pub const PRELUDE: &str = r#"typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// The state of a run between steps. Behind it lie the numbers of all steps of the order.
struct Step {
    u32 position;         // where the batch starts in the order
    u32 valid;            // examples of the batch
    u32 count;            // examples of the order
    u32 batch;            // examples of a full batch
    u32 step;             // steps before this one
    u32 stopped;          // 1 from the first loss on that is not finite; updates test it
    Scalars scalars;      // the numbers of the step
    Scalars ending;       // the same from account on, for the launch that moves on to the next batch
};

// The sums of a step.
struct Result {
    double loss;
    double correct;
    u64 examples;
};

#define RING 256

// Sums the batch's losses and right answers by a tree that does not depend on the size of the block.
// All threads of one block of at least 32 call it, in a launch after the losses and before the update.
__device__ __forceinline__ void account(Step* step, const float* losses, const float* correct, Result* results) {
    const u32 leaves = 64;
    __shared__ double loss_sums[leaves];
    __shared__ double correct_sums[leaves];
    const u32 valid = step->valid;
    for (u32 leaf = threadIdx.x; leaf < leaves; leaf += blockDim.x) {
        double loss = 0.0;
        double right = 0.0;
        for (u32 n = leaf; n < valid; n += leaves) {
            loss += losses[n];
            right += correct[n];
        }
        loss_sums[leaf] = loss;
        correct_sums[leaf] = right;
    }
    __syncthreads();
    for (u32 half = leaves / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            loss_sums[threadIdx.x] += loss_sums[threadIdx.x + half];
            correct_sums[threadIdx.x] += correct_sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        step->ending = step->scalars;
        Result* result = results + step->step % RING;
        result->loss = loss_sums[0];
        result->correct = correct_sums[0];
        result->examples = valid;
        // Only a finite number differs from itself by zero.
        if (!(loss_sums[0] - loss_sums[0] == 0.0)) {
            step->stopped = 1;
        }
    }
}

// Moves on to the next batch. One thread calls it, in the last launch of a step.
__device__ __forceinline__ void advance(Step* step) {
    const u32 position = step->position + step->valid;
    const u32 left = step->count - position;
    step->position = position;
    step->valid = left < step->batch ? left : step->batch;
    step->step += 1;
    if (left > 0) {
        // All batches but the last are full, so the position says the number of this one.
        const Scalars* rows = (const Scalars*)(step + 1);
        step->scalars = rows[position / step->batch];
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_the_ring() {
        assert!(PRELUDE.contains(&format!("#define RING {RING}\n")));
    }

    #[test]
    fn a_step_has_the_fields_of_the_device_in_their_order() {
        use std::mem::offset_of;
        let device = PRELUDE.split_once("struct Step {").expect("it is there").1;
        let fields = device
            .split_once("};")
            .expect("it ends")
            .0
            .lines()
            .filter_map(|l| {
                let (declaration, _) = l.split_once(';')?;
                declaration.split_whitespace().next_back()
            });
        let host = [
            ("position", offset_of!(Step, position)),
            ("valid", offset_of!(Step, valid)),
            ("count", offset_of!(Step, count)),
            ("batch", offset_of!(Step, batch)),
            ("step", offset_of!(Step, step)),
            ("stopped", offset_of!(Step, stopped)),
            ("scalars", size_of::<Step>()),
        ];
        let device: Vec<(&str, usize)> = fields.enumerate().map(|(k, f)| (f, 4 * k)).collect();
        assert_eq!(device[..7], host);
        assert_eq!((device[7].0, device.len()), ("ending", 8));
        assert_eq!(size_of::<Slot>(), 24);
    }

    #[test]
    fn a_region_has_the_first_row_twice_and_then_all() {
        let region = Step::first(5, 4, 7).region(&[1.0, 2.0, 3.0, 4.0], 2);
        assert_eq!(region[..6], [0, 4, 5, 4, 7, 0]);
        let numbers: Vec<f32> = region[6..].iter().map(|&x| f32::from_bits(x)).collect();
        assert_eq!(numbers, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(Step::region_bytes(2, 2), 4 * region.len());
    }

    #[test]
    fn the_numbers_of_a_step_are_a_struct_of_their_names() {
        let names = ["learning_rate", "inverse_batch"].map(String::from);
        let text = "struct Scalars {\n    float learning_rate;\n    float inverse_batch;\n};\n";
        assert!(scalars(&names).contains(text));
    }
}
