//! What a client asks a server over gRPC, and what it makes of the answer.

use std::collections::HashMap;

use super::infer::{
    Contents, InputTensor, ModelInferRequest, ModelInferResponse, OutputTensor, RequestedOutput,
    dims,
};
use super::messages::{ModelMetadata, TensorMetadata};
use crate::oip::tensor::{Data, DataType, Tensor};
use crate::oip::{Answer, Described, Invalid, Port, Question, binary, request};

/// The request; with `raw`, tensors travel as bytes, and else as typed lists.
pub fn question(
    question: &Question,
    model: &str,
    version: Option<&str>,
    raw: bool,
) -> ModelInferRequest {
    let bytes = |tensor: &Tensor| {
        let mut bytes = Vec::new();
        binary::encode(&tensor.data, &mut bytes);
        bytes.into()
    };
    let input = |tensor: &Tensor| InputTensor {
        name: tensor.name.clone(),
        datatype: tensor.data.kind().word().into(),
        shape: dims(&tensor.shape),
        parameters: HashMap::new(),
        contents: (!raw).then(|| Contents::of(&tensor.data)),
    };
    let output = |name: &String| RequestedOutput { name: name.clone(), parameters: HashMap::new() };
    ModelInferRequest {
        model_name: model.into(),
        model_version: version.unwrap_or_default().into(),
        id: question.id.clone(),
        parameters: HashMap::new(),
        inputs: question.inputs.iter().map(input).collect(),
        outputs: question.outputs.iter().map(output).collect(),
        raw_input_contents: match raw {
            true => question.inputs.iter().map(bytes).collect(),
            false => Vec::new(),
        },
    }
}

/// The server is believed in nothing: sizes are held against shapes.
pub fn read_answer(message: ModelInferResponse) -> Result<Answer, Invalid> {
    let ModelInferResponse { model_name, model_version, id, outputs, raw_output_contents } =
        message;
    if !raw_output_contents.is_empty() && raw_output_contents.len() != outputs.len() {
        return Invalid::new(format!(
            "expected raw_output_contents for each of {} outputs, got {}",
            outputs.len(),
            raw_output_contents.len()
        ));
    }
    let mut raw = raw_output_contents.into_iter();
    let outputs = outputs.into_iter().map(|output| output.read(raw.next()));
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Answer {
        id: told(id),
        model: told(model_name),
        version: told(model_version),
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

/// What a server says of a model.
pub fn described(metadata: ModelMetadata) -> Described {
    let port = |tensor: TensorMetadata| {
        let TensorMetadata { name, datatype, shape } = tensor;
        Port { name, datatype, shape }
    };
    let ModelMetadata { name, inputs, outputs, .. } = metadata;
    Described {
        name,
        inputs: inputs.into_iter().map(port).collect(),
        outputs: outputs.into_iter().map(port).collect(),
    }
}

impl OutputTensor {
    fn read(self, raw: Option<Vec<u8>>) -> Result<Tensor, Invalid> {
        let Self { name, datatype, shape, contents } = self;
        let of = format!("output `{name}`");
        let kind = DataType::parse(&datatype, &of)?;
        let (shape, count) = request::dims(&of, &shape)?;
        let data = match (contents, raw) {
            (Some(contents), _) if contents.len() > 0 => contents.typed(&of, kind, count)?,
            (_, Some(raw)) => binary::decode(&of, kind, count, &raw)?,
            (contents, None) => contents.unwrap_or_default().typed(&of, kind, count)?,
        };
        Ok(Tensor { name, shape, data })
    }
}

impl Contents {
    fn of(data: &Data) -> Self {
        fn wide<N: Copy, W: From<N>>(numbers: &[N]) -> Vec<W> {
            numbers.iter().map(|number| W::from(*number)).collect()
        }
        let mut contents = Self::default();
        match data {
            Data::Bool(bools) => contents.bools.clone_from(bools),
            Data::Uint8(numbers) => contents.uints = wide(numbers),
            Data::Uint16(numbers) => contents.uints = wide(numbers),
            Data::Uint32(numbers) => contents.uints.clone_from(numbers),
            Data::Uint64(numbers) => contents.uint64s.clone_from(numbers),
            Data::Int8(numbers) => contents.ints = wide(numbers),
            Data::Int16(numbers) => contents.ints = wide(numbers),
            Data::Int32(numbers) => contents.ints.clone_from(numbers),
            Data::Int64(numbers) => contents.int64s.clone_from(numbers),
            Data::Fp32(numbers) => contents.fp32s.clone_from(numbers),
            Data::Fp64(numbers) => contents.fp64s.clone_from(numbers),
            Data::Bytes(texts) => {
                contents.texts =
                    texts.iter().map(|text| text.clone().into_bytes().into()).collect();
            }
        }
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, told};
    use super::*;

    fn asked(data: Data) -> Question {
        let x = Tensor { name: "x".into(), shape: vec![data.len(), 1], data };
        Question { id: "7".into(), inputs: vec![x], outputs: vec!["y".into()] }
    }

    #[test]
    fn a_server_reads_what_a_client_writes_in_both_forms() {
        for data in [
            Data::Bool(vec![true, false]),
            Data::Uint8(vec![0, 255]),
            Data::Int16(vec![-3, 4]),
            Data::Uint64(vec![u64::MAX]),
            Data::Fp32(vec![0.25, -1.0]),
            Data::Fp64(vec![1e300]),
            Data::Bytes(vec!["wear".into(), String::new()]),
        ] {
            let asked = asked(data);
            for raw in [true, false] {
                let request = read(question(&asked, "m", Some("2"), raw)).unwrap();
                assert_eq!(request.inputs, asked.inputs, "raw {raw}");
                assert_eq!((request.id.as_deref(), request.outputs.len()), (Some("7"), 1));
            }
        }
    }

    #[test]
    fn a_client_reads_what_a_server_writes_and_sizes_that_lie_are_told() {
        let outputs = asked(Data::Fp32(vec![0.5, 2.0])).inputs;
        let answer = read_answer(told(Some("7".into()), "m", "2", &outputs)).unwrap();
        assert_eq!((answer.id.as_deref(), answer.version.as_deref()), (Some("7"), Some("2")));
        assert_eq!(answer.outputs, outputs);
        let mut typed = told(None, "m", "", &outputs);
        typed.raw_output_contents.clear();
        typed.outputs[0].contents = Some(Contents::of(&outputs[0].data));
        assert_eq!(read_answer(typed.clone()).unwrap().outputs, outputs);
        typed.outputs[0].shape = vec![3, 1];
        let error = read_answer(typed).unwrap_err().0;
        assert!(error.contains("its shape has 3 elements, `contents` has 2 of FP32"), "{error}");
        let mut short = told(None, "m", "", &outputs);
        short.raw_output_contents[0].pop();
        assert!(read_answer(short.clone()).unwrap_err().0.contains("take 8 bytes, got 7"));
        short.raw_output_contents.push(Vec::new());
        assert!(read_answer(short).unwrap_err().0.contains("each of 1 outputs, got 2"));
    }
}
