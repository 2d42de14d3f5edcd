use prost::Message;

use super::infer::{Choice, Contents, InputTensor, Parameter};
use super::*;
use crate::oip::{Data, Tensor};

fn request(input: InputTensor, raw: Vec<&'static [u8]>) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "conv".into(),
        inputs: vec![input],
        raw_input_contents: raw.into_iter().map(bytes::Bytes::from_static).collect(),
        ..ModelInferRequest::default()
    }
}

fn input(datatype: &str, shape: &[i64], contents: Option<Contents>) -> InputTensor {
    InputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents,
        ..InputTensor::default()
    }
}

fn refused(request: ModelInferRequest) -> String {
    read(request).unwrap_err().0
}

#[test]
fn raw_and_typed_contents_are_the_same_tensor() {
    let raw = request(input("INT16", &[1, 2], None), vec![&[1, 0, 254, 255]]);
    let contents = Contents { ints: vec![1, -2], ..Contents::default() };
    let typed = request(input("INT16", &[1, 2], Some(contents)), vec![]);
    let expected = Tensor { name: "x".into(), shape: vec![1, 2], data: Data::Int16(vec![1, -2]) };
    assert_eq!(read(raw).unwrap().inputs, std::slice::from_ref(&expected));
    assert_eq!(read(typed).unwrap().inputs, [expected]);
}

#[test]
fn a_request_that_contradicts_itself_is_told_what_and_where() {
    let floats = |count| Contents { fp32s: vec![0.5; count], ..Contents::default() };
    let short = request(input("FP32", &[3], Some(floats(2))), vec![]);
    assert_eq!(
        refused(short),
        "input `x`: its shape has 3 elements, `contents` has 2 of FP32 and 0 others"
    );
    let other_list = request(input("FP64", &[2], Some(floats(2))), vec![]);
    assert!(refused(other_list).ends_with("0 of FP64 and 2 others"));
    let both = request(input("FP32", &[1], Some(floats(1))), vec![&[0; 4]]);
    assert!(refused(both).contains("both `contents` and `raw_input_contents`"));
    let wide = Contents { uints: vec![256], ..Contents::default() };
    let wide = request(input("UINT8", &[1], Some(wide)), vec![]);
    assert_eq!(refused(wide), "input `x`: 256 is no UINT8");
    let two = request(input("UINT8", &[1], None), vec![&[0], &[0]]);
    assert_eq!(refused(two), "expected raw_input_contents for each of 1 inputs, got 2");
    let vast = request(input("FP32", &[i64::MAX, i64::MAX], None), vec![&[0; 4]]);
    assert!(refused(vast).contains("cannot be"));
}

#[test]
fn parameters_are_judged_as_in_json() {
    let with = |name: &str, choice| {
        let mut request = request(input("UINT8", &[1], None), vec![&[7]]);
        request.parameters.insert(name.into(), Parameter { choice: Some(choice) });
        request
    };
    let timeout = read(with("timeout", Choice::Int64(1500))).unwrap().timeout;
    assert_eq!(timeout, Some(std::time::Duration::from_micros(1500)));
    assert!(refused(with("timeout", Choice::Int64(-1))).contains("microseconds from 1"));
    assert!(refused(with("sequence_id", Choice::Uint64(3))).contains("keeps no state"));
}

#[test]
fn an_answer_reads_back_with_the_published_field_numbers() {
    let outputs = [Tensor { name: "y".into(), shape: vec![1], data: Data::Uint8(vec![9]) }];
    let answer = told(Some("7".into()), "m", "2", &outputs);
    let bytes = answer.encode_to_vec();
    // model_name = 1, model_version = 2, id = 3, outputs = 5, raw_output_contents = 6.
    let expected = [
        &[0x0a, 1, b'm', 0x12, 1, b'2', 0x1a, 1, b'7'][..],
        &[0x2a, 13, 0x0a, 1, b'y', 0x12, 5, b'U', b'I', b'N', b'T', b'8', 0x1a, 1, 1],
        &[0x32, 1, 9],
    ]
    .concat();
    assert_eq!(bytes, expected);
}
