//! Whether arrays fit what is asked for, and what their numbers stand for.
//!
//! A target is a class or a value because the caller says so, never because of the numbers that are there. Does not
//! know models: it is told the sizes of an input and of a target; of losses it knows the names that advice takes.

use super::elements::{Array, Kind, Number};
use super::{DataError, Inputs, Split, Targets, order};

/// What is asked of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The sizes of one example's input.
    pub input: Vec<usize>,
    pub targets: TargetKind,
}

/// What targets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// One of so many classes, numbered from 0.
    Classes(usize),
    /// Numbers, of these sizes for one example.
    Values(Vec<usize>),
}

/// Whether `sizes` are `wanted`. An axis of one may be left out where it is the only one, or the channels of an image.
fn fits(sizes: &[usize], wanted: &[usize]) -> bool {
    sizes == wanted || matches!(wanted, [1] | [1, _, _]) && sizes == &wanted[1..]
}

impl Split {
    /// Reads what the inputs and targets of a file hold. `inputs` may be checked before `targets` is opened.
    pub(super) fn read(
        mut inputs: Array,
        targets: ReadTargets,
        wanted: &Wanted,
    ) -> Result<Self, DataError> {
        inputs.check_inputs(wanted)?;
        if inputs.shape[0] != targets.len {
            return Err(DataError::Count {
                place: inputs.place,
                inputs: inputs.shape[0],
                targets: targets.len,
            });
        }
        let mut remarks = targets.remarks;
        let data = inputs.inputs(&mut remarks)?;
        Ok(Self {
            inputs: data,
            len: targets.len,
            targets: targets.data,
            remarks,
        })
    }
}

/// Targets that are read before inputs are.
pub(super) struct ReadTargets {
    /// The number of examples.
    len: usize,
    data: Targets,
    remarks: Vec<String>,
}

impl Array<'_> {
    /// Whether the inputs have the sizes that are wanted.
    pub fn check_inputs(&self, wanted: &Wanted) -> Result<(), DataError> {
        let hint = if let [height, width, channels] = self.shape[1..]
            && [channels, height, width] == wanted.input[..]
        {
            "channels come first, as x.transpose(0, 3, 1, 2) puts them"
        } else {
            ""
        };
        self.check("input", &wanted.input, hint)
    }

    /// Reads targets of the kind that is wanted.
    pub fn targets(mut self, wanted: &TargetKind) -> Result<ReadTargets, DataError> {
        let mut remarks = Vec::new();
        let data = match wanted {
            TargetKind::Classes(count) => Targets::Classes(self.classes(*count)?),
            TargetKind::Values(sizes) => {
                let labels = self.shape.len() == 1 && !self.is_real();
                let hint = if labels {
                    "CrossEntropyLoss takes a class for each example"
                } else {
                    ""
                };
                self.check("output", sizes, hint)?;
                Targets::Values(self.floats(&mut remarks)?)
            }
        };
        Ok(ReadTargets {
            len: self.shape[0],
            data,
            remarks,
        })
    }

    /// Puts the number of examples before the sizes of what is one example.
    pub fn counted(mut self) -> Self {
        self.shape.insert(0, 1);
        self
    }

    /// Whether the array as a whole is one example of these sizes.
    pub fn is_one(&self, wanted: &[usize]) -> bool {
        fits(&self.shape, wanted)
    }

    fn check(
        &self,
        role: &'static str,
        wanted: &[usize],
        hint: &'static str,
    ) -> Result<(), DataError> {
        if fits(&self.shape[1..], wanted) {
            return Ok(());
        }
        Err(DataError::Misfit {
            place: self.place.clone(),
            role,
            shape: self.shape[..].into(),
            wanted: wanted.into(),
            hint,
        })
    }

    fn is_real(&self) -> bool {
        matches!(self.kind, Kind::F16 | Kind::F32 | Kind::F64)
    }

    /// Bytes stay bytes; all else becomes f32.
    fn inputs(&mut self, remarks: &mut Vec<String>) -> Result<Inputs, DataError> {
        let inputs = match self.kind {
            Kind::U8 => Inputs::U8(self.bytes()?),
            _ => Inputs::F32(self.floats(remarks)?),
        };
        let constant = match &inputs {
            Inputs::U8(x) => alike(x).map(|x| x.to_string()),
            Inputs::F32(x) => alike(x).map(|x| Number::Real(x.into()).to_string()),
        };
        // A single example may well be a constant.
        if let Some(value) = constant.filter(|_| self.shape[0] > 1) {
            let (place, count) = (&self.place, self.shape[0]);
            remarks.push(format!(
                "{place}: all inputs of all {count} examples are {value}"
            ));
        }
        Ok(inputs)
    }

    /// The elements as f32, with a remark on those that f32 does not hold and on those that are no numbers.
    fn floats(&mut self, remarks: &mut Vec<String>) -> Result<Vec<f32>, DataError> {
        let mut rounded = None;
        let mut beyond = None;
        let data = self.each(|index, number| {
            let float = number.float();
            if let Number::Real(x) = number
                && beyond.is_none()
                && x.is_finite()
                && float.is_infinite()
            {
                beyond = Some((index, x));
            }
            if let Number::Integer(i) = number
                && rounded.is_none()
                && float as i128 != i
            {
                rounded = Some((index, i, float));
            }
            Ok(float)
        })?;
        if let Some((index, value)) = beyond {
            return Err(DataError::Range {
                place: self.place.clone(),
                at: self.position(index),
                value,
            });
        }
        let place = &self.place;
        if let Some((index, integer, float)) = rounded {
            let at = self.position(index);
            remarks.push(format!(
                "{place}: number {at:?} is {integer}, which becomes {float} as f32"
            ));
        }
        let wild = |x: &&f32| !x.is_finite();
        if let Some(first) = data.iter().position(|x| wild(&x)) {
            let (count, all) = (data.iter().filter(wild).count(), data.len());
            let at = order::last_fastest(&self.shape, first);
            let value = data[first];
            remarks.push(format!(
                "{place}: number {at:?} is {value}; {count} of {all} are not finite"
            ));
        }
        Ok(data)
    }

    /// The class of each example: `[N]` or `[N, 1]` whole numbers of any type.
    fn classes(&mut self, count: usize) -> Result<Vec<i32>, DataError> {
        if !matches!(self.shape[1..], [] | [1]) {
            return Err(self.no_classes(count));
        }
        let place = self.place.clone();
        let most = count.min(i32::MAX as usize) as i128;
        self.each(|index, number| {
            let class = match number {
                Number::Integer(i) => Some(i),
                // Beyond 2⁵³ every float is whole, and far beyond any class.
                Number::Real(x) => (x.fract() == 0.0).then_some(x as i128),
            };
            match class.filter(|c| (0..most).contains(c)) {
                Some(class) => Ok(class as i32),
                None => Err(DataError::Label {
                    place: place.clone(),
                    index,
                    label: number,
                    classes: count,
                }),
            }
        })
    }

    /// Why an array of several numbers for each example is no array of classes.
    fn no_classes(&mut self, count: usize) -> DataError {
        let (place, shape) = (self.place.clone(), self.shape.clone());
        if let [_, width] = shape[..]
            && width > 1
        {
            match self.each(|_, number| Ok(number.float())) {
                Ok(rows) => {
                    if let Some(classes) = hot(&rows, width) {
                        return DataError::OneHot {
                            place,
                            shape,
                            classes,
                        };
                    }
                }
                Err(e) => return e,
            }
        }
        DataError::NotClasses {
            place,
            shape,
            classes: count,
        }
    }
}

/// The value that all elements have, where there are several.
fn alike<T: Copy + PartialEq>(x: &[T]) -> Option<T> {
    let first = *x.first()?;
    (x.len() > 1 && x.iter().all(|v| *v == first)).then_some(first)
}

/// Where the one of each row is; `None` where a row is anything else than zeros and a one.
fn hot(rows: &[f32], width: usize) -> Option<Vec<usize>> {
    let one = |row: &[f32]| {
        let at = row.iter().position(|&x| x == 1.0)?;
        let zeros = row.iter().filter(|&&x| x == 0.0).count();
        (zeros == width - 1).then_some(at)
    };
    rows.chunks_exact(width).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::elements::tests::array;
    use super::*;

    fn read(
        x: (Kind, &[usize], &[u8]),
        y: (Kind, &[usize], &[u8]),
        wanted: &Wanted,
    ) -> Result<Split, DataError> {
        let targets = array(y.0, y.1, y.2).targets(&wanted.targets)?;
        Split::read(array(x.0, x.1, x.2), targets, wanted)
    }

    fn classes(count: usize) -> Wanted {
        Wanted {
            input: vec![1],
            targets: TargetKind::Classes(count),
        }
    }

    fn values(input: &[usize], output: &[usize]) -> Wanted {
        Wanted {
            input: input.to_vec(),
            targets: TargetKind::Values(output.to_vec()),
        }
    }

    /// Labels of two examples.
    fn labels(kind: Kind, shape: &[usize], bytes: &[u8]) -> Result<Targets, DataError> {
        let x = (Kind::U8, &[2, 1][..], &[0, 1][..]);
        read(x, (kind, shape, bytes), &classes(3)).map(|s| s.targets)
    }

    fn bytes_of<const N: usize>(numbers: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
        numbers.into_iter().flatten().collect()
    }

    #[test]
    fn classes_are_whole_numbers_of_any_type() {
        let expected = Targets::Classes(vec![2, 0]);
        let of = |kind, bytes: &[u8]| {
            for shape in [&[2][..], &[2, 1]] {
                assert_eq!(
                    labels(kind, shape, bytes).expect("reads"),
                    expected,
                    "{kind:?}"
                );
            }
        };
        of(Kind::U8, &[2, 0]);
        of(Kind::I8, &[2, 0]);
        of(Kind::U16, &bytes_of([2u16, 0].map(u16::to_le_bytes)));
        of(Kind::I16, &bytes_of([2i16, 0].map(i16::to_le_bytes)));
        of(Kind::U32, &bytes_of([2u32, 0].map(u32::to_le_bytes)));
        of(Kind::I32, &bytes_of([2i32, 0].map(i32::to_le_bytes)));
        of(Kind::U64, &bytes_of([2u64, 0].map(u64::to_le_bytes)));
        of(Kind::I64, &bytes_of([2i64, 0].map(i64::to_le_bytes)));
        of(
            Kind::F16,
            &bytes_of([0x4000u16, 0x8000].map(u16::to_le_bytes)),
        );
        of(Kind::F32, &bytes_of([2f32, -0.0].map(f32::to_le_bytes)));
        of(Kind::F64, &bytes_of([2f64, 0.0].map(f64::to_le_bytes)));
        let truths = labels(Kind::Bool, &[2], &[1, 0]).expect("reads");
        assert_eq!(truths, Targets::Classes(vec![1, 0]));
    }

    #[test]
    fn what_is_no_class_is_named_with_its_place() {
        let refused = |kind, bytes: &[u8]| {
            let error = labels(kind, &[2], bytes).expect_err("is refused");
            error.to_string()
        };
        assert_eq!(
            refused(Kind::U8, &[0, 12]),
            "a: label 1 is 12; the model has 3 classes, 0 to 2\n  \
             = help: correct the label, or give the last layer more outputs"
        );
        let counted = refused(Kind::U8, &[1, 3]);
        assert!(counted.contains("label 1 is 3;") && counted.contains("count from 1"));
        assert!(refused(Kind::I8, &[0, 0xff]).contains("label 1 is -1;"));
        assert!(refused(Kind::U64, &[0xff; 16]).contains("label 0 is 18446744073709551615;"));
        for (x, shown) in [
            (0.5f32, "0.5"),
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (1e30, "is 1e30;"),
        ] {
            let text = refused(Kind::F32, &bytes_of([1.0, x].map(f32::to_le_bytes)));
            let number = text.contains("label 1 is") && text.contains("3 classes, 0 to 2");
            assert!(number && text.contains(shown), "{text}");
        }
        let half = refused(Kind::F32, &bytes_of([1.0, 0.5].map(f32::to_le_bytes)));
        assert!(half.contains("MSELoss takes values"), "{half}");
        let one = read(
            (Kind::U8, &[1, 1], &[0]),
            (Kind::U8, &[1], &[1]),
            &classes(1),
        );
        let one = one.expect_err("is refused").to_string();
        assert!(one.contains("the model has 1 class, 0\n"), "{one}");
    }

    #[test]
    fn one_hot_rows_are_called_that() {
        let rows = bytes_of([0.0, 0.0, 1.0, 1.0, 0.0, 0.0].map(f64::to_le_bytes));
        let error = labels(Kind::F64, &[2, 3], &rows).expect_err("is refused");
        assert_eq!(
            error.to_string(),
            "a: the shape [2, 3] holds one-hot rows, not classes: row 0 has its one at 2\n  \
             = help: save labels.argmax(axis=1), the place of each one: 2, 0"
        );
        let error = labels(Kind::Bool, &[2, 3], &[0, 1, 0, 1, 0, 0]).expect_err("is refused");
        assert!(matches!(error, DataError::OneHot { .. }), "{error}");
        // Two ones, none, and another number.
        for row in [[1, 0, 1], [0, 0, 0], [2, 0, 0]] {
            let rows = [[0, 1, 0], row].concat();
            let error = labels(Kind::U8, &[2, 3], &rows).expect_err("is refused");
            assert!(matches!(error, DataError::NotClasses { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("its shape is [2, 3], not [N] or [N, 1] for N examples"),
                "{text}"
            );
            assert!(text.contains("MSELoss takes values"), "{text}");
        }
        let error = labels(Kind::U8, &[1, 1, 2], &[0, 1]).expect_err("is refused");
        assert!(matches!(error, DataError::NotClasses { .. }), "{error}");
    }

    #[test]
    fn values_of_any_type_are_numbers_for_mse() {
        let wanted = values(&[1], &[1]);
        for shape in [&[2][..], &[2, 1]] {
            let y = (Kind::U8, shape, &[1, 200][..]);
            let split = read((Kind::U8, &[2, 1], &[0, 1]), y, &wanted).expect("reads");
            assert_eq!(split.targets, Targets::Values(vec![1.0, 200.0]));
            assert!(split.remarks.is_empty());
        }
    }

    #[test]
    fn shapes_must_be_equal_and_errors_name_both() {
        let wanted = values(&[1, 2, 3], &[1, 2, 3]);
        let (good, bad) = (&[2, 1, 2, 3][..], &[2, 1, 3, 2][..]);
        let zeros: &[u8] = &[0; 12];
        let refused = |x, y| {
            let read = read((Kind::U8, x, zeros), (Kind::F16, y, &[0; 24]), &wanted);
            read.expect_err("is refused").to_string()
        };
        assert_eq!(
            refused(good, bad),
            "a: its shape is [2, 1, 3, 2], the model's output is [1, 2, 3]\n  = help: [N, 1, 2, 3] would fit N examples"
        );
        assert_eq!(
            refused(bad, good),
            "a: its shape is [2, 1, 3, 2], the model's input is [1, 2, 3]\n  = help: [N, 1, 2, 3] would fit N examples"
        );
        assert!(refused(&[2, 2, 3, 1], good).contains("x.transpose(0, 3, 1, 2)"));
        assert!(refused(&[2, 6], good).contains("its shape is [2, 6]"));
        let x = (Kind::U8, &[2, 2, 3][..], zeros);
        let split =
            read(x, (Kind::F16, &[2, 2, 3], &[0; 24]), &wanted).expect("channels may be left out");
        assert_eq!(split.len(), 2);
        let labels = read((Kind::U8, good, zeros), (Kind::U8, &[2], &[0, 1]), &wanted);
        let labels = labels.expect_err("is refused").to_string();
        assert!(
            labels.contains("CrossEntropyLoss takes a class"),
            "{labels}"
        );
    }

    #[test]
    fn only_an_axis_of_one_in_front_may_be_left_out() {
        assert!(fits(&[3], &[3]) && fits(&[], &[1]) && fits(&[2, 3], &[1, 2, 3]));
        assert!(!fits(&[1, 3], &[3]) && !fits(&[], &[2]) && !fits(&[3], &[1, 1, 3]));
        assert!(
            !fits(&[3, 2], &[1, 2, 3]) && !fits(&[2, 3], &[2, 3, 1]) && !fits(&[2, 3], &[2, 2, 3])
        );
        assert!(!fits(&[1], &[]) && !fits(&[3], &[1, 3]));
    }

    #[test]
    fn odd_numbers_are_remarked_with_the_first_place() {
        let remarks = |kind, x: &[u8], y: [f32; 2]| {
            let y = bytes_of(y.map(f32::to_le_bytes));
            let y = (Kind::F32, &[2][..], &y[..]);
            let split = read((kind, &[2, 2], x), y, &values(&[2], &[1]));
            split.expect("reads").remarks
        };
        let of = |x: [f32; 4], y| remarks(Kind::F32, &bytes_of(x.map(f32::to_le_bytes)), y);
        assert_eq!(of([0.0, 1.0, 2.0, 3.0], [1.0, 1.0]), [""; 0]);
        assert_eq!(
            of(
                [0.0, 1.0, f32::NAN, f32::INFINITY],
                [1.0, f32::NEG_INFINITY]
            ),
            [
                "a: number [1] is -inf; 1 of 2 are not finite",
                "a: number [1, 0] is NaN; 2 of 4 are not finite"
            ]
        );
        let alike = "a: all inputs of all 2 examples are 7";
        assert_eq!(of([7.0; 4], [1.0, 2.0]), [alike]);
        assert_eq!(remarks(Kind::U8, &[7; 4], [1.0, 2.0]), [alike]);
        let integers = bytes_of([0, 16_777_216, 16_777_217, -16_777_219].map(i64::to_le_bytes));
        assert_eq!(
            remarks(Kind::I64, &integers, [1.0, 2.0]),
            ["a: number [1, 0] is 16777217, which becomes 16777216 as f32"]
        );
    }

    #[test]
    fn bytes_stay_bytes_and_all_else_becomes_floats() {
        let inputs = |kind, bytes: &[u8]| {
            let y = (Kind::U8, &[2][..], &[0, 1][..]);
            read((kind, &[2, 1], bytes), y, &classes(2))
                .expect("reads")
                .inputs
        };
        let floats = Inputs::F32(vec![1.0, 0.0]);
        assert_eq!(inputs(Kind::U8, &[1, 0]), Inputs::U8(vec![1, 0]));
        assert_eq!(inputs(Kind::Bool, &[1, 0]), floats);
        assert_eq!(inputs(Kind::I8, &[1, 0]), floats);
        assert_eq!(inputs(Kind::F16, &[0, 0x3c, 0, 0]), floats);
        assert_eq!(inputs(Kind::I16, &[1, 0, 0, 0]), floats);
    }

    #[test]
    fn as_many_targets_as_inputs() {
        let x = (Kind::U8, &[3, 1][..], &[0, 1, 2][..]);
        let error = read(x, (Kind::U8, &[2], &[0, 1]), &classes(2)).expect_err("is refused");
        let counts = matches!(
            error,
            DataError::Count {
                inputs: 3,
                targets: 2,
                ..
            }
        );
        assert!(counts, "{error}");
    }
}
