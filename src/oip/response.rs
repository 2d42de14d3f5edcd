//! An inference response: JSON, and after it the outputs that were asked for as binary data.

use serde::Serialize;
use serde_json::Value;

use super::request::Request;
use super::tensor::Tensor;
use super::{Invalid, binary, cells};

/// A response's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// The JSON's length, where binary tensors follow it.
    pub header: Option<usize>,
}

/// The answer of version `version` of `model` to `request`.
pub fn encode(
    request: &Request,
    model: &str,
    version: &str,
    outputs: &[Tensor],
) -> Result<Body, Invalid> {
    let mut tail = Vec::new();
    let mut any_binary = false;
    let mut told = Vec::with_capacity(outputs.len());
    for output in outputs {
        let wanted = request.outputs.iter().find(|wanted| wanted.name == output.name);
        let (mut data, mut parameters) = (None, None);
        if wanted.map_or(request.binary_output, |wanted| wanted.binary) {
            any_binary = true;
            let before = tail.len();
            binary::encode(&output.data, &mut tail);
            parameters = Some(Parameters { binary_data_size: tail.len() - before });
        } else {
            data = Some(cells::json(&output.name, &output.data)?);
        }
        let (name, datatype) = (&output.name, output.data.kind().word());
        told.push(Output { data, datatype, name, parameters, shape: &output.shape });
    }
    let id = request.id.as_deref();
    let whole = Whole { id, model_name: model, model_version: version, outputs: told };
    let mut bytes = serde_json::to_vec(&whole).expect("text and numbers make JSON");
    let header = any_binary.then_some(bytes.len());
    bytes.append(&mut tail);
    Ok(Body { bytes, header })
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    model_name: &'a str,
    model_version: &'a str,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    datatype: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
    shape: &'a [usize],
}

#[derive(Serialize)]
struct Parameters {
    binary_data_size: usize,
}
