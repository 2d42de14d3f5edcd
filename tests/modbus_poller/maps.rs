//! `tests/data/modbus/maps.toml` against a simulator: devices as people in the field describe
//! them, an air conditioner's bridge, a solar inverter, an energy meter and a test device.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use andon::config;
use andon::decode::registers::encode;
use andon::modbus::Plan;
use andon::settings::{ModbusDevice, RegisterType, WordOrder};

use crate::server::{Plc, serve};
use crate::support::start;

fn device(asset: &str) -> ModbusDevice {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/modbus/maps.toml");
    let loaded = config::load(&file, std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
    loaded.settings.modbus.into_iter().find(|device| device.asset == asset).unwrap()
}

/// What the device says when `cells` hold these numbers, and how many requests it took.
async fn poll(asset: &str, cells: &[(u16, Vec<u16>)]) -> (BTreeMap<String, f64>, u64) {
    let mut words = vec![0; 40_000];
    for (start, cell) in cells {
        let start = usize::from(*start);
        words[start..start + cell.len()].copy_from_slice(cell);
    }
    let plc = Arc::new(Plc::with_words(words));
    let port = serve(Arc::clone(&plc)).await;
    let device = ModbusDevice { address: format!("tcp://127.0.0.1:{port}"), ..device(asset) };
    assert_eq!(
        Plan::build(&device)
            .unwrap()
            .requests()
            .map(|request| request.readings.len())
            .sum::<usize>(),
        device.register.len()
    );
    let mut bench = start(vec![device]);
    let values = bench.values().await.into_iter().collect();
    bench.stop().await;
    assert_eq!(plc.others.load(Ordering::Relaxed), 0);
    (values, plc.reads.load(Ordering::Relaxed))
}

fn number(kind: RegisterType, value: f64) -> Vec<u16> {
    encode(kind, WordOrder::Abcd, value)
}

#[tokio::test]
async fn an_air_conditioners_bridge() {
    let (values, _) = poll(
        "hvac",
        &[
            (1, vec![2]),
            (2, number(RegisterType::I32, 4.0)),
            (5, number(RegisterType::I16, -35.0)),
            (10, vec![1 << 10]),
            (14, vec![1]),
        ],
    )
    .await;
    assert_eq!(values["operation_mode"], 2.0);
    assert_eq!(values["fan_speed"], 4.0);
    assert_eq!(values["temperature"], -3.5);
    assert_eq!(values["communication_failure"], 1.0);
    assert_eq!((values["switch_a"], values["switch_b"]), (0.0, 1.0));
}

#[tokio::test]
async fn a_solar_inverter() {
    let (values, requests) = poll(
        "inverter",
        &[
            (32_000, vec![0b110]),
            (32_016, number(RegisterType::I16, 6_123.0)),
            (32_017, number(RegisterType::I16, -15.0)),
            (32_064, number(RegisterType::I32, 28_500.0)),
            (32_080, number(RegisterType::I32, -1.0)),
            (32_087, number(RegisterType::I16, 0x7FFF.into())),
            (32_089, vec![0x0200]),
        ],
    )
    .await;
    assert_eq!(values["grid_connected"], 1.0);
    assert!((values["pv1_voltage"] - 612.3).abs() < 1e-9);
    assert!((values["pv1_current"] + 0.15).abs() < 1e-9);
    assert_eq!((values["dc_power"], values["ac_power"]), (28_500.0, -1.0));
    assert!(values["internal_temperature"].is_nan(), "the sentinel");
    assert_eq!(values["device_status"], 512.0);
    assert_eq!(requests, 1, "90 registers with their holes");
}

#[tokio::test]
async fn an_energy_meter_of_a_hundred_and_eight_counters() {
    let cells: Vec<(u16, Vec<u16>)> = (0..108)
        .map(|index| (12_800 + 2 * index, number(RegisterType::U32, f64::from(index) * 1000.0)))
        .collect();
    let (values, requests) = poll("meter", &cells).await;
    assert_eq!(values.len(), 108);
    for index in 0..108 {
        assert_eq!(values[&format!("energy_{index}")], f64::from(index) * 10_000.0);
    }
    assert_eq!(requests, 2, "216 registers, 124 at most in each");
}

#[tokio::test]
async fn a_test_device() {
    let float = number(RegisterType::F32, 404.17);
    let text = vec![0x5448, 0x494E, 0x4544, 0x4745];
    let (values, _) =
        poll("test", &[(2, vec![1]), (3, vec![17_001]), (6, float), (16, text)]).await;
    assert_eq!(values["int16"], 17_001.0);
    assert!((values["float32"] - 404.17).abs() < 1e-4);
    assert_eq!(values["alarm"], 1.0);
    assert_eq!(values["maker"], 1.0);
}

/// Address, type and scale of each register of `device`, for those that are whole registers.
fn described(device: &ModbusDevice) -> Vec<(u16, RegisterType, f64)> {
    let whole = device.register.iter().filter(|register| {
        register.address.starts_with("holding:") && !register.address.contains('.')
    });
    let of = |register: &andon::settings::Register| {
        let offset = register.address.strip_prefix("holding:").unwrap().parse().unwrap();
        (offset, register.kind, register.scale)
    };
    whole.map(of).collect()
}

/// The field configurations themselves are not part of this repository: where they are, nothing of
/// them is missing here, and nothing differs.
#[test]
fn the_maps_are_those_of_the_field() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared");
    let shared = std::env::var_os("ANDON_SHARED").map_or_else(beside, std::path::PathBuf::from);
    let folder = shared.join("data/modbus/maps");
    if !folder.is_dir() {
        println!("The field's maps are not here: nothing is compared.");
        return;
    }
    let mut compared = 0;
    for (file, asset) in [
        ("telegraf_duplicate_fields_issue_12091.conf", "inverter"),
        ("telegraf_overflow_issue_14387.conf", "meter"),
    ] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let theirs: toml::Value = toml::from_str(&text).unwrap();
        let request = &theirs["inputs"]["modbus"][0]["request"][0];
        let ours = device(asset);
        assert_eq!(i64::from(ours.unit), request["slave_id"].as_integer().unwrap());
        let known = described(&ours);
        for field in request["fields"].as_array().unwrap() {
            let offset = u16::try_from(field["address"].as_integer().unwrap()).unwrap();
            let kind = field["type"].as_str().unwrap();
            let kind = match kind {
                "UINT16" => RegisterType::U16,
                "INT16" => RegisterType::I16,
                "UINT32" => RegisterType::U32,
                "INT32" => RegisterType::I32,
                other => panic!("{other}"),
            };
            let scale = field.get("scale").map_or(1.0, |scale| scale.as_float().unwrap());
            // The first, a field of bits, is read bit by bit here.
            if offset != 32_000 {
                assert!(known.contains(&(offset, kind, scale)), "{asset} {offset}");
            }
            compared += 1;
        }
    }
    println!("{compared} fields");
    assert_eq!(compared, 20 + 108);
}
