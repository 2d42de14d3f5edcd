//! Pictures in from folders that cameras write into: one [`Watcher`] a folder.
//!
//! Looks by time and size, because shares have no notification that could be relied on. All that
//! touches the disk is on a thread of its own: a share that hangs holds nobody up but itself, not
//! even the daemon's end. A picture is done with when a model has answered, or when it is counted
//! as refused or given up; what is done with is remembered over restarts.

mod hand;
mod look;
mod memory;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::hand::{Event, Hand};
use self::look::Stamp;
use self::memory::Memory;
use crate::health::SourceHealth;
use crate::ledger::{Ledger, Rejection};
use crate::message::Quarantined;
use crate::sample::Batch;
use crate::settings::Folder;
use crate::snapshot::{Fate, Held, Kind, Snapshot};
use crate::time::Timestamp;

/// Pictures of one folder that are on their way; the others wait on the disk.
const UNDER_WAY: usize = 4;
/// At shutdown: how long pictures on their way are waited for, and how much longer the thread.
const DRAIN: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_millis(500);

/// What a [`Watcher`] works with.
#[derive(Debug)]
pub struct WatcherParts {
    pub folder: Folder,
    /// The buffer's file; what has been done with is kept beside it.
    pub store: PathBuf,
    pub ledger: Arc<Ledger>,
    pub health: Arc<SourceHealth>,
    pub batches: mpsc::Sender<Batch>,
    pub quarantine: mpsc::Sender<Quarantined>,
}

#[derive(Debug)]
pub struct Watcher(WatcherParts);

/// A file as the thread hands it over: read, or refused unread.
#[derive(Debug)]
struct Found {
    name: String,
    stamp: Stamp,
    content: Result<(Bytes, Held), Fate>,
}

impl Watcher {
    pub const fn new(parts: WatcherParts) -> Self {
        Self(parts)
    }

    /// Runs until `token` is cancelled. Whatever becomes of the folder does not end it.
    pub async fn run(self, token: CancellationToken) {
        let parts = self.0;
        let (found, mut out) = mpsc::channel::<Found>(UNDER_WAY);
        // Each picture ends once; one more place is for the end.
        let (events, endings) = sync_channel::<Event>(UNDER_WAY + 1);
        let (done, mut ended) = oneshot::channel::<()>();
        let hand = Hand::new(
            parts.folder.clone(),
            Memory::beside(&parts.store, &parts.folder.path),
            Arc::clone(&parts.ledger.pictures),
            Arc::clone(&parts.health),
        );
        let thread = thread::Builder::new().name("folder".to_owned()).spawn(move || {
            hand.run(&found, &endings);
            drop(done);
        });
        if let Err(error) = thread {
            parts.health.failed(format!("no thread for the folder: {error}"));
            tracing::error!(folder = %parts.folder.path.display(), %error, "no thread");
            token.cancelled().await;
            return;
        }
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                found = out.recv() => match found {
                    Some(found) => if parts.hand_on(found, &events).await.is_none() {
                        break;
                    },
                    None => return,
                },
            }
        }
        // Nobody listens only where the thread has gone.
        let _ = events.try_send(Event::Stop);
        // What it still hands over is found again at the next start.
        out.close();
        while let Ok(Found { name, stamp, .. }) = out.try_recv() {
            drop(Ending { key: Some((name, stamp)), events: events.clone() });
        }
        if timeout(DRAIN + LAST, &mut ended).await.is_err() {
            let folder = parts.folder.path.display();
            tracing::warn!(%folder, "The folder does not answer; its thread is left behind.");
        }
    }
}

impl WatcherParts {
    /// Waits for room as long as it takes. `None`: nobody takes pictures any more.
    async fn hand_on(&self, found: Found, events: &SyncSender<Event>) -> Option<()> {
        let now = Timestamp::now();
        self.health.heard(now, 1);
        let Found { name, stamp, content } = found;
        let (bytes, held, fate) = match content {
            Ok((bytes, held)) => (bytes, Some(held), None),
            Err(fate) => (Bytes::new(), None, Some(fate)),
        };
        let (pictures, quarantine) = (Arc::clone(&self.ledger.pictures), self.quarantine.clone());
        let (source, encoded, length) = (self.health.name.clone(), bytes.clone(), stamp.size);
        let ending = Ending { key: Some((name.clone(), stamp)), events: events.clone() };
        let asset = self.folder.asset.as_str().into();
        let snapshot = Snapshot::new(Kind::Picture, asset, now, bytes, move |fate| {
            pictures.settle(&fate);
            if let Fate::Refused(detail) = &fate
                && let Ok(place) = quarantine.try_reserve()
            {
                place.send(Quarantined {
                    received: now,
                    source,
                    topic: name,
                    reason: Rejection::Unreadable.as_str(),
                    detail: detail.clone(),
                    head: encoded.slice(..encoded.len().min(Quarantined::MAX_BYTES)),
                    length,
                });
            }
            drop((held, encoded));
            ending.tell(fate);
        });
        if let Some(fate) = fate {
            snapshot.end(fate);
            return Some(());
        }
        let (samples, pictures) = (Arc::default(), vec![snapshot]);
        let (messages, receipt, stale) = (0, None, false);
        let batch = Batch { samples, pictures, received: now, messages, receipt, stale };
        self.batches.send(batch).await.ok()
    }
}

/// Tells the thread what became of a picture, also when nothing did.
struct Ending {
    key: Option<(String, Stamp)>,
    events: SyncSender<Event>,
}

impl Ending {
    fn tell(mut self, fate: Fate) {
        self.send(Some(fate));
    }

    fn send(&mut self, fate: Option<Fate>) {
        if let Some((name, stamp)) = self.key.take() {
            // There is a place for each that is under way, unless the thread has gone.
            let _ = self.events.try_send(Event::Ended { name, stamp, fate });
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.send(None);
    }
}

#[cfg(test)]
mod tests;
