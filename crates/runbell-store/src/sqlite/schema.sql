-- Version 1. Times are microseconds since 1970; JSON is text.
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    project     TEXT NOT NULL,
    uid         TEXT NOT NULL,
    iteration   INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    document    TEXT NOT NULL,
    -- What runs are looked for by, taken from the document; the state is the one last told.
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

-- Rows of earlier generations stay while a delivery needs them.
CREATE TABLE notifications (
    id          INTEGER PRIMARY KEY,
    run_id      INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
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
    -- How many notifications refer to it; of a secret that a project was given by name nobody counts.
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
    -- What followed; nothing after a skip, and nothing once the delivery is pruned.
    delivery_id  INTEGER,
    PRIMARY KEY (run_id, at, notification)
) STRICT, WITHOUT ROWID;

-- The run as of a transition, shared by the deliveries that follow from it; made when the run changes afterwards.
CREATE TABLE snapshots (
    id       INTEGER PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

CREATE TABLE deliveries (
    id              INTEGER PRIMARY KEY,
    key             TEXT NOT NULL,
    run_id          INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- With run and name the notification, which is kept as long as the delivery is. No reference that the database checks.
    generation      INTEGER NOT NULL,
    name            TEXT NOT NULL,
    -- None while the run is still as it was at the transition.
    snapshot_id     INTEGER,
    state           TEXT NOT NULL,
    at              INTEGER NOT NULL,
    status          TEXT NOT NULL,
    -- Only what is not finished is due: of the two times it has one.
    due_at          INTEGER,
    fence           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- How many attempts there had been when it was last made due by hand: the schedule counts from there.
    replayed_at     INTEGER NOT NULL DEFAULT 0,
    last_chance     INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    -- A key is made of run and name, among others: unique here, it is unique at all, and new ones come together on a page.
    UNIQUE (run_id, name, key),
    -- Here and below no `IN`: for a list of three or more SQLite builds a tree, every time.
    CHECK ((status = 'pending' OR status = 'leased' OR status = 'retry') AND due_at IS NOT NULL AND finished_at IS NULL
        OR (status = 'sent' OR status = 'failed' OR status = 'superseded') AND due_at IS NULL AND finished_at IS NOT NULL)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_failed ON deliveries (id) WHERE status = 'failed';

-- No leap past a lease: only what is leased can be sent.
CREATE TRIGGER deliveries_states BEFORE UPDATE OF status ON deliveries
WHEN NEW.status <> OLD.status AND NOT (
       OLD.status = 'leased'
    OR ((OLD.status = 'pending' OR OLD.status = 'retry') AND (NEW.status = 'leased' OR NEW.status = 'superseded'))
    OR (OLD.finished_at IS NOT NULL AND NEW.status = 'pending'))
BEGIN
    SELECT RAISE(ABORT, 'a delivery cannot change its state like this');
END;

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

-- Written to find out whether anything can be written.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), filling BLOB NOT NULL) STRICT;
