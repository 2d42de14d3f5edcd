//! The box itself: site, tags, store, limits, HTTP and log.

use std::time::Duration;

use bytesize::ByteSize;

use tracing_subscriber::EnvFilter;

use super::super::{path, wording};
use super::{Check, names};
use crate::settings::{
    HttpSettings, Listen, RuntimeSettings, Settings, StoreSettings, TagSettings,
};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
const LEAST_STORE: ByteSize = ByteSize::mib(8);
const COMMIT_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(60);

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    names::level(check, "site.name", "the site's name", &settings.site.name);
    for (index, tag) in settings.tag.iter().enumerate() {
        check_tag(check, &path::element("tag", index), tag);
    }
    check_store(check, &settings.store);
    if settings.limits.tags == 0 {
        check.error("limits.tags", "no tag at all may be learned", "leave the default, 100000");
    }
    check_http(check, &settings.http);
    check_trust(check, &settings.runtime);
    check_log_level(check, &settings.log.level);
}

fn check_http(check: &mut Check<'_>, http: &HttpSettings) {
    let Some(listen) = &http.listen else { return };
    if let Listen::Socket(file) = listen {
        if !file.is_absolute() {
            check.error(
                "http.listen",
                format!("{:?} is no path from the root on", file.display().to_string()),
                "write \"unix:/run/andon/http.sock\"",
            );
        }
        check.idle("http", "tls", "what a unix socket carries does not leave the box");
    }
    if listen.is_local() {
        return;
    }
    if http.token_file.is_none() {
        check.warning(
            "http.listen",
            format!("the board and the metrics are open to the network on {listen}, read-only"),
            "use \"127.0.0.1:9187\", or set `http.token_file` so that people can acknowledge alerts",
        );
    }
    if http.tls.is_none() {
        check.warning(
            "http.listen",
            format!("what passes over {listen} can be read and changed under way, the token too"),
            "give it a certificate: tls = { cert_file = \"…\", key_file = \"…\" }; docs/security.md leads through it",
        );
    }
}

fn check_trust(check: &mut Check<'_>, runtime: &RuntimeSettings) {
    if runtime.require_signature && runtime.trusted_keys.is_empty() {
        check.error(
            "runtime.trusted_keys",
            "a signature is required, and no key is trusted, so no model can run",
            "name the public keys: trusted_keys = [\"/etc/andon/keys/plant.pem\"]",
        );
    }
    if !runtime.require_signature {
        check.idle("runtime", "trusted_keys", "nothing is held against the keys");
    }
}

fn check_log_level(check: &mut Check<'_>, filter: &str) {
    let help = "write error, warn, info, debug or trace, or a filter such as \
                \"info,andon::modbus=debug\"";
    // To the filter's parser a misspelt level is the name of a target.
    let stray = filter
        .split(',')
        .map(str::trim)
        .find(|part| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_lowercase().as_str()));
    if let Some(stray) = stray {
        let help = match wording::nearest(stray, &LEVELS) {
            Some(meant) => format!("did you mean \"{meant}\"? {help}"),
            None => help.to_owned(),
        };
        check.error("log.level", format!("{stray:?} is no log level"), help);
    } else if let Err(error) = EnvFilter::builder().parse(filter) {
        check.error("log.level", format!("{filter:?} is no log filter: {error}"), help);
    }
}

fn check_tag(check: &mut Check<'_>, at: &str, tag: &TagSettings) {
    names::pattern(check, &path::child(at, "asset"), "the asset", &tag.asset);
    names::tag(check, &path::child(at, "name"), &tag.name);
    if let Some([low, high]) = tag.range
        && low.partial_cmp(&high) != Some(std::cmp::Ordering::Less)
    {
        let message = if low > high {
            format!("the range begins at {low:?} and ends below it, at {high:?}")
        } else {
            format!("the range from {low:?} to {high:?} holds no values")
        };
        check.error(
            &path::child(at, "range"),
            message,
            "write the lowest plausible value first: [0, 250]",
        );
    }
    for (index, value) in tag.missing.iter().enumerate() {
        if !value.is_finite() {
            check.warning(
                &path::element(&path::child(at, "missing"), index),
                format!("{value} counts as missing anyway"),
                "leave it out",
            );
        }
    }
}

fn check_store(check: &mut Check<'_>, store: &StoreSettings) {
    if store.path.as_os_str().is_empty() {
        check.error("store.path", "the path is empty", "write \"/var/lib/andon/andon.db\"");
    }
    if store.retain_bytes < LEAST_STORE {
        check.error(
            "store.retain_bytes",
            format!("{} are too few to work with", store.retain_bytes),
            "give it \"8MiB\" at least; \"2GiB\" is the default",
        );
    }
    if store.retain_age.is_zero() {
        check.error(
            "store.retain_age",
            "nothing would be kept, and no window could be rebuilt after a restart",
            "keep at least the longest window: \"1h\", \"30days\"",
        );
    }
    if !COMMIT_INTERVAL.contains(&store.commit_interval) {
        check.error(
            "store.commit_interval",
            format!("{} is outside 1ms to 60s", humantime::format_duration(store.commit_interval)),
            "\"1s\" is the default; longer spares the flash, shorter loses less in a power cut",
        );
    }
    if store.commit_samples == 0 {
        check.error("store.commit_samples", "a commit of 0 samples", "the default is 100000");
    }
    if store.queue_samples < store.commit_samples {
        let at = if check.source.has("store.queue_samples") {
            "store.queue_samples"
        } else {
            "store.commit_samples"
        };
        check.error(
            at,
            format!(
                "the queue of {} samples cannot hold one commit of {}",
                store.queue_samples, store.commit_samples
            ),
            "make `queue_samples` at least as large as `commit_samples`, better ten times",
        );
    }
}
