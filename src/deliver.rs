//! From the outbox to the broker: oldest first, and gone only when the broker has confirmed.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::message::Outgoing;
use crate::mqtt::{PublishError, Publisher};
use crate::store::{Store, StoreError};
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;

/// Messages that may wait for their confirmation at one time.
const IN_FLIGHT: usize = 64;
/// After an outbox that could not be read, or a lost connection.
const RETRY: Duration = Duration::from_millis(200);

type Flights = JoinSet<(Outgoing, Result<(), PublishError>)>;

/// Delivers until `token` is cancelled, and then until the outbox is empty or the link is down.
pub async fn run(
    store: Store,
    publisher: Publisher,
    meters: Arc<Meters>,
    token: CancellationToken,
) {
    let mut changed = store.outbox_changed();
    let mut link = publisher.link();
    let mut courier = Courier { store, publisher, meters, after: 0, lost: false };
    let mut flights = Flights::new();
    loop {
        let up = *link.borrow_and_update();
        changed.borrow_and_update();
        let sent = if up { courier.send_more(&mut flights).await } else { Ok(0) };
        let idle = !matches!(sent, Ok(1..)) && flights.is_empty();
        if token.is_cancelled() && (idle || !up) {
            return;
        }
        let retry = sent.is_err() || courier.lost;
        tokio::select! {
            Some(landed) = flights.join_next() => courier.landed(landed).await,
            moved = changed.changed(), if flights.len() < IN_FLIGHT => if moved.is_err() {
                return;
            },
            moved = link.changed() => if moved.is_err() {
                return;
            },
            () = tokio::time::sleep(RETRY), if retry => {}
            () = token.cancelled(), if !token.is_cancelled() => courier.store.flush().await,
        }
    }
}

struct Courier {
    store: Store,
    publisher: Publisher,
    meters: Arc<Meters>,
    /// Everything up to here has been handed to the publisher.
    after: i64,
    /// A message came back: what is in flight must land before the outbox is read again.
    lost: bool,
}

impl Courier {
    /// How many messages were handed over.
    async fn send_more(&mut self, flights: &mut Flights) -> Result<usize, StoreError> {
        if self.lost && !flights.is_empty() {
            return Ok(0);
        }
        self.lost = false;
        let room = IN_FLIGHT.saturating_sub(flights.len());
        if room == 0 {
            return Ok(0);
        }
        let outgoing = self.store.next_outgoing(self.after, room).await.inspect_err(|error| {
            tracing::warn!(%error, "The outbox cannot be read; trying again.");
        })?;
        let mut sent = 0;
        for outgoing in outgoing {
            self.after = outgoing.seq;
            sent += 1;
            match self.publisher.submit(outgoing.message.clone()).await {
                Ok(confirmation) => {
                    flights.spawn(async move { (outgoing, confirmation.confirmed().await) });
                }
                Err(error) => {
                    self.settle(outgoing, Err(error)).await;
                    if self.lost {
                        break;
                    }
                }
            }
        }
        Ok(sent)
    }

    async fn landed(
        &mut self,
        landed: Result<(Outgoing, Result<(), PublishError>), tokio::task::JoinError>,
    ) {
        let (outgoing, outcome) = landed.expect("waiting for a confirmation does not panic");
        self.settle(outgoing, outcome).await;
    }

    async fn settle(&mut self, outgoing: Outgoing, outcome: Result<(), PublishError>) {
        match outcome {
            Ok(()) => {
                add(&self.meters.published, 1);
                self.meters.alert_latency(Timestamp::now().since(outgoing.created));
                self.store.delivered(vec![outgoing.seq]).await;
            }
            Err(PublishError::Disconnected | PublishError::Closed) => {
                // It stays in the outbox and goes again, in its place.
                self.after = self.after.min(outgoing.seq - 1);
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
