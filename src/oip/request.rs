//! An inference request: JSON, and after it the binary tensors that it announces.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::cells::Cells;
use super::tensor::{DataType, Tensor};
use super::{Invalid, binary};

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: Option<String>,
    pub inputs: Vec<Tensor>,
    /// Empty: all that the model has.
    pub outputs: Vec<Wanted>,
    /// How outputs leave that do not say it themselves.
    pub binary_output: bool,
    /// How long the request may wait, if it says so.
    pub timeout: Option<Duration>,
}

/// An output that the client names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub binary: bool,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<RawTensor>,
    #[serde(default)]
    outputs: Vec<RawOutput>,
}

#[derive(Deserialize)]
pub(super) struct RawTensor {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default, deserialize_with = "absent_or_null")]
    parameters: Map<String, Value>,
    data: Option<Cells>,
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Some servers write `null` for what they have not.
fn absent_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads `body`; `header` is its JSON's length where binary tensors follow.
pub fn parse(body: &[u8], header: Option<usize>) -> Result<Request, Invalid> {
    let length = header.unwrap_or(body.len());
    let Some((json, mut binary)) = body.split_at_checked(length) else {
        return Invalid::new(format!(
            "Inference-Header-Content-Length is {length}, and the body has {} bytes",
            body.len()
        ));
    };
    let raw: Raw = serde_json::from_slice(json)
        .map_err(|error| Invalid(format!("the request's JSON cannot be read: {error}")))?;
    no_sequence(&raw.parameters)?;
    let binary_output =
        flag(&raw.parameters, "binary_data_output", "the request")?.unwrap_or(false);
    let timeout = timeout(&raw.parameters)?;
    let inputs = raw
        .inputs
        .into_iter()
        .map(|input| input.read(&mut binary))
        .collect::<Result<Vec<_>, _>>()?;
    if !binary.is_empty() {
        return Invalid::new(format!(
            "{} bytes are left over behind the last binary tensor",
            binary.len()
        ));
    }
    let wanted = |output: RawOutput| {
        refuse(&output.parameters, &output.name, "classification")?;
        refuse(&output.parameters, &output.name, "shared_memory_region")?;
        let binary = flag(&output.parameters, "binary_data", &output.name)?;
        Ok(Wanted { name: output.name, binary: binary.unwrap_or(binary_output) })
    };
    let outputs = raw.outputs.into_iter().map(wanted).collect::<Result<_, _>>()?;
    Ok(Request { id: raw.id, inputs, outputs, binary_output, timeout })
}

impl RawTensor {
    fn read(self, binary: &mut &[u8]) -> Result<Tensor, Invalid> {
        refuse(&self.parameters, &self.name, "shared_memory_region")?;
        self.tensor("input", binary)
    }

    /// Takes its bytes from the front of `binary`, if it has any there. `role` is for the errors.
    pub(super) fn tensor(self, role: &str, binary: &mut &[u8]) -> Result<Tensor, Invalid> {
        let Self { name, shape, datatype, parameters, data } = self;
        let of = format!("{role} `{name}`");
        let kind = DataType::parse(&datatype, &of)?;
        let (dims, count) = dims(&of, &shape)?;
        let size = parameters.get("binary_data_size");
        let data = match (data, size) {
            (Some(_), Some(_)) => {
                return Invalid::new(format!(
                    "{of} has both `data` and `binary_data_size`; send one of them"
                ));
            }
            (None, None) => {
                return Invalid::new(format!("{of} has no `data`"));
            }
            (Some(cells), None) => cells.typed(&of, kind, count)?,
            (None, Some(size)) => {
                let taken = size
                    .as_u64()
                    .and_then(|size| binary.split_at_checked(usize::try_from(size).ok()?));
                let Some((own, rest)) = taken else {
                    return Invalid::new(format!(
                        "{of}: binary_data_size is {size}, and {} bytes are left",
                        binary.len()
                    ));
                };
                *binary = rest;
                binary::decode(&of, kind, count, own)?
            }
        };
        Ok(Tensor { name, shape: dims, data })
    }
}

/// The dimensions, and how many elements they make.
pub(super) fn dims(of: &str, shape: &[i64]) -> Result<(Vec<usize>, usize), Invalid> {
    let wrong = || Invalid(format!("{of}: shape {shape:?} cannot be"));
    let dims = shape
        .iter()
        .map(|dim| usize::try_from(*dim).map_err(|_| wrong()))
        .collect::<Result<Vec<_>, _>>()?;
    let count = dims
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
        .ok_or_else(wrong)?;
    Ok((dims, count))
}

pub(super) fn timeout(parameters: &Map<String, Value>) -> Result<Option<Duration>, Invalid> {
    let timeout = parameters.get("timeout").map(|value| {
        let micros = value.as_u64().filter(|micros| *micros > 0);
        micros.map(Duration::from_micros).ok_or_else(|| {
            Invalid(format!("parameter `timeout` is {value}; write microseconds from 1"))
        })
    });
    timeout.transpose()
}

fn flag(parameters: &Map<String, Value>, key: &str, of: &str) -> Result<Option<bool>, Invalid> {
    let value = parameters.get(key);
    value
        .map(|value| {
            value.as_bool().ok_or_else(|| {
                Invalid(format!("{of}: parameter `{key}` is {value}; write true or false"))
            })
        })
        .transpose()
}

pub(super) fn refuse(parameters: &Map<String, Value>, of: &str, key: &str) -> Result<(), Invalid> {
    if parameters.contains_key(key) {
        return Invalid::new(format!("`{of}`: parameter `{key}` is not served here"));
    }
    Ok(())
}

pub(super) fn no_sequence(parameters: &Map<String, Value>) -> Result<(), Invalid> {
    match parameters.get("sequence_id") {
        Some(id) if id.as_u64() != Some(0) && id.as_str() != Some("") => {
            Invalid::new("the model keeps no state: leave `sequence_id` out")
        }
        _ => Ok(()),
    }
}
