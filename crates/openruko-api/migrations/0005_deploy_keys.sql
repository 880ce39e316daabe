-- An app's own key, with which its builds fetch private submodules. The private half leaves the API towards the
-- host's side of a push alone.
CREATE TABLE deploy_keys (
    app_id      TEXT   NOT NULL PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    public_key  TEXT   NOT NULL, -- algorithm and base64 blob
    private_key TEXT   NOT NULL, -- as `ssh-add` reads it
    fingerprint TEXT   NOT NULL,
    known_hosts TEXT   NOT NULL, -- lines of known_hosts: the hosts that it is shown to
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
