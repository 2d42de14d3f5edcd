//! What is kept of a picture once a model has answered.

use super::Frame;
use crate::picture::{self, THUMBNAIL_SIDE};
use crate::snapshot::Thumbnail;
use crate::verdict::Verdict;

impl Frame {
    /// Pixels held for a thumbnail.
    pub fn pixels(&self) -> usize {
        self.decoded.as_ref().map_or(0, |picture| picture.width * picture.height)
    }

    /// Holds no more of the picture than a thumbnail needs. Takes milliseconds.
    pub fn shrink(&mut self) {
        self.decoded = self.decoded.take().map(|picture| picture::fit(picture, THUMBNAIL_SIDE));
    }

    /// Hands the picture in small to whoever wants it. Takes milliseconds.
    pub fn keep(&mut self, verdict: Verdict) {
        self.shrink();
        let Some((showing, small)) = self.picture.as_ref().zip(self.decoded.take()) else { return };
        if let (Some(keeper), Some(jpeg), Ok(width), Ok(height)) = (
            &showing.keeper,
            picture::encode(&small),
            u16::try_from(small.width),
            u16::try_from(small.height),
        ) {
            keeper.keep(Thumbnail { verdict, jpeg: jpeg.into(), width, height });
        }
    }
}
