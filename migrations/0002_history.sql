-- What happened to alerts: one row a transition, in order, with the alert as it was then.
CREATE TABLE alert_event (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    asset TEXT NOT NULL,
    prediction TEXT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL
);

CREATE INDEX alert_event_time ON alert_event (at);
