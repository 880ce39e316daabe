-- The versions of repositories that are there, which are few, apart from those that were.

CREATE INDEX repo_versions_there ON repo_versions (app_id, version) WHERE gone_at IS NULL;
