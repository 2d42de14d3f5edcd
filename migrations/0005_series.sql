-- Samples once more, by tag, so that a day of one tag reads fast. All of it is made from blocks and
-- could be made again; docs/buffer.md.

-- A run of consecutive blocks. `broken`: some block of it is deleted, and its series are too.
CREATE TABLE stretch (
    id INTEGER PRIMARY KEY,
    first_block INTEGER NOT NULL,
    last_block INTEGER NOT NULL,
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL,
    broken INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX stretch_time ON stretch (max_time, min_time);
CREATE INDEX stretch_blocks ON stretch (last_block);

-- Eight neighbouring tags of a stretch. id: the stretch's times 2^32, plus the tag's number / 8.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    data BLOB NOT NULL
);
