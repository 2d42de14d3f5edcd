//! What holds for any payload.

use proptest::prelude::*;

use super::*;

/// Messages that are mostly alike, with everything in them that makes them differ.
fn telemetry_like() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        6 => "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,4})?",
        1 => "[0-9]{15,20}(\\.[0-9]{1,9})?",
        1 => "-?[0-9]{1,3}e[+-]?[0-9]{1,3}",
        1 => "true|false|null|\"bar\"|\\{\\}|\\[1\\]|01|1\\.|-|\"",
    ];
    let time = prop_oneof![
        6 => "17000000[0-9]{5}",
        1 => "null|5|17000000[0-9]{5}\\.5|\"then\"|2700000000000",
    ];
    let other = "7|\"m\"|\"n\"|null|\"\\\\u0041\"";
    let space = prop_oneof![6 => Just(""), 1 => Just(" ")];
    (value.clone(), value, time, other, space, 0_u8..12).prop_map(|(a, b, ts, other, s, form)| {
        match form {
            0 => format!("{{\"values\":{{\"a\":{a},\"b\":{b}}}}}"),
            1 => format!("{{\"values\":{{\"b\":{b},\"a\":{a}}},\"ts\":{ts}}}"),
            2 => format!("{{\"ts\":{ts},\"ts\":{ts},\"values\":{{\"a\":{a}}}}}"),
            3 => format!("{{\"ts\":{ts},\"values\":{{\"a\":{a},\"a\":{b}}}}}x"),
            4 => format!("{{\"ts\":{ts},\"values\":{b}}}"),
            _ => format!("{{\"id\":{other},\"ts\":{s}{ts},\"values\":{{\"a\":{a}{s},\"b\":{b}}}}}"),
        }
    })
}

proptest! {
    #[test]
    fn packed_arrays_give_back_what_was_packed(
        values in prop::collection::vec(-1e9_f64..1e9, 1..50), big: bool,
    ) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let mut bench = Bench::new(&[Subscription {
            sample_rate: Some(100.0),
            byte_order: order,
            ..subscription("{asset}/{tag}", PayloadKind::F64)
        }]);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| if big { value.to_be_bytes() } else { value.to_le_bytes() })
            .collect();
        let (samples, _) = bench.samples("a/t", &bytes);
        let read: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn no_payload_makes_a_decoder_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in [PayloadKind::Json, PayloadKind::Samples, PayloadKind::Number, PayloadKind::I32] {
            let mut bench = Bench::new(&[Subscription {
                sample_rate: Some(1.0),
                ..subscription("{asset}/{tag}", kind)
            }]);
            let _ = bench.samples("a/t", &payload);
        }
    }

    #[test]
    fn what_was_learnt_from_other_messages_changes_nothing(
        messages in prop::collection::vec(telemetry_like(), 1..12),
    ) {
        let mut learning = Bench::new(&[telemetry()]);
        for message in messages {
            let mut fresh = Bench::new(&[telemetry()]);
            let (rows, decoded) = learning.read("plant/p/telemetry", &message);
            let (fresh_rows, fresh_decoded) = fresh.read("plant/p/telemetry", &message);
            prop_assert_eq!(format!("{rows:?}"), format!("{fresh_rows:?}"), "{}", message);
            prop_assert_eq!(decoded.rejected, fresh_decoded.rejected);
            prop_assert_eq!(decoded.fault, fresh_decoded.fault);
        }
    }

    #[test]
    fn json_like_payloads_never_panic_and_always_balance(
        payload in "[\\[\\]{}:,\"tsvalue 0-9eE.+-]{0,80}",
    ) {
        for kind in [PayloadKind::Json, PayloadKind::Samples] {
            let mut bench = Bench::new(&[Subscription {
                time: Some("ts".into()),
                ..subscription("{asset}/{tag}", kind)
            }]);
            let _ = bench.samples("a/t", payload.as_bytes());
        }
    }
}
