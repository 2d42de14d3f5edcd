//! Which publish an answer belongs to. Pure.
//!
//! The event loop gives out packet ids, in the order in which it was asked; its "sent" events
//! tell them. So publishes wait in two places: asked for, and sent under an id.

use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
pub(super) struct Pending<T> {
    /// QoS 1, in the order of asking.
    asked: VecDeque<T>,
    sent: HashMap<u16, T>,
    /// Asked for and not yet sent, QoS 0 included.
    unsent: usize,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { asked: VecDeque::new(), sent: HashMap::new(), unsent: 0 }
    }
}

impl<T> Pending<T> {
    pub(super) fn ask(&mut self, waiter: T) {
        self.unsent += 1;
        self.asked.push_back(waiter);
    }

    /// QoS 0: nobody waits.
    pub(super) const fn ask_soon(&mut self) {
        self.unsent += 1;
    }

    pub(super) fn sent(&mut self, id: u16) {
        self.unsent = self.unsent.saturating_sub(1);
        if id != 0
            && let Some(waiter) = self.asked.pop_front()
        {
            self.sent.insert(id, waiter);
        }
    }

    pub(super) fn confirmed(&mut self, id: u16) -> Option<T> {
        self.sent.remove(&id)
    }

    pub(super) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Nobody waits any more.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.sent.is_empty() && self.unsent == 0
    }

    /// Everyone who waits; nothing is pending afterwards.
    pub(super) fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        let Self { asked, sent, .. } = std::mem::take(self);
        asked.into_iter().chain(sent.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_publish_in_any_order() {
        let mut pending = Pending::default();
        pending.ask("a");
        pending.ask_soon();
        pending.ask("b");
        pending.sent(7);
        pending.sent(0);
        assert_eq!(pending.unsent(), 1);
        pending.sent(8);
        assert_eq!(pending.confirmed(8), Some("b"));
        assert_eq!(pending.confirmed(8), None);
        assert!(!pending.is_empty());
        assert_eq!(pending.confirmed(7), Some("a"));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_lost_link_gives_back_all_who_wait() {
        let mut pending = Pending::default();
        pending.ask(1);
        pending.ask(2);
        pending.sent(5);
        let mut waiters: Vec<i32> = pending.take().collect();
        waiters.sort_unstable();
        assert_eq!(waiters, [1, 2]);
        assert!(pending.is_empty());
    }
}
