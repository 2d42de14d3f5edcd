//! `andon modbus` as somebody uses it who has a device and no description.

#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use andon::decode::registers::encode;
use andon::settings::{RegisterType, WordOrder};

/// A device at unit 3 with holding registers 100 to 107: a temperature of 23.5 as swapped
/// float, a pressure of 117.2 in tenths, and a text. It has no other table, and is alone.
fn device() -> u16 {
    let mut words = encode(RegisterType::F32, WordOrder::Cdab, 23.5);
    words.extend([1172, 7]);
    words.extend([0x5041, 0x4E45, 0x4C2D, 0x4100]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let words = words.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &words));
        }
    });
    port
}

fn serve(mut stream: TcpStream, words: &[u16]) {
    let mut frame = [0; 12];
    while stream.read_exact(&mut frame).is_ok() {
        let [.., unit, function, a, b, c, d] = frame;
        assert!((1..=4).contains(&function), "only reads are sent");
        let start = usize::from(u16::from_be_bytes([a, b]));
        let count = usize::from(u16::from_be_bytes([c, d]));
        let asked = start.checked_sub(100).and_then(|first| words.get(first..first + count));
        let pdu = match (unit, function, asked) {
            (3, 3, Some(words)) => {
                let mut pdu = vec![3, u8::try_from(2 * count).unwrap()];
                words.iter().for_each(|word| pdu.extend(word.to_be_bytes()));
                pdu
            }
            (3, 3, None) => vec![0x83, 2],
            (3, ..) => vec![function | 0x80, 1],
            // As gateways say it, and as some servers do.
            _ => vec![function | 0x80, if unit == 4 { 4 } else { 0x0B }],
        };
        let mut answer = frame[..4].to_vec();
        answer.extend(u16::try_from(pdu.len() + 1).unwrap().to_be_bytes());
        answer.push(unit);
        answer.extend(pdu);
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn andon(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_andon")).arg("modbus").args(arguments).output().unwrap()
}

fn printed(arguments: &[&str], success: bool) -> String {
    let output = andon(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), success, "{text}{errors}");
    text
}

#[test]
fn a_scan_finds_the_unit_and_where_its_table_begins() {
    let port = device();
    let address = format!("tcp://127.0.0.1:{port}");
    let text = printed(&["scan", &address, "--units", "1-4"], true);
    insta::assert_snapshot!(text.replace(&port.to_string(), "PORT"));
    let json: serde_json::Value =
        serde_json::from_str(&printed(&["scan", &address, "--json"], true)).unwrap();
    assert_eq!(json["units"][0]["unit"], 3);
    assert_eq!(json["units"][0]["tables"][3]["offset"], 100);
}

#[test]
fn a_scan_that_finds_nobody_says_what_to_check() {
    let port = device();
    let address = format!("tcp://127.0.0.1:{port}");
    let text = printed(&["scan", &address, "--units", "7,8"], false);
    assert!(text.starts_with("No unit answers at tcp://") && text.contains("rtu+tcp://"), "{text}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = andon(&["scan", &format!("tcp://{closed}")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no connection"));
}

#[test]
fn fault_28_a_read_shows_every_order_and_marks_the_one_that_fits() {
    let port = device();
    let address = format!("tcp://127.0.0.1:{port}");
    let read = ["read", &address, "--unit", "3"];
    let text = printed(&[&read[..], &["40101", "--expect", "23.5"]].concat(), true);
    insta::assert_snapshot!(text);
    let json =
        printed(&[&read[..], &["holding:102", "--expect", "117.2", "--json"]].concat(), true);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let found = &json["suggestion"]["reading"];
    assert_eq!((&found["type"], &found["scale"]), (&"i16".into(), &0.1.into()));
    let text = printed(&[&read[..], &["holding:102", "--expect", "1172"]].concat(), true);
    assert!(text.contains("Fits as well, the manual's type decides: u16 ABCD"), "{text}");
}

#[test]
fn a_value_one_register_beside_is_found_too() {
    let port = device();
    let address = format!("tcp://127.0.0.1:{port}");
    let arguments = ["read", &address, "--unit", "3", "holding:101", "--expect", "23.5"];
    let text = printed(&arguments, false);
    assert!(
        text.contains("23.5 is rather at holding:100: does the manual count from one?"),
        "{text}"
    );
    assert!(text.contains("order = \"CDAB\""), "{text}");
    let arguments = ["read", &address, "--unit", "3", "holding:104", "--expect", "5e9"];
    assert!(printed(&arguments, false).contains("another table, such as input:104"));
}

#[test]
fn text_is_read_as_text_and_what_is_not_there_is_told() {
    let port = device();
    let address = format!("tcp://127.0.0.1:{port}");
    let text = printed(&["read", &address, "--unit", "3", "holding:104", "--as", "string"], true);
    assert!(text.contains("ABCD  \"PANEL-A\""), "{text}");
    let output = andon(&["read", &address, "--unit", "3", "holding:9"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("holding:9: exception 0x02, illegal data address"), "{error}");
    assert!(!output.status.success());
}

#[test]
fn a_plan_shows_its_requests_and_whether_the_line_can_carry_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("andon.toml");
    let config = "[[modbus]]\nasset = \"oven\"\naddress = \"rtu:///dev/ttyS0\"\nunit = 3\n\
        serial = { baud = 9600 }\n\
        register = [\n{ tag = \"a\", address = \"40101\", type = \"f32\" },\n\
        { tag = \"b\", address = \"holding:104\" },\n\
        { tag = \"c\", address = \"holding:300\", interval = \"10s\" },\n]\n\
        [[modbus]]\nasset = \"dryer\"\naddress = \"rtu:///dev/ttyS0\"\nunit = 4\n\
        register = [{ tag = \"a\", address = \"input:0\" }]\n";
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    insta::assert_snapshot!(printed(&["plan", "--config", file], true));
    let json = printed(&["plan", "--config", file, "--json"], true);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["devices"][0]["requests"][0]["tags"], serde_json::json!(["a", "b"]));
    std::fs::write(file, config.replace("unit = 4\n", "unit = 4\ninterval = \"20ms\"\n")).unwrap();
    assert!(printed(&["plan", "--config", file], false).contains("The line cannot carry this"));
}
