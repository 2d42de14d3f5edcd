//! Do the data still look like those that the model was trained on?
//!
//! [`figures`] compares two distributions over the same bins, [`Adwin`] and [`PageHinkley`] find
//! changes in a stream, [`Track`] keeps what a prediction sees of one asset, and [`Watcher`] all
//! of them. `docs/drift.md` has the formulas; `tests/drift.rs` holds them to scipy and river.

mod adwin;
mod constant;
pub mod figures;
mod page_hinkley;
mod scores;
mod track;
mod watcher;

pub use self::adwin::{Adwin, AdwinSettings};
pub use self::page_hinkley::{PageHinkley, PageHinkleySettings, Side};
pub use self::scores::{SCORE_BINS, Scores};
pub use self::track::{FeatureFigures, Figures, Measure, Reference, Track};
pub use self::watcher::{AssetFigures, Finding, PredictionFigures, Stuck, Subject, Watcher};
