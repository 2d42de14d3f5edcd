//! Inference: requests with typed or raw contents, answers with raw ones.

use std::collections::HashMap;

use prost::{Message, Oneof};
use serde_json::{Map, Value};

use crate::oip::request::{self, Wanted};
use crate::oip::tensor::{Data, DataType, Tensor};
use crate::oip::{Invalid, Request, binary};

#[derive(Clone, PartialEq, Message)]
pub struct ModelInferRequest {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "2")]
    pub model_version: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InputTensor>,
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<RequestedOutput>,
    /// One for each input, or none at all.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InputTensor {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestedOutput {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(map = "string, message", tag = "2")]
    pub parameters: HashMap<String, Parameter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Parameter {
    #[prost(oneof = "Choice", tags = "1, 2, 3, 4, 5")]
    pub choice: Option<Choice>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Choice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// Elements in the list of their kind; narrow integers stand in the 32-bit ones.
#[derive(Clone, PartialEq, Message)]
pub struct Contents {
    #[prost(bool, repeated, tag = "1")]
    pub bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    pub ints: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    pub int64s: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    pub uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    pub uint64s: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    pub fp32s: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    pub fp64s: Vec<f64>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub texts: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ModelInferResponse {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "2")]
    pub model_version: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<OutputTensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub raw_output_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OutputTensor {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Of a server that answers without raw contents; this one does not.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

/// The request that `message` is.
pub fn read(message: ModelInferRequest) -> Result<Request, Invalid> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents, .. } = message;
    let parameters = values(parameters);
    request::no_sequence(&parameters)?;
    let timeout = request::timeout(&parameters)?;
    if !raw_input_contents.is_empty() && raw_input_contents.len() != inputs.len() {
        return Invalid::new(format!(
            "expected raw_input_contents for each of {} inputs, got {}",
            inputs.len(),
            raw_input_contents.len()
        ));
    }
    let mut raw = raw_input_contents.into_iter();
    let input = |input: InputTensor| input.read(raw.next());
    let inputs = inputs.into_iter().map(input).collect::<Result<_, _>>()?;
    let wanted = |output: RequestedOutput| {
        let parameters = values(output.parameters);
        request::refuse(&parameters, &output.name, "classification")?;
        request::refuse(&parameters, &output.name, "shared_memory_region")?;
        Ok(Wanted { name: output.name, binary: true })
    };
    let outputs = outputs.into_iter().map(wanted).collect::<Result<_, _>>()?;
    let id = Some(id).filter(|id| !id.is_empty());
    Ok(Request { id, inputs, outputs, binary_output: true, timeout })
}

/// The answer of version `version` of `model` to the request `id`.
pub fn told(
    id: Option<String>,
    model: &str,
    version: &str,
    outputs: &[Tensor],
) -> ModelInferResponse {
    let raw = |output: &Tensor| {
        let mut bytes = Vec::new();
        binary::encode(&output.data, &mut bytes);
        bytes
    };
    let tensor = |output: &Tensor| OutputTensor {
        name: output.name.clone(),
        datatype: output.data.kind().word().into(),
        shape: dims(&output.shape),
        contents: None,
    };
    ModelInferResponse {
        model_name: model.into(),
        model_version: version.into(),
        id: id.unwrap_or_default(),
        outputs: outputs.iter().map(tensor).collect(),
        raw_output_contents: outputs.iter().map(raw).collect(),
    }
}

/// As the messages have them.
pub(super) fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect()
}

impl InputTensor {
    fn read(self, raw: Option<bytes::Bytes>) -> Result<Tensor, Invalid> {
        let Self { name, datatype, shape, parameters, contents } = self;
        request::refuse(&values(parameters), &name, "shared_memory_region")?;
        let of = format!("input `{name}`");
        let kind = DataType::parse(&datatype, &of)?;
        let (shape, count) = request::dims(&of, &shape)?;
        let data = match (contents, raw) {
            (Some(contents), Some(raw)) if !raw.is_empty() || contents.len() > 0 => {
                return Invalid::new(format!(
                    "{of} has both `contents` and `raw_input_contents`; send one of them"
                ));
            }
            (_, Some(raw)) => binary::decode(&of, kind, count, &raw)?,
            (contents, None) => contents.unwrap_or_default().typed(&of, kind, count)?,
        };
        Ok(Tensor { name, shape, data })
    }
}

impl Contents {
    pub(super) fn len(&self) -> usize {
        let numbers = self.ints.len() + self.int64s.len() + self.uints.len() + self.uint64s.len();
        numbers + self.bools.len() + self.fp32s.len() + self.fp64s.len() + self.texts.len()
    }

    pub(super) fn typed(self, of: &str, kind: DataType, count: usize) -> Result<Data, Invalid> {
        let all = self.len();
        let data = match kind {
            DataType::Bool => Data::Bool(self.bools),
            DataType::Uint8 => Data::Uint8(narrow(of, kind, &self.uints)?),
            DataType::Uint16 => Data::Uint16(narrow(of, kind, &self.uints)?),
            DataType::Uint32 => Data::Uint32(self.uints),
            DataType::Uint64 => Data::Uint64(self.uint64s),
            DataType::Int8 => Data::Int8(narrow(of, kind, &self.ints)?),
            DataType::Int16 => Data::Int16(narrow(of, kind, &self.ints)?),
            DataType::Int32 => Data::Int32(self.ints),
            DataType::Int64 => Data::Int64(self.int64s),
            DataType::Fp32 => Data::Fp32(self.fp32s),
            DataType::Fp64 => Data::Fp64(self.fp64s),
            DataType::Bytes => {
                let text = |(at, bytes): (usize, &bytes::Bytes)| binary::text_of(of, at, bytes);
                Data::Bytes(self.texts.iter().enumerate().map(text).collect::<Result<_, _>>()?)
            }
        };
        if data.len() == count && all == count {
            return Ok(data);
        }
        Invalid::new(format!(
            "{of}: its shape has {count} elements, `contents` has {} of {kind} and {} \
             others",
            data.len(),
            all - data.len()
        ))
    }
}

fn narrow<W: Copy + std::fmt::Display, N: TryFrom<W>>(
    of: &str,
    kind: DataType,
    wide: &[W],
) -> Result<Vec<N>, Invalid> {
    let element =
        |wide: &W| N::try_from(*wide).map_err(|_| Invalid(format!("{of}: {wide} is no {kind}")));
    wide.iter().map(element).collect()
}

/// As the JSON form has them, so that both are judged by the same code.
fn values(parameters: HashMap<String, Parameter>) -> Map<String, Value> {
    let value = |parameter: Parameter| match parameter.choice {
        None => Value::Null,
        Some(Choice::Bool(value)) => value.into(),
        Some(Choice::Int64(value)) => value.into(),
        Some(Choice::String(value)) => value.into(),
        Some(Choice::Double(value)) => value.into(),
        Some(Choice::Uint64(value)) => value.into(),
    };
    parameters.into_iter().map(|(name, parameter)| (name, value(parameter))).collect()
}
