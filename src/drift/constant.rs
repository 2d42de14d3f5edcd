//! Answers that are all the very same, although what the model reads is not.
//!
//! 0 and 1 are never that: a class is one or the other, and a sure probability may come to it.

/// Follows one asset's frames and what was answered to them. The answers come some frames later.
#[derive(Clone, Debug, Default)]
pub(super) struct Constant {
    readings: Vec<Option<f64>>,
    score: Option<f64>,
    /// Since another score came: frames with readings that the frame before did not have, ...
    changes: u32,
    /// ... and answers.
    same: u32,
}

impl Constant {
    pub(super) fn read(&mut self, latest: &[Option<f64>]) {
        if self.readings != latest {
            self.readings.clear();
            self.readings.extend_from_slice(latest);
            self.changes = self.changes.saturating_add(1);
        }
    }

    pub(super) fn answered(&mut self, score: f64) {
        match self.score.replace(score) {
            None => {}
            Some(last) if last.to_bits() == score.to_bits() => {
                self.same = self.same.saturating_add(1);
            }
            Some(_) => (self.changes, self.same) = (0, 0),
        }
    }

    /// The answer, where it has been the same for `limit` other readings.
    pub(super) fn stuck(&self, limit: u32) -> Option<f64> {
        let run = self.changes.min(self.same);
        self.score.filter(|score| limit > 0 && run >= limit && *score != 0.0 && *score != 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(constant: &mut Constant, count: u32, score: impl Fn(u32) -> f64, moving: bool) {
        for n in 0..count {
            constant.read(&[Some(if moving { f64::from(n) } else { 1.0 }), None]);
            constant.answered(score(n));
        }
    }

    #[test]
    fn fault_40_the_same_answer_to_other_readings_is_stuck_until_another_comes() {
        let mut constant = Constant::default();
        frames(&mut constant, 10, |_| 0.25, true);
        assert_eq!((constant.stuck(10), constant.stuck(9)), (None, Some(0.25)));
        frames(&mut constant, 1, |_| 0.26, true);
        assert_eq!(constant.stuck(1), None);
    }

    #[test]
    fn fault_40_readings_that_stand_still_and_answers_that_move_are_not_the_models_fault() {
        let mut still = Constant::default();
        frames(&mut still, 100, |_| 0.25, false);
        assert_eq!(still.stuck(2), None);
        let mut moving = Constant::default();
        frames(&mut moving, 100, |n| f64::from(n % 2), true);
        assert_eq!(moving.stuck(1), None);
        let mut class = Constant::default();
        frames(&mut class, 100, |_| 0.0, true);
        assert_eq!(class.stuck(1), None);
        assert_eq!(Constant::default().stuck(0), None);
    }
}
