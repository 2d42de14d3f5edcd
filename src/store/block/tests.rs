use proptest::prelude::*;

use super::*;

fn encode(parts: &[(Vec<Sample>, bool)], effort: Effort) -> Option<Encoded> {
    Encoder::default()
        .encode(parts.iter().map(|(samples, stale)| (samples.as_slice(), *stale)), effort)
}

/// Bits instead of floats, so that NaN equals itself and -0 differs from 0.
fn bits(stored: &[Stored]) -> Vec<(u32, i64, u64, Quality, bool)> {
    stored
        .iter()
        .map(|Stored { sample, stale }| {
            let Sample { time, value, tag, quality } = *sample;
            (tag.0, time.as_nanos(), value.to_bits(), quality, *stale)
        })
        .collect()
}

fn by_tag(parts: &[(Vec<Sample>, bool)]) -> Vec<Stored> {
    let mut all: Vec<Stored> = parts
        .iter()
        .flat_map(|(samples, stale)| {
            samples.iter().map(|sample| Stored { sample: *sample, stale: *stale })
        })
        .collect();
    all.sort_by_key(|stored| stored.sample.tag);
    all
}

fn round_trips(parts: &[(Vec<Sample>, bool)]) {
    for effort in [Effort::Fast, Effort::Compact] {
        let back = encode(parts, effort).map_or(Vec::new(), |block| decode(&block.data).unwrap());
        assert_eq!(bits(&back), bits(&by_tag(parts)));
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-100_000i32..100_000, 0u8..5).prop_map(|(n, d)| f64::from(n) / 10f64.powi(i32::from(d))),
        2 => any::<f32>().prop_map(f64::from),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(f64::NAN),
        1 => Just(-0.0),
        1 => Just(f64::MAX),
        1 => Just(1e15),
    ]
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let time = prop_oneof![
        4 => (0i64..100_000).prop_map(|ms| 1_700_000_000_000_000_000 + ms * 1_000_000),
        1 => any::<i64>(),
    ];
    (0u32..12, time, any_value(), 0u8..3).prop_map(|(tag, time, value, quality)| Sample {
        time: Timestamp::from_nanos(time),
        value,
        tag: TagId(tag * tag * 700),
        quality: Quality::from_u8(quality).unwrap(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_samples_come_back_bit_by_bit(
        parts in prop::collection::vec(
            (prop::collection::vec(any_sample(), 0..300), any::<bool>()), 0..6)
    ) {
        round_trips(&parts);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_other_samples_but_no_panic(
        samples in prop::collection::vec(any_sample(), 1..400),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        for effort in [Effort::Fast, Effort::Compact] {
            let mut data = encode(&[(samples.clone(), false)], effort).unwrap().data;
            for (at, byte) in &damage {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            data.truncate(cut.map_or(data.len(), |cut| cut.index(data.len())));
            let _ = decode(&data);
        }
    }
}

/// `messages` messages a tag group: `groups` assets with ten tags each, as in the benchmark.
fn plant(groups: u32, messages: i64, value: impl Fn(u32, i64) -> f64) -> Vec<(Vec<Sample>, bool)> {
    let mut parts = Vec::new();
    for message in 0..messages {
        for group in 0..groups {
            let time = Timestamp::from_millis(1_700_000_000_000 + message * 50 + i64::from(group));
            let tags = group * 10..group * 10 + 10;
            let samples = tags.map(|tag| Sample::new(TagId(tag), time, value(tag, message)));
            parts.push((samples.collect(), false));
        }
    }
    parts
}

fn noise(tag: u32, message: i64) -> f64 {
    let mixed = (u64::from(tag) << 32 | message.unsigned_abs())
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn regular_decimals_take_less_than_three_bytes_a_sample() {
    let parts = plant(100, 20, |tag, message| {
        (f64::from(tag) + noise(tag, message) * 2.0).mul_add(100.0, 0.0).round() / 100.0
    });
    round_trips(&parts);
    let compact = encode(&parts, Effort::Compact).unwrap();
    assert!(compact.data.len() < 3 * compact.count, "{} bytes", compact.data.len());
}

#[test]
fn floats_of_32_bits_take_at_most_four_bytes_a_sample_and_a_little() {
    let parts = plant(20, 20, |tag, message| {
        #[expect(clippy::cast_possible_truncation, reason = "a register is a 32-bit float")]
        let single = (noise(tag, message) * 50.0) as f32;
        f64::from(single)
    });
    round_trips(&parts);
    let fast = encode(&parts, Effort::Fast).unwrap();
    assert!(fast.data.len() < 5 * fast.count, "{} bytes", fast.data.len());
}

#[test]
fn a_single_sample_takes_few_bytes() {
    let block = encode(&plant(1, 1, |_, _| 1.5), Effort::Compact).unwrap();
    assert!(block.data.len() < 100, "{} bytes", block.data.len());
    assert!(encode(&[], Effort::Fast).is_none());
}

#[test]
fn missing_values_do_not_make_a_decimal_column_expensive() {
    let mut parts = plant(1, 500, |_, message| message as f64 / 10.0);
    for (samples, _) in parts.iter_mut().step_by(7) {
        samples[0] = Sample::missing(samples[0].tag, samples[0].time);
    }
    round_trips(&parts);
    let block = encode(&parts, Effort::Fast).unwrap();
    assert!(block.data.len() < 3 * block.count, "{} bytes", block.data.len());
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture block_speed"]
fn block_speed() {
    for (name, messages, digits) in [("20k", 20, 2), ("100k", 100, 2), ("100k full", 100, 17)] {
        let parts = plant(100, messages, |tag, message| {
            let value = f64::from(tag) + noise(tag, message) * 2.0;
            if digits == 2 { (value * 100.0).round() / 100.0 } else { value }
        });
        for effort in [Effort::Fast, Effort::Compact] {
            let mut encoder = Encoder::default();
            let mut best = std::time::Duration::MAX;
            let mut bytes = 0;
            for _ in 0..20 {
                let start = tokio::time::Instant::now();
                let block =
                    encoder.encode(parts.iter().map(|(s, b)| (s.as_slice(), *b)), effort).unwrap();
                best = best.min(start.elapsed());
                bytes = block.data.len();
            }
            let count = messages as f64 * 1000.0;
            println!(
                "{name} {effort:?}: {:.1} ns and {:.2} bytes a sample",
                best.as_nanos() as f64 / count,
                bytes as f64 / count
            );
        }
    }
}
