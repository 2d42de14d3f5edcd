//! The maps of a batch of pictures, as the graph gives them beside its answers.

use ort::session::SessionOutputs;

use super::session::RunError;
use crate::explain::Map;

#[derive(Debug, Default)]
pub(super) struct Maps {
    /// Of each item, one after the other.
    pub(super) cells: Vec<f32>,
    width: usize,
    /// Cells an item.
    size: usize,
}

impl Maps {
    /// Adds those of `count` items.
    pub(super) fn read(
        &mut self,
        outputs: &SessionOutputs<'_>,
        name: &str,
        count: usize,
    ) -> Result<(), RunError> {
        let value =
            outputs.get(name).ok_or_else(|| RunError(format!("`{name}` did not come out")))?;
        let before = self.cells.len();
        let shape = if let Ok((shape, cells)) = value.try_extract_tensor::<f32>() {
            self.cells.extend_from_slice(cells);
            shape
        } else {
            let (shape, cells) = value.try_extract_tensor::<f64>()?;
            #[expect(clippy::cast_possible_truncation, reason = "a map is looked at, not judged")]
            self.cells.extend(cells.iter().map(|cell| *cell as f32));
            shape
        };
        // The channel may stand before or behind.
        let (height, width) = match shape[..] {
            [_, height, width] | [_, 1, height, width] | [_, height, width, 1] => (height, width),
            _ => (0, 0),
        };
        let side = |length: i64| usize::try_from(length).unwrap_or(0);
        (self.width, self.size) = (side(width), side(width) * side(height));
        let added = self.cells.len() - before;
        if self.size == 0 || added != count * self.size {
            return Err(RunError(format!("`{name}` has the shape {shape} for {count} pictures")));
        }
        Ok(())
    }

    pub(super) fn of(&self, item: usize) -> Option<Map<'_>> {
        let cells = self.cells.get(item * self.size..(item + 1) * self.size)?;
        Some(Map { cells, width: self.width })
    }
}
