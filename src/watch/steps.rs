//! When the box's clock is stepped, by a person or a time server.

use std::time::Duration;

use super::Watch;
use crate::clock::Reading;
use crate::time::Timestamp;

impl Watch {
    /// Whether the wall clock was stepped. What waits for a time goes on waiting as long as before,
    /// and what other clocks say is refused no sooner.
    pub(super) fn look_at_the_clock(&mut self, steady: Duration) -> bool {
        let wall = Timestamp::now();
        let by = self.steps.observe(Reading { wall, steady });
        if by == 0 {
            return false;
        }
        self.windower.stepped(by);
        let silences = self.rules.stepped(by);
        let timed = self.timed_by_the_box(silences);
        self.book.stepped(&timed, by);
        self.inspector.clock_is_behind(self.steps.behind());
        let by = Duration::from_nanos(by.unsigned_abs());
        tracing::warn!(clock = %wall, ?by, "The clock was stepped; windows and silences go on as before.");
        true
    }
}
