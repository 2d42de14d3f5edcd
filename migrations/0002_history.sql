-- What happened to alerts: one row a transition, with the alert as it was then. The key makes a
-- commit that is run again write the same rows.
CREATE TABLE alert_event (
    at INTEGER NOT NULL,
    asset TEXT NOT NULL,
    prediction TEXT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (at, asset, prediction, cause)
) WITHOUT ROWID;
