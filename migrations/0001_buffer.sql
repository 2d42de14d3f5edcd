-- The buffer. docs/buffer.md describes the file; src/store/block/ the data of a block.

CREATE TABLE tag (
    id INTEGER PRIMARY KEY,
    asset TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (asset, name)
);

-- One commit's samples. Times are nanoseconds since the Unix epoch.
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL,
    received INTEGER NOT NULL,
    count INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    data BLOB NOT NULL
);

CREATE INDEX block_time ON block (max_time, min_time);

CREATE TABLE alert (
    asset TEXT NOT NULL,
    prediction TEXT NOT NULL,
    state TEXT NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (asset, prediction)
) WITHOUT ROWID;

-- AUTOINCREMENT keeps a delivered row's number from ever being used again.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    created INTEGER NOT NULL,
    topic TEXT NOT NULL,
    body BLOB NOT NULL,
    retain INTEGER NOT NULL
);

CREATE TABLE dead_letter (
    seq INTEGER PRIMARY KEY,
    created INTEGER NOT NULL,
    topic TEXT NOT NULL,
    body BLOB NOT NULL,
    retain INTEGER NOT NULL,
    reason TEXT NOT NULL,
    died INTEGER NOT NULL
);

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    head BLOB NOT NULL,
    length INTEGER NOT NULL
);

-- Where each prediction's windows of an asset stand: samples from `started` on have to be fed
-- again after a restart, and the next window to close is the one after `ended`.
CREATE TABLE mark (
    asset TEXT NOT NULL,
    prediction TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    PRIMARY KEY (asset, prediction)
) WITHOUT ROWID;
