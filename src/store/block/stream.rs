//! Runs of numbers as bytes: plain, variable length or `pco`, whichever is asked for and smaller.
//!
//! Every stream names its method, so a block may mix them and old blocks stay readable.

use pco::data_types::Number;
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use super::Malformed;

/// `pco` has a fixed cost a stream; below this it does not pay.
const PCO_MIN: usize = 256;
const PCO_LEVEL: usize = 4;

const PLAIN: u8 = 0;
const VARINT: u8 = 1;
const PCO: u8 = 2;

/// How much time a block's encoding may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// An alert waits for this commit.
    Fast,
    Compact,
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(value as u8);
}

pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Integers that are expected to be small: differences.
pub(super) fn put_integers(out: &mut Vec<u8>, values: &[i64], effort: Effort) {
    if let Some(packed) = packed(values, DeltaSpec::NoOp, effort) {
        let varint_bytes: usize = values.iter().map(|value| varint_len(zigzag(*value))).sum();
        if packed.len() < varint_bytes {
            return put_framed(out, PCO, &packed);
        }
    }
    let mut bytes = Vec::with_capacity(values.len() * 2);
    for value in values {
        put_varint(&mut bytes, zigzag(*value));
    }
    put_framed(out, VARINT, &bytes);
}

pub(super) fn put_floats<F: Float>(out: &mut Vec<u8>, values: &[F], effort: Effort) {
    if let Some(packed) = packed(values, DeltaSpec::TryConsecutive(1), effort)
        && packed.len() < values.len() * F::BYTES
    {
        return put_framed(out, PCO, &packed);
    }
    let mut bytes = Vec::with_capacity(values.len() * F::BYTES);
    for value in values {
        value.put(&mut bytes);
    }
    put_framed(out, PLAIN, &bytes);
}

fn packed<T: Number>(values: &[T], delta: DeltaSpec, effort: Effort) -> Option<Vec<u8>> {
    if effort == Effort::Fast || values.len() < PCO_MIN {
        return None;
    }
    let config = ChunkConfig::default()
        .with_compression_level(PCO_LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(delta);
    pco::standalone::simple_compress(values, &config).ok()
}

fn put_framed(out: &mut Vec<u8>, method: u8, bytes: &[u8]) {
    out.push(method);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A float with a plain little-endian form.
pub(super) trait Float: Number + Default {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! float {
    ($name:ty, $bytes:literal) => {
        impl Float for $name {
            const BYTES: usize = $bytes;
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut word = [0; $bytes];
                word.copy_from_slice(bytes);
                Self::from_le_bytes(word)
            }
        }
    };
}

float!(f32, 4);
float!(f64, 8);

/// Reads what the functions above wrote; every length is checked.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.bytes.split_first().ok_or(Malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) =
            self.bytes.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(head)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }

    /// A varint that counts things, at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|count| *count <= most)
            .ok_or(Malformed("a count is too large"))
    }

    pub(super) fn integers(&mut self, count: usize) -> Result<Vec<i64>, Malformed> {
        let (method, bytes) = self.framed()?;
        match method {
            VARINT => {
                let mut reader = Reader::new(bytes);
                (0..count).map(|_| reader.varint().map(unzigzag)).collect()
            }
            PCO => unpacked(bytes, count),
            _ => Err(Malformed("a stream has an unknown method")),
        }
    }

    pub(super) fn floats<F: Float>(&mut self, count: usize) -> Result<Vec<F>, Malformed> {
        let (method, bytes) = self.framed()?;
        match method {
            PLAIN if bytes.len() == count * F::BYTES => {
                Ok(bytes.chunks_exact(F::BYTES).map(F::get).collect())
            }
            PCO => unpacked(bytes, count),
            _ => Err(Malformed("a stream has an unknown method or length")),
        }
    }

    fn framed(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let method = self.byte()?;
        let length = self.count(self.bytes.len())?;
        Ok((method, self.take(length)?))
    }
}

fn unpacked<T: Number + Default>(bytes: &[u8], count: usize) -> Result<Vec<T>, Malformed> {
    let mut values = vec![T::default(); count];
    let progress = pco::standalone::simple_decompress_into(bytes, &mut values)
        .map_err(|_| Malformed("a stream cannot be decompressed"))?;
    if progress.n_processed == count && progress.finished {
        Ok(values)
    } else {
        Err(Malformed("a stream has the wrong length"))
    }
}
