//! The configuration's reference as Markdown: made from the same schema that editors read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::schema::schema;

/// docs/config.md.
pub fn markdown() -> String {
    let schema = schema();
    let mut page = String::from(
        "# Every setting\n\nMade by `andon config docs` from the settings themselves. \
         [configuration.md](configuration.md) explains;\n`config/andon.toml` shows them in use. \
         Durations are texts such as `\"30s\"`, sizes such as `\"2GiB\"`.\n",
    );
    let mut open: Vec<String> = Vec::new();
    let mut told = BTreeSet::new();
    for (name, setting) in fields(&schema) {
        let (kind, list) = target(setting);
        let heading = match (list, setting["additionalProperties"].is_object()) {
            (true, _) => format!("[[{name}]]"),
            (_, true) => format!("[{name}.NAME]"),
            _ => format!("[{name}]"),
        };
        table(&mut page, &schema, &heading, &kind, &mut open);
        told.insert(kind);
    }
    while let Some(kind) = open.pop() {
        if told.insert(kind.clone()) {
            let heading = kind.clone();
            table(&mut page, &schema, &heading, &kind, &mut open);
        }
    }
    page
}

/// The rows of one table; kinds that it mentions are added to `open`.
fn table(page: &mut String, schema: &Value, heading: &str, kind: &str, open: &mut Vec<String>) {
    let definition = &schema["definitions"][kind];
    let anchor = if heading == kind {
        String::new()
    } else {
        format!("<a id=\"{}\"></a>\n\n", kind.to_lowercase())
    };
    let _ = writeln!(page, "\n{anchor}## `{heading}`");
    if let Some(text) = definition["description"].as_str() {
        let _ = writeln!(page, "{text}");
    }
    let choices = choices(definition);
    if !choices.is_empty() {
        page.push_str("\n| value | |\n|---|---|\n");
        for (value, text) in choices {
            let _ = writeln!(page, "| `{value}` | {} |", cell(&text));
        }
        return;
    }
    if fields(definition).next().is_none() {
        return;
    }
    page.push_str("\n| setting | takes | default | |\n|---|---|---|---|\n");
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, setting) in fields(definition) {
        let (kind, list) = target(setting);
        let mut takes = kind.clone();
        if schema["definitions"][&kind].is_object() {
            takes = format!("[{kind}](#{})", kind.to_lowercase());
            open.push(kind);
        }
        if list {
            takes = format!("list of {takes}");
        }
        let default = match &setting["default"] {
            _ if required.contains(&name) => "**required**".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::Array(items) if items.is_empty() => String::new(),
            value => format!("`{value}`"),
        };
        let text = setting["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {takes} | {default} | {} |", cell(text));
    }
}

fn fields(definition: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = definition["properties"].as_object().into_iter().flatten();
    fields.map(|(name, setting)| (name.as_str(), setting))
}

/// What a setting takes, and whether as a list.
fn target(setting: &Value) -> (String, bool) {
    if let Some(name) = setting["$ref"].as_str() {
        return (name.rsplit('/').next().unwrap_or_default().to_owned(), false);
    }
    for key in ["anyOf", "allOf"] {
        if let Some(first) = setting[key].get(0) {
            return target(first);
        }
    }
    if setting["items"].is_object() {
        return (target(&setting["items"]).0, true);
    }
    if setting["additionalProperties"].is_object() {
        return (target(&setting["additionalProperties"]).0, false);
    }
    let kind = setting["type"].as_str().or_else(|| setting["type"][0].as_str());
    (kind.unwrap_or("any").to_owned(), false)
}

/// The words that a setting may be, with what each means.
fn choices(definition: &Value) -> Vec<(String, String)> {
    let plain = definition["enum"].as_array().into_iter().flatten();
    let plain = plain.filter_map(|word| Some((word.as_str()?.to_owned(), String::new())));
    let told = definition["oneOf"].as_array().into_iter().flatten().flat_map(|choice| {
        let text = choice["description"].as_str().unwrap_or_default().to_owned();
        let one = choice["const"].as_str().map(str::to_owned);
        let many = choice["enum"].as_array().into_iter().flatten();
        let many = many.filter_map(|word| word.as_str().map(str::to_owned));
        one.into_iter().chain(many).map(move |word| (word, text.clone())).collect::<Vec<_>>()
    });
    plain.chain(told).collect()
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
