-- The Platform API: accounts and authorizations, rights of collaborators, releases that can be rolled back
-- to, and what the Heroku CLI sets beside them.
-- Rules as in 0001. Flags are 0 or 1. Of everything that opens a door only the SHA-256 digest is kept.

ALTER TABLE users ADD COLUMN email TEXT;       -- lower case; without one the name stands for it
ALTER TABLE users ADD COLUMN password TEXT;    -- argon2id as a PHC string; without one no login by password
ALTER TABLE users ADD COLUMN site_admin BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN totp_secret TEXT; -- base 32; asked for at login from totp_since on
ALTER TABLE users ADD COLUMN totp_since BIGINT;
ALTER TABLE users ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0; -- the last that was used: a code works once
ALTER TABLE users ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE users SET updated_at = created_at;
CREATE UNIQUE INDEX users_by_email ON users (email);

-- Each works once.
CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest  TEXT NOT NULL,
    PRIMARY KEY (user_id, digest)
);

CREATE TABLE authorizations (
    id           TEXT   NOT NULL PRIMARY KEY,
    user_id      TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    description  TEXT   NOT NULL,
    scope        TEXT   NOT NULL, -- words with a space between
    token_digest TEXT   NOT NULL UNIQUE,
    token_hint   TEXT   NOT NULL, -- its first and last characters, for the owner to know it again
    expires_at   BIGINT,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX authorizations_of_user ON authorizations (user_id);
CREATE INDEX authorizations_by_end ON authorizations (expires_at);

-- A login by browser: the program that began it holds one secret, the browser's page another.
CREATE TABLE browser_logins (
    id             TEXT   NOT NULL PRIMARY KEY,
    cli_digest     TEXT   NOT NULL UNIQUE,
    browser_digest TEXT   NOT NULL UNIQUE,
    description    TEXT   NOT NULL,
    address        TEXT   NOT NULL, -- where the program that began it is
    status         TEXT   NOT NULL, -- open, allowed, denied
    user_id        TEXT   REFERENCES users (id) ON DELETE CASCADE,
    expires_at     BIGINT NOT NULL
);

ALTER TABLE apps ADD COLUMN build_stack TEXT;  -- of the next build, where it differs from the current release's
ALTER TABLE apps ADD COLUMN maintenance BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN acm BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN released_at BIGINT;
ALTER TABLE apps ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE apps SET updated_at = created_at;
ALTER TABLE apps ADD COLUMN cache BIGINT NOT NULL DEFAULT 0; -- how often its build cache was thrown away

-- Ids are ULIDs throughout: where one is needed for rows that are there, it is put together from theirs.
ALTER TABLE collaborators ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE collaborators ADD COLUMN permissions TEXT NOT NULL DEFAULT 'deploy operate view';
ALTER TABLE collaborators ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE collaborators SET id = substr(app_id, 1, 13) || substr(user_id, 14, 13), updated_at = created_at;

-- A slug may outlive its app: a promotion releases it in another one.
CREATE TABLE slugs_2 (
    id         TEXT   NOT NULL PRIMARY KEY, -- the id of the push that made it
    app_id     TEXT   NOT NULL, -- the app that it was built for
    object_key TEXT   NOT NULL,
    bytes      BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL, -- empty when it was not built from a commit
    branch     TEXT   NOT NULL,
    buildpack  TEXT   NOT NULL,
    stack      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO slugs_2
    SELECT s.id, s.app_id, s.object_key, s.bytes, s.sha256, s.commit_id, s.branch, s.buildpack, a.stack, s.created_at
    FROM slugs s JOIN apps a ON a.id = s.app_id;

CREATE TABLE releases_2 (
    id            TEXT   NOT NULL UNIQUE,
    app_id        TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version       BIGINT NOT NULL,
    description   TEXT   NOT NULL,
    user_name     TEXT   NOT NULL,
    slug_id       TEXT   REFERENCES slugs_2 (id), -- none before the first build
    status        TEXT   NOT NULL, -- succeeded, pending, failed
    config_vars   TEXT, -- JSON, as they were with this release; none for releases older than this table
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (app_id, version)
);
INSERT INTO releases_2
    SELECT substr(app_id, 1, 20) || substr('000000' || version, length('000000' || version) - 5, 6),
           app_id, version, description, user_name, slug_id, 'succeeded', NULL, created_at, created_at
    FROM releases;

CREATE TABLE process_types_2 (
    app_id         TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    name           TEXT   NOT NULL,
    command        TEXT   NOT NULL,
    from_buildpack BIGINT NOT NULL, -- 1: a default of the buildpack, 0: from the Procfile
    PRIMARY KEY (app_id, version, name),
    FOREIGN KEY (app_id, version) REFERENCES releases_2 (app_id, version) ON DELETE CASCADE
);
INSERT INTO process_types_2 SELECT app_id, version, name, command, from_buildpack FROM process_types;

DROP TABLE process_types;
DROP TABLE releases;
DROP TABLE slugs;
ALTER TABLE slugs_2 RENAME TO slugs;
ALTER TABLE releases_2 RENAME TO releases;
ALTER TABLE process_types_2 RENAME TO process_types;
CREATE INDEX slugs_of_app ON slugs (app_id);
CREATE INDEX releases_of_slug ON releases (slug_id);

-- The first release of an app has no slug; the Heroku CLI counts on there being one.
INSERT INTO releases (id, app_id, version, description, user_name, slug_id, status, config_vars, created_at, updated_at)
    SELECT substr(a.id, 1, 20) || '000001', a.id, 1, 'Initial release', u.name, NULL, 'succeeded', NULL, a.created_at, a.created_at
    FROM apps a JOIN users u ON u.id = a.owner_id WHERE a.release = 0;
UPDATE apps SET release = 1 WHERE release = 0;
UPDATE apps SET released_at =
    (SELECT r.created_at FROM releases r WHERE r.app_id = apps.id AND r.version = apps.release);

-- What should run of each process type. A type without a row runs once if it is `web`, else not at all.
CREATE TABLE formation (
    id         TEXT   NOT NULL PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    type       TEXT   NOT NULL,
    quantity   BIGINT NOT NULL,
    size       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL, -- also moved by a restart
    UNIQUE (app_id, type)
);

CREATE TABLE sni_endpoints (
    id                TEXT   NOT NULL PRIMARY KEY,
    app_id            TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name              TEXT   NOT NULL,
    certificate_chain TEXT   NOT NULL, -- PEM
    private_key       TEXT   NOT NULL, -- PEM
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    UNIQUE (app_id, name)
);

CREATE TABLE domains (
    id              TEXT   NOT NULL PRIMARY KEY,
    app_id          TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    hostname        TEXT   NOT NULL UNIQUE,
    sni_endpoint_id TEXT   REFERENCES sni_endpoints (id) ON DELETE SET NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE INDEX domains_of_app ON domains (app_id);
CREATE INDEX domains_of_sni_endpoint ON domains (sni_endpoint_id);

CREATE TABLE app_features (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    enabled    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, name)
);

CREATE TABLE log_drains (
    id         TEXT   NOT NULL PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    url        TEXT   NOT NULL,
    token      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (app_id, url)
);

CREATE TABLE log_sessions (
    id            TEXT   NOT NULL PRIMARY KEY,
    secret_digest TEXT   NOT NULL UNIQUE,
    app_id        TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id       TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- who reads it
    lines         BIGINT NOT NULL,
    tail          BIGINT NOT NULL,
    dyno          TEXT,
    source        TEXT,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX log_sessions_of_app ON log_sessions (app_id);

CREATE TABLE pipelines (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    owner_id   TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- its apps stay
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE pipeline_couplings (
    id          TEXT   NOT NULL PRIMARY KEY,
    pipeline_id TEXT   NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    app_id      TEXT   NOT NULL UNIQUE REFERENCES apps (id) ON DELETE CASCADE,
    stage       TEXT   NOT NULL, -- review, development, staging, production
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX pipeline_couplings_of_pipeline ON pipeline_couplings (pipeline_id);

CREATE TABLE pipeline_promotions (
    id            TEXT   NOT NULL PRIMARY KEY,
    pipeline_id   TEXT   NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    source_app_id TEXT   NOT NULL,
    slug_id       TEXT   NOT NULL,
    user_name     TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE pipeline_promotion_targets (
    id           TEXT NOT NULL PRIMARY KEY,
    promotion_id TEXT NOT NULL REFERENCES pipeline_promotions (id) ON DELETE CASCADE,
    app_id       TEXT NOT NULL,
    status       TEXT NOT NULL, -- succeeded, failed
    release_id   TEXT,
    error        TEXT
);
CREATE INDEX pipeline_promotion_targets_of_promotion ON pipeline_promotion_targets (promotion_id);

CREATE TABLE webhooks (
    id            TEXT   NOT NULL PRIMARY KEY,
    app_id        TEXT   REFERENCES apps (id) ON DELETE CASCADE,
    pipeline_id   TEXT   REFERENCES pipelines (id) ON DELETE CASCADE,
    url           TEXT   NOT NULL,
    level         TEXT   NOT NULL, -- notify, sync
    include       TEXT   NOT NULL, -- words with a space between: api:release api:build
    secret        TEXT   NOT NULL, -- signs what is delivered
    authorization_header TEXT,     -- sent with it
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX webhooks_of_app ON webhooks (app_id);
CREATE INDEX webhooks_of_pipeline ON webhooks (pipeline_id);

CREATE TABLE webhook_deliveries (
    id         TEXT   NOT NULL PRIMARY KEY,
    webhook_id TEXT   NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id   TEXT   NOT NULL,
    include    TEXT   NOT NULL, -- what the event is about: api:release
    payload    TEXT   NOT NULL, -- JSON
    status     TEXT   NOT NULL, -- pending, retrying, succeeded, failed
    attempts   BIGINT NOT NULL,
    next_at    BIGINT, -- of the next attempt
    last_code  BIGINT,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (updated_at) WHERE next_at IS NULL;

-- A tarball that was sent instead of a push.
CREATE TABLE sources (
    id          TEXT   NOT NULL PRIMARY KEY,
    user_id     TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    put_digest  TEXT   NOT NULL UNIQUE,
    get_digest  TEXT   NOT NULL UNIQUE,
    bytes       BIGINT, -- once it is there
    sha256      TEXT,   -- likewise
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX sources_of_user ON sources (user_id, id);

-- The build of a tarball: a push, `queued` until a runner takes it up, and what only a tarball has.
CREATE TABLE builds (
    id         TEXT   NOT NULL PRIMARY KEY REFERENCES pushes (id) ON DELETE CASCADE,
    source_id  TEXT   NOT NULL,
    version    TEXT,   -- what its user calls the tarball
    buildpacks TEXT    -- JSON; none for the app's own
);
CREATE INDEX pushes_queued ON pushes (id) WHERE status = 'queued';

-- Secrets of this installation, made when they are first needed.
CREATE TABLE server_secrets (
    name  TEXT NOT NULL PRIMARY KEY, -- output: what the secrets in the URLs of builds' outputs are made with
    value TEXT NOT NULL
);

-- Objects in storage that nothing refers to any more, until somebody with access to storage deletes them.
CREATE TABLE discarded_objects (
    object_key TEXT   NOT NULL PRIMARY KEY, -- one that ends in a slash stands for everything below it
    since      BIGINT NOT NULL
);

-- Who changed what. Names, not references: the record outlives what it tells of.
CREATE TABLE audit (
    id        TEXT   NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    user_name TEXT   NOT NULL,
    address   TEXT   NOT NULL,
    action    TEXT   NOT NULL,
    app_id    TEXT,
    app_name  TEXT,
    detail    TEXT   NOT NULL
);
CREATE INDEX audit_of_app ON audit (app_id, id);
CREATE INDEX audit_of_name ON audit (app_name, id);
CREATE INDEX audit_of_action ON audit (action, id);
