//! Samples as Parquet: `time` (UTC, nanoseconds), `asset`, `tag`, `value` (null where missing) and
//! `quality`, in row groups of at most [`GROUP`] rows.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::sample::Sample;

/// Rows that are held in memory before they are written.
const GROUP: usize = 131_072;

const SCHEMA: &str = "message samples {
    required int64 time (timestamp(nanos,true));
    required byte_array asset (string);
    required byte_array tag (string);
    optional double value;
    required byte_array quality (string);
}";

pub(super) struct Rows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    times: Vec<i64>,
    /// Asset, tag and quality.
    texts: [Vec<ByteArray>; 3],
    values: Vec<f64>,
    /// 1 where a row has a value.
    present: Vec<i16>,
}

impl<W: Write + Send> Rows<W> {
    pub(super) fn new(out: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        Ok(Self {
            writer: SerializedFileWriter::new(out, schema, Arc::new(properties))?,
            times: Vec::new(),
            texts: Default::default(),
            values: Vec::new(),
            present: Vec::new(),
        })
    }

    pub(super) fn write(
        &mut self,
        [asset, tag]: &[String; 2],
        sample: &Sample,
        quality: &'static str,
    ) -> Result<(), ParquetError> {
        self.times.push(sample.time.as_nanos());
        for (column, text) in self.texts.iter_mut().zip([asset.as_str(), tag, quality]) {
            column.push(text.into());
        }
        let is_present = !sample.value.is_nan();
        self.values.extend(is_present.then_some(sample.value));
        self.present.push(i16::from(is_present));
        if self.times.len() == GROUP { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<(), ParquetError> {
        self.flush()?;
        self.writer.close()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.times.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let [assets, tags, qualities] = &self.texts;
        let mut at = 0;
        while let Some(mut column) = group.next_column()? {
            match at {
                0 => column.typed::<Int64Type>().write_batch(&self.times, None, None)?,
                1 => column.typed::<ByteArrayType>().write_batch(assets, None, None)?,
                2 => column.typed::<ByteArrayType>().write_batch(tags, None, None)?,
                3 => column.typed::<DoubleType>().write_batch(
                    &self.values,
                    Some(&self.present),
                    None,
                )?,
                _ => column.typed::<ByteArrayType>().write_batch(qualities, None, None)?,
            };
            column.close()?;
            at += 1;
        }
        group.close()?;
        self.times.clear();
        self.texts.iter_mut().for_each(Vec::clear);
        self.values.clear();
        self.present.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::RowAccessor;

    use super::*;
    use crate::tag::TagId;
    use crate::time::Timestamp;

    #[test]
    fn rows_come_back_to_the_last_bit_and_in_several_groups() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut rows = Rows::new(file.reopen().unwrap()).unwrap();
        let name = ["press-1".to_owned(), "flow".to_owned()];
        let count = GROUP + 3;
        for at in 0..count {
            let time = Timestamp::from_nanos(1_700_000_000_000_000_001 + at as i64);
            let sample = match at % 3 {
                0 => Sample::missing(TagId(0), time),
                _ => Sample::new(TagId(0), time, at as f64 * 0.1),
            };
            rows.write(&name, &sample, "good").unwrap();
        }
        rows.finish().unwrap();
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let mut seen = 0;
        for (at, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            assert_eq!(row.get_string(1).unwrap(), "press-1");
            assert_eq!(row.get_string(4).unwrap(), "good");
            match at % 3 {
                0 => assert!(row.get_double(3).is_err()),
                _ => assert_eq!(row.get_double(3).unwrap().to_bits(), (at as f64 * 0.1).to_bits()),
            }
            seen += 1;
        }
        assert_eq!(seen, count);
    }
}
