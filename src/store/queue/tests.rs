use std::sync::Arc;

use super::*;
use crate::sample::{Receipt, Sample};
use crate::store::AlertKey;
use crate::tag::TagId;

fn limits() -> Limits {
    Limits { interval: Duration::from_secs(1), commit_samples: 100, queue_samples: 200 }
}

fn batch(samples: usize, messages: u32) -> Batch {
    Batch {
        samples: Arc::new(vec![Sample::new(TagId(0), Timestamp::from_secs(1), 1.0); samples]),
        pictures: Vec::new(),
        received: Timestamp::from_secs(1),
        messages,
        receipt: (messages > 0).then(|| Receipt::new(|| {})),
        stale: false,
    }
}

fn change() -> AlertChange {
    AlertChange {
        key: AlertKey { asset: "press-1".into(), prediction: "wear".into() },
        state: None,
        messages: Vec::new(),
        at: Timestamp::from_secs(1),
        cause: None,
    }
}

fn offer(queue: &mut Queue, batch: Batch, now: Instant) -> Offer {
    let (offer, displaced) = queue.offer(batch, now);
    assert!(displaced.is_empty());
    offer
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_commit_is_due_by_age_by_samples_and_at_once_for_a_change() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    assert_eq!(queue.due(now), Due::Never);
    assert!(matches!(offer(&mut queue, batch(10, 0), now), Offer::Queued { wake: true }));
    assert!(matches!(offer(&mut queue, batch(10, 0), now + ms(9)), Offer::Queued { wake: false }));
    assert_eq!(queue.due(now), Due::At(now + ms(1000)));
    assert!(matches!(offer(&mut queue, batch(90, 0), now + ms(9)), Offer::Queued { wake: true }));
    assert_eq!(queue.due(now), Due::Now);
    queue.take();
    assert_eq!(queue.due(now), Due::Never);
    queue.change(change(), oneshot::channel().0).unwrap();
    assert_eq!(queue.due(now), Due::Now);
}

#[test]
fn sixteen_waiting_messages_and_a_pause_bring_the_commit_forward() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    assert!(matches!(offer(&mut queue, batch(1, 15), now), Offer::Queued { wake: true }));
    assert_eq!(queue.due(now), Due::At(now + ms(1000)));
    assert!(matches!(offer(&mut queue, batch(1, 1), now + ms(3)), Offer::Queued { wake: true }));
    assert_eq!(queue.due(now + ms(3)), Due::At(now + ms(8)));
    assert!(matches!(offer(&mut queue, batch(1, 1), now + ms(7)), Offer::Queued { wake: false }));
    assert_eq!(queue.due(now + ms(8)), Due::At(now + ms(12)));
    assert_eq!(queue.due(now + ms(12)), Due::Now);
}

#[test]
fn a_full_queue_holds_back_who_waits_for_a_receipt_and_sheds_who_does_not() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    assert!(matches!(offer(&mut queue, batch(200, 0), now), Offer::Queued { .. }));
    assert!(matches!(offer(&mut queue, batch(1, 1), now), Offer::Full(_)));
    assert!(matches!(offer(&mut queue, batch(1, 0), now), Offer::Refused(_, Shed::StoreQueue)));
    let work = queue.take();
    assert!(matches!(offer(&mut queue, batch(1, 1), now), Offer::Full(_)));
    queue.committed(work.samples);
    assert!(matches!(offer(&mut queue, batch(1, 1), now), Offer::Queued { .. }));
}

#[test]
fn a_failing_disk_sheds_the_oldest_without_a_receipt() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    for part in [batch(50, 1), batch(60, 0), batch(90, 0)] {
        assert!(matches!(offer(&mut queue, part, now), Offer::Queued { .. }));
    }
    let work = queue.take();
    queue.put_back(work, now);
    let (offered, displaced) = queue.offer(batch(10, 0), now);
    assert!(matches!(offered, Offer::Queued { .. }));
    assert_eq!(displaced.iter().map(|batch| batch.samples.len()).collect::<Vec<_>>(), [60]);
    assert_eq!(queue.held(), 150);
    let order: Vec<usize> = queue.take().batches().map(|batch| batch.samples.len()).collect();
    assert_eq!(order, [50, 90, 10]);
}

#[test]
fn a_change_is_not_taken_before_the_samples_recorded_before_it() {
    let now = Instant::now();
    let limits = Limits { queue_samples: 3 * TAKE_SAMPLES, ..limits() };
    let mut queue = Queue::new(limits, 1);
    assert!(matches!(offer(&mut queue, batch(TAKE_SAMPLES, 0), now), Offer::Queued { .. }));
    assert!(matches!(offer(&mut queue, batch(10, 0), now), Offer::Queued { .. }));
    queue.change(change(), oneshot::channel().0).unwrap();
    assert!(matches!(offer(&mut queue, batch(10, 0), now), Offer::Queued { .. }));
    assert_eq!(queue.take().changes.len(), 0);
    let work = queue.take();
    assert_eq!((work.samples, work.changes.len()), (20, 1));
}

#[test]
fn what_could_not_be_committed_goes_back_in_order() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    assert!(matches!(offer(&mut queue, batch(1, 0), now), Offer::Queued { .. }));
    queue.change(change(), oneshot::channel().0).unwrap();
    let work = queue.take();
    assert!(matches!(offer(&mut queue, batch(2, 0), now), Offer::Queued { .. }));
    queue.change(change(), oneshot::channel().0).unwrap();
    queue.put_back(work, now);
    let work = queue.take();
    let order: Vec<usize> = work.batches().map(|batch| batch.samples.len()).collect();
    assert_eq!((order, work.changes.len()), (vec![1, 2], 2));
    assert!(work.changes[0].barrier < work.changes[1].barrier);
}

#[test]
fn after_closing_nothing_is_taken_in() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    queue.close();
    assert!(matches!(offer(&mut queue, batch(1, 1), now), Offer::Refused(..)));
    assert!(queue.change(change(), oneshot::channel().0).is_none());
    assert!(queue.is_empty());
}

#[test]
fn of_too_many_pictures_the_oldest_that_raised_no_alert_gives_way() {
    let now = Instant::now();
    let mut queue = Queue::new(limits(), 1);
    queue.snapshots_from(7);
    let picture = |second: i64, alert: bool| NewSnapshot {
        asset: "press-1".into(),
        prediction: "bright".into(),
        at: Timestamp::from_secs(second),
        alert_id: alert.then(|| "raised".into()),
        remark: String::new(),
        width: 1,
        height: 1,
        jpeg: bytes::Bytes::new(),
        most: 3,
    };
    assert_eq!(queue.snapshot(picture(0, true), now), (false, true));
    for second in 1..64 {
        assert_eq!(queue.snapshot(picture(second, false), now), (false, false));
    }
    assert_eq!(queue.snapshot(picture(64, false), now), (true, false));
    assert_eq!(queue.due(now), Due::At(now + CHORE_DELAY));
    let ids: Vec<i64> = queue.take().chores.snapshots.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 64);
    assert_eq!(ids[..3], [7, 2_000_000, 3_000_000], "numbers are times where they can be");
}
