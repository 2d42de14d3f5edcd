-- Pictures in small, each with what a model said of it; docs/buffer.md.
-- Numbers grow with the time of arrival in microseconds and are never used twice.
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY,
    asset TEXT NOT NULL,
    prediction TEXT NOT NULL,
    -- Of its arrival, nanoseconds.
    at INTEGER NOT NULL,
    -- 1 and its id, where it raised an alert.
    raised INTEGER NOT NULL,
    alert TEXT,
    -- Score, label, limit, model: JSON.
    remark TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    jpeg BLOB NOT NULL
);

CREATE INDEX snapshot_asset ON snapshot (asset, id);
CREATE INDEX snapshot_last ON snapshot (asset, prediction, id) WHERE raised = 0;
CREATE INDEX snapshot_alert ON snapshot (alert) WHERE alert IS NOT NULL;
-- What goes first, and how much there is.
CREATE INDEX snapshot_order ON snapshot (raised, at, bytes);
