//! Several boxes at one site: which assets are whose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Broker, Settings};

/// `[share]`: this box's part of a site that several boxes split. Without it all assets are its own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareSettings {
    /// The box's name among those of the site: part of its client ids and of its status topic.
    #[serde(rename = "box")]
    pub name: String,
    /// Into how many shares the site is split; the same on every box. An asset's share is reckoned
    /// from its name.
    pub of: u16,
    /// The shares of this box, counted from 1. No other box may have one of them.
    pub take: Vec<u16>,
    /// Assets whose share is written instead; the first entry that matches wins. The same on every box.
    #[serde(default)]
    pub pin: Vec<Pin>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// `*` stands for any run of characters.
    pub assets: Vec<String>,
    /// From 1.
    pub share: u16,
}

impl Settings {
    /// The broker `name` as this box goes there: under an id that no other box of the site has.
    pub fn broker_as_box(&self, name: &str) -> Option<Broker> {
        let mut broker = self.broker.get(name)?.clone();
        if let (Some(id), Some(share)) = (&mut broker.client_id, &self.share) {
            *id = format!("{id}-{}", share.name);
        }
        Some(broker)
    }

    /// What stands in client ids that nobody has written: the site, and which of its boxes.
    pub fn station(&self) -> String {
        let site = &self.site.name;
        self.share.as_ref().map_or_else(|| site.clone(), |share| format!("{site}-{}", share.name))
    }
}
