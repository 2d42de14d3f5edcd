//! The demonstration's PLC, read by a Modbus client.
#![cfg(feature = "demo")]

use andon::demo::FaultPlan;
use andon::demo::plant::{Plant, Reading};
use andon::demo::plc::{self, Plc};
use andon::time::Timestamp;
use tokio_modbus::client::tcp;
use tokio_modbus::prelude::{ExceptionCode, Reader, Slave, SlaveContext};
use tokio_util::sync::CancellationToken;

fn f32_of(words: &[u16]) -> f32 {
    let ([a, b], [c, d]) = (words[0].to_be_bytes(), words[1].to_be_bytes());
    f32::from_be_bytes([a, b, c, d])
}

fn value(readings: &[Reading], asset: &str, tag: &str) -> f64 {
    readings
        .iter()
        .rfind(|r| r.asset == asset && r.tag == tag)
        .expect("the press has this tag")
        .value
}

#[tokio::test]
async fn registers_follow_the_plant() {
    let stop = CancellationToken::new();
    let plc = Plc::default();
    let address = plc.serve(stop.clone()).await.unwrap();
    let mut client = tcp::connect_slave(address, Slave(2)).await.unwrap();
    let mut plant = Plant::new(1, FaultPlan::none());

    for second in 0..3 {
        let readings = plant.step(Timestamp::from_secs(second)).to_vec();
        plc.update(&readings);
        let near = |got: f64, tag| {
            let wanted = value(&readings, "press-2", tag);
            assert!((got - wanted).abs() < 0.01, "{tag}: {got}, wanted {wanted}");
        };
        let holding = client.read_holding_registers(0, 4).await.unwrap().unwrap();
        near(f32_of(&holding[usize::from(plc::HOLDING_PRESSURE)..]).into(), "hydraulic_pressure");
        near(f32_of(&holding[usize::from(plc::HOLDING_FORCE)..]).into(), "stroke_force");
        let input = client.read_input_registers(0, 11).await.unwrap().unwrap();
        near(f32_of(&input[usize::from(plc::INPUT_OIL_TEMPERATURE)..]).into(), "oil_temperature");
        let cycle_time = input[usize::from(plc::INPUT_CYCLE_TIME)].cast_signed();
        near(f64::from(cycle_time) * plc::CYCLE_TIME_SCALE, "cycle_time");
    }
    stop.cancel();
}

#[tokio::test]
async fn what_is_not_there_is_an_exception_and_the_link_stays() {
    let stop = CancellationToken::new();
    let address = Plc::default().serve(stop.clone()).await.unwrap();
    let mut client = tcp::connect_slave(address, Slave(1)).await.unwrap();

    let beyond = client.read_holding_registers(3, 2).await.unwrap();
    assert_eq!(beyond, Err(ExceptionCode::IllegalDataAddress));
    let coils = client.read_coils(0, 1).await.unwrap();
    assert_eq!(coils, Err(ExceptionCode::IllegalFunction));
    client.set_slave(Slave(9));
    let nobody = client.read_holding_registers(0, 1).await.unwrap();
    assert_eq!(nobody, Err(ExceptionCode::GatewayTargetDevice));
    client.set_slave(Slave(3));
    assert!(client.read_holding_registers(0, 4).await.unwrap().is_ok());
    stop.cancel();
}
