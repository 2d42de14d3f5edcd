//! What a server answers, read by a client: tensors, metadata, refusals.
//!
//! The server is believed in nothing: sizes are checked before anything is allocated for them.

use serde::Deserialize;
use serde_json::Value;

use super::Invalid;
use super::request::RawTensor;
use super::tensor::Tensor;

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: Option<String>,
    pub model: Option<String>,
    pub version: Option<String>,
    pub outputs: Vec<Tensor>,
}

/// What a server says of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// A tensor that a model takes or gives; -1 stands for a dimension of any size.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Port {
    pub name: String,
    /// The server's word, which may be none of those served here.
    pub datatype: String,
    pub shape: Vec<i64>,
}

#[derive(Deserialize)]
struct RawAnswer {
    id: Option<String>,
    model_name: Option<String>,
    model_version: Option<String>,
    outputs: Vec<RawTensor>,
}

/// Reads an inference's answer; `header` is its JSON's length where binary tensors follow.
pub fn read_answer(body: &[u8], header: Option<usize>) -> Result<Answer, Invalid> {
    let length = header.unwrap_or(body.len());
    let Some((json, mut binary)) = body.split_at_checked(length) else {
        return Invalid::new(format!(
            "Inference-Header-Content-Length is {length}, and the answer has {} bytes",
            body.len()
        ));
    };
    let raw: RawAnswer = serde_json::from_slice(json)
        .map_err(|error| Invalid(format!("the answer's JSON cannot be read: {error}")))?;
    let outputs = raw
        .outputs
        .into_iter()
        .map(|output| output.tensor("output", &mut binary))
        .collect::<Result<_, _>>()?;
    if !binary.is_empty() {
        return Invalid::new(format!(
            "{} bytes are left over behind the last binary tensor",
            binary.len()
        ));
    }
    let RawAnswer { id, model_name: model, model_version: version, .. } = raw;
    Ok(Answer { id, model, version, outputs })
}

/// Reads a model's metadata.
pub fn describe(body: &[u8]) -> Result<Described, Invalid> {
    #[derive(Deserialize)]
    struct Raw {
        name: String,
        inputs: Option<Vec<Port>>,
        outputs: Option<Vec<Port>>,
    }
    let Raw { name, inputs, outputs } = serde_json::from_slice(body)
        .map_err(|error| Invalid(format!("the model's metadata cannot be read: {error}")))?;
    let (inputs, outputs) = (inputs.unwrap_or_default(), outputs.unwrap_or_default());
    Ok(Described { name, inputs, outputs })
}

/// What a server can beyond the protocol, out of its metadata; one that does not say can nothing.
pub fn extensions(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        extensions: Vec<String>,
    }
    serde_json::from_slice(body).map(|raw: Raw| raw.extensions).unwrap_or_default()
}

/// What a refusal says, short enough for a line of the log.
pub fn refusal(body: &[u8]) -> String {
    const MOST: usize = 200;
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let text = told.and_then(|told| {
        let text = told.get("error").or_else(|| told.get("detail"))?;
        Some(text.as_str().map_or_else(|| text.to_string(), str::to_owned))
    });
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}
