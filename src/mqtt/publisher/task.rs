//! The connection's life: what is queued goes out, what comes in is handed on, and a lost link is
//! dialled anew until the end.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::super::connection::{Arrival, Link, LinkError};
use super::super::dialer::{Dialer, Role};
use super::super::reconnect::{Reconnect, log};
use super::super::wire::{Ask, Received, Welcome, publish_size};
use super::{IN_FLIGHT, Job, LARGEST_PACKET, PublishError, PublisherTask, Taker};
use crate::audit::Entry;
use crate::message::{CommandMessage, Origin};
use crate::time::Timestamp;

/// At shutdown: how long the last publishes may take.
const DRAIN: Duration = Duration::from_secs(1);
impl PublisherTask {
    /// Runs until `token` is cancelled. Then it sends what is queued, publishes the Will's
    /// message itself, and disconnects.
    pub async fn run(mut self, token: CancellationToken) {
        let mut reconnect = Reconnect::new(Timestamp::now().as_nanos().unsigned_abs());
        loop {
            let mut up = None;
            let ended = self.live(&token, &mut up).await;
            self.link.send_replace(false);
            self.fail_all();
            let error = match ended {
                Ok(()) => return,
                Err(LinkError::Moved) => {
                    self.turn_to_the_new_broker();
                    continue;
                }
                Err(error) => error,
            };
            let lived = up.map_or(Duration::ZERO, |up: Instant| up.elapsed());
            let (delay, volume) = reconnect.after(&error, lived);
            log(&self.broker_name, &self.dialer.client_id, &error, volume, delay);
            if token.is_cancelled() || self.wait(delay, &token).await.is_err() {
                return;
            }
        }
    }

    /// One link from connecting to its end.
    async fn live(
        &mut self,
        token: &CancellationToken,
        up: &mut Option<Instant>,
    ) -> Result<(), LinkError> {
        let (mut link, welcome) = tokio::select! {
            opened = Link::open(&self.dialer) => opened?,
            Ok(()) = self.brokers.changed() => return Err(LinkError::Moved),
            () = token.cancelled() => return Ok(()),
        };
        *up = Some(Instant::now());
        self.connected(&mut link, &welcome)?;
        loop {
            let up = *self.link.borrow();
            let room = up && !link.is_full();
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Ok(()) = self.brokers.changed() => {
                    link.close(Instant::now() + DRAIN).await;
                    return Err(LinkError::Moved);
                }
                Some(job) = self.jobs.recv(), if room && self.pending.len() < self.in_flight => {
                    self.publish(job, &mut link)?;
                }
                arrival = link.next() => self.settle(arrival?),
                Some(message) = self.soon.recv(), if room => {
                    if publish_size(&message) <= self.largest {
                        link.publish(0, &message)?;
                    }
                }
            }
        }
        self.finish(link).await
    }

    fn connected(&mut self, link: &mut Link, welcome: &Welcome) -> Result<(), LinkError> {
        let largest = welcome.max_packet.map_or(LARGEST_PACKET, |max| max as usize);
        self.largest = largest.min(LARGEST_PACKET);
        self.in_flight = welcome.receive_maximum.map_or(IN_FLIGHT, usize::from).min(IN_FLIGHT);
        tracing::info!(
            broker = self.broker_name,
            client_id = self.dialer.client_id,
            session_present = welcome.session_present,
            "connected to the broker for alerts and status"
        );
        let id = self.next_id();
        if self.filters.is_empty() {
            self.link.send_replace(true);
            return Ok(());
        }
        let asked = self.filters.iter().map(|filter| match filter.to {
            Taker::Orders(_) => Ask::new(&filter.text, 1),
            // What stands is asked for with every link: this box may have been away for long.
            Taker::States(_) | Taker::Boxes(_) => Ask::new(&filter.text, 1).with_what_stands(),
        });
        link.subscribe(id, asked)
    }

    fn publish(&mut self, job: Job, link: &mut Link) -> Result<(), LinkError> {
        let Job { message, reply } = job;
        if publish_size(&message) > self.largest {
            let _ = reply.send(Err(PublishError::TooLarge));
            return Ok(());
        }
        let id = self.next_id();
        self.pending.insert(id, reply);
        link.publish(id, &message)?;
        // At once, where it goes: an alert should not wait for the next turn.
        link.flush()
    }

    /// A packet id that nobody waits for. There are many more ids than messages in flight.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.pending.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn settle(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Confirmed { id, code, reason } => {
                let answer = match code {
                    0x80.. => Err(PublishError::Refused { code, reason }),
                    _ => Ok(()),
                };
                if let Some(reply) = self.pending.remove(&id) {
                    // The caller may have gone; then nobody wants to know.
                    let _ = reply.send(answer);
                }
            }
            Arrival::Subscribed(refusals) => self.subscribed(&refusals),
            Arrival::Message(message) => self.take(&message),
            Arrival::Unsubscribed => {}
        }
    }

    /// Without commands the alerts must still go out; so a refusal does not keep the link down.
    fn subscribed(&self, refusals: &[Option<String>]) {
        for (refusal, filter) in refusals.iter().zip(&self.filters) {
            let Some(reason) = refusal else { continue };
            let (broker, filter) = (&self.broker_name, &filter.text);
            tracing::error!(
                broker,
                filter,
                reason,
                "the broker refuses a subscription: over it alerts cannot be acknowledged, or verdicts labelled"
            );
        }
        self.link.send_replace(true);
    }

    /// Never waits: the one who takes commands may himself wait for a publish.
    fn take(&self, message: &Received) {
        let topic = String::from_utf8_lossy(&message.topic);
        let found = self.filters.iter().find_map(|filter| {
            let names = filter.pattern.captures(&topic)?;
            Some((&filter.to, names.asset?, names.tag))
        });
        let room = match found {
            Some((Taker::Orders(to), asset, Some(prediction))) => {
                return self.take_command(to, (asset, prediction), message);
            }
            Some((Taker::States(standing), asset, Some(prediction))) => {
                standing.alert(asset, prediction, &message.payload)
            }
            Some((Taker::Boxes(standing), name, None)) => standing.told(name, &message.payload),
            _ => {
                tracing::warn!(%topic, "a message that is no command came in; it is ignored");
                return;
            }
        };
        if !room {
            tracing::error!(%topic, "too much stands at the broker; a takeover would miss this");
        }
    }

    fn take_command(
        &self,
        to: &mpsc::Sender<CommandMessage>,
        (asset, prediction): (&str, &str),
        message: &Received,
    ) {
        let topic = String::from_utf8_lossy(&message.topic);
        let from =
            Origin::Mqtt { broker: self.broker_name.clone(), topic: topic.clone().into_owned() };
        let object = format!("{asset}/{prediction}");
        let entry = || Entry { action: "command", object: &object, by: None, from: &from };
        if message.retained {
            entry().refused(&"it is retained, and would be obeyed for ever");
            return;
        }
        let command = CommandMessage {
            asset: asset.to_owned(),
            prediction: prediction.to_owned(),
            body: message.payload.clone(),
            from: from.clone(),
        };
        if to.try_send(command).is_err() {
            entry().refused(&"too many commands wait already");
        }
    }

    /// Sends what is queued, then the Will's message, then DISCONNECT.
    async fn finish(&mut self, mut link: Link) -> Result<(), LinkError> {
        let deadline = Instant::now() + DRAIN;
        self.jobs.close();
        let mut last = match &self.dialer.role {
            Role::Egress { will } => will.clone(),
            Role::Ingest { .. } => None,
        };
        loop {
            while self.pending.len() < self.in_flight
                && let Ok(job) = self.jobs.try_recv()
            {
                self.publish(job, &mut link)?;
            }
            if self.pending.is_empty() {
                let Some(message) = last.take() else { break };
                let (reply, _) = oneshot::channel();
                self.publish(Job { message, reply }, &mut link)?;
            }
            tokio::select! {
                arrival = link.next() => self.settle(arrival?),
                () = sleep_until(deadline) => break,
            }
        }
        link.close(deadline).await;
        Ok(())
    }

    /// Without a link nothing may pile up.
    async fn wait(&mut self, delay: Duration, token: &CancellationToken) -> Result<(), ()> {
        let mut pause = pin!(sleep(delay));
        loop {
            tokio::select! {
                () = token.cancelled() => return Err(()),
                () = &mut pause => return Ok(()),
                Ok(()) = self.brokers.changed() => {
                    self.turn_to_the_new_broker();
                    return Ok(());
                }
                Some(job) = self.jobs.recv() => {
                    let _ = job.reply.send(Err(PublishError::Disconnected));
                }
                Some(_) = self.soon.recv() => {}
            }
        }
    }

    fn turn_to_the_new_broker(&mut self) {
        let broker = self.brokers.borrow_and_update().clone();
        match Dialer::new(&broker, &self.site, self.dialer.role.clone()) {
            Ok(dialer) => self.dialer = dialer,
            Err(error) => {
                tracing::error!(broker = self.broker_name, %error, "the old settings stay");
            }
        }
    }

    fn fail_all(&mut self) {
        for (_, reply) in self.pending.drain() {
            let _ = reply.send(Err(PublishError::Disconnected));
        }
        while let Ok(job) = self.jobs.try_recv() {
            let _ = job.reply.send(Err(PublishError::Disconnected));
        }
        while self.soon.try_recv().is_ok() {}
    }
}
