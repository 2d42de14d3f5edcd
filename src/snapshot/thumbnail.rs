//! A picture in small, and what is kept with it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::settings::Direction;
use crate::verdict::{ModelIdentity, Region, Verdict};

/// A picture in small, with what a model said of it.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    pub verdict: Verdict,
    pub jpeg: Bytes,
    pub width: u16,
    pub height: u16,
}

/// Takes thumbnails. It must not wait: a model's thread calls it.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Fn(Thumbnail) + Send + Sync>);

impl Keeper {
    pub fn new(keep: impl Fn(Thumbnail) + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep))
    }

    pub fn keep(&self, thumbnail: Thumbnail) {
        (self.0)(thumbnail);
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// What was said of a picture that is kept, and the limit that held then. Its JSON is what the store has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    pub score: f64,
    pub label: Option<Arc<str>>,
    /// From which score on an alert may follow.
    pub raise: Option<f64>,
    pub direction: Direction,
    pub model: Option<Arc<ModelIdentity>>,
    /// Where it is worst.
    #[serde(default)]
    pub region: Option<Region>,
}

impl Remark {
    /// Whether the score reaches the limit, where there is one.
    pub fn is_bad(&self) -> Option<bool> {
        self.raise.map(|raise| match self.direction {
            Direction::Above => self.score >= raise,
            Direction::Below => self.score <= raise,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_is_what_reaches_the_limit_from_its_side() {
        let bad = |score, raise, direction| {
            Remark { score, label: None, raise, direction, model: None, region: None }.is_bad()
        };
        assert_eq!(bad(0.5, Some(0.5), Direction::Above), Some(true));
        assert_eq!(bad(0.4, Some(0.5), Direction::Above), Some(false));
        assert_eq!(bad(0.4, Some(0.5), Direction::Below), Some(true));
        assert_eq!(bad(0.4, None, Direction::Above), None);
    }
}
