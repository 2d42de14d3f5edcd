//! Whether an answer is one to what was asked, and its numbers.

use super::Failure;
use crate::health::RemoteError;
use crate::model::answer::Judge;
use crate::model::graph::Read;
use crate::oip::{Answer, Data, DataType, Tensor};

/// What the answer to one request has to be.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) output: &'a str,
    /// As the server's metadata say; absent where they say nothing.
    pub(super) read: Option<Read>,
    pub(super) shape: Option<&'a [i64]>,
    /// Items that went in.
    pub(super) count: usize,
    /// Numbers an item, where that is known.
    pub(super) width: Option<usize>,
}

impl Expected<'_> {
    /// Appends the numbers to `out`, item after item; gives how many an item has.
    pub(super) fn take(
        &self,
        answer: Answer,
        judge: &Judge,
        out: &mut Vec<f64>,
    ) -> Result<usize, Failure> {
        let name = |what: &str, expected: &str, got: Option<&str>| match got {
            Some(got) if got != expected && !got.is_empty() => {
                Err(mismatch(format!("expected an answer of {what} `{expected}`, got `{got}`")))
            }
            _ => Ok(()),
        };
        name("id", self.id, answer.id.as_deref())?;
        name("model", self.model, answer.model.as_deref())?;
        if let Some(version) = self.version {
            name("version", version, answer.version.as_deref())?;
        }
        let names: Vec<_> = answer.outputs.iter().map(|o| format!("`{}`", o.name)).collect();
        let Some(output) = answer.outputs.into_iter().find(|output| output.name == self.output)
        else {
            let (expected, got) = (self.output, names.join(", "));
            let got = if got.is_empty() { "none".to_owned() } else { got };
            return Err(mismatch(format!("expected the output `{expected}`, got {got}")));
        };
        let width = self.width_of(&output)?;
        self.append(output, judge, out)?;
        Ok(width)
    }

    fn width_of(&self, output: &Tensor) -> Result<usize, Failure> {
        let (name, shape) = (&output.name, &output.shape);
        let fits = |shape: &[i64]| {
            let same = |(expected, got): (&i64, &usize)| {
                *expected < 0 || usize::try_from(*expected) == Ok(*got)
            };
            shape.len() == output.shape.len() && shape.iter().zip(&output.shape).all(same)
        };
        if let Some(expected) = self.shape
            && !fits(expected)
        {
            let message = format!("output `{name}`: expected shape {expected:?}, got {shape:?}");
            return Err(mismatch(message));
        }
        let (items, elements) = (self.count, output.data.len());
        if shape.first() != Some(&items) || elements == 0 {
            return Err(mismatch(format!(
                "output `{name}`: expected {items} items, got shape {shape:?}"
            )));
        }
        let width = elements / items;
        match self.width {
            Some(expected) if expected != width => Err(mismatch(format!(
                "output `{name}`: expected {expected} numbers an item, got {width}"
            ))),
            _ => Ok(width),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "class numbers are small")]
    fn append(&self, output: Tensor, judge: &Judge, out: &mut Vec<f64>) -> Result<(), Failure> {
        let got = output.data.kind();
        let read = match got {
            DataType::Fp32 => Read::Float32,
            DataType::Fp64 => Read::Float64,
            DataType::Int64 => Read::Int64,
            DataType::Bytes => Read::Strings,
            _ => {
                let message = format!(
                    "output `{}`: expected FP32, FP64, INT64 or BYTES, got {got}",
                    output.name
                );
                return Err(mismatch(message));
            }
        };
        if let Some(expected) = self.read
            && expected != read
        {
            let message = format!("output `{}`: expected {expected}, got {got}", output.name);
            return Err(mismatch(message));
        }
        match output.data {
            Data::Fp32(numbers) => out.extend(numbers.into_iter().map(f64::from)),
            Data::Fp64(numbers) => out.extend(numbers),
            Data::Int64(numbers) => out.extend(numbers.into_iter().map(|number| number as f64)),
            Data::Bytes(labels) => out.extend(labels.iter().map(|label| judge.column_of(label))),
            _ => {}
        }
        Ok(())
    }
}

fn mismatch(message: String) -> Failure {
    Failure::new(RemoteError::Mismatch, message)
}
