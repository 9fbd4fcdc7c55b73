//! Types of tensor values. Knows no operator and no memory layout.

use std::fmt;

/// How an element is stored. Arithmetic is always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    U8,
    I32,
}

impl DType {
    /// Size of one element in bytes.
    pub fn size_bytes(self) -> u64 {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::U8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U8 => "u8",
            DType::I32 => "i32",
        })
    }
}

/// The axis before the static dimensions, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leading {
    /// Every dimension is static: parameters and scalars.
    None,
    /// One entry for each image of the batch; their number is known at run time.
    Batch,
    /// One entry for each example of the data set.
    Dataset,
}

/// Element type, leading axis and static dimensions of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub leading: Leading,
    pub dims: Vec<u32>,
}

impl TensorType {
    /// An f32 value with one entry for each image of the batch.
    pub fn batch(dims: impl Into<Vec<u32>>) -> Self {
        Self {
            dtype: DType::F32,
            leading: Leading::Batch,
            dims: dims.into(),
        }
    }

    /// An f32 value without a batch axis, such as a parameter.
    pub fn fixed(dims: impl Into<Vec<u32>>) -> Self {
        Self {
            dtype: DType::F32,
            leading: Leading::None,
            dims: dims.into(),
        }
    }

    /// Elements of one image (or of the whole value, where there is no leading axis).
    ///
    /// Saturates, so that an absurd shape is refused by a size limit and never wraps to a small one.
    pub fn elements(&self) -> u64 {
        self.dims
            .iter()
            .fold(1u64, |n, &d| n.saturating_mul(u64::from(d)))
    }

    /// Number of axes, the leading one included.
    pub fn rank(&self) -> usize {
        self.dims.len() + usize::from(self.leading != Leading::None)
    }

    /// True where the value has one entry for each image of the batch.
    pub fn is_batch(&self) -> bool {
        self.leading == Leading::Batch
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leading = match self.leading {
            Leading::None => None,
            Leading::Batch => Some("N".to_string()),
            Leading::Dataset => Some("*".to_string()),
        };
        let dims: Vec<String> = leading
            .into_iter()
            .chain(self.dims.iter().map(u32::to_string))
            .collect();
        write!(f, "{}[{}]", self.dtype, dims.join(","))
    }
}
