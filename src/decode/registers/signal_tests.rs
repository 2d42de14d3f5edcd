use super::*;
use crate::settings::{Numbering, RateUnit};

const GOOD: Quality = Quality::Good;

fn try_signal(text: &str) -> Result<Signal, Vec<SignalError>> {
    let register: Register = toml::from_str(&format!("tag = \"t\"\n{text}")).unwrap();
    let field = Field::parse(&register.address, Numbering::ZeroBased).unwrap();
    Signal::new(&register, field, WordOrder::Abcd)
}

fn signal(text: &str) -> Signal {
    try_signal(text).unwrap()
}

fn read(text: &str, words: &[u16]) -> (f64, Quality) {
    signal(text).read(words, None, Duration::ZERO)
}

fn assert_missing((value, quality): (f64, Quality)) {
    assert!(value.is_nan() && quality == Quality::Bad, "{value} {quality:?}");
}

#[test]
fn a_bit_and_a_bit_field_are_taken_out_of_their_register() {
    assert_eq!(read("address = \"holding:0.10\"", &[0x0400]), (1.0, GOOD));
    assert_eq!(read("address = \"holding:0.10\"", &[0xFBFF]), (0.0, GOOD));
    assert_eq!(read("address = \"holding:0.4-7\"", &[0x12A4]), (10.0, GOOD));
    let wide = "address = \"holding:0.16-31\"\ntype = \"u32\"";
    assert_eq!(read(wide, &[0xBEEF, 0x0001]), (f64::from(0xBEEF), GOOD));
    let all = "address = \"holding:0.0-63\"\ntype = \"u64\"";
    assert_eq!(read(all, &[0, 0, 0, 7]), (7.0, GOOD));
}

#[test]
fn fault_27_a_sentinel_is_missing_whether_written_as_number_or_as_bits() {
    let i16 = "address = \"holding:0\"\ntype = \"i16\"\nscale = 0.1\n";
    assert_missing(read(&format!("{i16}missing = [0x8000]"), &[0x8000]));
    assert_missing(read(&format!("{i16}missing = [-32768]"), &[0x8000]));
    assert_eq!(read(&format!("{i16}missing = [0x8000]"), &[0x8001]), (-32767.0 * 0.1, GOOD));
    assert_missing(read("address = \"holding:0\"\nmissing = [0xFFFF]", &[0xFFFF]));
    let f32 = "address = \"holding:0\"\ntype = \"f32\"\nmissing = [-9999]";
    assert_missing(read(f32, &[0xC61C, 0x3C00]));
    let i32 = "address = \"holding:0\"\ntype = \"i32\"\nmissing = [0x80000000, -1]";
    assert_missing(read(i32, &[0x8000, 0]));
    assert_missing(read(i32, &[0xFFFF, 0xFFFF]));
    assert_eq!(read(i32, &[0, 0]), (0.0, GOOD));
}

#[test]
fn fault_26_nan_and_infinity_are_missing() {
    let f32 = "address = \"holding:0\"\ntype = \"f32\"";
    for words in [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]] {
        assert_missing(read(f32, &words));
    }
    assert_missing(read(f32, &[0x41BC]));
}

#[test]
fn fault_29_a_step_out_of_the_plausible_range_is_missing() {
    let text = "address = \"holding:0\"\nscale = 0.1\nrange = [0, 400]";
    assert_eq!(read(text, &[4000]), (400.0, GOOD));
    assert_missing(read(text, &[4001]));
}

#[test]
fn fault_28_a_wrong_word_order_falls_out_of_the_range() {
    let text = "address = \"holding:0\"\ntype = \"f32\"\nrange = [5, 90]\n";
    assert_eq!(read(text, &[0x41BC, 0x0000]), (23.5, GOOD));
    let swapped = value::encode(RegisterType::F32, WordOrder::Badc, 23.5);
    assert_missing(read(text, &swapped));
    assert_eq!(read(&format!("{text}order = \"BADC\""), &swapped), (23.5, GOOD));
}

#[test]
fn a_number_without_its_label_is_uncertain() {
    let text = "address = \"holding:0\"\nlabels = { 0 = \"Cool\", 1 = \"Heat\" }";
    assert_eq!(read(text, &[1]), (1.0, GOOD));
    assert_eq!(read(text, &[7]), (7.0, Quality::Uncertain));
    assert_eq!(signal(text).label(1.0), Some("Heat"));
}

#[test]
fn a_string_becomes_the_number_of_its_label() {
    let text = "address = \"holding:0\"\ntype = \"string\"\nlength = 2\n\
                labels = { 0 = \"STOP\", 1 = \"RUN\" }";
    assert_eq!(signal(text).width, 2);
    assert_eq!(read(text, &[0x5255, 0x4E00]), (1.0, GOOD));
    assert_missing(read(text, &[0x4142, 0x4300]));
}

#[test]
fn fault_29_a_counter_becomes_a_rate_across_its_wrap() {
    let text = "address = \"holding:0\"\nrate = \"min\"\nscale = 10";
    let signal = signal(text);
    let mut counter = signal.counter().unwrap();
    let mut at =
        |seconds, count| signal.read(&[count], Some(&mut counter), Duration::from_secs(seconds));
    assert_missing(at(1, 65_530));
    assert_eq!(at(2, 4), (10.0 * 60.0 * 10.0, GOOD));
    assert_missing(at(3, 2));
    assert_eq!(at(4, 2), (0.0, GOOD));
    assert_eq!(signal.rate, Some(RateUnit::Min.seconds()));
}

#[test]
fn decimal_counters_wrap_where_their_digits_end() {
    let signal = signal("address = \"holding:0\"\ntype = \"bcd16\"\nrate = \"s\"");
    let mut counter = signal.counter().unwrap();
    let mut at =
        |seconds, count| signal.read(&[count], Some(&mut counter), Duration::from_secs(seconds));
    assert_missing(at(1, 0x9998));
    assert_eq!(at(2, 0x0001), (3.0, GOOD));
    assert_missing(at(3, 0x00FF));
}

#[test]
fn settings_that_do_not_fit_together_are_all_told() {
    let fields = |text: &str| -> Vec<&'static str> {
        try_signal(text).unwrap_err().into_iter().map(|error| error.field).collect()
    };
    assert_eq!(fields("address = \"holding:0.3\"\ntype = \"f32\"\nscale = 0"), ["type", "scale"]);
    assert_eq!(fields("address = \"holding:0.16\""), ["address"]);
    assert_eq!(fields("address = \"coil:0.1\""), ["address"]);
    assert_eq!(fields("address = \"holding:0\"\ntype = \"string\""), ["length", "labels"]);
    assert_eq!(fields("address = \"holding:0\"\nlength = 2"), ["length"]);
    assert_eq!(fields("address = \"holding:0\"\ntype = \"i16\"\nrate = \"s\""), ["rate"]);
    assert_eq!(fields("address = \"coil:0\"\nrate = \"s\""), ["rate"]);
    assert_eq!(fields("address = \"holding:0\"\nwrap = 100"), ["wrap"]);
    assert_eq!(fields("address = \"holding:0\"\nrange = [2, 1]"), ["range"]);
    assert_eq!(fields("address = \"holding:0\"\nlabels = { one = \"a\" }"), ["labels"]);
}
