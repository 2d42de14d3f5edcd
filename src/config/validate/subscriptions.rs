//! Subscriptions: can every value find its asset and its tag?

use super::super::path;
use super::topic;
use super::{Check, brokers, names};
use crate::decode::payload::Decoder;
use crate::decode::topic::TopicPattern;
use crate::settings::{PayloadKind, Settings, Subscription};

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let mut patterns: Vec<(usize, &str, TopicPattern)> = Vec::new();
    for (index, subscription) in settings.mqtt.iter().enumerate() {
        let at = path::element("mqtt", index);
        brokers::reference(check, settings, &path::child(&at, "broker"), &subscription.broker);
        if subscription.qos > 1 {
            check.error(
                &path::child(&at, "qos"),
                format!("QoS {} is not supported", subscription.qos),
                "use 1: a message is confirmed once it is on disk; 0 never",
            );
        }
        let topic = path::child(&at, "topic");
        match TopicPattern::parse(&subscription.topic) {
            // A stand-in for the topic overlaps with nothing.
            Ok(pattern) => {
                if check.is_decided(&at) {
                    let before = check.errors();
                    check_payload(check, &at, subscription, &pattern);
                    if check.errors() == before && subscription.qos <= 1 {
                        check_decoder(check, &at, subscription);
                    }
                }
                overlaps(check, settings, &topic, subscription, &pattern, &patterns);
                patterns.push((index, &subscription.broker, pattern));
            }
            Err(error) => check.error(
                &topic,
                error.to_string(),
                "write for instance \"plant/line1/{asset}/{tag}\"; `+` is any one level, a \
                 closing `#` all further ones",
            ),
        }
    }
}

fn overlaps(
    check: &mut Check<'_>,
    settings: &Settings,
    topic: &str,
    subscription: &Subscription,
    pattern: &TopicPattern,
    earlier: &[(usize, &str, TopicPattern)],
) {
    for (index, broker, other) in earlier {
        if *broker == subscription.broker && topic::overlap(pattern, other) {
            let first = path::child(&path::element("mqtt", *index), "topic");
            let place = check.source.line_of(&first, topic);
            check.warning(
                topic,
                format!("some messages also match the [[mqtt]] topic {place}"),
                "the earlier of the two reads them; make the topics distinct",
            );
        }
    }
    if let Some(publish) = &settings.publish
        && publish.broker == subscription.broker
        && topic::own(&publish.prefix).iter().any(|own| topic::overlap(own, pattern))
    {
        check.warning(
            topic,
            format!("this topic also takes in our own alerts below {:?}", publish.prefix),
            "narrow the topic, or publish under another prefix",
        );
    }
}

/// What the decoder alone knows to refuse.
fn check_decoder(check: &mut Check<'_>, at: &str, subscription: &Subscription) {
    use crate::decode::payload::DecoderError::{NoJson, Path};
    if let Err(error) = Decoder::new(subscription) {
        let (path, help) = match &error {
            Path { setting, .. } => {
                (path::child(at, setting), "leave it out where there is no key around the values")
            }
            NoJson(setting) => (path::child(at, setting), "leave it out"),
            _ => (at.to_owned(), "docs/configuration.md shows what each payload needs"),
        };
        check.error(&path, error.to_string(), help);
    }
}

fn check_payload(
    check: &mut Check<'_>,
    at: &str,
    subscription: &Subscription,
    pattern: &TopicPattern,
) {
    use PayloadKind::{Image, Json, Number, Samples, Text};
    let kind = subscription.payload;
    let packed = !matches!(kind, Json | Samples | Number | Image | Text);
    let named_inside = kind == Samples && subscription.asset_key.is_some();

    match &subscription.asset {
        Some(_) if pattern.captures_asset() => {
            check.idle(at, "asset", "the topic captures `{asset}`");
        }
        Some(asset) => names::level(check, &path::child(at, "asset"), "the asset", asset),
        None if pattern.captures_asset() || named_inside => {}
        None => {
            let or = if kind == Samples { ", or name its key with `asset_key`" } else { "" };
            check.error(
                &path::child(at, "topic"),
                "nothing says which asset the values belong to",
                format!(
                    "put `{{asset}}` for its level in the topic, or set asset = \"press-3\"{or}"
                ),
            );
        }
    }
    let tag_outside = kind == Number || packed;
    match &subscription.tag {
        _ if kind == Image => {
            check.idle(at, "tag", "a picture goes to the models that watch its asset");
        }
        _ if kind == Text => {
            check.idle(at, "tag", "a text goes to the models that read those of its asset");
        }
        _ if !tag_outside => check.idle(at, "tag", "the payload names its tags"),
        Some(_) if pattern.captures_tag() => {
            check.idle(at, "tag", "the topic captures `{tag}`");
        }
        Some(tag) => names::tag(check, &path::child(at, "tag"), tag),
        None if pattern.captures_tag() => {}
        None => check.error(
            &path::child(at, "topic"),
            "nothing says which tag the values belong to",
            "put `{tag}` for its level in the topic, or set tag = \"vibration\"",
        ),
    }
    if packed {
        match subscription.sample_rate {
            Some(rate) if rate.is_finite() && rate > 0.0 => {}
            Some(rate) => check.error(
                &path::child(at, "sample_rate"),
                format!("{rate:?} samples a second cannot be"),
                "write how many values the sensor takes each second: sample_rate = 12800",
            ),
            None => check.error(
                &path::child(at, "sample_rate"),
                "packed values need `sample_rate`",
                "write how many values the sensor takes each second: sample_rate = 12800",
            ),
        }
        if !subscription.scale.is_finite() || subscription.scale == 0.0 {
            check.error(
                &path::child(at, "scale"),
                format!("a scale of {:?} leaves nothing of the values", subscription.scale),
                "leave it out for 1.0",
            );
        }
    }
    idle_settings(check, at, kind);
}

fn idle_settings(check: &mut Check<'_>, at: &str, kind: PayloadKind) {
    use PayloadKind::{Image, Json, Number, Samples, Text};
    if kind != Samples {
        for name in ["tag_key", "asset_key", "value_key"] {
            check.idle(at, name, "it belongs to `samples`");
        }
    }
    if matches!(kind, Json | Samples | Number | Image | Text) {
        for name in ["byte_order", "sample_rate", "scale"] {
            check.idle(at, name, "it belongs to packed values (i16, i32, f32, f64)");
        }
    }
}
