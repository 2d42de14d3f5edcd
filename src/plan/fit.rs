//! Whether the configuration and its models fit together: tags, units, windows; and whether the
//! lines can carry their polls.

use crate::asset::NamePattern;
use crate::config::{self, Diagnostic, Source};
use crate::modbus;
use crate::model::{Loaded, LoadedPrediction};
use crate::settings::{Extent, Settings, TagSettings};

/// Spellings of one unit.
const SAME: [&[&str]; 5] = [
    &["degC", "°C", "C", "celsius"],
    &["degF", "°F", "F", "fahrenheit"],
    &["rpm", "1/min", "min-1", "min^-1"],
    &["%", "percent", "pct"],
    &["um", "µm", "μm"],
];

/// What does not fit. `settings` are those that `loaded` was made of.
pub(super) fn models(settings: &Settings, loaded: &Loaded, source: &Source) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for bound in &loaded.predictions {
        let Some(at) = settings.prediction.iter().position(|own| own.name == bound.name) else {
            continue;
        };
        let at = format!("prediction[{at}]");
        found.extend(gap(bound, &at, source));
        let card = &loaded.models[bound.worker].card;
        for (input, plant) in card.input.tag.iter().zip(&bound.plant_tags) {
            let written = format!("{at}.tags.{}", input.name);
            let place = if source.has(&written) { written } else { format!("{at}.model") };
            if !config::may_hear(settings, &bound.assets, plant) {
                let message =
                    format!("no source of these assets delivers {plant:?}, which the model reads");
                let help =
                    format!("say what the plant calls it: tags = {{ {} = \"…\" }}", input.name);
                found.push(source.warning(&place, message).with_help(help));
            }
            let Some(trained) = &input.unit else { continue };
            if let Some(unit) = unit_of(&settings.tag, &bound.assets, plant)
                && !is_same(unit, trained)
            {
                let message =
                    format!("{plant:?} is in {unit:?}; the model was trained with {trained:?}");
                let help = "deliver it in the model's unit, or correct the tag's `unit`";
                found.push(source.warning(&place, message).with_help(help));
            }
        }
    }
    found
}

/// The card's length or hop may be the other half.
fn gap(bound: &LoadedPrediction, at: &str, source: &Source) -> Option<Diagnostic> {
    let longer = match (bound.window.length?, bound.window.hop?) {
        (Extent::Time(length), Extent::Time(hop)) => hop > length,
        (Extent::Rows(length), Extent::Rows(hop)) => hop > length,
        _ => false,
    };
    let place = ["hop", "length"].map(|name| format!("{at}.window.{name}"));
    let place = place.into_iter().find(|place| longer && source.has(place))?;
    let message = "with what the model's card says, `hop` is longer than `length`: what lies \
                   between two windows would never be looked at";
    Some(source.error(&place, message).with_help("write both, `hop` as long as `length` at most"))
}

/// What the last `[[tag]]` says that speaks of this tag of any of these assets.
fn unit_of<'a>(tags: &'a [TagSettings], assets: &[NamePattern], tag: &str) -> Option<&'a str> {
    let speaks = |entry: &&TagSettings| {
        let own = NamePattern::new(&*entry.asset);
        let meets =
            |asset: &NamePattern| asset.matches(&entry.asset) || own.matches(asset.as_str());
        NamePattern::new(&*entry.name).matches(tag) && assets.iter().any(meets)
    };
    tags.iter().rev().find(speaks)?.unit.as_deref()
}

fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    let is = |unit: &str, name: &&str| unit == *name;
    one == other
        || SAME.iter().any(|names| {
            names.iter().any(|name| is(one, name)) && names.iter().any(|name| is(other, name))
        })
}

/// Lines that are asked for more than they can carry.
pub(super) fn lines(settings: &Settings, source: &Source) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for devices in modbus::group(&settings.modbus) {
        let plans: Vec<_> =
            devices.iter().filter_map(|device| modbus::Plan::build(device).ok()).collect();
        let load: f64 = plans.iter().map(modbus::Plan::load).sum();
        if load <= 1.0 {
            continue;
        }
        let busiest =
            devices.iter().zip(&plans).max_by(|(_, a), (_, b)| a.load().total_cmp(&b.load()));
        let Some((device, _)) = busiest else { continue };
        let same = |own: &crate::settings::ModbusDevice| {
            own.asset == device.asset && own.unit == device.unit && own.address == device.address
        };
        let at = settings.modbus.iter().position(same).unwrap_or_default();
        let message = format!(
            "polling {} takes about {:.0} % of the time that there is",
            device.address,
            load * 100.0
        );
        let help = "poll less often, name fewer registers, or raise the line's speed; `andon \
                    modbus plan` shows each request";
        found.push(source.warning(&format!("modbus[{at}].interval"), message).with_help(help));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_unit_are_the_same() {
        assert!(is_same("°C", "degC") && is_same(" bar", "bar"));
        assert!(!is_same("K", "degC") && !is_same("mA", "MA"));
    }
}
