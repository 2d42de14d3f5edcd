//! Conversations PDU by PDU against what is known of them: a recorded one of a real client and
//! server against the log of another decoder, and the examples of the Modbus specification. The
//! capture is not part of this repository; without it the specification's stand alone.

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
    address: String,
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
            address: cell("address"),
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

/// Reads with data, reads with an exception, and other exchanges.
#[derive(Debug, PartialEq)]
struct Seen {
    reads: usize,
    exceptions: usize,
    others: usize,
}

fn compare(capture: &[u8], text: &str) -> Seen {
    let log = log(text);
    let frames = frames(capture);
    let mut seen = Seen { reads: 0, exceptions: 0, others: 0 };
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
            seen.others += 1;
            continue;
        };
        let read = Read { table, start: word(1), count: word(3) };
        assert_eq!(read.pdu(), *request.pdu, "what we would have sent, {key:?}");
        assert_eq!(read.start.to_string(), logged.address, "{key:?}");
        assert_eq!(read.count.to_string(), logged.quantity, "{key:?}");
        match read.answer(&answer.pdu).unwrap() {
            Ok(values) => {
                assert_eq!(shown(&values), logged.values, "{key:?}");
                assert_eq!(logged.exception, "-", "{key:?}");
                seen.reads += 1;
            }
            Err(exception) => {
                assert_eq!(logged.exception, "ILLEGAL_DATA_ADDRESS", "{key:?}");
                assert_eq!(logged.values, "-", "{key:?}");
                assert_eq!(exception, Exception::ILLEGAL_ADDRESS, "{key:?}");
                seen.exceptions += 1;
            }
        }
    }
    let rows = log.values().filter(|logged| logged.table.is_some()).count();
    assert_eq!(rows, seen.reads + seen.exceptions, "every read of the log was seen");
    seen
}

#[test]
fn the_capture_is_decoded_to_what_its_log_says() {
    let Some(folder) = folder() else {
        println!("The capture is not here: only the specification's examples are tested.");
        return;
    };
    let capture = std::fs::read(folder.join("icsnpp_modbus_example.pcap")).unwrap();
    let log = std::fs::read_to_string(folder.join("icsnpp_modbus_detailed.log")).unwrap();
    let seen = compare(&capture, &log);
    println!("{seen:?}");
    assert!(seen.reads == 8 && seen.exceptions == 1 && seen.others >= 14, "{seen:?}");
}

/// The examples of "MODBUS Application Protocol Specification V1.1b3": request, response.
const EXAMPLES: [(&[u8], &[u8]); 6] = [
    // 6.1, coils 20 to 38.
    (&[0x01, 0x00, 0x13, 0x00, 0x13], &[0x01, 0x03, 0xCD, 0x6B, 0x05]),
    // 6.2, discrete inputs 197 to 218.
    (&[0x02, 0x00, 0xC4, 0x00, 0x16], &[0x02, 0x03, 0xAC, 0xDB, 0x35]),
    // 6.3, holding registers 108 to 110.
    (&[0x03, 0x00, 0x6B, 0x00, 0x03], &[0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64]),
    // 6.4, input register 9.
    (&[0x04, 0x00, 0x08, 0x00, 0x01], &[0x04, 0x02, 0x00, 0x0A]),
    // 7, an output that is not there.
    (&[0x01, 0x04, 0xA1, 0x00, 0x01], &[0x81, 0x02]),
    // 6.6, one register is written, by somebody else.
    (&[0x06, 0x00, 0x01, 0x00, 0x03], &[0x06, 0x00, 0x01, 0x00, 0x03]),
];

/// What the specification says that they mean, in the columns of the log.
const MEANINGS: &str = "\
#fields\tid.orig_p\ttid\tunit\tfunc\taddress\tquantity\tresponse_values\texception_code
40000\t1\t17\tREAD_COILS\t19\t19\t1,0,1,1,0,0,1,1,1,1,0,1,0,1,1,0,1,0,1\t-
40000\t2\t17\tREAD_DISCRETE_INPUTS\t196\t22\t0,0,1,1,0,1,0,1,1,1,0,1,1,0,1,1,1,0,1,0,1,1\t-
40000\t3\t17\tREAD_HOLDING_REGISTERS\t107\t3\t555,0,100\t-
40000\t4\t17\tREAD_INPUT_REGISTERS\t8\t1\t10\t-
40000\t5\t17\tREAD_COILS\t1185\t1\t-\tILLEGAL_DATA_ADDRESS
40000\t6\t17\tWRITE_SINGLE_REGISTER\t1\t1\t3\t-
";

/// A capture of these exchanges.
fn recorded(examples: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut capture = vec![0xD4, 0xC3, 0xB2, 0xA1];
    capture.resize(24, 0);
    for (transaction, (request, response)) in (1_u16..).zip(examples) {
        for (pdu, ports) in [(request, [40_000_u16, 502]), (response, [502, 40_000])] {
            let mut frame = transaction.to_be_bytes().to_vec();
            let length = u16::try_from(pdu.len() + 1).unwrap();
            frame.extend([[0, 0], length.to_be_bytes()].concat());
            frame.push(17);
            frame.extend(*pdu);
            let mut tcp: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
            tcp.resize(20, 0);
            tcp[12] = 5 << 4;
            tcp.extend(frame);
            let mut ip = vec![0x45, 0];
            ip.extend(u16::try_from(20 + tcp.len()).unwrap().to_be_bytes());
            ip.resize(20, 0);
            ip.extend(tcp);
            let length = u32::try_from(14 + ip.len()).unwrap().to_le_bytes();
            capture.extend([[0; 4], [0; 4], length, length].concat());
            capture.extend([0; 14]);
            capture.extend(ip);
        }
    }
    capture
}

#[test]
fn the_examples_of_the_specification_are_decoded_to_what_it_says() {
    let seen = compare(&recorded(&EXAMPLES), MEANINGS);
    assert_eq!(seen, Seen { reads: 4, exceptions: 1, others: 1 });
}
