//! From the outbox to the broker: oldest first, and gone only when the broker has confirmed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::message::Outgoing;
use crate::mqtt::{PublishError, Publisher};
use crate::store::Store;
use crate::telemetry::{Meters, add};
use crate::time::Timestamp;

/// Messages that may wait for their confirmation at one time.
const IN_FLIGHT: usize = 64;

/// Delivers until `token` is cancelled and the outbox is empty or the link is down.
pub async fn run(store: Store, publisher: Publisher, meters: Arc<Meters>, token: CancellationToken) {
    let mut changed = store.outbox_changed();
    let mut link = publisher.link();
    let mut courier = Courier { store, publisher, meters, after: 0, waiting: BTreeSet::new() };
    let mut flights = JoinSet::new();
    loop {
        let up = *link.borrow_and_update();
        changed.borrow_and_update();
        if up && let Err(error) = courier.send_more(&mut flights).await {
            tracing::warn!(%error, "The outbox cannot be read; trying again.");
        }
        if token.is_cancelled() && (flights.is_empty() || !up) {
            return;
        }
        tokio::select! {
            Some(landed) = flights.join_next() => {
                if let Ok((outgoing, outcome)) = landed {
                    courier.landed(&outgoing, outcome).await;
                }
                while let Some(Ok((outgoing, outcome))) = flights.try_join_next() {
                    courier.landed(&outgoing, outcome).await;
                }
            }
            moved = changed.changed(), if flights.len() < IN_FLIGHT => {
                if moved.is_err() {
                    return;
                }
            }
            moved = link.changed() => {
                if moved.is_err() {
                    return;
                }
            }
            () = token.cancelled(), if !token.is_cancelled() => {}
        }
    }
}

struct Courier {
    store: Store,
    publisher: Publisher,
    meters: Arc<Meters>,
    /// Everything up to here has been handed to the publisher.
    after: i64,
    waiting: BTreeSet<i64>,
}

type Flights = JoinSet<(Outgoing, Result<(), PublishError>)>;

impl Courier {
    async fn send_more(&mut self, flights: &mut Flights) -> Result<(), crate::store::StoreError> {
        let room = IN_FLIGHT.saturating_sub(flights.len());
        if room == 0 {
            return Ok(());
        }
        for outgoing in self.store.next_outgoing(self.after, room).await? {
            self.after = outgoing.seq;
            self.waiting.insert(outgoing.seq);
            let publisher = self.publisher.clone();
            flights.spawn(async move {
                let outcome = publisher.publish(outgoing.message.clone()).await;
                (outgoing, outcome)
            });
        }
        Ok(())
    }

    async fn landed(&mut self, outgoing: &Outgoing, outcome: Result<(), PublishError>) {
        self.waiting.remove(&outgoing.seq);
        match outcome {
            Ok(()) => {
                add(&self.meters.published, 1);
                self.meters.alert_latency(Timestamp::now().since(outgoing.created));
                self.store.delivered(vec![outgoing.seq]).await;
            }
            Err(PublishError::Disconnected | PublishError::Closed) => {
                // It stays in the outbox and goes again, in its place, when the link is back.
                self.after = self.after.min(outgoing.seq - 1);
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
