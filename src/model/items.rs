//! What goes into a model: whole items one after the other, all of numbers or all of texts.

use std::ops::Range;
use std::sync::Arc;

use crate::frame::{Frame, Layout};

#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    Numbers(Vec<f32>),
    Texts(Vec<Arc<str>>),
}

/// The same, lent.
#[derive(Clone, Copy, Debug)]
pub enum ItemsRef<'a> {
    Numbers(&'a [f32]),
    Texts(&'a [Arc<str>]),
}

impl Items {
    /// None yet, of the kind that `layout` makes.
    pub const fn none(layout: Layout) -> Self {
        match layout {
            Layout::Text => Self::Texts(Vec::new()),
            Layout::Series | Layout::Features | Layout::Latest | Layout::Image => {
                Self::Numbers(Vec::new())
            }
        }
    }

    pub fn clear(&mut self) {
        match self {
            Self::Numbers(numbers) => numbers.clear(),
            Self::Texts(texts) => texts.clear(),
        }
    }

    /// What the model takes of these frames; one alone is not copied.
    pub(super) fn of<'a>(&'a mut self, frames: &'a [Frame]) -> ItemsRef<'a> {
        if let (Self::Numbers(_), [frame]) = (&*self, frames) {
            return ItemsRef::Numbers(&frame.values);
        }
        self.clear();
        frames.iter().for_each(|frame| self.push(frame));
        self.lend()
    }

    fn push(&mut self, frame: &Frame) {
        match self {
            Self::Numbers(numbers) => numbers.extend_from_slice(&frame.values),
            Self::Texts(texts) => {
                let input = frame.spec.text.unwrap_or_default();
                texts.extend(frame.text.iter().map(|text| input.prepared(text)));
            }
        }
    }

    /// `lent`, and as much of nothing after it as makes `length` elements.
    pub(super) fn padded(lent: ItemsRef<'_>, length: usize) -> Self {
        match lent {
            ItemsRef::Numbers(numbers) => {
                let mut numbers = numbers.to_vec();
                numbers.resize(length, 0.0);
                Self::Numbers(numbers)
            }
            ItemsRef::Texts(texts) => {
                let mut texts = texts.to_vec();
                texts.resize(length, Arc::from(""));
                Self::Texts(texts)
            }
        }
    }

    /// `count` of these items of `length` elements, over and over.
    #[must_use]
    pub fn cycled(&self, length: usize, count: usize) -> Self {
        let take = count * length;
        match self {
            Self::Numbers(numbers) => {
                Self::Numbers(numbers.iter().cycle().take(take).copied().collect())
            }
            Self::Texts(texts) => Self::Texts(texts.iter().cycle().take(take).cloned().collect()),
        }
    }

    pub fn lend(&self) -> ItemsRef<'_> {
        match self {
            Self::Numbers(numbers) => ItemsRef::Numbers(numbers),
            Self::Texts(texts) => ItemsRef::Texts(texts),
        }
    }
}

impl<'a> ItemsRef<'a> {
    /// Elements: numbers, or texts.
    pub const fn len(self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Without texts: what a reconstruction is held against.
    pub const fn numbers(self) -> &'a [f32] {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Texts(_) => &[],
        }
    }

    /// The text of an item that is one.
    pub fn text(self) -> Option<&'a Arc<str>> {
        match self {
            Self::Numbers(_) => None,
            Self::Texts(texts) => texts.first(),
        }
    }

    /// As [`slice::chunks`].
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        let length = self.len();
        (0..length).step_by(size).map(move |from| self.part(from..length.min(from + size)))
    }

    fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(&numbers[range]),
            Self::Texts(texts) => Self::Texts(&texts[range]),
        }
    }
}
