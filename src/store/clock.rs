//! Whether the box's clock is believed, also over a restart: the doubt stands in the file.

use std::sync::Mutex;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::Instant;

use crate::clock::{ClockTrust, Doubt, Heritage, Reading};
use crate::time::Timestamp;

/// While the clock is in doubt, how long the new time has run is written down so often.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// One trust for all who ask: who deletes by age, and who tells of alerts.
#[derive(Debug)]
pub(super) struct StoredClock {
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    trust: ClockTrust,
    trusted: bool,
    /// What the file says.
    noted: Option<Doubt>,
}

/// What the file has to say from the next commit on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Note {
    Doubted(Doubt),
    Believed,
}

impl StoredClock {
    /// `patience`: the samples' retention by age.
    pub(super) fn begin(heritage: Heritage, patience: Duration, now: Timestamp) -> Self {
        let reading = Reading { wall: now, steady: Duration::ZERO };
        let noted = match heritage {
            Heritage::Doubted(doubt) => Some(doubt),
            _ => None,
        };
        let trust = ClockTrust::begin(reading, heritage, patience);
        let state = State { trust, trusted: true, noted };
        let clock = Self { opened: Instant::now(), state: Mutex::new(state) };
        clock.is_believed(now);
        clock
    }

    /// Takes a reading; true while the clock can be believed.
    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let trusted = state.trust.observe(Reading { wall: now, steady: self.opened.elapsed() });
        if trusted != state.trusted {
            state.trusted = trusted;
            if trusted {
                tracing::info!("The clock is believed again; old samples are deleted by age.");
            } else {
                tracing::warn!(clock = %now, "The clock has jumped or is not set; no sample is deleted by age and alerts are marked until it can be believed.");
            }
        }
        trusted
    }

    /// What is to be written with the next commit, if the file says otherwise.
    pub(super) fn to_note(&self) -> Option<Note> {
        let state = self.state();
        match (state.trust.doubt(), state.noted) {
            (None, None) => None,
            (None, Some(_)) => Some(Note::Believed),
            (Some(doubt), Some(noted))
                if doubt.believed.is_some() == noted.believed.is_some()
                    && doubt.ran >= noted.ran
                    && doubt.ran - noted.ran < NOTE_INTERVAL =>
            {
                None
            }
            (Some(doubt), _) => Some(Note::Doubted(doubt)),
        }
    }

    /// It has been committed.
    pub(super) fn noted(&self, note: Note) {
        self.state().noted = match note {
            Note::Doubted(doubt) => Some(doubt),
            Note::Believed => None,
        };
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the clock")
    }
}

/// What an earlier life has left. A file from before this table says when it was last committed to.
pub(super) async fn heritage(
    connection: &mut SqliteConnection,
    last_commit: Option<Timestamp>,
) -> Result<Heritage, sqlx::Error> {
    let doubt: Option<(Option<i64>, i64, i64)> =
        sqlx::query_as("SELECT believed, wall, ran FROM clock").fetch_optional(connection).await?;
    let doubt = doubt.map(|(believed, wall, ran)| Doubt {
        believed: believed.map(Timestamp::from_nanos),
        wall: Timestamp::from_nanos(wall),
        ran: Duration::from_nanos(ran.max(0).unsigned_abs()),
    });
    Ok(match (doubt, last_commit) {
        (Some(doubt), _) => Heritage::Doubted(doubt),
        (None, Some(known)) => Heritage::Believed(known),
        (None, None) => Heritage::Nothing,
    })
}
