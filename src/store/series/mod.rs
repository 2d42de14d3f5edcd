//! Series: the samples of committed blocks once more, by tag, so that a day of one tag reads fast.
//!
//! A *stretch* is a run of consecutive blocks; its series are rows of eight neighbouring tags. All of
//! it is made from blocks beside the commits ([`Maker`]), in steps between which an alert is committed,
//! and is seen only when it is whole. Whatever is missing, damaged or broken is read from the
//! blocks instead, so that reading gives the same with series and without ([`read_tag`]). Scans go
//! by blocks alone, which know the order of arrival. See docs/buffer.md.

mod make;
mod read;

use sqlx::SqliteConnection;

pub(super) use self::make::{Maker, Pace};
pub(super) use self::read::read_tag;
use crate::tag::TagId;

/// Tags a row: of one message, more often than not, and then their times are written once.
const TAGS_A_ROW: u32 = 8;

/// The row of a stretch that holds a tag.
fn row_of(stretch: i64, tag: TagId) -> i64 {
    (stretch << 32) | i64::from(tag.0 / TAGS_A_ROW)
}

/// What goes with blocks that are deleted, as SQL around their deletion.
#[derive(Default)]
pub(super) struct Broken {
    pub(super) before: String,
    pub(super) after: String,
}

/// The stretches that lose one of the blocks `ids` lose their series, and go with their last block.
pub(super) async fn broken_by(
    writer: &mut SqliteConnection,
    ids: &[i64],
) -> Result<Broken, sqlx::Error> {
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(Broken::default());
    };
    let near: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT id, first_block, last_block FROM stretch WHERE last_block >= ? AND +first_block <= ?",
    )
    .bind(first)
    .bind(last)
    .fetch_all(writer)
    .await?;
    let mut broken = Broken::default();
    for (stretch, first, last) in near {
        if !ids.iter().any(|id| (first..=last).contains(id)) {
            continue;
        }
        let (from, to) = (stretch << 32, (stretch << 32) | i64::from(u32::MAX));
        broken.before += &format!(
            "DELETE FROM series WHERE id BETWEEN {from} AND {to};\
             UPDATE stretch SET broken = 1 WHERE id = {stretch};"
        );
        broken.after += &format!(
            "DELETE FROM stretch WHERE id = {stretch} AND NOT EXISTS \
             (SELECT 1 FROM block WHERE block.id BETWEEN {first} AND {last});"
        );
    }
    Ok(broken)
}

#[cfg(test)]
mod tests;
