//! Pictures in small on real files: what stays, what goes and when.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::clock::StoredClock;
use super::super::connect::Location;
use super::super::open;
use super::super::retention::{Retention, Step};
use super::*;
use crate::clock::Heritage;
use crate::ledger::Ledger;
use crate::settings::StoreSettings;
use crate::tag::Registry;

const BEGIN: i64 = 1_800_000_000;

struct Open {
    store: Store,
    token: CancellationToken,
    running: JoinHandle<std::result::Result<(), StoreError>>,
}

impl Open {
    async fn at(location: &Location, settings: &StoreSettings) -> Self {
        let (registry, ledger) = (Arc::new(Registry::new(10)), Arc::new(Ledger::default()));
        let made = open::open_at(location.clone(), settings, registry, ledger);
        let (store, writer) = made.await.unwrap();
        let token = CancellationToken::new();
        let running = tokio::spawn(writer.run(token.clone()));
        Self { store, token, running }
    }

    /// Everything that was handed over is on disk then.
    async fn stop(self) {
        self.token.cancel();
        self.running.await.unwrap().unwrap();
    }

    async fn seconds(&self, asset: &str) -> Vec<i64> {
        let rows = self.store.snapshots(asset, 1000).await.unwrap();
        rows.iter().map(|row| row.at().as_millis() / 1000 - BEGIN).collect()
    }
}

fn settings(folder: &TempDir) -> StoreSettings {
    StoreSettings {
        path: folder.path().join("andon.db"),
        retain_age: Duration::from_secs(100 * 365 * 24 * 3600),
        ..StoreSettings::default()
    }
}

fn snapshot(second: i64) -> NewSnapshot {
    NewSnapshot {
        asset: "press-1".into(),
        prediction: "bright".into(),
        at: Timestamp::from_secs(BEGIN + second),
        alert_id: None,
        remark: "{}".into(),
        width: 192,
        height: 128,
        jpeg: Bytes::from(vec![u8::try_from(second.rem_euclid(256)).unwrap(); 4000]),
        most: 3,
    }
}

fn raised(second: i64) -> NewSnapshot {
    NewSnapshot { alert_id: Some(format!("alert {second}")), ..snapshot(second) }
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

#[tokio::test]
async fn the_last_ones_of_asset_and_prediction_stay_and_those_of_alerts_beside_them() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let location = Location::new(settings.path.clone());
    let open = Open::at(&location, &settings).await;
    assert_eq!(open.seconds("press-1").await, [0; 0]);
    for second in 0..4 {
        open.store.keep_snapshot(snapshot(second));
    }
    open.store.keep_snapshot(raised(4));
    let other = NewSnapshot { prediction: "scratch".into(), ..snapshot(5) };
    open.store.keep_snapshot(other.clone());
    open.store.keep_snapshot(NewSnapshot { asset: "press-2".into(), ..snapshot(6) });
    // Three of four, one of an alert, two others.
    until("the first on disk", async || open.store.stats().snapshots == 6).await;
    assert_eq!(open.seconds("press-1").await, [5, 4, 3, 2, 1]);
    for second in 7..12 {
        open.store.keep_snapshot(snapshot(second));
    }
    open.stop().await;

    let open = Open::at(&location, &settings).await;
    assert_eq!(open.seconds("press-1").await, [11, 10, 9, 5, 4]);
    assert_eq!(open.seconds("press-2").await, [6]);
    let of_alert = open.store.snapshots_of_alerts(&["alert 4", "alert 5"]).await.unwrap();
    assert_eq!(of_alert.len(), 1);
    let row = &of_alert[0];
    assert_eq!((row.width, row.height, row.bytes, &*row.prediction), (192, 128, 4000, "bright"));
    assert_eq!(open.store.snapshot_jpeg(row.id).await.unwrap(), Some(vec![4; 4000]));
    assert_eq!(open.store.snapshot_jpeg(row.id + 1).await.unwrap(), None);
    // A box whose clock went back uses no number twice: browsers keep what they have seen.
    let newest = open.store.snapshots("press-1", 1).await.unwrap()[0].id;
    open.store.keep_snapshot(NewSnapshot { asset: "press-3".into(), ..snapshot(-5000) });
    until("the last on disk", async || !open.seconds("press-3").await.is_empty()).await;
    assert!(open.store.snapshots("press-3", 1).await.unwrap()[0].id > newest);
    // Fewer are wanted.
    open.store.keep_snapshot(NewSnapshot { most: 1, ..snapshot(12) });
    until("the others gone", async || open.seconds("press-1").await == [12, 5, 4]).await;
    open.stop().await;
}

#[tokio::test]
async fn pictures_go_by_age_unless_the_clock_is_in_doubt() {
    const AGE: Duration = Duration::from_secs(3600);
    let folder = TempDir::new().unwrap();
    let settings = StoreSettings { retain_age: AGE, ..settings(&folder) };
    let location = Location::new(settings.path.clone());
    let open = Open::at(&location, &settings).await;
    for picture in [raised(0), snapshot(10), snapshot(3000), raised(3010)] {
        open.store.keep_snapshot(NewSnapshot { most: 9, ..picture });
    }
    open.stop().await;

    let now = Timestamp::from_secs(BEGIN + 3700);
    let mut connection = location.writer().await.unwrap();
    let (gauges, retention) = (Gauges::default(), Retention::new(&settings));
    let doubted = StoredClock::begin(Heritage::Believed(now), AGE, now);
    let a_year_on = now.saturating_add(Duration::from_secs(365 * 86_400));
    let step = retention.step(&mut connection, 0, &doubted, a_year_on, &gauges).await.unwrap();
    assert_eq!((step, gauges.get().snapshots), (Step::Done, 4));
    let clock = StoredClock::begin(Heritage::Believed(now), AGE, now);
    let step = retention.step(&mut connection, 0, &clock, now, &gauges).await.unwrap();
    assert_eq!(step, Step::Deleted);
    let step = retention.step(&mut connection, 0, &clock, now, &gauges).await.unwrap();
    assert_eq!(step, Step::Done);
    drop(connection);
    let open = Open::at(&location, &settings).await;
    assert_eq!(open.store.stats().snapshots, 2);
    open.stop().await;
}

#[tokio::test]
async fn they_keep_to_their_share_of_the_buffer_and_those_of_alerts_go_last() {
    let folder = TempDir::new().unwrap();
    let generous = settings(&folder);
    let location = Location::new(generous.path.clone());
    let open = Open::at(&location, &generous).await;
    for second in 0..24 {
        let picture = if second < 10 { raised(second) } else { snapshot(second) };
        open.store.keep_snapshot(NewSnapshot { most: 100, ..picture });
    }
    open.stop().await;

    // An eighth of it holds 16 of these.
    let small = StoreSettings { retain_bytes: bytesize::ByteSize::b(8 * 16 * 4000), ..generous };
    let now = Timestamp::from_secs(BEGIN + 30);
    let mut connection = location.writer().await.unwrap();
    let clock = StoredClock::begin(Heritage::Believed(now), small.retain_age, now);
    let (gauges, retention) = (Gauges::default(), Retention::new(&small));
    let step = retention.step(&mut connection, 0, &clock, now, &gauges).await.unwrap();
    assert_eq!(step, Step::Deleted);
    trim(&mut connection, Timestamp::MIN, small.retain_bytes.as_u64(), &gauges).await.unwrap();
    assert_eq!(gauges.get().snapshot_bytes, 16 * 4000);
    let left = seconds_left(&mut connection).await;
    assert_eq!(left, (0..10).chain(18..24).collect::<Vec<_>>());
    // With nothing else left, the oldest of the alerts go too.
    trim(&mut connection, Timestamp::MIN, 8 * 4 * 4000, &gauges).await.unwrap();
    assert_eq!(seconds_left(&mut connection).await, [6, 7, 8, 9]);
}

async fn seconds_left(connection: &mut SqliteConnection) -> Vec<i64> {
    let at: Vec<i64> = sqlx::query_scalar("SELECT at FROM snapshot ORDER BY id")
        .fetch_all(connection)
        .await
        .unwrap();
    at.into_iter().map(|nanos| nanos / 1_000_000_000 - BEGIN).collect()
}

#[tokio::test]
async fn on_a_full_disk_the_oldest_pictures_of_a_box_without_samples_give_way() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let location = Location::new(settings.path.clone());
    location.limit_pages(120);
    let open = Open::at(&location, &settings).await;
    for second in 0..180 {
        open.store.keep_snapshot(NewSnapshot { most: 1000, ..snapshot(second) });
        if second % 60 == 59 {
            let newest = async || open.seconds("press-1").await.first() == Some(&second);
            until("the newest on disk", newest).await;
        }
    }
    assert!(!open.seconds("press-1").await.contains(&0));
    open.stop().await;
}

#[tokio::test]
async fn a_buffer_from_before_gets_its_table_and_keeps_what_it_had() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let location = Location::new(settings.path.clone());
    Open::at(&location, &settings).await.stop().await;
    let mut connection = location.writer().await.unwrap();
    for sql in [
        "DROP TABLE snapshot",
        "DELETE FROM _sqlx_migrations WHERE version = 6",
        "INSERT INTO tag (id, asset, name) VALUES (0, 'press-1', 'temperature')",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    drop(connection);
    let open = Open::at(&location, &settings).await;
    open.store.keep_snapshot(snapshot(1));
    until("it on disk", async || open.seconds("press-1").await == [1]).await;
    open.stop().await;
}
