//! Frames that run together. Their numbers lie one after the other from the queue on, as the model
//! takes them: whoever submits a frame puts them there while its own cache has them, and a batch is
//! not gathered in the model's thread.

use std::collections::VecDeque;

use crate::frame::Frame;
use crate::snapshot::Showing;

/// Emptied blocks that are kept: so many, and numbers that they have room for.
const SPARE: usize = 256;
const SPARE_NUMBERS: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Block {
    /// Without values, but for pictures between [`Frame::develop`] and [`Block::gather`].
    pub(super) frames: Vec<Frame>,
    /// Of all frames; all of one model, so each has as many.
    values: Vec<f32>,
}

impl From<Frame> for Block {
    fn from(mut frame: Frame) -> Self {
        let values = std::mem::take(&mut frame.values);
        Self { frames: vec![frame], values }
    }
}

impl Block {
    fn push(&mut self, frame: Frame, values: &[f32]) {
        self.values.extend_from_slice(values);
        self.frames.push(frame);
    }

    /// The same where nothing follows: nothing is copied, and `values` are memory to be freed.
    fn push_alone(&mut self, frame: Frame, values: &mut Vec<f32>) {
        std::mem::swap(&mut self.values, values);
        self.frames.push(frame);
    }

    /// In the place of another one of the same prediction.
    pub(super) fn replace(&mut self, at: usize, frame: Frame, values: &[f32]) {
        self.values[at * values.len()..][..values.len()].copy_from_slice(values);
        self.frames[at] = frame;
    }

    /// Takes the values of pictures that have been developed; one alone is not copied. A block is of
    /// such pictures alone, or has none.
    pub(super) fn gather(&mut self) {
        if let [frame] = &mut self.frames[..]
            && self.values.is_empty()
        {
            return std::mem::swap(&mut self.values, &mut frame.values);
        }
        debug_assert!(self.values.is_empty() || self.frames.iter().all(|f| f.values.is_empty()));
        for frame in &mut self.frames {
            self.values.append(&mut frame.values);
        }
    }

    /// The frames, and the numbers of all of them.
    pub(super) fn parts(&mut self) -> (&mut [Frame], &[f32]) {
        (&mut self.frames, &self.values)
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.values.clear();
    }
}

/// Frames that wait, in the blocks in which they will run.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Frames a block.
    most: usize,
    /// None is empty.
    waiting: VecDeque<Block>,
    /// Emptied ones: neither thread allocates or frees for the other.
    spare: Vec<Block>,
    /// Numbers that the spare ones have room for.
    spare_numbers: usize,
    /// Frames in all that wait.
    count: usize,
}

impl Blocks {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Frames.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// `values` are those of `frame`, which has been parted from them.
    pub(super) fn push(&mut self, frame: Frame, values: &mut Vec<f32>) {
        let room = self.waiting.back().is_some_and(|block| block.frames.len() < self.most);
        if !room {
            let block = match self.spare.pop() {
                Some(block) => {
                    self.spare_numbers -= block.values.capacity();
                    block
                }
                None => {
                    let frames = Vec::with_capacity(self.most.min(64));
                    Block { frames, values: Vec::new() }
                }
            };
            self.waiting.push_back(block);
        }
        if let Some(block) = self.waiting.back_mut() {
            match self.most {
                1 => block.push_alone(frame, values),
                _ => block.push(frame, values),
            }
            self.count += 1;
        }
    }

    /// Puts the oldest block in the place of `emptied`; false where there is none.
    pub(super) fn take(&mut self, emptied: &mut Block) -> bool {
        let Some(block) = self.waiting.pop_front() else { return false };
        self.count -= block.frames.len();
        let spare = std::mem::replace(emptied, block);
        let numbers = self.spare_numbers + spare.values.capacity();
        if self.spare.len() < SPARE && numbers <= SPARE_NUMBERS {
            self.spare_numbers = numbers;
            self.spare.push(spare);
        }
        true
    }

    /// Where a frame of the same asset and prediction waits.
    pub(super) fn same(&mut self, frame: &Frame) -> Option<(&mut Block, usize)> {
        let same =
            |older: &Frame| older.asset == frame.asset && older.prediction == frame.prediction;
        let mut found = self.waiting.iter_mut().filter_map(|block| {
            let at = block.frames.iter().position(same)?;
            Some((block, at))
        });
        found.next()
    }

    /// Takes out as many of the oldest pictures or texts as one more of `bytes` asks for, where so
    /// `many` and so many bytes of them may wait.
    pub(super) fn make_room(&mut self, many: usize, bytes: usize, most: usize) -> Vec<Showing> {
        let mut gone = Vec::new();
        loop {
            let frames = self.waiting.iter().flat_map(|block| &block.frames);
            let (count, held) = frames
                .filter_map(|frame| frame.picture.as_ref())
                .fold((0, 0), |(count, held), picture| (count + 1, held + picture.bytes.len()));
            if count < many && held + bytes <= most {
                return gone;
            }
            match self.oldest_picture() {
                Some(picture) => gone.push(picture),
                None => return gone,
            }
        }
    }

    fn oldest_picture(&mut self) -> Option<Showing> {
        let mut blocks = self.waiting.iter_mut().enumerate();
        let (place, block, at) = blocks.find_map(|(place, block)| {
            let at = block.frames.iter().position(|frame| frame.picture.is_some())?;
            Some((place, block, at))
        })?;
        // A picture that waits has no values yet.
        let frame = block.frames.remove(at);
        let is_empty = block.frames.is_empty();
        self.count -= 1;
        if is_empty {
            self.waiting.remove(place);
        }
        frame.picture
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::asset::AssetId;
    use crate::frame::{FrameSpec, complete};
    use crate::snapshot::{Kind, Snapshot};
    use crate::time::Timestamp;
    use crate::verdict::PredictionId;

    fn frame(asset: u32) -> Frame {
        let input = "tensor = \"x\"\nlayout = \"image\"\n[image]\nwidth = 1\nheight = 1\n";
        let input = toml::from_str(input).unwrap();
        let window = toml::from_str("length = 1").unwrap();
        let spec = Arc::new(FrameSpec::new(&input, &complete(&window)).unwrap());
        let (asset_id, at) = (AssetId(asset), Timestamp::from_secs(1));
        let bytes = vec![0; 10].into();
        let picture = Snapshot::new(Kind::Picture, "press-1".into(), at, bytes, |_| {});
        Frame::of_picture(PredictionId(0), asset_id, at, spec, picture.shared(1).remove(0))
    }

    fn measured(asset: u32) -> Frame {
        Frame { picture: None, ..frame(asset) }
    }

    fn taken(blocks: &mut Blocks) -> Vec<(Vec<u32>, Vec<f32>)> {
        let mut block = Block::default();
        let next = std::iter::from_fn(|| {
            block.clear();
            blocks.take(&mut block).then(|| {
                let (frames, values) = block.parts();
                (frames.iter().map(|frame| frame.asset.0).collect(), values.to_vec())
            })
        });
        next.collect()
    }

    #[test]
    fn values_stand_in_the_order_of_their_frames_also_where_one_was_replaced() {
        for most in [1, 2, 3, 8] {
            let mut blocks = Blocks::new(most);
            for (asset, value) in [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0)] {
                blocks.push(measured(asset), &mut vec![value, -value]);
            }
            let newer = measured(2);
            let (block, at) = blocks.same(&newer).unwrap();
            block.replace(at, newer, &[9.0, -9.0]);
            assert!(blocks.same(&measured(7)).is_none());
            assert_eq!(blocks.len(), 5);
            let (assets, values): (Vec<_>, Vec<_>) = taken(&mut blocks).into_iter().unzip();
            assert!(assets.iter().all(|block| block.len() <= most));
            assert_eq!(assets.concat(), [0, 1, 2, 3, 4]);
            let expected = [1.0, -1.0, 2.0, -2.0, 9.0, -9.0, 4.0, -4.0, 5.0, -5.0];
            assert_eq!(values.concat(), expected);
            assert_eq!(blocks.len(), 0);
            // In memory that was used before.
            blocks.push(measured(6), &mut vec![6.0]);
            assert_eq!(taken(&mut blocks), [(vec![6], vec![6.0])]);
        }
    }

    #[test]
    fn pictures_give_way_across_blocks_and_bring_their_values_when_developed() {
        let mut blocks = Blocks::new(2);
        (0..5).for_each(|asset| blocks.push(frame(asset), &mut Vec::new()));
        assert_eq!(blocks.make_room(5, 10, 1000).len(), 1, "by number");
        assert_eq!(blocks.make_room(9, 10, 20).len(), 3, "by bytes");
        assert_eq!(blocks.len(), 1);
        blocks.push(frame(5), &mut Vec::new());
        blocks.push(frame(6), &mut Vec::new());
        let assets: Vec<_> = taken(&mut blocks).into_iter().map(|(assets, _)| assets).collect();
        assert_eq!(assets, [[4, 5].as_slice(), &[6]]);
        let developed = |assets: &[u32]| {
            let mut block = Block::default();
            for asset in assets {
                let values = vec![f32::from(u8::try_from(*asset).unwrap())];
                block.push(Frame { values, ..frame(*asset) }, &[]);
            }
            block.gather();
            block.parts().1.to_vec()
        };
        assert_eq!((developed(&[3]), developed(&[3, 4, 5])), (vec![3.0], vec![3.0, 4.0, 5.0]));
    }
}
