use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::asset::NamePattern;
use crate::sample::Sample;
use crate::settings::Extent;
use crate::tag::{TagId, TagInfo};

struct Plant {
    windower: Windower,
}

impl Plant {
    fn new(length: Extent, hop: Extent, lateness: Duration) -> Self {
        let spec = WindowSpec {
            prediction: PredictionId(0),
            assets: vec![NamePattern::new("press-*")],
            tags: vec!["pressure".into(), "force".into()],
            length,
            hop,
            lateness,
            history: 1,
        };
        let mut windower = Windower::new(vec![spec]);
        for (id, name) in (0..).zip(["pressure", "force", "noise"]) {
            windower.attach(
                TagId(id),
                &TagInfo { asset: AssetId(0), asset_name: "press-1".into(), name: name.into() },
            );
        }
        Self { windower }
    }

    fn spans(length: u64, hop: u64, lateness: u64) -> Self {
        let time = |secs| Extent::Time(Duration::from_secs(secs));
        Self::new(time(length), time(hop), Duration::from_secs(lateness))
    }

    fn rows(length: u32, hop: u32) -> Self {
        Self::new(Extent::Rows(length), Extent::Rows(hop), Duration::ZERO)
    }

    fn send(&mut self, tag: u32, secs: i64) -> Admission {
        let time = Timestamp::from_secs(secs);
        self.windower.insert(&Sample::new(TagId(tag), time, secs as f64), time)
    }

    fn row(&mut self, secs: i64) {
        let _ = self.send(0, secs);
        let _ = self.send(1, secs);
    }

    /// `(end, seconds of the first column's points)` of each closed window.
    fn closed(&mut self) -> Vec<(i64, Vec<i64>)> {
        std::iter::from_fn(|| self.windower.poll())
            .map(|window| {
                let secs = |time: Timestamp| time.as_millis() / 1000;
                let points = window.columns[0].iter().map(|point| secs(point.time)).collect();
                (secs(window.end), points)
            })
            .collect()
    }
}

#[test]
fn a_time_window_closes_when_event_time_passes_its_end() {
    let mut plant = Plant::spans(10, 5, 0);
    for secs in [1, 4, 6, 9] {
        assert_eq!(plant.send(0, secs), Admission::Accepted);
    }
    assert_eq!(plant.closed(), [(5, vec![1, 4])]);
    let _ = plant.send(0, 10);
    assert_eq!(plant.closed(), [(10, vec![1, 4, 6, 9])]);
    let _ = plant.send(0, 15);
    assert_eq!(plant.closed(), [(15, vec![4, 6, 9, 10])], "4 leads in, as the last before 5");
}

#[test]
fn lateness_keeps_a_window_open() {
    let mut plant = Plant::spans(10, 10, 3);
    for secs in [2, 12, 8] {
        assert_eq!(plant.send(0, secs), Admission::Accepted);
    }
    assert_eq!(plant.closed(), []);
    let _ = plant.send(0, 13);
    assert_eq!(plant.closed(), [(10, vec![2, 8])]);
    assert_eq!(plant.send(0, 9), Admission::Late);
}

#[test]
fn a_silent_asset_s_window_is_let_go_at_the_pace_of_the_clock() {
    let mut plant = Plant::spans(10, 10, 0);
    let _ = plant.send(0, 7);
    assert_eq!(plant.windower.next_deadline(), Some(Timestamp::from_secs(10)));
    plant.windower.advance(Timestamp::from_secs(9));
    assert_eq!(plant.closed(), []);
    plant.windower.advance(Timestamp::from_secs(10));
    assert_eq!(plant.closed(), [(10, vec![7])]);
    assert_eq!(plant.windower.next_deadline(), None, "nothing is left to close");
}

#[test]
fn a_jump_of_a_year_makes_no_empty_windows() {
    let mut plant = Plant::spans(10, 10, 0);
    let _ = plant.send(0, 7);
    let year = 365 * 24 * 3600;
    let _ = plant.send(0, 7 + year);
    assert_eq!(plant.closed(), [(10, vec![7])]);
    let _ = plant.send(0, 20 + year);
    assert_eq!(plant.closed().len(), 1);
}

#[test]
fn a_tag_that_no_prediction_reads_is_unwatched() {
    let mut plant = Plant::spans(10, 10, 0);
    assert_eq!(plant.send(2, 1), Admission::Unwatched);
    assert_eq!(plant.send(9, 1), Admission::Unwatched);
}

#[test]
fn a_count_window_closes_with_its_last_full_row() {
    let mut plant = Plant::rows(3, 2);
    for secs in 1..=3 {
        plant.row(secs);
    }
    assert_eq!(plant.closed(), [(3, vec![1, 2, 3])]);
    plant.row(4);
    assert_eq!(plant.closed(), []);
    plant.row(5);
    assert_eq!(plant.closed(), [(5, vec![3, 4, 5])]);
}

#[test]
fn a_count_window_waits_for_the_row_s_other_tags_or_the_next_row() {
    let mut plant = Plant::rows(2, 2);
    plant.row(1);
    let _ = plant.send(0, 2);
    assert_eq!(plant.closed(), []);
    let _ = plant.send(0, 3);
    assert_eq!(plant.closed(), [(2, vec![1, 2])]);
    assert_eq!(plant.send(1, 2), Admission::Late);
}

#[test]
fn an_incomplete_last_row_is_let_go_after_the_usual_pace() {
    let mut plant = Plant::rows(2, 2);
    plant.row(10);
    let _ = plant.send(0, 12);
    assert_eq!(plant.windower.next_deadline(), Some(Timestamp::from_secs(14)));
    plant.windower.advance(Timestamp::from_secs(13));
    assert_eq!(plant.closed(), []);
    plant.windower.advance(Timestamp::from_secs(14));
    assert_eq!(plant.closed(), [(12, vec![10, 12])]);
}

#[test]
fn a_hop_longer_than_the_window_skips_rows() {
    let mut plant = Plant::rows(2, 3);
    for secs in 1..=8 {
        plant.row(secs);
    }
    assert_eq!(plant.closed(), [(2, vec![1, 2]), (5, vec![4, 5]), (8, vec![7, 8])]);
}

#[test]
fn a_repeated_time_replaces_the_value() {
    let mut plant = Plant::rows(2, 2);
    plant.row(1);
    assert_eq!(plant.send(0, 1), Admission::Replaced);
    plant.row(2);
    assert_eq!(plant.closed(), [(2, vec![1, 2])]);
}

proptest! {
    #[test]
    fn any_order_within_lateness_gives_the_same_windows(
        times in proptest::collection::btree_set(0i64..200, 1..80),
        seed in any::<u64>(),
    ) {
        let lateness = 7;
        let run = |order: &[i64]| {
            let mut plant = Plant::spans(20, 5, lateness as u64);
            for secs in order {
                assert_eq!(plant.send(0, *secs), Admission::Accepted);
            }
            let _ = plant.send(0, 1000);
            plant.closed()
        };
        let sorted: Vec<i64> = times.iter().copied().collect();
        let mut shuffled: Vec<(i64, i64)> = sorted
            .iter()
            .zip(0u32..)
            .map(|(secs, at)| {
                let noise = seed.rotate_left(at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
                (secs + (noise as i64) % lateness, *secs)
            })
            .collect();
        shuffled.sort_unstable();
        let shuffled: Vec<i64> = shuffled.into_iter().map(|(_, secs)| secs).collect();
        prop_assert_eq!(run(&sorted), run(&shuffled));
    }

    #[test]
    fn restarts_from_marks_go_on_with_the_same_windows(
        rows in 1i64..120,
        cuts in proptest::collection::btree_set(0i64..120, 0..4),
        length in 1u32..12,
        hop in 1u32..12,
        by_time in any::<bool>(),
    ) {
        let plant = || if by_time {
            Plant::spans(length.into(), hop.min(length).into(), 0)
        } else {
            Plant::rows(length, hop)
        };
        let mut straight = plant();
        (0..rows).for_each(|secs| straight.row(secs));
        let expected = straight.closed();

        let mut seen = Vec::new();
        let mut marks: Vec<Mark> = Vec::new();
        let mut stopped = 0;
        for stop in cuts.into_iter().filter(|cut| *cut < rows).chain([rows]) {
            let mut life = plant();
            let from = marks.first().map_or(0, |mark| mark.start.as_millis() / 1000).max(0);
            marks.iter().for_each(|mark| life.windower.resume(*mark));
            // What the store holds comes first, then what is new.
            (from..stopped.max(from)).for_each(|secs| life.row(secs));
            (stopped.max(from)..stop).for_each(|secs| life.row(secs));
            let before: Vec<i64> = seen.iter().map(|(end, _): &(i64, Vec<i64>)| *end).collect();
            seen.extend(life.closed().into_iter().filter(|(end, _)| !before.contains(end)));
            marks = life.windower.marks();
            prop_assert_eq!(marks.is_empty(), stop == 0, "an asset that has spoken has a mark");
            stopped = stop;
        }
        let ends = |windows: &[(i64, Vec<i64>)]| windows.iter().map(|(end, _)| *end).collect::<Vec<_>>();
        prop_assert_eq!(ends(&seen), ends(&expected));
        if !by_time {
            prop_assert_eq!(seen, expected);
        }
    }
}

#[test]
fn fault_14_a_window_that_waits_goes_on_waiting_when_the_clock_is_stepped() {
    for step in [-3600, 3600] {
        let mut plant = Plant::spans(10, 10, 2);
        for secs in 100..=109 {
            plant.row(secs);
        }
        plant.windower.stepped(step * 1_000_000_000);
        plant.windower.advance(Timestamp::from_secs(109 + step + 2));
        assert!(plant.closed().is_empty(), "2 s after the last arrival");
        assert_eq!(plant.windower.next_deadline(), Some(Timestamp::from_secs(112 + step)));
        plant.windower.advance(Timestamp::from_secs(112 + step));
        assert_eq!(plant.closed().len(), 1);
    }
}
