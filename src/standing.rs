//! What stands at the broker of a site that several boxes split: alerts, and what each box says of
//! itself. The link writes it, the main loop and the status read it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

/// Alerts remembered at most; a site with more of them at once has another problem.
const ALERTS: usize = 100_000;
const BOXES: usize = 1000;

#[derive(Debug, Default)]
pub struct Standing {
    alerts: Mutex<BTreeMap<(String, String), Told>>,
    boxes: Mutex<BTreeMap<String, Told>>,
    moves: AtomicU64,
}

/// A body, and how many messages had come with it.
#[derive(Clone, Debug)]
struct Told {
    body: Bytes,
    at: u64,
}

impl Standing {
    /// The retained state of an alert; an empty body ends it. False: there is no room.
    pub fn alert(&self, asset: &str, prediction: &str, body: &Bytes) -> bool {
        let key = (asset.to_owned(), prediction.to_owned());
        self.keep(&self.alerts, key, body, ALERTS)
    }

    /// The status of a box, this one too.
    pub fn told(&self, name: &str, body: &Bytes) -> bool {
        self.keep(&self.boxes, name.to_owned(), body, BOXES)
    }

    /// Changes with every message.
    pub fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// What has come since `moves` were so many: the levels of the topic, asset and prediction, with
    /// the body, where `wanted` says so.
    pub fn alerts(
        &self,
        since: u64,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Vec<(String, String, Bytes)> {
        let alerts = self.alerts.lock().expect(UNPOISONED);
        let fresh = alerts.iter().filter(|(_, told)| told.at > since);
        let all = fresh.filter(|((asset, prediction), _)| wanted(asset, prediction));
        let row = |((asset, prediction), told): (&(String, String), &Told)| {
            (asset.clone(), prediction.clone(), told.body.clone())
        };
        all.map(row).collect()
    }

    /// The boxes by name, with the body of their status.
    pub fn boxes(&self) -> Vec<(String, Bytes)> {
        let boxes = self.boxes.lock().expect(UNPOISONED);
        boxes.iter().map(|(name, told)| (name.clone(), told.body.clone())).collect()
    }

    fn keep<K: Ord>(
        &self,
        map: &Mutex<BTreeMap<K, Told>>,
        key: K,
        body: &Bytes,
        most: usize,
    ) -> bool {
        let mut map = map.lock().expect(UNPOISONED);
        // Counted under the lock: whoever has seen the count sees the message.
        let at = self.moves.fetch_add(1, Relaxed) + 1;
        if body.is_empty() {
            map.remove(&key);
            return true;
        }
        let room = map.len() < most || map.contains_key(&key);
        if room {
            // Copied: a slice would keep the whole receive buffer alive.
            map.insert(key, Told { body: Bytes::copy_from_slice(body), at });
        }
        room
    }
}

const UNPOISONED: &str = "no code panics while it holds what stands";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_body_stands_until_an_empty_one_ends_it() {
        let standing = Standing::default();
        for body in ["one", "two"] {
            assert!(standing.alert("press-1", "hot", &Bytes::from_static(body.as_bytes())));
        }
        let all = || standing.alerts(0, |_, _| true);
        assert!(standing.alerts(2, |_, _| true).is_empty(), "nothing has come since");
        assert_eq!(all(), [("press-1".into(), "hot".into(), Bytes::from_static(b"two"))]);
        assert!(standing.alert("press-1", "hot", &Bytes::new()));
        assert!(all().is_empty());
        assert_eq!(standing.moves(), 3);
    }
}
