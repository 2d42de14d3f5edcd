//! From the outbox to the broker: oldest first, and gone only when the broker has confirmed.
//!
//! After an outage what is still true goes first, then what is fresh, and the rest, paced and marked
//! `historical`, where those leave room.

mod round;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::round::{Fate, LATE_BATCH, Round};
use crate::alert::wire::told_late;
use crate::message::Outgoing;
use crate::mqtt::{PublishError, Publisher};
use crate::store::{Store, StoreError};
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;

/// Messages that may wait for their confirmation at one time.
const IN_FLIGHT: usize = 64;
/// With this many waiting the backlog rests: fresh alerts always find room.
const LATE_IN_FLIGHT: usize = IN_FLIGHT / 2;
/// After an outbox that could not be read, or a lost connection.
const RETRY: Duration = Duration::from_millis(200);
/// At shutdown: how long the broker may take to confirm. The rest stays in the outbox.
const DRAIN: Duration = Duration::from_secs(1);

/// What has waited longer than this before a link came up is told late.
const LATE: Duration = Duration::from_secs(10);

type Flights = JoinSet<(Outgoing, Telling, Result<(), PublishError>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Prompt,
    Late,
}

/// Delivers until `token` is cancelled, and then until what is fresh has gone, the link is down
/// or the broker has been silent for too long.
pub async fn run(
    store: Store,
    publisher: Publisher,
    meters: Arc<Meters>,
    token: CancellationToken,
) {
    let mut changed = store.outbox_changed();
    let mut link = publisher.link();
    let mut courier = Courier { store, publisher, meters, round: None, lost: false };
    let mut flights = Flights::new();
    let mut patience = pin!(async {
        token.cancelled().await;
        sleep(DRAIN).await;
    });
    loop {
        let up = *link.borrow_and_update();
        changed.borrow_and_update();
        let ending = token.is_cancelled();
        let sent = if up {
            courier.send_more(&mut flights, ending).await
        } else {
            courier.lost = true;
            Ok(0)
        };
        let idle = !matches!(sent, Ok(1..)) && flights.is_empty();
        if ending && (idle || !up) {
            return;
        }
        let retry = sent.is_err() || (up && courier.lost);
        let late = courier.round.as_ref().and_then(Round::late_due).filter(|_| up && !ending);
        tokio::select! {
            Some(landed) = flights.join_next() => courier.landed(landed).await,
            moved = changed.changed(), if flights.len() < IN_FLIGHT => if moved.is_err() {
                return;
            },
            moved = link.changed() => if moved.is_err() {
                return;
            },
            () = sleep(RETRY), if retry => {}
            () = sleep_until(late.unwrap_or_else(Instant::now)),
                if late.is_some() && flights.len() < LATE_IN_FLIGHT => {}
            () = token.cancelled(), if !token.is_cancelled() => courier.store.flush().await,
            () = &mut patience => {
                let unconfirmed = flights.len();
                tracing::warn!(unconfirmed, "The broker confirms nothing; the rest is told after the next start.");
                return;
            }
        }
    }
}

struct Courier {
    store: Store,
    publisher: Publisher,
    meters: Arc<Meters>,
    /// Of the link that is up.
    round: Option<Round>,
    /// A message came back: what is in flight must land before the outbox is read again.
    lost: bool,
}

impl Courier {
    /// How many messages were handed over.
    async fn send_more(
        &mut self,
        flights: &mut Flights,
        ending: bool,
    ) -> Result<usize, StoreError> {
        if self.lost && !flights.is_empty() {
            return Ok(0);
        }
        if std::mem::take(&mut self.lost) {
            self.round = None;
        }
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin().await.inspect_err(unreadable)?,
        };
        let before = flights.len();
        let sent = self.advance(&mut round, flights, ending).await.inspect_err(unreadable);
        self.round = Some(round);
        sent.map(|()| flights.len().saturating_sub(before))
    }

    async fn begin(&self) -> Result<Round, StoreError> {
        let backlog = self.store.backlog(Timestamp::now().saturating_sub(LATE)).await?;
        if backlog.end > 0 {
            tracing::info!(
                still_true = backlog.states.len(),
                "Alert messages have waited for the broker; they are told late."
            );
        }
        Ok(Round::new(backlog, Instant::now()))
    }

    async fn advance(
        &mut self,
        round: &mut Round,
        flights: &mut Flights,
        ending: bool,
    ) -> Result<(), StoreError> {
        while flights.len() < IN_FLIGHT
            && !self.lost
            && let Some(seq) = round.next_state()
        {
            for row in self.store.next_outgoing(seq - 1, 1).await? {
                if row.seq == seq {
                    self.hand_over(row, Telling::Prompt, flights).await;
                }
            }
        }
        let room = IN_FLIGHT.saturating_sub(flights.len());
        if room > 0 && !self.lost {
            for row in self.store.next_outgoing(round.fresh(), room).await? {
                round.fresh_told(row.seq);
                self.hand_over(row, Telling::Prompt, flights).await;
                if self.lost {
                    return Ok(());
                }
            }
        }
        let now = Instant::now();
        let due = round.late_due().is_some_and(|due| due <= now);
        if due && flights.len() < LATE_IN_FLIGHT && !ending && !self.lost {
            let rows = self.store.next_outgoing(round.late(), LATE_BATCH).await?;
            for (row, fate) in round.sort_out(rows, now) {
                match fate {
                    Fate::TellLate => self.hand_over(row, Telling::Late, flights).await,
                    Fate::Told => {}
                    Fate::Superseded => {
                        add(&self.meters.superseded, 1);
                        self.store.delivered(vec![row.seq]).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, outgoing: Outgoing, telling: Telling, flights: &mut Flights) {
        let message = match telling {
            Telling::Prompt => outgoing.message.clone(),
            Telling::Late => told_late(&outgoing.message),
        };
        match self.publisher.submit(message).await {
            Ok(confirmation) => {
                flights.spawn(async move { (outgoing, telling, confirmation.confirmed().await) });
            }
            Err(error) => self.settle(outgoing, telling, Err(error)).await,
        }
    }

    async fn landed(
        &mut self,
        landed: Result<(Outgoing, Telling, Result<(), PublishError>), tokio::task::JoinError>,
    ) {
        let (outgoing, telling, outcome) =
            landed.expect("waiting for a confirmation does not panic");
        self.settle(outgoing, telling, outcome).await;
    }

    async fn settle(
        &mut self,
        outgoing: Outgoing,
        telling: Telling,
        outcome: Result<(), PublishError>,
    ) {
        match outcome {
            Ok(()) => {
                add(&self.meters.published, 1);
                if telling == Telling::Prompt {
                    self.meters.alert_latency(Timestamp::now().since(outgoing.created));
                }
                self.store.delivered(vec![outgoing.seq]).await;
            }
            Err(PublishError::Disconnected | PublishError::Closed) => {
                // It stays in the outbox and goes again, in its place.
                self.lost = true;
            }
            Err(refusal) => {
                tracing::error!(
                    topic = outgoing.message.topic,
                    error = %refusal,
                    "The broker refuses an alert message; it is kept as a dead letter."
                );
                add(&self.meters.refused, 1);
                self.store.dead_letter(outgoing.seq, refusal.to_string()).await;
            }
        }
    }
}

fn unreadable(error: &StoreError) {
    tracing::warn!(%error, "The outbox cannot be read; trying again.");
}
