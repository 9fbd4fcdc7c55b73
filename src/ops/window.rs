//! The arithmetic of a window that slides over a padded image: sizes, and the index formula.
//!
//! out = ⌊(n + p_before + p_after − d·(k − 1) − 1) / s⌋ + 1 (Dive into Deep Learning, 6.3), the floor
//! toward −∞, where the numerator may not be negative. Knows no operator.

use super::ShapeError;
use crate::nest::{Affine, AxisId, Stage, ax};

/// Padding as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// `[[top, bottom], [left, right]]`
    Sides([[u32; 2]; 2]),
    /// As much as keeps the size at stride 1: d·(k − 1) in all, the odd element after.
    Same,
}

/// Kernel, stride, padding and dilation, each for height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub kernel: [u32; 2],
    pub stride: [u32; 2],
    pub padding: Padding,
    pub dilation: [u32; 2],
}

impl Window {
    /// `[[top, bottom], [left, right]]` in elements.
    pub fn sides(&self) -> [[u32; 2]; 2] {
        match self.padding {
            Padding::Sides(s) => s,
            Padding::Same => [0, 1].map(|d| {
                let total = self.dilation[d].saturating_mul(self.kernel[d] - 1);
                [total / 2, total - total / 2]
            }),
        }
    }

    /// Output height and width.
    pub fn out(&self, size: [u32; 2], who: &str) -> Result<[u32; 2], ShapeError> {
        let mut out = [0; 2];
        for d in 0..2 {
            let numerator = self.numerator(d, size[d]);
            let n = numerator.div_euclid(i64::from(self.stride[d])) + 1;
            if numerator < 0 {
                return Err(self.too_large(d, size[d], who));
            }
            out[d] = u32::try_from(n)
                .ok()
                .filter(|&n| n <= 1 << 30)
                .ok_or_else(|| {
                    ShapeError::new("E0204", "the output is too large", self.rule(d, size[d]))
                })?;
        }
        Ok(out)
    }

    fn numerator(&self, d: usize, n: u32) -> i64 {
        let [before, after] = self.sides()[d];
        let span = i64::from(self.dilation[d]) * (i64::from(self.kernel[d]) - 1) + 1;
        i64::from(n) + i64::from(before) + i64::from(after) - span
    }

    /// The rule for height (0) or width (1) with its numbers.
    pub fn rule(&self, d: usize, n: u32) -> String {
        let name = ["height", "width"][d];
        format!("{name}: {}", self.numbers(d, n))
    }

    fn numbers(&self, d: usize, n: u32) -> String {
        let [before, after] = self.sides()[d];
        let (k, s, dil) = (self.kernel[d], self.stride[d], self.dilation[d]);
        let span = if dil == 1 {
            format!("{k}")
        } else {
            format!("{dil}·({k} − 1) − 1")
        };
        let out = self.numerator(d, n).div_euclid(i64::from(s)) + 1;
        format!("⌊({n} + {before} + {after} − {span}) / {s}⌋ + 1 = {out}")
    }

    /// The rules for height and width, as one where they have the same numbers.
    pub fn rules(&self, size: [u32; 2]) -> String {
        let [height, width] = [0, 1].map(|d| self.numbers(d, size[d]));
        match height == width {
            true => format!("height and width: {height}"),
            false => format!("height: {height}; width: {width}"),
        }
    }

    fn too_large(&self, d: usize, n: u32, who: &str) -> ShapeError {
        let [before, after] = self.sides()[d];
        let room = i64::from(n) + i64::from(before) + i64::from(after) - 1;
        let largest = room / i64::from(self.dilation[d]) + 1;
        ShapeError::new(
            "E0203",
            &format!("{who} does not fit its input"),
            self.rule(d, n),
        )
        .help(format!(
            "kernel_size={largest} is the largest that fits, or add padding"
        ))
    }

    /// The input index that output `o` and kernel element `k` meet in dimension d: o·s + k·dil − p.
    pub fn input_index(&self, d: usize, o: AxisId, k: AxisId) -> Affine<AxisId> {
        ax(o) * i64::from(self.stride[d]) + ax(k) * i64::from(self.dilation[d])
            - i64::from(self.sides()[d][0])
    }

    /// True where some output and kernel element meet padding (or beyond the image).
    pub fn leaves_image(&self, d: usize, n: u32, out: u32) -> bool {
        let last = i64::from(out - 1) * i64::from(self.stride[d])
            + i64::from(self.kernel[d] - 1) * i64::from(self.dilation[d])
            - i64::from(self.sides()[d][0]);
        self.sides()[d][0] > 0 || last >= i64::from(n)
    }

    /// Keeps the points whose input index lies in the image; `o` and `k` for height and width.
    pub fn within(
        &self,
        s: &mut Stage,
        o: [AxisId; 2],
        k: [AxisId; 2],
        n: [u32; 2],
        out: [u32; 2],
    ) {
        for d in 0..2 {
            if self.leaves_image(d, n[d], out[d]) {
                s.where_within(self.input_index(d, o[d], k[d]), n[d]);
            }
        }
    }

    /// Keeps the points where output `o` and kernel element `k` meet input `i`: i + p − s·o − dil·k = 0.
    pub fn meets(&self, s: &mut Stage, i: [AxisId; 2], o: [AxisId; 2], k: [AxisId; 2]) {
        for d in 0..2 {
            s.where_zero(ax(i[d]) - self.input_index(d, o[d], k[d]));
        }
    }

    /// The attributes as text.
    pub fn text(&self) -> String {
        let [[t, b], [l, r]] = self.sides();
        let [k, s, d] =
            [self.kernel, self.stride, self.dilation].map(|p| format!("({}, {})", p[0], p[1]));
        format!("kernel_size={k} stride={s} padding=(({t}, {b}), ({l}, {r})) dilation={d}")
    }
}
