//! A full disk, which only a page limit on the inside can play, and a clock that jumps.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clock::StoredClock;
use super::connect::Location;
use super::retention::{Retention, Step};
use super::*;
use crate::clock::Heritage;
use crate::sample::Receipt;

async fn until(what: &str, holds: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

/// Values that no codec makes small.
fn noise(index: u64) -> f64 {
    let mixed = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from_bits(0x3ff0_0000_0000_0000 | (mixed ^ (mixed >> 31)) >> 12)
}

fn batch(tag: TagId, start: i64, count: i64) -> Batch {
    let samples = (start..start + count)
        .map(|at| Sample::new(tag, Timestamp::from_secs(at), noise(at.unsigned_abs())));
    Batch {
        samples: Arc::new(samples.collect()),
        pictures: Vec::new(),
        received: Timestamp::from_secs(start),
        messages: 0,
        receipt: None,
        stale: false,
    }
}

fn settings(folder: &TempDir) -> StoreSettings {
    StoreSettings {
        path: folder.path().join("andon.db"),
        retain_age: Duration::from_secs(100 * 365 * 24 * 3600),
        commit_interval: Duration::from_millis(5),
        queue_samples: 10_000,
        ..StoreSettings::default()
    }
}

fn change() -> AlertChange {
    AlertChange {
        key: AlertKey { asset: "press-1".into(), prediction: "wear".into() },
        state: Some("{}".into()),
        messages: vec![Message { topic: "t".into(), body: "x".into(), retain: false }],
        at: Timestamp::from_secs(1),
        cause: None,
    }
}

/// A buffer with one tag, and its writer at work.
struct Open {
    store: Store,
    ledger: Arc<Ledger>,
    tag: TagId,
    token: CancellationToken,
    running: JoinHandle<Result<(), StoreError>>,
}

impl Open {
    async fn at(location: &Location, settings: &StoreSettings) -> Self {
        let registry = Arc::new(Registry::new(10));
        let ledger = Arc::new(Ledger::default());
        let made =
            open::open_at(location.clone(), settings, Arc::clone(&registry), Arc::clone(&ledger));
        let (store, writer) = made.await.unwrap();
        let token = CancellationToken::new();
        let running = tokio::spawn(writer.run(token.clone()));
        let tag = registry.intern("press-1", "vibration").unwrap();
        Self { store, ledger, tag, token, running }
    }
}

#[tokio::test]
async fn a_full_disk_sheds_the_oldest_keeps_changes_and_passes() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let location = Location::new(settings.path.clone());
    // First make the file, then find the disk full.
    let made = open::open_at(
        location.clone(),
        &settings,
        Arc::new(Registry::new(10)),
        Arc::new(Ledger::default()),
    );
    drop(made.await.unwrap());
    location.limit_pages(1);
    let Open { store, ledger, tag, token, running } = Open::at(&location, &settings).await;

    let settled = Arc::new(AtomicU32::new(0));
    let receipt = Receipt::new({
        let settled = Arc::clone(&settled);
        move || {
            settled.fetch_add(1, Ordering::SeqCst);
        }
    });
    ledger.receive(5000);
    store.record(Batch { messages: 1, receipt: Some(receipt), ..batch(tag, 0, 5000) }).await;
    until("a failed commit", || store.stats().failed_commits > 0).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit_change(change()).await }
    });
    for part in 1..=4 {
        ledger.receive(4000);
        store.record(batch(tag, part * 10_000, 4000)).await;
        until("the commit to have failed again", || store.stats().disk_failing).await;
    }
    until("the oldest to be shed", || ledger.totals().shed_total() > 0).await;
    assert_eq!((settled.load(Ordering::SeqCst), waiting.is_finished()), (0, false));
    assert!(store.stats().queue_samples <= 14_000);

    location.limit_pages(0);
    assert_eq!(waiting.await.unwrap(), Ok(vec![1]));
    until("all to be settled", || ledger.totals().in_flight == 0).await;
    assert_eq!(settled.load(Ordering::SeqCst), 1);
    assert!(!store.stats().disk_failing);
    let read = async |from: i64, to: i64| {
        let (from, to) = (Timestamp::from_secs(from), Timestamp::from_secs(to));
        store.read_tag(tag, from, to).await.unwrap().len()
    };
    assert_eq!(read(0, 10_000).await, 5000);
    assert_eq!(read(10_000, 20_000).await, 0);
    assert_eq!(read(40_000, 50_000).await, 4000);
    token.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn on_a_full_disk_the_oldest_blocks_give_way() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let location = Location::new(settings.path.clone());
    location.limit_pages(200);
    let Open { store, ledger, tag, token, running } = Open::at(&location, &settings).await;
    for part in 0..40 {
        ledger.receive(5000);
        store.record(batch(tag, part * 10_000, 5000)).await;
        until("the block on disk", || ledger.totals().in_flight == 0).await;
    }
    assert_eq!(ledger.totals().stored, 200_000);
    let newest = Timestamp::from_secs(390_000);
    assert_eq!(store.read_tag(tag, newest, Timestamp::MAX).await.unwrap().len(), 5000);
    let first = Timestamp::from_secs(9_000);
    assert!(store.read_tag(tag, Timestamp::MIN, first).await.unwrap().is_empty());
    token.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn fault_14_a_jump_of_the_clock_deletes_nothing() {
    const AGE: Duration = Duration::from_secs(3600);
    let folder = TempDir::new().unwrap();
    let settings = StoreSettings { retain_age: AGE, ..settings(&folder) };
    let location = Location::new(settings.path.clone());
    let Open { store, ledger, tag, token, running } = Open::at(&location, &settings).await;
    let start = 1_800_000_000;
    ledger.receive(100);
    store.record(batch(tag, start, 100)).await;
    token.cancel();
    running.await.unwrap().unwrap();

    let now = Timestamp::from_secs(start + 100);
    let a_year_on = now.saturating_add(Duration::from_secs(365 * 86_400));
    let mut connection = location.writer().await.unwrap();
    let gauges = stats::Gauges::default();
    let retention = Retention::new(&settings);
    let clock = StoredClock::begin(Heritage::Believed(now), AGE, now);
    for at in [now, a_year_on, a_year_on, now, Timestamp::from_secs(20), a_year_on] {
        let step = retention.step(&mut connection, 0, &clock, at, &gauges).await.unwrap();
        assert_eq!(step, Step::Done, "at {at}");
    }

    // The next life knows of the doubt, although the file was last committed to at that time.
    note(&clock, &mut connection).await;
    assert_eq!(clock.to_note(), None, "it is written down once");
    let heritage = clock::heritage(&mut connection, Some(a_year_on)).await.unwrap();
    let next = StoredClock::begin(heritage, AGE, a_year_on);
    let step = retention.step(&mut connection, 0, &next, a_year_on, &gauges).await.unwrap();
    assert_eq!(step, Step::Done);
    assert!(next.is_believed(now), "the time that was right before the jump");
    note(&next, &mut connection).await;
    let heritage = clock::heritage(&mut connection, Some(now)).await.unwrap();
    assert_eq!(heritage, Heritage::Believed(now));

    // The same time, honestly come by, does delete.
    let honest = StoredClock::begin(Heritage::Believed(a_year_on), AGE, a_year_on);
    let step = retention.step(&mut connection, 0, &honest, a_year_on, &gauges).await.unwrap();
    assert_eq!(step, Step::Deleted);
}

async fn note(clock: &StoredClock, connection: &mut sqlx::SqliteConnection) {
    let note = clock.to_note().expect("something to be written");
    let mut script = commit::Script::default();
    script.clock(note);
    script.run(connection).await.unwrap();
    clock.noted(note);
}
