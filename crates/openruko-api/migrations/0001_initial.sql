-- Times are milliseconds since 1970-01-01 UTC. Ids are ULIDs. Objects in storage are recorded by their
-- key, relative to the configured storage URL, so that a storage can move.
-- Only TEXT and BIGINT, so that the same text runs on SQLite and PostgreSQL.

CREATE TABLE users (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE ssh_keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    fingerprint TEXT   NOT NULL UNIQUE,
    user_id     TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    public_key  TEXT   NOT NULL,
    comment     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX ssh_keys_of_user ON ssh_keys (user_id);

CREATE TABLE apps (
    id           TEXT   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL UNIQUE,
    owner_id     TEXT   NOT NULL REFERENCES users (id),
    stack        TEXT   NOT NULL,
    repo_version BIGINT NOT NULL DEFAULT 0, -- 0: nothing was ever pushed
    release      BIGINT NOT NULL DEFAULT 0, -- 0: none yet
    created_at   BIGINT NOT NULL
);
CREATE INDEX apps_of_owner ON apps (owner_id);

CREATE TABLE collaborators (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id    TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, user_id)
);
CREATE INDEX collaborators_of_user ON collaborators (user_id);

CREATE TABLE app_buildpacks (
    app_id   TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    url      TEXT   NOT NULL,
    PRIMARY KEY (app_id, position)
);

CREATE TABLE config_vars (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (app_id, name)
);

-- Users of pushes and releases are recorded by name: the record outlives the user.
CREATE TABLE pushes (
    id           TEXT   NOT NULL PRIMARY KEY,
    app_id       TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_name    TEXT   NOT NULL,
    request_id   TEXT   NOT NULL,
    status       TEXT   NOT NULL, -- pending, succeeded, failed, lost
    reason       TEXT,
    repo_key     TEXT   NOT NULL, -- where this push may store
    slug_key     TEXT   NOT NULL,
    lease_ends   BIGINT NOT NULL,
    ref_updates  TEXT,            -- JSON, for the record
    answer       TEXT,            -- JSON, what the commit was answered
    release      BIGINT,
    output_bytes BIGINT NOT NULL DEFAULT 0,
    created_at   BIGINT NOT NULL,
    ended_at     BIGINT
);
CREATE INDEX pushes_of_app ON pushes (app_id, id);
-- The lease itself: an app has at most one open push, whatever the programs do.
CREATE UNIQUE INDEX pushes_one_open ON pushes (app_id) WHERE status = 'pending';

CREATE TABLE push_output (
    push_id TEXT   NOT NULL REFERENCES pushes (id) ON DELETE CASCADE,
    start   BIGINT NOT NULL, -- in bytes from the beginning of the output
    text    TEXT   NOT NULL,
    PRIMARY KEY (push_id, start)
);

CREATE TABLE repo_versions (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version    BIGINT NOT NULL,
    object_key TEXT   NOT NULL,
    bytes      BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    push_id    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    gone_at    BIGINT, -- since when the object may be deleted
    PRIMARY KEY (app_id, version)
);

CREATE TABLE slugs (
    id         TEXT   NOT NULL PRIMARY KEY, -- the id of the push that made it
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    object_key TEXT   NOT NULL,
    bytes      BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL,
    branch     TEXT   NOT NULL,
    buildpack  TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX slugs_of_app ON slugs (app_id);

CREATE TABLE releases (
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version     BIGINT NOT NULL,
    description TEXT   NOT NULL,
    user_name   TEXT   NOT NULL,
    slug_id     TEXT   NOT NULL REFERENCES slugs (id),
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (app_id, version)
);
CREATE INDEX releases_of_slug ON releases (slug_id);

CREATE TABLE process_types (
    app_id         TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    name           TEXT   NOT NULL,
    command        TEXT   NOT NULL,
    from_buildpack BIGINT NOT NULL, -- 1: a default of the buildpack, 0: from the Procfile
    PRIMARY KEY (app_id, version, name),
    FOREIGN KEY (app_id, version) REFERENCES releases (app_id, version) ON DELETE CASCADE
);
