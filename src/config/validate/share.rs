//! A site that several boxes split: shares that exist, and subscriptions that fit.

use super::super::path;
use super::{Check, names};
use crate::settings::{Settings, ShareSettings};

/// More shares than this bring nothing: assets move one share at a time.
const MOST: u16 = 1024;

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    shared_subscriptions(check, settings);
    let Some(share) = &settings.share else { return };
    names::level(check, "share.box", "the box's name", &share.name);
    if !(1..=MOST).contains(&share.of) {
        let message = format!("a site cannot be split into {} shares", share.of);
        check.error("share.of", message, format!("write 1 to {MOST}, the same on every box"));
        return;
    }
    numbers(check, share);
    for (at, pin) in share.pin.iter().enumerate() {
        let at = path::element("share.pin", at);
        number(check, &path::child(&at, "share"), pin.share, share.of);
        let assets = path::child(&at, "assets");
        if pin.assets.is_empty() {
            let help = "name the assets: assets = [\"press-*\"]";
            check.error(&assets, "the pin holds no asset", help);
        }
        for (index, pattern) in pin.assets.iter().enumerate() {
            names::pattern(check, &path::element(&assets, index), "the asset", pattern);
        }
    }
}

fn numbers(check: &mut Check<'_>, share: &ShareSettings) {
    for (index, taken) in share.take.iter().enumerate() {
        let at = path::element("share.take", index);
        number(check, &at, *taken, share.of);
        if share.take[..index].contains(taken) {
            let message = format!("share {taken} stands twice");
            check.warning(&at, message, "leave the second one out");
        }
    }
    if share.take.is_empty() {
        check.warning(
            "share.take",
            "this box looks after no asset",
            "that is right for one that stands by; else name its shares: take = [1]",
        );
    }
}

fn number(check: &mut Check<'_>, at: &str, number: u16, of: u16) {
    if !(1..=of).contains(&number) {
        let message = format!("there is no share {number} of {of}");
        check.error(at, message, format!("shares are counted from 1 to {of}"));
    }
}

/// A shared subscription gives each message to one box of its group, whichever that is.
fn shared_subscriptions(check: &mut Check<'_>, settings: &Settings) {
    for (index, subscription) in settings.mqtt.iter().enumerate() {
        if !subscription.topic.starts_with("$share/") {
            continue;
        }
        let at = path::child(&path::element("mqtt", index), "topic");
        if settings.share.is_some() {
            check.error(
                &at,
                "a shared subscription gives a message to any one box, and [share] drops it there if the asset is another's",
                "leave `$share/<group>/` out: with [share] each box takes its own assets from the plain topic",
            );
        } else if !settings.prediction.is_empty() || !settings.rule.is_empty() {
            check.warning(
                &at,
                "the broker deals the messages of one asset out to all boxes of the group, so windows and alerts of each have holes",
                "split the site with [share] instead, or have the broker deal out by topic; docs/scaling.md says how",
            );
        }
    }
}
