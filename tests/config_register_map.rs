//! Register maps in CSV: what they add, and what a plant engineer reads when one is wrong.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::path::Path;
use std::time::Duration;

use andon::config::{self, Loaded};
use andon::settings::{RateUnit, RegisterType, WordOrder};

const CONFIG: &str = "[[modbus]]\nasset = \"meter-1\"\naddress = \"tcp://192.0.2.1\"\n\
                      numbering = \"one-based\"\nmap = \"meter.csv\"\n\
                      [[modbus.register]]\ntag = \"state\"\naddress = \"holding:9\"\n";

fn load(folder: &Path, map: &[u8]) -> Result<Loaded, String> {
    std::fs::write(folder.join("meter.csv"), map).unwrap();
    let file = folder.join("andon.toml");
    let loaded = config::load_text(&file.display().to_string(), CONFIG, std::iter::empty());
    loaded.map_err(|errors| errors.to_string().replace(&folder.display().to_string(), "…"))
}

fn refusal(map: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path(), map.as_bytes()).unwrap_err()
}

#[test]
fn each_row_becomes_a_register_after_those_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let map = "# meter of hall 3\n\
        Name,Address,Type,Unit,Scale,Offset,Order,Missing,Min,Max,Labels,Rate,Interval,Comment\n\
        voltage,40101,i16,V,0.1,,,0x8000 -1,0,480,,,,\"phase 1, to neutral\"\n\
        energy,input:17,U32,kWh,10,,CDAB,,,,,h,10s,\n\
        mode,holding:1.4-6,,,,,,,,,0=Cool|1=Heat,,,\n";
    let loaded = load(folder.path(), map.as_bytes()).unwrap();
    let registers = &loaded.settings.modbus[0].register;
    let tags: Vec<&str> = registers.iter().map(|register| register.tag.as_str()).collect();
    assert_eq!(tags, ["state", "voltage", "energy", "mode"]);
    let voltage = &registers[1];
    assert_eq!(
        (voltage.kind, voltage.scale, voltage.range),
        (RegisterType::I16, 0.1, Some([0.0, 480.0]))
    );
    assert_eq!(voltage.missing, [32768.0, -1.0]);
    let energy = &registers[2];
    assert_eq!((energy.kind, energy.order), (RegisterType::U32, Some(WordOrder::Cdab)));
    assert_eq!((energy.rate, energy.interval), (Some(RateUnit::H), Some(Duration::from_secs(10))));
    assert_eq!(registers[3].labels["1"], "Heat");
    let unit = |name: &str| {
        let tag = loaded.settings.tag.iter().find(|tag| tag.name == name);
        tag.and_then(|tag| tag.unit.clone())
    };
    assert_eq!(
        (unit("voltage"), unit("energy"), unit("mode")),
        (Some("V".into()), Some("kWh".into()), None)
    );
}

#[test]
fn a_sheet_of_an_office_that_writes_decimals_with_a_comma_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let map = "\u{feff}tag;address;type;scale;unit\r\ntemperatur;30001;i16;0,1;°C\r\n";
    let loaded = load(folder.path(), map.as_bytes()).unwrap();
    let register = &loaded.settings.modbus[0].register[1];
    assert_eq!((register.scale, register.unit.as_deref()), (0.1, Some("°C")));
}

#[test]
fn wrong_cells_are_told_all_at_once_with_row_and_column() {
    insta::assert_snapshot!(refusal(
        "tag,address,type,scale,order,interval\n\
         a,holding:1,i17,0.1,,\n\
         b,holding:70000,u16,,,\n\
         c,holding:3,f32,ten,ABDC,\n\
         ,holding:4,,,,\n\
         \"a, again\",holding:5,f32,0,,5 parsecs\n\
         state,holding:0,,,,,,more\n\
         state,holding:7,,,,\n"
    ));
}

#[test]
fn a_map_without_its_columns_or_that_is_not_there_is_told() {
    let error = refusal("tag,adress\na,1\n");
    assert!(error.contains("…/meter.csv:1:5: error: there is no column \"adress\""), "{error}");
    assert!(refusal("tag\na\n").contains("there is no column \"address\""));
    assert!(refusal("# nothing\n").contains("the map is empty"));
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path(), b"tag,address\n\xB0C,40001\n").unwrap_err();
    assert!(error.contains("CSV UTF-8"), "{error}");
    let text = CONFIG.replace("meter.csv", "nowhere.csv");
    let error = config::load_text("andon.toml", &text, std::iter::empty()).unwrap_err().to_string();
    assert!(error.contains("andon.toml:5:7: error: cannot read nowhere.csv"), "{error}");
}
