//! The order of an array's elements: with the last axis fastest, as in C and here, or the first, as in Fortran.
//!
//! Knows shapes alone. No size is 0.

/// Examples that are put in order at a time: so many cache lines are written in turn.
const BLOCK: usize = 256;

/// The position along each axis of the element at `index` where the last axis runs fastest.
pub(super) fn last_fastest(shape: &[usize], index: usize) -> Vec<usize> {
    let mut position = along(shape.iter().rev(), index);
    position.reverse();
    position
}

/// The same where the first axis runs fastest.
pub(super) fn first_fastest(shape: &[usize], index: usize) -> Vec<usize> {
    along(shape.iter(), index)
}

fn along<'a>(sizes: impl Iterator<Item = &'a usize>, index: usize) -> Vec<usize> {
    let mut rest = index;
    let mut at = |size| {
        let at = rest % size;
        rest /= size;
        at
    };
    sizes.map(|&size| at(size)).collect()
}

/// Writes elements whose first axis runs fastest so that the last does. Both have as many elements as the shape.
pub(super) fn transpose<T: Copy>(from: &[T], to: &mut [T], shape: &[usize]) {
    let (examples, sizes) = (shape[0], &shape[1..]);
    let len = from.len() / examples;
    for start in (0..examples).step_by(BLOCK) {
        let block = start..examples.min(start + BLOCK);
        let mut walk = Walk::new(sizes);
        for column in from.chunks_exact(examples) {
            for n in block.clone() {
                to[n * len + walk.at] = column[n];
            }
            walk.advance();
        }
    }
}

/// Goes through the elements of one example with the first axis fastest.
struct Walk<'a> {
    sizes: &'a [usize],
    position: Vec<usize>,
    /// Where the element is in row-major order.
    at: usize,
}

impl<'a> Walk<'a> {
    fn new(sizes: &'a [usize]) -> Self {
        let position = vec![0; sizes.len()];
        Self {
            sizes,
            position,
            at: 0,
        }
    }

    fn advance(&mut self) {
        for axis in 0..self.sizes.len() {
            let stride: usize = self.sizes[axis + 1..].iter().product();
            self.position[axis] += 1;
            self.at += stride;
            if self.position[axis] < self.sizes[axis] {
                return;
            }
            self.at -= stride * self.sizes[axis];
            self.position[axis] = 0;
        }
    }
}
