-- What runs: revisions of apps, candidates, dynos, one-off dynos, and how web dynos are looked at.
-- Rules as in 0001. Flags are 0 or 1.

-- Numbers that only rise. `revision`: raised by whatever concerns what runs or where requests go; `forgotten`: the
-- revision up to which gone apps are no longer remembered.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) SELECT 'revision', 1 WHERE EXISTS (SELECT 1 FROM apps);

ALTER TABLE apps ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN serving BIGINT NOT NULL DEFAULT 0; -- the release that serves; `release` is the newest
ALTER TABLE apps ADD COLUMN candidate BIGINT;                  -- the release that has to prove itself
ALTER TABLE apps ADD COLUMN asleep BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0; -- when it was last asked for, released or woken
UPDATE apps SET revision = 1, serving = release, active_at = updated_at;
CREATE INDEX apps_by_revision ON apps (revision);

-- Apps that are there no more, until they are forgotten.
CREATE TABLE gone_apps (
    app_id   TEXT   NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);
CREATE INDEX gone_apps_by_revision ON gone_apps (revision);

-- releases.status has one word more: expired, of a candidate that a newer one overtook.
ALTER TABLE releases ADD COLUMN reason TEXT; -- why it failed
ALTER TABLE releases ADD COLUMN has_phase BIGINT NOT NULL DEFAULT 0; -- it has a release phase
ALTER TABLE releases ADD COLUMN output_bytes BIGINT NOT NULL DEFAULT 0; -- what that printed

CREATE TABLE release_output (
    app_id  TEXT   NOT NULL,
    version BIGINT NOT NULL,
    start   BIGINT NOT NULL, -- in bytes from the beginning of the output
    text    TEXT   NOT NULL,
    PRIMARY KEY (app_id, version, start),
    FOREIGN KEY (app_id, version) REFERENCES releases (app_id, version) ON DELETE CASCADE
);

CREATE TABLE web_settings (
    app_id      TEXT   NOT NULL PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    check_path  TEXT,
    idle_after  BIGINT, -- in seconds
    force_https BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- Restarts and stops. A row is about one dyno; with the number 0 about all of a type; without a type about all.
CREATE TABLE dyno_marks (
    app_id        TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    type          TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    restarted     BIGINT NOT NULL, -- the revision that restarted it: the generation of its dynos
    stopped       BIGINT NOT NULL, -- the revision that stopped it; 0: none
    up_to_release BIGINT NOT NULL, -- dynos of later releases are not stopped
    PRIMARY KEY (app_id, type, number)
);

-- What the host reported.
CREATE TABLE dynos (
    id          TEXT   NOT NULL PRIMARY KEY,
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    type        TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    release     BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    state       TEXT   NOT NULL, -- starting, up, idle, crashed, down
    since       BIGINT NOT NULL,
    address     TEXT,
    command     TEXT   NOT NULL,
    size        TEXT   NOT NULL,
    exit_status BIGINT,
    routed      BIGINT NOT NULL, -- requests go there
    created_at  BIGINT NOT NULL
);
CREATE INDEX dynos_of_app ON dynos (app_id, type, number);

-- Dynos for one command, until they have ended.
CREATE TABLE one_offs (
    id            TEXT   NOT NULL PRIMARY KEY, -- the dyno's id as well
    app_id        TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    number        BIGINT NOT NULL,
    release       BIGINT NOT NULL,
    command       TEXT   NOT NULL,
    env           TEXT   NOT NULL, -- JSON
    size          TEXT   NOT NULL,
    secret_digest TEXT,   -- of what opens its terminal; none: detached
    tty_columns   BIGINT, -- of its terminal, where it has one
    tty_lines     BIGINT,
    stopped       BIGINT NOT NULL,
    reported      BIGINT NOT NULL, -- the host knows it
    user_name     TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    UNIQUE (app_id, number)
);

-- What the host offers.
CREATE TABLE hosts (
    name            TEXT   NOT NULL PRIMARY KEY,
    rendezvous_url  TEXT,
    certificate     TEXT, -- its SHA-256 digest, where clients are to be told
    said_at         BIGINT NOT NULL
);
