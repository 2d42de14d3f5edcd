//! Where in a picture it is worst: the stretch around the highest cell of a model's map.

use std::collections::VecDeque;

use crate::verdict::Region;

/// How bad each place of a picture is, the higher the worse: rows from the top.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    pub cells: &'a [f32],
    pub width: usize,
}

impl Map<'_> {
    /// The box around the highest cell and all that hang together with it, also over corners, and
    /// reach half the way from the lowest to the highest. Nothing where all are the same, or one is
    /// no number.
    pub fn worst(self) -> Option<Region> {
        let Self { cells, width } = self;
        let height =
            cells.len().checked_div(width).filter(|height| height * width == cells.len())?;
        if cells.iter().any(|cell| !cell.is_finite()) {
            return None;
        }
        let highest = (0..cells.len()).reduce(|a, b| if cells[b] > cells[a] { b } else { a })?;
        let lowest = cells.iter().copied().reduce(f32::min)?;
        if cells[highest] <= lowest {
            return None;
        }
        let half = lowest / 2.0 + cells[highest] / 2.0;
        let mut seen = vec![false; cells.len()];
        seen[highest] = true;
        let mut next = VecDeque::from([highest]);
        let (mut left, mut right) = (highest % width, highest % width);
        let (mut top, mut bottom) = (highest / width, highest / width);
        while let Some(at) = next.pop_front() {
            let (x, y) = (at % width, at / width);
            (left, right) = (left.min(x), right.max(x));
            (top, bottom) = (top.min(y), bottom.max(y));
            for row in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for column in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    let neighbour = row * width + column;
                    if cells[neighbour] >= half && !seen[neighbour] {
                        seen[neighbour] = true;
                        next.push_back(neighbour);
                    }
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "sides are small")]
        let share = |cells: usize, side: usize| cells as f32 / side as f32;
        Some(Region {
            left: share(left, width),
            top: share(top, height),
            width: share(right + 1 - left, width),
            height: share(bottom + 1 - top, height),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(width: usize, cells: &[f32]) -> Option<[f32; 4]> {
        Map { cells, width }.worst().map(|at| [at.left, at.top, at.width, at.height])
    }

    #[test]
    fn the_box_holds_what_hangs_together_with_the_highest_cell() {
        #[rustfmt::skip]
        let cells = [
            0.9, 0.0, 0.0, 0.0,
            0.9, 0.0, 0.5, 0.0,
            0.0, 0.0, 0.0, 1.0,
            0.0, 0.0, 0.0, 0.4,
        ];
        assert_eq!(worst(4, &cells), Some([0.5, 0.25, 0.5, 0.5]), "over a corner; 0.4 is too low");
        assert_eq!(worst(2, &[-1.0, -3.0]), Some([0.0, 0.0, 0.5, 1.0]), "below zero too");
        assert_eq!(worst(2, &[7.0, 7.0, 1.0, 7.0]), Some([0.0, 0.0, 1.0, 1.0]));
    }

    #[test]
    fn a_map_that_points_nowhere_has_no_place() {
        assert_eq!(worst(2, &[0.3; 4]), None);
        assert_eq!(worst(2, &[0.3, 0.1, f32::NAN, 0.1]), None);
        assert_eq!(worst(2, &[0.3, 0.1, f32::INFINITY, 0.1]), None);
        assert_eq!(worst(2, &[0.3, 0.1, 0.2]), None);
        assert_eq!(worst(0, &[]), None);
        assert_eq!(worst(1, &[]), None);
    }

    #[test]
    fn a_place_in_what_the_model_sees_is_one_in_the_picture() {
        let part = Region { left: 0.25, top: 0.0, width: 0.5, height: 1.0 };
        let at = Region { left: 0.5, top: 0.1, width: 1.0 / 3.0, height: 0.2 }.within(part);
        assert_eq!(at, Region { left: 0.5, top: 0.1, width: 0.1667, height: 0.2 });
        assert_eq!(part.within(Region::WHOLE), part);
    }
}
