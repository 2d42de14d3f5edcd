//! A counter becomes the rate at which it rises.

use std::time::Duration;

/// What a counter showed last. Counts are compared as whole numbers, so none is rounded away.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The count after which it begins at 0 again, plus one.
    wrap: u128,
    last: Option<(u64, Duration)>,
}

impl Counter {
    /// `wrap`: how many counts there are, from 0 on.
    pub const fn new(wrap: u128) -> Self {
        Self { wrap, last: None }
    }

    /// The rise a second since the last reading; `None` at the first, and where the counter went
    /// back: it was reset or exchanged. `at` is any time that only goes forward.
    ///
    /// A count below the last one has wrapped or was reset. Of the two the smaller step is
    /// believed: a rise by more than half the range is a reset.
    #[must_use]
    pub fn step(&mut self, count: u64, at: Duration) -> Option<f64> {
        let (last, then) = self.last.replace((count, at))?;
        let elapsed = at.checked_sub(then).filter(|elapsed| !elapsed.is_zero())?;
        let (count, last) = (u128::from(count), u128::from(last));
        let rise =
            if count >= last { count - last } else { (self.wrap + count).checked_sub(last)? };
        let wrapped = count < last;
        (!wrapped || rise <= self.wrap / 2).then(|| rise as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_reading_has_no_rate() {
        let mut counter = Counter::new(1 << 16);
        assert_eq!(counter.step(7, SECOND), None);
        assert_eq!(counter.step(27, 3 * SECOND), Some(10.0));
    }

    #[test]
    fn fault_29_a_counter_that_wraps_goes_on_and_one_that_is_reset_is_missing_once() {
        let mut counter = Counter::new(1 << 16);
        let _ = counter.step(65_530, SECOND);
        assert_eq!(counter.step(4, 2 * SECOND), Some(10.0));
        assert_eq!(counter.step(1000, 3 * SECOND), Some(996.0));
        assert_eq!(counter.step(3, 4 * SECOND), None, "reset");
        assert_eq!(counter.step(5, 5 * SECOND), Some(2.0));
        let mut odometer = Counter::new(10_000);
        let _ = odometer.step(9_999, SECOND);
        assert_eq!(odometer.step(0, 2 * SECOND), Some(1.0));
        let mut large = Counter::new(1 << 64);
        let _ = large.step(u64::MAX, SECOND);
        assert_eq!(large.step(1, 2 * SECOND), Some(2.0));
    }

    #[test]
    fn a_count_beyond_the_wrap_and_time_that_stands_still_give_nothing() {
        let mut counter = Counter::new(100);
        let _ = counter.step(5_000, SECOND);
        assert_eq!(counter.step(1, 2 * SECOND), None);
        assert_eq!(counter.step(2, 2 * SECOND), None);
    }

    proptest! {
        #[test]
        fn any_small_rise_is_found_again(start in any::<u32>(), rise in 0..1_u32 << 30) {
            let mut counter = Counter::new(1 << 32);
            let _ = counter.step(start.into(), SECOND);
            let rate = counter.step(start.wrapping_add(rise).into(), 2 * SECOND);
            prop_assert_eq!(rate, Some(f64::from(rise)));
        }
    }
}
