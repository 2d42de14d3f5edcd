//! Labels in the audit log. They may come by the thousand: of each minute the first ones are
//! written singly, the rest is counted and told in one line when the minute is over.

use std::fmt::Display;
use std::time::Duration;

use crate::audit::Entry;
use crate::message::Origin;

/// Lines a minute of those that were taken, and again of those that were refused.
const SINGLY: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Roll {
    began: Duration,
    done: Page,
    refused: Page,
}

#[derive(Debug, Default)]
struct Page {
    written: u32,
    more: u64,
    last: Option<Last>,
}

/// What stands for all that were not written singly.
#[derive(Debug)]
struct Last {
    object: String,
    from: Origin,
    detail: String,
}

impl Roll {
    pub(super) fn done(&mut self, object: &str, from: &Origin, detail: &str) {
        if self.done.holds(object, from, &detail) {
            label(object, from).done_with(detail);
        }
    }

    pub(super) fn refused(&mut self, object: &str, from: &Origin, why: &dyn Display) {
        if self.refused.holds(object, from, why) {
            label(object, from).refused(why);
        }
    }

    /// `now` is the time since the start.
    pub(super) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.began) >= MINUTE {
            self.began = now;
            self.close();
        }
    }

    /// Tells what has been counted, and begins anew.
    pub(super) fn close(&mut self) {
        if let Some((last, detail)) = std::mem::take(&mut self.done).rest() {
            label(&last.object, &last.from).done_with(&detail);
        }
        if let Some((last, detail)) = std::mem::take(&mut self.refused).rest() {
            label(&last.object, &last.from).refused(&detail);
        }
    }
}

fn label<'a>(object: &'a str, from: &'a Origin) -> Entry<'a> {
    Entry { action: "label", object, by: None, from }
}

impl Page {
    /// Whether one more line has its place; otherwise it is counted.
    fn holds(&mut self, object: &str, from: &Origin, detail: &dyn Display) -> bool {
        if self.written < SINGLY {
            self.written += 1;
            return true;
        }
        self.more += 1;
        let (object, from) = (object.to_owned(), from.clone());
        self.last = Some(Last { object, from, detail: detail.to_string() });
        false
    }

    fn rest(self) -> Option<(Last, String)> {
        let (last, more) = (self.last?, self.more);
        let detail =
            format!("{}; {more} more within a minute, of which this was the last", last.detail);
        Some((last, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_lines_and_the_rest_is_one() {
        let mut page = Page::default();
        let from = Origin::File;
        let singly = (0..100).filter(|at| page.holds(&format!("press-{at}/wear"), &from, &"bad"));
        assert_eq!(singly.count(), 20);
        let (last, detail) = page.rest().unwrap();
        assert_eq!(last.object, "press-99/wear");
        assert_eq!(detail, "bad; 80 more within a minute, of which this was the last");
        assert!(Page::default().rest().is_none(), "a quiet minute says nothing");
    }

    #[test]
    fn each_minute_begins_anew() {
        let mut roll = Roll::default();
        for _ in 0..30 {
            roll.done("press-1/wear", &Origin::File, "bad");
        }
        roll.turn(Duration::from_secs(59));
        assert_eq!((roll.done.written, roll.done.more), (20, 10));
        roll.turn(Duration::from_secs(60));
        assert_eq!((roll.done.written, roll.done.more), (0, 0));
        roll.turn(Duration::from_secs(119));
        assert_eq!(roll.began, Duration::from_secs(60));
    }
}
