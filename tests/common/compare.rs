//! When two runs of training from the same weights on the same batches count as the same. Does not know where they ran.

use lenetc_runtime::weights::Tensor;

const LOSS_TOLERANCE: f64 = 1e-5;
const UPDATE_TOLERANCE: f64 = 1e-4;

/// Losses of the same steps, relative to one or more.
pub fn losses(ours: &[f64], reference: &[f64]) -> Result<(), String> {
    if ours.len() != reference.len() || ours.is_empty() {
        return Err(format!("{} losses, not {}", ours.len(), reference.len()));
    }
    for (k, (a, b)) in ours.iter().zip(reference).enumerate() {
        let error = (a - b).abs() / b.abs().max(1.0);
        if error.is_nan() || error > LOSS_TOLERANCE {
            return Err(format!("step {}: loss {a}, not {b}", k + 1));
        }
    }
    Ok(())
}

/// ‖Δ − Δ_ref‖ / ‖Δ_ref‖ of each tensor, where Δ is what the steps changed.
pub fn updates(start: &[Tensor], reference: &[Tensor], ours: &[Tensor]) -> Result<(), String> {
    if ours.len() != start.len() || start.is_empty() {
        return Err(format!("{} tensors instead of {}", ours.len(), start.len()));
    }
    for w0 in start {
        let named = |list: &[Tensor]| {
            list.iter()
                .find(|t| t.name == w0.name)
                .map(|t| t.data.clone())
                .ok_or_else(|| format!("{} is missing", w0.name))
        };
        let (a, b) = (named(ours)?, named(reference)?);
        let (mut difference, mut norm, mut whole, mut moved) = (0.0, 0.0, 0.0, 0.0);
        for ((a, b), w) in a.iter().zip(&b).zip(&w0.data) {
            difference += (f64::from(*a) - f64::from(*b)).powi(2);
            norm += (f64::from(*b) - f64::from(*w)).powi(2);
            moved += (f64::from(*a) - f64::from(*w)).powi(2);
            whole += f64::from(*w).powi(2);
        }
        // A bias that a norm takes back has a gradient of rounding alone: neither may move it.
        let still = UPDATE_TOLERANCE.powi(2) * whole;
        if norm < still && moved < still {
            continue;
        }
        let ratio = (difference / norm).sqrt();
        if ratio.is_nan() || ratio > UPDATE_TOLERANCE {
            return Err(format!("{}: updates differ by {ratio:.2e}", w0.name));
        }
    }
    Ok(())
}
