-- Format 3. `docs/reference/store.md` explains it. Times are microseconds since 1970; `crc` is CRC-32 over the row.

-- One row: the numbers given away so far.
CREATE TABLE counters (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL,             -- log positions, revisions, tokens and run numbers are one sequence
    log_lines INTEGER NOT NULL,        -- the position of the newest line ever
    ended_runs INTEGER NOT NULL,       -- how many rows of runs are completed or failed
    forgotten_before INTEGER NOT NULL, -- what was accepted before this is no duplicate any more
    crc INTEGER NOT NULL
);

CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    function TEXT NOT NULL,
    crc INTEGER NOT NULL DEFAULT 0,
    UNIQUE (app, function)
);

-- What was accepted, in order.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    keys BLOB NOT NULL,                -- its keys in `seen`, 16 bytes each
    type TEXT,                         -- of the event; NULL without one, '' when it is no longer kept
    root TEXT,                         -- the event's correlationid; NULL without one
    event BLOB,                        -- CloudEvents JSON format; without data when it is no longer kept
    runs TEXT NOT NULL,                -- JSON: its runs in an array, or in an object with more; see table/caused.rs
    crc INTEGER NOT NULL
);
CREATE INDEX log_by_type ON log (type, seq) WHERE type IS NOT NULL;
-- Evoke's own roots begin with the time, so that their keys come nearly in order.
CREATE INDEX log_by_root ON log (root, seq) WHERE root IS NOT NULL;

CREATE INDEX log_of_calls ON log (seq) WHERE type IS NULL;

-- How many ended runs and log lines each queue has, and the bytes of `runs.body` and `logs.line`.
CREATE TABLE usage (
    queue INTEGER PRIMARY KEY,
    runs INTEGER NOT NULL,
    run_bytes INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    line_bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL
);

-- How many events of each type there are, and the bytes of `log.event`.
CREATE TABLE archive (
    id INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    type TEXT NOT NULL,                -- as in log
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    UNIQUE (app, type)
);

-- De-duplication, and events by id: SHA-256(id)[..8] then SHA-256(app, scope, id)[..8].
CREATE TABLE seen (
    key BLOB PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;

-- Every run there is. 0 queued, 1 running, 2 completed, 3 failed, 4 dead-lettered.
CREATE TABLE runs (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,            -- 0 while in `pending`, which says whether it is leased
    seq INTEGER NOT NULL,              -- the position that caused it; 0 for a synchronous call
    root TEXT NOT NULL,                -- '' when the body has it; see table/slices.rs
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    body BLOB NOT NULL,                -- the rest of its record; see table/runs/body.rs
    crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX runs_by_id ON runs (id);
CREATE INDEX runs_open ON runs (queue, state, id) WHERE state NOT IN (2, 3);
CREATE INDEX runs_by_root ON runs (root, id) WHERE root <> '';

-- Where ended runs of a queue are among all, by what their ids begin with; see table/slices.rs.
CREATE TABLE slices (
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,            -- 2 or 3
    slice TEXT NOT NULL,
    PRIMARY KEY (queue, state, slice)
) WITHOUT ROWID;

-- Invocations that are neither done nor given up.
CREATE TABLE pending (
    n INTEGER PRIMARY KEY,             -- as in runs
    queue INTEGER NOT NULL,
    at INTEGER NOT NULL,               -- due, or the end of its lease
    attempts INTEGER NOT NULL,         -- since it was queued or redriven
    token INTEGER NOT NULL,            -- of the lease; 0 without one
    leased_at INTEGER NOT NULL,        -- when the unsettled attempt began; 0 without one
    request INTEGER NOT NULL,          -- 1: its input is in requests; 0: it is the event at runs.seq
    crc INTEGER NOT NULL
);
CREATE INDEX pending_by_time ON pending (queue, at);
CREATE INDEX pending_leased ON pending (n) WHERE token > 0;

CREATE TABLE dead (
    n INTEGER PRIMARY KEY,             -- as in runs
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    request INTEGER NOT NULL,          -- as in pending
    crc INTEGER NOT NULL
);

CREATE TABLE requests (
    n INTEGER PRIMARY KEY,             -- as in runs
    head BLOB NOT NULL,                -- JSON, without the body
    body BLOB NOT NULL,
    crc INTEGER NOT NULL
);

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    key TEXT NOT NULL,
    kind INTEGER NOT NULL,             -- 0 JSON, 1 bytes
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    expires_at INTEGER,
    crc INTEGER NOT NULL,
    UNIQUE (space, key)
);
CREATE INDEX entries_by_end ON entries (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE logs (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    stream INTEGER NOT NULL,           -- 0 stdout, 1 stderr, 2 Evoke
    line TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE INDEX logs_by_run ON logs (run, position);
CREATE INDEX logs_by_queue ON logs (queue, position);
