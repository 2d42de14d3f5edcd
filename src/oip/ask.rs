//! An inference request as a client writes it.

use serde_json::{Value, json};

use super::response::Body;
use super::tensor::Tensor;
use super::{Invalid, binary, cells};

/// What is asked of a model; its name and version stand in the path.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Comes back with the answer.
    pub id: String,
    pub inputs: Vec<Tensor>,
    /// The outputs that are wanted.
    pub outputs: Vec<String>,
}

/// The request's bytes; with `binary`, tensors travel as bytes both ways, for servers that can.
pub fn question(question: &Question, binary: bool) -> Result<Body, Invalid> {
    let mut tail = Vec::new();
    let mut inputs = Vec::with_capacity(question.inputs.len());
    for Tensor { name, shape, data } in &question.inputs {
        let datatype = data.kind().word();
        let mut input = json!({ "name": name, "shape": shape, "datatype": datatype });
        if binary {
            let before = tail.len();
            binary::encode(data, &mut tail);
            input["parameters"] = json!({ "binary_data_size": tail.len() - before });
        } else {
            input["data"] = cells::json(name, data)?;
        }
        inputs.push(input);
    }
    let output = |name: &String| match binary {
        true => json!({ "name": name, "parameters": { "binary_data": true } }),
        false => json!({ "name": name }),
    };
    let outputs: Vec<Value> = question.outputs.iter().map(output).collect();
    let whole = json!({ "id": question.id, "inputs": inputs, "outputs": outputs });
    let mut bytes = whole.to_string().into_bytes();
    let header = binary.then_some(bytes.len());
    bytes.append(&mut tail);
    Ok(Body { bytes, header })
}
