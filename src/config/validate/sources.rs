//! What the sources can deliver, and whether anybody waits for what never comes.

use super::super::path;
use super::Check;
use crate::asset::NamePattern;
use crate::decode::topic::TopicPattern;
use crate::settings::{PayloadKind, Settings, Subscription};

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    if settings.mqtt.is_empty() && settings.modbus.is_empty() && settings.folder.is_empty() {
        let written = ["modbus", "folder"].into_iter().find(|name| check.source.has(name));
        let at = written.unwrap_or("mqtt");
        check.error(
            at,
            "nothing to listen to: there is no [[mqtt]], no [[modbus]] and no [[folder]]",
            "add [[mqtt]] with `broker`, `topic` and `payload`, or [[modbus]] with `asset` and \
             `address`",
        );
        return;
    }
    let offers: Vec<Offer<'_>> = offers(settings);
    for (index, rule) in settings.rule.iter().enumerate() {
        let at = path::element("rule", index);
        expect_assets(check, &at, &rule.assets, &offers);
        let heard = rule.assets.iter().any(|assets| {
            let assets = NamePattern::new(assets);
            hears(&offers, &assets, &rule.tag)
        });
        if !heard && !rule.assets.is_empty() {
            check.warning(
                &path::child(&at, "tag"),
                format!("no source of these assets delivers a tag {:?}", rule.tag),
                "check its spelling against the registers and `tag` settings",
            );
        }
    }
    for (index, prediction) in settings.prediction.iter().enumerate() {
        expect_assets(check, &path::element("prediction", index), &prediction.assets, &offers);
    }
}

/// Whether a source may deliver `tag` of one of `assets`; some show only with their messages.
pub fn may_hear(settings: &Settings, assets: &[NamePattern], tag: &str) -> bool {
    let offers = offers(settings);
    assets.iter().any(|assets| hears(&offers, assets, tag))
}

fn hears(offers: &[Offer<'_>], assets: &NamePattern, tag: &str) -> bool {
    offers.iter().any(|offer| offer.serves(assets) && offer.may_have(tag))
}

/// What one source may bring; `None` where only the messages can tell.
struct Offer<'a> {
    asset: Option<&'a str>,
    tags: Option<Vec<&'a str>>,
}

impl Offer<'_> {
    fn serves(&self, assets: &NamePattern) -> bool {
        self.asset.is_none_or(|asset| assets.matches(asset))
    }

    fn may_have(&self, tag: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.contains(&tag))
    }
}

fn offers(settings: &Settings) -> Vec<Offer<'_>> {
    let devices = settings.modbus.iter().map(|device| Offer {
        asset: Some(&device.asset),
        tags: Some(device.register.iter().map(|register| register.tag.as_str()).collect()),
    });
    let folders = settings.folder.iter();
    let folders = folders.map(|f| Offer { asset: Some(&f.asset), tags: Some(Vec::new()) });
    settings.mqtt.iter().map(offer).chain(devices).chain(folders).collect()
}

fn offer(subscription: &Subscription) -> Offer<'_> {
    let pattern = TopicPattern::parse(&subscription.topic).ok();
    let captures_asset = pattern.as_ref().is_none_or(TopicPattern::captures_asset);
    let captures_tag = pattern.as_ref().is_none_or(TopicPattern::captures_tag);
    let names_asset = captures_asset || subscription.asset_key.is_some();
    let names_tag =
        captures_tag || matches!(subscription.payload, PayloadKind::Json | PayloadKind::Samples);
    Offer {
        asset: if names_asset { None } else { subscription.asset.as_deref() },
        tags: if subscription.payload == PayloadKind::Image {
            Some(Vec::new())
        } else if names_tag {
            None
        } else {
            subscription.tag.as_deref().map(|tag| vec![tag])
        },
    }
}

fn expect_assets(check: &mut Check<'_>, at: &str, assets: &[String], offers: &[Offer<'_>]) {
    let at = path::child(at, "assets");
    for (index, name) in assets.iter().enumerate() {
        let pattern = NamePattern::new(name);
        if !offers.iter().any(|offer| offer.serves(&pattern)) {
            check.warning(
                &path::element(&at, index),
                format!("no source speaks of an asset {name:?}"),
                "check its spelling; `*` stands for any run of characters",
            );
        }
    }
}
