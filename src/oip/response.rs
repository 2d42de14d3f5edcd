//! An inference response: JSON, and after it the outputs that were asked for as binary data.

use serde_json::{Map, Value, json};

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
        let mut body = Map::new();
        body.insert("name".into(), output.name.as_str().into());
        body.insert("datatype".into(), output.data.kind().word().into());
        body.insert("shape".into(), output.shape.clone().into());
        if wanted.map_or(request.binary_output, |wanted| wanted.binary) {
            any_binary = true;
            let before = tail.len();
            binary::encode(&output.data, &mut tail);
            let size = json!({ "binary_data_size": tail.len() - before });
            body.insert("parameters".into(), size);
        } else {
            body.insert("data".into(), cells::json(&output.name, &output.data)?);
        }
        told.push(Value::Object(body));
    }
    let mut whole = Map::new();
    if let Some(id) = &request.id {
        whole.insert("id".into(), id.as_str().into());
    }
    whole.insert("model_name".into(), model.into());
    whole.insert("model_version".into(), version.into());
    whole.insert("outputs".into(), told.into());
    let mut bytes = Value::Object(whole).to_string().into_bytes();
    let header = any_binary.then_some(bytes.len());
    bytes.append(&mut tail);
    Ok(Body { bytes, header })
}
