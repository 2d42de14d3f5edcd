-- Present while the box's clock is in doubt: what the next start must know to doubt it too.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- What the clock should have said then, by the last time that was believed.
    believed INTEGER,
    -- What the clock said when this was written, and for how many nanoseconds it had run steadily.
    wall INTEGER NOT NULL,
    ran INTEGER NOT NULL
);
