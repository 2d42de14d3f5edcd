use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// `registers` adjacent 16-bit holding registers, polled every 100 ms.
fn unit(registers: usize, now: Instant) -> Unit {
    let mut text =
        "asset = \"press\"\naddress = \"tcp://10.0.0.5\"\ninterval = \"100ms\"\n".to_owned();
    for index in 0..registers {
        text +=
            &format!("[[register]]\ntag = \"t{index}\"\naddress = \"holding:{}\"\n", 10 + index);
    }
    let device: ModbusDevice = toml::from_str(&text).unwrap();
    let plan = Plan::build(&device).unwrap();
    let tags = (0..).take(registers).map(|id| Some(TagId(id))).collect();
    Unit::new(device, plan, tags, at(now))
}

/// `now` is a full second.
fn at(now: Instant) -> Moment {
    Moment { now, wall: Timestamp::from_secs(1_000) }
}

/// Plays a device in which the registers `bad` do not exist, for one poll. Returns the requests
/// it took and the values, NaN where bad.
fn poll(unit: &mut Unit, bad: &[u16], now: Instant) -> (usize, Vec<f64>) {
    let mut requests = 0;
    while let Some(request) = unit.request(now).cloned() {
        requests += 1;
        let read = request.read;
        let mut asked = read.start..read.start + read.count;
        if asked.any(|register| bad.contains(&register)) {
            let _ = unit.refused(Exception::ILLEGAL_ADDRESS, now);
        } else {
            let words = (read.start..read.start + read.count).collect();
            let _ = unit.answered(&Answer::Registers(words), now);
        }
    }
    let polled = unit.finish(Timestamp::from_secs(1), now);
    (requests, polled.samples.iter().map(|sample| sample.value).collect())
}

fn assert_missing(values: &[f64], missing: &[usize]) {
    for (index, value) in values.iter().enumerate() {
        if missing.contains(&index) {
            assert!(value.is_nan(), "{index}: {value}");
        } else {
            assert_eq!(*value, 10.0 + index as f64);
        }
    }
}

#[test]
fn a_poll_is_one_request_and_one_sample_a_tag() {
    let now = Instant::now();
    let mut unit = unit(50, now);
    let (requests, values) = poll(&mut unit, &[], now);
    assert_eq!((requests, values.len()), (1, 50));
    assert_missing(&values, &[]);
}

#[test]
fn fault_21_an_address_that_is_refused_is_isolated_and_the_split_is_remembered() {
    let now = Instant::now();
    let mut unit = unit(64, now);
    let (_, values) = poll(&mut unit, &[10 + 37], now);
    assert_missing(&values, &[37]);
    let (requests, values) = poll(&mut unit, &[10 + 37], now + 100 * MILLI);
    assert_missing(&values, &[37]);
    assert_eq!(requests, 2, "what lies before it and what lies behind it; the bad one rests");
}

#[test]
fn fault_21_a_bad_register_that_nobody_asked_for_is_never_read_across_again() {
    let now = Instant::now();
    let text = "asset = \"press\"\naddress = \"tcp://10.0.0.5\"\ninterval = \"100ms\"\n";
    // Three blocks of eight with holes of two between them.
    let places: Vec<u16> = (0..28).filter(|at| at % 10 < 8).collect();
    let register =
        |at: &u16| format!("[[register]]\ntag = \"t{at}\"\naddress = \"holding:{at}\"\n");
    let text = text.to_owned() + &places.iter().map(register).collect::<String>();
    let device: ModbusDevice = toml::from_str(&text).unwrap();
    let plan = Plan::build(&device).unwrap();
    let tags = (0..).take(places.len()).map(|id| Some(TagId(id))).collect();
    let mut unit = Unit::new(device, plan, tags, at(now));
    // One tag, and one register of the second hole, do not exist.
    let bad = [3, 19];
    let mut taken = Vec::new();
    for step in 0..6 {
        let (requests, values) = poll(&mut unit, &bad, now + 100 * MILLI * step);
        for (place, value) in places.iter().zip(values) {
            assert!(if *place == 3 { value.is_nan() } else { value == f64::from(*place) });
        }
        taken.push(requests);
    }
    assert_eq!(taken[4..], [3, 3], "0 to 2, 4 to 17 and 20 to 27: {taken:?}");
}

#[test]
fn a_device_that_takes_less_than_its_settings_say_is_asked_in_parts_for_good() {
    let now = Instant::now();
    let mut unit = unit(100, now);
    let mut taken = Vec::new();
    for step in 0..3 {
        let at = now + 100 * MILLI * step;
        let mut requests = 0;
        while let Some(read) = unit.request(at).map(|request| request.read) {
            requests += 1;
            if read.count > 32 {
                assert_eq!(unit.refused(Exception::ILLEGAL_VALUE, at), Refusal::Split);
            } else {
                let words = (read.start..read.start + read.count).collect();
                let _ = unit.answered(&Answer::Registers(words), at);
            }
        }
        let polled = unit.finish(Timestamp::from_secs(1), at);
        let values: Vec<f64> = polled.samples.iter().map(|sample| sample.value).collect();
        assert_missing(&values, &[]);
        taken.push(requests);
    }
    assert_eq!(taken, [7, 4, 4]);
}

#[test]
fn several_refused_addresses_are_isolated_in_one_poll() {
    let now = Instant::now();
    let mut unit = unit(40, now);
    let bad = [10, 11, 29, 49];
    let (_, values) = poll(&mut unit, &bad, now);
    assert_missing(&values, &[0, 1, 19, 39]);
}

#[test]
fn a_device_that_was_starting_is_read_whole_again_later() {
    let now = Instant::now();
    let mut unit = unit(8, now);
    let all: Vec<u16> = (10..18).collect();
    assert_missing(&poll(&mut unit, &all, now).1, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let later = now + Duration::from_secs(61);
    assert_missing(&poll(&mut unit, &[], later).1, &[]);
    let (requests, values) = poll(&mut unit, &[], later + 100 * MILLI);
    assert_eq!(requests, 1);
    assert_missing(&values, &[]);
}

#[test]
fn fault_20_a_busy_device_is_bad_then_rests_longer_each_time() {
    let now = Instant::now();
    let mut unit = unit(3, now);
    let mut asked = Vec::new();
    for step in 0..100 {
        let at = now + 100 * MILLI * step;
        if unit.request(at).is_some() {
            asked.push(step);
            assert_eq!(unit.refused(Exception::BUSY, at), Refusal::Held);
        }
        let polled = unit.finish(Timestamp::from_secs(1), at);
        assert!(polled.samples.iter().all(|sample| sample.value.is_nan()));
        assert_eq!((polled.samples.len(), polled.answers), (3, 0));
    }
    assert!(asked.len() < 10, "{asked:?}");
    let at = now + Duration::from_secs(60);
    assert_missing(&poll(&mut unit, &[], at).1, &[]);
}

#[test]
fn a_gateway_that_cannot_reach_the_unit_is_told_apart() {
    let now = Instant::now();
    let mut unit = unit(3, now);
    assert!(unit.request(now).is_some());
    assert_eq!(unit.refused(Exception::GATEWAY_TARGET, now), Refusal::Unreachable);
}

#[test]
fn a_unit_that_is_lost_is_news_once_and_rests() {
    let now = Instant::now();
    let mut unit = unit(3, now);
    assert!(unit.lost(now, false));
    assert!(unit.ready_at() >= now + 100 * MILLI);
    assert!(unit.gap(Timestamp::from_secs(1)).iter().all(|sample| sample.value.is_nan()));
    assert!(!unit.lost(unit.ready_at(), false));
    let ready = unit.ready_at();
    assert!(unit.request(ready).is_some());
    assert!(unit.answered(&Answer::Registers(vec![1, 2, 3]), ready));
    let _ = unit.finish(Timestamp::from_secs(1), ready);
    assert!(unit.lost(ready, true));
    assert!(unit.ready_at() >= ready + REST * unit.device.timeout);
}

#[test]
fn half_a_poll_is_never_delivered_with_the_next() {
    let now = Instant::now();
    let mut unit = unit(200, now);
    assert!(unit.request(now).is_some());
    let _ = unit.answered(&Answer::Registers(vec![7; 125]), now);
    assert!(unit.lost(now, false));
    assert!(unit.values.iter().all(|(value, _)| value.is_nan()));
    assert_eq!(unit.request(now).unwrap().read.start, 10);
}

#[test]
fn fault_23_polls_that_were_missed_are_skipped_and_the_phase_is_kept() {
    let now = Instant::now();
    let mut unit = unit(1, now);
    let end = |unit: &mut Unit, at| unit.finish(Timestamp::from_secs(1), at).skipped;
    assert_eq!(end(&mut unit, now + 30 * MILLI), 0);
    assert_eq!(unit.ready_at(), now + 100 * MILLI);
    assert_eq!(end(&mut unit, now + 350 * MILLI), 2);
    assert_eq!(unit.ready_at(), now + 400 * MILLI);
    assert_eq!(end(&mut unit, now + 500 * MILLI), 1);
    assert_eq!(unit.ready_at(), now + 600 * MILLI);
}

#[test]
fn tags_of_different_intervals_are_polled_apart_and_each_keeps_its_phase() {
    let now = Instant::now();
    let device: ModbusDevice = toml::from_str(
        "asset = \"press\"\naddress = \"tcp://10.0.0.5\"\ninterval = \"100ms\"\n\
         [[register]]\ntag = \"slow\"\naddress = \"holding:0\"\ninterval = \"1s\"\n\
         [[register]]\ntag = \"fast\"\naddress = \"holding:1\"\n",
    )
    .unwrap();
    let plan = Plan::build(&device).unwrap();
    let mut unit = Unit::new(device, plan, vec![Some(TagId(0)), Some(TagId(1))], at(now));
    let mut polls: [Vec<u32>; 2] = Default::default();
    for step in 0..40 {
        let at = now + 50 * MILLI * step;
        while unit.ready_at() <= at {
            while unit.request(at).is_some() {
                let _ = unit.answered(&Answer::Registers(vec![7]), at);
            }
            let samples = unit.finish(Timestamp::from_secs(1), at).samples;
            assert_eq!(samples.len(), 1, "one interval a poll");
            polls[samples[0].tag.0 as usize].push(step);
        }
    }
    assert_eq!(polls[0], [0, 20]);
    assert_eq!(polls[1], (0..20).map(|poll| 2 * poll).collect::<Vec<_>>());
}

#[test]
fn fault_17_after_a_timeout_on_a_line_the_unit_rests_until_a_late_answer_has_passed() {
    let now = Instant::now();
    let mut unit = unit(1, now);
    unit.device.address = "rtu:///dev/ttyS0".into();
    assert!(unit.request(now).is_some());
    assert!(unit.lost(now, false));
    assert!(unit.ready_at() >= now + unit.device.timeout);
}

#[test]
fn fault_29_a_counter_is_a_rate_between_two_polls() {
    let now = Instant::now();
    let mut unit = unit(1, now);
    unit.device.register[0].rate = Some(crate::settings::RateUnit::S);
    let plan = Plan::build(&unit.device).unwrap();
    let mut unit = Unit::new(unit.device, plan, unit.tags, at(now));
    let mut poll = |count, at| {
        assert!(unit.request(at).is_some());
        let _ = unit.answered(&Answer::Registers(vec![count]), at);
        unit.finish(Timestamp::from_secs(1), at).samples[0].value
    };
    assert!(poll(65_500, now).is_nan());
    assert_eq!(poll(65_530, now + 500 * MILLI), 60.0);
    assert_eq!(poll(4, now + 1000 * MILLI), 20.0);
}

#[test]
fn after_the_first_poll_all_devices_of_an_interval_are_due_together() {
    let now = Instant::now();
    let due = |milliseconds: i64| {
        let wall = Timestamp::from_nanos(1_700_000_000_000_000_000 + milliseconds * 1_000_000);
        let start = Moment { now: now + MILLI * u32::try_from(milliseconds).unwrap(), wall };
        let one = unit(1, now);
        let plan = Plan::build(&one.device).unwrap();
        let mut unit = Unit::new(one.device, plan, one.tags, start);
        assert_eq!(unit.due(), start.now, "the first is at once");
        poll(&mut unit, &[], start.now);
        unit.due()
    };
    assert_eq!(due(0), now + 100 * MILLI);
    assert_eq!(due(30), now + 100 * MILLI);
    assert_eq!(due(60), now + 200 * MILLI, "not twice within half an interval");
}
