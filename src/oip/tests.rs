use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        vec(any::<bool>(), 1..9).prop_map(Data::Bool),
        vec(any::<u8>(), 1..9).prop_map(Data::Uint8),
        vec(any::<u16>(), 1..9).prop_map(Data::Uint16),
        vec(any::<u32>(), 1..9).prop_map(Data::Uint32),
        vec(any::<u64>(), 1..9).prop_map(Data::Uint64),
        vec(any::<i8>(), 1..9).prop_map(Data::Int8),
        vec(any::<i16>(), 1..9).prop_map(Data::Int16),
        vec(any::<i32>(), 1..9).prop_map(Data::Int32),
        vec(any::<i64>(), 1..9).prop_map(Data::Int64),
        vec(proptest::num::f32::NORMAL, 1..9).prop_map(Data::Fp32),
        vec(proptest::num::f64::NORMAL, 1..9).prop_map(Data::Fp64),
        vec(".*", 1..5).prop_map(Data::Bytes),
    ]
}

fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
    vec(data(), 1..4).prop_map(|all| {
        let named = |(at, data): (usize, Data)| Tensor {
            name: format!("t{at}"),
            shape: vec![data.len(), 1],
            data,
        };
        all.into_iter().enumerate().map(named).collect()
    })
}

/// An answer's bytes as a request with the same tensors.
fn turned(body: &Body) -> (Vec<u8>, usize) {
    let (json, binary) = body.bytes.split_at(body.header.unwrap_or(body.bytes.len()));
    let mut json: Value = serde_json::from_slice(json).unwrap();
    let outputs = json["outputs"].take();
    let head = json!({ "inputs": outputs }).to_string().into_bytes();
    let length = head.len();
    ([head.as_slice(), binary].concat(), length)
}

fn asking(binary_output: bool) -> Request {
    Request { id: None, inputs: Vec::new(), outputs: Vec::new(), binary_output, timeout: None }
}

fn refusal(body: &Value, binary: &[u8]) -> String {
    let json = body.to_string();
    let whole = [json.as_bytes(), binary].concat();
    parse(&whole, Some(json.len())).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(tensors in tensors(), binary: bool) {
        let body = encode(&asking(binary), "m", "1", &tensors).unwrap();
        prop_assert_eq!(body.header.is_some(), binary);
        let (whole, header) = turned(&body);
        prop_assert_eq!(parse(&whole, Some(header)).unwrap().inputs, tensors);
    }

    #[test]
    fn no_bytes_and_no_header_make_a_panic(
        bytes in vec(any::<u8>(), 0..200),
        header in proptest::option::of(any::<usize>()),
    ) {
        let _refused_or_not = parse(&bytes, header);
    }

    #[test]
    fn a_request_that_is_cut_or_spoilt_is_refused_and_never_a_panic(
        tensors in tensors(), at: prop::sample::Index, byte: u8,
    ) {
        let (mut whole, header) = turned(&encode(&asking(true), "m", "1", &tensors).unwrap());
        let cut = at.index(whole.len());
        prop_assert!(parse(&whole[..cut], Some(header)).is_err());
        whole[cut] = byte;
        let _refused_or_not = parse(&whole, Some(header));
    }
}

#[test]
fn nested_data_and_flat_data_are_the_same() {
    let body = |data: Value| {
        let input = json!({ "name": "x", "shape": [2, 2], "datatype": "FP32", "data": data });
        parse(json!({ "inputs": [input] }).to_string().as_bytes(), None).unwrap().inputs
    };
    assert_eq!(body(json!([[1, 2], [3, 4.5]])), body(json!([1.0, 2.0, 3.0, 4.5])));
}

#[test]
fn sizes_that_lie_are_told() {
    let input = |shape: Value, size: u64| {
        json!({ "inputs": [{ "name": "x", "shape": shape, "datatype": "FP32",
                             "parameters": { "binary_data_size": size } }] })
    };
    assert_eq!(
        refusal(&input(json!([2]), 8), &[0; 4]),
        "input `x`: binary_data_size is 8, and 4 bytes are left"
    );
    assert_eq!(
        refusal(&input(json!([2]), 4), &[0; 4]),
        "input `x`: 2 elements of FP32 take 8 bytes, got 4"
    );
    assert_eq!(
        refusal(&input(json!([1]), 4), &[0; 6]),
        "2 bytes are left over behind the last binary tensor"
    );
    let huge = u64::MAX / 2;
    assert!(refusal(&input(json!([huge, 4]), 4), &[0; 4]).contains("cannot be"));
    assert!(refusal(&input(json!([-1]), 4), &[0; 4]).contains("cannot be"));
    let error = parse(b"{}", Some(3)).unwrap_err().to_string();
    assert_eq!(error, "Inference-Header-Content-Length is 3, and the body has 2 bytes");
}

#[test]
fn text_whose_length_goes_beyond_the_body_is_told() {
    let body = json!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "BYTES",
                                    "parameters": { "binary_data_size": 6 } }] });
    assert_eq!(
        refusal(&body, &[9, 0, 0, 0, b'a', b'b']),
        "input `x`: element 0 says it has 9 bytes, and 2 are left"
    );
}

#[test]
fn numbers_that_the_datatype_cannot_hold_are_told() {
    for (datatype, data, told) in [
        ("UINT8", json!([256]), "256 is no UINT8"),
        ("INT64", json!([1.5]), "1.5 is no INT64"),
        ("UINT32", json!([-1]), "-1 is no UINT32"),
        ("FP32", json!([1e300]), "1e+300 is no FP32"),
        ("BOOL", json!([2]), "numbers cannot be BOOL"),
        ("BYTES", json!([2]), "numbers cannot be BYTES"),
        ("FP32", json!(["a"]), "text cannot be FP32"),
        ("FP32", json!([1, 2]), "its shape has 1 elements, and `data` has 2"),
        ("FP8", json!([1]), "datatype `FP8` is not served here"),
    ] {
        let input = json!({ "name": "x", "shape": [1], "datatype": datatype, "data": data });
        let error = refusal(&json!({ "inputs": [input] }), &[]);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn nan_leaves_as_binary_data_and_not_as_json() {
    let nan = [Tensor { name: "y".into(), shape: vec![1], data: Data::Fp32(vec![f32::NAN]) }];
    let error = encode(&asking(false), "m", "1", &nan).unwrap_err().to_string();
    assert_eq!(error, "output `y` holds NaN, which JSON cannot; ask for binary data");
    let body = encode(&asking(true), "m", "1", &nan).unwrap();
    assert_eq!(body.bytes[body.header.unwrap()..], f32::NAN.to_le_bytes());
}

#[test]
fn a_request_must_fit_the_model() {
    let spec = |name: &str, kind, shape: &[i64]| TensorSpec {
        name: name.into(),
        kind: Some(kind),
        shape: shape.to_vec(),
    };
    let signature = Signature {
        inputs: vec![spec("x", DataType::Fp32, &[-1, 3])],
        outputs: vec![spec("y", DataType::Fp32, &[-1])],
        max_batch: 2,
    };
    let x = |name: &str, shape: &[usize], data| Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        data,
    };
    let floats = |count| Data::Fp32(vec![0.0; count]);
    assert_eq!(signature.check(&[x("x", &[2, 3], floats(6))], ["y"]), Ok(()));
    for (inputs, outputs, told) in [
        (vec![], vec![], "expected 1 inputs (`x`), got 0"),
        (vec![x("z", &[1, 3], floats(3))], vec![], "unexpected input `z`; the model has `x`"),
        (vec![x("x", &[3, 3], floats(9))], vec![], "3 items are more than the model takes"),
        (vec![x("x", &[1, 4], floats(4))], vec![], "expected shape [-1, 3], got [1, 4]"),
        (vec![x("x", &[3], floats(3))], vec![], "expected shape [-1, 3], got [3]"),
        (vec![x("x", &[0, 3], floats(0))], vec![], "has no elements"),
        (vec![x("x", &[1, 3], Data::Int8(vec![0; 3]))], vec![], "expected FP32, got INT8"),
        (vec![x("x", &[1, 3], floats(3))], vec!["w"], "unexpected output `w`; the model has `y`"),
    ] {
        let error = signature.check(&inputs, outputs).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
