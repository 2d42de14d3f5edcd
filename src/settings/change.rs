//! What a reload does: the difference of two configurations, setting by setting.
//!
//! [`changes`] names every difference and how it takes effect; [`applicable`] is the new
//! configuration with whatever needs a restart left as it was. Pure: the reload, `andon config
//! diff` and the tests use the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{Prediction, Settings, ShareSettings};

/// How a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// At once; nothing else notices.
    Live,
    /// The connection that it is about is made anew, and no other.
    Reconnect,
    /// With the next start of the daemon.
    Restart,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `rule.hot.limit`, `modbus.press-3`: entries go by their names, not by their places.
    pub key: String,
    /// Absent: the setting is new.
    pub from: Option<Value>,
    /// Absent: the setting is gone.
    pub to: Option<Value>,
    pub effect: Effect,
}

/// Lists whose entries have names of their own, and the settings that make the name.
const LISTS: [(&str, &[&str]); 6] = [
    ("mqtt", &["broker", "topic"]),
    ("modbus", &["asset"]),
    ("folder", &["path"]),
    ("tag", &["asset", "name"]),
    ("prediction", &["name"]),
    ("rule", &["name"]),
];
const SHOWN: usize = 60;

/// Every difference between two configurations, by key.
pub fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    let (before, after) = (entries(old), entries(new));
    let mut found = Vec::new();
    let keys: BTreeSet<&Vec<String>> = before.keys().chain(after.keys()).collect();
    for key in keys {
        compare(key.clone(), before.get(key), after.get(key), &mut found);
    }
    found.extend(order(old, new));
    let bound = Bound::of(old, new);
    found
        .into_iter()
        .map(|(path, from, to)| {
            let effect = bound.effect(&path, to.is_some());
            Change { key: path.join("."), from, to, effect }
        })
        .collect()
}

/// `new`, with everything that needs a restart as it is in `old`.
#[must_use]
pub fn applicable(old: &Settings, new: &Settings) -> Settings {
    let mut merged = Settings {
        site: old.site.clone(),
        store: old.store.clone(),
        runtime: old.runtime.clone(),
        http: old.http.clone(),
        service: old.service.clone(),
        drift: old.drift.clone(),
        flood: old.flood.clone(),
        limits: old.limits.clone(),
        log: old.log.clone(),
        publish: old.publish.clone(),
        share: share(old, new).cloned(),
        ..new.clone()
    };
    if let (Some(kept), Some(wanted)) = (&mut merged.publish, &new.publish) {
        kept.verdicts = wanted.verdicts;
    }
    let bound = Bound::of(old, new);
    if let Some(broker) = bound.broker {
        merged.broker.entry(broker.to_owned()).or_insert_with(|| old.broker[broker].clone());
    }
    let wanted = |kept: &Prediction| {
        let same = new.prediction.iter().find(|wanted| wanted.name == kept.name);
        same.filter(|wanted| !bound.replaced.contains(&*wanted.name)).unwrap_or(kept).clone()
    };
    merged.prediction = old.prediction.iter().map(wanted).collect();
    merged.rule.retain(|rule| !bound.predictions.contains(&*rule.name));
    merged
}

/// A box goes on under its name, and cannot become one of several while it runs.
fn share<'a>(old: &'a Settings, new: &'a Settings) -> Option<&'a ShareSettings> {
    let name = |settings: &'a Settings| settings.share.as_ref().map(|share| &share.name);
    if name(old) == name(new) { new.share.as_ref() } else { old.share.as_ref() }
}

impl Change {
    pub fn needs_restart(&self) -> bool {
        self.effect == Effect::Restart
    }
}

/// `rule.hot.limit: 80.0 -> 85.0 (live)`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| {
            let text = value.to_string();
            match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        };
        write!(f, "{}: ", self.key)?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{} -> {}", shown(from), shown(to))?,
            (None, Some(_)) => f.write_str("added")?,
            (Some(_), None) => f.write_str("removed")?,
            (None, None) => {}
        }
        write!(f, " ({})", self.effect)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Reconnect => "reconnects",
            Self::Restart => "needs a restart",
        })
    }
}

type Path = Vec<String>;
type Difference = (Path, Option<Value>, Option<Value>);

/// The settings by section and name: `["rule", "hot"]`, `["store"]`.
fn entries(settings: &Settings) -> BTreeMap<Path, Value> {
    let whole = serde_json::to_value(settings).expect("settings have text keys");
    let Value::Object(sections) = written(whole) else { return BTreeMap::new() };
    let mut entries = BTreeMap::new();
    for (section, value) in sections {
        let list = LISTS.iter().find(|(name, _)| *name == section);
        match (list, value) {
            (Some((_, names)), Value::Array(items)) => {
                for item in items {
                    let name: Vec<&str> =
                        names.iter().filter_map(|name| item[*name].as_str()).collect();
                    let name = name.join("/");
                    let mut path = vec![section.clone(), name.clone()];
                    let mut number = 1;
                    while entries.contains_key(&path) {
                        number += 1;
                        path[1] = format!("{name}#{number}");
                    }
                    entries.insert(path, item);
                }
            }
            (None, Value::Object(named)) if section == "broker" => {
                let named = named.into_iter();
                entries.extend(named.map(|(name, broker)| (vec![section.clone(), name], broker)));
            }
            (_, value) => {
                entries.insert(vec![section], value);
            }
        }
    }
    entries
}

/// Without the settings that nobody has written and that have no default.
fn written(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            let table = table.into_iter().filter(|(_, value)| !value.is_null());
            table.map(|(key, value)| (key, written(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(written).collect(),
        value => value,
    }
}

/// Settings within a table one by one; everything else as a whole.
fn compare(path: Path, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let mut path = path.clone();
                path.push(key.clone());
                compare(path, before.get(key), after.get(key), found);
            }
        }
        (from, to) => found.push((path, from.cloned(), to.cloned())),
    }
}

/// The last `[[tag]]` that matches wins, so their order is a setting too.
fn order(old: &Settings, new: &Settings) -> Option<Difference> {
    let names = |settings: &Settings| -> Vec<Value> {
        let name = |tag: &super::TagSettings| format!("{}/{}", tag.asset, tag.name).into();
        settings.tag.iter().map(name).collect()
    };
    let (before, after) = (names(old), names(new));
    let sorted = |names: &[Value]| {
        let mut names: Vec<String> = names.iter().map(Value::to_string).collect();
        names.sort();
        names
    };
    (before != after && sorted(&before) == sorted(&after)).then(|| {
        let path = vec!["tag".to_owned(), "order".to_owned()];
        (path, Some(before.into()), Some(after.into()))
    })
}

/// What the running daemon cannot let go of.
struct Bound<'a> {
    /// Of the alerts.
    broker: Option<&'a str>,
    predictions: BTreeSet<&'a str>,
    /// Those that differ in more than their alerts: they stay as they are, whole.
    replaced: BTreeSet<&'a str>,
    /// Another name of the box: its share waits with it.
    renamed: bool,
}

impl<'a> Bound<'a> {
    fn of(old: &'a Settings, new: &Settings) -> Self {
        let differs = |kept: &&Prediction| {
            let wanted = new.prediction.iter().find(|wanted| wanted.name == kept.name);
            wanted.is_some_and(|wanted| {
                **kept != Prediction { alert: kept.alert.clone(), ..wanted.clone() }
            })
        };
        let name = |prediction: &'a Prediction| prediction.name.as_str();
        let broker = old.publish.as_ref().map(|publish| publish.broker.as_str());
        Self {
            broker: broker.filter(|name| old.broker.contains_key(*name)),
            predictions: old.prediction.iter().map(name).collect(),
            replaced: old.prediction.iter().filter(differs).map(name).collect(),
            renamed: share(old, new) != new.share.as_ref(),
        }
    }

    fn effect(&self, path: &[String], stays: bool) -> Effect {
        let step = |at: usize| path.get(at).map_or("", String::as_str);
        match step(0) {
            // The name is not free until the prediction that has it is gone.
            "rule" if self.predictions.contains(step(1)) => Effect::Restart,
            "rule" | "tag" | "mqtt" => Effect::Live,
            "prediction" if step(2) == "alert" && !self.replaced.contains(step(1)) => Effect::Live,
            "publish" if step(1) == "verdicts" => Effect::Live,
            "share" if !self.renamed => Effect::Live,
            "broker" if !stays && self.broker == Some(step(1)) => Effect::Restart,
            "broker" | "modbus" | "folder" => Effect::Reconnect,
            _ => Effect::Restart,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        changes(&settings(old), &settings(new)).iter().map(Change::to_string).collect()
    }

    const RULE: &str = "[[rule]]\nname = 'hot'\nassets = ['p']\ntag = 't'\nwhen = 'above'\n";

    #[test]
    fn a_threshold_is_one_live_change() {
        let (old, new) = (format!("{RULE}limit = 80.0"), format!("{RULE}limit = 85.0"));
        assert_eq!(told(&old, &new), ["rule.hot.limit: 80.0 -> 85.0 (live)"]);
        assert_eq!(told(&old, &old), [""; 0]);
    }

    #[test]
    fn a_device_reconnects_and_the_buffer_needs_a_restart() {
        let new = "[[modbus]]\nasset = 'p'\naddress = 'tcp://h'\n[store]\npath = '/x'\n";
        assert_eq!(
            told("", new),
            [
                "modbus.p: added (reconnects)",
                "store.path: \"/var/lib/andon/andon.db\" -> \"/x\" (needs a restart)"
            ]
        );
    }

    #[test]
    fn a_prediction_with_another_model_keeps_its_alert_until_the_restart() {
        let text = |model: &str, raise: f64| {
            format!(
                "[[prediction]]\nname = 'wear'\nmodel = '{model}'\nassets = ['*']\n\
                 alert = {{ raise = {raise:?} }}"
            )
        };
        let (old, live, other) = (text("a", 0.5), text("a", 0.7), text("b", 0.7));
        assert_eq!(told(&old, &live), ["prediction.wear.alert.raise: 0.5 -> 0.7 (live)"]);
        assert!(told(&old, &other).iter().all(|change| change.ends_with("(needs a restart)")));
        let (old, other) = (settings(&old), settings(&other));
        assert_eq!(applicable(&old, &other), old);
    }

    #[test]
    fn the_order_of_tags_is_a_change_because_the_last_wins() {
        let tag = |name: &str| format!("[[tag]]\nasset = '*'\nname = '{name}'\n");
        let told = told(&(tag("a") + &tag("*")), &(tag("*") + &tag("a")));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("tag.order: "), "{told:?}");
    }

    /// Small configurations that have much in common.
    fn any_settings() -> impl Strategy<Value = Settings> {
        let parts: Vec<&'static str> = vec![
            "broker = { a = { url = 'mqtt://a' }, b = { url = 'mqtt://b' } }",
            "broker = { a = { url = 'mqtt://c' } }",
            "publish = { broker = 'a', prefix = 'x' }",
            "publish = { broker = 'b', prefix = 'x', verdicts = true }",
            "store = { path = '/y' }",
            "share = { box = 'a', of = 2, take = [1] }",
            "share = { box = 'a', of = 2, take = [1, 2] }",
            "share = { box = 'b', of = 2, take = [2] }",
            "http = { hosts = ['h'] }",
            "site = { name = 'z' }",
            "log = { level = 'debug' }",
            "limits = { tags = 7 }",
            "mqtt = [{ broker = 'a', topic = 't/{asset}', payload = 'json' }]",
            "mqtt = [{ broker = 'a', topic = 't/{asset}', payload = 'json', qos = 0 }]",
            "modbus = [{ asset = 'p', address = 'tcp://h' }, { asset = 'p', address = 'tcp://i' }]",
            "modbus = [{ asset = 'p', address = 'tcp://h', unit = 3 }]",
            "folder = [{ path = '/c', asset = 'p' }]",
            "folder = [{ path = '/c', asset = 'p', after = 'delete' }]",
            "tag = [{ asset = '*', name = 't', range = [0.0, 1.0] }]",
            "prediction = [{ name = 'n', model = 'm', assets = ['*'] }]",
            "prediction = [{ name = 'n', model = 'm', assets = ['*'], alert = { raise = 1.0 } }]",
            "prediction = [{ name = 'n', model = 'k', assets = ['*'], alert = { n = 2 } }]",
            "rule = [{ name = 'n', assets = ['*'], tag = 't', when = 'above', limit = 1.0 }]",
            "rule = [{ name = 'r', assets = ['*'], tag = 't', when = 'above', limit = 2.0 }]",
            "rule = [{ name = 'r', assets = ['*'], tag = 't', when = 'silent', for = '2s' }]",
        ];
        prop::collection::vec(any::<bool>(), parts.len()).prop_map(move |taken| {
            let mut table = toml::Table::new();
            for (part, _) in parts.iter().zip(taken).filter(|(_, taken)| *taken) {
                table.extend(toml::from_str::<toml::Table>(part).unwrap());
            }
            let mut settings: Settings = table.try_into().unwrap();
            // `andon check` refuses a name that stands twice.
            if !settings.prediction.is_empty() {
                settings.rule.retain(|rule| rule.name != "n");
            }
            settings
        })
    }

    proptest! {
        #[test]
        fn what_is_applied_needs_no_restart_and_what_is_left_does(
            old in any_settings(), new in any_settings()
        ) {
            let merged = applicable(&old, &new);
            let (done, left) = (changes(&old, &merged), changes(&merged, &new));
            prop_assert!(done.iter().all(|change| !change.needs_restart()), "{done:?}");
            prop_assert!(left.iter().all(Change::needs_restart), "{left:?}");
            let all = changes(&old, &new);
            prop_assert_eq!(all.is_empty(), old == new);
            let restart = all.iter().filter(|change| change.needs_restart()).count();
            prop_assert_eq!(restart, left.len());
            prop_assert_eq!(applicable(&old, &merged), merged);
        }
    }
}
