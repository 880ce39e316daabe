-- What retention looks for, by its own: the versions of repositories that are there, which are few, and the pushes that
-- may have left something, in the order of their ids.

CREATE INDEX repo_versions_there ON repo_versions (app_id, version) WHERE gone_at IS NULL;
DROP INDEX pushes_unswept;
CREATE INDEX pushes_unswept ON pushes (id) WHERE swept = 0 AND status <> 'succeeded';
