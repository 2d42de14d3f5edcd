//! Is a model wrong more often than it was? ADWIN and Page-Hinkley on the stream of its errors.
//!
//! A rise that either of them finds stands until the share of errors has come back half of the way.

use crate::drift::{Adwin, AdwinSettings, PageHinkley, PageHinkleySettings, Side};

/// Labels behind the share of errors of this moment: one bit each.
const RECENT: u32 = u64::BITS;
/// The part of a rise that has to be left for it to stand.
const HALF: f64 = 0.5;

#[derive(Clone, Debug)]
pub struct Errors {
    adwin: Adwin,
    page_hinkley: PageHinkley,
    /// The newest is the lowest bit.
    recent: u64,
    seen: u64,
    wrong: u64,
    rise: Option<Rise>,
}

/// Shares of errors before it and at its worst.
#[derive(Clone, Copy, Debug)]
struct Rise {
    from: f64,
    to: f64,
    by: &'static str,
}

impl Default for Errors {
    fn default() -> Self {
        let up = PageHinkleySettings { side: Side::Up, ..PageHinkleySettings::default() };
        Self {
            adwin: Adwin::new(AdwinSettings::default()),
            page_hinkley: PageHinkley::new(up),
            recent: 0,
            seen: 0,
            wrong: 0,
            rise: None,
        }
    }
}

impl Errors {
    /// Takes a labelled verdict. Gives a score and a reason while a rise stands, and a score of 0
    /// with the label that ends it.
    pub fn update(&mut self, wrong: bool) -> Option<(f64, String)> {
        let before = self.adwin.mean();
        let error = f64::from(u8::from(wrong));
        self.recent = self.recent << 1 | u64::from(wrong);
        self.seen += 1;
        self.wrong += u64::from(wrong);
        let adwin = self.adwin.update(error) && self.adwin.mean() > before;
        let page_hinkley = self.page_hinkley.update(error);
        let now = self.share();
        if (adwin || page_hinkley) && self.rise.is_none() {
            let by = if adwin { "ADWIN" } else { "Page-Hinkley" };
            self.rise = Some(Rise { from: self.earlier().unwrap_or(before), to: now, by });
        }
        let rise = self.rise.as_mut()?;
        rise.to = rise.to.max(now);
        let Rise { from, to, by } = *rise;
        if now - from < HALF * (to - from) || to <= from {
            self.rise = None;
            return Some((0.0, format!("{} of its verdicts are wrong again", percent(now))));
        }
        let text =
            format!("{} of its verdicts were wrong, now {} ({by})", percent(from), percent(now));
        Some((1.0, text))
    }

    /// Of the last 64 labels; 0 of none.
    pub fn share(&self) -> f64 {
        let seen = self.seen.min(RECENT.into());
        #[expect(clippy::cast_precision_loss, reason = "at most 64")]
        let seen = seen as f64;
        if seen == 0.0 { 0.0 } else { f64::from(self.recent.count_ones()) / seen }
    }

    /// Of those before the last 64.
    #[expect(clippy::cast_precision_loss, reason = "counts of labels")]
    fn earlier(&self) -> Option<f64> {
        let wrong = self.wrong - u64::from(self.recent.count_ones());
        let seen = self.seen.checked_sub(RECENT.into()).filter(|seen| *seen > 0)?;
        Some(wrong as f64 / seen as f64)
    }

    pub const fn stands(&self) -> bool {
        self.rise.is_some()
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One in ten is wrong, then three in four, then one in ten again.
    #[test]
    fn a_rise_of_errors_is_found_once_and_ends_when_they_are_as_rare_as_before() {
        let mut errors = Errors::default();
        for at in 0..300 {
            assert_eq!(errors.update(at % 10 == 0), None, "at {at} nothing has changed");
        }
        let found = (0..200).find_map(|at| errors.update(at % 4 != 0).map(|found| (at, found)));
        let (at, (score, text)) = found.expect("the rise is found");
        assert!(at < 64, "found after {at} labels");
        assert_eq!(score, 1.0);
        assert!(text.starts_with("10 % of its verdicts were wrong, now "), "{text}");
        assert!(errors.stands());
        for at in 0..60 {
            assert_eq!(errors.update(at % 4 != 0).map(|found| found.0), Some(1.0), "it stands");
        }
        let over = (0..200).find(|at| errors.update(at % 10 == 0).is_some_and(|f| f.0 == 0.0));
        assert!(over.is_some_and(|at| at >= 20), "{over:?}");
        assert!(!errors.stands());
    }

    #[test]
    fn a_model_that_gets_better_is_no_alert() {
        let mut errors = Errors::default();
        for at in 0..200 {
            assert_eq!(errors.update(at % 2 == 0), None, "{at}");
        }
        for at in 0..400 {
            assert_eq!(errors.update(at % 20 == 0), None, "{at}");
        }
    }
}
