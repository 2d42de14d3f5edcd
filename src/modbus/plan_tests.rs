use proptest::prelude::*;

use super::*;

fn device(text: &str) -> ModbusDevice {
    let text = format!("asset = \"press\"\naddress = \"tcp://10.0.0.5\"\n{text}");
    toml::from_str(&text).unwrap()
}

/// A device with one register for each `(address, type)`.
fn with(settings: &str, registers: &[(&str, &str)]) -> ModbusDevice {
    let mut text = settings.to_owned();
    for (index, (address, kind)) in registers.iter().enumerate() {
        text += &format!(
            "\n[[register]]\ntag = \"t{index}\"\naddress = \"{address}\"\ntype = \"{kind}\""
        );
    }
    device(&text)
}

/// `(table, start, count, tags)` of each request.
fn shape(plan: &Plan) -> Vec<(&'static str, u16, u16, Vec<usize>)> {
    let of = |r: &Request| {
        (r.table.as_str(), r.start, r.count, r.readings.iter().map(|reading| reading.tag).collect())
    };
    plan.requests.iter().map(of).collect()
}

fn plan(device: &ModbusDevice) -> Plan {
    Plan::build(device).unwrap()
}

#[test]
fn adjacent_registers_are_one_request_whatever_their_order_in_the_file() {
    let device = with("", &[("holding:12", "f64"), ("holding:10", "f32"), ("holding:16", "u16")]);
    assert_eq!(shape(&plan(&device)), [("holding", 10, 7, vec![1, 0, 2])]);
    let at: Vec<u16> = plan(&device).requests[0].readings.iter().map(|r| r.at).collect();
    assert_eq!(at, [0, 2, 6]);
}

#[test]
fn registers_further_apart_than_the_gap_are_two_requests() {
    let registers = [("input:0", "u16"), ("input:9", "u16"), ("input:19", "u16")];
    assert_eq!(
        shape(&plan(&with("", &registers))),
        [("input", 0, 10, vec![0, 1]), ("input", 19, 1, vec![2])]
    );
    assert_eq!(plan(&with("gap = 0", &registers)).requests.len(), 3);
    assert_eq!(plan(&with("gap = 65535", &registers)).requests.len(), 1);
}

#[test]
fn the_four_tables_are_never_joined() {
    let device = with(
        "",
        &[("holding:0", "u16"), ("input:0", "u16"), ("discrete:0", "u16"), ("coil:0", "f64")],
    );
    assert_eq!(
        shape(&plan(&device)),
        [
            ("coil", 0, 1, vec![3]),
            ("discrete", 0, 1, vec![2]),
            ("input", 0, 1, vec![1]),
            ("holding", 0, 1, vec![0])
        ]
    );
}

#[test]
fn no_request_is_longer_than_the_device_allows() {
    let addresses: Vec<String> = (0..50).map(|i| format!("holding:{}", 2 * i)).collect();
    let registers: Vec<(&str, &str)> = addresses.iter().map(|a| (a.as_str(), "f32")).collect();
    assert_eq!(plan(&with("", &registers)).requests.len(), 1);
    let counts: Vec<u16> =
        plan(&with("max_registers = 33", &registers)).requests.iter().map(|r| r.count).collect();
    assert_eq!(counts, [32, 32, 32, 4]);
}

#[test]
fn bits_are_read_two_thousand_at_a_time() {
    let addresses: Vec<String> = (0..2001).map(|i| format!("coil:{i}")).collect();
    let registers: Vec<(&str, &str)> = addresses.iter().map(|a| (a.as_str(), "u16")).collect();
    let counts = |settings| -> Vec<u16> {
        plan(&with(settings, &registers)).requests.iter().map(|r| r.count).collect()
    };
    assert_eq!(counts(""), [2000, 1]);
    assert_eq!(counts("max_registers = 64"), [1024, 977]);
}

#[test]
fn registers_may_overlap_and_repeat() {
    let device = with("", &[("holding:0", "f32"), ("holding:0", "u16"), ("holding:1", "u16")]);
    assert_eq!(shape(&plan(&device)), [("holding", 0, 2, vec![1, 0, 2])]);
    let answer = Answer::Registers(vec![0x41BC, 0x0000]);
    let values: Vec<f64> =
        plan(&device).requests[0].readings.iter().map(|r| r.value(&answer)).collect();
    assert_eq!(values, [f64::from(0x41BC), 23.5, 0.0]);
}

#[test]
fn the_last_register_of_a_table_can_be_read() {
    let device = with("", &[("holding:65535", "u16"), ("holding:65531", "f64")]);
    assert_eq!(shape(&plan(&device)), [("holding", 65531, 5, vec![1, 0])]);
}

#[test]
fn values_are_scaled_in_double_precision() {
    let mut device = with("order = \"CDAB\"", &[("holding:0", "i32"), ("coil:3", "u16")]);
    device.register[0].scale = 0.1;
    device.register[0].offset = -40.0;
    device.register[1].scale = -1.0;
    device.register[1].offset = 1.0;
    let plan = plan(&device);
    let words = Answer::Registers(registers::encode(RegisterType::I32, WordOrder::Cdab, 635.0));
    assert_eq!(plan.requests[1].readings[0].value(&words), 635.0 * 0.1 - 40.0);
    assert_eq!(plan.requests[0].readings[0].value(&Answer::Bits(vec![true; 8])), 0.0);
    assert!(plan.requests[0].readings[0].value(&Answer::Bits(vec![])).is_nan());
}

#[test]
fn a_register_may_have_its_own_order() {
    let mut device = with("", &[("holding:0", "f32")]);
    device.register[0].order = Some(WordOrder::Dcba);
    assert_eq!(plan(&device).requests[0].readings[0].order, WordOrder::Dcba);
}

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let mut device = with(
        "max_registers = 3\ninterval = \"0s\"",
        &[("40101", "u16"), ("holding:65535", "f32"), ("holding:0", "f64"), ("holding:9", "u16")],
    );
    device.address = "10.0.0.5".into();
    device.register[3].tag = "t0".into();
    device.register[3].scale = 0.0;
    let errors = Plan::build(&device).unwrap_err();
    let places: Vec<(Option<usize>, &str)> = errors.iter().map(|e| (e.register, e.field)).collect();
    assert_eq!(
        places,
        [
            (None, "address"),
            (None, "interval"),
            (Some(0), "address"),
            (Some(1), "address"),
            (Some(2), "type"),
            (Some(3), "tag"),
            (Some(3), "scale"),
        ]
    );
    assert!(errors[2].message.contains("`holding:100`"));
    assert!(errors[3].message.contains("`holding:65534`"));
    assert!(Plan::build(&self::device("")).is_err());
}

#[test]
fn a_refused_request_is_cut_at_its_widest_hole_or_else_in_the_middle() {
    let holes = with("", &[("input:0", "u16"), ("input:2", "u16"), ("input:6", "f32")]);
    let (left, right) = plan(&holes).requests[0].split().unwrap();
    assert_eq!((left.start, left.count, left.readings.len()), (0, 3, 2));
    assert_eq!((right.start, right.count, right.readings[0].at), (6, 2, 0));
    assert!(right.split().is_none());

    let dense: Vec<String> = (0..9).map(|i| format!("input:{i}")).collect();
    let dense: Vec<(&str, &str)> = dense.iter().map(|a| (a.as_str(), "u16")).collect();
    let (left, right) = plan(&with("", &dense)).requests[0].split().unwrap();
    assert_eq!((left.count, right.count), (4, 5));
}

proptest! {
    #[test]
    fn every_register_is_read_where_it_lies(
        places in prop::collection::vec((0_usize..4, 0_u16..3000, 0_usize..3), 1..80),
        gap in 0_u16..40,
        max_registers in 4_u16..=125,
        cuts in 0_usize..40,
    ) {
        let kinds = [RegisterType::U16, RegisterType::F32, RegisterType::F64];
        let mut device = device(&format!("gap = {gap}\nmax_registers = {max_registers}"));
        for (index, (table, offset, kind)) in places.iter().enumerate() {
            device.register.push(Register {
                tag: format!("t{index}"),
                address: format!("{}:{offset}", Table::ALL[*table]),
                kind: kinds[*kind],
                order: None,
                scale: 1.0,
                offset: 0.0,
            });
        }
        let mut requests = plan(&device).requests;
        for index in 0..cuts {
            let index = index % requests.len();
            if let Some((left, right)) = requests[index].split() {
                requests[index] = left;
                requests.push(right);
            }
        }
        let mut seen = vec![0; places.len()];
        for request in &requests {
            prop_assert!(request.count >= 1 && request.count <= limit(&device, request.table));
            for reading in &request.readings {
                let (table, offset, _) = places[reading.tag];
                seen[reading.tag] += 1;
                prop_assert_eq!(request.table, Table::ALL[table]);
                prop_assert_eq!(request.start + reading.at, offset);
                prop_assert!(reading.at + request.width(reading) <= request.count);
            }
        }
        prop_assert!(seen.iter().all(|count| *count == 1));
    }
}
