//! The buffer on real files: what is recorded comes back, in the promised order and no sooner.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use andon::ledger::{Ledger, Rejection};
use andon::message::{Message, Quarantined};
use andon::sample::{Batch, Receipt, Sample};
use andon::settings::StoreSettings;
use andon::store::{
    AlertChange, AlertKey, OpenError, Store, StoreClosed, StoreError, StoreStats, WindowMark,
};
use andon::tag::{Registry, TagId};
use andon::time::Timestamp;
use bytes::Bytes;
use bytesize::ByteSize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(3600);

/// A running buffer.
struct Bench {
    store: Store,
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
    token: CancellationToken,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Bench {
    async fn start(settings: &StoreSettings) -> Self {
        let registry = Arc::new(Registry::new(1000));
        let ledger = Arc::new(Ledger::default());
        let (store, writer) =
            Store::open(settings, Arc::clone(&registry), Arc::clone(&ledger)).await.unwrap();
        let token = CancellationToken::new();
        let writer = tokio::spawn(writer.run(token.clone()));
        Self { store, registry, ledger, token, writer }
    }

    async fn stop(self) {
        self.token.cancel();
        self.writer.await.unwrap().unwrap();
    }

    async fn record(&self, batch: Batch) {
        self.ledger.receive(batch.samples.len() as u64);
        self.store.record(batch).await;
    }

    async fn stats(&self, what: &str, holds: impl Fn(&StoreStats) -> bool) {
        until(what, async || holds(&self.store.stats())).await;
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

fn settings(folder: &TempDir, commit_interval: Duration) -> StoreSettings {
    StoreSettings {
        path: folder.path().join("deep/andon.db"),
        commit_interval,
        retain_age: Duration::from_secs(100 * 365 * 24 * 3600),
        ..StoreSettings::default()
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

fn batch(samples: Vec<Sample>) -> Batch {
    Batch {
        samples: Arc::new(samples),
        pictures: Vec::new(),
        received: at(1000),
        messages: 0,
        receipt: None,
        stale: false,
    }
}

fn with_receipt(samples: Vec<Sample>, settled: &Arc<AtomicU32>) -> Batch {
    let settled = Arc::clone(settled);
    let receipt = Receipt::new(move || {
        settled.fetch_add(1, Ordering::SeqCst);
    });
    Batch { messages: 1, receipt: Some(receipt), ..batch(samples) }
}

fn change(asset: &str, state: Option<&str>, topics: &[&str]) -> AlertChange {
    let message =
        |topic: &&str| Message { topic: (*topic).into(), body: Bytes::from("{}"), retain: true };
    AlertChange {
        key: AlertKey { asset: asset.into(), prediction: "wear".into() },
        state: state.map(Into::into),
        messages: topics.iter().map(message).collect(),
        at: at(5),
        cause: state.map(|_| "raised"),
    }
}

/// Values that no codec makes small.
fn noise(index: u64) -> f64 {
    let mixed = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from_bits(0x3ff0_0000_0000_0000 | (mixed ^ (mixed >> 31)) >> 12)
}

/// A second connection, as another process has it.
async fn other(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn count(connection: &mut SqliteConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

fn files_with(folder: &Path, part: &str) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(part))
        .collect()
}

#[tokio::test]
async fn what_is_recorded_is_read_back_by_tag_and_in_order() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, Duration::from_millis(10))).await;
    let a = bench.registry.intern("press-1", "pressure").unwrap();
    let b = bench.registry.intern("press-1", "temperature").unwrap();
    bench.record(batch(vec![Sample::new(a, at(2), 2.0), Sample::new(b, at(2), -0.0)])).await;
    bench.stats("the first commit", |stats| stats.commits == 1).await;
    bench.record(batch(vec![Sample::new(a, at(1), 1.5), Sample::missing(a, at(3))])).await;
    bench.stats("the second commit", |stats| stats.commits == 2).await;
    let read = bench.store.read_tag(a, at(1), at(3)).await.unwrap();
    assert_eq!(read, [Sample::new(a, at(1), 1.5), Sample::new(a, at(2), 2.0)]);
    let read = bench.store.read_tag(b, at(0), at(9)).await.unwrap();
    assert_eq!(read[0].value.to_bits(), (-0.0f64).to_bits());
    let totals = bench.ledger.totals();
    assert_eq!((totals.stored, totals.in_flight), (4, 0));
    bench.stop().await;
}

#[tokio::test]
async fn a_scan_gives_all_later_samples_but_the_stale_in_commit_order() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, Duration::from_millis(1))).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let stale = Batch { stale: true, ..batch(vec![Sample::new(tag, at(7), 7.0)]) };
    let batches = [
        batch(vec![Sample::new(tag, at(1), 1.0), Sample::new(tag, at(6), 6.0)]),
        stale,
        batch(vec![Sample::new(tag, at(5), 5.0), Sample::new(tag, at(3), 3.0)]),
        batch(vec![Sample::new(tag, at(0), 0.0)]),
    ];
    for (batch, commits) in batches.into_iter().zip(1..) {
        bench.record(batch).await;
        bench.stats("a commit", |stats| stats.commits == commits).await;
    }
    let mut seen = Vec::new();
    let scanned = bench
        .store
        .scan(Some(at(3)), Duration::ZERO, |samples, received| {
            assert_eq!(received, at(1000));
            seen.push(samples.iter().map(|sample| sample.value).collect::<Vec<_>>());
        })
        .await
        .unwrap();
    assert_eq!((scanned, seen), (3, vec![vec![6.0], vec![3.0, 5.0]]));
    assert_eq!(bench.store.read_tag(tag, at(7), at(8)).await.unwrap().len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn fault_14_the_last_minute_is_read_back_however_the_clock_has_jumped() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, Duration::from_millis(1))).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let year = 365 * 86_400;
    // The minute before, an hour ahead, back again, a year back, and history of last year at last.
    let arrivals = [(0, 0), (50, 50), (3660, 60), (70, 70), (80 - year, 80), (90 - year, -year)];
    for ((received, time), commits) in arrivals.into_iter().zip(1_u32..) {
        let sample = Sample::new(tag, at(time), f64::from(commits));
        let (received, commits) = (at(received), u64::from(commits));
        bench.record(Batch { received, ..batch(vec![sample]) }).await;
        bench.stats("a commit", |stats| stats.commits == commits).await;
    }
    for (tail, expected) in
        [(60, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), (10, vec![3.0, 4.0, 5.0, 6.0])]
    {
        let mut seen = Vec::new();
        let see = |samples: Vec<Sample>, _| seen.extend(samples.iter().map(|sample| sample.value));
        bench.store.scan(None, Duration::from_secs(tail), see).await.unwrap();
        assert_eq!(seen, expected, "{tail} s");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_receipt_is_settled_only_when_the_samples_are_on_disk() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, Duration::from_millis(20));
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let path = settings.path.clone();
    let (settle, settled) = tokio::sync::oneshot::channel();
    let receipt = Receipt::new(move || settle.send(()).unwrap());
    let sample = Sample::new(tag, at(1), 1.0);
    bench.record(Batch { messages: 1, receipt: Some(receipt), ..batch(vec![sample]) }).await;
    settled.await.unwrap();
    let mut other = other(&path).await;
    assert_eq!(count(&mut other, "SELECT sum(count) FROM block").await, 1);
    assert_eq!(count(&mut other, "SELECT count(*) FROM tag").await, 1);
    other.close().await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn a_small_in_flight_window_is_acknowledged_before_the_interval() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, LONG)).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let settled = Arc::new(AtomicU32::new(0));
    for second in 0..20 {
        bench.record(with_receipt(vec![Sample::new(tag, at(second), 1.0)], &settled)).await;
    }
    until("twenty receipts", async || settled.load(Ordering::SeqCst) == 20).await;
    bench.stop().await;
}

#[tokio::test]
async fn an_alert_takes_its_evidence_with_it() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let changed = bench.store.outbox_changed();
    bench.record(batch(vec![Sample::new(tag, at(1), 1.0)])).await;
    let seqs = bench.store.commit_change(change("press-1", Some("{}"), &["a", "b"])).await.unwrap();
    assert_eq!(seqs, [1, 2]);
    let mut other = other(&settings.path).await;
    assert_eq!(count(&mut other, "SELECT sum(count) FROM block").await, 1);
    assert_eq!(count(&mut other, "SELECT count(*) FROM outbox").await, 2);
    assert_eq!(*changed.borrow(), 2);
    other.close().await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn the_outbox_gives_rows_once_and_oldest_first() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    bench.store.commit_change(change("a", Some("{}"), &["a", "b"])).await.unwrap();
    bench.store.commit_change(change("b", Some("{}"), &["c", "d"])).await.unwrap();
    let topics = async |store: &Store, after, limit| -> Vec<String> {
        let rows = store.next_outgoing(after, limit).await.unwrap();
        rows.into_iter().map(|row| row.message.topic).collect()
    };
    assert_eq!(topics(&bench.store, 0, 3).await, ["a", "b", "c"]);
    bench.store.delivered(vec![1, 3]).await;
    bench.store.dead_letter(2, "not authorised".into()).await;
    assert_eq!(topics(&bench.store, 0, 9).await, ["d"]);
    assert_eq!(bench.store.stats().outbox, 1);
    bench.stats("the dead letter on disk", |stats| stats.dead_letters == 1).await;
    bench.stop().await;

    let bench = Bench::start(&settings).await;
    assert_eq!(topics(&bench.store, 0, 9).await, ["d"]);
    let letters = bench.store.dead_letters(9).await.unwrap();
    assert_eq!((letters[0].outgoing.seq, letters[0].reason.as_str()), (2, "not authorised"));
    bench.store.delivered(vec![4]).await;
    assert!(topics(&bench.store, 0, 9).await.is_empty());
    assert_eq!(bench.store.commit_change(change("b", None, &["e"])).await.unwrap(), [5]);
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_tags_states_marks_and_outbox_numbers() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    let names = ["pressure", "temperature", "speed"];
    let ids = names.map(|name| bench.registry.intern("press-1", name).unwrap());
    for number in 0..600 {
        bench.registry.intern("odd", &format!("\u{0}'\"{number}")).unwrap();
    }
    bench.record(batch(vec![Sample::new(ids[2], at(1), 3.0)])).await;
    bench.store.commit_change(change("a", Some("1"), &["x"])).await.unwrap();
    bench.store.commit_change(change("b", Some("2"), &["y"])).await.unwrap();
    bench.store.commit_change(change("a", Some("3"), &[])).await.unwrap();
    bench.store.commit_change(change("b", None, &[])).await.unwrap();
    let mark = |secs| WindowMark {
        asset: "press-1".into(),
        prediction: "wear".into(),
        start: at(secs - 1),
        end: at(secs),
    };
    bench.store.save_marks(vec![mark(1)]).await;
    bench.store.save_marks(vec![mark(2)]).await;
    bench.stop().await;

    let bench = Bench::start(&settings).await;
    assert_eq!(names.map(|name| bench.registry.lookup("press-1", name).unwrap()), ids);
    assert_eq!(bench.registry.intern("press-2", "pressure"), Ok(TagId(603)));
    assert_eq!(bench.registry.lookup("odd", "\u{0}'\"599"), Some(TagId(602)));
    let states = bench.store.alert_states().await.unwrap();
    assert_eq!(states, [(change("a", None, &[]).key, "3".to_owned())]);
    assert_eq!(bench.store.load_marks().await.unwrap(), [mark(2)]);
    assert_eq!(bench.store.read_tag(ids[2], at(0), at(9)).await.unwrap().len(), 1);
    assert_eq!(*bench.store.outbox_changed().borrow(), 2);
    let outgoing = bench.store.next_outgoing(0, 9).await.unwrap();
    assert_eq!(outgoing.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((outgoing[0].created, outgoing[0].message.topic.as_str()), (at(5), "x"));
    bench.stop().await;
}

#[tokio::test]
async fn the_history_keeps_every_transition_in_order_even_those_that_arrived_together() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let said = async |bench: &Bench| -> Vec<(String, String)> {
        let events = bench.store.alert_events(Timestamp::MIN, Timestamp::MAX, 10).await.unwrap();
        events.into_iter().map(|event| (event.cause, event.state)).collect()
    };
    let bench = Bench::start(&settings).await;
    for (cause, state) in [("raised", "1"), ("cleared", "2"), ("raised", "3")] {
        let change = AlertChange { cause: Some(cause), ..change("press-1", Some(state), &[]) };
        bench.store.commit_change(change).await.unwrap();
    }
    let expected = [("raised", "3"), ("cleared", "2"), ("raised", "1")]
        .map(|(cause, state)| (cause.to_owned(), state.to_owned()));
    assert_eq!(said(&bench).await, expected);
    bench.stop().await;

    let bench = Bench::start(&settings).await;
    let last = AlertChange { cause: Some("cleared"), ..change("press-1", Some("4"), &[]) };
    bench.store.commit_change(last).await.unwrap();
    let all = said(&bench).await;
    assert_eq!(all[0], ("cleared".to_owned(), "4".to_owned()));
    assert_eq!(all[1..], expected, "a restart goes on with new numbers");
    bench.stop().await;
}

#[tokio::test]
async fn stopping_commits_what_is_queued_and_leaves_no_wal() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let settled = Arc::new(AtomicU32::new(0));
    bench.record(with_receipt(vec![Sample::new(tag, at(1), 1.0)], &settled)).await;
    let (store, ledger) = (bench.store.clone(), Arc::clone(&bench.ledger));
    bench.stop().await;
    assert_eq!(settled.load(Ordering::SeqCst), 1);
    assert!(files_with(settings.path.parent().unwrap(), "-wal").is_empty());

    ledger.receive(2);
    let late = vec![Sample::new(tag, at(2), 2.0)];
    store.record(batch(late.clone())).await;
    store.record(with_receipt(late, &settled)).await;
    store.delivered(vec![1]).await;
    assert_eq!(store.commit_change(change("a", None, &[])).await, Err(StoreClosed));
    let totals = ledger.totals();
    assert_eq!((totals.stored, totals.shed_total(), totals.in_flight), (1, 2, 0));
    assert_eq!(settled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nobody_waiting() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, LONG)).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    bench.record(batch(vec![Sample::new(tag, at(1), 1.0)])).await;
    bench.writer.abort();
    assert!(bench.writer.await.unwrap_err().is_cancelled());
    assert_eq!(bench.store.commit_change(change("a", None, &[])).await, Err(StoreClosed));
    assert_eq!(bench.ledger.totals().in_flight, 0);
}

#[tokio::test]
async fn the_quarantine_keeps_the_bytes_and_the_reason() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, LONG)).await;
    let item = |topic: &str| Quarantined {
        received: at(1),
        source: "mqtt:plant".into(),
        topic: topic.into(),
        reason: Rejection::Unreadable.as_str(),
        detail: "not JSON".into(),
        head: Bytes::from_static(b"\xff\x00"),
        length: 10_000_000,
    };
    bench.store.quarantine(item("a"));
    bench.store.quarantine(item("b"));
    bench.stats("the quarantine on disk", |stats| stats.commits == 1).await;
    assert_eq!(bench.store.quarantined(9).await.unwrap(), [item("b"), item("a")]);
    bench.stop().await;
}

#[tokio::test]
async fn the_oldest_blocks_go_when_there_are_too_many_bytes_and_alerts_stay() {
    let folder = TempDir::new().unwrap();
    let limit = ByteSize::mib(2);
    let settings = StoreSettings {
        retain_bytes: limit,
        commit_samples: 10_000,
        ..settings(&folder, Duration::from_millis(50))
    };
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "vibration").unwrap();
    bench.store.commit_change(change("a", Some("kept"), &["kept"])).await.unwrap();
    for part in 0..80i64 {
        let samples = (0..10_000i64).map(|index| {
            let noise = noise((part * 10_000 + index).unsigned_abs());
            Sample::new(tag, at(part * 10_000 + index), noise)
        });
        bench.record(batch(samples.collect())).await;
        let written = u64::try_from(part).unwrap() + 2;
        bench.stats("a commit", |stats| stats.commits >= written).await;
    }
    let path = settings.path.clone();
    bench
        .stats("the file to be small enough", |stats| {
            stats.db_bytes + stats.wal_bytes <= limit.as_u64() && stats.blocks < 60
        })
        .await;
    let newest = bench.store.read_tag(tag, at(790_000), at(800_000)).await.unwrap();
    assert_eq!(newest.len(), 10_000);
    assert!(bench.store.read_tag(tag, at(0), at(10_000)).await.unwrap().is_empty());
    assert!(bench.store.stats().oldest.unwrap() > at(10_000));
    assert_eq!(bench.store.alert_states().await.unwrap()[0].1, "kept");
    assert_eq!(bench.store.next_outgoing(0, 9).await.unwrap().len(), 1);
    bench.stop().await;
    assert!(std::fs::metadata(path).unwrap().len() <= limit.as_u64());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let parent = settings.path.parent().unwrap().to_owned();
    std::fs::create_dir_all(&parent).unwrap();
    std::fs::write(&settings.path, vec![0x5a; 20_000]).unwrap();
    let bench = Bench::start(&settings).await;
    let aside = bench.store.stats().set_aside.unwrap();
    assert_eq!(std::fs::read(&aside).unwrap(), vec![0x5a; 20_000]);
    bench.store.commit_change(change("a", Some("{}"), &[])).await.unwrap();
    bench.stop().await;
    assert_eq!(files_with(&parent, ".damaged-"), [aside]);
}

#[tokio::test]
async fn damage_in_the_middle_is_found_at_the_start() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    for _ in 0..50 {
        bench.store.commit_change(change("a", Some("{}"), &["x"; 40])).await.unwrap();
    }
    bench.stop().await;
    let mut bytes = std::fs::read(&settings.path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0xff);
    std::fs::write(&settings.path, bytes).unwrap();
    let bench = Bench::start(&settings).await;
    assert!(bench.store.stats().set_aside.is_some());
    bench.stop().await;
}

#[tokio::test]
async fn a_block_with_a_wrong_checksum_is_passed_over_and_counted() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, Duration::from_millis(1));
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    for second in 0..3 {
        bench.record(batch(vec![Sample::new(tag, at(second), 1.0)])).await;
        let commits = u64::try_from(second).unwrap() + 1;
        bench.stats("a commit", |stats| stats.commits == commits).await;
    }
    let mut other = other(&settings.path).await;
    sqlx::query("UPDATE block SET data = zeroblob(length(data)) WHERE id = 2")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let read = bench.store.read_tag(tag, at(0), at(9)).await.unwrap();
    assert_eq!(read.iter().map(|sample| sample.time).collect::<Vec<_>>(), [at(0), at(2)]);
    assert_eq!(bench.store.stats().damaged_blocks, 1);
    bench.stop().await;
}

#[tokio::test]
async fn another_process_that_holds_the_lock_only_delays() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, Duration::from_millis(5));
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "pressure").unwrap();
    let mut other = other(&settings.path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let settled = Arc::new(AtomicU32::new(0));
    bench.record(with_receipt(vec![Sample::new(tag, at(1), 1.0)], &settled)).await;
    let waiting = tokio::spawn({
        let store = bench.store.clone();
        async move { store.commit_change(change("a", Some("{}"), &["x"])).await }
    });
    bench.stats("a failed commit", |stats| stats.failed_commits > 0 && stats.disk_failing).await;
    assert_eq!(settled.load(Ordering::SeqCst), 0);
    assert!(!waiting.is_finished());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(vec![1]));
    until("the receipt", async || settled.load(Ordering::SeqCst) == 1).await;
    assert!(!bench.store.stats().disk_failing);
    assert_eq!(count(&mut other, "SELECT sum(count) FROM block").await, 1);
    assert_eq!(count(&mut other, "SELECT count(*) FROM outbox").await, 1);
    other.close().await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, LONG);
    let bench = Bench::start(&settings).await;
    let second =
        Store::open(&settings, Arc::new(Registry::new(9)), Arc::new(Ledger::default())).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    bench.stop().await;
}

#[tokio::test]
async fn a_backlog_longer_than_memory_is_read_from_the_file() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::start(&settings(&folder, LONG)).await;
    for _ in 0..15 {
        bench.store.commit_change(change("a", Some("{}"), &["x"; 100])).await.unwrap();
    }
    bench.store.delivered((1..=50).collect()).await;
    let mut after = 0;
    let mut seen = Vec::new();
    loop {
        let rows = bench.store.next_outgoing(after, 70).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = last.seq;
        seen.extend(rows.iter().map(|row| row.seq));
    }
    assert_eq!(seen, (51..=1500).collect::<Vec<_>>());
    bench.stop().await;
}

#[tokio::test]
async fn fault_37_a_reader_that_stays_holds_up_no_commit_and_costs_no_sample() {
    let folder = TempDir::new().unwrap();
    let settings = StoreSettings {
        retain_bytes: ByteSize::mib(8),
        commit_samples: 10_000,
        ..settings(&folder, Duration::from_millis(5))
    };
    let bench = Bench::start(&settings).await;
    let tag = bench.registry.intern("press-1", "vibration").unwrap();
    let samples = |part: i64| {
        let times = part * 10_000..(part + 1) * 10_000;
        let sample = |index: i64| Sample::new(tag, at(index), noise(index.unsigned_abs()));
        times.map(sample).collect::<Vec<_>>()
    };
    bench.record(batch(samples(0))).await;
    bench.stats("a commit", |stats| stats.commits >= 1).await;

    // Somebody looks at the buffer with a tool of his own, and goes to lunch.
    let mut reader = other(&settings.path).await;
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    assert_eq!(count(&mut reader, "SELECT sum(count) FROM block").await, 10_000);
    let settled = Arc::new(AtomicU32::new(0));
    let mut slow = 0;
    for part in 1..60i64 {
        let begun = tokio::time::Instant::now();
        bench.record(with_receipt(samples(part), &settled)).await;
        let wanted = u32::try_from(part).unwrap();
        until("a receipt", async || settled.load(Ordering::SeqCst) == wanted).await;
        slow += u32::from(begun.elapsed() > Duration::from_millis(400));
    }
    assert!(slow <= 2, "{slow} of 59 commits were held up");
    let limit = settings.retain_bytes.as_u64();
    bench.stats("the WAL's growth to show", |stats| stats.wal_bytes > limit / 3).await;
    let kept = bench.store.read_tag(tag, at(0), at(600_000)).await.unwrap();
    assert_eq!(kept.len(), 600_000, "the WAL's size is no reason to delete samples");
    assert_eq!(count(&mut reader, "SELECT sum(count) FROM block").await, 10_000, "as it was");

    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    reader.close().await.unwrap();
    bench.record(batch(samples(60))).await;
    bench.stats("the WAL to be given back", |stats| stats.wal_bytes < limit / 4).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_buffer_that_is_too_large_shrinks_right_after_a_start() {
    let folder = TempDir::new().unwrap();
    let keeps =
        StoreSettings { commit_samples: 10_000, ..settings(&folder, Duration::from_millis(5)) };
    let bench = Bench::start(&keeps).await;
    let tag = bench.registry.intern("press-1", "vibration").unwrap();
    for part in 0..40i64 {
        let sample = |index: i64| Sample::new(tag, at(index), noise(index.unsigned_abs()));
        bench.record(batch((part * 10_000..(part + 1) * 10_000).map(sample).collect())).await;
    }
    bench.stats("the commits", |stats| stats.db_bytes + stats.wal_bytes > 2 << 20).await;
    bench.stop().await;

    let begun = tokio::time::Instant::now();
    let limit = ByteSize::mib(1);
    let bench = Bench::start(&StoreSettings { retain_bytes: limit, ..keeps }).await;
    bench
        .stats("the limit to be kept", |stats| {
            let bytes = stats.db_bytes + stats.wal_bytes;
            bytes > 0 && bytes <= limit.as_u64()
        })
        .await;
    assert!(begun.elapsed() < Duration::from_secs(5), "a box that restarts often must not fill up");
    bench.stop().await;
}
