//! Numbers that are written in a model, read as the arrays of a file are.
//!
//! Does not know the text; it is given numbers in rows.

use std::io::Cursor;
use std::path::Path;

use super::elements::{Array, Kind};
use super::fit::{TargetKind, Wanted};
use super::{DataError, Dataset, Place, Split};

/// Numbers, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    pub values: &'a [f32],
    /// None where a single number is written without brackets.
    pub shape: &'a [usize],
}

/// Examples written down: `x` of an input's shape is one example, and all else a list of examples. Beside one example
/// `y` may be its target alone, or a list of one.
pub fn load_inline(x: Written, y: Written, wanted: &Wanted) -> Result<Dataset, DataError> {
    let (mut inputs, mut targets) = (array("x", x), array("y", y));
    if inputs.is_one(&wanted.input) {
        inputs = inputs.counted();
        let alone = match &wanted.targets {
            TargetKind::Classes(_) => targets.shape.is_empty(),
            TargetKind::Values(sizes) => targets.is_one(sizes),
        };
        if alone {
            targets = targets.counted();
        }
    }
    // A number without brackets is a list of itself where it is not an example.
    for array in [&mut inputs, &mut targets] {
        if array.shape.is_empty() {
            array.shape.push(1);
        }
    }
    inputs.check_inputs(wanted)?;
    let targets = targets.targets(&wanted.targets)?;
    Ok(Dataset {
        train: Split::read(inputs, targets, wanted)?,
        test: None,
        files: vec![],
    })
}

fn array(name: &str, written: Written) -> Array<'static> {
    let bytes: Vec<u8> = written
        .values
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    Array {
        place: Place {
            path: Path::new("inline data").into(),
            array: Some(name.into()),
        },
        kind: Kind::F32,
        big_endian: false,
        fortran: false,
        shape: written.shape.to_vec(),
        available: bytes.len() as u64,
        from: Box::new(Cursor::new(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Targets};
    use super::*;

    fn load(
        x: &[usize],
        y: (&[usize], &[f32]),
        input: &[usize],
        targets: TargetKind,
    ) -> Result<Split, DataError> {
        let values: Vec<f32> = (0..x.iter().product()).map(|i| i as f32).collect();
        let x = Written {
            values: &values,
            shape: x,
        };
        let y = Written {
            values: y.1,
            shape: y.0,
        };
        let wanted = Wanted {
            input: input.to_vec(),
            targets,
        };
        load_inline(x, y, &wanted).map(|data| data.train)
    }

    fn count(x: &[usize], y: (&[usize], &[f32]), input: &[usize], targets: TargetKind) -> usize {
        let split = load(x, y, input, targets).expect("fits");
        split.len()
    }

    #[test]
    fn the_shape_tells_one_example_from_a_list() {
        use TargetKind::{Classes, Values};
        fn y(shape: &[usize]) -> (&[usize], &[f32]) {
            (shape, &[0.0; 12][..shape.iter().product()])
        }
        // An image as it is, and without its channels; its target as it is, without its channels, and in a list.
        let values = || Values(vec![1, 1, 2]);
        for x in [&[1, 2, 3][..], &[2, 3]] {
            for target in [&[1, 1, 2][..], &[1, 2], &[1, 1, 1, 2]] {
                assert_eq!(count(x, y(target), &[1, 2, 3], values()), 1, "{x:?}");
            }
        }
        // In a list of one.
        for target in [&[1, 1, 1, 2][..], &[1, 1, 2]] {
            assert_eq!(count(&[1, 1, 2, 3], y(target), &[1, 2, 3], values()), 1);
        }
        assert_eq!(count(&[3], y(&[]), &[3], Classes(2)), 1);
        assert_eq!(count(&[3], y(&[1]), &[3], Classes(2)), 1);
        // Lists.
        assert_eq!(count(&[4, 3], y(&[4]), &[3], Classes(2)), 4);
        assert_eq!(count(&[4, 3], y(&[4, 1]), &[3], Classes(2)), 4);
        assert_eq!(count(&[4, 2, 3], y(&[4]), &[1, 2, 3], Values(vec![1])), 4);
        assert_eq!(count(&[4], y(&[4]), &[1], Values(vec![1])), 4);
        assert_eq!(count(&[1], y(&[1]), &[1], Values(vec![1])), 1);
        assert_eq!(count(&[], y(&[]), &[1], Values(vec![1])), 1);
    }

    #[test]
    fn the_loss_decides_what_whole_numbers_are() {
        let y = (&[2][..], &[1.0, 2.0][..]);
        let split = load(&[2, 1], y, &[1], TargetKind::Values(vec![1])).expect("fits");
        assert_eq!(split.targets, Targets::Values(vec![1.0, 2.0]));
        let split = load(&[2, 1], y, &[1], TargetKind::Classes(3)).expect("fits");
        assert_eq!(split.targets, Targets::Classes(vec![1, 2]));
        assert_eq!(split.inputs, Inputs::F32(vec![0.0, 1.0]));
    }

    #[test]
    fn other_shapes_are_refused_with_both_named() {
        let values = || TargetKind::Values(vec![1, 2, 3]);
        let zeros = [0.0; 6];
        let refused = |x: &[usize], y: &[usize]| {
            let y = (y, &zeros[..]);
            load(x, y, &[1, 2, 3], values())
                .expect_err("does not fit")
                .to_string()
        };
        assert_eq!(
            refused(&[1, 1, 3, 2], &[1, 1, 2, 3]),
            "inline data, array x: its shape is [1, 1, 3, 2], the model's input is [1, 2, 3]\n  = help: [N, 1, 2, 3] would fit N examples"
        );
        assert_eq!(
            refused(&[1, 1, 2, 3], &[1, 1, 3, 2]),
            "inline data, array y: its shape is [1, 1, 3, 2], the model's output is [1, 2, 3]\n  = help: [N, 1, 2, 3] would fit N examples"
        );
        assert!(refused(&[6], &[6]).contains("array x: its shape is [6]"));
        assert!(refused(&[1, 2, 3], &[6]).contains("array y: its shape is [6]"));
        assert!(refused(&[], &[1, 2, 3]).contains("array x: its shape is [1]"));
    }
}
