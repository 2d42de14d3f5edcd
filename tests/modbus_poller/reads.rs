//! Whatever the configuration and whatever is called: only function codes 1 to 4 leave the box.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use andon::decode::registers::Table;
use andon::modbus::{Dialer, Plan, Probe, Read};
use andon::settings::{ModbusDevice, RegisterType};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::start;

/// Stands for a request that has not the length of a read.
const NO_READ: u8 = 0xFF;

/// Function codes and lengths of all that comes; each is answered with an exception of its own
/// kind, so that every path of the poller is taken.
async fn recorder(codes: Vec<u8>) -> (u16, Arc<Mutex<BTreeSet<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (noted, codes) = (Arc::clone(&noted), codes.clone());
            tokio::spawn(async move {
                for nth in 0.. {
                    let mut header = [0; 7];
                    if stream.read_exact(&mut header).await.is_err() {
                        return;
                    }
                    let length = u16::from_be_bytes([header[4], header[5]]);
                    let mut pdu = vec![0; usize::from(length) - 1];
                    stream.read_exact(&mut pdu).await.unwrap();
                    // A read is five bytes; what is longer shows up as a function that is none.
                    let function = if pdu.len() == 5 { pdu[0] } else { NO_READ };
                    noted.lock().unwrap().insert(function);
                    header[5] = 3;
                    let mut answer = header.to_vec();
                    answer.extend([pdu[0] | 0x80, codes[nth % codes.len()]]);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, seen)
}

fn recorded(seen: &Mutex<BTreeSet<u8>>) -> BTreeSet<u8> {
    seen.lock().unwrap().clone()
}

fn any_device() -> impl Strategy<Value = ModbusDevice> {
    let place = (0_usize..4, 0_u16..2000, 0_usize..16, prop::option::of(10_u64..2000));
    let places = prop::collection::vec(place, 1..40);
    let orders = ["ABCD", "CDAB", "BADC", "DCBA"];
    (places, 1_u8..=247, 4_u16..=125, prop::option::of(0_u16..200), 0_usize..4).prop_map(
        move |(places, unit, max_registers, gap, order)| {
            let mut text = format!(
                "asset = \"a\"\naddress = \"tcp://127.0.0.1:1\"\nunit = {unit}\n\
                 interval = \"10ms\"\nmax_registers = {max_registers}\norder = \"{}\"\n",
                orders[order]
            );
            if let Some(gap) = gap {
                text += &format!("gap = {gap}\n");
            }
            for (index, (table, offset, kind, interval)) in places.into_iter().enumerate() {
                let (table, kind) = (Table::ALL[table], RegisterType::NUMBERS[kind].as_str());
                text += &format!(
                    "[[register]]\ntag = \"t{index}\"\naddress = \"{table}:{offset}\"\n\
                     type = \"{kind}\"\n"
                );
                if let Some(interval) = interval {
                    text += &format!("interval = \"{interval}ms\"\n");
                }
            }
            toml::from_str(&text).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_configured_only_reads_are_sent(
        device in any_device(),
        codes in prop::collection::vec(1_u8..12, 1..5),
    ) {
        let planned: BTreeSet<u8> =
            Plan::build(&device).unwrap().requests().map(|request| request.read.pdu()[0]).collect();
        prop_assert!(planned.iter().all(|function| (1..=4).contains(function)));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sent = runtime.block_on(async {
            let (port, seen) = recorder(codes).await;
            let device = ModbusDevice { address: format!("tcp://127.0.0.1:{port}"), ..device };
            let mut bench = start(vec![device]);
            bench.batch().await;
            bench.stop().await;
            recorded(&seen)
        });
        prop_assert!(!sent.is_empty());
        prop_assert!(sent.is_subset(&planned), "{sent:?} of {planned:?}");
    }

    #[test]
    fn whatever_a_probe_is_asked_only_reads_are_sent(
        calls in prop::collection::vec((0_usize..4, any::<u16>(), any::<u16>(), any::<u8>()), 1..20),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sent = runtime.block_on(async {
            let (port, seen) = recorder(vec![2]).await;
            let device: ModbusDevice =
                toml::from_str(&format!("asset = \"a\"\naddress = \"tcp://127.0.0.1:{port}\"")).unwrap();
            let limit = Duration::from_secs(5);
            let mut probe = Probe::new(Dialer::of(&device).unwrap(), limit, Duration::ZERO);
            for (table, start, count, unit) in calls {
                let read = Read { table: Table::ALL[table], start, count };
                probe.read(unit, read).await.unwrap().unwrap_err();
            }
            recorded(&seen)
        });
        prop_assert!(sent.iter().all(|function| (1..=4).contains(function)), "{sent:?}");
    }
}
