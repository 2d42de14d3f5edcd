//! Blocks: the samples of one commit as columns, small and bit-exact.
//!
//! Pure. Samples are grouped by tag (ascending), in order of arrival within a tag. The bytes:
//! sample count, tag count, tag ids as differences, run lengths, time columns ([`time`]),
//! values ([`value`]), qualities as runs. Counts are LEB128.

mod stream;
mod time;
mod value;

use std::ops::Range;

use self::stream::{Reader, put_varint};
use self::time::Times;
use self::value::Values;
use crate::sample::{Quality, Sample};
use crate::tag::TagId;
use crate::time::Timestamp;

pub(super) use self::stream::Effort;

/// The number of this format in the `codec` column.
pub(super) const CODEC: i64 = 1;

/// More than any writer puts into one block; what is larger is damage.
pub(super) const MAX_SAMPLES: usize = 1 << 24;

/// Quality in the low two bits, then:
const STALE: u8 = 4;
/// The value is the usual NaN of a bad sample and is not written.
const OMITTED: u8 = 8;

/// A block's bytes are not what its format says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the block is damaged: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) min_time: Timestamp,
    pub(super) max_time: Timestamp,
    pub(super) count: usize,
    pub(super) data: Vec<u8>,
}

/// A sample as it comes back, with its batch's mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) sample: Sample,
    pub(super) stale: bool,
}

/// Encodes blocks, keeping its memory from one to the next.
#[derive(Default)]
pub(super) struct Encoder {
    /// By tag id: how many samples; then where the next one goes.
    slots: Vec<u32>,
    tags: Vec<u32>,
    times: Vec<i64>,
    values: Vec<f64>,
    codes: Vec<u8>,
    present: Vec<f64>,
    time_columns: Times,
    value_columns: Values,
}

impl Encoder {
    /// `None` when there are no samples. Each part is a run of samples and whether it is stale.
    pub(super) fn encode<'a, P>(&mut self, parts: P, effort: Effort) -> Option<Encoded>
    where
        P: Iterator<Item = (&'a [Sample], bool)> + Clone,
    {
        let (min_time, max_time, count) = self.count(parts.clone());
        if count == 0 {
            return None;
        }
        let runs = self.scatter(parts, count);
        let mut data = Vec::with_capacity(64 + count * 4);
        put_varint(&mut data, count as u64);
        put_varint(&mut data, runs.len() as u64);
        let mut previous = 0;
        for tag in &self.tags {
            put_varint(&mut data, u64::from(tag - previous));
            previous = *tag;
        }
        for run in &runs {
            put_varint(&mut data, run.len() as u64);
        }
        self.time_columns.clear();
        self.value_columns.clear();
        for run in &runs {
            self.time_columns.push(&self.times, run.clone());
            self.push_values(run.clone());
        }
        self.time_columns.write(&self.times, &mut data, effort);
        put_codes(&mut data, &self.codes);
        self.value_columns.write(&mut data, effort);
        self.shrink();
        Some(Encoded { min_time, max_time, count, data })
    }

    fn count<'a>(
        &mut self,
        parts: impl Iterator<Item = (&'a [Sample], bool)>,
    ) -> (Timestamp, Timestamp, usize) {
        self.tags.clear();
        let (mut min, mut max, mut count) = (Timestamp::MAX, Timestamp::MIN, 0);
        for (samples, _) in parts {
            count += samples.len();
            for sample in samples {
                min = min.min(sample.time);
                max = max.max(sample.time);
                let slot = sample.tag.0 as usize;
                if slot >= self.slots.len() {
                    self.slots.resize(slot + 1, 0);
                }
                if self.slots[slot] == 0 {
                    self.tags.push(sample.tag.0);
                }
                self.slots[slot] += 1;
            }
        }
        self.tags.sort_unstable();
        (min, max, count)
    }

    /// Sorts the samples by tag into the columns and gives each tag's run.
    fn scatter<'a>(
        &mut self,
        parts: impl Iterator<Item = (&'a [Sample], bool)>,
        count: usize,
    ) -> Vec<Range<usize>> {
        let mut runs = Vec::with_capacity(self.tags.len());
        let mut next = 0;
        for tag in &self.tags {
            let slot = &mut self.slots[*tag as usize];
            let start = next;
            next += *slot as usize;
            *slot = u32::try_from(start).expect("a block has fewer than 2^32 samples");
            runs.push(start..next);
        }
        self.times.resize(count, 0);
        self.values.resize(count, 0.0);
        self.codes.resize(count, 0);
        for (samples, stale) in parts {
            let mark = if stale { STALE } else { 0 };
            for sample in samples {
                let slot = &mut self.slots[sample.tag.0 as usize];
                let at = *slot as usize;
                *slot += 1;
                self.times[at] = sample.time.as_nanos();
                self.values[at] = sample.value;
                let omitted =
                    sample.quality == Quality::Bad && sample.value.to_bits() == f64::NAN.to_bits();
                self.codes[at] = sample.quality as u8 | mark | if omitted { OMITTED } else { 0 };
            }
        }
        for tag in &self.tags {
            self.slots[*tag as usize] = 0;
        }
        runs
    }

    fn push_values(&mut self, run: Range<usize>) {
        let codes = &self.codes[run.clone()];
        let values = &self.values[run];
        if codes.iter().all(|code| code & OMITTED == 0) {
            return self.value_columns.push(values);
        }
        self.present.clear();
        let written = values.iter().zip(codes).filter(|(_, code)| *code & OMITTED == 0);
        self.present.extend(written.map(|(value, _)| *value));
        self.value_columns.push(&self.present);
    }

    /// One huge block must not keep its memory for ever.
    fn shrink(&mut self) {
        const KEEP: usize = 1 << 17;
        self.times.clear();
        self.values.clear();
        self.codes.clear();
        self.times.shrink_to(KEEP);
        self.values.shrink_to(KEEP);
        self.codes.shrink_to(KEEP);
    }
}

/// One zero when all is good and fresh; otherwise runs of (code, length).
fn put_codes(out: &mut Vec<u8>, codes: &[u8]) {
    if codes.iter().all(|code| *code == 0) {
        return out.push(0);
    }
    let runs = || codes.chunk_by(|a, b| a == b);
    put_varint(out, runs().count() as u64);
    for run in runs() {
        out.push(run[0]);
        put_varint(out, run.len() as u64);
    }
}

fn read_codes(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u8>, Malformed> {
    let runs = reader.count(count)?;
    if runs == 0 {
        return Ok(vec![0; count]);
    }
    let mut codes = Vec::with_capacity(count);
    for _ in 0..runs {
        let code = reader.byte()?;
        let length = reader.count(count - codes.len())?;
        codes.resize(codes.len() + length, code);
    }
    if codes.len() == count { Ok(codes) } else { Err(Malformed("qualities are missing")) }
}

/// A block's columns, taken apart.
struct Columns {
    times: Vec<i64>,
    codes: Vec<u8>,
    /// How many values each tag has; what is omitted is not among them.
    written: Vec<usize>,
    values: Vec<f64>,
}

/// The tags of a block and how many samples each has.
fn read_runs(reader: &mut Reader<'_>) -> Result<Vec<(TagId, usize)>, Malformed> {
    let count = reader.count(MAX_SAMPLES)?;
    let tag_count = reader.count(count)?;
    let mut runs = Vec::with_capacity(tag_count);
    let mut tag = 0u64;
    for _ in 0..tag_count {
        tag = tag.saturating_add(reader.varint()?);
        let tag = u32::try_from(tag).map_err(|_| Malformed("a tag id is too large"))?;
        runs.push((TagId(tag), 0));
    }
    let mut left = count;
    for (_, length) in &mut runs {
        *length = reader.count(left)?;
        left -= *length;
    }
    if left > 0 {
        return Err(Malformed("the runs do not add up"));
    }
    Ok(runs)
}

fn read_columns(reader: &mut Reader<'_>, runs: &[(TagId, usize)]) -> Result<Columns, Malformed> {
    let lengths: Vec<usize> = runs.iter().map(|(_, length)| *length).collect();
    let times = time::read(reader, &lengths)?;
    let codes = read_codes(reader, lengths.iter().sum())?;
    let mut written = Vec::with_capacity(lengths.len());
    let mut start = 0;
    for length in &lengths {
        let codes = &codes[start..start + length];
        written.push(codes.iter().filter(|code| *code & OMITTED == 0).count());
        start += length;
    }
    let values = value::read(reader, &written)?;
    Ok(Columns { times, codes, written, values })
}

fn stored(
    tag: TagId,
    time: i64,
    code: u8,
    values: &mut impl Iterator<Item = f64>,
) -> Result<Stored, Malformed> {
    let value = match code & OMITTED {
        0 => values.next().ok_or(Malformed("values are missing"))?,
        _ => f64::NAN,
    };
    let quality = Quality::from_u8(code & 3).ok_or(Malformed("a quality is unknown"))?;
    let sample = Sample { time: Timestamp::from_nanos(time), value, tag, quality };
    Ok(Stored { sample, stale: code & STALE != 0 })
}

/// All samples of a block in tag order.
pub(super) fn decode(data: &[u8]) -> Result<Vec<Stored>, Malformed> {
    let mut reader = Reader::new(data);
    let runs = read_runs(&mut reader)?;
    let Columns { times, codes, values, .. } = read_columns(&mut reader, &runs)?;
    let mut values = values.into_iter();
    let by_tag = runs.iter().flat_map(|(tag, length)| std::iter::repeat_n(*tag, *length));
    by_tag
        .zip(times)
        .zip(codes)
        .map(|((tag, time), code)| stored(tag, time, code, &mut values))
        .collect()
}

/// The samples of one tag; a block without it is not read further than its list of tags.
pub(super) fn decode_tag(data: &[u8], tag: TagId) -> Result<Vec<Stored>, Malformed> {
    let mut reader = Reader::new(data);
    let runs = read_runs(&mut reader)?;
    if runs.iter().all(|(other, _)| *other != tag) {
        return Ok(Vec::new());
    }
    let Columns { times, codes, written, values } = read_columns(&mut reader, &runs)?;
    let (mut samples, mut start, mut value_start) = (Vec::new(), 0, 0);
    for ((other, length), written) in runs.iter().zip(written) {
        let run = start..start + length;
        if *other == tag {
            let mut values = values[value_start..value_start + written].iter().copied();
            for (time, code) in times[run.clone()].iter().zip(&codes[run.clone()]) {
                samples.push(stored(tag, *time, *code, &mut values)?);
            }
        }
        (start, value_start) = (run.end, value_start + written);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests;
