//! Alerts against events: was each one announced, how early, and how often for nothing.

use std::time::Duration;

use serde::Serialize;

use crate::time::Timestamp;

/// One asset's windows in time order, and when alerts were raised on it.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// A window's end, and whether the truth there is positive.
    pub windows: Vec<(Timestamp, bool)>,
    pub raises: Vec<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarms {
    /// Stretches of positive truth.
    pub events: usize,
    /// Events with an alert inside, or at most the horizon before.
    pub announced: usize,
    pub alerts: usize,
    /// Alerts that belong to no event.
    pub false_alarms: usize,
    /// Absent when no time was watched.
    pub false_alarms_a_day: Option<f64>,
    pub watched_days: f64,
    /// Seconds from the first alert of an event to its begin, one an announced event, ascending;
    /// negative when the alert came after the begin.
    pub lead_seconds: Vec<f64>,
}

/// Counts over all assets. An alert belongs to the event it falls into, else to the next one
/// that begins within `horizon` after it.
pub fn alarms(tracks: &[Track], horizon: Duration) -> Alarms {
    let mut found = Alarms {
        events: 0,
        announced: 0,
        alerts: 0,
        false_alarms: 0,
        false_alarms_a_day: None,
        watched_days: 0.0,
        lead_seconds: Vec::new(),
    };
    for track in tracks {
        let events = events(&track.windows);
        let mut leads: Vec<Option<f64>> = vec![None; events.len()];
        for raise in &track.raises {
            let of = events
                .iter()
                .position(|(begin, end)| begin.saturating_sub(horizon) <= *raise && *raise <= *end);
            match of {
                Some(event) => {
                    let begin = events[event].0;
                    let lead = begin.since(*raise).as_secs_f64() - raise.since(begin).as_secs_f64();
                    let best = leads[event].get_or_insert(lead);
                    *best = best.max(lead);
                }
                None => found.false_alarms += 1,
            }
        }
        found.alerts += track.raises.len();
        found.events += events.len();
        found.lead_seconds.extend(leads.into_iter().flatten());
        if let (Some((first, _)), Some((last, _))) = (track.windows.first(), track.windows.last()) {
            found.watched_days += last.since(*first).as_secs_f64() / 86_400.0;
        }
    }
    found.announced = found.lead_seconds.len();
    found.lead_seconds.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of alerts")]
    let alarms = found.false_alarms as f64;
    found.false_alarms_a_day = (found.watched_days > 0.0).then(|| alarms / found.watched_days);
    found
}

/// First and last window of each stretch of positive truth.
fn events(windows: &[(Timestamp, bool)]) -> Vec<(Timestamp, Timestamp)> {
    let stretches = windows.chunk_by(|a, b| a.1 == b.1);
    stretches
        .filter(|stretch| stretch[0].1)
        .map(|stretch| (stretch[0].0, stretch[stretch.len() - 1].0))
        .collect()
}
