//! One commit as one script: `BEGIN IMMEDIATE` to `COMMIT` in a single visit to SQLite's thread.
//!
//! All numbers are given beforehand, so that a script whose outcome is unknown can be run again.

use serde_json::json;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};

use super::block::{CODEC, Encoded};
use super::clock::Note;
use super::queue::{Chores, PendingChange};
use crate::tag::{TagId, TagInfo};
use crate::time::Timestamp;

/// Rows that the quarantine, the dead letters and the history keep, the newest.
const QUARANTINE_KEPT: i64 = 1000;
const DEAD_LETTERS_KEPT: i64 = 10_000;
const EVENTS_KEPT: i64 = 50_000;
/// Scripts up to this many statements have few shapes and are kept prepared.
const PREPARED_STATEMENTS: usize = 8;

/// SQLite takes 32,766 values a statement.
const ROWS_A_STATEMENT: usize = 256;

/// A block on its way, numbered.
pub(super) struct NewBlock {
    pub(super) id: i64,
    pub(super) received: Timestamp,
    pub(super) encoded: Encoded,
}

#[derive(Default)]
pub(super) struct Script {
    sql: String,
    statements: usize,
    arguments: SqliteArguments,
}

impl Script {
    pub(super) fn tags(&mut self, tags: &[(TagId, TagInfo)]) {
        for tags in tags.chunks(ROWS_A_STATEMENT) {
            self.rows(
                "INSERT OR REPLACE INTO tag (id, asset, name) VALUES ",
                "(?, ?, ?)",
                tags.len(),
            );
            for (id, tag) in tags {
                self.bind(i64::from(id.0));
                self.bind(tag.asset_name.to_string());
                self.bind(tag.name.to_string());
            }
        }
    }

    pub(super) fn block(&mut self, block: NewBlock) {
        let NewBlock { id, received, encoded } = block;
        self.statement(
            "INSERT OR REPLACE INTO block \
             (id, min_time, max_time, received, count, codec, crc32, data) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?);",
        );
        self.bind(id);
        self.bind(encoded.min_time.as_nanos());
        self.bind(encoded.max_time.as_nanos());
        self.bind(received.as_nanos());
        self.bind(i64::try_from(encoded.count).unwrap_or(i64::MAX));
        self.bind(CODEC);
        self.bind(i64::from(crc32fast::hash(&encoded.data)));
        self.bind(encoded.data);
    }

    /// `event` numbers the change in the history.
    pub(super) fn change(&mut self, pending: &PendingChange, event: i64) {
        let change = &pending.change;
        match &change.state {
            Some(state) => {
                self.statement(
                    "INSERT OR REPLACE INTO alert (asset, prediction, state, changed) \
                     VALUES (?, ?, ?, ?);",
                );
                self.bind(change.key.asset.clone());
                self.bind(change.key.prediction.clone());
                self.bind(state.clone());
                self.bind(change.at.as_nanos());
            }
            None => {
                self.statement("DELETE FROM alert WHERE asset = ? AND prediction = ?;");
                self.bind(change.key.asset.clone());
                self.bind(change.key.prediction.clone());
            }
        }
        if let (Some(cause), Some(state)) = (change.cause, &change.state) {
            self.statement(
                "INSERT OR REPLACE INTO alert_event (id, at, asset, prediction, cause, state) \
                 VALUES (?, ?, ?, ?, ?, ?);",
            );
            self.bind(event);
            self.bind(change.at.as_nanos());
            self.bind(change.key.asset.clone());
            self.bind(change.key.prediction.clone());
            self.bind(cause);
            self.bind(state.clone());
            self.statement("DELETE FROM alert_event WHERE id <= ?;");
            self.bind(event - EVENTS_KEPT);
        }
        for (seq, message) in (pending.first_seq..).zip(&change.messages) {
            self.statement(
                "INSERT OR REPLACE INTO outbox (seq, created, topic, body, retain) \
                 VALUES (?, ?, ?, ?, ?);",
            );
            self.bind(seq);
            self.bind(change.at.as_nanos());
            self.bind(message.topic.clone());
            self.bind(message.body.to_vec());
            self.bind(message.retain);
        }
    }

    /// Whether the next start has to doubt the clock.
    pub(super) fn clock(&mut self, note: Note) {
        let Note::Doubted(doubt) = note else {
            return self.statement("DELETE FROM clock;");
        };
        self.statement(
            "INSERT OR REPLACE INTO clock (id, believed, wall, ran) VALUES (1, ?, ?, ?);",
        );
        self.bind(doubt.believed.map(Timestamp::as_nanos));
        self.bind(doubt.wall.as_nanos());
        self.bind(i64::try_from(doubt.ran.as_nanos()).unwrap_or(i64::MAX));
    }

    pub(super) fn chores(&mut self, chores: &Chores, now: Timestamp) {
        if !chores.delivered.is_empty() {
            self.statement("DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?));");
            self.bind(json!(chores.delivered).to_string());
        }
        for (seq, reason) in &chores.dead {
            self.statement(
                "INSERT OR REPLACE INTO dead_letter \
                 (seq, created, topic, body, retain, reason, died) \
                 SELECT seq, created, topic, body, retain, ?, ? FROM outbox WHERE seq = ?;",
            );
            self.bind(reason.clone());
            self.bind(now.as_nanos());
            self.bind(*seq);
            self.statement("DELETE FROM outbox WHERE seq = ?;");
            self.bind(*seq);
        }
        if !chores.dead.is_empty() {
            self.statement(
                "DELETE FROM dead_letter WHERE seq <= \
                 (SELECT seq FROM dead_letter ORDER BY seq DESC LIMIT 1 OFFSET ?);",
            );
            self.bind(DEAD_LETTERS_KEPT);
        }
        for item in &chores.quarantined {
            self.statement(
                "INSERT INTO quarantine (received, source, topic, reason, detail, head, length) \
                 VALUES (?, ?, ?, ?, ?, ?, ?);",
            );
            self.bind(item.received.as_nanos());
            self.bind(item.source.clone());
            self.bind(item.topic.clone());
            self.bind(item.reason);
            self.bind(item.detail.clone());
            self.bind(item.head.to_vec());
            self.bind(i64::try_from(item.length).unwrap_or(i64::MAX));
        }
        if !chores.quarantined.is_empty() {
            self.statement(
                "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?;",
            );
            self.bind(QUARANTINE_KEPT);
        }
        self.snapshots(&chores.snapshots);
        let marks: Vec<_> = chores.marks.iter().collect();
        for marks in marks.chunks(ROWS_A_STATEMENT) {
            self.rows(
                "INSERT OR REPLACE INTO mark (asset, prediction, started, ended) VALUES ",
                "(?, ?, ?, ?)",
                marks.len(),
            );
            for ((asset, prediction), (start, end)) in marks {
                self.bind(asset.clone());
                self.bind(prediction.clone());
                self.bind(start.as_nanos());
                self.bind(end.as_nanos());
            }
        }
    }

    /// After an error the connection is in an unknown state and must be dropped.
    pub(super) async fn run(self, writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let sql = format!("BEGIN IMMEDIATE;{}COMMIT;", self.sql);
        sqlx::query_with(AssertSqlSafe(sql), self.arguments)
            .persistent(self.statements <= PREPARED_STATEMENTS)
            .execute(writer)
            .await?;
        Ok(())
    }

    /// A statement with `count` rows of three values.
    fn rows(&mut self, insert: &str, row: &str, count: usize) {
        let rows = vec![row; count].join(", ");
        self.statement(&format!("{insert}{rows};"));
    }

    pub(super) fn statement(&mut self, sql: &str) {
        self.sql.push_str(sql);
        self.statements += 1;
    }

    pub(super) fn bind<'a, T: Encode<'a, Sqlite> + Type<Sqlite>>(&mut self, value: T) {
        Arguments::add(&mut self.arguments, value).expect("numbers, texts and bytes always encode");
    }
}
