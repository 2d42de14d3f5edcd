//! `data` of a JSON tensor: nested or flat, read into one flat list without a tree in between.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Invalid;
use super::tensor::{Data, DataType};

/// What stood in the array, before the datatype is known.
#[derive(Debug, Default)]
pub(super) enum Cells {
    #[default]
    None,
    Bools(Vec<bool>),
    Numbers(Vec<Number>),
    Texts(Vec<String>),
}

impl<'de> serde::Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cells = Self::None;
        Fill(&mut cells).deserialize(deserializer)?;
        Ok(cells)
    }
}

struct Fill<'a>(&'a mut Cells);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Fill<'_> {
    fn number<E: Error>(self, number: Number) -> Result<(), E> {
        match self.0 {
            Cells::Numbers(numbers) => numbers.push(number),
            Cells::None => *self.0 = Cells::Numbers(vec![number]),
            _ => {
                return Err(E::custom(
                    "a tensor's data are all numbers, all true/false or all text",
                ));
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers, of true and false, or of text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Fill(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.0 {
            Cells::Bools(bools) => bools.push(value),
            Cells::None => *self.0 = Cells::Bools(vec![value]),
            _ => {
                return Err(E::custom(
                    "a tensor's data are all numbers, all true/false or all text",
                ));
            }
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.0 {
            Cells::Texts(texts) => texts.push(value.to_owned()),
            Cells::None => *self.0 = Cells::Texts(vec![value.to_owned()]),
            _ => {
                return Err(E::custom(
                    "a tensor's data are all numbers, all true/false or all text",
                ));
            }
        }
        Ok(())
    }
}

impl Cells {
    /// As elements of `kind`, exactly `count` of them; `of` is how an error calls the tensor.
    pub(super) fn typed(self, of: &str, kind: DataType, count: usize) -> Result<Data, Invalid> {
        let data = match (kind, self) {
            (_, Self::None) => empty(kind),
            (DataType::Bool, Self::Bools(bools)) => Data::Bool(bools),
            (DataType::Bytes, Self::Texts(texts)) => Data::Bytes(texts),
            (DataType::Fp32, Self::Numbers(numbers)) => {
                Data::Fp32(each(of, kind, &numbers, |number| {
                    #[expect(clippy::cast_possible_truncation, reason = "FP32 was asked for")]
                    let value = number.as_f64()? as f32;
                    value.is_finite().then_some(value)
                })?)
            }
            (DataType::Fp64, Self::Numbers(numbers)) => {
                Data::Fp64(each(of, kind, &numbers, Number::as_f64)?)
            }
            (_, Self::Numbers(numbers)) => whole(of, kind, &numbers)?,
            (_, other) => {
                let what = match other {
                    Self::Bools(_) => "true and false",
                    _ => "text",
                };
                return Invalid::new(format!("{of}: {what} cannot be {kind}"));
            }
        };
        if data.len() == count {
            return Ok(data);
        }
        Invalid::new(format!("{of}: its shape has {count} elements, and `data` has {}", data.len()))
    }
}

fn whole(of: &str, kind: DataType, numbers: &[Number]) -> Result<Data, Invalid> {
    macro_rules! narrow {
        ($get:ident, $element:ty) => {
            each(of, kind, numbers, |number| <$element>::try_from(number.$get()?).ok())?
        };
    }
    Ok(match kind {
        DataType::Uint8 => Data::Uint8(narrow!(as_u64, u8)),
        DataType::Uint16 => Data::Uint16(narrow!(as_u64, u16)),
        DataType::Uint32 => Data::Uint32(narrow!(as_u64, u32)),
        DataType::Uint64 => Data::Uint64(narrow!(as_u64, u64)),
        DataType::Int8 => Data::Int8(narrow!(as_i64, i8)),
        DataType::Int16 => Data::Int16(narrow!(as_i64, i16)),
        DataType::Int32 => Data::Int32(narrow!(as_i64, i32)),
        DataType::Int64 => Data::Int64(narrow!(as_i64, i64)),
        _ => return Invalid::new(format!("{of}: numbers cannot be {kind}")),
    })
}

fn each<T>(
    of: &str,
    kind: DataType,
    numbers: &[Number],
    read: impl Fn(&Number) -> Option<T>,
) -> Result<Vec<T>, Invalid> {
    let element = |number: &Number| {
        read(number).ok_or_else(|| Invalid(format!("{of}: {number} is no {kind}")))
    };
    numbers.iter().map(element).collect()
}

fn empty(kind: DataType) -> Data {
    match kind {
        DataType::Bool => Data::Bool(Vec::new()),
        DataType::Uint8 => Data::Uint8(Vec::new()),
        DataType::Uint16 => Data::Uint16(Vec::new()),
        DataType::Uint32 => Data::Uint32(Vec::new()),
        DataType::Uint64 => Data::Uint64(Vec::new()),
        DataType::Int8 => Data::Int8(Vec::new()),
        DataType::Int16 => Data::Int16(Vec::new()),
        DataType::Int32 => Data::Int32(Vec::new()),
        DataType::Int64 => Data::Int64(Vec::new()),
        DataType::Fp32 => Data::Fp32(Vec::new()),
        DataType::Fp64 => Data::Fp64(Vec::new()),
        DataType::Bytes => Data::Bytes(Vec::new()),
    }
}

/// As JSON, flat. JSON has no NaN and no infinity: they can only be sent as binary data.
pub(super) fn json(name: &str, data: &Data) -> Result<Value, Invalid> {
    macro_rules! list {
        ($elements:expr) => {
            Value::Array($elements.iter().map(|element| Value::from(*element)).collect())
        };
    }
    macro_rules! finite {
        ($elements:expr, $text:expr) => {
            match $elements.iter().find(|element| !element.is_finite()) {
                Some(element) => {
                    return Invalid::new(format!(
                        "output `{name}` holds {element}, which JSON cannot; ask for binary data"
                    ));
                }
                None => Value::Array($elements.iter().map($text).collect()),
            }
        };
    }
    Ok(match data {
        Data::Bool(elements) => list!(elements),
        Data::Uint8(elements) => list!(elements),
        Data::Uint16(elements) => list!(elements),
        Data::Uint32(elements) => list!(elements),
        Data::Uint64(elements) => list!(elements),
        Data::Int8(elements) => list!(elements),
        Data::Int16(elements) => list!(elements),
        Data::Int32(elements) => list!(elements),
        Data::Int64(elements) => list!(elements),
        Data::Fp32(elements) => finite!(elements, |element| shortest(*element)),
        Data::Fp64(elements) => finite!(elements, |element| Value::from(*element)),
        Data::Bytes(elements) => {
            Value::Array(elements.iter().map(|text| Value::from(text.as_str())).collect())
        }
    })
}

/// 0.1 and not 0.10000000149011612: the shortest text that reads back as the same FP32.
fn shortest(value: f32) -> Value {
    let text = value.to_string();
    Value::from(text.parse::<f64>().unwrap_or_else(|_| f64::from(value)))
}
