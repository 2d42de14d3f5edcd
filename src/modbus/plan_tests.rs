use proptest::prelude::*;

use super::*;
use crate::decode::registers::encode;
use crate::settings::{RegisterType, WordOrder};

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
        let Read { table, start, count } = r.read;
        (table.as_str(), start, count, r.readings.iter().map(|reading| reading.tag).collect())
    };
    plan.requests().map(of).collect()
}

fn plan(device: &ModbusDevice) -> Plan {
    Plan::build(device).unwrap()
}

fn requests(device: &ModbusDevice) -> Vec<Request> {
    plan(device).requests().cloned().collect()
}

fn values(request: &Request, answer: &Answer) -> Vec<f64> {
    request.readings.iter().map(|reading| reading.value(answer, None, Duration::ZERO).0).collect()
}

#[test]
fn adjacent_registers_are_one_request_whatever_their_order_in_the_file() {
    let device = with("", &[("holding:12", "f64"), ("holding:10", "f32"), ("holding:16", "u16")]);
    assert_eq!(shape(&plan(&device)), [("holding", 10, 7, vec![1, 0, 2])]);
    let at: Vec<u16> = requests(&device)[0].readings.iter().map(|r| r.at).collect();
    assert_eq!(at, [0, 2, 6]);
}

#[test]
fn registers_further_apart_than_the_gap_are_two_requests() {
    let registers = [("input:0", "u16"), ("input:9", "u16"), ("input:19", "u16")];
    assert_eq!(
        shape(&plan(&with("gap = 8", &registers))),
        [("input", 0, 10, vec![0, 1]), ("input", 19, 1, vec![2])]
    );
    assert_eq!(requests(&with("gap = 0", &registers)).len(), 3);
    assert_eq!(requests(&with("gap = 65535", &registers)).len(), 1);
}

#[test]
fn without_a_gap_the_costs_of_the_line_decide() {
    let far = [("input:0", "u16"), ("input:30", "u16"), ("input:124", "u16")];
    let counts = |device: &ModbusDevice| -> Vec<u16> {
        requests(device).iter().map(|request| request.read.count).collect()
    };
    assert_eq!(counts(&with("", &far)), [31, 1], "94 registers cost more than a round trip");
    let mut line = with("serial = { baud = 9600 }", &far);
    line.address = "rtu:///dev/ttyS0".into();
    assert_eq!(counts(&line), [1, 1, 1], "at 9600 baud 29 registers do too");
    let near = [("input:0", "u16"), ("input:9", "u16")];
    let mut line = with("serial = { baud = 9600 }", &near);
    line.address = "rtu:///dev/ttyS0".into();
    assert_eq!(counts(&line), [10]);
}

#[test]
fn a_thousand_tags_take_the_least_number_of_requests() {
    let addresses: Vec<String> = (0..1000).map(|i| format!("holding:{}", 2 * i)).collect();
    let registers: Vec<(&str, &str)> = addresses.iter().map(|a| (a.as_str(), "f32")).collect();
    assert_eq!(requests(&with("", &registers)).len(), 17, "2000 registers, 124 in each request");
    assert_eq!(requests(&with("max_registers = 32", &registers)).len(), 63);
}

#[test]
fn tags_of_different_intervals_are_asked_apart() {
    let mut device = with("interval = \"100ms\"", &[("holding:0", "u16"), ("holding:1", "u16")]);
    device.register[0].interval = Some(Duration::from_secs(10));
    let plan = plan(&device);
    let intervals: Vec<Duration> = plan.cadences.iter().map(|cadence| cadence.interval).collect();
    assert_eq!(intervals, [Duration::from_millis(100), Duration::from_secs(10)]);
    assert_eq!(shape(&plan), [("holding", 1, 1, vec![1]), ("holding", 0, 1, vec![0])]);
    assert!(plan.load() > 0.01 && plan.load() < 0.02, "{}", plan.load());
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
    assert_eq!(requests(&with("", &registers)).len(), 1);
    let counts: Vec<u16> =
        requests(&with("max_registers = 33", &registers)).iter().map(|r| r.read.count).collect();
    assert_eq!(counts, [32, 32, 32, 4]);
}

#[test]
fn bits_are_read_two_thousand_at_a_time() {
    let addresses: Vec<String> = (0..2001).map(|i| format!("coil:{i}")).collect();
    let registers: Vec<(&str, &str)> = addresses.iter().map(|a| (a.as_str(), "u16")).collect();
    let counts = |settings| -> Vec<u16> {
        requests(&with(settings, &registers)).iter().map(|r| r.read.count).collect()
    };
    assert_eq!(counts(""), [2000, 1]);
    assert_eq!(counts("max_registers = 64"), [1024, 977]);
}

#[test]
fn registers_may_overlap_and_repeat() {
    let device = with("", &[("holding:0", "f32"), ("holding:0", "u16"), ("holding:1", "u16")]);
    assert_eq!(shape(&plan(&device)), [("holding", 0, 2, vec![1, 0, 2])]);
    let answer = Answer::Registers(vec![0x41BC, 0x0000]);
    assert_eq!(values(&requests(&device)[0], &answer), [f64::from(0x41BC), 23.5, 0.0]);
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
    let requests = requests(&device);
    let words = Answer::Registers(encode(RegisterType::I32, WordOrder::Cdab, 635.0));
    assert_eq!(values(&requests[1], &words), [635.0 * 0.1 - 40.0]);
    assert_eq!(values(&requests[0], &Answer::Bits(vec![true])), [0.0]);
    assert!(values(&requests[0], &Answer::Bits(vec![]))[0].is_nan());
}

#[test]
fn a_register_may_have_its_own_order() {
    let mut device = with("", &[("holding:0", "f32")]);
    device.register[0].order = Some(WordOrder::Dcba);
    assert_eq!(requests(&device)[0].readings[0].signal.order, WordOrder::Dcba);
}

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let mut device = with(
        "max_registers = 3\ninterval = \"0s\"",
        &[("holding", "u16"), ("holding:65535", "f32"), ("holding:0", "f64"), ("holding:9", "u16")],
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
    let (left, right) = requests(&holes)[0].split().unwrap();
    assert_eq!((left.read.start, left.read.count, left.readings.len()), (0, 3, 2));
    assert_eq!((right.read.start, right.read.count, right.readings[0].at), (6, 2, 0));
    assert!(right.split().is_none());

    let dense: Vec<String> = (0..9).map(|i| format!("input:{i}")).collect();
    let dense: Vec<(&str, &str)> = dense.iter().map(|a| (a.as_str(), "u16")).collect();
    let (left, right) = requests(&with("", &dense))[0].split().unwrap();
    assert_eq!((left.read.count, right.read.count), (4, 5));
}

proptest! {
    #[test]
    fn no_other_partition_is_cheaper(
        places in prop::collection::vec((0_u16..300, 0_usize..3), 1..9),
        max_registers in 4_u16..=125,
        serial: bool,
    ) {
        let kinds = [RegisterType::U16, RegisterType::F32, RegisterType::F64];
        let mut device = device(&format!("max_registers = {max_registers}"));
        if serial {
            device.address = "rtu:///dev/ttyS0".into();
        }
        let mut spans = Vec::new();
        for (index, (offset, kind)) in places.iter().enumerate() {
            let register = Register::new(format!("t{index}"), format!("holding:{offset}"));
            spans.push((*offset, offset + crate::decode::registers::width(kinds[*kind])));
            device.register.push(Register { kind: kinds[*kind], ..register });
        }
        spans.sort_unstable();
        let plan = plan(&device);
        let found: Duration = plan.cadences[0].time(&plan.line);
        // Every set of cuts between the places, as the bits of a number.
        let cheapest = (0..1_u32 << (spans.len() - 1)).filter_map(|cuts| {
            let mut total = Duration::ZERO;
            let mut first = 0;
            for last in 0..spans.len() {
                if last + 1 == spans.len() || cuts >> last & 1 == 1 {
                    let end = spans[first..=last].iter().map(|span| span.1).max()?;
                    let count = end - spans[first].0;
                    if count > max_registers {
                        return None;
                    }
                    let read = Read { table: Table::Holding, start: spans[first].0, count };
                    total += plan.line.time(&read);
                    first = last + 1;
                }
            }
            Some(total)
        }).min();
        prop_assert_eq!(Some(found), cheapest);
    }

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
            let address = format!("{}:{offset}", Table::ALL[*table]);
            let register = Register::new(format!("t{index}"), address);
            device.register.push(Register { kind: kinds[*kind], ..register });
        }
        let mut requests = requests(&device);
        for index in 0..cuts {
            let index = index % requests.len();
            if let Some((left, right)) = requests[index].split() {
                requests[index] = left;
                requests.push(right);
            }
        }
        let mut seen = vec![0; places.len()];
        for request in &requests {
            prop_assert!(request.read.count >= 1
                && request.read.count <= limit(&device, request.read.table));
            for reading in &request.readings {
                let (table, offset, _) = places[reading.tag];
                seen[reading.tag] += 1;
                prop_assert_eq!(request.read.table, Table::ALL[table]);
                prop_assert_eq!(request.read.start + reading.at, offset);
                prop_assert!(reading.at + reading.signal.width <= request.read.count);
            }
        }
        prop_assert!(seen.iter().all(|count| *count == 1));
    }
}
