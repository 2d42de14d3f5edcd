//! Brokers, and who refers to them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytesize::ByteSize;

use super::super::{path, wording};
use super::{Check, names};
use crate::settings::{Broker, Settings, Tls};

/// MQTT counts the keep alive in 16 bits of seconds, and the client wants five at least.
const KEEP_ALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(65_535);
/// MQTT's longest packet.
const MAX_PAYLOAD: ByteSize = ByteSize::mib(256);

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    let used: BTreeSet<&String> = settings
        .mqtt
        .iter()
        .map(|subscription| &subscription.broker)
        .chain(settings.publish.iter().map(|publish| &publish.broker))
        .collect();
    // A reference that went wrong may well mean the broker that seems unused.
    let known = used.iter().all(|name| settings.broker.contains_key(*name));
    for (name, broker) in &settings.broker {
        let at = path::child("broker", name);
        check_broker(check, &at, broker);
        if known && !used.contains(name) {
            check.warning(
                &at,
                format!("no [[mqtt]] and no [publish] uses the broker `{name}`"),
                "leave it out, or name it in their `broker`",
            );
        }
    }
    if let Some(publish) = &settings.publish {
        reference(check, settings, "publish.broker", &publish.broker);
        names::prefix(check, "publish.prefix", &publish.prefix);
        if publish.status_interval < Duration::from_secs(1) {
            check.error(
                "publish.status_interval",
                "the status can be published once a second at most",
                "\"10s\" is the default",
            );
        }
    }
}

/// That the broker `name` exists.
pub(super) fn reference(check: &mut Check<'_>, settings: &Settings, at: &str, name: &str) {
    // A broker that could not be read is there all the same.
    if settings.broker.contains_key(name) || check.source.has(&path::child("broker", name)) {
        return;
    }
    let known: Vec<&str> = settings.broker.keys().map(String::as_str).collect();
    let help = match (wording::nearest(name, &known), known.as_slice()) {
        (Some(meant), _) => format!("did you mean \"{meant}\"?"),
        (None, []) => {
            format!("add [broker.{name}] with url = \"mqtt://127.0.0.1:1883\"")
        }
        (None, known) => format!("known are: {}", known.join(", ")),
    };
    check.error(at, format!("there is no broker {name:?}"), help);
}

fn check_broker(check: &mut Check<'_>, at: &str, broker: &Broker) {
    check_url(check, &path::child(at, "url"), &broker.url);
    if broker.client_id.as_ref().is_some_and(|id| id.trim().is_empty()) {
        check.error(
            &path::child(at, "client_id"),
            "the client id is empty",
            "leave it out: the default names the site and the host",
        );
    }
    if broker.password_file.is_some() && broker.username.is_none() {
        check.error(
            &path::child(at, "password_file"),
            "a password without `username`",
            "add username = \"…\"",
        );
    }
    let encrypted = broker.url.starts_with("mqtts://");
    match &broker.tls {
        Some(tls) if encrypted => check_tls(check, &path::child(at, "tls"), tls),
        Some(_) => check.idle(at, "tls", "the url does not begin with mqtts://"),
        None if encrypted => check.error(
            &path::child(at, "url"),
            "mqtts:// without `tls`: whom should the box trust?",
            "add tls = { ca_file = \"/etc/andon/plant-ca.pem\" }",
        ),
        None => {}
    }
    if broker.password_file.is_some() && !encrypted && !is_near(&broker.url) {
        check.warning(
            &path::child(at, "password_file"),
            "the password goes over the network unencrypted",
            "use mqtts:// with `tls`",
        );
    }
    if !KEEP_ALIVE.contains(&broker.keep_alive) {
        check.error(
            &path::child(at, "keep_alive"),
            format!("{} is outside 5s to 65535s", humantime::format_duration(broker.keep_alive)),
            "\"30s\" is the default",
        );
    }
    if broker.session_expiry.as_secs() > u64::from(u32::MAX) {
        check.error(
            &path::child(at, "session_expiry"),
            "longer than MQTT can say (136 years)",
            "\"1day\" is the default",
        );
    }
    if broker.receive_maximum == 0 {
        check.error(
            &path::child(at, "receive_maximum"),
            "with 0 the broker may send nothing",
            "1 to 65535; the default is 16384",
        );
    }
    if broker.max_payload == ByteSize(0) || broker.max_payload >= MAX_PAYLOAD {
        check.error(
            &path::child(at, "max_payload"),
            format!("{} is outside 1 B to 256 MiB", broker.max_payload),
            "\"1MiB\" is the default",
        );
    }
}

/// That what stands in `tls` makes sense; its files are looked at by `andon check`.
pub(super) fn check_tls(check: &mut Check<'_>, at: &str, tls: &Tls) {
    let (there, lacking) = match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => ("cert_file", "key_file"),
        (None, Some(_)) => ("key_file", "cert_file"),
        _ => return,
    };
    check.error(
        &path::child(at, there),
        format!("`{there}` is of no use without `{lacking}`"),
        format!("add {lacking} = \"/etc/andon/…\", or leave both out"),
    );
}

fn check_url(check: &mut Check<'_>, at: &str, url: &str) {
    let help = "write \"mqtt://host\", \"mqtt://host:1883\" or, encrypted, \"mqtts://host:8883\"";
    let Some((scheme, rest)) = url.split_once("://") else {
        check.error(at, format!("{url:?} is no broker's url"), help);
        return;
    };
    match scheme {
        "mqtt" | "mqtts" => {}
        _ => {
            check.error(at, format!("the url begins with {scheme}://"), help);
            return;
        }
    }
    if rest.contains('@') {
        check.secret_error(
            at,
            "the url holds a user's name",
            "use `username` and `password_file`: a password stands in no configuration",
        );
    } else if !is_host_and_port(rest.strip_suffix('/').unwrap_or(rest)) {
        check.error(at, format!("{rest:?} is no host with a port from 1 to 65535"), help);
    }
}

/// On this box.
fn is_near(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    ["localhost", "127.", "[::1]"].iter().any(|near| place.starts_with(near))
}

/// `host`, `host:1883`, `10.0.0.5:502` or `[::1]:502`.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some(parts) => parts,
            None => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port != 0),
        None => port.is_empty(),
    };
    port && !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c))
}
