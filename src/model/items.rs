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

    /// What a model of texts takes of these frames.
    pub(super) fn of_texts(&mut self, frames: &[Frame]) -> ItemsRef<'_> {
        self.clear();
        if let Self::Texts(texts) = self {
            let prepared = |frame: &Frame| {
                let input = frame.spec.text.unwrap_or_default();
                frame.text.as_ref().map(|text| input.prepared(text))
            };
            texts.extend(frames.iter().filter_map(prepared));
        }
        self.lend()
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
