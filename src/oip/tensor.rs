//! Tensors as the protocol names them.

use std::fmt;

use super::Invalid;

/// A tensor with its name; as many elements as the shape says.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Data,
}

macro_rules! kinds {
    ($($kind:ident($element:ty) = $word:literal, $bytes:expr;)*) => {
        /// The elements, first dimension slowest.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data { $($kind(Vec<$element>),)* }

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DataType { $($kind,)* }

        impl Data {
            pub fn kind(&self) -> DataType {
                match self { $(Self::$kind(_) => DataType::$kind,)* }
            }

            pub fn len(&self) -> usize {
                match self { $(Self::$kind(elements) => elements.len(),)* }
            }

            /// Puts `more` behind what is there. False where it is of another kind.
            pub fn append(&mut self, more: &Self) -> bool {
                match (self, more) {
                    $((Self::$kind(own), Self::$kind(more)) => own.extend_from_slice(more),)*
                    _ => return false,
                }
                true
            }

            /// Takes the first `count` elements out, or all where there are fewer.
            pub fn take(&mut self, count: usize) -> Self {
                match self {
                    $(Self::$kind(own) => Self::$kind(own.drain(..count.min(own.len())).collect()),)*
                }
            }
        }

        impl DataType {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// As the protocol writes it: `FP32`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// Bytes an element; none where elements have their own lengths.
            pub fn size(self) -> Option<usize> {
                match self { $(Self::$kind => $bytes,)* }
            }
        }
    };
}

kinds! {
    Bool(bool) = "BOOL", Some(1);
    Uint8(u8) = "UINT8", Some(1);
    Uint16(u16) = "UINT16", Some(2);
    Uint32(u32) = "UINT32", Some(4);
    Uint64(u64) = "UINT64", Some(8);
    Int8(i8) = "INT8", Some(1);
    Int16(i16) = "INT16", Some(2);
    Int32(i32) = "INT32", Some(4);
    Int64(i64) = "INT64", Some(8);
    Fp32(f32) = "FP32", Some(4);
    Fp64(f64) = "FP64", Some(8);
    Bytes(String) = "BYTES", None;
}

impl Data {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl DataType {
    pub(super) fn parse(word: &str, of: &str) -> Result<Self, Invalid> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.word()).collect();
            Invalid(format!(
                "{of}: datatype `{word}` is not served here; it may be one of {}",
                known.join(", ")
            ))
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
