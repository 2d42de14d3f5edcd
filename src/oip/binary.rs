//! The binary tensor extension: little-endian elements one after the other; a BYTES element has
//! its length before it, as four bytes.

use super::Invalid;
use super::tensor::{Data, DataType};

macro_rules! numbers {
    ($bytes:expr, $element:ty) => {
        $bytes
            .as_chunks::<{ size_of::<$element>() }>()
            .0
            .iter()
            .map(|element| <$element>::from_le_bytes(*element))
            .collect()
    };
}

/// `count` elements from exactly `bytes`; `of` is how an error calls the tensor.
pub(super) fn decode(
    of: &str,
    kind: DataType,
    count: usize,
    bytes: &[u8],
) -> Result<Data, Invalid> {
    if let Some(size) = kind.size()
        && count.checked_mul(size) != Some(bytes.len())
    {
        let got = bytes.len();
        return Invalid::new(format!(
            "{of}: {count} elements of {kind} take {} bytes, got {got}",
            count.saturating_mul(size)
        ));
    }
    Ok(match kind {
        DataType::Bool => Data::Bool(booleans(of, bytes)?),
        DataType::Uint8 => Data::Uint8(bytes.to_vec()),
        DataType::Uint16 => Data::Uint16(numbers!(bytes, u16)),
        DataType::Uint32 => Data::Uint32(numbers!(bytes, u32)),
        DataType::Uint64 => Data::Uint64(numbers!(bytes, u64)),
        DataType::Int8 => Data::Int8(numbers!(bytes, i8)),
        DataType::Int16 => Data::Int16(numbers!(bytes, i16)),
        DataType::Int32 => Data::Int32(numbers!(bytes, i32)),
        DataType::Int64 => Data::Int64(numbers!(bytes, i64)),
        DataType::Fp32 => Data::Fp32(numbers!(bytes, f32)),
        DataType::Fp64 => Data::Fp64(numbers!(bytes, f64)),
        DataType::Bytes => Data::Bytes(texts(of, count, bytes)?),
    })
}

fn booleans(of: &str, bytes: &[u8]) -> Result<Vec<bool>, Invalid> {
    match bytes.iter().find(|byte| **byte > 1) {
        Some(byte) => Invalid::new(format!("{of}: a BOOL is 0 or 1, got {byte}")),
        None => Ok(bytes.iter().map(|byte| *byte == 1).collect()),
    }
}

fn texts(of: &str, count: usize, bytes: &[u8]) -> Result<Vec<String>, Invalid> {
    let mut rest = bytes;
    // A shape that lies about the count must not reserve memory for it.
    let mut texts = Vec::with_capacity(count.min(bytes.len() / 4));
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((text, after)) = after.split_at_checked(length) else {
            return Invalid::new(format!(
                "{of}: element {} says it has {length} bytes, and {} are left",
                texts.len(),
                after.len()
            ));
        };
        texts.push(text_of(of, texts.len(), text)?);
        rest = after;
    }
    if !rest.is_empty() || texts.len() != count {
        return Invalid::new(format!(
            "{of}: expected {count} elements of BYTES, got {} and {} bytes more",
            texts.len(),
            rest.len()
        ));
    }
    Ok(texts)
}

pub(super) fn text_of(of: &str, at: usize, bytes: &[u8]) -> Result<String, Invalid> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Invalid(format!("{of}: element {at} is not UTF-8, which models' strings are")))
}

pub(super) fn encode(data: &Data, out: &mut Vec<u8>) {
    macro_rules! put {
        ($elements:expr) => {
            $elements.iter().for_each(|element| out.extend_from_slice(&element.to_le_bytes()))
        };
    }
    match data {
        Data::Bool(elements) => out.extend(elements.iter().map(|element| u8::from(*element))),
        Data::Uint8(elements) => out.extend_from_slice(elements),
        Data::Uint16(elements) => put!(elements),
        Data::Uint32(elements) => put!(elements),
        Data::Uint64(elements) => put!(elements),
        Data::Int8(elements) => put!(elements),
        Data::Int16(elements) => put!(elements),
        Data::Int32(elements) => put!(elements),
        Data::Int64(elements) => put!(elements),
        Data::Fp32(elements) => put!(elements),
        Data::Fp64(elements) => put!(elements),
        Data::Bytes(elements) => {
            for text in elements {
                let length = u32::try_from(text.len()).expect("a model's text is below 4 GiB");
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}
