//! A recorded conversation of a real client and server, PDU by PDU, against the log that another
//! decoder made of it. The capture is not part of this repository; without it nothing is tested.

#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use andon::decode::registers::Table;
use andon::modbus::{Answer, Exception, Read};

const NAMES: [(&str, Table); 4] = [
    ("READ_COILS", Table::Coil),
    ("READ_DISCRETE_INPUTS", Table::Discrete),
    ("READ_HOLDING_REGISTERS", Table::Holding),
    ("READ_INPUT_REGISTERS", Table::Input),
];

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared");
    let shared = std::env::var_os("ANDON_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("data/modbus/pcap");
    folder.is_dir().then_some(folder)
}

/// A Modbus frame: by direction and connection, with its transaction, unit and PDU.
#[derive(Debug)]
struct Frame {
    client_port: u16,
    is_request: bool,
    transaction: u16,
    unit: u8,
    pdu: Vec<u8>,
}

/// The frames in a capture of Ethernet, IPv4 and TCP port 502. One segment holds whole frames.
fn frames(capture: &[u8]) -> Vec<Frame> {
    assert_eq!(capture[..4], [0xD4, 0xC3, 0xB2, 0xA1], "little-endian pcap");
    let mut frames = Vec::new();
    let mut at = 24;
    while at < capture.len() {
        let length = u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
        let ip = &capture[at + 16 + 14..at + 16 + length];
        at += 16 + length;
        let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let ip = &ip[..usize::from(word(ip, 2))];
        let tcp = &ip[usize::from(ip[0] & 0xF) * 4..];
        let (source, destination) = (word(tcp, 0), word(tcp, 2));
        let mut bytes = &tcp[usize::from(tcp[12] >> 4) * 4..];
        while bytes.len() > 7 {
            let end = 6 + usize::from(word(bytes, 4));
            frames.push(Frame {
                client_port: source.max(destination),
                is_request: destination == 502,
                transaction: word(bytes, 0),
                unit: bytes[6],
                pdu: bytes[7..end].to_vec(),
            });
            bytes = &bytes[end..];
        }
    }
    frames
}

/// What the log says of one exchange.
struct Logged {
    unit: u8,
    table: Option<Table>,
    quantity: String,
    values: String,
    exception: String,
}

fn log(text: &str) -> BTreeMap<(u16, u16), Logged> {
    let names = text.lines().find_map(|line| line.strip_prefix("#fields\t")).unwrap();
    let column = |name: &str| names.split('\t').position(|known| known == name).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('\t').collect();
        let cell = |name: &str| cells[column(name)].to_owned();
        let function = cell("func");
        let logged = Logged {
            unit: cell("unit").parse().unwrap(),
            table: NAMES.iter().find(|(name, _)| *name == function).map(|(_, table)| *table),
            quantity: cell("quantity"),
            values: cell("response_values"),
            exception: cell("exception_code"),
        };
        ((cell("id.orig_p").parse().unwrap(), cell("tid").parse().unwrap()), logged)
    })
    .collect()
}

fn shown(answer: &Answer) -> String {
    let texts: Vec<String> = match answer {
        Answer::Registers(words) => words.iter().map(u16::to_string).collect(),
        Answer::Bits(bits) => bits.iter().map(|bit| u8::from(*bit).to_string()).collect(),
    };
    texts.join(",")
}

#[test]
fn the_capture_is_decoded_to_what_its_log_says() {
    let Some(folder) = folder() else {
        println!("The capture is not here: nothing is tested.");
        return;
    };
    let capture = std::fs::read(folder.join("icsnpp_modbus_example.pcap")).unwrap();
    let log = log(&std::fs::read_to_string(folder.join("icsnpp_modbus_detailed.log")).unwrap());
    let frames = frames(&capture);
    let (mut reads, mut exceptions, mut others) = (0, 0, 0);
    for request in frames.iter().filter(|frame| frame.is_request) {
        let is_answer = |frame: &&Frame| {
            !frame.is_request
                && (frame.client_port, frame.transaction)
                    == (request.client_port, request.transaction)
        };
        let Some(answer) = frames.iter().find(is_answer) else { continue };
        let key = (request.client_port, request.transaction);
        let logged = &log[&key];
        assert_eq!((request.unit, answer.unit), (logged.unit, logged.unit), "{key:?}");
        let word = |at: usize| u16::from_be_bytes([request.pdu[at], request.pdu[at + 1]]);
        let Some(table) = logged.table else {
            // No answer to anything else is ever taken for that of a read.
            for table in Table::ALL {
                let read = Read { table, start: 0, count: 1 };
                assert!(read.answer(&answer.pdu).is_err(), "{key:?}");
            }
            others += 1;
            continue;
        };
        let read = Read { table, start: word(1), count: word(3) };
        assert_eq!(read.pdu(), *request.pdu, "what we would have sent, {key:?}");
        assert_eq!(read.count.to_string(), logged.quantity, "{key:?}");
        match read.answer(&answer.pdu).unwrap() {
            Ok(values) => {
                assert_eq!(shown(&values), logged.values, "{key:?}");
                reads += 1;
            }
            Err(exception) => {
                assert_eq!(logged.exception, "ILLEGAL_DATA_ADDRESS", "{key:?}");
                assert_eq!(exception, Exception::ILLEGAL_ADDRESS, "{key:?}");
                exceptions += 1;
            }
        }
    }
    println!("{reads} reads, {exceptions} exceptions, {others} other exchanges");
    assert_eq!((reads, exceptions), (8, 1));
    assert!(others >= 14);
}
