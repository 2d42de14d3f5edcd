//! The board's words, in the languages it speaks.

use crate::api::shape::AssetState;

#[derive(Debug)]
pub(super) struct Words {
    pub(super) lang: &'static str,
    pub(super) overview: &'static str,
    pub(super) history: &'static str,
    pub(super) health: &'static str,
    pub(super) your_name: &'static str,
    pub(super) lost: &'static str,
    pub(super) failed: &'static str,
    pub(super) no_such_asset: &'static str,
    pub(super) no_assets: &'static str,
    pub(super) no_alerts: &'static str,
    pub(super) alerts: &'static str,
    pub(super) since: &'static str,
    pub(super) because: &'static str,
    pub(super) says: &'static str,
    pub(super) limit: &'static str,
    pub(super) acknowledge: &'static str,
    pub(super) shelve: &'static str,
    pub(super) unshelve: &'static str,
    pub(super) seen_by: &'static str,
    pub(super) until: &'static str,
    pub(super) tag: &'static str,
    pub(super) value: &'static str,
    pub(super) age: &'static str,
    pub(super) quality: &'static str,
    pub(super) missing: &'static str,
    pub(super) judges: &'static str,
    pub(super) score: &'static str,
    pub(super) model: &'static str,
    pub(super) rule: &'static str,
    pub(super) trends: &'static str,
    pub(super) sources: &'static str,
    pub(super) connected: &'static str,
    pub(super) disconnected: &'static str,
    pub(super) unpublished: &'static str,
    pub(super) unwritable: &'static str,
    pub(super) messages: &'static str,
    pub(super) errors: &'static str,
    pub(super) last_data: &'static str,
    pub(super) models: &'static str,
    pub(super) device: &'static str,
    pub(super) inferences: &'static str,
    pub(super) samples: &'static str,
    pub(super) received: &'static str,
    pub(super) stored: &'static str,
    pub(super) rejected: &'static str,
    pub(super) shed: &'static str,
    pub(super) outbox: &'static str,
    pub(super) dead_letters: &'static str,
    pub(super) disk: &'static str,
    pub(super) time: &'static str,
    pub(super) asset: &'static str,
    pub(super) what: &'static str,
    pub(super) who: &'static str,
    states: [&'static str; 6],
    causes: [(&'static str, &'static str); 8],
}

impl Words {
    /// For a list of languages as a browser sends it; English where none is known.
    pub(super) fn of(languages: &str) -> &'static Self {
        let known = |tag: &str| match tag.trim().get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("de") => Some(&GERMAN),
            Some("en") => Some(&ENGLISH),
            _ => None,
        };
        languages.split(',').find_map(known).unwrap_or(&ENGLISH)
    }

    pub(super) fn state(&self, state: AssetState) -> &'static str {
        self.states[state as usize]
    }

    pub(super) fn cause<'a>(&self, cause: &'a str) -> &'a str {
        self.causes.iter().find(|(word, _)| *word == cause).map_or(cause, |(_, own)| own)
    }
}

/// Of each state; shape and word carry what the colour says.
pub(super) const fn sign(state: AssetState) -> (&'static str, &'static str) {
    match state {
        AssetState::Alert => ("alert", "▲"),
        AssetState::Acknowledged => ("acknowledged", "◆"),
        AssetState::Cleared => ("cleared", "△"),
        AssetState::Silent => ("silent", "✕"),
        AssetState::Shelved => ("shelved", "◐"),
        AssetState::Normal => ("normal", "●"),
    }
}

static ENGLISH: Words = Words {
    lang: "en",
    overview: "Line",
    history: "History",
    health: "Health",
    your_name: "Your name",
    lost: "No connection to the box. What you see is old.",
    failed: "Not done:",
    no_such_asset: "There is no such asset",
    no_assets: "Nothing has been received yet.",
    no_alerts: "No alerts.",
    alerts: "Alerts",
    since: "since",
    because: "because of",
    says: "says",
    limit: "limit",
    acknowledge: "Acknowledge",
    shelve: "Shelve 1 h",
    unshelve: "Unshelve",
    seen_by: "seen by",
    until: "until",
    tag: "Tag",
    value: "Value",
    age: "Age",
    quality: "Quality",
    missing: "missing",
    judges: "Predictions and rules",
    score: "Score",
    model: "Model",
    rule: "rule",
    trends: "Last ten minutes",
    sources: "Sources",
    connected: "● connected",
    disconnected: "✕ not connected",
    unpublished: "✕ The alert broker is not connected: nobody outside hears of alerts.",
    unwritable: "✕ The buffer cannot be written: samples wait in memory.",
    messages: "Messages",
    errors: "Errors",
    last_data: "Last data",
    models: "Models",
    device: "Device",
    inferences: "Inferences",
    samples: "Samples",
    received: "received",
    stored: "stored",
    rejected: "rejected",
    shed: "shed",
    outbox: "Alert messages that wait",
    dead_letters: "Alert messages refused by the broker",
    disk: "Buffer",
    time: "Time",
    asset: "Asset",
    what: "What",
    who: "By",
    states: ["Alert", "Alert, seen", "Over, not seen", "No data", "Shelved", "Normal"],
    causes: [
        ("raised", "raised"),
        ("cleared", "over"),
        ("acknowledged", "seen"),
        ("shelved", "shelved"),
        ("unshelved", "unshelved"),
        ("suppressed", "changed while shelved"),
        ("withdrawn", "no longer configured"),
        ("explained", "explained"),
    ],
};

static GERMAN: Words = Words {
    lang: "de",
    overview: "Linie",
    history: "Verlauf",
    health: "Zustand",
    your_name: "Ihr Name",
    lost: "Keine Verbindung zur Box. Die Anzeige ist alt.",
    failed: "Nicht ausgeführt:",
    no_such_asset: "Diese Anlage gibt es nicht",
    no_assets: "Noch keine Daten empfangen.",
    no_alerts: "Keine Alarme.",
    alerts: "Alarme",
    since: "seit",
    because: "wegen",
    says: "meldet",
    limit: "Grenze",
    acknowledge: "Quittieren",
    shelve: "1 h zurückstellen",
    unshelve: "Wieder einsetzen",
    seen_by: "quittiert von",
    until: "bis",
    tag: "Signal",
    value: "Wert",
    age: "Alter",
    quality: "Güte",
    missing: "fehlt",
    judges: "Vorhersagen und Regeln",
    score: "Bewertung",
    model: "Modell",
    rule: "Regel",
    trends: "Letzte zehn Minuten",
    sources: "Quellen",
    connected: "● verbunden",
    disconnected: "✕ nicht verbunden",
    unpublished: "✕ Der Alarm-Broker ist nicht verbunden: draußen erfährt niemand von Alarmen.",
    unwritable: "✕ Der Puffer kann nicht geschrieben werden: Messwerte warten im Speicher.",
    messages: "Nachrichten",
    errors: "Fehler",
    last_data: "Letzte Daten",
    models: "Modelle",
    device: "Gerät",
    inferences: "Berechnungen",
    samples: "Messwerte",
    received: "empfangen",
    stored: "gespeichert",
    rejected: "abgewiesen",
    shed: "verworfen",
    outbox: "Wartende Alarmmeldungen",
    dead_letters: "Vom Broker abgelehnte Alarmmeldungen",
    disk: "Puffer",
    time: "Zeit",
    asset: "Anlage",
    what: "Was",
    who: "Von",
    states: [
        "Alarm",
        "Alarm, quittiert",
        "Vorbei, nicht quittiert",
        "Keine Daten",
        "Zurückgestellt",
        "Normal",
    ],
    causes: [
        ("raised", "ausgelöst"),
        ("cleared", "vorbei"),
        ("acknowledged", "quittiert"),
        ("shelved", "zurückgestellt"),
        ("unshelved", "wieder eingesetzt"),
        ("suppressed", "geändert, während zurückgestellt"),
        ("withdrawn", "nicht mehr konfiguriert"),
        ("explained", "begründet"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_first_that_is_spoken() {
        for (languages, lang) in [
            ("de-AT,de;q=0.9", "de"),
            ("fr,en;q=0.8,de", "en"),
            ("", "en"),
            ("é", "en"),
            ("d", "en"),
        ] {
            assert_eq!(Words::of(languages).lang, lang, "{languages}");
        }
    }
}
