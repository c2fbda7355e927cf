-- Version 1. Times are microseconds since 1970; JSON is text.
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    project     TEXT NOT NULL,
    uid         TEXT NOT NULL,
    iteration   INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    document    TEXT NOT NULL,
    -- The columns that runs are found by, taken from the document; the state is the one last reported.
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    started_at  INTEGER,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    heartbeat_at INTEGER,
    UNIQUE (project, uid, iteration)
) STRICT;

CREATE TABLE projects (
    name        TEXT PRIMARY KEY,
    document    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows of earlier generations stay while a delivery needs them. A notification without a run belongs to one delivery.
CREATE TABLE notifications (
    id          INTEGER PRIMARY KEY,
    run_id      INTEGER REFERENCES runs (id) ON DELETE CASCADE,
    generation  INTEGER NOT NULL,
    name        TEXT NOT NULL,
    position    INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    document    TEXT NOT NULL,
    project     TEXT NOT NULL,
    secret      TEXT,
    UNIQUE (run_id, generation, name)
) STRICT;

CREATE TABLE secrets (
    id          INTEGER PRIMARY KEY,
    project     TEXT NOT NULL,
    name        TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    -- How many notifications refer to it. Named project secrets are not reference-counted.
    users       INTEGER NOT NULL DEFAULT 0,
    UNIQUE (project, name)
) STRICT;

CREATE TABLE verdicts (
    run_id       INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at           INTEGER NOT NULL,
    notification TEXT NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT,
    why          TEXT,
    -- The delivery; NULL after a skip, and once the delivery is pruned.
    delivery_id  INTEGER,
    PRIMARY KEY (run_id, at, notification)
) STRICT, WITHOUT ROWID;

-- The subjects of deliveries that differ from the stored run: the run at a change, with its workflow's steps.
CREATE TABLE subjects (
    id       INTEGER PRIMARY KEY,
    document TEXT NOT NULL,
    -- A JSON list; NULL for a plain run.
    steps    TEXT
) STRICT;

-- Destinations of deliveries. A destination is a keyed hash of host and port, because the host of a secret URL is secret too.
-- ready_at: the later of the earliest due delivery and the hold; may be too early, never too late; NULL while none is due.
CREATE TABLE destinations (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    ready_at   INTEGER,
    hold_until INTEGER,
    -- Set while it is down; its hold ends with a probe.
    down_since INTEGER
) STRICT;
CREATE INDEX destinations_ready ON destinations (ready_at) WHERE ready_at IS NOT NULL AND down_since IS NULL;
CREATE INDEX destinations_down ON destinations (ready_at) WHERE down_since IS NOT NULL;

-- Flows, which take turns at a destination: a bucket of one project.
-- An id is never used again: finished deliveries refer to flows that were forgotten.
CREATE TABLE flows (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL,
    bucket         BLOB NOT NULL,
    project        TEXT NOT NULL,
    ready_at       INTEGER,
    hold_until     INTEGER,
    UNIQUE (destination_id, bucket, project)
) STRICT;
CREATE INDEX flows_ready ON flows (destination_id, ready_at) WHERE ready_at IS NOT NULL;

-- Deliveries whose destination is unknown wait here until their senders are built.
INSERT INTO destinations (id, hash) VALUES (0, zeroblob(16));
INSERT INTO flows (id, destination_id, bucket, project) VALUES (0, 0, zeroblob(16), '');

-- The key of these hashes, sealed.
CREATE TABLE flow_key (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;

CREATE TABLE deliveries (
    id              INTEGER PRIMARY KEY,
    key             TEXT NOT NULL,
    -- NULL for a job without a run.
    run_id          INTEGER REFERENCES runs (id) ON DELETE CASCADE,
    -- The notification stays as long as the delivery does. The database checks no reference.
    notification_id INTEGER NOT NULL,
    name            TEXT NOT NULL,
    -- NULL while the run still is as it was at the change, and for a job without a run.
    subject_id      INTEGER,
    state           TEXT NOT NULL,
    at              INTEGER NOT NULL,
    look            TEXT NOT NULL,
    status          TEXT NOT NULL,
    flow_id         INTEGER NOT NULL,
    -- While it waits and it is its turn in its lane.
    due_at          INTEGER,
    -- While an attempt is under way.
    leased_until    INTEGER,
    fence           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- How many attempts there had been at the last replay, and its time: the schedule counts from there.
    replayed_after  INTEGER NOT NULL DEFAULT 0,
    replayed_at     INTEGER,
    last_chance     INTEGER NOT NULL DEFAULT 0,
    -- Set when a new list of notifications replaced it during its lease.
    replaced        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    -- The last attempt is here, earlier ones are in their own table: most deliveries need one attempt only.
    last_number     INTEGER,
    last_started_at INTEGER,
    last_ended_at   INTEGER,
    last_outcome    TEXT,
    last_reason     TEXT,
    last_ambiguous  INTEGER,
    -- A key is made of run and name, among others: unique here, it is unique at all, and new ones come together on a page.
    UNIQUE (run_id, name, key),
    -- Here and below no `IN`: for a list of three or more SQLite builds a tree, every time.
    CHECK ((status = 'pending' OR status = 'retry') AND leased_until IS NULL AND finished_at IS NULL
        OR status = 'leased' AND due_at IS NULL AND leased_until IS NOT NULL AND finished_at IS NULL
        OR (status = 'sent' OR status = 'failed' OR status = 'superseded')
            AND due_at IS NULL AND leased_until IS NULL AND finished_at IS NOT NULL)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (flow_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (leased_until) WHERE leased_until IS NOT NULL;
-- Those that wait behind older news.
CREATE INDEX deliveries_behind ON deliveries (id) WHERE finished_at IS NULL AND due_at IS NULL AND leased_until IS NULL;
CREATE INDEX deliveries_failed ON deliveries (id) WHERE status = 'failed';

-- No step past a lease: only a leased delivery can be sent.
CREATE TRIGGER deliveries_states BEFORE UPDATE OF status ON deliveries
WHEN NEW.status <> OLD.status AND NOT (
       OLD.status = 'leased'
    OR ((OLD.status = 'pending' OR OLD.status = 'retry') AND (NEW.status = 'leased' OR NEW.status = 'superseded'))
    OR (OLD.finished_at IS NOT NULL AND NEW.status = 'pending'))
BEGIN
    SELECT RAISE(ABORT, 'a delivery cannot change its state like this');
END;

-- Attempts before the last one of a delivery.
CREATE TABLE attempts (
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    ambiguous   INTEGER NOT NULL,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- Access tokens; of their secrets only the SHA-256 is kept. Revoked ones stay: a server that had a token asks for one.
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL,
    admin      INTEGER NOT NULL,
    projects   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Work that a caller polls: it is done once each of its deliveries was tried.
CREATE TABLE tasks (
    name       TEXT PRIMARY KEY,
    project    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deliveries TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_created ON tasks (created_at);

-- Written to check that the store accepts writes.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), filling BLOB NOT NULL) STRICT;
