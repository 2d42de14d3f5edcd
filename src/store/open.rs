//! Opening: folder, lock, file, and what the writer and the registry must know of it.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::Store;
use super::clock::{self, StoredClock};
use super::connect::{self, Location};
use super::error::OpenError;
use super::outbox::Outbox;
use super::queue::{Limits, Queue};
use super::retention::Retention;
use super::shared::Shared;
use super::snapshots;
use super::writer::{Start, StoreWriter};
use crate::ledger::Ledger;
use crate::settings::StoreSettings;
use crate::tag::Registry;
use crate::time::Timestamp;

#[derive(sqlx::FromRow)]
struct Counts {
    last_seq: i64,
    outbox: i64,
    dead_letters: i64,
    first_block: i64,
    last_block: i64,
    last_event: i64,
    last_snapshot: i64,
    oldest: Option<i64>,
    last_commit: Option<i64>,
}

pub(super) async fn open(
    settings: &StoreSettings,
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
) -> Result<(Store, StoreWriter), OpenError> {
    open_at(Location::new(settings.path.clone()), settings, registry, ledger).await
}

pub(super) async fn open_at(
    location: Location,
    settings: &StoreSettings,
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
) -> Result<(Store, StoreWriter), OpenError> {
    if let Some(folder) = location.db.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
    }
    let lock = location.lock()?;
    let mut opened = connect::open(&location).await?;
    let failed = |source| OpenError::Open { path: location.db.clone(), source };
    let written_tags = load_tags(&mut opened.writer, &registry, &location).await?;
    let counts = counts(&mut opened.writer).await.map_err(failed)?;
    let last_commit = counts.last_commit.map(Timestamp::from_nanos);
    let heritage = clock::heritage(&mut opened.writer, last_commit).await.map_err(failed)?;
    let length = |count: i64| count.max(0).unsigned_abs();
    let shared = Arc::new(Shared::new(
        Queue::new(Limits::from(settings), counts.last_seq + 1),
        Outbox::new(counts.last_seq + 1, length(counts.outbox)),
        counts.last_seq,
        StoredClock::begin(heritage, settings.retain_age, Timestamp::now()),
        ledger,
        location.clone(),
    ));
    shared.gauges.update(|stats| {
        stats.blocks = length(counts.last_block - counts.first_block + 1);
        stats.dead_letters = length(counts.dead_letters);
        stats.oldest = counts.oldest.map(Timestamp::from_nanos);
        stats.set_aside = opened.set_aside;
    });
    shared.queue().snapshots_from(counts.last_snapshot + 1);
    snapshots::count(&mut opened.writer, &shared.gauges).await.map_err(failed)?;
    let writer = StoreWriter::new(Start {
        shared: Arc::clone(&shared),
        registry,
        location,
        connection: opened.writer,
        next_block: counts.last_block + 1,
        next_event: counts.last_event + 1,
        written_tags,
        retention: Retention::new(settings),
        lock,
    });
    Ok((Store { shared }, writer))
}

/// Block numbers are only nearly dense, but counting a month of them takes too long at a start.
async fn counts(writer: &mut SqliteConnection) -> Result<Counts, sqlx::Error> {
    sqlx::query_as(
        "SELECT \
         coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) AS last_seq, \
         (SELECT count(*) FROM outbox) AS outbox, \
         (SELECT count(*) FROM dead_letter) AS dead_letters, \
         coalesce((SELECT min(id) FROM block), 1) AS first_block, \
         coalesce((SELECT max(id) FROM block), 0) AS last_block, \
         coalesce((SELECT max(id) FROM alert_event), 0) AS last_event, \
         coalesce((SELECT max(id) FROM snapshot), 0) AS last_snapshot, \
         (SELECT min(max_time) FROM block) AS oldest, \
         coalesce((SELECT received FROM block ORDER BY id DESC LIMIT 1), \
         (SELECT max(at) FROM snapshot)) AS last_commit",
    )
    .fetch_one(writer)
    .await
}

async fn load_tags(
    writer: &mut SqliteConnection,
    registry: &Registry,
    location: &Location,
) -> Result<u32, OpenError> {
    let path = || location.db.clone();
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT id, asset, name FROM tag ORDER BY id")
            .fetch_all(writer)
            .await
            .map_err(|source| OpenError::Open { path: path(), source })?;
    for (id, asset, name) in &rows {
        let given = registry.intern(asset, name).map_err(|full| OpenError::TooManyTags {
            path: path(),
            stored: rows.len(),
            limit: full.limit,
        })?;
        if i64::from(given.0) != *id {
            return Err(OpenError::TagOrder { path: path(), id: *id });
        }
    }
    Ok(u32::try_from(rows.len()).expect("the registry numbers tags below 2^32"))
}
