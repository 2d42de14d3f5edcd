//! The configuration as a JSON Schema, for editors: made from the settings and their comments.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Settings;

/// In the draft that editors of TOML know.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Settings>();
    schema.insert("$id".into(), "urn:andon:schema:config".into());
    schema.insert("title".into(), "Andon configuration".into());
    schema.into()
}
