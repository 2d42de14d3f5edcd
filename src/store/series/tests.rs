//! With series and without, interrupted and damaged: a tag's samples are always those of the blocks.

use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::sample::{Batch, Quality, Sample};
use crate::settings::StoreSettings;
use crate::store::connect::Location;
use crate::store::retention::delete_oldest;
use crate::store::{Arc, Ledger, Registry, Store, StoreError, read};
use crate::time::Timestamp;

const TAGS: u32 = 18;

struct Bench {
    store: Store,
    location: Location,
    writer: SqliteConnection,
    ledger: Arc<Ledger>,
    token: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), StoreError>>,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = StoreSettings {
            path: folder.path().join("andon.db"),
            retain_age: Duration::from_secs(100 * 365 * 24 * 3600),
            commit_interval: Duration::from_millis(1),
            ..StoreSettings::default()
        };
        let (registry, ledger) = (Arc::new(Registry::new(100)), Arc::new(Ledger::default()));
        let opened = Store::open(&settings, Arc::clone(&registry), Arc::clone(&ledger)).await;
        let (store, writer) = opened.unwrap();
        for tag in 0..TAGS {
            registry.intern("press-1", &format!("t{tag}")).unwrap();
        }
        let token = CancellationToken::new();
        let running = tokio::spawn(writer.run(token.clone()));
        let location = Location::new(settings.path.clone());
        let writer = location.writer().await.unwrap();
        Self { store, location, writer, ledger, token, running, _folder: folder }
    }

    /// Each batch becomes a block of its own.
    async fn record(&self, blocks: Vec<Vec<Sample>>) {
        for (at, samples) in (0..).zip(blocks) {
            self.ledger.receive(samples.len() as u64);
            let batch = Batch {
                samples: Arc::new(samples),
                pictures: Vec::new(),
                received: Timestamp::from_secs(at),
                messages: 0,
                receipt: None,
                stale: at % 3 == 0,
            };
            self.store.record(batch).await;
            while self.ledger.totals().in_flight > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Makes what can be made, or goes no further after `steps`. Gives how many stretches stand.
    async fn make(&mut self, pace: Pace, steps: Option<usize>) -> usize {
        let mut maker = Maker::new(Arc::clone(&self.store.shared), pace);
        let (mut stretches, mut left) = (0, steps.unwrap_or(usize::MAX));
        loop {
            maker.poll().await;
            while let Some(step) = maker.next_step() {
                if left == 0 {
                    return stretches;
                }
                left -= 1;
                if let (_, Some((finish, stands))) = step.run(&mut self.writer).await.unwrap() {
                    maker.finished(finish, stands);
                    stretches += usize::from(stands);
                }
            }
            if maker.is_idle() {
                return stretches;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn delete(&mut self, up_to: i64) -> u64 {
        let cutoff = Timestamp::from_secs(up_to);
        let gauges = &self.store.shared.gauges;
        delete_oldest(&mut self.writer, 0, cutoff, gauges).await.unwrap()
    }

    /// What the blocks alone say.
    async fn by_blocks(&self, tag: TagId, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let shared = &self.store.shared;
        let ids = read::block_ids(&shared.readers, from, to).await.unwrap();
        let keep = read::Keep { tag: None, from, to: Some(to), stale: true };
        let mut samples = Vec::new();
        let each = |part: Vec<Sample>, _| samples.extend(part);
        read::blocks(&shared.readers, &shared.gauges, &ids, keep, each).await.unwrap();
        samples.retain(|sample| sample.tag == tag);
        samples.sort_by_key(|sample| sample.time);
        samples
    }

    /// Every tag over every stretch of time reads as the blocks say; gives the samples in all.
    async fn same(&self) -> usize {
        let mut count = 0;
        for tag in (0..TAGS).map(TagId) {
            for (from, to) in [(i64::MIN / 2_000_000_000, 5000), (3, 9), (10, 11), (0, 40)] {
                let (from, to) = (Timestamp::from_secs(from), Timestamp::from_secs(to));
                let read = self.store.read_tag(tag, from, to).await.unwrap();
                let told = self.by_blocks(tag, from, to).await;
                // NaN is not equal to itself, its text is.
                assert_eq!(format!("{read:?}"), format!("{told:?}"), "{tag:?} {from} {to}");
                count += read.len();
            }
        }
        count
    }

    async fn count(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.writer).await.unwrap()
    }

    async fn stop(self) {
        drop(self.writer);
        self.token.cancel();
        self.running.await.unwrap().unwrap();
    }
}

const fn pace(samples: u64, blocks: u64) -> Pace {
    Pace { samples, blocks, rest: 0 }
}

/// Thirty blocks of all tags, a second each.
fn regular() -> Vec<Vec<Sample>> {
    let sample = |second: u32, tag: u32| {
        let value = f64::from(second) + f64::from(tag) / 10.0;
        Sample::new(TagId(tag), Timestamp::from_secs(i64::from(second)), value)
    };
    (0..30).map(|second| (0..TAGS).map(|tag| sample(second, tag)).collect()).collect()
}

#[tokio::test]
async fn stretches_are_made_once_and_read_like_their_blocks() {
    let mut bench = Bench::new().await;
    bench.record(regular()).await;
    let before = bench.same().await;
    assert_eq!(bench.make(pace(90, 1000), None).await, 6, "five blocks of eighteen samples each");
    assert_eq!(bench.make(pace(90, 1000), None).await, 0);
    assert_eq!(bench.same().await, before);
    assert_eq!(bench.count("SELECT count(*) FROM series").await, 6 * 3, "eight tags a row");
    // A day is read without its blocks: where they are away, series still tell.
    sqlx::query("DELETE FROM block").execute(&mut bench.writer).await.unwrap();
    let all = (Timestamp::from_secs(0), Timestamp::from_secs(5000));
    assert_eq!(bench.store.read_tag(TagId(7), all.0, all.1).await.unwrap().len(), 30);
    bench.stop().await;
}

#[tokio::test]
async fn a_damaged_series_is_read_from_its_blocks() {
    let mut bench = Bench::new().await;
    bench.record(regular()).await;
    bench.make(pace(u64::MAX, 7), None).await;
    let before = bench.same().await;
    for change in [
        "UPDATE series SET data = x'00' WHERE id & 1",
        "UPDATE series SET codec = 77",
        "UPDATE stretch SET broken = 1 WHERE id = 2",
    ] {
        sqlx::query(change).execute(&mut bench.writer).await.unwrap();
        assert_eq!(bench.same().await, before, "{change}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_is_deleted_takes_its_series_along() {
    let mut bench = Bench::new().await;
    bench.record(regular()).await;
    assert_eq!(bench.make(pace(u64::MAX, 10), None).await, 3);
    assert_eq!(bench.delete(4).await, 4);
    bench.same().await;
    assert_eq!(bench.count("SELECT count(*) FROM series WHERE id < 2 << 32").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM stretch WHERE broken").await, 1);
    assert_eq!(bench.delete(25).await, 21);
    bench.same().await;
    assert_eq!(bench.count("SELECT count(*) FROM stretch").await, 1, "only the last has blocks");
    assert_eq!(bench.count("SELECT count(*) FROM series").await, 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_block_that_goes_meanwhile_stops_its_stretch() {
    let mut bench = Bench::new().await;
    bench.record(regular()).await;
    let mut maker = Maker::new(Arc::clone(&bench.store.shared), pace(u64::MAX, 30));
    let mut last = None;
    while last.is_none() {
        maker.poll().await;
        while let Some(step) = maker.next_step() {
            let mut writer = bench.location.writer().await.unwrap();
            if maker.has_steps() {
                step.run(&mut writer).await.unwrap();
                continue;
            }
            assert_eq!(bench.delete(1).await, 1);
            last = step.run(&mut writer).await.unwrap().1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(last.is_some_and(|(_, stands)| !stands));
    bench.same().await;
    assert_eq!(bench.make(pace(u64::MAX, 29), None).await, 1, "what is left makes one");
    assert_eq!(bench.count("SELECT count(*) FROM series").await, 3, "no leftovers");
    bench.same().await;
    bench.stop().await;
}

fn any_blocks() -> impl Strategy<Value = Vec<Vec<Sample>>> {
    let quality = prop_oneof![Just(Quality::Good), Just(Quality::Uncertain), Just(Quality::Bad)];
    let value =
        prop_oneof![4 => (-9_i32..9).prop_map(f64::from), 1 => Just(f64::NAN), 1 => any::<f64>()];
    let sample = (0..TAGS, 0_i64..20, value, quality).prop_map(|(tag, second, value, quality)| {
        Sample { tag: TagId(tag), time: Timestamp::from_secs(second), value, quality }
    });
    proptest::collection::vec(proptest::collection::vec(sample, 1..30), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Out of order, with gaps; cut off after any step, begun again, partly deleted, gone on with.
    #[test]
    fn series_never_change_what_is_read(
        blocks in any_blocks(),
        more in any_blocks(),
        (samples, size) in (1_u64..60, 1_u64..6),
        cut in 0_usize..12,
        expired in 0_i64..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new().await;
            bench.record(blocks).await;
            let before = bench.same().await;
            bench.make(pace(samples, size), Some(cut)).await;
            assert_eq!(bench.same().await, before);
            bench.make(pace(samples, size), None).await;
            assert_eq!(bench.same().await, before);
            bench.delete(expired).await;
            let kept = bench.same().await;
            bench.record(more).await;
            assert!(bench.same().await > kept);
            bench.make(pace(samples, size), None).await;
            bench.same().await;
            bench.stop().await;
        });
    }
}
