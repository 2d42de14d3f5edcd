//! `andon modbus read`: a few registers in every type and order, and the one that fits.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Way, sheet};
use crate::decode::registers::guess::{Guess, guesses, likeliest};
use crate::decode::registers::{Address, Table, value};
use crate::modbus::{Answer, Probe, Read};
use crate::settings::{Numbering, RegisterType, WordOrder};

/// The widest number.
const WIDEST: u16 = 4;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    way: Way,
    /// The unit.
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// holding:100, input:0x64, 40101, coil:7
    register: String,
    /// Offsets count from one, as in many manuals.
    #[arg(long)]
    one_based: bool,
    /// How many registers or bits to read.
    #[arg(long, value_name = "N", default_value_t = WIDEST, value_parser = clap::value_parser!(u16).range(1..=125))]
    count: u16,
    /// One type only, such as f32; `string` for text.
    #[arg(long = "as", value_name = "TYPE", default_value = "all")]
    kind: String,
    /// What the machine's display shows now: what gives this value is marked.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    expect: Option<f64>,
    /// How near the value must be, as a share of it.
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    within: f64,
}

pub(super) async fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let numbering = if arguments.one_based { Numbering::OneBased } else { Numbering::ZeroBased };
    let place = Address::parse(&arguments.register, numbering)?;
    let only = kind(&arguments.kind)?;
    let mut probe = arguments.way.probe();
    match ask(&mut probe, arguments, place, arguments.count).await? {
        Answer::Bits(bits) => {
            print_bits(arguments, place, &bits);
            Ok(ExitCode::SUCCESS)
        }
        Answer::Registers(words) if only == Some(RegisterType::String) => {
            let texts = WordOrder::ALL.map(|order| value::text(order, &words));
            if arguments.way.json {
                println!("{:#}", json!({ "ABCD": texts[0], "BADC": texts[2] }));
            } else {
                println!("ABCD  {:?}\nBADC  {:?}", texts[0], texts[2]);
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::Registers(words) => {
            let mut all = guesses(&words, arguments.expect, arguments.within);
            all.retain(|guess| only.is_none_or(|only| guess.kind == only));
            let here = likeliest(&all).map(|guess| (place, guess));
            let found = match arguments.expect {
                Some(expected) if !here.is_some_and(|(_, guess)| guess.is_exactly(expected)) => {
                    beside(&mut probe, arguments, place, here).await
                }
                _ => here,
            };
            print(arguments, place, &words, &all, found);
            let is_here = found.is_some_and(|(at, _)| at == place);
            let good = arguments.expect.is_none() || is_here;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// As many registers as there are, up to `count`: the next one may not exist.
async fn ask(
    probe: &mut Probe,
    arguments: &Arguments,
    Address { table, offset }: Address,
    count: u16,
) -> anyhow::Result<Answer> {
    let mut refusal = None;
    for count in [count, 2, 1] {
        let room = (u32::from(u16::MAX) + 1 - u32::from(offset)).min(count.into());
        let count = u16::try_from(room).unwrap_or(count);
        let read = Read { table, start: offset, count };
        match probe.read(arguments.unit, read).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(exception)) => refusal = Some(exception),
            Err(error) => {
                let advice = arguments.way.advice();
                bail!("unit {} at {}: {error}; {advice}", arguments.unit, arguments.way.address)
            }
        }
    }
    let refusal = refusal.context("three reads were tried")?;
    bail!("unit {} at {}, {table}:{offset}: {refusal}", arguments.unit, arguments.way.address)
}

/// Manuals and devices disagree about where counting begins: the value may lie one beside. A
/// float that is read one register late is nearly right, so an exact one beside is preferred.
async fn beside(
    probe: &mut Probe,
    arguments: &Arguments,
    place: Address,
    here: Option<(Address, Guess)>,
) -> Option<(Address, Guess)> {
    let expected = arguments.expect?;
    for offset in [place.offset.checked_sub(1), place.offset.checked_add(1)].into_iter().flatten() {
        let place = Address { offset, ..place };
        let Ok(Answer::Registers(words)) = ask(probe, arguments, place, WIDEST).await else {
            continue;
        };
        match likeliest(&guesses(&words, Some(expected), arguments.within)) {
            Some(guess) if here.is_none() || guess.is_exactly(expected) => {
                return Some((place, guess));
            }
            _ => {}
        }
    }
    here
}

fn kind(text: &str) -> anyhow::Result<Option<RegisterType>> {
    let known = RegisterType::NUMBERS.into_iter().chain([RegisterType::String]);
    match known.into_iter().find(|kind| kind.as_str() == text) {
        None if text == "all" => Ok(None),
        None => {
            let names = RegisterType::NUMBERS.map(RegisterType::as_str).join(", ");
            bail!("--as {text}: write all, string, {names}")
        }
        kind => Ok(kind),
    }
}

fn print_bits(arguments: &Arguments, place: Address, bits: &[bool]) {
    let bits: Vec<u8> = bits.iter().map(|bit| u8::from(*bit)).collect();
    if arguments.way.json {
        println!("{:#}", json!({ "address": place.to_string(), "bits": bits }));
        return;
    }
    let place = |index: usize| format!("{}:{}", place.table, usize::from(place.offset) + index);
    let rows: Vec<_> =
        bits.iter().enumerate().map(|(at, bit)| vec![place(at), bit.to_string()]).collect();
    print!("{}", sheet(&rows));
}

fn print(
    arguments: &Arguments,
    place: Address,
    words: &[u16],
    all: &[Guess],
    found: Option<(Address, Guess)>,
) {
    if arguments.way.json {
        let reading = |guess: &Guess| {
            json!({
                "type": guess.kind.as_str(),
                "order": guess.order.as_str(),
                "value": guess.value.is_finite().then_some(guess.value),
                "scale": guess.scale,
            })
        };
        let body = json!({
            "address": place.to_string(),
            "unit": arguments.unit,
            "words": words,
            "readings": all.iter().map(reading).collect::<Vec<_>>(),
            "suggestion": found.map(|(place, guess)| json!({
                "address": place.to_string(),
                "reading": reading(&guess),
            })),
        });
        println!("{body:#}");
        return;
    }
    let hex: Vec<String> = words.iter().map(|word| format!("{word:04X}")).collect();
    println!("{place} of unit {}: {}\n", arguments.unit, hex.join(" "));
    print!("{}", table(all));
    match (found, arguments.expect) {
        (Some((at, guess)), Some(expected)) => {
            if at != place {
                println!(
                    "\n{expected} is rather at {at}: does the manual count from one? Then say \
                     numbering = \"one-based\"."
                );
            }
            suggest(at, guess);
            if at == place {
                others(all, guess);
            }
        }
        (None, Some(expected)) => println!(
            "\n{expected} is not here, nor one beside. Is it another table, such as {}? Has the \
             value changed meanwhile (--within 0.05)?",
            Address { table: other(place.table), ..place }
        ),
        _ => {}
    }
}

/// Types down, orders across; what fits is marked.
fn table(all: &[Guess]) -> String {
    let mut rows = vec![vec!["type".to_owned()]];
    rows[0].extend(WordOrder::ALL.map(|order| order.as_str().to_owned()));
    for guess in all {
        let name = guess.kind.as_str();
        if rows.last().is_none_or(|row| row[0] != name) {
            rows.push(vec![
                name.to_owned(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        let column = WordOrder::ALL.iter().position(|order| *order == guess.order);
        let row = rows.last_mut().expect("one was pushed");
        row[1 + column.unwrap_or(0)] = shown(guess);
    }
    sheet(&rows)
}

fn shown(guess: &Guess) -> String {
    let size = guess.value.abs();
    let number = match guess.value {
        value if value.is_nan() => "none".to_owned(),
        value if size != 0.0 && !(1e-4..1e16).contains(&size) => format!("{value:.3e}"),
        value if value.fract() == 0.0 => format!("{value}"),
        value => format!("{value:.4}"),
    };
    match guess.scale {
        Some(1.0) => format!("{number} <=="),
        Some(scale) => format!("{number} <== x {scale}"),
        None => number,
    }
}

fn suggest(place: Address, guess: Guess) {
    println!("\n[[modbus.register]]\ntag = \"…\"\naddress = \"{place}\"");
    println!("type = \"{}\"", guess.kind.as_str());
    if guess.order != WordOrder::Abcd {
        println!("order = \"{}\"", guess.order.as_str());
    }
    if let Some(scale) = guess.scale.filter(|scale| *scale != 1.0) {
        println!("scale = {scale:?}");
    }
}

/// A small number fits many types, and only one of them when it has grown.
fn others(all: &[Guess], chosen: Guess) {
    let alike = all.iter().filter(|guess| guess.scale == chosen.scale && **guess != chosen);
    let names: Vec<String> =
        alike.map(|guess| format!("{} {}", guess.kind.as_str(), guess.order.as_str())).collect();
    if !names.is_empty() {
        println!("\nFits as well, the manual's type decides: {}.", names.join(", "));
    }
}

const fn other(table: Table) -> Table {
    match table {
        Table::Holding => Table::Input,
        _ => Table::Holding,
    }
}
