//! What can go wrong with the buffer, as far as a caller may care.

use std::path::PathBuf;

/// The buffer cannot be opened; `run` stops at start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make the folder of the buffer, {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the buffer {path} is used by another andon; stop it or set another `store.path`")]
    InUse { path: PathBuf },
    #[error("cannot lock the buffer with {path}: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("cannot open the buffer {path}: {source}")]
    Open { path: PathBuf, source: sqlx::Error },
    #[error(
        "the buffer {path} cannot be brought to this version of andon: {source}; \
         a newer andon may have written it"
    )]
    Migrate { path: PathBuf, source: sqlx::migrate::MigrateError },
    #[error("the buffer {path} is damaged and cannot be set aside: {source}")]
    SetAside { path: PathBuf, source: std::io::Error },
    #[error(
        "the buffer {path} knows {stored} tags, more than `limits.tags` = {limit}; \
         raise the limit or set another `store.path`"
    )]
    TooManyTags { path: PathBuf, stored: usize, limit: usize },
    #[error("the buffer {path} numbers its tags otherwise than this run: tag {id}")]
    TagOrder { path: PathBuf, id: i64 },
}

/// The buffer failed at something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the buffer answers: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the buffer is damaged; it is set aside at the next start: {0}")]
    Damaged(sqlx::Error),
    #[error("the disk fails: {samples} samples could not be written before the end")]
    Unwritten { samples: usize },
}

/// The writer has ended; nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is closed")]
pub struct StoreClosed;

/// SQLite's words for what failed; only the primary code counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Damaged,
    Full,
    Other,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
            Some(11 | 26) => Self::Damaged,
            Some(13) => Self::Full,
            _ => Self::Other,
        }
    }
}
