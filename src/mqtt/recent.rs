//! Which messages a broker sends again although they are safe.
//!
//! A PUBACK is lost with its link; then the broker sends the message again, under its old packet
//! id and marked as a repeat. One that has been committed meanwhile is known by id and content,
//! however many readings it holds. That is proof only where readings carry their own time: another
//! `on` under the same id may be a new one. Repeats after our own restart are the inspector's.

use std::collections::{HashMap, VecDeque};

/// The QoS 1 messages of one source that its broker may not have seen confirmed.
#[derive(Debug)]
pub struct Recent {
    /// Of this link, in order: packet id and fingerprint.
    sent: VecDeque<(u16, u32)>,
    /// A broker has no more than so many unconfirmed.
    room: usize,
    /// Of earlier links, committed.
    safe: HashMap<u16, u32>,
}

impl Recent {
    /// `room`: the Receive Maximum that the broker was told.
    pub fn new(room: u16) -> Self {
        Self { sent: VecDeque::new(), room: usize::from(room), safe: HashMap::new() }
    }

    pub fn fingerprint(topic: &[u8], payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(topic);
        hasher.update(payload);
        hasher.finalize()
    }

    /// Takes note of a message; whether it is one of an earlier link that is safe already, if its
    /// readings carry their own time. `again` is what the broker says of it.
    #[must_use]
    pub fn repeats(&mut self, id: u16, again: bool, fingerprint: u32) -> bool {
        if self.sent.len() == self.room {
            self.sent.pop_front();
        }
        self.sent.push_back((id, fingerprint));
        again && self.safe.get(&id) == Some(&fingerprint)
    }

    /// The link has ended. `committed`: all that came over it is.
    pub fn link_ended(&mut self, committed: bool) {
        let sent = self.sent.drain(..);
        if committed {
            self.safe.extend(sent);
        } else {
            for (id, _) in sent {
                self.safe.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_of_what_is_safe_is_known_by_id_content_and_mark() {
        let mut recent = Recent::new(9);
        for id in 1..=4 {
            assert!(!recent.repeats(id, false, 70 + u32::from(id)));
        }
        recent.link_ended(true);
        assert!(!recent.repeats(1, true, 99), "another content");
        assert!(!recent.repeats(2, false, 72), "another message");
        assert!(recent.repeats(3, true, 73));
        recent.link_ended(true);
        assert!(recent.repeats(3, true, 73), "its PUBACK was lost once more");
        assert!(recent.repeats(4, true, 74), "the link broke before it came again");
    }

    #[test]
    fn what_is_not_committed_is_new_when_it_comes_again() {
        let mut recent = Recent::new(9);
        assert!(!recent.repeats(1, false, 71));
        recent.link_ended(false);
        assert!(!recent.repeats(1, true, 71));
    }

    #[test]
    fn no_more_is_remembered_than_a_broker_may_have_unconfirmed() {
        let mut recent = Recent::new(2);
        for id in 1..=3 {
            assert!(!recent.repeats(id, false, 7));
        }
        recent.link_ended(true);
        assert_eq!([1, 2, 3].map(|id| recent.repeats(id, true, 7)), [false, true, true]);
    }

    #[test]
    fn the_fingerprint_is_of_topic_and_payload() {
        let prints = [(b"a", b"b"), (b"a", b"c"), (b"c", b"b")]
            .map(|(topic, payload)| Recent::fingerprint(topic, payload));
        assert!(prints[0] != prints[1] && prints[0] != prints[2], "{prints:?}");
    }
}
